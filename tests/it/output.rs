//! Standard output byte for byte, what standard error and the log say beside it, and what none of them may say.

mod messages;

use std::collections::BTreeSet;

use scriptable_registry::{Answer, Gate, Kind, Registry};
use serde_json::{Value, json};

use crate::support::{
    GENERATE, HANDLE, Migration, Outcome, RETRY_GENERATE, RETRY_HANDLE, small, summary, two_registries,
};

fn not_found() -> Answer {
    Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry")
}

/// A migration of two small images, with their registries.
async fn two_images() -> (Registry, Registry, Migration) {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    source.put("team/app", "2.0", &small(2));
    let migration = Migration::new().app_tags(&source, "1.0,2.0", &destination);
    (source, destination, migration)
}

#[tokio::test]
async fn success_is_three_lines() {
    let (_source, _destination, migration) = two_images().await;
    migration
        .run()
        .await
        .assert(0, &[GENERATE, HANDLE, "Images(2) migration finished, 0 images tasks failed, 0 tasks generate failed"]);
}

#[tokio::test]
async fn nothing_to_do_is_three_lines_and_a_success() {
    for images in ["{}", "{ }\n", "\u{feff}{}"] {
        let outcome = Migration::new().images(images).run().await;
        outcome.assert(0, &[GENERATE, HANDLE, &summary(0, 0, 0)]);
    }
}

#[tokio::test]
async fn an_image_that_is_there_already_is_a_task_that_ended_well() {
    let (_source, _destination, migration) = two_images().await;
    migration.run().await.assert_success(2);
    migration.run().await.assert_success(2);
}

#[tokio::test]
async fn a_failed_task_is_retried_in_as_many_rounds_as_asked_for() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    for (retries, rounds) in [("0", 0), ("1", 1), ("3", 3)] {
        let migration = Migration::with_default_retries().app_tags(&source, "1.0,missing", &destination);
        let outcome = migration.args(["-r", retries]).run().await;
        let end = summary(2, 1, 0);
        let lines = [vec![GENERATE, HANDLE], vec![RETRY_HANDLE; rounds], vec![&end]].concat();
        outcome.assert(1, &lines);
        assert_eq!(outcome.lines("FAILED").len(), 1, "{outcome}");
    }
}

#[tokio::test]
async fn there_are_three_rounds_unless_said_otherwise() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    let migration = Migration::with_default_retries().app_tags(&source, "missing", &destination);
    let end = summary(1, 1, 0);
    migration.run().await.assert(1, &[GENERATE, HANDLE, RETRY_HANDLE, RETRY_HANDLE, RETRY_HANDLE, &end]);
}

#[tokio::test]
async fn a_failed_generation_is_retried_in_as_many_rounds_as_asked_for() {
    let (source, destination) = two_registries().await;
    for (retries, rounds) in [("0", 0), ("2", 2)] {
        let migration = Migration::with_default_retries()
            .rule(format!("{}/no/such", source.host()), format!("{}/moved/app", destination.host()));
        let outcome = migration.args(["--retries", retries]).run().await;
        let end = summary(0, 0, 1);
        let lines = [vec![GENERATE, HANDLE], vec![RETRY_GENERATE; rounds], vec![&end]].concat();
        outcome.assert(1, &lines);
    }
}

#[tokio::test]
async fn a_generation_that_works_in_the_retry_has_its_tasks_run_there() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    source.put("team/app", "2.0", &small(2));
    source.on(Kind::TagList.once(), not_found());
    let migration = Migration::with_default_retries().app(&source, &destination);
    let outcome = migration.run().await;
    outcome.assert(0, &[GENERATE, HANDLE, RETRY_GENERATE, RETRY_HANDLE, &summary(2, 0, 0)]);
    assert!(outcome.lines("FAILED").is_empty(), "{outcome}");
    assert_eq!(destination.tags("moved/app"), ["1.0", "2.0"]);
}

#[tokio::test]
async fn both_kinds_of_retry_are_announced_in_one_round() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    source.put("team/listed", "1.0", &small(2));
    source.on(Kind::TagList.once(), not_found());
    source.on(Kind::ManifestGet.within("team/app").once(), not_found());
    source.on(Kind::ManifestHead.within("team/app").once(), not_found());
    let migration = Migration::with_default_retries()
        .rule(format!("{}/team/listed", source.host()), format!("{}/moved/listed", destination.host()))
        .app_tags(&source, "1.0", &destination);
    let outcome = migration.run().await;
    outcome.assert(0, &[GENERATE, HANDLE, RETRY_GENERATE, RETRY_HANDLE, &summary(2, 0, 0)]);
}

