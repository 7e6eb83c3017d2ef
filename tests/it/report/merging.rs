//! `report merge` makes one report of the shards of a run, or of a run and its repetitions.

use scriptable_registry::{Answer, Kind};
use serde_json::{Value, json};

use super::{read, report};
use crate::support::{Migration, large, small, summary, two_registries};

/// A report as a program that is not this one might have written it.
pub fn written(images: &[Value], rules: &[Value], shard: Option<&str>) -> String {
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

/// What `--failed` keeps names the same rules, with their destinations in full.
#[tokio::test]
async fn a_repetition_makes_good_a_rule_whose_tags_were_not_listed() {
    let (source, destination) = two_registries().await;
    source.put("team/a", "1", &small(1));
    source.put("team/b", "1", &small(2));
    let refused = source.on(Kind::TagList.within("team/b"), Answer::status(403));
    let to = destination.host();
    let flags = ["--registry", &to, "--namespace", "to", "--report", "r.json", "--failed", "f.json"];
    let first = ["a", "b"].into_iter().fold(Migration::new().args(flags), |migration, name| {
        migration.rule(format!("{}/team/{name}", source.host()), "")
    });
    first.run().await.assert_failures(1, 0, 1);
    refused.remove();
    let again = Migration::new().images(&read(&first, "f.json")).args(["--report", "r.json"]);
    again.run().await.assert_success(1);
    let files = [("1.json", read(&first, "r.json")), ("2.json", read(&again, "r.json"))];
    merge(&files[..1], &[]).run().await.assert(1, &[&summary(1, 0, 1)]);
    merge(&files, &[]).run().await.assert(0, &[&summary(2, 0, 0)]);
}
