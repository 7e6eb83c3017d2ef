//! Every form of a rule, from images.json to the tags at the destination.

use scriptable_registry::{Answer, Kind, Registry};
use serde_json::json;

use crate::support::{GENERATE, HANDLE, Migration, RETRY_GENERATE, RETRY_HANDLE, small, summary, two_registries};

/// A source whose `team/app` has the tags 1.0, 1.1, 2.0-rc1 and latest, and an empty destination.
async fn four_tags() -> (Registry, Registry) {
    let (source, destination) = two_registries().await;
    for (seed, tag) in ["1.0", "1.1", "2.0-rc1", "latest"].into_iter().enumerate() {
        source.put("team/app", tag, &small(seed as u64));
    }
    (source, destination)
}

/// The tags that the destination has after a rule with this behind the source's repository.
async fn copied(selection: &str) -> Vec<String> {
    let (source, destination) = four_tags().await;
    let to = format!("{}/moved/app", destination.host());
    let outcome = Migration::new().rule(format!("{}/team/app{selection}", source.host()), to).run().await;
    let tags = destination.tags("moved/app");
    outcome.assert_success(tags.len());
    for tag in &tags {
        assert_eq!(destination.digest("moved/app", tag), source.digest("team/app", tag));
    }
    tags
}

#[tokio::test]
async fn a_repository_means_all_its_tags() {
    assert_eq!(copied("").await, ["1.0", "1.1", "2.0-rc1", "latest"]);
}

#[tokio::test]
async fn a_repository_means_all_its_tags_over_all_pages() {
    for builder in [Registry::builder(), Registry::builder().absolute_links()] {
        let source = builder.page_size(2).largest_page(2).start().await;
        let destination = Registry::open().await;
        for tag in 0..7 {
            source.put("team/app", &format!("v{tag}"), &small(1));
        }
        let migration = Migration::new().app(&source, &destination);
        migration.run().await.assert_success(7);
        assert_eq!(destination.tags("moved/app").len(), 7);
    }
}

#[tokio::test]
async fn tags_are_listed_by_name() {
    assert_eq!(copied(":1.0").await, ["1.0"]);
    assert_eq!(copied(":latest,1.0").await, ["1.0", "latest"]);
}

#[tokio::test]
async fn an_expression_selects_tags_in_which_it_is_found() {
    assert_eq!(copied(r":/^1\./").await, ["1.0", "1.1"]);
    assert_eq!(copied(":/rc/").await, ["2.0-rc1"]);
    assert_eq!(copied(":/1/").await, ["1.0", "1.1", "2.0-rc1"]);
    assert_eq!(copied(r":!/^1\./").await, ["2.0-rc1", "latest"]);
    assert!(copied(":/nothing/").await.is_empty());
}

#[tokio::test]
async fn a_digest_takes_the_tag_beside_it_or_at_the_destination() {
    let (source, destination) = four_tags().await;
    let digest = source.digest("team/app", "1.0").unwrap();
    let app = format!("{}/team/app", source.host());
    let to = destination.host();
    let outcome = Migration::new()
        .rule(format!("{app}:stable@{digest}"), format!("{to}/beside/app"))
        .rule(format!("{app}@{digest}"), format!("{to}/given/app:v1"))
        .rule(format!("{app}:stable@{digest}"), format!("{to}/both/app:v2"))
        .rule(format!("{app}@{digest}"), format!("{to}/repeated/app:v3@{digest}"))
        .rule(format!("{app}@{digest}"), format!("{to}/none/app"))
        .rule(format!("{app}@{digest}"), format!("{to}/same/app@{digest}"))
        .run()
        .await;
    outcome.assert_success(6);
    for (repository, tags) in
        [("beside", vec!["stable"]), ("given", vec!["v1"]), ("both", vec!["v2"]), ("none", vec![]), ("same", vec![])]
    {
        let repository = format!("{repository}/app");
        assert_eq!(destination.tags(&repository), tags, "{repository}");
        assert_eq!(destination.missing(&repository, &digest), Vec::<String>::new(), "{repository}");
    }
    assert!(outcome.stderr.contains("images.json:6:3"), "no warning of an image without a tag\n{outcome}");
    // A tag that stands beside a digest is not asked for.
    assert_eq!(source.requests_of(Kind::ManifestGet.of("stable")).len(), 0);
}

