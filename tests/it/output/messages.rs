//! What is told of what stops a run and of each request, and what is told of neither.

use serde_json::Value;

use crate::support::{Migration, large, two_registries};

#[tokio::test]
async fn a_json_log_on_standard_error_has_also_what_stops_the_run() {
    let json = ["--log", "-", "--log-format", "json"];
    for (migration, told) in [
        (Migration::new().images("{"), "error: images.json:1:2: "),
        (Migration::new().images("{}").args(["--report", "nodir/x.json"]), "error: --report: nodir/x.json cannot be"),
        (
            Migration::with_default_retries().images("{}").args(["verify", "--report", "nodir/x.json"]),
            "error: --report: nodir/x.json",
        ),
        (Migration::new().images("{}").env("RUST_LOG", "image_migrator=loud"), "warning: RUST_LOG="),
    ] {
        let outcome = migration.args(json).run().await;
        let lines: Vec<Value> = outcome.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let of_it: Vec<_> =
            lines.iter().filter_map(|line| line["message"].as_str()).filter(|text| text.starts_with(told)).collect();
        assert_eq!(of_it.len(), 1, "{told}\n{outcome}");
    }
}

#[tokio::test]
async fn a_failure_is_found_in_a_json_log_by_its_image_and_is_no_longer_in_a_text_log() {
    for format in ["json", "text"] {
        let (source, destination) = two_registries().await;
        source.put("team/app", "1.0", &large(1));
        let to = format!("{}/moved/app", destination.host());
        let migration = Migration::with_default_retries()
            .rule(source.reference("team/app", "missing"), &to)
            .rule(format!("{}/no/such", source.host()), &to)
            .args(["--retries", "1", "--log-format", format]);
        let outcome = migration.run().await;
        let log = outcome.log.as_deref().unwrap();
        if format == "text" {
            for line in log.lines().chain(outcome.stderr.lines()).filter(|line| line.contains("404")) {
                let doubled = ["source=", "destination=", "rule=", "reason="].iter().any(|field| line.contains(field));
                assert!(!doubled, "{line}");
            }
            assert!(log.contains("it will be tried again category=not-found"), "{outcome}");
            assert!(outcome.stderr.contains("it will be tried again\n"), "{outcome}");
            continue;
        }
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let levels = |field: &str, value: &str| -> Vec<&str> {
            let told = lines.iter().filter(|line| line["reason"].is_string() && line[field] == value);
            told.map(|line| line["level"].as_str().unwrap()).collect()
        };
        // What is tried again, then what became of it: in the order of events and at the end.
        assert_eq!(levels("destination", &format!("{to}:missing")), ["WARN", "INFO", "ERROR"], "{outcome}");
        assert_eq!(levels("source", &source.reference("team/app", "missing")).len(), 3, "{outcome}");
        let rule = format!("images.json:3:3: {:?} -> {to:?}", format!("{}/no/such", source.host()));
        assert_eq!(levels("rule", &rule), ["WARN", "INFO", "ERROR"], "{outcome}");
    }
}

#[tokio::test]
async fn what_fails_again_in_the_same_words_is_said_once_and_logged_each_time() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    let to = format!("{}/moved/app", destination.host());
    let migration = Migration::with_default_retries().rule(source.reference("team/app", "missing"), &to);
    let outcome = migration.run().await;
    let count = |text: &str| text.matches("it will be tried again").count();
    assert_eq!((count(&outcome.stderr), count(outcome.log.as_deref().unwrap())), (1, 3), "{outcome}");
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_told_once_for_all_its_tries_and_logged_each_time() {
    let (_source, destination) = two_registries().await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let to = format!("{}/moved/app", destination.host());
    let outcome = Migration::new().rule(format!("{gone}/team/app:1.0"), &to).run().await;
    let count = |text: &str| text.lines().filter(|line| line.contains("; trying again")).count();
    assert_eq!((count(&outcome.stderr), count(outcome.log.as_deref().unwrap())), (1, 4), "{outcome}");
}

