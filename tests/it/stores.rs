//! Credentials that auth.json does not hold: those of `docker login`, `podman login`, and of helpers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use scriptable_registry::{Accounts, Answer, Kind, Matcher, Registry, Request};
use serde_json::{Value, json};

use crate::support::helper::{Helpers, answer};
use crate::support::{Migration, PASSWORD, USER, assert_same, basic_user, small};

async fn guarded(bearer: bool) -> Registry {
    let builder = Registry::builder();
    let builder = if bearer { builder.bearer((USER, PASSWORD)) } else { builder.basic((USER, PASSWORD)) };
    let registry = builder.start().await;
    registry.put("team/app", "1", &small(1));
    registry
}

fn migration(source: &Registry, destination: &Registry) -> Migration {
    Migration::new().app_tags(source, "1", destination)
}

fn auth(user: &str, password: &str) -> Value {
    json!({ "auth": STANDARD.encode(format!("{user}:{password}")) })
}

/// With a `config.json` where Docker looks for it.
fn docker(migration: Migration, config: &Value) -> Migration {
    std::fs::create_dir_all(migration.path(".docker")).unwrap();
    migration.file(".docker/config.json", config.to_string())
}

#[tokio::test]
async fn who_has_logged_in_with_docker_needs_no_auth_json() {
    for bearer in [false, true] {
        let (source, destination) = (guarded(bearer).await, Registry::open().await);
        for key in [source.host(), format!("https://{}", source.host()), format!("https://{}/v1/", source.host())] {
            let migration =
                docker(migration(&source, &destination), &json!({ "auths": { &key: auth(USER, PASSWORD) } }));
            let outcome = migration.run().await;
            outcome.assert_success(1);
            let log = outcome.log.as_deref().unwrap();
            assert!(log.contains("credentials from") && log.contains(".docker/config.json"), "{log}");
            let encoded = STANDARD.encode(format!("{USER}:{PASSWORD}"));
            assert!(!outcome.everything().contains(PASSWORD) && !outcome.everything().contains(&encoded), "{outcome}");
        }
        assert_same((&source, "team/app", "1"), (&destination, "moved/app", "1"));
    }
}

#[tokio::test]
async fn a_login_is_good_for_what_a_report_names_too() {
    let (source, destination) = (guarded(true).await, guarded(true).await);
    let logins = json!({ "auths": { source.host(): auth(USER, PASSWORD), destination.host(): auth(USER, PASSWORD) } });
    let migration = docker(migration(&source, &destination), &logins).args(["--report", "report.json"]);
    migration.run().await.assert_success(1);
    let report = std::fs::read(migration.path("report.json")).unwrap();
    let against = Migration::with_default_retries().file("report.json", report);
    let against = docker(against, &logins).args(["verify", "--retries", "0", "--against", "report.json"]);
    let outcome = against.run().await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
}

#[tokio::test]
async fn every_place_of_a_login_is_found() {
    let (source, destination) = (guarded(true).await, Registry::open().await);
    let config = json!({ "auths": { source.host(): auth(USER, PASSWORD) } }).to_string();
    for (file, variable) in [
        ("other/config.json", Some(("DOCKER_CONFIG", "other"))),
        ("podman.json", Some(("REGISTRY_AUTH_FILE", "podman.json"))),
        ("run/containers/auth.json", Some(("XDG_RUNTIME_DIR", "run"))),
        (".config/containers/auth.json", None),
    ] {
        let migration = migration(&source, &destination);
        std::fs::create_dir_all(migration.path(file).parent().unwrap()).unwrap();
        let migration = migration.file(file, &config);
        let path = variable.map(|(_, path)| migration.path(path).to_str().unwrap().to_owned());
        let migration = match (variable, path) {
            (Some((name, _)), Some(path)) => migration.env(name, path),
            _ => migration,
        };
        migration.run().await.assert_success(1);
    }
    migration(&source, &destination).env("DOCKER_AUTH_CONFIG", config).run().await.assert_success(1);
}