#[tokio::test]
async fn destination_tags_are_paired_in_order() {
    let (source, destination) = four_tags().await;
    let to = destination.host();
    let outcome = Migration::new()
        .rule(source.reference("team/app", "1.0"), format!("{to}/one/app:first"))
        .rule(source.reference("team/app", "latest,1.1"), format!("{to}/two/app:a,b"))
        .run()
        .await;
    outcome.assert_success(3);
    assert_eq!(destination.digest("one/app", "first"), source.digest("team/app", "1.0"));
    assert_eq!(destination.digest("two/app", "a"), source.digest("team/app", "latest"));
    assert_eq!(destination.digest("two/app", "b"), source.digest("team/app", "1.1"));
}

#[tokio::test]
async fn an_array_is_a_rule_for_each_destination() {
    let (source, destination) = four_tags().await;
    let to = destination.host();
    let migration = Migration::new()
        .rule_to(source.reference("team/app", "1.0"), json!([format!("{to}/a/app"), format!("{to}/b/app:x"), ""]))
        .args(["--registry", &to, "--namespace", "c"]);
    migration.run().await.assert_success(3);
    assert_eq!(destination.repositories(), ["a/app", "b/app", "c/app"]);
    assert_eq!(destination.tags("b/app"), ["x"]);
}

#[tokio::test]
async fn a_key_that_stands_twice_is_two_rules() {
    let (source, destination) = four_tags().await;
    let to = destination.host();
    let from = source.reference("team/app", "1.0");
    Migration::new()
        .rule(&from, format!("{to}/a/app"))
        .rule(&from, format!("{to}/b/app"))
        .run()
        .await
        .assert_success(2);
    assert_eq!(destination.repositories(), ["a/app", "b/app"]);
}

#[tokio::test]
async fn identical_tasks_are_run_and_counted_once() {
    let (source, destination) = four_tags().await;
    let to = format!("{}/moved/app", destination.host());
    let from = source.reference("team/app", "1.0");
    let outcome = Migration::new()
        .rule(&from, &to)
        .rule(&from, &to)
        .rule(&from, format!("{to}:1.0"))
        .rule(source.reference("team/app", "1.0,1.0"), &to)
        .rule(format!("{}/team/app", source.host()), &to)
        .run()
        .await;
    outcome.assert_success(4);
    assert_eq!(destination.requests_of(Kind::ManifestPut.of("1.0")).len(), 1);
}

#[tokio::test]
async fn an_empty_destination_goes_to_the_default_registry_and_namespace() {
    let (source, destination) = four_tags().await;
    source.put("app", "1.0", &small(1));
    source.put("a/b/c", "1.0", &small(1));
    let to = destination.host();
    let rules = || {
        Migration::new()
            .rule(source.reference("team/app", "1.0"), "")
            .rule(source.reference("app", "1.0"), "")
            .rule(source.reference("a/b/c", "1.0"), "")
    };
    let flags = |namespace: &str| ["--registry".to_owned(), to.clone(), "--namespace".to_owned(), namespace.to_owned()];
    for (migration, namespace) in [
        (rules().args(flags("flags")), "flags"),
        (rules().args(flags("deep/name/space")), "deep/name/space"),
        (rules().env("DEFAULT_REGISTRY", &to).env("DEFAULT_NAMESPACE", "variables"), "variables"),
        (rules().args(flags("over")).env("DEFAULT_REGISTRY", "x.io").env("DEFAULT_NAMESPACE", "y"), "over"),
        (rules().env("DEFAULT_REGISTRY", &to).args(["--namespace", "both"]), "both"),
    ] {
        // Both app and team/app go to <namespace>/app:1.0 with different content.
        let outcome = migration.run().await;
        outcome.assert_failures(2, 0, 1);
        outcome.assert_line("FAILED images.json:3:3: ", &[&format!("{to}/{namespace}/app:1.0")]);
        assert_eq!(destination.tags(&format!("{namespace}/app")), ["1.0"]);
        assert_eq!(destination.digest(&format!("{namespace}/app"), "1.0"), source.digest("team/app", "1.0"));
        assert_eq!(destination.tags(&format!("{namespace}/b/c")), ["1.0"]);
    }
}

#[tokio::test]
async fn a_default_registry_of_one_word_needs_an_entry() {
    let (source, _) = four_tags().await;
    let migration = || {
        let rule = Migration::new().rule(source.reference("team/app", "1.0"), "");
        rule.args(["--registry", "harbor", "--namespace", "n", "--failed", "failed.json"])
    };
    let outcome = migration().run().await;
    outcome.assert_failures(0, 0, 1);
    outcome.assert_line("INVALID ", &["--registry or DEFAULT_REGISTRY", "entry in auth.json"]);
    migration().auth(&json!({ "harbor": { "insecure": true } })).run().await.assert_failures(1, 1, 0);
}