#[tokio::test]
async fn a_quiet_log_has_warnings_and_the_last_line_alone() {
    let (source, destination) = two_registries().await;
    for repository in ["a/app", "b/app"] {
        source.put(repository, "1.0", &large(1));
    }
    let to = format!("{}/moved/app", destination.host());
    let rules = ["a/app", "b/app"].map(|repository| source.reference(repository, "1.0"));
    let migration = rules.iter().fold(Migration::new(), |migration, rule| migration.rule(rule, &to));
    let outcome = migration.args(["-q"]).run().await;
    let log = outcome.log.as_deref().unwrap();
    let taken: Vec<&str> = log.lines().filter(|line| line.contains("the destination is taken")).collect();
    let [taken] = taken.as_slice() else { panic!("{outcome}") };
    assert!(taken.contains(" WARN ") && taken.contains(&format!("destination={to}:1.0")), "{outcome}");
    assert!(!outcome.stderr.contains("the destination is taken"), "its rule is named there\n{outcome}");
}

#[tokio::test]
async fn what_stops_a_run_is_in_the_log_too() {
    let outcome = Migration::new().images("{").run().await;
    outcome.assert_refused(&["error: images.json:1:2: "]);
    assert_eq!(outcome.log.as_deref().unwrap().matches("error: images.json:1:2: ").count(), 1, "{outcome}");
}

#[tokio::test]
async fn the_most_verbose_log_has_every_request_without_its_query() {
    for (level, has_requests) in [("-v", false), ("-vv", true)] {
        let (source, destination) = two_registries().await;
        source.put("team/app", "1.0", &large(1));
        let outcome = Migration::new().app(&source, &destination).args([level]).run().await;
        outcome.assert_success(1);
        let log = outcome.log.as_deref().unwrap();
        let of = |method: &str, host: String, path: &str| {
            let begin = format!("request=\"{method} http://{host}/v2/{path}");
            log.lines().filter(|line| line.contains(&begin) && line.contains("status=20")).count()
        };
        let seen = [
            of("GET", source.host(), "team/app/manifests/1.0"),
            of("GET", source.host(), "team/app/blobs/sha256:"),
            of("PUT", destination.host(), "moved/app/blobs/uploads/"),
        ];
        assert!(seen.iter().all(|count| (*count > 0) == has_requests), "{level}: {seen:?}\n{outcome}");
        let traced: Vec<&str> = log.lines().filter(|line| line.contains(" TRACE ")).collect();
        assert_eq!(!traced.is_empty(), has_requests);
        assert!(!traced.iter().any(|line| line.contains('?') || line.contains("digest=")), "{outcome}");
    }
}

#[tokio::test]
async fn a_login_in_a_rule_is_not_shown_but_given_back() {
    let rule = "https://user:s3cr3t@quay.io/a/b";
    let migration = Migration::new().rule(rule, "d.io/x").args([
        "--failed",
        "failed.json",
        "--report",
        "r.json",
        "--report",
        "r.html",
    ]);
    let outcome = migration.run().await;
    outcome.assert_failures(0, 0, 1);
    outcome.assert_line("INVALID images.json:2:3: \"https://***@quay.io/a/b\" -> \"d.io/x\": ", &["https://"]);
    let read = |name: &str| std::fs::read_to_string(migration.path(name)).unwrap();
    let told = [outcome.everything(), read("r.json"), read("r.html")].concat();
    assert!(!told.contains("s3cr3t") && !told.contains("user:"), "{told}");
    assert!(read("failed.json").contains(rule));
    let outcome = Migration::new().images("{}").file("auth.json", format!("{{\"{rule}\": {{}}}}")).run().await;
    outcome.assert_refused(&["https://***@quay.io/a/b"]);
    assert!(!outcome.everything().contains("s3cr3t"), "{outcome}");
}

#[tokio::test]
async fn a_variable_that_is_no_text_is_told_and_stops_only_those_who_need_it() {
    let run = |arguments: &[&str]| {
        let migration = Migration::with_default_retries().images("{}").args(arguments.iter().copied());
        migration.launched_by("DEFAULT_REGISTRY=$(printf '\\377'); export DEFAULT_REGISTRY; exec \"$0\" \"$@\"")
    };
    run(&[]).run().await.assert_refused(&["error: DEFAULT_REGISTRY is not UTF-8"]);
    run(&["--registry", "r.io"]).run().await.assert_success(0);
    let outcome = run(&["completions", "bash"]).run().await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn help_that_cannot_be_written_is_a_failure() {
    for word in ["--help", "--version"] {
        let outcome =
            Migration::with_default_retries().args([word]).launched_by("\"$0\" \"$@\" > /dev/full").run().await;
        assert_eq!(outcome.code, Some(1), "{outcome}");
        outcome.assert_line("error: standard output cannot be written: ", &[]);
    }
}
