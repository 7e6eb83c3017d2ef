//! `--dry-run` says what a migration would do, and does nothing.

use scriptable_registry::{Accounts, Action, Answer, Gate, Image, Index, Kind, Manifest, Matcher, Registry, Request};
use serde_json::{Value, json};

use crate::support::{LARGE, Migration, Outcome, assert_only_read, large, small, two_registries};

fn planned(images: usize, to_copy: usize, up_to_date: usize, failed: usize, not_generated: usize) -> String {
    format!(
        "Images({images}) planned, {to_copy} to copy, {up_to_date} up to date, {failed} images tasks failed, \
         {not_generated} tasks generate failed"
    )
}

/// All tags of a repository, in a dry run.
fn dry_run(source: &Registry, destination: &Registry) -> Migration {
    rule(Migration::new(), source, "app", destination, "app").args(["--dry-run"])
}

fn rule(migration: Migration, source: &Registry, from: &str, destination: &Registry, to: &str) -> Migration {
    migration.rule(format!("{}/{from}", source.host()), format!("{}/{to}", destination.host()))
}

/// What stands in the plan for an image.
#[track_caller]
fn plan_of<'a>(outcome: &'a Outcome, destination: &str) -> &'a str {
    let marker = format!(" -> {destination}: ");
    let lines: Vec<&str> = outcome.stdout.lines().filter_map(|line| Some(line.split_once(&marker)?.1)).collect();
    let [line] = lines.as_slice() else { panic!("{} lines for {destination}\n{outcome}", lines.len()) };
    line
}

fn size(bytes: u64) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}

fn bytes_of(source: &Registry, repository: &str, image: &Image) -> u64 {
    let blobs = image.layers().into_iter().chain([image.config_digest()]);
    blobs.map(|blob| source.blob_size(repository, &blob).unwrap()).sum()
}

fn short(digest: &str) -> String {
    format!("{}…", &digest[..19])
}

#[tokio::test]
async fn the_plan_names_what_would_become_of_each_image_and_nothing_is_written() {
    let (source, destination) = two_registries().await;
    let (new, moved) = (large(1), large(2));
    source.put("app", "new", &new);
    source.put("app", "same", &small(3));
    destination.put("app", "same", &small(3));
    let after = source.put("app", "moved", &moved);
    let before = destination.put("app", "moved", &small(4));
    let gone = format!("{}/gone", source.host());
    let migration = dry_run(&source, &destination)
        .rule(source.reference("app", "missing"), format!("{}/app", destination.host()))
        .rule(&gone, format!("{}/gone", destination.host()));
    let outcome = migration.run().await;

    let at = |tag: &str| destination.reference("app", tag);
    let (new, moved) = (bytes_of(&source, "app", &new), bytes_of(&source, "app", &moved));
    let expected = [
        format!(
            "{} -> {}: would move tag ({} -> {}), copy 2 blobs {}",
            source.reference("app", "moved"),
            at("moved"),
            short(&before),
            short(&after),
            size(moved)
        ),
        format!("{} -> {}: copy 2 blobs {}", source.reference("app", "new"), at("new"), size(new)),
        format!("{} -> {}: up to date", source.reference("app", "same"), at("same")),
        format!("{} -> {}: missing at source", source.reference("app", "missing"), at("missing")),
        format!("{}: {} to move in 4 blobs, 0 to mount", destination.host(), size(new + moved)),
        planned(4, 2, 1, 1, 1),
    ];
    outcome.assert(1, &expected.each_ref().map(String::as_str));
    outcome.assert_failed(&source.reference("app", "missing"), &at("missing"), &["404"]);
    outcome.assert_line("FAILED images.json:4:3: ", &[&gone]);
    assert_only_read(&[&source, &destination]);
    assert_eq!(destination.tags("app"), ["moved", "same"]);
    assert!(outcome.log.unwrap().trim_end().ends_with(&planned(4, 2, 1, 1, 1)));
}