#[tokio::test]
async fn an_empty_destination_without_defaults_names_flag_and_variable() {
    let (source, destination) = four_tags().await;
    let rules = || Migration::new().rule(source.reference("team/app", "1.0"), "");
    let registry = ["--registry", "DEFAULT_REGISTRY"];
    let namespace = ["--namespace", "DEFAULT_NAMESPACE"];
    for (migration, words) in [
        (rules(), [registry, namespace].concat()),
        (rules().args(["--registry", &destination.host()]), namespace.to_vec()),
        (rules().args(["--namespace", "x"]), registry.to_vec()),
        (rules().env("DEFAULT_REGISTRY", "").env("DEFAULT_NAMESPACE", "x"), registry.to_vec()),
    ] {
        let outcome = migration.run().await;
        outcome.assert_failures(0, 0, 1);
        outcome.assert_line("INVALID images.json:2:3: ", &words);
    }
}

#[tokio::test]
async fn rules_that_cannot_be_used_are_all_named_at_once_and_the_others_run() {
    let (source, destination) = four_tags().await;
    let app = format!("{}/team/app", source.host());
    let to = format!("{}/moved/app", destination.host());
    let digest = source.digest("team/app", "1.0").unwrap();
    let other = source.digest("team/app", "1.1").unwrap();
    let invalid = [
        ("nginx:1".to_owned(), to.clone(), "docker.io/library/nginx:1"),
        ("bitnami/redis".to_owned(), to.clone(), "docker.io/bitnami/redis"),
        (app.clone(), "team/app".to_owned(), "docker.io/team/app"),
        (app.clone(), format!("{to}:1.0"), "tag"),
        (format!("{app}:/1/"), format!("{to}:1.0"), "tag"),
        (format!("{app}:1.0,1.1"), format!("{to}:1.0"), "2"),
        (format!("{app}:1.0"), format!("{to}:a,b"), "2"),
        (format!("{app}:1 0"), to.clone(), "space"),
        (format!("{app}:-x"), to.clone(), "tag"),
        (format!("{app}@sha256:12"), to.clone(), "digest"),
        (format!("{app}:/(/"), to.clone(), "regular expression"),
        (format!("{app}:/1"), to.clone(), "regular expression"),
        (format!("{app}:1.0"), format!("{to}@{digest}"), "digest"),
        (format!("{app}@{digest}"), format!("{to}@{other}"), "digest"),
        (app.to_uppercase(), to.clone(), "team/app"),
        (app.replace("127", "https://127"), to.clone(), "https://"),
        (String::new(), to.clone(), "empty"),
        (source.host(), to.clone(), "repository"),
    ];
    let mut migration = Migration::with_default_retries().rule(format!("{app}:1.0"), &to);
    for (from, to, _) in &invalid {
        migration = migration.rule(from, to);
    }
    let outcome = migration.rule_to(&app, json!([])).run().await;
    // No round: what is wrong in the file stays wrong.
    outcome.assert(1, &[GENERATE, HANDLE, &summary(1, 0, invalid.len() + 1)]);
    for (index, (from, to, word)) in invalid.iter().enumerate() {
        let start = format!("INVALID images.json:{}:3: {from:?} -> {to:?}: ", index + 3);
        outcome.assert_line(&start, &[word]);
    }
    outcome.assert_line(&format!("INVALID images.json:{}:3: ", invalid.len() + 3), &["empty"]);
    assert_eq!(outcome.lines("INVALID").len(), invalid.len() + 1, "{outcome}");
    assert_eq!(destination.tags("moved/app"), ["1.0"]);
}

#[tokio::test]
async fn what_is_converted_is_given_no_digest_at_its_destination() {
    let (source, destination) = four_tags().await;
    let digest = source.digest("team/app", "1.0").unwrap();
    let (from, to) = (format!("{}/team/app@{digest}", source.host()), format!("{}/moved/app", destination.host()));
    for flags in [["--platform", "linux/amd64"], ["--format", "docker"]] {
        let migration = Migration::new().rule(&from, format!("{to}@{digest}")).rule(&from, format!("{to}:1@{digest}"));
        let outcome = migration.args(flags).run().await;
        outcome.assert_failures(0, 0, 2);
        for place in ["2:3", "3:3"] {
            outcome.assert_line(&format!("INVALID images.json:{place}: "), &["--platform and --format change digests"]);
        }
    }
}

