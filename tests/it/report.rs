//! `--report` keeps what became of each image, for machines, for spreadsheets and for people; `report merge` joins it.

use std::path::Path;

use scriptable_registry::{Answer, Gate, Image, Index, Kind};
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

/// A report as a program that is not this one might have written it.
fn written(images: &[Value], rules: &[Value], shard: Option<&str>) -> String {
    let failed = images.iter().filter(|image| matches!(image["result"].as_str(), Some("failed" | "cancelled"))).count();
    let mut report = json!({
        "schema": "image-migrator/report/v1", "version": "0.1.0", "started": "2026-03-01T22:00:00Z", "seconds": 60.5,
        "summary": {
            "images": images.len(), "failed": failed, "notGenerated": rules.len(), "copied": images.len() - failed,
            "upToDate": 0, "skipped": 0, "cancelled": 0, "bytesMoved": 1000, "blobsMoved": 2, "bytesMounted": 0,
            "blobsMounted": 0, "blobsPresent": 0, "layersSkipped": 0,
        },
        "rules": rules, "images": images,
    });
    if let Some(shard) = shard {
        report["shards"] = json!([shard]);
    }
    report.to_string()
}

fn image(source: &str, result: &str, started: Option<&str>) -> Value {
    let failed = result == "failed";
    json!({
        "source": source, "destination": format!("d.example.com/{source}"), "sourceDigest": null,
        "destinationDigest": null, "previousDigest": null, "mediaType": null, "platforms": [], "size": null,
        "bytesMoved": 500, "blobsMoved": 1, "blobsMounted": 0, "blobsPresent": 0, "result": result,
        "category": failed.then_some("network"), "reason": failed.then_some("it broke"),
        "attempts": u8::from(started.is_some()), "started": started, "seconds": 1.5,
    })
}