#[tokio::test]
async fn what_is_planned_is_what_a_migration_then_does() {
    let (source, destination) = two_registries().await;
    let (shared, own) = (small(1), large(7));
    let index = Index::new().image(&shared).image(&own);
    source.put("a", "1", &index);
    source.put("a", "2", &shared);
    source.put("b", "1", &shared);
    // Of the third repository a part is there from an interrupted run.
    destination.put("c", "0", &small(9));
    let half = Image::new("linux/arm64").layer_of(20, LARGE).layer_of(21, LARGE);
    source.put("c", "1", &half);
    destination.put_blob("c", source.blob("c", &half.layers()[0]).unwrap());
    let rules = || {
        let rule = |migration, repository: &&str| rule(migration, &source, repository, &destination, repository);
        ["c", "a", "b"].iter().fold(Migration::new(), rule)
    };
    let plan = rules().args(["--dry-run"]);
    let outcome = plan.run().await;
    let with_one_of_everything = rules().args(["--dry-run", "--workers", "1"]).run().await;
    assert_eq!(with_one_of_everything.stdout, outcome.stdout);
    let bytes = |image: &Image| bytes_of(&source, "a", image);
    let rest = bytes_of(&source, "c", &half) - LARGE;
    let plan_of = |name: &str| plan_of(&outcome, &format!("{}/{name}", destination.host())).to_owned();
    assert_eq!(plan_of("c:1"), format!("copy 2 blobs {}", size(rest)));
    let both = bytes(&own) + bytes(&shared);
    assert_eq!(plan_of("a:1"), format!("copy 4 blobs {}", size(both)));
    assert_eq!(plan_of("a:2"), "copy manifests only");
    assert_eq!(plan_of("b:1"), "mount 2");
    let line = format!("{}: {} to move in 6 blobs, 2 to mount", destination.host(), size(both + rest));
    assert!(outcome.stdout.contains(&format!("\n{line}\n")), "{outcome}");
    assert!(outcome.stdout.ends_with(&format!("{}\n", planned(4, 4, 0, 0, 0))), "{outcome}");

    destination.clear_log();
    rules().run().await.assert_success(4);
    assert_eq!(destination.count(Kind::UploadFinish), 6);

    let again = plan.run().await;
    again.assert(
        0,
        &[
            &format!("{} -> {}: up to date", source.reference("c", "1"), destination.reference("c", "1")),
            &format!("{} -> {}: up to date", source.reference("a", "1"), destination.reference("a", "1")),
            &format!("{} -> {}: up to date", source.reference("a", "2"), destination.reference("a", "2")),
            &format!("{} -> {}: up to date", source.reference("b", "1"), destination.reference("b", "1")),
            &format!("{}: 0 B to move in 0 blobs, 0 to mount", destination.host()),
            &planned(4, 0, 4, 0, 0),
        ],
    );
}

#[tokio::test]
async fn every_manifest_is_read_once_and_absent_tags_are_not_asked_for_one_by_one() {
    let (source, destination) = two_registries().await;
    let index = Index::new().image(&small(1)).image(&small(2));
    source.put("app", "0", &index);
    for tag in 1..20 {
        source.retag("app", "0", &tag.to_string());
    }
    let outcome = dry_run(&source, &destination).run().await;
    assert!(outcome.stdout.ends_with(&format!("{}\n", planned(20, 20, 0, 0, 0))), "{outcome}");
    assert_eq!(source.count(Kind::ManifestGet), 3, "{outcome}");
    assert_eq!(source.count(Kind::ManifestHead), 20);
    assert_eq!(source.count(Kind::BlobGet) + source.count(Kind::BlobHead), 0);
    // The first tag is not there, and the list has no other: nothing more is asked.
    assert_eq!((destination.count(Kind::ManifestHead), destination.count(Kind::BlobHead)), (1, 0), "{outcome}");
    assert_eq!(plan_of(&outcome, &destination.reference("app", "0")).split(" blobs").next(), Some("copy 4"));
    assert_eq!(plan_of(&outcome, &destination.reference("app", "19")), "copy manifests only");
}