#[tokio::test]
async fn on_a_clash_the_earlier_rule_keeps_the_tag_and_the_later_one_its_other_tags() {
    let (source, destination) = four_tags().await;
    source.put("other/app", "1.0", &small(100));
    source.put("other/app", "1.1", &small(101));
    source.put("other/app", "9.0", &small(102));
    let to = format!("{}/moved/app", destination.host());
    let outcome = Migration::with_default_retries()
        .rule(format!("{}/team/app", source.host()), &to)
        .rule(format!("{}/other/app", source.host()), &to)
        .run()
        .await;
    outcome.assert(1, &[GENERATE, HANDLE, &summary(5, 0, 1)]);
    outcome.assert_line("FAILED images.json:3:3: ", &[&format!("{to}:1.0"), &format!("{to}:1.1")]);
    assert_eq!(destination.tags("moved/app"), ["1.0", "1.1", "2.0-rc1", "9.0", "latest"]);
    assert_eq!(destination.digest("moved/app", "1.0"), source.digest("team/app", "1.0"));
    assert_eq!(destination.digest("moved/app", "9.0"), source.digest("other/app", "9.0"));
}

/// A rule whose tags cannot be listed `times` times, and after it two rules that want some of its destinations.
async fn late_rule(times: u64) -> (Registry, Registry, Migration) {
    let (source, destination) = four_tags().await;
    for (seed, tag) in ["1.0", "9.0"].into_iter().enumerate() {
        source.put("other/app", tag, &small(seed as u64 + 100));
    }
    let unknown = Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    source.on(Kind::TagList.within("team/app").times(times), unknown);
    let to = format!("{}/moved/app", destination.host());
    let migration = Migration::with_default_retries()
        .rule(format!("{}/team/app", source.host()), &to)
        .rule(format!("{}/other/app", source.host()), &to)
        .rule(source.reference("other/app", "1.0"), format!("{to}:latest"));
    (source, destination, migration)
}

#[tokio::test]
async fn a_rule_that_is_generated_late_keeps_its_tags_against_later_rules() {
    let (source, destination, migration) = late_rule(1).await;
    let outcome = migration.run().await;
    outcome.assert(1, &[GENERATE, HANDLE, RETRY_GENERATE, RETRY_HANDLE, &summary(5, 0, 2)]);
    let to = format!("{}/moved/app", destination.host());
    outcome.assert_line("FAILED images.json:3:3: ", &[&format!("{to}:1.0")]);
    outcome.assert_line("FAILED images.json:4:3: ", &[&format!("{to}:latest")]);
    assert_eq!(outcome.lines("FAILED").len(), 2, "{outcome}");
    for tag in ["1.0", "1.1", "2.0-rc1", "latest"] {
        assert_eq!(destination.digest("moved/app", tag), source.digest("team/app", tag), "{tag}");
    }
    assert_eq!(destination.digest("moved/app", "9.0"), source.digest("other/app", "9.0"));
    // No tag was moved from one image to another on the way.
    assert_eq!(destination.requests_of(Kind::ManifestPut.within("moved/app")).len(), 5);
}

#[tokio::test]
async fn a_rule_that_is_never_generated_keeps_nothing_from_later_rules() {
    for (retries, rounds) in [
        ("0", vec![GENERATE, HANDLE]),
        ("1", vec![GENERATE, HANDLE, RETRY_GENERATE, RETRY_HANDLE]),
        ("2", vec![GENERATE, HANDLE, RETRY_GENERATE, RETRY_GENERATE, RETRY_HANDLE]),
    ] {
        let (source, destination, migration) = late_rule(u64::MAX).await;
        let outcome = migration.args(["-r", retries]).run().await;
        outcome.assert(1, &[rounds, vec![&summary(3, 0, 1)]].concat());
        outcome.assert_line("FAILED images.json:2:3: ", &["404"]);
        assert_eq!(outcome.stderr.matches("which cannot be listed, may have there").count(), 2, "{outcome}");
        assert_eq!(destination.tags("moved/app"), ["1.0", "9.0", "latest"]);
        assert_eq!(destination.digest("moved/app", "latest"), source.digest("other/app", "1.0"));
    }
}

#[tokio::test]
async fn a_repository_that_cannot_be_listed_is_a_failed_generation() {
    let (source, destination) = four_tags().await;
    let to = format!("{}/moved/app", destination.host());
    let nowhere = format!("{}/no/such", source.host());
    let migration = Migration::new().rule(&nowhere, &to).rule(source.reference("team/app", "1.0"), &to);
    let outcome = migration.run().await;
    outcome.assert_failures(1, 0, 1);
    outcome.assert_line(&format!("FAILED images.json:2:3: \"{nowhere}\" -> \"{to}\": "), &["404"]);
    assert_eq!(destination.tags("moved/app"), ["1.0"]);
}

