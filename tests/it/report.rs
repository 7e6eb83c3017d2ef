//! `--report` keeps what became of each image, for machines, for spreadsheets and for people; `report merge` joins it.

mod merging;

use std::path::Path;

use scriptable_registry::{Answer, Gate, Image, Index, Kind, Manifest as _};
use serde_json::{Value, json};

use crate::support::{GENERATE, HANDLE, LARGE, Migration, large, small, summary, two_registries};

fn read(migration: &Migration, name: &str) -> String {
    let path = migration.path(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn report(migration: &Migration, name: &str) -> Value {
    serde_json::from_str(&read(migration, name)).unwrap()
}

/// The record of the image with this destination.
fn record<'a>(report: &'a Value, destination: &str) -> &'a Value {
    let images = report["images"].as_array().unwrap();
    let found: Vec<&Value> = images.iter().filter(|image| image["destination"] == destination).collect();
    let [image] = found.as_slice() else { panic!("{} records of {destination} in {report:#}", found.len()) };
    image
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn each_image_is_a_record_with_all_that_was_learnt() {
    let (source, destination) = two_registries().await;
    let (amd64, arm64) = (Image::new("linux/amd64").layer_of(1, 2_000), Image::new("linux/arm64").layer_of(2, 3_000));
    let index = Index::new().image(&amd64).image(&arm64);
    source.put("team/app", "multi", &index);
    source.put("team/app", "moved", &small(4));
    source.put("team/app", "same", &small(5));
    destination.put("to/app", "moved", &small(6));
    destination.put("to/app", "same", &small(5));
    let to = |tag: &str| format!("{}/to/app:{tag}", destination.host());
    let migration = Migration::new()
        .rule(source.reference("team/app", "multi,moved,same,missing"), format!("{}/to/app", destination.host()))
        .args(["--report", "report.json", "--report", "report.csv"]);
    let before = destination.manifest("to/app", "moved").unwrap().digest;
    migration.run().await.assert_failures(4, 1, 0);

    let report = report(&migration, "report.json");
    assert_eq!(report["schema"], "image-migrator/report/v1");
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    assert!(report.get("shards").is_none());
    let names: Vec<&str> =
        report["images"].as_array().unwrap().iter().map(|image| image["source"].as_str().unwrap()).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(names.len(), 4);

    let multi = record(&report, &to("multi"));
    let digest = source.manifest("team/app", "multi").unwrap().digest.to_string();
    assert_eq!(multi["source"], source.reference("team/app", "multi"));
    assert_eq!((&multi["sourceDigest"], &multi["destinationDigest"]), (&json!(digest), &json!(digest)));
    assert_eq!(multi["previousDigest"], Value::Null);
    assert_eq!(multi["platforms"], json!(["linux/amd64", "linux/arm64"]));
    assert_eq!((&multi["result"], &multi["attempts"]), (&json!("copied"), &json!(1)));
    assert_eq!(multi["blobsMoved"].as_u64().unwrap() + multi["blobsPresent"].as_u64().unwrap(), 4, "{multi}");
    assert!(multi["bytesMoved"].as_u64().unwrap() >= 5_000, "{multi}");
    assert!(multi["mediaType"].as_str().unwrap().contains("index"), "{multi}");
    assert!(multi["started"].as_str().unwrap().ends_with('Z'));

    assert_eq!(record(&report, &to("moved"))["previousDigest"], before.to_string());
    let same = record(&report, &to("same"));
    assert_eq!((&same["result"], &same["bytesMoved"]), (&json!("up-to-date"), &json!(0)));
    let missing = record(&report, &to("missing"));
    assert_eq!((&missing["result"], &missing["category"]), (&json!("failed"), &json!("not-found")));
    assert!(missing["reason"].as_str().unwrap().contains("404"), "{missing}");

    let sums = &report["summary"];
    let sum = |field: &str| sums[field].as_u64().unwrap();
    assert_eq!(["images", "failed", "copied", "upToDate", "notGenerated"].map(sum), [4, 1, 2, 1, 0]);
    let of_images = |field: &str| -> u64 {
        report["images"].as_array().unwrap().iter().map(|image| image[field].as_u64().unwrap()).sum()
    };
    assert_eq!(sum("bytesMoved"), of_images("bytesMoved"));
    assert_eq!(sum("blobsMoved"), of_images("blobsMoved"));
    let bytes: u64 = report["traffic"]["bytes"].as_array().unwrap().iter().map(|part| part.as_u64().unwrap()).sum();
    assert_eq!(bytes, sum("bytesMoved"));

    let csv = read(&migration, "report.csv");
    let rows: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(rows.len(), 5, "{csv}");
    assert!(rows[0].starts_with("source,destination,sourceDigest,"), "{csv}");
    let row = format!("{},{},{digest},{digest},,", source.reference("team/app", "multi"), to("multi"));
    assert_eq!(rows.iter().filter(|line| line.starts_with(&row)).count(), 1, "{csv}");
    #[cfg(unix)]
    for name in ["report.json", "report.csv"] {
        assert_eq!(mode(&migration.path(name)), 0o600);
    }
}

#[tokio::test]
async fn a_layer_of_several_platforms_is_one_blob_of_the_image() {
    let (source, destination) = two_registries().await;
    let [amd64, arm64] = ["linux/amd64", "linux/arm64"].map(|platform| Image::new(platform).layer("shared"));
    source.put("app", "1", &Index::new().image(&amd64).image(&arm64));
    destination.put("app", "other", &small(1));
    let migration = Migration::new()
        .rule(source.reference("app", "1"), destination.reference("app", "1"))
        .args(["--report", "report.json"]);
    // The registry lacks a part of it for a moment: all are looked for again.
    let lacking = Answer::error(404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
    for lacks in [false, true] {
        if lacks {
            for manifest in ["1", &amd64.digest(), &arm64.digest()] {
                destination.remove_manifest("app", manifest);
            }
            destination.on(Kind::ManifestPut.of("1").once(), lacking.clone());
        }
        migration.run().await.assert_success(1);
        let report = report(&migration, "report.json");
        let image = &report["images"][0];
        let counts = ["blobsMoved", "blobsPresent"].map(|name| image[name].as_u64().unwrap());
        assert_eq!(counts, if lacks { [0, 3] } else { [3, 0] }, "{image}");
    }
}

#[tokio::test]
async fn a_blob_that_is_looked_for_again_is_counted_once() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &large(1).layer_of(2, 300_000));
    destination.put("app", "other", &small(1));
    let migration = Migration::new()
        .rule(source.reference("app", "1"), destination.reference("app", "1"))
        .args(["--report", "report.json"]);
    for (present, moved) in [(0, 3), (3, 0)] {
        destination.on(Kind::ManifestPut.times(2), Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry"));
        let outcome = migration.run().await;
        outcome.assert_success(1);
        assert!(outcome.stderr.contains(&format!(" {present} already there")), "{outcome}");
        let report = report(&migration, "report.json");
        for counts in [&report["summary"], &report["images"][0]] {
            assert_eq!((&counts["blobsPresent"], &counts["blobsMoved"]), (&json!(present), &json!(moved)), "{report}");
        }
        // Two of them are large.
        let flights = report["traffic"]["flights"].as_array().unwrap();
        assert_eq!(flights.len(), if moved > 0 { 2 } else { 0 }, "{report:#}");
        destination.remove_manifest("app", "1");
        destination.clear_hooks();
    }
}

#[tokio::test]
async fn rules_that_were_not_carried_out_stand_in_the_report() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    let to = format!("{}/to/app", destination.host());
    let migration = Migration::new()
        .rule("nginx", &to)
        .rule(format!("{}/no/such", source.host()), &to)
        .rule(source.reference("team/app", "1.0"), &to)
        .args(["--report", "r.json"]);
    migration.run().await.assert_failures(1, 0, 2);
    let report = report(&migration, "r.json");
    assert_eq!(report["summary"]["notGenerated"], 2);
    let rules = report["rules"].as_array().unwrap();
    assert_eq!((&rules[0]["place"], &rules[0]["invalid"]), (&json!("images.json:2:3"), &json!(true)));
    assert_eq!((&rules[0]["source"], &rules[0]["category"]), (&json!("nginx"), &json!("config")));
    assert_eq!((&rules[1]["place"], &rules[1]["invalid"]), (&json!("images.json:3:3"), &json!(false)));
    assert_eq!(rules[1]["category"], "not-found");
}

