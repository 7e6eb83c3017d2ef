//! What cannot be read as configuration: exit code 2, nothing on standard output, no registry asked, and the place named.

use scriptable_registry::Registry;
use serde_json::json;

use crate::support::{Migration, small, two_registries};

const RULES: &str = r#"{"quay.io/a/b:1": "swr.example.com/a/b"}"#;

#[tokio::test]
async fn a_wrong_images_file_is_named_with_place_and_expectation() {
    for (text, words) in [
        ("", ["images.json:1:1", "empty file", "JSON object"]),
        ("[]", ["images.json:1:1", "an array", "an object"]),
        ("\"quay.io/a/b\"", ["images.json:1:1", "a string", "an object"]),
        ("{\n  \"quay.io/a/b\": 7\n}", ["images.json:2:18", "a number", "a string or an array of strings"]),
        ("{\"quay.io/a/b\": null}", ["images.json:1:17", "null", "a string or an array of strings"]),
        ("{\"quay.io/a/b\": {}}", ["images.json:1:17", "an object", "a string or an array of strings"]),
        ("{\"quay.io/a/b\": [\"x.io/y\", 1]}", ["images.json:1:28", "a number", "a string"]),
        ("{\n  \"quay.io/a/b\": \"x.io/y\",\n}", ["images.json:3:1", "`}`", "comma"]),
        ("{\n  // all of it\n  \"quay.io/a/b\": \"x.io/y\"\n}", ["images.json:2:3", "`/`", "JSON has no comments"]),
        ("{\n  \"quay.io/a/b\" \"x.io/y\"\n}", ["images.json:2:17", "`\"`", "`:`"]),
        ("{\"quay.io/a/b\": \"x.io/y\"", ["images.json:1:25", "the end of the file", "`}`"]),
        ("{\"quay.io/a/b:/\\d/\": \"x.io/y\"}", ["images.json:1:16", "backslash", "`\\\\`"]),
        ("{\"quay.io/a/b\": \"x.io/y\"} x", ["images.json:1:27", "other text", "the end of the file"]),
    ] {
        let outcome = Migration::new().images(text).run().await;
        outcome.assert_refused(&words);
    }
}

#[tokio::test]
async fn a_wrong_auth_file_is_named_with_place_and_expectation() {
    for (text, words) in [
        ("[]", ["auth.json:1:1", "an array", "an object"]),
        ("{\"a.io\": \"x\"}", ["auth.json:1:10", "a string", "an object"]),
        ("{\"a.io\": {\"username\": 1, \"password\": \"x\"}}", ["auth.json:1:23", "a number", "a string"]),
        ("{\"a.io\": {\"insecure\": \"true\"}}", ["auth.json:1:23", "a string", "true or false"]),
        ("{\"a.io\": {\"user\": \"x\"}}", ["auth.json:1:11", "\"user\"", "username"]),
        ("{\"a.io\": {\"username\": \"x\"}}", ["auth.json:1:11", "\"a.io\"", "no password"]),
        ("{\"a.io\": {\"password\": \"x\"}}", ["auth.json:1:11", "\"a.io\"", "no username"]),
        ("{\n  \"a.io\": {},\n  \"a.io\": {}\n}", ["auth.json:3:3", "\"a.io\"", "twice"]),
        ("{\"a.io\": {\"insecure\": true, \"insecure\": true}}", ["auth.json:1:29", "insecure", "twice"]),
        ("{\"docker.io\": {},\n\"index.docker.io\": {}}", ["auth.json:2:1", "index.docker.io", "twice"]),
        (
            "{\"a.io\": {\"insecure\": true},\n\"a.io/b\": {\"insecure\": false}}",
            ["auth.json:2:12", "insecure", "a.io"],
        ),
        ("{\"https://a.io\": {}}", ["auth.json:1:2", "https://a.io", "host"]),
        ("{\"a.io\": {}", ["auth.json:1:12", "the end of the file", "`}`"]),
    ] {
        Migration::new().images(RULES).file("auth.json", text).run().await.assert_refused(&words);
    }
}

#[tokio::test]
async fn a_refused_configuration_asks_no_registry() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    let migration = Migration::new().app(&source, &destination).file("auth.json", "{\"a.io\": 1}");
    migration.run().await.assert_refused(&["auth.json:1:10"]);
    assert_eq!((source.count_all(), destination.count_all()), (0, 0));
}

#[tokio::test]
async fn a_secret_in_a_broken_file_is_not_shown() {
    let text = "{\"a.io\": {\"username\": \"u\", \"password\": \"hunter2\" \"hunter3\"}}";
    let outcome = Migration::new().images(RULES).file("auth.json", text).run().await;
    outcome.assert_refused(&["auth.json:1:50"]);
    assert!(!outcome.everything().contains("hunter"), "{outcome}");
}

