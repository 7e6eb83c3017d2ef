//! How registries and their token servers really speak. Each test is named after what it was seen of.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use scriptable_registry::{Accounts, Action, Answer, Kind, Matcher, Mounts, Origin, Registry, Request};
use serde_json::{Value, json};

use crate::support::{Migration, PASSWORD, USER, assert_same, http_client, large, small, when};

const IDENTITY: &str = "identity-s3cret";

async fn guarded() -> Registry {
    let registry = Registry::builder().bearer((USER, PASSWORD)).start().await;
    registry.put("team/app", "1", &small(1));
    registry
}

fn login() -> Value {
    json!({ "username": USER, "password": PASSWORD })
}

fn migration(source: &Registry, destination: &Registry) -> Migration {
    Migration::new().auth(&json!({ source.host(): login() })).app_tags(source, "1", destination)
}

fn is_bare(request: &Request) -> bool {
    request.header("authorization").is_none()
}

fn has_basic(request: &Request) -> bool {
    request.header("authorization").is_some_and(|value| value.starts_with("Basic "))
}

/// The scopes of all requests for tokens, decoded.
fn scopes(registry: &Registry) -> Vec<String> {
    let query = |request: Request| url::Url::parse(&format!("http://token/?{}", request.query)).unwrap();
    let pairs = registry.requests_of(Kind::Token).into_iter().map(query);
    pairs
        .flat_map(|url| url.query_pairs().into_owned().collect::<Vec<_>>())
        .filter(|(name, _)| name == "scope")
        .map(|(_, scope)| scope)
        .collect()
}

#[tokio::test]
async fn challenges_are_understood_in_every_spelling() {
    let bearer = |realm: &str| format!("Bearer realm=\"{realm}\",service=\"s\"");
    type Lines = fn(&str) -> Vec<String>;
    let spellings: [Lines; 8] = [
        |bearer| vec![format!("Basic, {bearer}")],
        |bearer| vec![format!("Negotiate, Basic realm=\"x\", {bearer}")],
        |bearer| vec!["Negotiate".to_owned(), "NTLM".to_owned(), bearer.to_owned()],
        |bearer| vec![bearer.to_owned(), "Basic realm=\"x\"".to_owned()],
        |bearer| vec![format!("NTLM TlRMTVNTUAACAAAADAAMADA=, {bearer}")],
        |bearer| vec![bearer.replace('"', "")],
        |bearer| vec![bearer.replace("Bearer realm", "BEARER Realm").replace("\",", "\" , ")],
        |bearer| vec![format!("{bearer},scope=\"repository:team/app:pull,push\",error=\"invalid_token\"")],
    ];
    for lines in spellings {
        let (source, destination) = (guarded().await, Registry::open().await);
        let realm = format!("http://{}/token", source.token_host().unwrap());
        let answer = lines(&bearer(&realm))
            .iter()
            .fold(Answer::status(401), |answer, line| answer.header("WWW-Authenticate", line));
        source.on(Matcher::any().at(Origin::Registry).filter(is_bare), answer);
        migration(&source, &destination).run().await.assert_success(1);
        assert!(source.requests_of(Matcher::any().at(Origin::Registry)).iter().all(|request| !has_basic(request)));
    }
}

#[tokio::test]
async fn a_realm_may_have_a_query_of_its_own() {
    let (source, destination) = (guarded().await, Registry::open().await);
    let challenge =
        format!("Bearer realm=\"http://{}/token?account=x%26y&z\",service=\"s\"", source.token_host().unwrap());
    source.on(
        Matcher::any().at(Origin::Registry).filter(is_bare),
        Answer::status(401).header("WWW-Authenticate", &challenge),
    );
    migration(&source, &destination).run().await.assert_success(1);
    let tokens = source.requests_of(Kind::Token);
    let query = "account=x%26y&z&service=s&scope=repository%3Ateam%2Fapp%3Apull";
    assert_eq!(tokens.iter().map(|request| request.query.as_str()).collect::<Vec<_>>(), [query]);
}

#[tokio::test]
async fn a_realm_may_be_a_path_of_the_registry() {
    let (source, destination) = (guarded().await, Registry::open().await);
    let answer = Answer::status(401).header("WWW-Authenticate", "Bearer realm=\"/jwt/auth\",service=\"s\"");
    source.on(Matcher::any().at(Origin::Registry).filter(is_bare), answer);
    let token = token_of(&source, "repository:team/app:pull").await;
    let issued = source.on(
        Matcher::any().filter(|request| request.path == "/jwt/auth" && has_basic(request)),
        Answer::status(200).body(json!({ "token": token }).to_string()),
    );
    migration(&source, &destination).run().await.assert_success(1);
    assert_eq!(issued.hits(), 1);
}

