//! What is shown of credentials: once until a registry has taken them, and then no more than it takes to know that they
//! are still good.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use scriptable_registry::{Accounts, Answer, Gate, Kind, Matcher, Registry, Request};
use serde_json::{Value, json};

use crate::support::helper::{Helpers, answer};
use crate::support::{GENERATE, HANDLE, Migration, PASSWORD, RETRY_HANDLE, USER, basic_user, small, summary};

/// Copies `names` from a registry to an open one. `entry` is the source's.
fn migration(source: &Registry, destination: &Registry, names: &[&str], entry: &Value) -> Migration {
    in_rounds(source, destination, names, entry).args(["--retries", "0"])
}

/// The same, and what fails is tried again.
fn in_rounds(source: &Registry, destination: &Registry, names: &[&str], entry: &Value) -> Migration {
    let mut migration = Migration::with_default_retries().auth(&json!({ source.host(): entry }));
    for (name, seed) in names.iter().zip(0..) {
        source.put(name, "1", &small(seed));
        migration = migration.rule(source.reference(name, "1"), format!("{}/{name}", destination.host()));
    }
    migration
}

fn unauthorized() -> Answer {
    Answer::error(401, "UNAUTHORIZED", "not for you").header("WWW-Authenticate", "Basic realm=\"r\"")
}

#[tokio::test]
async fn a_401_for_one_repository_is_no_word_on_a_password_that_was_proven() {
    for helped in [false, true] {
        let source = Registry::builder().basic((USER, PASSWORD)).start().await;
        let destination = Registry::open().await;
        source.on_each(Matcher::any().within("team/secret"), |request| {
            basic_user(request).map(|_| unauthorized().into())
        });
        let helpers = Helpers::new().with("safe", USER, PASSWORD);
        let entry = match helped {
            true => json!({ "credHelper": "safe" }),
            false => json!({ "username": USER, "password": PASSWORD }),
        };
        let migration = migration(&source, &destination, &["team/secret", "team/a", "team/b"], &entry);
        let outcome = migration.env("PATH", helpers.path()).run().await;
        outcome.assert_failures(3, 1, 0);
        let [line] = outcome.lines("FAILED")[..] else { panic!("{outcome}") };
        assert!(line.contains("team/secret") && line.contains("not for you"), "{line}");
        assert!(!outcome.everything().contains("rejected"), "{outcome}");
        let proofs = source.requests_of(Kind::Ping.filter(|request| basic_user(request).is_some())).len();
        match helped {
            // It might have expired since.
            true => assert!(proofs > 1 && helpers.asked("safe").len() == 1, "{proofs}"),
            false => assert_eq!(proofs, 1),
        }
    }
}

#[tokio::test]
async fn a_password_of_a_helper_that_has_expired_is_looked_up_again_within_the_run() {
    let source = Registry::builder().basic(Accounts::new().user(USER, "first").user(USER, "second")).start().await;
    let destination = Registry::open().await;
    let first = format!("Basic {}", STANDARD.encode(format!("{USER}:first")));
    let is_first = move |request: &Request| request.header("authorization") == Some(first.as_str());
    let expired = source.on(Matcher::any().filter(is_first).after(4), unauthorized());
    let script = format!("if [ $count = 1 ]; then {}; else {}; fi", answer(USER, "first"), answer(USER, "second"));
    let helpers = Helpers::new().add("short", &script);
    let entry = json!({ "credHelper": "short" });
    let migration = migration(&source, &destination, &["team/a", "team/b", "team/c"], &entry).args(["-w", "1"]);
    migration.env("PATH", helpers.path()).run().await.assert_success(3);
    assert!(expired.hits() > 0);
    assert_eq!(helpers.asked("short").len(), 2);
}

#[tokio::test]
async fn a_helper_that_had_nothing_is_asked_again_in_the_next_round() {
    let source = Registry::builder().basic((USER, PASSWORD)).start().await;
    let destination = Registry::open().await;
    let helpers = Helpers::new()
        .add("locked", &format!("if [ $count = 1 ]; then echo locked; exit 1; fi; {}", answer(USER, PASSWORD)));
    let entry = json!({ "credHelper": "locked" });
    let migration = in_rounds(&source, &destination, &["team/a", "team/b"], &entry);
    let outcome = migration.env("PATH", helpers.path()).run().await;
    outcome.assert(0, &[GENERATE, HANDLE, RETRY_HANDLE, &summary(2, 0, 0)]);
    assert_eq!(helpers.asked("locked").len(), 2, "once a round");
}