#[tokio::test]
async fn podmans_namespaces_are_accounts_of_their_own() {
    let accounts = ["root", "team"].into_iter().fold(Accounts::new(), |all, user| all.user(user, PASSWORD));
    let (source, destination) = (Registry::builder().basic(accounts).start().await, Registry::open().await);
    let host = source.host();
    let config = json!({ "auths": {
        host.clone(): auth("root", PASSWORD), format!("{host}/team"): auth("team", PASSWORD),
    } });
    let mut migration = docker(Migration::new(), &config);
    for name in ["team/app", "teams/app"] {
        source.put(name, "1", &small(1));
        migration = migration.rule(source.reference(name, "1"), format!("{}/{name}", destination.host()));
    }
    migration.run().await.assert_success(2);
    for (name, expected) in [("team/app", "team"), ("teams/app", "root")] {
        let users: Vec<_> = source.requests_of(Kind::ManifestGet.within(name)).iter().filter_map(basic_user).collect();
        assert_eq!(users, [expected]);
    }
}

#[tokio::test]
async fn auth_json_has_the_first_word() {
    let (source, destination) = (guarded(false).await, Registry::open().await);
    let host = source.host();
    for (entry, works) in [
        (json!({ "username": USER, "password": PASSWORD }), true),
        (json!({ "anonymous": true }), false),
        (json!({}), false),
        (json!({ "insecure": true }), true),
    ] {
        let in_store = if works && entry.get("username").is_some() { "wr0ng" } else { PASSWORD };
        let config = json!({ "auths": { &host: auth(USER, in_store) } });
        let migration = docker(migration(&source, &destination), &config).auth(&json!({ &host: entry }));
        source.clear_log();
        let outcome = migration.run().await;
        assert_eq!(outcome.code, Some(if works { 0 } else { 1 }), "{outcome}");
        // Nor is it tried what the store would have.
        assert_eq!(source.requests().iter().any(|request| basic_user(request).is_some()), works, "{outcome}");
    }
}

#[tokio::test]
async fn a_helper_is_asked_once_for_all_who_need_it() {
    for bearer in [false, true] {
        let (source, destination) = (guarded(bearer).await, guarded(bearer).await);
        let helpers = Helpers::new().with("mine", USER, PASSWORD).with("store", USER, PASSWORD);
        let mut migration = Migration::new();
        for index in 0..8 {
            let name = format!("team/app{index}");
            source.put(&name, "1", &small(index));
            migration = migration.rule(source.reference(&name, "1"), format!("{}/{name}", destination.host()));
        }
        let config = json!({ "credHelpers": { source.host(): "mine" }, "credsStore": "store",
            "auths": { source.host(): auth(USER, "wr0ng"), format!("https://{}", destination.host()): {} } });
        let outcome = docker(migration, &config).env("PATH", helpers.path()).run().await;
        outcome.assert_success(8);
        assert_eq!(helpers.asked("mine"), [source.host()]);
        assert_eq!(helpers.asked("store"), [format!("https://{}", destination.host())]);
        assert!(!outcome.everything().contains(PASSWORD), "{outcome}");
        let log = outcome.log.as_deref().unwrap();
        assert!(log.contains("credentials from docker-credential-mine"), "{log}");
    }
}

#[tokio::test]
async fn auth_json_may_name_a_helper() {
    let (source, destination) = (guarded(true).await, Registry::open().await);
    let helpers = Helpers::new().with("ecr-login", USER, PASSWORD);
    let migration = migration(&source, &destination)
        .auth(&json!({ source.host(): { "credHelper": "ecr-login" } }))
        .env("PATH", helpers.path());
    migration.run().await.assert_success(1);
    assert_eq!(helpers.asked("ecr-login"), [source.host()]);
}

#[tokio::test]
async fn a_helper_that_auth_json_names_has_to_have_credentials() {
    let (source, destination) = (guarded(true).await, Registry::open().await);
    source.put("team/app", "1", &small(1));
    let helpers = Helpers::new().add("empty", "echo 'credentials not found in native keychain'; exit 1");
    let migration = migration(&source, &destination)
        .auth(&json!({ source.host(): { "credHelper": "empty" } }))
        .env("PATH", helpers.path());
    let outcome = migration.run().await;
    outcome.assert_failures(1, 1, 0);
    outcome.assert_line("FAILED ", &["docker-credential-empty has none for", "docker-credential-empty get"]);
    assert_eq!(source.count(Kind::Token), 0, "nobody goes on without credentials");
}

