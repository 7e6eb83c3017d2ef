//! What token servers are asked for, and what their refusal of it means.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use scriptable_registry::{Accounts, Answer, Gate, Kind, Matcher, Registry, Request};
use serde_json::json;

use crate::support::{Migration, PASSWORD, USER, small};

#[tokio::test]
async fn credentials_that_gave_a_token_are_not_rejected_for_a_scope() {
    const REPOSITORIES: usize = 4;
    // The password is good for the others; or it has been taken back.
    for is_good in [true, false] {
        let source = Registry::builder().bearer((USER, PASSWORD)).start().await;
        let destination = Registry::open().await;
        let entry = json!({ "username": USER, "password": PASSWORD });
        let mut migration = Migration::new().auth(&json!({ source.host(): entry }));
        for index in 0..REPOSITORIES {
            let name = format!("team/app{index}");
            source.put(&name, "1", &small(index as u64));
            let to = format!("{}/moved/app{index}", destination.host());
            migration = migration.rule(source.reference(&name, "1"), to);
        }
        // Who asks first is given a token. One other scope, or whatever is asked for from then on, is refused.
        let (given, refused) = (OnceLock::new(), OnceLock::new());
        source.on_each(Kind::Token, move |request| {
            let is_given = given.get_or_init(|| request.query.clone()) == &request.query;
            let has_scope = request.query.contains("scope=");
            let is_refused = match is_good {
                true => !is_given && has_scope && refused.get_or_init(|| request.query.clone()) == &request.query,
                false => !is_given,
            };
            is_refused.then(|| Answer::error(401, "UNAUTHORIZED", "not for you").into())
        });
        let outcome = migration.run().await;
        let failed = outcome.lines("FAILED");
        match is_good {
            true => assert_eq!(failed.len(), 1, "{outcome}"),
            // Whoever has a token does not get far with it once the password is known to be rejected.
            false => assert!(failed.len() >= REPOSITORIES - 1, "{outcome}"),
        }
        for line in failed {
            assert!(line.contains("401") && line.contains("not for you"), "{line}");
            assert_eq!(line.contains("rejected"), !is_good, "{line}");
        }
    }
}

/// So many repositories of a source with a login, an empty destination, and a rule for each.
async fn with_a_login(repositories: u64) -> (Registry, Registry, Migration) {
    let source = Registry::builder().bearer((USER, PASSWORD)).start().await;
    let destination = Registry::open().await;
    let mut migration = Migration::new().auth(&json!({ source.host(): { "username": USER, "password": PASSWORD } }));
    for index in 0..repositories {
        let name = format!("team/app{index}");
        source.put(&name, "1", &small(index));
        migration = migration.rule(source.reference(&name, "1"), format!("{}/{name}", destination.host()));
    }
    (source, destination, migration)
}

/// GHCR says 403 of a password that is wrong, whatever it is shown for; a proxy's page says nothing of it.
#[tokio::test]
async fn a_password_that_a_token_server_denies_is_rejected_once_for_all() {
    for (answer, is_word) in [
        (Answer::error(403, "DENIED", "denied"), true),
        (Answer::status(403).header("Content-Type", "text/html").body("<html>blocked</html>"), false),
    ] {
        let (source, _destination, migration) = with_a_login(6).await;
        source.on(Kind::Token, answer);
        let outcome = migration.run().await;
        outcome.assert_failures(6, 6, 0);
        for line in outcome.lines("FAILED") {
            assert!(line.contains("403"), "{line}");
            assert_eq!(line.contains("were rejected"), is_word, "{line}");
        }
        if is_word {
            // With its scope, and without any.
            assert_eq!(source.count(Kind::Token), 2, "{outcome}");
        }
    }
}

