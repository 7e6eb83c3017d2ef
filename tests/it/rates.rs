//! A registry is asked as fast as it bears, and one that is gone is not asked by everybody.

mod held;
mod unwell;

use scriptable_registry::{Action, Answer, Gate, Image, Index, Kind, Matcher, Registry};

use crate::support::{
    GENERATE, HANDLE, LARGE, Migration, Outcome, RETRY_HANDLE, assert_same, large, small, summary, two_registries,
};

/// Small requests that are in flight at one registry unless said otherwise.
const REQUESTS: u64 = 35;

/// A source with so many images as `team/app:v<seed>`, an empty destination, and the rule for all of them.
async fn with_images(count: u64, image: fn(u64) -> Image) -> (Registry, Registry, Migration) {
    let (source, destination) = two_registries().await;
    for seed in 0..count {
        source.put("team/app", &format!("v{seed}"), &image(seed));
    }
    let migration = all(&source, &destination, Migration::new());
    (source, destination, migration)
}

/// With a rule for all tags of the source.
fn all(source: &Registry, destination: &Registry, migration: Migration) -> Migration {
    migration.app(source, destination)
}

fn slow_down(seconds: u64) -> Answer {
    Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", &seconds.to_string())
}

/// How many lines of standard error hold a text.
fn told(outcome: &Outcome, text: &str) -> usize {
    outcome.stderr.lines().filter(|line| line.contains(text)).count()
}

/// The warnings in the log that hold a text: also those that standard error does not repeat.
fn logged<'o>(outcome: &'o Outcome, text: &str) -> Vec<&'o str> {
    let lines = outcome.log.as_deref().unwrap().lines();
    lines.filter(|line| line.contains(" WARN ") && line.contains(text)).collect()
}

#[tokio::test]
async fn while_one_kind_of_request_is_left_alone_others_go_on_and_an_interruption_ends_the_wait() {
    for wait in [slow_down(290), {
        let date = httpdate::fmt_http_date(std::time::SystemTime::now() + std::time::Duration::from_secs(290));
        Answer::status(503).header("Retry-After", &date)
    }] {
        let (source, destination, _) = with_images(2, large).await;
        source.on(Kind::ManifestGet.nth(2), wait);
        let migration = all(&source, &destination, Migration::with_default_retries()).args(["-w", "1"]);
        let mut running = migration.start().await;
        running.until(&source, Kind::ManifestGet, 2).await;
        running.until(&source, Kind::BlobGet, 2).await;
        running.until(&destination, Kind::ManifestPut, 1).await;
        running.signal("INT");
        let outcome = running.finish().await;
        assert_eq!(outcome.code, Some(130), "{outcome}");
        assert_eq!(source.count(Kind::ManifestGet), 2, "{outcome}");
        assert_eq!(told(&outcome, "reads of manifests wait for 4m"), 1, "{outcome}");
    }
}

#[tokio::test]
async fn a_registry_that_refuses_always_is_not_asked_by_every_task() {
    let (source, _destination, migration) = with_images(300, small).await;
    source.on(Kind::ManifestGet, slow_down(1));
    let outcome = migration.run().await;
    outcome.assert_failures(300, 300, 0);
    assert_eq!(outcome.lines("FAILED").len(), 300);
    assert!(outcome.lines("FAILED").iter().all(|line| line.contains("429") && line.contains("slow down")), "{outcome}");
    // Five bursts, each half as large as the one before: 35 and 18 and 9 and 5 and 3.
    assert!(source.count(Kind::ManifestGet) <= 2 * REQUESTS, "{}", source.count(Kind::ManifestGet));
    assert!((1..=5).contains(&logged(&outcome, "reads of manifests wait for 1s").len()), "{outcome}");
}