#[tokio::test]
async fn a_repeated_attempt_is_the_same_record() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    destination.on(Kind::ManifestPut.once(), Answer::status(400));
    let to = format!("{}/to/app", destination.host());
    let migration =
        Migration::with_default_retries().rule(source.reference("team/app", "1.0"), &to).args(["--report", "r.json"]);
    assert_eq!(migration.run().await.code, Some(0));
    let report = report(&migration, "r.json");
    let image = record(&report, &format!("{to}:1.0"));
    assert_eq!((&image["result"], &image["attempts"]), (&json!("copied"), &json!(2)));
    assert_eq!((&image["category"], &image["reason"]), (&Value::Null, &Value::Null));
    assert_eq!((&image["blobsMoved"], &image["blobsPresent"]), (&json!(2), &json!(0)), "{image}");
}

#[tokio::test]
async fn large_blobs_are_flights_of_as_many_workers_as_there_are() {
    let (source, destination) = two_registries().await;
    for seed in 0..6 {
        source.put("team/app", &format!("v{seed}"), &large(seed));
    }
    let migration = Migration::new()
        .rule(format!("{}/team/app", source.host()), format!("{}/to/app", destination.host()))
        .args(["--workers", "2", "--report", "r.json"]);
    migration.run().await.assert_success(6);
    let report = report(&migration, "r.json");
    let workers = report["traffic"]["workers"].as_array().unwrap();
    assert!((1..=2).contains(&workers.len()), "{workers:?}");
    let flights = report["traffic"]["flights"].as_array().unwrap();
    let mut digests: Vec<&str> = flights.iter().map(|flight| flight["digest"].as_str().unwrap()).collect();
    let mut layers: Vec<String> = (0..6).flat_map(|seed| large(seed).layers()).collect();
    digests.sort_unstable();
    layers.sort_unstable();
    assert_eq!(digests, layers);
    for flight in flights {
        assert!(flight["worker"].as_u64().unwrap() < workers.len() as u64, "{flight}");
        assert_eq!(flight["source"], format!("{}/team/app", source.host()));
    }
}