/// Some token servers give nothing to who names no repository, and that may be the second thing they are asked.
#[tokio::test]
async fn a_denied_scope_is_no_rejection_where_a_token_for_nothing_is_denied_as_well() {
    for bare in [Answer::error(403, "DENIED", "name a scope"), Answer::error(401, "UNAUTHORIZED", "name a scope")] {
        let (source, _destination, migration) = with_a_login(4).await;
        let first = OnceLock::new();
        source.on_each(Kind::Token, move |request| {
            let is_first = first.get_or_init(|| request.query.clone()) == &request.query;
            match request.query.contains("scope=") {
                true => is_first.then(|| Answer::error(403, "DENIED", "no such scope for you").into()),
                false => Some(bare.clone().into()),
            }
        });
        let outcome = migration.run().await;
        outcome.assert_failures(4, 1, 0);
        let [line] = outcome.lines("FAILED")[..] else { panic!("{outcome}") };
        assert!(line.contains("403") && line.contains("no such scope for you"), "{line}");
        assert!(!outcome.everything().contains("rejected"), "{outcome}");
    }
}

#[tokio::test]
async fn of_a_push_that_is_refused_it_is_said_as_whom() {
    let (source, accounts) = (Registry::open().await, Accounts::new().user(USER, PASSWORD));
    let destination = Registry::builder().bearer(accounts.allow(USER, "moved/", "pull")).start().await;
    source.put("team/app", "1", &small(1));
    let outcome = Migration::new()
        .auth(&json!({ destination.host(): { "username": USER, "password": PASSWORD } }))
        .app_tags(&source, "1", &destination)
        .run()
        .await;
    outcome.assert_failures(1, 1, 0);
    let as_whom = format!("it was asked with the credentials from {:?} in auth.json", destination.host());
    let to = format!("{}/moved/app:1", destination.host());
    let words = ["401", &as_whom, "may push to this repository"];
    outcome.assert_failed(&source.reference("team/app", "1"), &to, &words);
}

/// Nothing is wrong with an entry that was not needed.
#[tokio::test]
async fn of_a_registry_that_asked_for_no_credentials_it_is_said_that_it_was_shown_none() {
    let (source, destination) = (Registry::open().await, Registry::open().await);
    source.put("team/app", "1", &small(1));
    destination.on(Kind::UploadStart, Answer::error(403, "DENIED", "not from here"));
    let outcome = Migration::new()
        .auth(&json!({ destination.host(): { "username": USER, "password": PASSWORD } }))
        .app_tags(&source, "1", &destination)
        .run()
        .await;
    outcome.assert_failures(1, 1, 0);
    let to = format!("{}/moved/app:1", destination.host());
    let words = ["not from here", "it was asked without credentials, for which the registry did not ask"];
    outcome.assert_failed(&source.reference("team/app", "1"), &to, &words);
}

#[tokio::test]
async fn what_is_open_to_all_is_read_without_credentials_where_others_need_some() {
    let accounts = Accounts::new().user(USER, PASSWORD).anonymous("public/", "pull");
    let (source, destination) = (Registry::builder().basic(accounts).start().await, Registry::open().await);
    let mut migration = Migration::new()
        .auth(&json!({ format!("{}/team", source.host()): { "username": USER, "password": PASSWORD } }))
        .app(&source, &destination);
    source.put("team/app", "1", &small(0));
    for name in ["public/a", "public/b", "public/c", "hidden/d"] {
        source.put(name, "1", &small(1));
        migration = migration.rule(source.reference(name, "1"), format!("{}/moved/{name}", destination.host()));
    }
    let outcome = migration.run().await;
    outcome.assert_failures(5, 1, 0);
    let (hidden, to) = (source.reference("hidden/d", "1"), format!("{}/moved/hidden/d:1", destination.host()));
    outcome.assert_failed(&hidden, &to, &["the registry wants credentials and there are none", "in auth.json"]);
    let with_credentials = source.requests_of(Matcher::any().filter(|request| {
        request.header("authorization").is_some() && request.repository.as_deref() != Some("team/app")
    }));
    assert!(with_credentials.iter().all(|request| request.kind == Kind::Ping), "{with_credentials:#?}");
}