#[tokio::test]
async fn a_helper_that_knows_nobody_means_nobody() {
    let source = Registry::builder().bearer(Accounts::new().anonymous("", "pull")).start().await;
    let destination = Registry::open().await;
    source.put("team/app", "1", &small(1));
    let helpers = Helpers::new().add("desktop", "echo 'credentials not found in native keychain'; exit 1");
    let migration = docker(migration(&source, &destination), &json!({ "credsStore": "desktop" }));
    let outcome = migration.env("PATH", helpers.path()).run().await;
    outcome.assert_success(1);
    // The destination wants no credentials, and so nobody looks for any.
    assert_eq!(helpers.asked("desktop"), [source.host()]);
    assert!(outcome.log.as_deref().unwrap().contains("no credentials"), "{outcome}");
}

#[tokio::test]
async fn a_helper_that_does_not_work_fails_those_who_need_it() {
    let locked = "echo 'the keyring is locked'; exit 1";
    for (script, words) in [
        (None, ["docker-credential-odd is not installed, or not in PATH; install it where", "\"anonymous\": true"]),
        (Some(locked), ["docker-credential-odd failed: the keyring is locked", "give an entry in auth.json"]),
        (Some("echo s3cret"), ["something else than the JSON object", "docker-credential-odd get"]),
        (Some("exec yes s3cret"), ["printed far more than credentials", "docker-credential-odd get"]),
        (Some("echo + login s3cret >&2; exit 3"), ["did not say why", "docker-credential-odd get"]),
    ] {
        let (source, destination) = (guarded(true).await, Registry::open().await);
        let open = Registry::open().await;
        open.put("team/app", "1", &small(2));
        let helpers = Helpers::new();
        let helpers = match script {
            Some(script) => helpers.add("odd", script),
            None => helpers,
        };
        let mut migration = docker(migration(&source, &destination), &json!({ "credsStore": "odd" }));
        for index in 0..5 {
            let name = format!("team/app{index}");
            migration = migration.rule(source.reference(&name, "1"), format!("{}/{name}", destination.host()));
        }
        migration = migration.rule(open.reference("team/app", "1"), format!("{}/open/app", destination.host()));
        let outcome = migration.env("PATH", helpers.path()).run().await;
        outcome.assert_failures(7, 6, 0);
        let (from, to) = (source.reference("team/app", "1"), format!("{}/moved/app:1", destination.host()));
        outcome.assert_failed(&from, &to, &words);
        assert_eq!(helpers.asked("odd").len(), usize::from(script.is_some()), "it is asked once a round");
        assert_eq!(source.count(Kind::Token), 0, "nobody goes on without credentials");
        assert!(!outcome.everything().contains("s3cret"), "{outcome}");
    }
}

#[tokio::test]
async fn a_helper_that_hangs_holds_up_nobody_else_and_not_for_ever() {
    let (source, open, destination) = (guarded(true).await, Registry::open().await, Registry::open().await);
    open.put("team/app", "1", &small(2));
    let helpers = Helpers::new().add("asleep", "exec sleep 300");
    let migration = docker(migration(&source, &destination), &json!({ "credsStore": "asleep" }))
        .rule(open.reference("team/app", "1"), format!("{}/open/app", destination.host()))
        .env("PATH", helpers.path());
    let mut running = migration.start().await;
    running.until(&destination, Kind::ManifestPut, 1).await;
    let outcome = running.finish().await;
    outcome.assert_failures(2, 1, 0);
    let (from, to) = (source.reference("team/app", "1"), format!("{}/moved/app:1", destination.host()));
    outcome.assert_failed(&from, &to, &["docker-credential-asleep gave no answer for 30s"]);
}