#[tokio::test]
async fn an_interrupted_run_reports_what_it_did_and_what_it_never_reached() {
    let (source, destination) = two_registries().await;
    for seed in 0..40 {
        source.put("team/app", &format!("v{seed:02}"), &large(seed));
    }
    source.on(Kind::BlobGet, Gate::closed());
    let migration = Migration::new()
        .rule(format!("{}/team/app", source.host()), format!("{}/to/app", destination.host()))
        .args(["--workers", "1", "--report", "r.json", "--report", "r.html", "--failed", "failed.json"]);
    let mut running = migration.start().await;
    running.until(&source, Kind::BlobGet, 1).await;
    running.signal("TERM");
    let outcome = running.finish().await;
    assert_eq!(outcome.code, Some(143), "{outcome}");
    let report = report(&migration, "r.json");
    let images = report["images"].as_array().unwrap();
    assert_eq!(images.len(), 40);
    assert!(images.iter().all(|image| image["result"] == "cancelled" && image["category"] == "cancelled"));
    assert!(images.iter().any(|image| image["attempts"] == 0 && image["started"].is_null()));
    assert_eq!((&report["summary"]["failed"], &report["summary"]["cancelled"]), (&json!(40), &json!(40)));
    assert!(read(&migration, "r.html").contains("</html>"));
    let failed: Value = serde_json::from_str(&read(&migration, "failed.json")).unwrap();
    assert_eq!(failed.as_object().unwrap().len(), 40);
}

#[tokio::test]
async fn a_report_that_could_never_be_written_is_refused_before_anything_is_done() {
    for (name, words) in [
        ("r.txt", ["r.txt", ".json, .csv or .html"]),
        ("report", ["report", ".json, .csv or .html"]),
        ("no/such/r.json", ["no/such/r.json", "there is no directory no/such"]),
        (".", [".", "--report"]),
        ("images.json", ["images.json", "is read and written"]),
    ] {
        let migration = Migration::new().images("{}").args(["--report", name]);
        migration.run().await.assert_refused(&words);
        assert_eq!(migration.files(), ["images.json"], "nothing is done, not even a log begun");
    }
    let twice = Migration::new().images("{}").args(["--report", "r.json", "--failed", "r.json"]);
    twice.run().await.assert_refused(&["r.json is named for two things"]);
    let twice = Migration::new().images("{}").args(["--report", "r.json", "--failed", "./r.json"]);
    twice.run().await.assert_refused(&["r.json is named for two things"]);
}

