//! `verify` finds what is missing, different or damaged at a destination, names it, and changes nothing.

mod answers;
mod real;

use scriptable_registry::{Accounts, Action, Answer, Gate, Image, Index, Kind, Manifest as _, Matcher, Registry};
use serde_json::json;

use crate::support::{LARGE, Migration, Outcome, assert_only_read, large, small, two_registries};

/// The last line: images, equal, missing, differ, incomplete, failed.
fn tally([images, equal, missing, differ, incomplete, failed]: [usize; 6]) -> String {
    format!(
        "Images({images}) verified, {equal} equal, {missing} missing, {differ} differ, {incomplete} incomplete, {failed} \
         images tasks failed, 0 tasks generate failed"
    )
}

/// Compares all tags of a repository.
fn verify(source: &Registry, destination: &Registry, arguments: &[&str]) -> Migration {
    let arguments = ["verify", "--retries", "0"].iter().chain(arguments).copied();
    Migration::with_default_retries()
        .rule(format!("{}/app", source.host()), format!("{}/app", destination.host()))
        .args(arguments)
}

/// The same images on both sides.
async fn migrated(images: &[(&str, &Image)]) -> (Registry, Registry) {
    let (source, destination) = two_registries().await;
    for registry in [&source, &destination] {
        for (tag, image) in images {
            registry.put("app", tag, *image);
        }
    }
    (source, destination)
}

/// The line of one image.
fn line(kind: &str, source: &Registry, destination: &Registry, tag: &str) -> String {
    format!("{kind} {} -> {}", source.reference("app", tag), destination.reference("app", tag))
}

#[track_caller]
fn assert_lines(outcome: &Outcome, code: i32, lines: &[String]) {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    outcome.assert(code, &lines);
}

#[tokio::test]
async fn what_is_equal_costs_two_heads_and_says_nothing() {
    let (source, destination) = migrated(&[("1", &small(1)), ("2", &small(2)), ("3", &small(3))]).await;
    let outcome = verify(&source, &destination, &[]).run().await;
    assert_lines(&outcome, 0, &[tally([3, 3, 0, 0, 0, 0])]);
    for registry in [&source, &destination] {
        assert_eq!((registry.count(Kind::ManifestHead), registry.count(Kind::ManifestGet)), (3, 0));
    }
    assert_eq!(outcome.stderr, "3 images to verify\n");
    assert!(outcome.log.unwrap().trim_end().ends_with(&tally([3, 3, 0, 0, 0, 0])));
}

#[tokio::test]
async fn a_missing_and_a_moved_tag_are_found() {
    let (source, destination) = migrated(&[("1", &small(1)), ("2", &small(2)), ("3", &small(3))]).await;
    destination.remove_manifest("app", "1");
    let found = destination.put("app", "3", &small(9));
    let outcome = verify(&source, &destination, &[]).run().await;
    let expected = source.digest("app", "3").unwrap();
    assert_lines(
        &outcome,
        1,
        &[
            line("missing", &source, &destination, "1"),
            format!("{}: it names {found}, expected {expected}", line("differs", &source, &destination, "3")),
            tally([3, 1, 1, 1, 0, 0]),
        ],
    );
    assert_only_read(&[&source, &destination]);
}

#[tokio::test]
async fn what_is_missing_is_named_once_however_many_indexes_name_it() {
    let (source, destination) = two_registries().await;
    let child = small(1);
    let index = Index::new()
        .index(&Index::new().image(&child).image(&small(2)))
        .index(&Index::new().image(&child).image(&small(3)))
        .image(&child);
    for registry in [&source, &destination] {
        registry.put("app", "1", &index);
    }
    destination.remove_manifest("app", &child.digest());
    let outcome = verify(&source, &destination, &["--depth", "tree"]).run().await;
    assert_eq!(outcome.stdout.matches(&child.digest()).count(), 1, "{outcome}");
    assert_eq!(outcome.stdout.lines().last(), Some(tally([1, 0, 0, 0, 1, 0]).as_str()), "{outcome}");
}

