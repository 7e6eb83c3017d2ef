//! A run that is told to stop says what became of it, and the next run completes it.

use std::time::Duration;

use scriptable_registry::{Answer, Gate, Kind, Port, Registry};
use serde_json::json;

use crate::support::helper::Helpers;
use crate::support::kube_api::kubeconfig;
use crate::support::run::until_seen;
use crate::support::{
    GENERATE, HANDLE, Migration, PASSWORD, RETRY_HANDLE, USER, assert_same, large, summary, two_registries,
};

/// Launches the program so that the end of its session concerns it, also where the tests themselves are run with nohup.
const HEARS_HANGUPS: &str = r#"exec perl -e '$SIG{HUP} = "DEFAULT"; exec @ARGV' "$0" "$@""#;

#[tokio::test]
async fn an_interrupted_run_ends_with_its_summary_and_the_next_completes_it() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let (source, destination) = two_registries().await;
        for seed in 0..3 {
            source.put("team/app", &format!("v{seed}"), &large(seed));
        }
        let held = large(2).layers().remove(0);
        let gate = Gate::closed();
        source.on(Kind::BlobGet.of(&held), gate.clone());
        let migration = Migration::with_default_retries().app(&source, &destination).launched_by(HEARS_HANGUPS);
        let mut running = migration.start().await;
        running.until(&source, Kind::BlobGet, 6).await;
        running.until(&destination, Kind::ManifestPut, 2).await;
        running.signal(signal);
        let outcome = running.finish().await;
        // An answer to the last manifest may have been on its way.
        let unfinished = outcome.lines("FAILED").len();
        assert!((1..=3).contains(&unfinished), "{outcome}");
        outcome.assert(code, &[GENERATE, HANDLE, &summary(3, unfinished, 0)]);
        let to = format!("{}/moved/app:v2", destination.host());
        outcome.assert_failed(&source.reference("team/app", "v2"), &to, &["interrupted"]);
        assert!(outcome.log.as_deref().unwrap().trim_end().ends_with(&summary(3, unfinished, 0)), "{outcome}");
        assert!(!destination.tags("moved/app").contains(&"v2".to_owned()));

        gate.open();
        migration.run().await.assert_success(3);
        for tag in ["v0", "v1", "v2"] {
            assert_same((&source, "team/app", tag), (&destination, "moved/app", tag));
        }
    }
}

#[tokio::test]
async fn an_interrupted_generation_ends_with_its_summary() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let (source, destination) = two_registries().await;
        source.put("team/app", "1.0", &large(1));
        source.on(Kind::TagList, Gate::closed());
        let migration = Migration::with_default_retries()
            .app(&source, &destination)
            .rule(source.reference("other/app", "1.0"), format!("{}/moved/app", destination.host()));
        let mut running = migration.start().await;
        running.until(&source, Kind::TagList, 1).await;
        running.signal(signal);
        let outcome = running.finish().await;
        outcome.assert(code, &[GENERATE, HANDLE, &summary(1, 1, 1)]);
        outcome.assert_line("FAILED images.json:2:3: ", &["interrupted"]);
        assert!(!outcome.stderr.contains("may have there"), "nothing is put any more\n{outcome}");
    }
}

#[tokio::test]
async fn an_interrupted_round_is_the_last_one() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    source.on(Kind::BlobGet, Gate::closed());
    let to = format!("{}/moved/app", destination.host());
    // Neither passes by itself, so that no pause would come before the next round.
    let migration = Migration::with_default_retries()
        .rule(source.reference("team/app", "missing,1.0"), &to)
        .rule(format!("{}/no/such", source.host()), format!("{}/no/such", destination.host()));
    let mut running = migration.start().await;
    running.until(&source, Kind::ManifestGet, 2).await;
    running.until(&source, Kind::BlobGet, 1).await;
    running.signal("INT");
    let outcome = running.finish().await;
    outcome.assert(130, &[GENERATE, HANDLE, &summary(2, 2, 1)]);
    outcome.assert_failed(&source.reference("team/app", "1.0"), &format!("{to}:1.0"), &["interrupted"]);
    let missing = format!("FAILED {} -> {to}:missing: ", source.reference("team/app", "missing"));
    outcome.assert_line(&missing, &[]);
}