#[tokio::test]
async fn the_log_is_not_replaced_and_does_not_grow_in_the_configuration() {
    for (arguments, words) in [
        (["--failed", "image-migrator.log"].as_slice(), "image-migrator.log is the log file"),
        (&["--report", "run.json", "--log", "./run.json"], "run.json is the log file"),
        (&["verify", "--report", "run.json", "--log", "run.json"], "run.json is the log file"),
        (&["--log", "images.json"], "images.json is read and written"),
        (&["verify", "--log", "auth.json"], "auth.json is read and written"),
    ] {
        let migration = Migration::with_default_retries().images("{}").args(arguments.iter().copied());
        migration.run().await.assert_refused(&[words, "choose another file"]);
        assert_eq!(migration.files(), ["images.json"], "nothing is begun");
    }
    let nowhere = Migration::new().images("{}").args(["--failed", "/dev/null", "--log", "/dev/null"]);
    assert_eq!(nowhere.run().await.code, Some(0), "a device holds nothing that could be lost");
}

#[tokio::test]
async fn a_report_that_cannot_be_written_is_a_failure() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    let gate = Gate::closed();
    source.on(Kind::BlobGet, gate.clone());
    let migration = Migration::new()
        .rule(source.reference("team/app", "1.0"), format!("{}/to/app", destination.host()))
        .args(["--report", "out/r.json", "--failed", "out/failed.json", "--report", "r.csv"]);
    std::fs::create_dir(migration.path("out")).unwrap();
    let mut running = migration.start().await;
    running.until(&source, Kind::BlobGet, 1).await;
    std::fs::remove_dir(migration.path("out")).unwrap();
    gate.open();
    let outcome = running.finish().await;
    outcome.assert_failures(1, 0, 0);
    outcome.assert_line("error: out/r.json cannot be written: ", &[]);
    outcome.assert_line("error: out/failed.json cannot be written: ", &[]);
    assert!(outcome.stderr.lines().last().unwrap().starts_with("error: "), "{outcome}");
    assert!(read(&migration, "r.csv").contains(",copied,"), "the others are written");
}

#[tokio::test]
async fn an_earlier_report_is_replaced_whole_and_nothing_else_is_left() {
    let migration = Migration::new()
        .images("{}")
        .file("r.json", "x".repeat(100_000))
        .args(["--report", "r.json", "--report", "r.csv", "--report", "r.html", "--failed", "f.json"]);
    migration.run().await.assert_success(0);
    assert_eq!(report(&migration, "r.json")["images"], json!([]));
    assert_eq!(read(&migration, "f.json"), "{}\n");
    let files = ["f.json", "image-migrator.log", "images.json", "r.csv", "r.html", "r.json"];
    assert_eq!(migration.files(), files);
    #[cfg(unix)]
    for name in ["f.json", "image-migrator.log", "r.csv", "r.html", "r.json"] {
        assert_eq!(mode(&migration.path(name)), 0o600, "{name}");
    }
}