/// Each kind of damage below a tag that is right, found at the depth that shows it, and at no other.
#[tokio::test]
async fn damage_below_a_tag_is_named() {
    let (source, destination) = two_registries().await;
    let index = Index::new().image(&small(1)).image(&large(2));
    let (gone, corrupt, truncated) = (large(3), large(4), large(5));
    for registry in [&source, &destination] {
        registry.put("app", "child", &index);
        registry.put("app", "corrupt", &corrupt);
        registry.put("app", "gone", &gone);
        registry.put("app", "truncated", &truncated);
        registry.put("app", "whole", &small(6));
        registry.retag("app", "child", "child-again");
    }
    let child = &index.build().children[1];
    destination.remove_manifest("app", &child.digest);
    let layer = |image: &Image| image.layers().remove(0);
    destination.remove_blob("app", &layer(&gone));
    destination.damage_blob("app", &layer(&corrupt));
    let cut = Matcher::any_of([Kind::BlobHead, Kind::BlobGet]).of(&layer(&truncated));
    destination.on(cut, Action::Truncate(LARGE - 1));

    let incomplete = |tag: &str, what: String| format!("{}: {what}", line("incomplete", &source, &destination, tag));
    let missing_child = format!("manifest {} of {} bytes is missing", child.digest, child.bytes.len());
    let found = scriptable_registry::digest_of(&destination.blob("app", &layer(&corrupt)).unwrap());
    let differences = |is_read: bool| {
        let damaged = format!("blob {} of {LARGE} bytes is damaged, its content has digest {found}", layer(&corrupt));
        [
            Some(incomplete("child", missing_child.clone())),
            Some(incomplete("child-again", missing_child.clone())),
            is_read.then(|| incomplete("corrupt", damaged)),
            Some(incomplete("gone", format!("blob {} of {LARGE} bytes is missing", layer(&gone)))),
            Some(incomplete(
                "truncated",
                format!("blob {} of {LARGE} bytes has {} bytes", layer(&truncated), LARGE - 1),
            )),
            Some(tally(if is_read { [6, 1, 0, 0, 5, 0] } else { [6, 2, 0, 0, 4, 0] })),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<String>>()
    };
    assert_lines(&verify(&source, &destination, &[]).run().await, 0, &[tally([6, 6, 0, 0, 0, 0])]);
    let tree = verify(&source, &destination, &["--depth", "tree"]).run().await;
    assert_lines(&tree, 1, &differences(false));
    let content = verify(&source, &destination, &["--depth", "content"]).run().await;
    assert_lines(&content, 1, &differences(true));
    assert_eq!(source.count(Kind::ManifestGet) + source.count(Kind::BlobGet), 0, "nothing is read at the source");
    assert_only_read(&[&source, &destination]);
}

#[tokio::test]
async fn every_manifest_and_blob_of_a_repository_is_looked_at_once() {
    let (source, destination) = two_registries().await;
    let index = Index::new().image(&large(1)).image(&small(2));
    for registry in [&source, &destination] {
        registry.put("app", "1", &index);
        registry.put("app", "2", &large(1));
        registry.retag("app", "1", "3");
    }
    for (depth, heads, gets) in [("tree", 4, 0), ("content", 0, 4)] {
        // With one of everything at a time each deadlock shows.
        for workers in ["7", "1"] {
            destination.clear_log();
            let outcome = verify(&source, &destination, &["--depth", depth, "--workers", workers]).run().await;
            assert_lines(&outcome, 0, &[tally([3, 3, 0, 0, 0, 0])]);
            assert_eq!(destination.count(Kind::ManifestGet), 3, "{depth}");
            let blobs = (destination.count(Kind::BlobHead), destination.count(Kind::BlobGet));
            assert_eq!(blobs, (heads, gets), "{depth}");
        }
    }
}

#[tokio::test]
async fn how_far_it_is_is_shown_if_it_is_wanted_and_never_on_standard_output() {
    let (source, destination) = migrated(&[("1", &large(1)), ("2", &large(2))]).await;
    for (how, said) in [("none", ""), ("plain", "2 images to verify\n")] {
        destination.clear_log();
        let arguments = ["-v", "--depth", "content", "--progress", how];
        let outcome = verify(&source, &destination, &arguments).run().await;
        assert_lines(&outcome, 0, &[tally([2, 2, 0, 0, 0, 0])]);
        assert_eq!(outcome.stderr, said);
        // What is counted is told of each blob.
        let (log, reads) = (outcome.log.as_ref().unwrap(), destination.count(Kind::BlobGet));
        for told in ["blob begun", "blob looked at"] {
            assert_eq!(log.lines().filter(|line| line.contains(told)).count() as u64, reads, "{told}\n{outcome}");
        }
    }
}

#[tokio::test]
async fn blobs_are_read_by_as_many_workers_as_allowed() {
    let images: Vec<Image> = (0..4).map(large).collect();
    let (source, destination) = two_registries().await;
    for registry in [&source, &destination] {
        for (tag, image) in images.iter().enumerate() {
            registry.put("app", &tag.to_string(), image);
        }
    }
    let gate = Gate::closed();
    destination.on(Kind::BlobGet, gate.clone());
    let migration = verify(&source, &destination, &["--depth", "content", "--workers", "2"]);
    let mut running = migration.start().await;
    running.until(&destination, Kind::BlobGet, 2).await;
    gate.open();
    assert_lines(&running.finish().await, 0, &[tally([4, 4, 0, 0, 0, 0])]);
    assert_eq!(destination.peak(Kind::BlobGet), 2);
}

#[tokio::test]
async fn what_cannot_be_compared_has_failed() {
    let (source, destination) = migrated(&[("1", &small(1)), ("2", &small(2))]).await;
    destination.on(Kind::ManifestHead.of("2"), Answer::status(409));
    // A tag that is named and that the source has lost, though the destination has it.
    destination.put("app", "lost", &small(3));
    let outcome = verify(&source, &destination, &[])
        .rule(source.reference("app", "lost"), format!("{}/app", destination.host()))
        .run()
        .await;
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{outcome}");
    for (tag, words) in [("2", "409"), ("lost", "404")] {
        let start = line("failed", &source, &destination, tag);
        assert!(lines.iter().any(|line| line.starts_with(&start) && line.contains(words)), "{tag}: {outcome}");
    }
    assert_eq!(lines[2], tally([3, 1, 0, 0, 0, 2]));
}

#[tokio::test]
async fn what_fails_for_a_moment_is_asked_again_in_a_round() {
    let (source, destination) = migrated(&[("1", &small(1))]).await;
    let moment = destination.on(Kind::ManifestHead.once(), Answer::status(409));
    let migration = Migration::with_default_retries()
        .rule(format!("{}/app", source.host()), format!("{}/app", destination.host()))
        .args(["verify"]);
    assert_lines(&migration.run().await, 0, &[tally([1, 1, 0, 0, 0, 0])]);
    assert_eq!(moment.hits(), 1);
}

#[tokio::test]
async fn no_right_to_push_is_asked_for() {
    let source = Registry::open().await;
    let reader = Accounts::new().user("reader", "secret").allow("reader", "app", "pull");
    let destination = Registry::builder().bearer(reader).start().await;
    for registry in [&source, &destination] {
        registry.put("app", "1", &small(1));
    }
    let auth = json!({ destination.host(): { "username": "reader", "password": "secret" } });
    let outcome = verify(&source, &destination, &["--depth", "content"]).auth(&auth).run().await;
    assert_lines(&outcome, 0, &[tally([1, 1, 0, 0, 0, 0])]);
    let tokens = destination.requests_of(Kind::Token);
    assert!(!tokens.is_empty() && tokens.iter().all(|token| !token.query.contains("push")), "{tokens:?}");
    assert_only_read(&[&source, &destination]);
}

/// Why an image cannot be compared with a report.
const UNRECORDED: &str = "the report has no digest to compare it with, since it was not migrated in that run";

/// A report as a migration writes it.
fn report(images: &[(String, String, Option<String>)]) -> String {
    let images: Vec<_> = images
        .iter()
        .map(|(source, destination, digest)| {
            json!({ "source": source, "destination": destination, "sourceDigest": digest, "destinationDigest": digest,
                    "result": if digest.is_some() { "copied" } else { "failed" }, "attempts": 1 })
        })
        .collect();
    json!({ "schema": "image-migrator/report/v1", "totals": {}, "images": images }).to_string()
}

#[tokio::test]
async fn a_source_that_is_gone_is_replaced_by_the_report_of_the_migration() {
    let (source, destination) = migrated(&[("1", &small(1)), ("2", &small(2)), ("3", &small(3))]).await;
    let record =
        |tag: &str, digest: Option<String>| (source.reference("app", tag), destination.reference("app", tag), digest);
    let [one, two, three] = ["1", "2", "3"].map(|tag| source.digest("app", tag).unwrap());
    let text =
        report(&[record("1", Some(one)), record("2", Some(two.clone())), record("3", Some(three)), record("4", None)]);
    let found = destination.put("app", "2", &small(9));
    destination.remove_manifest("app", "3");
    // There is no images.json: the report names the images.
    let migration = Migration::with_default_retries().file("report.json", &text).args([
        "verify",
        "--against",
        "report.json",
        "--depth",
        "tree",
    ]);
    let outcome = migration.run().await;
    assert_lines(
        &outcome,
        1,
        &[
            format!("{}: it names {found}, expected {two}", line("differs", &source, &destination, "2")),
            line("missing", &source, &destination, "3"),
            format!("{}: {UNRECORDED}", line("failed", &source, &destination, "4")),
            tally([4, 1, 1, 1, 0, 1]),
        ],
    );
    assert_eq!(source.count_all(), 0, "the source is not asked");
}

/// What the report of a run with these flags says is right, after the source is gone.
async fn against_the_report_of(migration: Migration, flags: &[&str]) -> Outcome {
    let migration = migration.args(flags.iter().copied()).args(["--retries", "0", "--report", "report.json"]);
    let outcome = migration.run().await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let report = std::fs::read(migration.path("report.json")).unwrap();
    let again = Migration::with_default_retries().file("report.json", report);
    again.args(["verify", "--retries", "0", "--depth", "tree", "--against", "report.json"]).run().await
}

#[tokio::test]
async fn what_was_put_by_digest_is_looked_for_as_what_it_became() {
    let (source, destination) = two_registries().await;
    let index = Index::new().image(&small(1)).image(&Image::new("linux/arm64").layer("arm"));
    let digest = source.put("app", "1", &index);
    for flags in [["--platform", "linux/arm64"], ["--format", "docker"]] {
        let migration = Migration::with_default_retries()
            .rule(source.reference("app", &digest), format!("{}/app", destination.host()));
        let outcome = against_the_report_of(migration, &flags).await;
        assert_lines(&outcome, 0, &[tally([1, 1, 0, 0, 0, 0])]);
    }
}

#[tokio::test]
async fn what_was_skipped_is_none_of_what_should_be_there() {
    let (source, destination) = migrated(&[("1", &small(1)), ("2", &small(2))]).await;
    source.put("app", "3", &Image::new("linux/arm64").layer("arm"));
    let migration =
        Migration::with_default_retries().rule(format!("{}/app", source.host()), format!("{}/app", destination.host()));
    let outcome = against_the_report_of(migration, &["--platform", "linux/amd64"]).await;
    assert_lines(&outcome, 0, &[tally([3, 2, 0, 0, 0, 0]).replace("2 equal,", "2 equal, 1 skipped,")]);
}

/// What would come is no more there than what failed.
#[tokio::test]
async fn what_was_only_planned_is_no_standard() {
    let (source, destination) = migrated(&[("1", &small(1))]).await;
    source.put("app", "2", &small(2));
    let migration =
        Migration::with_default_retries().rule(format!("{}/app", source.host()), format!("{}/app", destination.host()));
    let outcome = against_the_report_of(migration, &["--dry-run"]).await;
    let failed = format!("{}: {UNRECORDED}", line("failed", &source, &destination, "2"));
    assert_lines(&outcome, 1, &[failed, tally([2, 1, 0, 0, 0, 1])]);
}

/// Other images stand in the place of those that failed: what they are called in the report is not what is right.
#[tokio::test]
async fn the_report_of_a_failed_verification_makes_nothing_right() {
    let (source, destination) = migrated(&[("1", &small(1)), ("2", &small(2))]).await;
    destination.put("app", "2", &small(9));
    let looked = verify(&source, &destination, &["--report", "v.json"]);
    assert_eq!(looked.run().await.code, Some(1));
    let text = std::fs::read_to_string(looked.path("v.json")).unwrap();
    let again = Migration::with_default_retries().file("v.json", text).args(["verify", "--against", "v.json"]);
    let failed = format!("{}: {UNRECORDED}", line("failed", &source, &destination, "2"));
    assert_lines(&again.run().await, 1, &[failed, tally([2, 1, 0, 0, 0, 1])]);
}

#[tokio::test]
async fn what_the_report_does_not_cover_is_told() {
    let (source, destination) = migrated(&[("1", &small(1))]).await;
    let image = (source.reference("app", "1"), destination.reference("app", "1"), source.digest("app", "1"));
    let with = |field: &str, value: serde_json::Value| {
        let mut report: serde_json::Value = serde_json::from_str(&report(std::slice::from_ref(&image))).unwrap();
        report[field] = value;
        let migration = Migration::with_default_retries().file("r.json", report.to_string());
        migration.args(["verify", "--against", "r.json"])
    };
    let rule = json!({ "place": "images.json:2:3", "source": "s.io/b", "destination": "", "invalid": false,
        "category": "network", "reason": "it broke" });
    let outcome = with("rules", json!([rule])).run().await;
    let one_rule = tally([1, 1, 0, 0, 0, 0]).replace("0 tasks", "1 tasks");
    assert_lines(&outcome, 1, &[one_rule]);
    outcome.assert_line("INVALID r.json:1:", &["\"s.io/b\" -> \"\"", "could not be generated in that run"]);

    let outcome = with("shards", json!(["0/2"])).run().await;
    assert_lines(&outcome, 0, &[tally([1, 1, 0, 0, 0, 0])]);
    assert!(outcome.stderr.contains("r.json is of shard 0/2 alone"), "{outcome}");
}

#[tokio::test]
async fn a_report_that_cannot_be_used_is_refused_with_its_place() {
    let refused = async |text: &str, words: &[&str]| {
        let migration =
            Migration::with_default_retries().file("report.json", text).args(["verify", "--against", "report.json"]);
        migration.run().await.assert_refused(words);
    };
    refused("{", &["report.json:1:2: "]).await;
    refused("{\n \"schema\": \"x\"}", &["report.json:2:12: ", "image-migrator/report/v1"]).await;
    refused(&report(&[("s.io/a:1".into(), "d.io/a".into(), None)]), &["report.json:1:", "\"d.io/a\""]).await;
    Migration::with_default_retries()
        .args(["verify", "--against", "none.json"])
        .run()
        .await
        .assert_refused(&["none.json", "--against"]);
    let both = Migration::with_default_retries().args(["verify", "--against", "r.json", "--images", "i.json"]);
    both.run().await.assert_refused(&["--against", "--images"]);
}

#[tokio::test]
async fn an_interrupted_verification_counts_what_it_did_not_reach_as_failed() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let (source, destination) = migrated(&[("1", &small(1)), ("2", &small(2))]).await;
        destination.on(Kind::ManifestHead.of("2"), Action::WaitFor(Gate::closed()));
        let migration = verify(&source, &destination, &[]);
        let mut running = migration.start().await;
        running.until(&destination, Kind::ManifestHead, 2).await;
        running.signal(signal);
        let outcome = running.finish().await;
        assert_eq!(outcome.code, Some(code), "{outcome}");
        let start = line("failed", &source, &destination, "2");
        assert!(
            outcome.stdout.lines().any(|line| line.starts_with(&start) && line.contains("interrupted")),
            "{outcome}"
        );
        assert!(outcome.stdout.lines().last().unwrap().starts_with("Images(2) verified, "), "{outcome}");
    }
}