#[tokio::test]
async fn a_helper_that_gives_one_wrong_password_after_another_is_asked_twice() {
    for bearer in [false, true] {
        let builder = Registry::builder();
        let builder = if bearer { builder.bearer((USER, PASSWORD)) } else { builder.basic((USER, PASSWORD)) };
        let (source, destination) = (builder.start().await, Registry::open().await);
        let script = format!("if [ $count = 1 ]; then {}; fi", answer(USER, "wr0ng"));
        let script = (2..9).fold(script, |all, nth| {
            format!("{all}\nif [ $count = {nth} ]; then {}; fi", answer(USER, &format!("wr0ng{nth}")))
        });
        let helpers = Helpers::new().add("guess", &script);
        let entry = json!({ "credHelper": "guess" });
        let migration = migration(&source, &destination, &["team/a", "team/b", "team/c"], &entry);
        let outcome = migration.env("PATH", helpers.path()).run().await;
        outcome.assert_failures(3, 3, 0);
        assert_eq!(helpers.asked("guess").len(), 2, "{outcome}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_shown_once_also_where_the_token_server_was_too_busy_to_look_at_it() {
    const NAMES: [&str; 6] = ["team/a", "team/b", "team/c", "team/d", "team/e", "team/f"];
    let source = Registry::builder().bearer((USER, PASSWORD)).start().await;
    let destination = Registry::open().await;
    // The first answer is held until the others wait.
    let gate = Gate::closed();
    source.on(Kind::Token.once(), Answer::error(429, "TOOMANYREQUESTS", "slow down").and(gate.clone()));
    let entry = json!({ "username": USER, "password": "wr0ng" });
    let migration = migration(&source, &destination, &NAMES, &entry);
    let mut running = migration.start().await;
    running.until(&source, Kind::Token, 1).await;
    running.until(&destination, Kind::TagList, NAMES.len() as u64).await;
    gate.open();
    let outcome = running.finish().await;
    outcome.assert_failures(NAMES.len(), NAMES.len(), 0);
    assert!(outcome.lines("FAILED").iter().all(|line| line.contains("rejected")), "{outcome}");
    let shown = source.requests_of(Kind::Token.filter(|request| basic_user(request).is_some()));
    let refused = shown.iter().filter(|request| request.status == Some(401)).count();
    assert_eq!((shown.len(), refused), (2, 1), "{shown:#?}");
}

#[tokio::test]
async fn what_a_host_says_of_credentials_to_which_a_token_server_leads_is_no_word_on_them() {
    let (source, elsewhere) = (Registry::builder().bearer((USER, PASSWORD)).start().await, Registry::open().await);
    let destination = Registry::open().await;
    let place = format!("{}/token", elsewhere.url());
    source.on(Kind::Token, Answer::status(307).header("Location", &place));
    elsewhere.on(Matcher::any(), unauthorized());
    for entry in [json!({ "username": USER, "password": PASSWORD }), json!({ "identityToken": "s3cret" })] {
        elsewhere.clear_log();
        let outcome = migration(&source, &destination, &["team/app"], &entry).run().await;
        outcome.assert_failures(1, 1, 0);
        assert!(!outcome.everything().contains("rejected"), "{outcome}");
        // A password stays behind; what would be posted is not sent there at all.
        let asked = elsewhere.requests();
        assert_eq!(asked.is_empty(), entry.get("identityToken").is_some(), "{asked:#?}");
        assert!(asked.iter().all(|request| request.header("authorization").is_none()), "{asked:#?}");
    }
}

#[tokio::test]
async fn a_token_server_that_wants_to_know_who_asks_is_told_from_one_that_refuses() {
    for (status, wants_login) in [(401, true), (403, false)] {
        let source = Registry::builder().bearer((USER, PASSWORD)).start().await;
        let destination = Registry::open().await;
        source.on(Kind::Token, Answer::error(status, "DENIED", "not for you"));
        let outcome = migration(&source, &destination, &["team/app"], &json!({})).run().await;
        outcome.assert_failures(1, 1, 0);
        let [line] = outcome.lines("FAILED")[..] else { panic!("{outcome}") };
        assert_eq!(line.contains("the registry wants credentials and there are none"), wants_login, "{line}");
        assert_eq!(line.contains("not for you"), !wants_login, "{line}");
    }
}