#[tokio::test]
async fn a_round_whose_kind_is_not_needed_says_nothing_of_it() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    source.on(Kind::TagList.once(), not_found());
    let migration = Migration::with_default_retries()
        .rule(format!("{}/team/app:/^no/", source.host()), format!("{}/moved/app", destination.host()));
    migration.run().await.assert(0, &[GENERATE, HANDLE, RETRY_GENERATE, &summary(0, 0, 0)]);
}

#[tokio::test]
async fn final_failures_are_named_once_and_sorted() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    let to = format!("{}/moved/app", destination.host());
    let migration = Migration::with_default_retries()
        .rule(source.reference("team/app", "c,a,1.0,b"), &to)
        .rule(format!("{}/no/such", source.host()), &to)
        .args(["--retries", "2"]);
    let outcome = migration.run().await;
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let images: Vec<&str> = outcome.lines("FAILED").into_iter().filter(|line| line.contains("/team/app:")).collect();
    let expected = ["a", "b", "c"].map(|tag| format!("FAILED {} -> {to}:{tag}: ", source.reference("team/app", tag)));
    assert_eq!(images.len(), 3, "{outcome}");
    for (line, start) in images.iter().zip(&expected) {
        assert!(line.starts_with(start), "{line} is not {start}\n{outcome}");
    }
    let rule = format!("FAILED images.json:3:3: \"{}/no/such\" -> \"{to}\": ", source.host());
    outcome.assert_line(&rule, &[]);
    assert_eq!(outcome.lines("FAILED").len(), 4, "{outcome}");
}

#[tokio::test]
async fn totals_follow_the_failures() {
    let (source, _destination, migration) = two_images().await;
    let migration = migration.rule(source.reference("team/app", "missing"), format!("{}/moved/b", source.host()));
    let outcome = migration.run().await;
    let failed = outcome.stderr.lines().position(|line| line.starts_with("FAILED ")).expect("one failed");
    let totals = outcome.stderr.lines().skip(failed).find(|line| line.contains("copied"));
    let totals = totals.unwrap_or_else(|| panic!("no totals\n{outcome}"));
    assert!(totals.contains(": 2 copied, 0 up to date, 0 skipped; "), "{totals}");
    assert!(totals.contains(" moved in 4 blobs, 0 B mounted in 0, "), "{totals}");
}

#[tokio::test]
async fn the_summary_is_the_last_line_of_the_log() {
    let (_source, _destination, migration) = two_images().await;
    let migration = migration.rule("nginx", "docker.io/x/y");
    let outcome = migration.run().await;
    let log = outcome.log.as_deref().expect("a log");
    assert!(log.lines().last().unwrap().ends_with(&summary(2, 0, 1)), "{outcome}");
    assert!(log.lines().all(|line| line.starts_with("20")), "a line without a time\n{outcome}");
}

#[tokio::test]
async fn the_log_is_appended() {
    let (_source, _destination, migration) = two_images().await;
    let first = migration.run().await.log.unwrap();
    let second = migration.run().await.log.unwrap();
    assert!(second.starts_with(&first) && second.len() > first.len());
    assert_eq!(second.matches(&summary(2, 0, 0)).count(), 2);
}

#[tokio::test]
async fn the_log_goes_where_it_is_sent() {
    let (_source, _destination, migration) = two_images().await;
    let migration = migration.args(["--log", "other.log"]);
    assert_eq!(migration.run().await.assert_success(2).log, None);
    let log = std::fs::read_to_string(migration.path("other.log")).unwrap();
    assert!(log.lines().last().unwrap().ends_with(&summary(2, 0, 0)));
}

#[tokio::test]
async fn a_log_named_dash_is_standard_error() {
    let (_source, _destination, migration) = two_images().await;
    let migration = migration.args(["--log", "-"]);
    let outcome = migration.run().await;
    outcome.assert_success(2);
    assert!(
        outcome.stderr.lines().any(|line| line.starts_with("20") && line.ends_with(&summary(2, 0, 0))),
        "{outcome}"
    );
    assert_eq!(migration.files(), ["images.json"]);
}

/// Two images that are copied, one that fails, a rule that cannot be listed and one that cannot be used; the log on stderr.
async fn on_standard_error(format: &str) -> Outcome {
    let (source, destination, migration) = two_images().await;
    let to = format!("{}/moved/b", destination.host());
    let migration = migration
        .rule(source.reference("team/app", "missing"), &to)
        .rule(format!("{}/no/such", source.host()), &to)
        .rule("nginx", "docker.io/x/y")
        .args(["--log", "-", "--log-format", format, "--progress", "plain"]);
    let outcome = migration.run().await;
    assert_eq!(outcome.code, Some(1), "{outcome}");
    outcome
}