#[tokio::test]
async fn each_destination_registry_has_its_own_sum() {
    let source = Registry::open().await;
    let (one, other) = two_registries().await;
    let image = large(1);
    source.put("app", "1", &image);
    let migration = Migration::new()
        .rule_to(
            format!("{}/app", source.host()),
            serde_json::json!([
                format!("{}/a", one.host()),
                format!("{}/a", other.host()),
                format!("{}/b", one.host())
            ]),
        )
        .args(["--dry-run"]);
    let outcome = migration.run().await;
    let bytes = size(bytes_of(&source, "app", &image));
    for (registry, mounts) in [(&one, 2), (&other, 0)] {
        let line = format!("\n{}: {bytes} to move in 2 blobs, {mounts} to mount\n", registry.host());
        assert!(outcome.stdout.contains(&line), "{outcome}");
    }
    assert_eq!(source.count(Kind::ManifestGet), 1, "it is read once for all of them");
}

#[tokio::test]
async fn within_one_registry_everything_is_mounted() {
    let registry = Registry::open().await;
    registry.put("app", "1", &large(1));
    let outcome = rule(Migration::new(), &registry, "app", &registry, "copy").args(["--dry-run"]).run().await;
    assert_eq!(plan_of(&outcome, &registry.reference("copy", "1")), "mount 2");
    assert_eq!(registry.count(Kind::BlobHead), 0);
    assert_only_read(&[&registry]);
}

#[tokio::test]
async fn no_right_to_push_is_asked_for() {
    let source = Registry::open().await;
    source.put("app", "1", &small(1));
    let reader = Accounts::new().user("reader", "secret").allow("reader", "app", "pull");
    let destination = Registry::builder().bearer(reader).start().await;
    destination.put("app", "0", &small(2));
    let auth = serde_json::json!({ destination.host(): { "username": "reader", "password": "secret" } });
    let outcome = dry_run(&source, &destination).auth(&auth).run().await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let tokens = destination.requests_of(Kind::Token);
    assert!(!tokens.is_empty());
    for token in tokens {
        assert!(!token.query.contains("push"), "{token:?}");
    }
    assert_only_read(&[&source, &destination]);
}

#[tokio::test]
async fn a_destination_that_may_not_be_looked_at_is_taken_for_empty_and_that_is_said() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &small(1));
    source.put("app", "2", &small(2));
    destination.on(Matcher::any().within("app"), Answer::error(403, "DENIED", "no such project"));
    let outcome = dry_run(&source, &destination).run().await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(plan_of(&outcome, &destination.reference("app", "2")).starts_with("copy 2 blobs"), "{outcome}");
    let said = outcome.stderr.lines().filter(|line| line.contains("taken for empty")).count();
    assert_eq!(said, 1, "{outcome}");
    outcome.assert_line(" WARN", &["/app may not be looked at", "no such project"]);
}

/// Harbor says it so to whom it knows.
#[tokio::test]
async fn a_destination_that_says_401_of_a_project_is_taken_for_empty() {
    let source = Registry::open().await;
    let destination = Registry::builder().bearer(("reader", "secret")).start().await;
    source.put("app", "1", &small(1));
    source.put("app", "2", &small(2));
    let is_known = |request: &Request| request.header("authorization").is_some();
    let refusal = Answer::error(401, "UNAUTHORIZED", "no such project").header("WWW-Authenticate", "");
    destination.on(Matcher::any().within("app").filter(is_known), refusal);
    let auth = json!({ destination.host(): { "username": "reader", "password": "secret" } });
    let outcome = dry_run(&source, &destination).auth(&auth).run().await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(plan_of(&outcome, &destination.reference("app", "2")).starts_with("copy 2 blobs"), "{outcome}");
    let said = outcome.stderr.lines().filter(|line| line.contains("taken for empty")).count();
    assert_eq!(said, 1, "{outcome}");
    outcome.assert_line(" WARN", &["/app may not be looked at", "401 Unauthorized"]);
}