#[tokio::test]
async fn a_repository_without_tags_has_nothing_to_copy() {
    let (source, destination) = two_registries().await;
    let digest = source.put("team/app", "1.0", &small(1));
    source.remove_manifest("team/app", "1.0");
    if source.manifest("team/app", &digest).is_none() {
        source.put("team/app", &digest, &small(1));
    }
    let to = format!("{}/moved/app", destination.host());
    Migration::new().rule(format!("{}/team/app", source.host()), to).run().await.assert_success(0);
}

#[tokio::test]
async fn a_list_of_null_has_nothing_to_copy() {
    let (source, destination) = four_tags().await;
    for body in [r#"{"name":"team/app","tags":null}"#, r#"{"name":"team/app"}"#] {
        source.on(Kind::TagList.once(), Answer::status(200).header("Content-Type", "application/json").body(body));
        let to = format!("{}/moved/app", destination.host());
        let outcome = Migration::new().rule(format!("{}/team/app", source.host()), to).run().await;
        outcome.assert_success(0);
        assert!(outcome.stderr.contains("images.json:2:3"), "nobody is told that no tag fits\n{outcome}");
    }
}

#[tokio::test]
async fn what_a_list_repeats_counts_once_and_what_is_no_tag_is_left_out_and_named() {
    let (source, destination) = four_tags().await;
    let digest = source.digest("team/app", "1.0").unwrap();
    let next = "</v2/team/app/tags/list?last=1.1&n=2>; rel=\"next\"";
    let page = |tags: &[&str]| Answer::status(200).body(json!({ "name": "team/app", "tags": tags }).to_string());
    source.on(Kind::TagList.nth(1), page(&["1.0", "1.1", "1.0", "-x", "a b", ""]).header("Link", next));
    source.on(Kind::TagList.nth(2), page(&["1.1", "latest", &digest, "1.0"]));
    let to = format!("{}/moved/app", destination.host());
    let outcome = Migration::new().rule(format!("{}/team/app", source.host()), to).run().await;
    outcome.assert_success(3);
    assert_eq!(source.count(Kind::TagList), 2);
    assert_eq!(destination.tags("moved/app"), ["1.0", "1.1", "latest"]);
    for name in ["\"-x\"", "\"a b\"", "\"\"", &digest] {
        let warnings = outcome.stderr.lines().filter(|line| line.contains("WARN") && line.contains(name));
        assert_eq!(warnings.count(), 1, "{name} is not named once\n{outcome}");
    }
}

#[tokio::test]
async fn a_host_of_auth_json_is_a_host_without_a_dot() {
    let outcome = Migration::new().rule("registry/team/app:1", "registry/moved/app").run().await;
    outcome.assert_failures(0, 0, 1);
    let migration = Migration::new().rule("registry/team/app:1", "registry/moved/app").auth(&json!({ "registry": {} }));
    let outcome = migration.env("HTTPS_PROXY", "http://127.0.0.1:1").run().await;
    outcome.assert_failures(1, 1, 0);
    outcome.assert_failed("registry/team/app:1", "registry/moved/app:1", &["registry"]);
}

#[tokio::test]
async fn one_component_is_a_path_and_a_destination_may_be_the_source_registry() {
    let source = Registry::open().await;
    source.put("app", "1.0", &small(1));
    let migration = Migration::new().rule(source.reference("app", "1.0"), format!("{}/copy", source.host()));
    migration.run().await.assert_success(1);
    assert_eq!(source.digest("copy", "1.0"), source.digest("app", "1.0"));
    assert_eq!(source.count(Kind::UploadFinish), 0, "its own registry mounts");
}

#[tokio::test]
async fn that_one_rule_writes_what_another_copies_is_told_who_copies_and_not_who_looks() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &small(1));
    let [staging, live] = ["staging", "live"].map(|name| format!("{}/{name}", destination.host()));
    for (flags, is_told) in [(["--retries", "0"].as_slice(), true), (&["--dry-run"], true), (&["verify"], false)] {
        let migration = Migration::with_default_retries()
            .rule(source.reference("app", "1"), &staging)
            .rule(format!("{staging}:1"), &live);
        let outcome = migration.args(flags.iter().copied()).run().await;
        assert_eq!(outcome.stderr.contains("another rule writes what it copies"), is_told, "{outcome}");
    }
}