/// What was on its way when an image failed arrives later, and counts to it.
#[tokio::test]
async fn what_was_moved_for_an_image_that_failed_counts_to_it() {
    let (source, destination) = two_registries().await;
    let (broken, other) = (Image::new("linux/amd64").layer_of(1, LARGE).layer_of(2, LARGE), large(3));
    source.put("app", "broken", &broken);
    source.put("app", "other", &other);
    let (late, last) = (Gate::closed(), Gate::closed());
    source.on(Kind::BlobGet.of(&broken.layers()[0]), Answer::status(404));
    source.on(Kind::BlobGet.of(&broken.layers()[1]), late.clone());
    source.on(Kind::BlobGet.of(&other.layers()[0]), last.clone());
    let migration = Migration::new()
        .rule(format!("{}/app", source.host()), format!("{}/app", destination.host()))
        .args(["--report", "report.json"]);
    let running = migration.start().await;
    running.until_logged("404 Not Found category=not-found").await;
    late.open();
    running.until_logged(&format!("digest={} bytes={LARGE}", broken.layers()[1])).await;
    last.open();
    running.finish().await.assert_failures(2, 1, 0);
    let report = report(&migration, "report.json");
    let failed = record(&report, &destination.reference("app", "broken"));
    assert_eq!((&failed["result"], &failed["blobsMoved"]), (&json!("failed"), &json!(2)), "{report:#}");
    for field in ["blobsMoved", "bytesMoved"] {
        let images = report["images"].as_array().unwrap().iter();
        let sum: u64 = images.map(|image| image[field].as_u64().unwrap()).sum();
        assert_eq!(report["summary"][field], sum, "{field}");
    }
}

/// All that prints something, and asks nobody.
fn printing() -> Vec<Migration> {
    let run = |arguments: &[&str]| Migration::with_default_retries().args(arguments.iter().copied());
    let report = merging::written(&[], &[], None);
    vec![
        run(&[]).images("{}"),
        run(&["--dry-run"]).images("{}"),
        run(&["verify"]).images("{}"),
        run(&["report", "merge", "r.json"]).file("r.json", report),
        run(&["rewrite", "a.yaml"]).rule("quay.io/a", "d.io/a").file("a.yaml", "image: quay.io/a:1\n"),
        run(&["completions", "bash"]),
    ]
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn lines_that_were_not_written_are_a_failure() {
    for migration in printing() {
        let migration = migration.stdout_to("/dev/full");
        let outcome = migration.run().await;
        assert_eq!(outcome.code, Some(1), "{migration:?}: {outcome}");
        outcome.assert_line("error: standard output cannot be written: ", &["No space left"]);
    }
}

#[tokio::test]
async fn who_closes_the_pipe_has_read_what_he_wanted() {
    for migration in printing() {
        let migration = migration.stdout_to_nobody();
        let outcome = migration.run().await;
        assert_eq!(outcome.code, Some(0), "{migration:?}: {outcome}");
        assert!(!outcome.stderr.contains("error"), "{outcome}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_report_that_may_be_written_in_a_folder_that_may_not_is_written_over() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;
    // As somebody whom permissions bind.
    const BOUND: &str = "test $(id -u) = 0 || exec \"$0\" \"$@\"
        exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" \"$@\"";
    let outputs = ["--report", "r.json", "--failed", "f.json", "--log", "-", "--images", "-"];
    let migration = Migration::new().stdin("{}").launched_by(BOUND).args(outputs);
    for name in ["r.json", "f.json"] {
        std::fs::write(migration.path(name), "what was there before ".repeat(100)).unwrap();
        set_permissions(migration.path(name), Permissions::from_mode(0o666)).unwrap();
    }
    set_permissions(migration.path("."), Permissions::from_mode(0o555)).unwrap();
    migration.run().await.assert_success(0);
    assert_eq!(report(&migration, "r.json")["summary"]["images"], 0);
    assert_eq!(read(&migration, "f.json"), "{}\n");
    set_permissions(migration.path("."), Permissions::from_mode(0o755)).unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_report_on_standard_output_follows_what_stands_there() {
    let migration = Migration::new().images("{}").args(["--failed", "/dev/stdout"]).stdout_to("out.txt");
    let outcome = migration.run().await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(read(&migration, "out.txt"), format!("{GENERATE}\n{HANDLE}\n{}\n{{}}\n", summary(0, 0, 0)));
}

#[tokio::test]
async fn a_path_cannot_move_what_is_shown() {
    for arguments in [
        ["--report", "no\u{1b}[31mb/x.json"],
        ["--report", "no\u{1b}[31mb.txt"],
        ["--failed", "no\u{1b}[31mb/x"],
        ["--log", "no\u{1b}[31mb/x"],
    ] {
        let outcome = Migration::new().images("{}").args(arguments).run().await;
        outcome.assert_refused(&["no\u{fffd}[31mb"]);
        assert!(!outcome.stderr.contains('\u{1b}'), "{outcome}");
    }
}
