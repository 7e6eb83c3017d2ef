//! Who is let in: Basic, Bearer, tokens.

use std::time::Duration;

use reqwest::Response;
use scriptable_registry::{Accounts, Image, Kind, Origin, Registry};
use serde_json::Value;

use crate::client::{ask, client, get, header};

fn accounts() -> Accounts {
    Accounts::new()
        .user("alice", "secret")
        .user("bob", "hunter2")
        .allow("bob", "team/", "pull")
        .anonymous("public/", "pull")
        .identity_token("alice", "identity")
}

/// Asks the token server; answers the status and the token.
async fn token(registry: &Registry, user: Option<(&str, &str)>, scopes: &[&str]) -> (u16, String) {
    let query: String = scopes.iter().map(|scope| format!("&scope={scope}")).collect();
    let address = format!("http://{}/token?service=s{query}", registry.token_host().unwrap());
    let request = client().get(address);
    let request = match user {
        Some((name, password)) => request.basic_auth(name, Some(password)),
        None => request,
    };
    read_token(request.send().await.unwrap()).await
}

async fn read_token(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    (status, body["token"].as_str().unwrap_or_default().to_owned())
}

async fn with_token(registry: &Registry, method: &str, path: &str, token: &str) -> Response {
    ask(registry, method, path).bearer_auth(token).send().await.unwrap()
}

#[tokio::test]
async fn basic_wants_a_password() {
    let registry = Registry::builder().basic(accounts()).start().await;
    registry.put("team/app", "1", &Image::new("linux/amd64"));
    registry.put("public/app", "1", &Image::new("linux/amd64"));
    let refused = get(&registry, "/v2/").await;
    assert_eq!(
        (refused.status().as_u16(), header(&refused, "www-authenticate").starts_with("Basic realm=")),
        (401, true)
    );
    for (user, password, method, path, expected) in [
        ("alice", "secret", "GET", "/v2/", 200),
        ("alice", "wrong", "GET", "/v2/", 401),
        ("alice", "secret", "POST", "/v2/team/app/blobs/uploads/", 202),
        ("bob", "hunter2", "GET", "/v2/team/app/manifests/1", 200),
        ("bob", "hunter2", "POST", "/v2/team/app/blobs/uploads/", 403),
        ("bob", "hunter2", "GET", "/v2/other/tags/list", 403),
    ] {
        let answer = ask(&registry, method, path).basic_auth(user, Some(password)).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{user} {method} {path}");
    }
    assert_eq!(get(&registry, "/v2/public/app/manifests/1").await.status(), 200);
    assert_eq!(get(&registry, "/v2/team/app/manifests/1").await.status(), 401);
}

#[tokio::test]
async fn a_challenge_names_realm_service_and_scope() {
    let registry = Registry::builder().bearer(accounts()).service("s").start().await;
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", registry.token_host().unwrap());
    assert_eq!(header(&get(&registry, "/v2/").await, "www-authenticate"), realm);
    let path = "/v2/team/app/blobs/uploads/?mount=sha256:00&from=team/base";
    let refused = ask(&registry, "POST", path).send().await.unwrap();
    let scope = "repository:team/app:pull,push repository:team/base:pull";
    assert_eq!(header(&refused, "www-authenticate"), format!("{realm},scope=\"{scope}\""));
}