#[tokio::test]
async fn what_is_to_wait_for_hours_fails_at_once_and_says_until_when() {
    let (source, destination, _) = with_images(50, small).await;
    source.on(Kind::ManifestGet, slow_down(7200));
    let outcome = all(&source, &destination, Migration::with_default_retries()).run().await;
    outcome.assert(1, &[GENERATE, HANDLE, RETRY_HANDLE, RETRY_HANDLE, RETRY_HANDLE, &summary(50, 50, 0)]);
    assert!(outcome.lines("FAILED").iter().all(|line| line.contains("left alone until 20")), "{outcome}");
    assert!(source.count(Kind::ManifestGet) <= REQUESTS, "{}", source.count(Kind::ManifestGet));
}

#[tokio::test]
async fn as_many_requests_are_sent_at_once_as_the_registry_bears() {
    const MOST: u64 = 5;
    let (source, destination) = two_registries().await;
    let source = std::sync::Arc::new(source);
    for seed in 0..150 {
        source.put("team/app", &format!("v{seed}"), &small(seed));
    }
    let weak = std::sync::Arc::downgrade(&source);
    let moment = || Action::Delay(std::time::Duration::from_millis(5));
    let refused = source.on_each(Kind::ManifestGet, move |_| {
        let too_many = weak.upgrade()?.in_flight(Kind::ManifestGet) > MOST;
        too_many.then(|| Answer::status(429).and(moment()))
    });
    source.on(Kind::ManifestGet, moment());
    let migration = all(&source, &destination, Migration::new());
    let outcome = migration.run().await;
    outcome.assert_success(150);
    assert!((1..=150).contains(&refused.hits()), "{} were refused", refused.hits());
}

#[tokio::test]
async fn after_a_burst_was_refused_less_is_asked_at_once_and_then_more_again() {
    let (source, _destination, migration) = with_images(250, small).await;
    let (burst, first, later) = (Gate::closed(), Gate::closed(), Gate::closed());
    let half = REQUESTS.div_ceil(2);
    source.on(Kind::ManifestGet.times(REQUESTS), Answer::status(503).and(burst.clone()));
    source.on(Matcher::from(Kind::ManifestGet).after(REQUESTS).times(half), first.clone());
    source.on(Kind::ManifestGet.after(REQUESTS + half + 100), later.clone());
    let mut running = migration.start().await;
    running.until(&source, Kind::ManifestGet, REQUESTS).await;
    burst.open();
    running.until(&source, Kind::ManifestGet, REQUESTS + half).await;
    // What would be one too many has had time to come.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(source.in_flight(Kind::ManifestGet), half);
    first.open();
    // They hang until so many are under way at once.
    running.until(&source, Kind::ManifestGet, REQUESTS + half + 100 + half + 2).await;
    later.open();
    running.finish().await.assert_success(250);
    assert_eq!(source.peak(Kind::ManifestGet), REQUESTS);
}

#[tokio::test]
async fn twice_as_many_heads_are_sent_at_once_for_they_have_no_content() {
    let (source, destination, migration) = with_images(200, small).await;
    migration.run().await.assert_success(200);
    let gate = Gate::closed();
    source.on(Kind::ManifestHead, gate.clone());
    let again = all(&source, &destination, Migration::new());
    let mut running = again.start().await;
    running.until(&source, Kind::ManifestHead, 2 * REQUESTS).await;
    gate.open();
    running.finish().await.assert_success(200);
    assert_eq!(source.peak(Kind::ManifestHead), 2 * REQUESTS);
}