#[tokio::test]
async fn what_failed_before_an_interruption_is_told_as_it_failed() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "2.0", &large(1));
    source.on(Kind::ManifestGet.of("1.0").after(1), Gate::closed());
    let migration = Migration::with_default_retries().app_tags(&source, "1.0", &destination);
    let mut running = migration.start().await;
    running.until(&source, Kind::ManifestGet, 2).await;
    running.signal("INT");
    let outcome = running.finish().await;
    outcome.assert(130, &[GENERATE, HANDLE, RETRY_HANDLE, &summary(1, 1, 0)]);
    let to = format!("{}/moved/app:1.0", destination.host());
    outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &["404"]);
}

#[tokio::test]
async fn an_interruption_ends_a_pause_between_rounds() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    source.put("team/app", "2.0", &large(2));
    // The request is tried a few times before the round is over; then comes a pause, and more rounds than anybody waits for.
    source.on(Kind::ManifestGet.of("2.0"), scriptable_registry::Answer::status(503));
    let migration =
        Migration::with_default_retries().app_tags(&source, "1.0,2.0", &destination).args(["--retries", "1000"]);
    let mut running = migration.start().await;
    running.until(&destination, Kind::ManifestPut, 1).await;
    // Told when the round has ended.
    running.until_logged("it will be tried again").await;
    running.signal("TERM");
    let outcome = running.finish().await;
    assert_eq!(outcome.code, Some(143), "{outcome}");
    assert!(outcome.stdout.starts_with(&format!("{GENERATE}\n{HANDLE}\n")), "{outcome}");
    assert!(outcome.stdout.lines().last().unwrap().starts_with("Images(2) migration finished, "), "{outcome}");
}

#[tokio::test]
async fn what_is_nearly_done_when_a_run_is_interrupted_is_let_end() {
    let (source, destination) = two_registries().await;
    for seed in 0..2 {
        source.put("team/app", &format!("v{seed}"), &large(seed));
    }
    // One manifest is sent and its answer awaited, of the other image a blob is on its way, and the second worker has
    // nothing to do.
    let (of_manifest, of_blob) = (Gate::closed(), Gate::closed());
    destination.on(Kind::ManifestPut.of("v0"), of_manifest.clone());
    source.on(Kind::BlobGet.of(&large(1).layers()[0]), of_blob.clone());
    let migration = Migration::with_default_retries().app(&source, &destination);
    let mut running = migration.start().await;
    running.until(&destination, Kind::ManifestPut, 1).await;
    running.until(&source, Kind::BlobGet, 4).await;
    running.signal("INT");
    running.until_logged("interrupted").await;
    of_manifest.open();
    of_blob.open();
    let outcome = running.finish().await;
    outcome.assert(130, &[GENERATE, HANDLE, &summary(2, 0, 0)]);
    for tag in ["v0", "v1"] {
        assert_same((&source, "team/app", tag), (&destination, "moved/app", tag));
    }
}

#[tokio::test]
async fn after_an_interruption_no_blob_is_begun() {
    let (source, destination) = two_registries().await;
    for seed in 0..20 {
        source.put("team/app", &format!("v{seed}"), &large(seed));
    }
    let gate = Gate::closed();
    source.on(Kind::BlobGet, gate.clone());
    let migration = Migration::with_default_retries().app(&source, &destination).args(["-w", "1"]);
    let mut running = migration.start().await;
    running.until(&source, Kind::BlobGet, 1).await;
    running.signal("INT");
    running.until_logged("interrupted").await;
    gate.open();
    let outcome = running.finish().await;
    assert_eq!(outcome.code, Some(130), "{outcome}");
    // It belongs to an image that has another one to come.
    assert_eq!(source.count(Kind::BlobGet), 1, "{outcome}");
    outcome.assert(130, &[GENERATE, HANDLE, &summary(20, 20, 0)]);
    assert!(outcome.lines("FAILED").iter().all(|line| line.contains("interrupted")), "{outcome}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_session_that_ends_several_times_ends_a_run_in_order_and_none_that_was_told_to_go_on() {
    for (goes_on, code) in [(false, 129), (true, 0)] {
        let (source, destination) = two_registries().await;
        source.put("team/app", "1.0", &large(1));
        let gate = Gate::closed();
        source.on(Kind::BlobGet, gate.clone());
        let launcher = if goes_on { "trap '' HUP; exec \"$0\" \"$@\"" } else { HEARS_HANGUPS };
        let migration = Migration::with_default_retries().app(&source, &destination).launched_by(launcher);
        let mut running = migration.start().await;
        running.until(&source, Kind::BlobGet, 2).await;
        running.signal("HUP");
        if !goes_on {
            running.until_logged("interrupted").await;
        }
        running.signal("HUP");
        gate.open();
        let outcome = running.finish().await;
        assert_eq!(outcome.code, Some(code), "{outcome}");
        assert!(outcome.stdout.lines().last().unwrap().starts_with("Images(1) migration finished, "), "{outcome}");
    }
}

#[tokio::test]
async fn signals_that_come_together_are_one_request_to_stop() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let (source, destination) = two_registries().await;
        source.put("team/app", "1.0", &large(1));
        source.on(Kind::BlobGet, Gate::closed());
        let files = ["--report", "report.json", "--failed", "failed.json"];
        let migration = Migration::with_default_retries().app(&source, &destination).args(files);
        let mut running = migration.start().await;
        running.until(&source, Kind::BlobGet, 2).await;
        // As `timeout` does: first the process, then its group.
        for name in [signal, "TERM"] {
            running.signal(name);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let outcome = running.finish().await;
        outcome.assert(code, &[GENERATE, HANDLE, &summary(1, 1, 0)]);
        assert!(["report.json", "failed.json"].iter().all(|name| migration.path(name).exists()), "{outcome}");
    }
}