fn merge(files: &[(&str, String)], arguments: &[&str]) -> Migration {
    let mut migration = Migration::with_default_retries().args(["report", "merge"]);
    for (name, text) in files {
        migration = migration.file(name, text).args([*name]);
    }
    migration.args(arguments.iter().copied())
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
async fn a_report_that_cannot_be_written_is_a_failure_after_the_summary() {
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

#[tokio::test]
async fn shards_are_joined_with_the_summary_and_the_exit_code_of_the_whole() {
    let one = written(&[image("a.io/a:1", "copied", Some("2026-03-01T22:00:01Z"))], &[], Some("0/2"));
    let two = written(&[image("a.io/b:1", "up-to-date", Some("2026-03-01T22:00:01Z"))], &[], Some("1/2"));
    let migration = merge(&[("0.json", one.clone()), ("1.json", two.clone())], &["-o", "all.json", "-o", "all.csv"]);
    migration.run().await.assert(0, &[&summary(2, 0, 0)]);
    let whole = report(&migration, "all.json");
    assert!(whole.get("shards").is_none(), "it is the whole");
    assert_eq!((&whole["summary"]["copied"], &whole["summary"]["upToDate"]), (&json!(1), &json!(1)));
    assert_eq!(whole["summary"]["bytesMoved"], 2000);
    assert_eq!(read(&migration, "all.csv").lines().count(), 3);

    let rule = json!({"place": "images.json:2:3", "source": "a.io/c", "destination": "", "invalid": false,
        "category": "network", "reason": "it broke"});
    let failed = written(&[image("a.io/b:1", "failed", Some("2026-03-01T22:00:01Z"))], &[rule], Some("1/2"));
    let outcome = merge(&[("0.json", one.clone()), ("1.json", failed)], &[]).run().await;
    outcome.assert(1, &[&summary(2, 1, 1)]);
    outcome.assert_line("FAILED images.json:2:3: \"a.io/c\" -> \"\": ", &["it broke"]);
    outcome.assert_failed("a.io/b:1", "d.example.com/a.io/b:1", &["it broke"]);

    let outcome = merge(&[("0.json", one)], &[]).run().await;
    outcome.assert(1, &[&summary(1, 0, 0)]);
    outcome.assert_line("warning: ", &["1 of the shards", "1/2"]);
}

#[tokio::test]
async fn a_repetition_makes_good_what_had_failed() {
    let first = written(&[image("a.io/a:1", "failed", Some("2026-03-01T22:00:01Z"))], &[], None);
    let second = written(&[image("a.io/a:1", "copied", Some("2026-03-01T23:00:01Z"))], &[], None);
    for files in [[("1.json", first.clone()), ("2.json", second.clone())], [("2.json", second), ("1.json", first)]] {
        merge(&files, &[]).run().await.assert(0, &[&summary(1, 0, 0)]);
    }
}

#[tokio::test]
async fn what_is_no_report_is_refused_with_its_place() {
    let good = written(&[], &[], None);
    for (text, words) in [
        (good.replace("report/v1", "report/v9"), ["r.json:1:", "report/v9"]),
        ("{\n  \"quay.io/a\": \"\"\n}".to_owned(), ["r.json:3:1: ", "missing field"]),
        ("[\n".to_owned(), ["r.json:2:", "this is no report"]),
        (String::new(), ["r.json:1:1: ", "this is no report"]),
    ] {
        let migration = merge(&[("good.json", good.clone()), ("r.json", text)], &["-o", "all.json"]);
        migration.run().await.assert_refused(&words);
        assert!(!migration.files().contains(&"all.json".to_owned()));
    }
    merge(&[], &["no.json"]).run().await.assert_refused(&["cannot read no.json"]);
    merge(&[("good.json", good.clone())], &["-o", "all.txt"]).run().await.assert_refused(&["all.txt"]);
    merge(&[], &[]).run().await.assert_refused(&["<FILE>"]);
}

#[tokio::test]
async fn the_page_holds_hostile_names_as_data_alone() {
    let names =
        ["</script><script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "<!--", "\u{202e}gpj", "{{script}}"];
    let images: Vec<Value> = names
        .iter()
        .map(|name| {
            let mut image = image(name, "failed", Some("2026-03-01T22:00:01Z"));
            image["reason"] = json!(format!("{name} was refused"));
            image
        })
        .collect();
    let migration = merge(&[("r.json", written(&images, &[], None))], &["-o", "page.html"]);
    migration.run().await.assert(1, &[&summary(5, 5, 0)]);
    let page = read(&migration, "page.html");
    for markup in ["</script><script>alert", "<img", "onerror=alert(1)>", "<!--"] {
        assert!(!page.contains(markup), "{markup}");
    }
    assert_eq!((page.matches("<script").count(), page.matches("</script>").count()), (2, 2));
    assert!(page.contains("default-src 'none'"));
    let data = page.split_once("id=\"report\">").unwrap().1.split_once("</script>").unwrap().0;
    let report: Value = serde_json::from_str(data).unwrap();
    let mut found: Vec<&str> =
        report["images"].as_array().unwrap().iter().map(|image| image["source"].as_str().unwrap()).collect();
    let mut expected = names.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "nothing is lost of them");
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

#[tokio::test]
async fn a_dry_run_is_no_migration_that_could_be_joined() {
    let (source, destination) = two_registries().await;
    for seed in 0..3 {
        source.put("team/app", &format!("v{seed}"), &large(seed));
    }
    let plan = Migration::new()
        .rule(format!("{}/team/app", source.host()), format!("{}/to/app", destination.host()))
        .args(["--dry-run", "--report", "plan.json"]);
    assert_eq!(plan.run().await.code, Some(0));
    let planned = report(&plan, "plan.json");
    let sums = &planned["summary"];
    assert_eq!((&sums["planned"], &sums["copied"]), (&json!(3), &json!(0)));
    for field in ["blobsMoved", "bytesMoved"] {
        let images = planned["images"].as_array().unwrap().iter();
        let sum: u64 = images.map(|image| image[field].as_u64().unwrap()).sum();
        assert!(sum > 0 && sums[field] == sum, "{field}: {planned:#}");
    }
    let migration = merge(&[("plan.json", read(&plan, "plan.json"))], &["-o", "all.html"]);
    migration.run().await.assert_refused(&["plan.json is the report of a dry run"]);
    assert_eq!(migration.files(), ["plan.json"]);
}

#[tokio::test]
async fn a_joined_report_replaces_no_other() {
    let good = written(&[], &[], None);
    let migration = merge(&[("a.json", good.clone()), ("b.json", good.clone())], &["-o", "./b.json"]);
    migration.run().await.assert_refused(&["b.json is read and written"]);
    assert_eq!(read(&migration, "b.json"), good);
    let twice = merge(&[("a.json", good)], &["-o", "w.json", "-o", "./w.json"]);
    twice.run().await.assert_refused(&["w.json is named for two things"]);
}

/// A repetition brings what one shard had left; that of another is still not there.
#[tokio::test]
async fn a_repetition_does_not_hide_a_shard_that_is_missing() {
    let shard = written(&[image("a.io/a:1", "failed", Some("2026-03-01T22:00:01Z"))], &[], Some("0/2"));
    let again = written(&[image("a.io/a:1", "copied", Some("2026-03-01T23:00:01Z"))], &[], None);
    let outcome = merge(&[("0.json", shard), ("again.json", again)], &[]).run().await;
    outcome.assert(1, &[&summary(1, 0, 0)]);
    outcome.assert_line("warning: ", &["1 of the shards", "1/2"]);
}

#[tokio::test]
async fn a_later_verification_counts_more_than_the_copy_before() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &small(1));
    let rule = (source.reference("app", "1"), destination.reference("app", "1"));
    let copied = Migration::new().rule(&rule.0, &rule.1).args(["--report", "r.json"]);
    copied.run().await.assert_success(1);
    destination.remove_manifest("app", "1");
    let looked = Migration::with_default_retries().args(["verify", "--report", "r.json"]).rule(&rule.0, &rule.1);
    assert_eq!(looked.run().await.code, Some(1));
    let files = [("copied.json", read(&copied, "r.json")), ("looked.json", read(&looked, "r.json"))];
    let outcome = merge(&files, &[]).run().await;
    outcome.assert(1, &[&summary(1, 1, 0)]).assert_failed(&rule.0, &rule.1, &["it is missing"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn lines_that_were_not_written_are_a_failure() {
    let report = written(&[], &[], None);
    for arguments in [["--dry-run"].as_slice(), &["verify"], &["--retries", "0"], &["report", "merge", "r.json"]] {
        let migration = Migration::with_default_retries().images("{}").file("r.json", &report);
        let outcome = migration.args(arguments.iter().copied()).stdout_to("/dev/full").run().await;
        assert_eq!(outcome.code, Some(1), "{arguments:?}: {outcome}");
        outcome.assert_line("error: standard output cannot be written: ", &["No space left"]);
    }
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
