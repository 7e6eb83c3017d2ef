//! TLS with real registries: private authorities, certificates of our own, tokens signed by a server nobody else knows.

use scriptable_registry::Registry;
use serde_json::{Value, json};

use crate::support::docker_registry::{DockerRegistry, Options, PASSWORD, USER, is_installed};
use crate::support::pki::{self, Authority};
use crate::support::token_server::TokenServer;
use crate::support::{Migration, Outcome, small};

/// A migration of one image to a registry with this entry in `conf/auth.json`, and the files that it names beside it.
struct Attempt {
    source: Registry,
    digest: String,
    to: String,
    migration: Migration,
}

impl Attempt {
    async fn new(registry: &DockerRegistry, entry: Value, files: &[(&str, &str)]) -> Self {
        let source = Registry::open().await;
        let digest = source.put("team/app", "1.0", &small(1));
        let to = format!("{}/moved/app", registry.host());
        let migration = Migration::new().rule(source.reference("team/app", "1.0"), &to);
        std::fs::create_dir(migration.path("conf")).unwrap();
        let mut migration = migration
            .args(["--auth", "conf/auth.json"])
            .file("conf/auth.json", json!({ registry.host(): entry }).to_string());
        for (name, text) in files {
            migration = migration.file(&format!("conf/{name}"), text);
        }
        Self { source, digest, to, migration }
    }

    async fn succeeds(self, registry: &DockerRegistry) {
        self.migration.run().await.assert_success(1);
        assert_eq!(registry.tag("moved/app", "1.0"), Some(self.digest));
    }

    async fn fails(self, registry: &DockerRegistry, words: &[&str]) -> Outcome {
        let outcome = self.migration.run().await;
        outcome.assert_failures(1, 1, 0);
        outcome.assert_failed(&self.source.reference("team/app", "1.0"), &format!("{}:1.0", self.to), words);
        assert_eq!(registry.tag("moved/app", "1.0"), None);
        outcome
    }
}

#[tokio::test]
async fn a_private_authority_vouches_for_its_registry() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let authority = Authority::new("ours");
    let registry = DockerRegistry::with_certificate(&authority.server(&["127.0.0.1"]), None).await;
    let files = [("ca.pem", authority.pem.as_str())];
    Attempt::new(&registry, json!({}), &[]).await.fails(&registry, &["certificate", "\"ca\""]).await;
    let other = Authority::new("another");
    let wrong = [("ca.pem", other.pem.as_str())];
    Attempt::new(&registry, json!({ "ca": "ca.pem" }), &wrong).await.fails(&registry, &["certificate", "\"ca\""]).await;
    Attempt::new(&registry, json!({ "ca": "ca.pem" }), &files).await.succeeds(&registry).await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_whoever_vouches_for_it() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let authority = Authority::new("ours");
    let registry = DockerRegistry::with_certificate(&authority.server(&["registry.test"]), None).await;
    let files = [("ca.pem", authority.pem.as_str())];
    Attempt::new(&registry, json!({ "ca": "ca.pem" }), &files).await.fails(&registry, &["another name"]).await;
}

#[tokio::test]
async fn a_certificate_may_be_its_own_authority() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let certificate = pki::own_authority("127.0.0.1");
    let registry = DockerRegistry::with_certificate(&certificate, None).await;
    Attempt::new(&registry, json!({}), &[]).await.fails(&registry, &["certificate", "\"ca\""]).await;
    let files = [("own.pem", certificate.pem.as_str())];
    Attempt::new(&registry, json!({ "ca": "own.pem" }), &files).await.succeeds(&registry).await;
}