/// A token such as the token server gives.
async fn token_of(registry: &Registry, scope: &str) -> String {
    let url = format!("http://{}/token?service=s&scope={scope}", registry.token_host().unwrap());
    let answer = http_client().get(url).basic_auth(USER, Some(PASSWORD)).send().await.unwrap().bytes().await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    answer["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_server_in_a_place_that_no_registry_has_is_not_asked() {
    let (source, destination) = (guarded().await, Registry::open().await);
    let challenge = "Bearer realm=\"http://169.254.169.254/latest/meta-data\",service=\"s\"";
    source.on(Matcher::any().at(Origin::Registry), Answer::status(401).header("WWW-Authenticate", challenge));
    let outcome = migration(&source, &destination).run().await;
    outcome.assert_failures(1, 1, 0);
    let (from, to) = (source.reference("team/app", "1"), format!("{}/moved/app:1", destination.host()));
    outcome.assert_failed(&from, &to, &["token server http://169.254.169.254 is not used", "link-local"]);
}

#[tokio::test]
async fn harbor_says_basic_after_a_bad_token() {
    let (source, destination) = (Arc::new(guarded().await), Registry::open().await);
    let with_token = |request: &Request| !is_bare(request);
    source.on(
        Matcher::any().at(Origin::Registry).filter(with_token),
        Action::header("WWW-Authenticate", "Basic realm=\"harbor\""),
    );
    let revoked = when(&source, Kind::ManifestGet.once(), Registry::revoke_tokens);
    migration(&source, &destination).run().await.assert_success(1);
    assert_eq!(revoked.hits(), 1);
    assert_same((&source, "team/app", "1"), (&destination, "moved/app", "1"));
    assert!(source.requests_of(Matcher::any().at(Origin::Registry)).iter().all(|request| !has_basic(request)));
}

#[tokio::test]
async fn harbor_says_401_of_a_project_that_is_not_there() {
    let (source, destination) = (guarded().await, Registry::open().await);
    let refusal = Answer::error(401, "UNAUTHORIZED", "project nothing not found").header("WWW-Authenticate", "");
    source.on(Matcher::any().within("nothing/app").filter(|request| !is_bare(request)), refusal);
    let migration = migration(&source, &destination)
        .rule(source.reference("nothing/app", "1"), format!("{}/nothing/app", destination.host()));
    let outcome = migration.run().await;
    outcome.assert_failures(2, 1, 0);
    let (from, to) = (source.reference("nothing/app", "1"), format!("{}/nothing/app:1", destination.host()));
    outcome.assert_failed(&from, &to, &["project nothing not found"]);
    assert!(!outcome.everything().contains("rejected"), "{outcome}");
    assert_eq!(destination.tags("moved/app"), ["1"]);
}

#[tokio::test]
async fn gcr_says_401_and_nothing_more() {
    let (source, destination) = (Arc::new(guarded().await), Registry::open().await);
    let wordless = Matcher::any_of([Kind::ManifestGet, Kind::ManifestHead, Kind::BlobGet, Kind::TagList]);
    source.on(wordless, Action::remove_header("WWW-Authenticate"));
    let revoked = when(&source, Kind::ManifestGet.once(), Registry::revoke_tokens);
    migration(&source, &destination).run().await.assert_success(1);
    assert_eq!(revoked.hits(), 1);
}

/// Quay makes a private repository for whoever gets a token to push to it.
#[tokio::test]
async fn quay_is_not_asked_for_leave_to_push_where_nothing_is_pushed() {
    let (source, destination) = (guarded().await, guarded().await);
    let both = json!({ source.host(): login(), destination.host(): login() });
    let missing = Migration::new()
        .auth(&both)
        .rule(source.reference("team/app", "no-such-tag"), format!("{}/team/other", destination.host()))
        .rule(source.reference("team/app", "1"), format!("{}/team/app", destination.host()));
    missing.run().await.assert_failures(2, 1, 0);
    for registry in [&source, &destination] {
        assert!(!scopes(registry).is_empty());
        assert!(scopes(registry).iter().all(|scope| scope.ends_with(":pull")), "{:?}", scopes(registry));
    }
    // And where something is, the token to push serves to read as well.
    let moving = Migration::new().auth(&both).app_tags(&source, "1", &destination);
    destination.clear_log();
    moving.run().await.assert_success(1);
    assert_eq!(scopes(&destination), ["repository:moved/app:pull", "repository:moved/app:pull,push"]);
}

#[tokio::test]
async fn quay_gives_tokens_that_allow_nothing() {
    let accounts = Accounts::new().user(USER, PASSWORD).allow(USER, "team/", "pull");
    let (source, destination) = (Registry::builder().bearer(accounts).start().await, Registry::open().await);
    source.put("team/app", "1", &small(1));
    let migration = migration(&source, &destination)
        .rule(source.reference("nobody/app", "1"), format!("{}/nobody/app", destination.host()));
    let outcome = migration.run().await;
    outcome.assert_failures(2, 1, 0);
    assert!(!outcome.everything().contains("rejected"), "{outcome}");
    // Nobody asks for ever for a token that does not help.
    let asked = scopes(&source).iter().filter(|scope| scope.contains("nobody")).count();
    assert!(asked <= 3, "{asked}");
}

#[tokio::test]
async fn some_token_servers_read_the_first_scope_only() {
    let registry = Registry::builder().bearer((USER, PASSWORD)).first_scope_only().start().await;
    registry.put("team/app", "1", &large(1));
    let outcome = mounting(&registry).run().await;
    outcome.assert_success(1);
    assert_same((&registry, "team/app", "1"), (&registry, "moved/app", "1"));
    assert!(!outcome.everything().contains("rejected"), "{outcome}");
}

/// A migration within a registry, where blobs are mounted.
fn mounting(registry: &Registry) -> Migration {
    Migration::new().auth(&json!({ registry.host(): login() })).app_tags(registry, "1", registry)
}

#[tokio::test]
async fn some_token_servers_refuse_a_list_of_scopes() {
    for status in [400, 401, 403] {
        let registry = Registry::builder().bearer((USER, PASSWORD)).start().await;
        registry.put("team/app", "1", &large(1));
        let is_list = |request: &Request| request.query.matches("scope=").count() > 1;
        let refused = registry.on(Kind::Token.filter(is_list), Answer::error(status, "INVALID", "one scope, please"));
        let outcome = mounting(&registry).run().await;
        outcome.assert_success(1);
        assert_same((&registry, "team/app", "1"), (&registry, "moved/app", "1"));
        assert!(refused.hits() > 0);
        let mounts = registry.requests_of(Kind::Mount.filter(|request| request.query.contains("from=team")));
        assert!(!mounts.is_empty(), "{status}: a mount is the registry's to refuse");
        if status == 400 {
            assert_eq!(refused.hits(), 1, "it is not asked again");
        }
        assert!(!outcome.everything().contains("rejected"), "{outcome}");
    }
}

#[tokio::test]
async fn docker_hub_says_401_to_a_mount_from_where_it_may_not_read() {
    let registry = Registry::builder().bearer((USER, PASSWORD)).mounts(Mounts::Refused(401)).start().await;
    registry.put("team/app", "1", &large(1));
    let outcome = mounting(&registry).run().await;
    outcome.assert_success(1);
    assert_same((&registry, "team/app", "1"), (&registry, "moved/app", "1"));
    assert!(!outcome.everything().contains("rejected"), "{outcome}");
}

/// A registry with a user's identity token, and a migration that uses it.
async fn identified() -> (Registry, Registry, Migration) {
    let accounts = Accounts::new().user(USER, PASSWORD).user("<token>", IDENTITY).identity_token(USER, IDENTITY);
    let (source, destination) = (Registry::builder().bearer(accounts).start().await, Registry::open().await);
    source.put("team/app", "1", &small(1));
    let migration = migration(&source, &destination)
        .env("IDENTITY", IDENTITY)
        .auth(&json!({ source.host(): { "identityToken": "${IDENTITY}" } }));
    (source, destination, migration)
}

fn methods(registry: &Registry) -> Vec<String> {
    registry.requests_of(Kind::Token).iter().map(|request| request.method.to_string()).collect()
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let (source, _destination, migration) = identified().await;
    let outcome = migration.run().await;
    outcome.assert_success(1);
    assert_eq!(methods(&source), ["POST"]);
    assert!(source.requests().iter().all(|request| !has_basic(request) && !request.query.contains(IDENTITY)));
    assert!(!outcome.everything().contains(IDENTITY), "{outcome}");
}

#[tokio::test]
async fn gcr_does_not_know_post() {
    for status in [404, 405] {
        let (source, _destination, migration) = identified().await;
        let is_post = |request: &Request| request.method == "POST";
        source.on(Kind::Token.filter(is_post), Answer::status(status));
        source.put("team/other", "1", &small(2));
        let migration = migration.rule(source.reference("team/other", "1"), format!("{}/x/y", _destination.host()));
        migration.run().await.assert_success(2);
        let mut methods = methods(&source);
        methods.sort();
        assert_eq!(methods, ["GET", "GET", "POST"], "it is not asked by POST again");
    }
}

#[tokio::test]
async fn an_identity_token_that_is_worth_nothing_is_shown_once() {
    for (status, body) in [(400, json!({ "error": "invalid_grant" })), (401, json!({ "error": "unauthorized_client" }))]
    {
        let (source, destination, migration) = identified().await;
        source.on(Kind::Token, Answer::status(status).body(body.to_string()));
        let migration = (0..4).fold(migration, |migration, index| {
            migration.rule(source.reference(&format!("a{index}"), "1"), format!("{}/a{index}", destination.host()))
        });
        let outcome = migration.run().await;
        outcome.assert_failures(5, 5, 0);
        assert_eq!(methods(&source), ["POST"]);
        for line in outcome.lines("FAILED") {
            assert!(line.contains("rejected") && line.contains("correct the identityToken"), "{line}");
            assert!(line.contains("POST http"), "{line}");
        }
    }
}

#[tokio::test]
async fn a_registry_token_of_docker_goes_to_the_registry_as_it_is() {
    let (source, destination) = (guarded().await, Registry::open().await);
    for token in [token_of(&source, "repository:team/app:pull").await, "wr0ng".to_owned()] {
        source.clear_log();
        let is_good = token != "wr0ng";
        let config = json!({ "auths": { source.host(): { "registrytoken": token } } });
        let migration =
            Migration::new().env("DOCKER_AUTH_CONFIG", config.to_string()).app_tags(&source, "1", &destination);
        let outcome = migration.run().await;
        assert_eq!(outcome.code, Some(if is_good { 0 } else { 1 }), "{outcome}");
        assert_eq!(outcome.stderr.contains("rejected"), !is_good, "{outcome}");
        assert_eq!(source.count(Kind::Token), 0);
        assert!(!outcome.everything().contains(&token), "{outcome}");
    }
}

#[tokio::test]
async fn a_registry_token_is_of_no_use_where_a_password_is_wanted() {
    let source = Registry::builder().basic((USER, PASSWORD)).start().await;
    source.put("team/app", "1", &large(7));
    let config = json!({ "auths": { source.host(): { "registrytoken": "t0ken" } } });
    let destination = Registry::open().await;
    let migration = Migration::new().env("DOCKER_AUTH_CONFIG", config.to_string()).app_tags(&source, "1", &destination);
    let outcome = migration.run().await;
    outcome.assert_failures(1, 1, 0);
    outcome.assert_line("FAILED ", &["has a token, and the registry takes a username and a password"]);
    assert!(source.requests().iter().all(is_bare), "{outcome}");
}

/// registry.k8s.io sends its users to Artifact Registry, which gives tokens to anybody, but wants to see one.
#[tokio::test]
async fn registry_k8s_io_leads_to_a_registry_that_wants_a_token_of_anybody() {
    let front = guarded().await;
    let back = Registry::builder().bearer(Accounts::new().user(USER, PASSWORD).anonymous("", "pull")).start().await;
    let destination = Registry::open().await;
    for registry in [&front, &back] {
        registry.put("team/app", "1", &large(7));
    }
    let there = back.url();
    front.on_each(Matcher::any_of([Kind::ManifestGet, Kind::ManifestHead, Kind::BlobGet]), move |request| {
        let location = format!("{there}{}", request.path);
        (!is_bare(request)).then(|| Answer::status(307).header("Location", &location).into())
    });
    migration(&front, &destination).run().await.assert_success(1);
    assert_same((&back, "team/app", "1"), (&destination, "moved/app", "1"));
    let encoded = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let shown: Vec<Request> = back.requests();
    assert!(shown.iter().all(|request| request.header("authorization").is_none_or(|value| !value.contains(&encoded))));
    assert!(back.requests_of(Kind::Token).iter().all(is_bare));
    assert_eq!(back.count(Kind::Token), 1, "one token serves for all of a repository");
}

#[tokio::test]
async fn a_token_server_may_answer_from_elsewhere_and_gets_no_password_there() {
    let (source, destination) = (guarded().await, Registry::open().await);
    let elsewhere = Registry::open().await;
    source.on(Kind::Token, Answer::status(302).header("Location", &format!("{}/token", elsewhere.url())));
    let outcome = migration(&source, &destination).run().await;
    outcome.assert_failures(1, 1, 0);
    assert!(elsewhere.count_all() > 0 && elsewhere.requests().iter().all(is_bare));
    assert!(!outcome.stderr.contains("rejected"), "{outcome}");
}