#[tokio::test]
async fn missing_files_are_errors_where_they_are_needed() {
    Migration::new().run().await.assert_refused(&["images.json"]);
    let asked_for = Migration::new().images(RULES).args(["--auth", "other.json"]);
    asked_for.run().await.assert_refused(&["other.json"]);
    let asked_for = Migration::new().images(RULES).args(["--images", "folder/images.json"]);
    asked_for.run().await.assert_refused(&["folder/images.json"]);
    Migration::new().args(["--config", "all.json"]).run().await.assert_refused(&["all.json"]);
    Migration::new().images("{}").run().await.assert_success(0);
}

#[tokio::test]
async fn wrong_usage_is_exit_code_two() {
    for (line, words) in [
        ("--no-such-flag", ["--no-such-flag", "unexpected"]),
        ("stray", ["stray", "unrecognized"]),
        ("--retries -1", ["-1", "unexpected"]),
        ("--retries many", ["many", "--retries"]),
        ("--workers 0", ["0", "--workers"]),
        // The name that it has in image-syncer's scripts.
        ("--proc 0", ["0", "--workers"]),
        ("--log-format xml", ["xml", "text, json"]),
        ("--limit-rate 0", ["--limit-rate", "at least one byte a second"]),
        ("--limit-rate fast", ["--limit-rate", "such as 50M"]),
        ("--force --no-clobber", ["--force", "--no-clobber"]),
        ("--config all.json --images images.json", ["--config", "--images"]),
        ("--config all.json --auth auth.json", ["--config", "--auth"]),
        ("--images", ["--images", "a value is required"]),
        ("--progress loud", ["loud", "auto, bars, plain, none"]),
        ("verify --against r.json --images images.json", ["--against", "--images"]),
        ("verify --against r.json --shard 0/2", ["--against", "--shard"]),
        ("--retries 1 verify", ["--retries", "tip: the flags of 'verify' stand behind it"]),
        ("--images images.json rewrite .", ["--images", "tip: the flags of 'rewrite' stand behind it"]),
        ("-v config", ["--verbose", "tip: the flags of 'config' stand behind it"]),
        ("completions", ["<SHELL>", "required"]),
        ("completions tcsh", ["tcsh", "bash, zsh"]),
        ("report", ["Usage: image-migrator report <COMMAND>", "merge"]),
        ("report merge", ["<FILE>", "required"]),
    ] {
        let migration = Migration::with_default_retries().images("{}").file("all.json", r#"{"images": {}}"#);
        let migration = migration.args(line.split(' '));
        migration.run().await.assert_refused(&words);
        assert_eq!(migration.files(), ["all.json", "images.json"], "no log is begun");
    }
}

#[tokio::test]
async fn a_default_that_is_none_is_wrong_usage_as_a_flag_and_an_invalid_rule_as_a_variable() {
    for (flag, variable, value, told) in [
        ("--registry", "DEFAULT_REGISTRY", "https://x.io", "it begins with https://"),
        ("--registry", "DEFAULT_REGISTRY", "x.io/ns", "invalid registry"),
        ("--registry", "DEFAULT_REGISTRY", "me:s3cr3t@x.io", "it begins with a login"),
        ("--registry", "DEFAULT_REGISTRY", "me:s3cr3t@registry:5000", "it begins with a login"),
        ("--namespace", "DEFAULT_NAMESPACE", "/n/", "invalid repository path"),
        ("--namespace", "DEFAULT_NAMESPACE", "Team", "must be lower-case"),
        ("--namespace", "DEFAULT_NAMESPACE", "me:s3cr3t@x.io/n", "it begins with a login"),
    ] {
        // No rule needs it.
        let outcome = Migration::new().images("{}").args([flag, value]).run().await;
        outcome.assert_refused(&[flag, told]);
        assert!(!outcome.everything().contains("s3cr3t"), "{outcome}");
        let rule = Migration::new().rule("quay.io/a/b:1", "").env("DEFAULT_REGISTRY", "x.io");
        let outcome = rule.env("DEFAULT_NAMESPACE", "n").env(variable, value).run().await;
        outcome.assert_failures(0, 0, 1);
        outcome.assert_line("INVALID ", &[variable, told]);
        assert!(!outcome.everything().contains("s3cr3t"), "{outcome}");
        Migration::new().images("{}").env(variable, value).run().await.assert_success(0);
    }
}

async fn one_image() -> (Registry, Registry, String) {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    let rules = json!({ source.reference("team/app", "1.0"): format!("{}/moved/app", destination.host()) });
    (source, destination, rules.to_string())
}

#[tokio::test]
async fn rules_come_from_any_file_or_standard_input() {
    let (_source, destination, rules) = one_image().await;
    for migration in [
        Migration::new().images(&rules),
        Migration::new().file("other.json", &rules).args(["--images", "other.json"]),
        Migration::new().args(["--images", "-"]).stdin(&rules),
        Migration::new().file("all.json", format!(r#"{{"images": {rules}}}"#)).args(["--config", "all.json"]),
        Migration::new().file("x", format!(r#"{{"auth": {{}}, "images": {rules}}}"#)).args(["--config", "x"]),
        Migration::new().images(&format!("\u{feff}{rules}")),
    ] {
        destination.remove_manifest("moved/app", "1.0");
        migration.run().await.assert_success(1);
        assert_eq!(destination.tags("moved/app"), ["1.0"]);
    }
}

#[tokio::test]
async fn wrong_rules_on_standard_input_have_their_place() {
    Migration::new().args(["--images", "-"]).stdin("{\n  \"a\": 1}").run().await.assert_refused(&["stdin:2:8"]);
}

#[tokio::test]
async fn a_wrong_combined_file_is_named_with_place_and_expectation() {
    for (text, words) in [
        ("{}", ["all.json:1:1", "images", "missing"]),
        ("[]", ["all.json:1:1", "an array", "an object"]),
        (r#"{"images": {}, "rules": {}}"#, ["all.json:1:16", "\"rules\"", "images"]),
        (r#"{"images": {}, "images": {}}"#, ["all.json:1:16", "images", "twice"]),
        (r#"{"images": {}, "auth": {"a.io": 1}}"#, ["all.json:1:33", "a number", "an object"]),
    ] {
        let migration = Migration::new().file("all.json", text).args(["--config", "all.json"]);
        migration.run().await.assert_refused(&words);
    }
}

#[tokio::test]
async fn the_combined_file_holds_credentials() {
    let source = Registry::builder().basic(("mover", "secret")).start().await;
    let destination = Registry::open().await;
    source.put("team/app", "1.0", &small(1));
    let all = json!({
        "images": { source.reference("team/app", "1.0"): format!("{}/moved/app", destination.host()) },
        "auth": { source.host(): { "username": "mover", "password": "secret" } },
    });
    let migration = Migration::new().file("all.json", all.to_string()).args(["--config", "all.json"]);
    migration.run().await.assert_success(1);
}

#[tokio::test]
async fn variables_are_replaced_in_credentials() {
    for (username, password) in [("$USER_NAME", "$TOKEN"), ("${USER_NAME}", "${TOKEN}"), ("mo${VER}", "se${CRE}t")] {
        let source = Registry::builder().basic(("mover", "secret")).start().await;
        let destination = Registry::open().await;
        source.put("team/app", "1.0", &small(1));
        let migration = Migration::new()
            .auth(&json!({ source.host(): { "username": username, "password": password } }))
            .app_tags(&source, "1.0", &destination)
            .env("USER_NAME", "mover")
            .env("TOKEN", "secret")
            .env("VER", "ver")
            .env("CRE", "cre");
        migration.run().await.assert_success(1);
    }
}

#[tokio::test]
async fn other_dollars_are_literal() {
    for (written, user) in [("robot$ci", "robot$ci"), ("$$NAME", "$NAME"), ("a$", "a$"), ("pa$$word", "pa$$word")] {
        let source = Registry::builder().basic((user, "secret")).start().await;
        let destination = Registry::open().await;
        source.put("team/app", "1.0", &small(1));
        let migration = Migration::new()
            .auth(&json!({ source.host(): { "username": written, "password": "secret" } }))
            .app_tags(&source, "1.0", &destination)
            .env("NAME", "wrong")
            .env("ci", "wrong");
        migration.run().await.assert_success(1);
    }
}

#[tokio::test]
async fn a_variable_that_is_not_set_stops_the_run_where_it_is_needed() {
    let needed = |password: &str| {
        let auth = json!({ "quay.io": { "username": "u", "password": password } });
        Migration::new().images(RULES).auth(&auth)
    };
    needed("x${NO_SUCH}").run().await.assert_refused(&["quay.io", "password", "NO_SUCH"]);
    let outcome = needed("$hunter2").run().await;
    outcome.assert_refused(&["quay.io", "password"]);
    assert!(!outcome.stderr.contains("hunter2"), "{outcome}");

    let (_source, _destination, rules) = one_image().await;
    let unused =
        Migration::new().images(&rules).auth(&json!({ "quay.io": { "username": "${NO_SUCH}", "password": "x" } }));
    let outcome = unused.run().await;
    outcome.assert_success(1);
    assert!(outcome.stderr.contains("NO_SUCH") && outcome.stderr.contains("quay.io"), "{outcome}");
}