/// What it says to whom it does not know is nothing of the repository: the migration would fail by it.
#[tokio::test]
async fn a_destination_that_wants_a_login_is_not_taken_for_empty() {
    let source = Registry::open().await;
    let destination = Registry::builder().basic(("reader", "secret")).start().await;
    source.put("app", "1", &small(1));
    let outcome = dry_run(&source, &destination).run().await;
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let (from, to) = (source.reference("app", "1"), destination.reference("app", "1"));
    let words = ["the registry wants credentials and there are none", &destination.host(), "in auth.json"];
    outcome.assert_failed(&from, &to, &words);
    assert!(!outcome.stderr.contains("taken for empty"), "{outcome}");
}

#[tokio::test]
async fn no_clobber_and_force_are_planned_as_they_would_be_done() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &small(1));
    let kept = destination.put("app", "1", &small(9));
    source.put("app", "2", &large(2));
    destination.put("app", "2", &large(2));
    let outcome = dry_run(&source, &destination).args(["--no-clobber"]).run().await;
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let plan = plan_of(&outcome, &destination.reference("app", "1"));
    assert!(plan.starts_with("would fail: ") && plan.contains(&kept) && plan.contains("--no-clobber"), "{outcome}");
    outcome.assert_failed(&source.reference("app", "1"), &destination.reference("app", "1"), &["--no-clobber"]);

    let lost = large(2).layers().remove(0);
    destination.remove_blob("app", &lost);
    let outcome = dry_run(&source, &destination).args(["--force"]).run().await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let plan = plan_of(&outcome, &destination.reference("app", "2"));
    assert_eq!(plan, format!("would put the same again, copy 1 blobs {}", size(LARGE)));
    assert_only_read(&[&source, &destination]);
}

#[tokio::test]
async fn a_plan_reports_what_was_learnt_of_each_image_as_the_migration_does() {
    for (flags, tags) in [
        (vec![], "multi,one,moved"),
        (vec!["--no-clobber"], "one,moved"),
        (vec!["--platform", "linux/s390x"], "multi,moved"),
        (vec!["--platform", "linux/arm64"], "multi,one,moved"),
        (vec!["--format", "docker"], "multi,same"),
    ] {
        let (source, destination) = two_registries().await;
        let (one, other) = (small(1), Image::new("linux/arm64").layer_of(2, 3_000));
        let index = Index::new().image(&one).image(&other);
        source.put("app", "multi", &index);
        source.put("app", "one", &one);
        source.put("app", "same", &small(7));
        destination.put("app", "same", &small(7));
        source.put("app", "moved", &Index::new().image(&one));
        destination.put("app", "moved", &small(4));
        let rule = (source.reference("app", tags), format!("{}/app", destination.host()));
        let mut learnt = Vec::new();
        for planned in [vec!["--dry-run"], vec![]] {
            let run = Migration::new().rule(&rule.0, &rule.1).args(flags.clone()).args(planned);
            let run = run.args(["--report", "r.json"]);
            run.run().await;
            let report: Value = serde_json::from_slice(&std::fs::read(run.path("r.json")).unwrap()).unwrap();
            let names = ["destination", "category", "sourceDigest", "previousDigest"];
            let of_content = ["mediaType", "size", "platforms"];
            let images = report["images"].as_array().unwrap().iter().map(|image| {
                // The migration may have read more of what fails.
                let content = of_content.iter().filter(|_| image["category"].is_null());
                names.iter().chain(content).map(|field| image[*field].clone()).collect::<Vec<_>>()
            });
            learnt.push(images.collect::<Vec<_>>());
        }
        assert_eq!(learnt[0], learnt[1], "{flags:?}");
    }
}