#[tokio::test]
async fn tokens_of_both_sides_are_asked_for_at_once_and_each_once() {
    let source = Registry::builder().bearer((USER, PASSWORD)).start().await;
    let destination = Registry::builder().bearer((USER, PASSWORD)).start().await;
    source.put("team/app", "1", &small(1));
    let gate = Gate::closed();
    let entry = json!({ "username": USER, "password": PASSWORD });
    let mut migration = Migration::new();
    migration = migration.auth(&json!({ source.host(): entry, destination.host(): entry }));
    for registry in [&source, &destination] {
        registry.on(Kind::Token, gate.clone());
    }
    migration = migration.app_tags(&source, "1", &destination);
    let mut running = migration.start().await;
    running.until(&source, Kind::Token, 1).await;
    running.until(&destination, Kind::Token, 1).await;
    gate.open();
    running.finish().await.assert_success(1);
    // The destination gives one to read, and one to write when there is something to be written.
    assert_eq!((source.count(Kind::Token), destination.count(Kind::Token)), (1, 2));
}

/// Azure, for one, wants more than `pull` of those who list tags.
#[tokio::test]
async fn what_a_registry_asks_for_to_read_is_asked_of_its_token_server() {
    let source = Registry::builder().largest_page(2).bearer((USER, PASSWORD)).start().await;
    let destination = Registry::open().await;
    for tag in ["1", "2", "3", "4", "5"] {
        source.put("team/app", tag, &small(1));
    }
    let is_asked_for = Arc::new(AtomicBool::new(false));
    let asked = is_asked_for.clone();
    source.on_each(Kind::Token.filter(|request| request.query.contains("metadata_read")), move |_| {
        asked.store(true, SeqCst);
        None
    });
    let scope = "repository:other:pull repository:team/app:push,metadata_read,delete";
    let realm = format!("http://{}/token", source.token_host().unwrap());
    let challenge = format!("Bearer realm=\"{realm}\",service=\"r\",scope=\"{scope}\",error=\"insufficient_scope\"");
    source.on_each(Kind::TagList, move |_| {
        let refusal = Answer::error(401, "UNAUTHORIZED", "more is needed").header("WWW-Authenticate", &challenge);
        (!is_asked_for.load(SeqCst)).then(|| refusal.into())
    });
    let migration = Migration::new()
        .auth(&json!({ source.host(): { "username": USER, "password": PASSWORD } }))
        .app(&source, &destination);
    migration.run().await.assert_success(5);
    let tokens = source.requests_of(Kind::Token);
    let wide: Vec<_> = tokens.iter().filter(|request| request.query.contains("metadata_read")).collect();
    assert_eq!((tokens.len(), wide.len()), (2, 1), "{tokens:#?}");
    assert!(tokens.iter().all(|request| !request.query.contains("push") && !request.query.contains("delete")));
    assert_eq!(source.count(Kind::TagList), 1 + 3, "it was asked again");
}

#[tokio::test]
async fn what_was_held_back_goes_out_with_a_token_that_lasts() {
    let builder = Registry::builder().bearer((USER, PASSWORD));
    let source = builder.announced_token_lifetime(Duration::from_secs(2)).start().await;
    let destination = Registry::open().await;
    let mut migration =
        Migration::new().auth(&json!({ source.host(): { "username": USER, "password": PASSWORD } })).args(["-w", "1"]);
    for index in 0..4 {
        source.put("team/app", &index.to_string(), &small(index));
        let to = format!("{}/moved/app", destination.host());
        migration = migration.rule(source.reference("team/app", &index.to_string()), to);
    }
    let wait = Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", "3");
    source.on(Kind::ManifestGet.nth(2), wait);
    migration.run().await.assert_success(4);
    let reads = source.requests_of(Kind::ManifestGet);
    let refused = reads.iter().position(|request| request.status == Some(429)).unwrap();
    let token = |request: &Request| request.header("authorization").unwrap().to_owned();
    assert!(reads[refused + 1..].iter().all(|later| token(later) != token(&reads[refused])), "{reads:#?}");
}