#[tokio::test]
async fn on_standard_error_a_failure_is_not_told_twice_by_the_log() {
    let outcome = on_standard_error("text").await;
    outcome.assert_failures(3, 1, 2);
    for (word, count) in [("FAILED", 2), ("INVALID", 1)] {
        let lines: Vec<&str> = outcome.stderr.lines().filter(|line| line.contains(word)).collect();
        assert_eq!(lines.len(), count, "{word}\n{outcome}");
        assert_eq!(lines, outcome.lines(word), "{outcome}");
    }
}

#[tokio::test]
async fn a_json_log_on_standard_error_has_all_that_is_told_there_and_nothing_else() {
    let outcome = on_standard_error("json").await;
    let lines: Vec<Value> = outcome.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let of = |word: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["message"].as_str().unwrap().contains(word)).collect()
    };
    assert_eq!((of("FAILED ").len(), of("INVALID ").len()), (2, 1), "{outcome}");
    for (line, category) in of("FAILED ").into_iter().zip(["not-found"; 2]).chain([(of("INVALID ")[0], "config")]) {
        assert_eq!(line["category"], category, "{line}");
        assert!(line["message"].as_str().unwrap().ends_with(line["reason"].as_str().unwrap()), "{line}");
    }
    assert!(of("INVALID ")[0]["rule"].as_str().unwrap().starts_with("images.json:5:3: \"nginx\" -> "), "{outcome}");
    assert_eq!((of(" copied, ").len(), of("migration finished").len()), (1, 1), "{outcome}");
    assert!(lines.iter().any(|line| line["message"] == "3 images"), "{outcome}");
}

#[tokio::test]
async fn a_log_that_was_asked_for_and_cannot_be_written_stops_the_run() {
    let (source, _destination, migration) = two_images().await;
    migration.args(["--log", "no/such/folder/x.log"]).run().await.assert_refused(&["no/such/folder/x.log"]);
    assert_eq!(source.count_all(), 0);
}

#[tokio::test]
async fn a_report_that_cannot_be_written_is_told_in_the_log_before_its_last_line() {
    let (source, _destination, migration) = two_images().await;
    let gate = Gate::closed();
    source.on(Kind::ManifestGet, gate.clone());
    let folder = migration.path("reports");
    std::fs::create_dir(&folder).unwrap();
    let migration = migration.args(["--report", "reports/r.json"]);
    let mut running = migration.start().await;
    running.until(&source, Kind::ManifestGet, 1).await;
    std::fs::remove_dir_all(&folder).unwrap();
    gate.open();
    let outcome = running.finish().await;
    assert_eq!(outcome.code, Some(1), "{outcome}");
    for text in [&outcome.stderr, outcome.log.as_ref().unwrap()] {
        assert_eq!(text.matches("error: reports/r.json cannot be written").count(), 1, "{text}");
    }
    assert!(
        outcome.log.as_ref().unwrap().lines().last().unwrap().contains("Images(2) migration finished"),
        "{outcome}"
    );
}