#[tokio::test]
async fn what_fails_for_a_moment_is_asked_again_in_a_round() {
    let (source, destination) = two_registries().await;
    for tag in ["1", "2", "3"] {
        source.put("app", tag, &small(tag.parse().unwrap()));
    }
    // So often that the request is given up.
    source.on(Kind::ManifestGet.of(&source.digest("app", "2").unwrap()).times(1), Answer::error(400, "ODD", "once"));
    let migration = rule(Migration::with_default_retries(), &source, "app", &destination, "app").args(["--dry-run"]);
    let outcome = migration.run().await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let tags: Vec<&str> = outcome
        .stdout
        .lines()
        .filter_map(|line| line.split_once(" -> ")?.0.rsplit_once(':'))
        .map(|(_, tag)| tag)
        .collect();
    assert_eq!(tags, ["1", "3", "2"], "{outcome}");
    assert!(!outcome.stdout.contains("Start to"), "{outcome}");
}

#[tokio::test]
async fn what_is_mounted_is_planned_so_also_for_an_image_that_is_asked_again() {
    let (source, destination) = two_registries().await;
    let shared = Image::new("linux/amd64").layer_of(1, LARGE);
    let other = shared.clone().layer_of(2, LARGE);
    source.put("a", "1", &shared);
    source.put("b", "1", &other);
    for name in ["a", "b"] {
        destination.put(name, "old", &small(3));
    }
    destination.on(Kind::BlobHead.of(&other.layers()[1]).once(), Answer::status(409));
    let migration = rule(Migration::with_default_retries(), &source, "a", &destination, "a");
    let outcome = rule(migration, &source, "b", &destination, "b").args(["--dry-run"]).run().await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let plan = plan_of(&outcome, &destination.reference("b", "1"));
    assert!(plan.starts_with("copy 2 blobs ") && plan.ends_with(", mount 1"), "{outcome}");
}

#[tokio::test]
async fn what_refers_to_an_image_is_planned_also_when_that_is_asked_again() {
    let registry = || Registry::builder().referrers().start();
    let (source, destination) = (registry().await, registry().await);
    let image = large(1);
    source.put("a", "1", &image);
    let signature = Image::new("").artifact("application/vnd.sig").layer("s").subject(&image);
    source.put("a", &signature.digest(), &signature);
    destination.put("a", "old", &small(3));
    let asked = destination.on(Kind::BlobHead.of(&image.layers()[0]).once(), Answer::status(409));
    let migration = rule(Migration::with_default_retries(), &source, "a", &destination, "a");
    let outcome = migration.args(["--dry-run", "--referrers"]).run().await;
    assert_eq!((outcome.code, asked.hits()), (Some(0), 1), "{outcome}");
    assert!(plan_of(&outcome, &destination.reference("a", "1")).ends_with(", with 1 referrer"), "{outcome}");
}

#[tokio::test]
async fn an_interrupted_dry_run_prints_what_it_knows() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let (source, destination) = two_registries().await;
        source.put("app", "1", &small(1));
        source.put("app", "2", &small(2));
        source.put("app", "3", &small(3));
        source.on(Kind::ManifestHead.of("2"), Action::WaitFor(Gate::closed()));
        let migration = dry_run(&source, &destination);
        let mut running = migration.start().await;
        running.until(&source, Kind::ManifestHead, 3).await;
        running.until_logged("image would be copied").await;
        running.signal(signal);
        let outcome = running.finish().await;
        assert_eq!(outcome.code, Some(code), "{outcome}");
        assert!(plan_of(&outcome, &destination.reference("app", "1")).starts_with("copy 2 blobs "), "{outcome}");
        let at = |tag: &str| format!("{}: ", destination.reference("app", tag));
        assert!(!outcome.stdout.contains(&at("2")), "{outcome}");
        outcome.assert_failed(&source.reference("app", "2"), &destination.reference("app", "2"), &["interrupted"]);
        let last = outcome.stdout.lines().last().unwrap();
        assert!(last.starts_with("Images(3) planned, ") && !last.contains(" 0 images tasks failed"), "{outcome}");
        assert_only_read(&[&source, &destination]);
    }
}

#[tokio::test]
async fn a_dry_run_without_rules_prints_its_summary() {
    let outcome = Migration::new().images("{}").args(["--dry-run"]).run().await;
    outcome.assert(0, &[&planned(0, 0, 0, 0, 0)]);
}