#[tokio::test]
async fn one_worker_asks_one_thing_at_a_time_whatever_is_refused() {
    let (source, destination) = two_registries().await;
    for seed in 0..8 {
        source.put("team/app", &format!("v{seed}"), &Index::new().image(&small(seed)).image(&large(seed + 100)));
    }
    for kind in [Kind::ManifestGet, Kind::BlobGet] {
        source.on(Matcher::from(kind).after(2).times(2), Answer::status(429));
    }
    for kind in [Kind::ManifestPut, Kind::UploadFinish, Kind::Mount] {
        destination.on(Matcher::from(kind).after(2).times(2), Answer::status(503));
    }
    let migration = all(&source, &destination, Migration::new()).args(["-w", "1"]);
    migration.run().await.assert_success(8);
    migration.run().await.assert_success(8);
    assert!(source.count(Kind::ManifestHead) >= 8);
    for registry in [&source, &destination] {
        for request in registry.requests() {
            assert_eq!(registry.peak(request.kind), 1, "{:?}", request.kind);
        }
    }
    for seed in 0..8 {
        let tag = format!("v{seed}");
        assert_same((&source, "team/app", &tag), (&destination, "moved/app", &tag));
    }
}

#[tokio::test]
async fn a_blob_that_is_to_wait_leaves_its_place_to_others() {
    let (held, free, destination) = (Registry::open().await, Registry::open().await, Registry::open().await);
    for seed in 0..3 {
        held.put("team/app", &format!("v{seed}"), &large(seed));
        free.put("team/app", &format!("v{seed}"), &large(seed + 10));
    }
    held.on(Kind::BlobGet, slow_down(290));
    let migration = Migration::new()
        .rule(format!("{}/team/app", held.host()), format!("{}/moved/held", destination.host()))
        .rule(format!("{}/team/app", free.host()), format!("{}/moved/free", destination.host()))
        .args(["-w", "1"]);
    let mut running = migration.start().await;
    running.until(&held, Kind::BlobGet, 1).await;
    running.until(&destination, Kind::ManifestPut, 3).await;
    running.signal("INT");
    let outcome = running.finish().await;
    assert_eq!(outcome.code, Some(130), "{outcome}");
    assert_eq!(held.count(Kind::BlobGet), 1, "{outcome}");
    for tag in ["v0", "v1"] {
        assert_same((&free, "team/app", tag), (&destination, "moved/free", tag));
    }
}

#[tokio::test]
async fn a_blob_that_waited_is_sent_when_its_time_has_come() {
    let (source, destination, migration) = with_images(3, large).await;
    // Longer than an upload may be silent.
    let waited = destination.on(Kind::UploadFinish.once(), slow_down(21));
    migration.run().await.assert_success(3);
    assert_eq!(waited.hits(), 1);
    for tag in ["v0", "v1", "v2"] {
        assert_same((&source, "team/app", tag), (&destination, "moved/app", tag));
    }
}

#[tokio::test]
async fn a_blob_that_fails_at_every_depth_is_tried_a_few_times() {
    let (source, destination, migration) = with_images(1, large).await;
    source.on(Kind::BlobGet.of(&large(0).layers()[0]), Action::CutResponseAfter(1000));
    destination.on(Kind::UploadFinish.after(1), Answer::status(500));
    let outcome = migration.run().await;
    outcome.assert_failures(1, 1, 0);
    assert!(source.count(Kind::BlobGet) <= 9, "{}", source.count(Kind::BlobGet));
    assert!(destination.count(Kind::UploadFinish) <= 9, "{}", destination.count(Kind::UploadFinish));
}

fn counted(remaining: &str) -> Action {
    Action::header("ratelimit-limit", "100;w=21600")
        .and(Action::header("ratelimit-remaining", &format!("{remaining};w=21600")))
}