#[tokio::test]
async fn a_token_grants_what_is_asked_and_permitted() {
    let registry = Registry::builder().bearer(accounts()).start().await;
    registry.put("team/app", "1", &Image::new("linux/amd64"));
    registry.put("public/app", "1", &Image::new("linux/amd64"));
    let manifest = "/v2/team/app/manifests/1";
    let uploads = "/v2/team/app/blobs/uploads/";

    let (_, pull) = token(&registry, Some(("alice", "secret")), &["repository:team/app:pull"]).await;
    assert_eq!(with_token(&registry, "GET", manifest, &pull).await.status(), 200);
    let refused = with_token(&registry, "POST", uploads, &pull).await;
    assert_eq!(refused.status(), 401);
    assert!(header(&refused, "www-authenticate").ends_with("error=\"insufficient_scope\""));

    let scopes = ["repository:team/app:pull,push", "repository:public/app:pull"];
    let (_, both) = token(&registry, Some(("alice", "secret")), &scopes).await;
    assert_eq!(with_token(&registry, "POST", uploads, &both).await.status(), 202);
    assert_eq!(with_token(&registry, "GET", "/v2/public/app/manifests/1", &both).await.status(), 200);

    let (status, reader) = token(&registry, Some(("bob", "hunter2")), &scopes[..1]).await;
    assert_eq!(status, 200);
    assert_eq!(with_token(&registry, "GET", manifest, &reader).await.status(), 200);
    assert_eq!(with_token(&registry, "POST", uploads, &reader).await.status(), 401);

    let (_, anonymous) = token(&registry, None, &scopes).await;
    assert_eq!(with_token(&registry, "GET", "/v2/public/app/manifests/1", &anonymous).await.status(), 200);
    assert_eq!(with_token(&registry, "GET", manifest, &anonymous).await.status(), 401);
    assert_eq!(registry.tokens_issued(), 4);

    assert_eq!(token(&registry, Some(("alice", "wrong")), &[]).await.0, 401);
    assert_eq!(registry.count(Kind::Token), 5);
    assert!(registry.requests_of(Kind::Token).iter().all(|request| request.origin == Origin::TokenServer));
}

#[tokio::test]
async fn some_token_servers_read_one_scope() {
    let registry = Registry::builder().bearer(accounts()).first_scope_only().start().await;
    let scopes = ["repository:a:pull", "repository:b:pull"];
    let (_, token) = token(&registry, Some(("alice", "secret")), &scopes).await;
    assert_eq!(with_token(&registry, "GET", "/v2/a/tags/list", &token).await.status(), 404);
    assert_eq!(with_token(&registry, "GET", "/v2/b/tags/list", &token).await.status(), 401);
}

#[tokio::test]
async fn without_anonymous_rights_there_are_no_anonymous_tokens() {
    let registry = Registry::builder().bearer(("alice", "secret")).start().await;
    assert_eq!(token(&registry, None, &["repository:a:pull"]).await.0, 401);
}

#[tokio::test]
async fn tokens_end_by_time_and_by_revocation() {
    let lifetime = Duration::from_secs(2);
    let registry = Registry::builder().bearer(("alice", "secret")).token_lifetime(lifetime).start().await;
    registry.put("a", "1", &Image::new("linux/amd64"));
    let alice = Some(("alice", "secret"));
    for end in ["time", "revocation"] {
        let (_, token) = token(&registry, alice, &["repository:a:pull"]).await;
        assert_eq!(with_token(&registry, "GET", "/v2/a/tags/list", &token).await.status(), 200);
        match end {
            "time" => tokio::time::sleep(lifetime).await,
            _ => registry.revoke_tokens(),
        }
        let refused = with_token(&registry, "GET", "/v2/a/tags/list", &token).await;
        assert_eq!(refused.status(), 401);
        assert!(header(&refused, "www-authenticate").ends_with("error=\"invalid_token\""));
    }
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_a_form() {
    let registry = Registry::builder().bearer(accounts()).start().await;
    for (form, expected) in [
        ("grant_type=refresh_token&refresh_token=identity&scope=repository%3Aa%3Apull", 200),
        ("grant_type=password&username=alice&password=secret&scope=repository:a:pull", 200),
        ("grant_type=refresh_token&refresh_token=wrong", 401),
        ("grant_type=password&username=alice&password=wrong", 401),
    ] {
        let address = format!("http://{}/token", registry.token_host().unwrap());
        let (status, token) = read_token(client().post(address).body(form).send().await.unwrap()).await;
        assert_eq!(status, expected);
        let ping = with_token(&registry, "GET", "/v2/", &token).await;
        assert_eq!(ping.status(), expected);
    }
}
