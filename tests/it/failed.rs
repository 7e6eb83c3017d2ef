//! `--failed` writes what is left to do, as rules which do it when they are given back.

use scriptable_registry::{Answer, Kind};
use serde_json::{Value, json};

use crate::support::{Migration, assert_same, small, two_registries};

fn read(migration: &Migration) -> String {
    std::fs::read_to_string(migration.path("failed.json")).unwrap()
}

fn again(migration: &Migration) -> Migration {
    Migration::new().images(&read(migration)).args(["--failed", "failed.json"])
}

#[tokio::test]
async fn what_failed_is_brought_when_it_is_given_back() {
    let (source, destination) = two_registries().await;
    for (seed, tag) in ["1.0", "2.0", "3.0"].into_iter().enumerate() {
        source.put("team/app", tag, &small(seed as u64));
        source.put("team/listed", tag, &small(10 + seed as u64));
    }
    let digest = source.manifest("team/app", "3.0").unwrap().digest.to_string();
    let refused = Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    source.on(Kind::TagList.once(), refused.clone());
    source.on(Kind::ManifestGet.of("2.0").within("team/app"), refused.clone());
    source.on(Kind::ManifestGet.of(&digest), refused);
    let host = destination.host();
    let from = source.host();
    let migration = Migration::new()
        .rule_to(source.reference("team/app", "1.0,2.0"), json!([format!("{host}/to/app"), format!("{host}/to/other")]))
        .rule_to(
            format!("{from}/team/app@{digest}"),
            json!([format!("{host}/to/app"), format!("{host}/to/app:tagged"), ""]),
        )
        .rule(format!("{from}/team/listed:/^[12]/"), "")
        .args(["--registry", &host, "--namespace", "default/ns", "--failed", "failed.json"]);
    let outcome = migration.run().await;
    outcome.assert_failures(7, 5, 1);
    let text = read(&migration);
    let expected = json!({
        format!("{from}/team/listed:/^[12]/"): format!("{host}/default/ns/listed"),
        format!("{from}/team/app:2.0"): [format!("{host}/to/app:2.0"), format!("{host}/to/other:2.0")],
        format!("{from}/team/app@{digest}"):
            [format!("{host}/default/ns/app"), format!("{host}/to/app"), format!("{host}/to/app:tagged")],
    });
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected, "{text}");
    assert!(text.starts_with(&format!("{{\n  \"{from}/team/listed:")), "rules come first\n{text}");

    // No default is needed any more.
    source.clear_hooks();
    let next = again(&migration);
    let outcome = next.run().await;
    outcome.assert_success(7);
    assert_eq!(read(&next), "{}\n");
    assert_same((&source, "team/app", "2.0"), (&destination, "to/other", "2.0"));
    assert_same((&source, "team/app", "3.0"), (&destination, "to/app", "tagged"));
    assert_same((&source, "team/listed", "2.0"), (&destination, "default/ns/listed", "2.0"));
}

#[tokio::test]
async fn what_cannot_be_cured_by_running_it_again_is_not_lost() {
    let (source, destination) = two_registries().await;
    source.put("team/one", "1.0", &small(1));
    source.put("team/two", "1.0", &small(2));
    let to = format!("{}/to/app", destination.host());
    let migration = Migration::new()
        .rule(source.reference("team/one", "1.0"), &to)
        .rule(source.reference("team/two", "1.0"), &to)
        .rule("nginx", &to)
        .rule_to("quay.io/a/b", serde_json::json!([]))
        .args(["--failed", "failed.json", "--registry", &destination.host(), "--namespace", "default"]);
    migration.run().await.assert_failures(1, 0, 3);
    let [one, two] = ["team/one", "team/two"].map(|name| source.reference(name, "1.0"));
    let expected = format!(
        "{{\n  \"{one}\": \"{to}\",\n  \"{two}\": \"{to}\",\n  \"nginx\": \"{to}\",\n  \"quay.io/a/b\": []\n}}\n"
    );
    assert_eq!(read(&migration), expected);

    // The clash takes no tag of the rule that has it, and scripts see that all is not well.
    let next = again(&migration);
    next.run().await.assert_failures(1, 0, 3);
    assert_eq!(read(&next), expected);
    assert_same((&source, "team/one", "1.0"), (&destination, "to/app", "1.0"));
}

#[tokio::test]
async fn a_rule_that_is_given_back_takes_no_tag_of_an_earlier_one() {
    let (source, destination) = two_registries().await;
    for tag in ["1.0", "2.0"] {
        source.put("team/late", tag, &small(20));
    }
    source.put("team/early", "1.0", &small(1));
    source.on(
        Kind::TagList.within("team/late").once(),
        Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry"),
    );
    let to = format!("{}/to/app", destination.host());
    let early = source.reference("team/early", "1.0");
    let late = format!("{}/team/late", source.host());
    let other = source.reference("team/early", "1.0");
    let migration = Migration::new()
        .rule(&early, &to)
        .rule(&other, format!("{}/to/elsewhere", destination.host()))
        .rule(&late, &to)
        .args(["--failed", "failed.json"]);
    migration.run().await.assert_failures(2, 0, 1);
    let expected = format!("{{\n  \"{early}\": \"{to}\",\n  \"{late}\": \"{to}\"\n}}\n");
    assert_eq!(read(&migration), expected);

    let next = again(&migration);
    next.run().await.assert_failures(2, 0, 1);
    assert_same((&source, "team/early", "1.0"), (&destination, "to/app", "1.0"));
    assert_same((&source, "team/late", "2.0"), (&destination, "to/app", "2.0"));
    assert_eq!(read(&next), expected, "its 1.0 clashes");
}

#[tokio::test]
async fn the_file_of_rules_is_not_replaced_by_what_is_left_of_it() {
    let rules = r#"{"nginx": "d.example.com/a"}"#;
    for failed in ["images.json", "./images.json"] {
        let migration = Migration::new().images(rules).args(["--failed", failed]);
        migration.run().await.assert_refused(&["images.json is read and written", "choose another file"]);
        assert_eq!(std::fs::read_to_string(migration.path("images.json")).unwrap(), rules);
    }
    Migration::new().images(rules).args(["--failed", "-"]).run().await.assert_refused(&["--failed", "name a file"]);
    let migration = Migration::new().images(rules).args(["--failed", "no/failed.json"]);
    migration.run().await.assert_refused(&["there is no directory no"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_is_mounted_by_itself_is_written_too() {
    // As `docker run -v FILE:FILE` has it. Who may mount nothing cannot try.
    let may_mount = std::process::Command::new("unshare").args(["-rm", "true"]).output();
    if !may_mount.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: nothing can be mounted here");
        return;
    }
    let (source, destination) = two_registries().await;
    let mut migration = Migration::new()
        .app_tags(&source, "missing", &destination)
        .args(["--failed", "failed.json", "--report", "report.json"])
        .launched_by(
            "unshare -rm sh -c 'for name in failed.json report.json; do mount --bind \"$name.outside\" \"$name\"; done; \
             exec \"$0\" \"$@\"' \"$0\" \"$@\"",
        );
    for name in ["failed.json", "report.json"] {
        migration = migration.file(name, "").file(&format!("{name}.outside"), "what was there before".repeat(1000));
    }
    migration.run().await.assert_failures(1, 1, 0);
    for name in ["failed.json", "report.json"] {
        let text = std::fs::read_to_string(migration.path(&format!("{name}.outside"))).unwrap();
        let value: Value = serde_json::from_str(&text).expect(&text);
        assert!(value.is_object() && text.contains("team/app"), "{text}");
    }
}