#[tokio::test]
async fn where_pulls_are_counted_no_manifest_is_read_twice() {
    let (source, destination) = two_registries().await;
    source.on(Matcher::any(), counted("76"));
    let child = small(3).oci();
    source.put("team/app", "1.0", &small(1));
    source.retag("team/app", "1.0", "latest");
    source.put("team/app", "2.0", &Index::new().image(&child).image(&small(4).oci()));
    source.put("team/app", "3.0", &Index::new().image(&child));
    let from = format!("{}/team/app", source.host());
    let migration = Migration::new()
        .rule(&from, format!("{}/moved/app", destination.host()))
        .rule(&from, format!("{}/also/app", destination.host()));
    let outcome = migration.run().await;
    outcome.assert_success(8);
    for repository in ["moved/app", "also/app"] {
        for tag in ["1.0", "latest", "2.0", "3.0"] {
            assert_same((&source, "team/app", tag), (&destination, repository, tag));
        }
    }
    // 1.0, 2.0, 3.0, and two children.
    assert_eq!(source.count(Kind::ManifestGet), 5);
    let log = outcome.log.as_deref().unwrap();
    assert_eq!(log.matches("76 of 100 pulls in 6h are left").count(), 1, "{outcome}");
    assert_eq!(told(&outcome, "pulls"), 0, "it is no warning yet");

    source.clear_log();
    migration.run().await.assert_success(8);
    assert_eq!(source.count(Kind::ManifestGet), 0);
}

#[tokio::test]
async fn what_the_first_manifest_tells_of_a_pull_quota_holds_for_the_next() {
    let (source, destination) = two_registries().await;
    source.on(Matcher::any_of([Kind::ManifestGet, Kind::ManifestHead]), counted("76"));
    source.put("team/app", "v0", &small(1));
    for alias in 1..30 {
        source.retag("team/app", "v0", &format!("v{alias}"));
    }
    all(&source, &destination, Migration::new()).run().await.assert_success(30);
    // The first one by its tag.
    assert_eq!((source.count(Kind::ManifestGet), source.count(Kind::ManifestHead)), (2, 29));
}

#[tokio::test]
async fn where_pulls_are_counted_no_manifest_is_read_twice_for_its_conversion_or_its_referrers() {
    for (flags, first, later) in
        [(["--platform", "linux/amd64"], 3, 2), (["--format", "oci"], 4, 4), (["--referrers", "-v"], 4, 2)]
    {
        let (source, destination) = two_registries().await;
        source.on(Matcher::any(), counted("76"));
        source.put("team/app", "single", &small(1));
        source.put("team/app", "index", &Index::new().image(&small(2)).image(&Image::new("linux/arm64").layer("arm")));
        let mut tags = vec!["single".to_owned(), "index".to_owned()];
        for alias in 0..6 {
            let of = tags[alias % 2].clone();
            tags.push(format!("alias{alias}"));
            source.retag("team/app", &of, &tags[alias + 2]);
        }
        let migration = all(&source, &destination, Migration::new()).args(flags);
        let outcome = migration.run().await;
        outcome.assert_success(8);
        assert_eq!(source.count(Kind::ManifestGet), first, "{flags:?}\n{outcome}\n{:#?}", source.requests());
        for tag in &tags {
            assert_eq!(destination.missing("moved/app", tag), Vec::<String>::new(), "{flags:?}");
        }
        source.clear_log();
        migration.run().await.assert_success(8);
        assert_eq!(source.count(Kind::ManifestGet), later, "{flags:?}, again");
    }
}

#[tokio::test]
async fn a_used_up_pull_quota_is_named_with_its_end_and_heads_go_on() {
    const LEFT: u64 = 7;
    let (source, destination, migration) = with_images(60, small).await;
    source.on(Matcher::any(), counted("7"));
    let text = "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit";
    source.on(Kind::ManifestGet.after(LEFT), Answer::error(429, "TOOMANYREQUESTS", text));
    let outcome = migration.run().await;
    outcome.assert_failures(60, 60 - LEFT as usize, 0);
    assert_eq!(destination.tags("moved/app").len() as u64, LEFT);
    assert!(source.count(Kind::ManifestGet) <= LEFT + REQUESTS, "{}", source.count(Kind::ManifestGet));
    assert_eq!(source.count(Kind::ManifestHead), 60, "they are not counted");
    let told_all = |line: &&str| {
        ["pull quota (100 in 6h) is used up", "until 20", "increase-rate-limit"].iter().all(|word| line.contains(word))
    };
    assert_eq!(outcome.lines("FAILED").iter().filter(|line| told_all(line)).count(), 53, "{outcome}");
    assert_eq!(told(&outcome, "7 of 100 pulls in 6h are left"), 1, "{outcome}");
}