#[tokio::test]
async fn a_wrong_password_of_a_helper_is_shown_once() {
    for bearer in [false, true] {
        let (source, destination) = (guarded(bearer).await, Registry::open().await);
        let helpers = Helpers::new().with("mine", USER, "wr0ng");
        let mut migration = Migration::with_default_retries();
        for index in 0..5 {
            let name = format!("team/app{index}");
            migration = migration.rule(source.reference(&name, "1"), format!("{}/{name}", destination.host()));
        }
        let migration = docker(migration, &json!({ "credHelpers": { source.host(): "mine" } }));
        let outcome = migration.env("PATH", helpers.path()).run().await;
        outcome.assert_failures(5, 5, 0);
        assert_eq!(source.requests().iter().filter_map(basic_user).count(), 1, "bearer: {bearer}");
        // It is asked whether it has better ones, once.
        assert_eq!(helpers.asked("mine").len(), 2);
        for line in outcome.lines("FAILED") {
            assert!(line.contains("rejected") && line.contains("docker-credential-mine"), "{line}");
        }
    }
}

#[tokio::test]
async fn a_helper_is_asked_again_when_its_password_is_refused() {
    for bearer in [false, true] {
        let (source, destination) = (guarded(bearer).await, Registry::open().await);
        let script = format!("if [ $count = 1 ]; then {}; else {}; fi", answer(USER, "old"), answer(USER, PASSWORD));
        let helpers = Helpers::new().add("mine", &script);
        let migration = docker(migration(&source, &destination), &json!({ "credsStore": "mine" }));
        migration.env("PATH", helpers.path()).run().await.assert_success(1);
        assert_eq!(helpers.asked("mine").len(), 2);
    }
}

/// ECR: a user name that is always the same, a password of twelve hours, and 403 when they are over.
#[tokio::test]
async fn ecr_says_403_when_the_twelve_hours_are_over() {
    const EXPIRED: &str = "Your authorization token has expired. Reauthenticate and try again.";
    for helped in [true, false] {
        let accounts = Accounts::new().user("AWS", "first").user("AWS", "second");
        let destination = Registry::builder().basic(accounts).start().await;
        let source = Registry::open().await;
        let first = format!("Basic {}", STANDARD.encode("AWS:first"));
        let is_first = move |request: &Request| request.header("authorization") == Some(first.as_str());
        // It is over after a few requests; no answer to a HEAD says why.
        let expired = destination.on(Matcher::any().filter(is_first).after(6), Answer::error(403, "DENIED", EXPIRED));
        let script =
            format!("if [ $count = 1 ]; then {}; else {}; fi", answer("AWS", "first"), answer("AWS", "second"));
        let helpers = Helpers::new().add("ecr-login", &script);
        let entry = match helped {
            true => json!({ "credHelper": "ecr-login" }),
            false => json!({ "username": "AWS", "password": "first" }),
        };
        let mut migration = Migration::new().args(["--workers", "1"]).auth(&json!({ destination.host(): entry }));
        for index in 0..4 {
            let name = format!("team/app{index}");
            source.put(&name, "1", &small(index));
            migration = migration.rule(source.reference(&name, "1"), format!("{}/{name}", destination.host()));
        }
        let outcome = migration.env("PATH", helpers.path()).run().await;
        assert!(expired.hits() > 0);
        if helped {
            outcome.assert_success(4);
            assert_eq!(helpers.asked("ecr-login").len(), 2);
        } else {
            let failed = outcome.lines("FAILED");
            assert!(outcome.code == Some(1) && !failed.is_empty(), "{outcome}");
            assert!(failed.iter().all(|line| line.contains("rejected") && line.contains("expired")), "{outcome}");
        }
    }
}

#[tokio::test]
async fn a_broken_configuration_of_docker_fails_those_who_need_it() {
    let (source, open, destination) = (guarded(true).await, Registry::open().await, Registry::open().await);
    open.put("team/app", "1", &small(2));
    let migration = migration(&source, &destination)
        .rule(open.reference("team/app", "1"), format!("{}/open/app", destination.host()));
    std::fs::create_dir(migration.path(".docker")).unwrap();
    let outcome = migration.file(".docker/config.json", "{\"auths\": \"s3cret").run().await;
    outcome.assert_failures(2, 1, 0);
    let (from, to) = (source.reference("team/app", "1"), format!("{}/moved/app:1", destination.host()));
    outcome.assert_failed(&from, &to, &[".docker/config.json is no Docker configuration (line 1,", "auth.json"]);
    assert!(!outcome.everything().contains("s3cret"), "{outcome}");
}