#[tokio::test]
async fn a_registry_may_want_a_certificate_of_ours() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let (authority, clients) = (Authority::new("ours"), Authority::new("clients"));
    let registry = DockerRegistry::with_certificate(&authority.server(&["127.0.0.1"]), Some(&clients.pem)).await;
    let (client, stranger) = (clients.client(), authority.client());
    let files = [
        ("ca.pem", authority.pem.as_str()),
        ("cert.pem", &client.pem),
        ("key.pem", &client.key),
        ("stranger.pem", &stranger.pem),
        ("stranger.key", &stranger.key),
    ];
    let words = ["client certificate", "\"cert\"", "\"key\""];
    Attempt::new(&registry, json!({ "ca": "ca.pem" }), &files).await.fails(&registry, &words).await;
    let wrong = json!({ "ca": "ca.pem", "cert": "stranger.pem", "key": "stranger.key" });
    Attempt::new(&registry, wrong, &files).await.fails(&registry, &[]).await;
    let right = json!({ "ca": "ca.pem", "cert": "cert.pem", "key": "key.pem" });
    Attempt::new(&registry, right, &files).await.succeeds(&registry).await;
    let insecure = json!({ "insecure": true, "cert": "cert.pem", "key": "key.pem" });
    let files = [("cert.pem", client.pem.as_str()), ("key.pem", &client.key)];
    let attempt = Attempt::new(&registry, insecure, &files).await;
    attempt.migration.run().await.assert_success(1);
}

#[tokio::test]
async fn certificates_that_cannot_be_used_stop_the_run_before_it_begins() {
    let source = Registry::open().await;
    for (entry, words) in [
        (json!({ "ca": "no.pem" }), ["auth.json:1:", "ca: cannot read no.pem: no such file"]),
        (json!({ "ca": "text.pem" }), ["auth.json:1:", "ca: text.pem is not what is needed"]),
        (json!({ "cert": "text.pem" }), ["auth.json:1:", "has a cert but no key"]),
    ] {
        let migration = Migration::new()
            .file("text.pem", "hello")
            .auth(&json!({ source.host(): entry }))
            .rule(source.reference("a", "1"), format!("{}/b", source.host()));
        migration.run().await.assert_refused(&words);
    }
    assert_eq!(source.count_all(), 0);
}

#[tokio::test]
async fn a_real_registry_takes_the_tokens_of_a_real_token_server() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let tokens = TokenServer::start(None).await;
    let registry = DockerRegistry::behind(&tokens, None).await;
    let plain = DockerRegistry::start(Options::default()).await;
    let login = json!({ "username": USER, "password": PASSWORD });
    Attempt::new(&registry, login.clone(), &[]).await.succeeds(&registry).await;
    let wrong = json!({ "username": USER, "password": "wr0ng" });
    let outcome = Attempt::new(&registry, wrong, &[]).await.migration.run().await;
    outcome.assert_failures(1, 1, 0);
    assert!(outcome.stderr.contains("rejected") && !outcome.everything().contains("wr0ng"), "{outcome}");

    // Within the registry the blobs are mounted, for which a token names both repositories; and out of it again.
    let host = registry.host();
    let migration = Migration::new()
        .auth(&json!({ &host: login }))
        .rule(format!("{host}/moved/app:1.0"), format!("{host}/again/app"))
        .rule(format!("{host}/moved/app:1.0"), format!("{}/out/app", plain.host()));
    migration.run().await.assert_success(2);
    assert_eq!(registry.tag("again/app", "1.0"), registry.tag("moved/app", "1.0"));
    assert_eq!(plain.tag("out/app", "1.0"), registry.tag("moved/app", "1.0"));
    let mount = ["repository:again/app:pull,push", "repository:moved/app:pull"].map(str::to_owned);
    assert!(tokens.asked().contains(&mount.to_vec()), "{:?}", tokens.asked());
}

#[tokio::test]
async fn an_authority_vouches_for_the_token_server_of_its_registry_and_being_insecure_is_said_of_each() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let authority = Authority::new("ours");
    let certificate = authority.server(&["127.0.0.1"]);
    let tokens = TokenServer::start(Some(&certificate)).await;
    let registry = DockerRegistry::behind(&tokens, Some(&certificate)).await;
    let with = |more: Value| {
        let mut entry = json!({ "username": USER, "password": PASSWORD });
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    };
    let files = [("ca.pem", authority.pem.as_str())];
    Attempt::new(&registry, with(json!({ "insecure": true })), &files)
        .await
        .fails(&registry, &["certificate", &format!("\"ca\" of {} in auth.json", tokens.host())])
        .await;
    let attempt = Attempt::new(&registry, json!({}), &files).await;
    let both = json!({
        registry.host(): with(json!({ "insecure": true })),
        tokens.host(): { "insecure": true },
    });
    let migration = attempt.migration.file("conf/auth.json", both.to_string());
    migration.run().await.assert_success(1);
    Attempt::new(&registry, with(json!({ "ca": "ca.pem" })), &files).await.succeeds(&registry).await;
}