#[tokio::test]
async fn a_spent_rate_is_waited_for_before_it_is_refused() {
    let (source, _destination, migration) = with_images(20, small).await;
    source.on(
        Kind::ManifestGet.once(),
        Action::header("RateLimit-Remaining", "0").and(Action::header("RateLimit-Reset", "290")),
    );
    let migration = migration.args(["-w", "1"]);
    let mut running = migration.start().await;
    running.until(&source, Kind::ManifestGet, 1).await;
    running.until(&source, Kind::BlobGet, 2).await;
    running.signal("INT");
    let outcome = running.finish().await;
    assert_eq!(outcome.code, Some(130), "{outcome}");
    assert_eq!(source.count(Kind::ManifestGet), 1, "{outcome}");
}

#[tokio::test]
async fn an_abuse_limit_holds_back_all_requests() {
    let (source, _destination, migration) = with_images(2, large).await;
    source.on(Kind::ManifestGet.nth(2), Answer::status(429).header("Retry-After", "290").body("Too Many Requests\n"));
    // Held until the second manifest was refused, so that its blobs would be asked for afterwards.
    let gate = Gate::closed();
    source.on(Kind::ManifestGet.nth(1), gate.clone());
    let mut running = migration.start().await;
    running.until(&source, Kind::ManifestGet, 2).await;
    running.until_logged("all requests wait for 4m 50s").await;
    gate.open();
    running.signal("INT");
    let outcome = running.finish().await;
    assert_eq!(outcome.code, Some(130), "{outcome}");
    assert_eq!(source.count(Kind::BlobGet), 0, "{outcome}");
}

#[tokio::test]
async fn a_registry_that_is_started_again_in_mid_run_is_waited_for() {
    let (mut source, destination, migration) = with_images(100, large).await;
    source.on(Kind::BlobGet, Action::Delay(std::time::Duration::from_millis(10)));
    let mut running = migration.start().await;
    running.until(&destination, Kind::ManifestPut, 10).await;
    source.stop().await;
    running.until_logged("cannot connect").await;
    source.resume().await;
    running.finish().await.assert_success(100);
    for seed in 0..100 {
        let tag = format!("v{seed}");
        assert_same((&source, "team/app", &tag), (&destination, "moved/app", &tag));
    }
}

#[tokio::test]
async fn a_registry_that_is_gone_is_asked_by_one_and_finished_when_it_comes_back() {
    let (mut source, destination, _) = with_images(200, small).await;
    source.on(Kind::BlobGet, Action::Delay(std::time::Duration::from_millis(5)));
    let migration = all(&source, &destination, Migration::with_default_retries());
    let mut running = migration.start().await;
    running.until(&destination, Kind::ManifestPut, 10).await;
    source.stop().await;
    running.until_logged("it will be tried again").await;
    source.resume().await;
    let outcome = running.finish().await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(
        outcome.stdout.contains(RETRY_HANDLE) && outcome.stdout.ends_with(&(summary(200, 0, 0) + "\n")),
        "{outcome}"
    );
    // Those that were under way, and one after them.
    let tries = logged(&outcome, "cannot connect");
    let tries = tries.iter().filter(|line| !line.contains("it will be tried again")).count();
    assert!(tries <= 100, "{tries} tries to connect\n{outcome}");
    assert_eq!(destination.tags("moved/app").len(), 200);
}