#[tokio::test]
async fn the_usual_log_that_cannot_be_written_is_a_warning() {
    for level in ["-q", "-v"] {
        let (_source, _destination, migration) = two_images().await;
        std::fs::create_dir(migration.path("image-migrator.log")).unwrap();
        let outcome = migration.args([level]).run().await;
        outcome.assert_success(2);
        outcome.assert_line("warning: the log file image-migrator.log cannot be written: ", &["no log file"]);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_log_that_takes_no_more_lines_is_told_once() {
    let (_source, _destination, migration) = two_images().await;
    let outcome = migration.args(["-q", "--log", "/dev/full"]).run().await;
    outcome.assert_success(2);
    outcome.assert_line("warning: the log file /dev/full cannot be written any more: ", &["No space left"]);
}

#[tokio::test]
async fn every_line_of_a_json_log_is_an_object() {
    let (source, _destination, migration) = two_images().await;
    source.on(Kind::ManifestGet.once(), Answer::error(503, "UNAVAILABLE", "not now"));
    let migration = migration.rule(source.reference("team/app", "missing"), format!("{}/moved/b", source.host()));
    let outcome = migration.args(["--log-format", "json"]).run().await;
    let log = outcome.log.as_deref().expect("a log");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().all(Value::is_object), "{outcome}");
    let refused = lines.iter().find(|line| line.to_string().contains("not now")).expect("a warning");
    assert!(refused.get("spans").is_some(), "{outcome}");
    assert!(lines.iter().all(|line| line.get("span").is_none()), "it is the last of them\n{outcome}");
    assert!(lines.last().unwrap().to_string().contains(&summary(3, 1, 0)), "{outcome}");
    assert!(log.contains("missing"), "{outcome}");
}

#[tokio::test]
async fn the_log_tells_of_every_image_by_naming_it_once() {
    let (source, destination, migration) = two_images().await;
    let log = migration.run().await.log.unwrap();
    for tag in ["1.0", "2.0"] {
        let image = format!(
            "source={} destination={}",
            source.reference("team/app", tag),
            destination.reference("moved/app", tag)
        );
        let copied: Vec<_> = log.lines().filter(|line| line.contains("copied") && line.contains(&image)).collect();
        assert_eq!(copied.len(), 1, "{tag}\n{log}");
        assert_eq!(copied[0].matches("source=").count(), 1, "{log}");
    }
}

#[tokio::test]
async fn no_secret_is_ever_written() {
    const RIGHT: &str = "r1ght-S3cret/+%";
    const WRONG: &str = "wr0ng-S3cret/+%";
    for (password, format) in [(RIGHT, "text"), (WRONG, "text"), (RIGHT, "json"), (WRONG, "json")] {
        for bearer in [false, true] {
            let builder = if bearer {
                Registry::builder().bearer(("mover", RIGHT))
            } else {
                Registry::builder().basic(("mover", RIGHT))
            };
            let source = builder.redirect_blobs().start().await;
            let destination = Registry::open().await;
            source.put("team/app", "1.0", &small(1));
            source.on(Kind::BlobGet.once(), Answer::status(500));
            let migration = Migration::with_default_retries()
                .auth(&json!({ source.host(): { "username": "mover", "password": password } }))
                .rule(format!("{}/team/app", source.host()), format!("{}/a/b", destination.host()))
                .rule(source.reference("team/app", "1.0,missing"), format!("{}/a/c", destination.host()))
                .args(["--retries", "1", "--log-format", format]);
            let outcome = migration.run().await;
            assert_eq!(outcome.code, Some(1), "{outcome}");
            let everything = outcome.everything();
            let basic = base64(format!("mover:{password}").as_bytes());
            for secret in [password, "S3cret", &basic, "Bearer ey", "X-Signature", "X-Key"] {
                assert!(!everything.contains(secret), "{secret} is told\n{outcome}");
            }
            for request in source.requests() {
                let Some((_, token)) = request.header("authorization").and_then(|value| value.split_once(' ')) else {
                    continue;
                };
                assert!(!everything.contains(token), "{token} is told\n{outcome}");
            }
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[tokio::test]
async fn help_and_readme_name_the_same_flags() {
    let outcome = Migration::with_default_retries().args(["--help"]).run().await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let flags = |lines: &[&str]| -> BTreeSet<String> {
        let words = lines.iter().flat_map(|line| line.split(|c: char| !c.is_ascii_lowercase() && c != '-'));
        words.filter(|word| word.len() > 2 && word.starts_with("--")).map(str::to_owned).collect()
    };
    let rows = include_str!("../../README.md").split_once("\n## Flags\n").unwrap().1.split("\n## ").next().unwrap();
    let rows: Vec<&str> = rows.lines().filter_map(|row| row.strip_prefix("| `")?.split(" | ").next()).collect();
    let lines: Vec<&str> = outcome.stdout.lines().map(str::trim).filter(|line| line.starts_with('-')).collect();
    let beside = flags(&["--verbose --quiet --help --version"]);
    assert_eq!(flags(&lines), &flags(&rows) | &beside, "{outcome}");
    for word in
        ["-r, --retries", "-w, --workers", "-v, --verbose", "-q, --quiet", "DEFAULT_NAMESPACE", "DEFAULT_REGISTRY"]
    {
        assert!(outcome.stdout.contains(word), "{word}\n{outcome}");
    }
    assert!(outcome.stdout.contains("Usage: image-migrator"), "{outcome}");
}

#[tokio::test]
async fn version_is_told() {
    let outcome = Migration::with_default_retries().args(["--version"]).run().await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(outcome.stdout, format!("image-migrator {}\n", env!("CARGO_PKG_VERSION")));
    assert!(outcome.log.is_none());
}