#[tokio::test]
async fn a_later_second_signal_ends_at_once() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let (source, destination) = two_registries().await;
        source.put("team/app", "1.0", &large(1));
        source.on(Kind::BlobGet, Gate::closed());
        // Of a pipe that nobody reads, a run that ends in order does not see the end.
        let migration = Migration::with_default_retries().app(&source, &destination).args(["--report", "pipe.json"]);
        let made = std::process::Command::new("mkfifo").arg(migration.path("pipe.json")).status().unwrap();
        assert!(made.success());
        let mut running = migration.start().await;
        running.until(&source, Kind::BlobGet, 2).await;
        running.signal("INT");
        running.until_logged("a second SIGINT or SIGTERM, after a second or more, ends at once").await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        running.signal(signal);
        let outcome = running.finish().await;
        assert_eq!(outcome.code, Some(code), "{outcome}");
    }
}

#[tokio::test]
async fn after_an_interruption_nobody_is_asked_again() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    let port = Port::hold();
    let nowhere = format!("{}/team/app:1.0", port.address());
    destination.on(Kind::UploadStart, Answer::status(500));
    let migration =
        Migration::new().app(&source, &destination).rule(nowhere, format!("{}/moved/b", destination.host()));
    let running = migration.start().await;
    running.until_logged("cannot connect").await;
    running.until_logged("500").await;
    running.signal("INT");
    let outcome = running.finish().await;
    assert_eq!(outcome.code, Some(130), "{outcome}");
    let log = outcome.log.as_deref().unwrap();
    let after = log.split_once("interrupted; ").unwrap().1;
    assert!(!after.contains("trying "), "{outcome}");
}

#[tokio::test]
async fn an_interruption_leaves_no_program_running_that_was_asked_for_credentials() {
    let (source, destination) = (Registry::builder().basic((USER, PASSWORD)).start().await, Registry::open().await);
    source.put("team/app", "1.0", &large(1));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let wait = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", file.display());
    let helpers = Helpers::new().add("slow", &wait);
    let plugin = json!({ "exec": { "command": "sh", "args": ["-c", wait], "interactiveMode": "Never" } });
    let cluster = kubeconfig(json!({ "server": "http://127.0.0.1:1" }), plugin);
    let migration = Migration::with_default_retries()
        .auth(&json!({ source.host(): { "credHelper": "slow" } }))
        .app(&source, &destination)
        .env("PATH", helpers.path());
    let config = Migration::with_default_retries().file("kubeconfig", cluster).args(["config", "-k", "kubeconfig"]);
    for run in [migration, config] {
        let running = run.start().await;
        let pid = until_seen("the program that is asked", async || std::fs::read_to_string(&file).ok()).await;
        std::fs::remove_file(&file).unwrap();
        running.signal("TERM");
        let outcome = running.finish().await;
        assert_eq!(outcome.code, Some(143), "{outcome}");
        // Whoever waits for it may have to see first that it has ended.
        let status = format!("/proc/{}/status", pid.trim());
        let is_gone = || std::fs::read_to_string(&status).map_or(true, |status| status.contains("State:\tZ"));
        until_seen("its end", async || is_gone().then_some(())).await;
    }
}