#[tokio::test]
async fn the_rate_of_bytes_is_limited_as_asked_for() {
    let (_source, destination, migration) = with_images(2, large).await;
    let migration = migration.args(["--limit-rate", "10K"]);
    let mut running = migration.start().await;
    running.until(&destination, Kind::UploadFinish, 2).await;
    running.signal("INT");
    let outcome = running.finish().await;
    assert_eq!(outcome.code, Some(130), "{outcome}");
    let sent: u64 = destination.requests_of(Kind::UploadFinish).iter().map(|request| request.received).sum();
    assert!(sent < LARGE, "{sent} bytes were sent");
    assert_eq!(outcome.lines("FAILED").len(), 2, "{outcome}");
}

#[tokio::test]
async fn a_rate_is_a_number_of_bytes() {
    for wrong in ["0", "fast", "-1", "50X", "", "99999999999999999999G"] {
        let outcome = Migration::new().images("{}").args([format!("--limit-rate={wrong}")]).run().await;
        outcome.assert_refused(&["--limit-rate"]);
    }
    let (source, destination, migration) = with_images(2, large).await;
    migration.args(["--limit-rate", "50M"]).run().await.assert_success(2);
    for tag in ["v0", "v1"] {
        assert_same((&source, "team/app", tag), (&destination, "moved/app", tag));
    }
}

/// So many repositories with an image each behind a token server, and the migration of them all by two workers.
async fn behind_a_token_server(count: u64) -> (Registry, Registry, Migration) {
    let source = Registry::builder().bearer(("mover", "s3cret")).start().await;
    let destination = Registry::open().await;
    let login = serde_json::json!({ "username": "mover", "password": "s3cret" });
    let mut migration = Migration::new().auth(&serde_json::json!({ source.host(): login })).args(["-w", "2"]);
    for n in 0..count {
        source.put(&format!("team/app{n}"), "1", &small(n));
        let (from, to) =
            (source.reference(&format!("team/app{n}"), "1"), format!("{}/moved/app{n}", destination.host()));
        migration = migration.rule(from, to);
    }
    (source, destination, migration)
}

#[tokio::test]
async fn a_token_server_that_refuses_for_a_while_is_waited_for_by_all_who_need_it() {
    let (source, destination, migration) = behind_a_token_server(30).await;
    source.on(Kind::Token.after(1).times(3), slow_down(1));
    let outcome = migration.run().await;
    outcome.assert_success(30);
    assert!((1..=3).contains(&logged(&outcome, "requests for tokens wait for 1s").len()), "{outcome}");
    assert_eq!(source.count(Kind::Token), 30 + 3, "one for each repository, beside those refused");
    assert_eq!(destination.repositories().len(), 30);
}

#[tokio::test]
async fn a_token_server_that_refuses_always_is_not_asked_by_every_task() {
    let (source, _destination, migration) = behind_a_token_server(30).await;
    source.on(Kind::Token.after(1), slow_down(1));
    let outcome = migration.run().await;
    assert_eq!(outcome.code, Some(1), "{outcome}");
    // Ten at once, then half as many after each refusal.
    assert!(source.count(Kind::Token) <= 1 + 10 + 5 + 3 + 2 + 1, "{}\n{outcome}", source.count(Kind::Token));
    assert!((4..=5).contains(&logged(&outcome, "requests for tokens wait for 1s").len()), "{outcome}");
    assert_eq!(outcome.lines("FAILED").len(), 29, "{outcome}");
    assert!(outcome.lines("FAILED").iter().all(|line| line.contains("slow down")), "{outcome}");
}

#[tokio::test]
async fn an_interruption_ends_the_wait_for_a_token_server() {
    let (source, _destination, migration) = behind_a_token_server(2).await;
    source.on(Kind::Token, slow_down(290));
    let mut running = migration.start().await;
    running.until(&source, Kind::Token, 1).await;
    running.until_logged("requests for tokens wait for 4m").await;
    running.signal("TERM");
    let outcome = running.finish().await;
    assert_eq!(outcome.code, Some(143), "{outcome}");
    assert_eq!(source.count(Kind::Token), 1, "{outcome}");
}
