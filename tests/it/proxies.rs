//! Registries that are reached through a proxy alone: their names mean nothing to this machine.

use std::net::SocketAddr;

use scriptable_registry::Registry;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::support::docker_registry::{DockerRegistry, is_installed};
use crate::support::pki::Authority;
use crate::support::proxy::Proxy;
use crate::support::{Migration, assert_same, large, small, two_registries};

const NAME: &str = "registry.test:5000";

/// A migration of one image from `NAME` to a registry of this machine.
fn migration(destination: &Registry) -> Migration {
    Migration::new()
        .auth(&json!({ NAME: { "insecure": true } }))
        .rule(format!("{NAME}/team/app:1"), format!("{}/moved/app", destination.host()))
}

#[tokio::test]
async fn plain_http_goes_through_the_proxy_for_http() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1", &large(1));
    let proxy = Proxy::http(&[(NAME, source.host())]).await;
    let url = format!("http://user:pr0xy-secret@{}", proxy.address());
    let outcome = migration(&destination).env("http_proxy", &url).env("HTTPS_PROXY", &url).run().await;
    outcome.assert_success(1);
    assert_same((&source, "team/app", "1"), (&destination, "moved/app", "1"));
    let asked = proxy.asked();
    // Whether it speaks TLS is asked once.
    let user = "Basic dXNlcjpwcjB4eS1zZWNyZXQ=";
    assert_eq!(asked[0], format!("CONNECT {NAME} {user}"));
    assert!(
        asked[1..].iter().all(|line| line.starts_with(&format!("GET http://{NAME}/v2/"))
            || line.starts_with(&format!("HEAD http://{NAME}/v2/"))),
        "{asked:#?}"
    );
    assert!(asked.iter().all(|line| line.ends_with(user)), "{asked:#?}");
    assert!(!outcome.everything().contains("pr0xy-secret"), "{outcome}");
}

#[tokio::test]
async fn names_are_left_to_a_socks_proxy() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1", &large(1));
    for variable in ["ALL_PROXY", "all_proxy"] {
        let proxy = Proxy::socks(&[(NAME, source.host())]).await;
        let outcome = migration(&destination).env(variable, format!("socks5h://{}", proxy.address())).run().await;
        outcome.assert_success(1);
        let asked = proxy.asked();
        assert!(!asked.is_empty() && asked.iter().all(|name| name == NAME), "{asked:?}");
    }
    assert_same((&source, "team/app", "1"), (&destination, "moved/app", "1"));
}

#[tokio::test]
async fn certificates_are_checked_behind_a_proxy() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let authority = Authority::new("ours");
    let registry = DockerRegistry::with_certificate(&authority.server(&["registry.test"]), None).await;
    let source = Registry::open().await;
    let digest = source.put("team/app", "1", &small(1));
    let names = [(NAME, registry.host())];
    let (tunnel, socks) = (Proxy::http(&names).await, Proxy::socks(&names).await);
    for (index, proxy) in
        [format!("http://{}", tunnel.address()), format!("socks5h://{}", socks.address())].iter().enumerate()
    {
        let repository = format!("moved/app{index}");
        let migration = Migration::new()
            .file("ca.pem", &authority.pem)
            .auth(&json!({ NAME: { "ca": "ca.pem" } }))
            .rule(source.reference("team/app", "1"), format!("{NAME}/{repository}"))
            .env("HTTPS_PROXY", proxy);
        migration.run().await.assert_success(1);
        assert_eq!(registry.tag(&repository, "1").as_ref(), Some(&digest));
    }
    assert!(tunnel.asked().iter().all(|line| *line == format!("CONNECT {NAME}")), "{:?}", tunnel.asked());
    assert!(!tunnel.asked().is_empty() && !socks.asked().is_empty());
}

#[tokio::test]
async fn what_no_proxy_names_is_not_asked_by_way_of_the_proxy() {
    let destination = Registry::open().await;
    for (names, is_left_out) in [("example.com,.test", true), ("example.com,.test.example.com", false)] {
        // It lets nobody through.
        let proxy = Proxy::http(&[]).await;
        let url = format!("http://{}", proxy.address());
        let migration = migration(&destination).env("HTTP_PROXY", &url).env("https_proxy", &url);
        let outcome = migration.env("NO_PROXY", names).run().await;
        outcome
            .assert_failures(1, 1, 0)
            .assert_line("FAILED ", &[&format!("GET https://{NAME}/v2/"), "cannot connect"]);
        assert_eq!(proxy.asked().is_empty(), is_left_out, "{names}: {:?}", proxy.asked());
        assert_eq!(outcome.stderr.contains("by way of the proxy"), !is_left_out, "{names}\n{outcome}");
    }
}

/// Only this machine is spoken to in plain http unasked.
#[tokio::test]
async fn a_registry_that_nobody_called_insecure_is_shown_nothing_in_plain_http() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1", &small(1));
    let proxy = Proxy::http(&[(NAME, source.host())]).await;
    let url = format!("http://{}", proxy.address());
    let login = json!({ "username": "mover", "password": "s3cret" });
    for entry in [json!({}), login, json!({ "insecure": false, "anonymous": true })] {
        let migration = migration(&destination).auth(&json!({ NAME: entry }));
        let outcome = migration.env("http_proxy", &url).env("HTTPS_PROXY", &url).run().await;
        outcome.assert_failures(1, 1, 0).assert_line("FAILED ", &["plain http server", "\"insecure\": true"]);
        assert!(proxy.asked().iter().all(|line| *line == format!("CONNECT {NAME}")), "{:#?}", proxy.asked());
    }
    assert!(!proxy.asked().is_empty() && source.count_all() == 0);
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached_is_named() {
    let destination = Registry::open().await;
    let outcome = migration(&destination).env("ALL_PROXY", "http://user:pr0xy-secret@127.0.0.1:1").run().await;
    outcome.assert_failures(1, 1, 0);
    outcome.assert_line("FAILED ", &["Connection refused", "by way of the proxy 127.0.0.1:1"]);
    assert!(!outcome.everything().contains("pr0xy-secret"), "{outcome}");
}

#[tokio::test]
async fn a_variable_that_names_no_proxy_is_told() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1", &small(1));
    for value in ["::::", "nonsense://x", "ftp://user:pr0xy-secret@127.0.0.1:1"] {
        let outcome = Migration::new().app_tags(&source, "1", &destination).env("HTTPS_PROXY", value).run().await;
        outcome.assert_success(1);
        outcome.assert_line(" WARN ", &["HTTPS_PROXY names no proxy"]);
        assert!(!outcome.everything().contains("pr0xy-secret"), "{outcome}");
    }
}

/// Answers whatever comes with these bytes, and closes.
async fn answering(bytes: &'static [u8]) -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(bytes).await;
        }
    });
    (address, AbortOnDropHandle::new(task))
}

#[tokio::test]
async fn a_proxy_that_fails_is_no_reason_to_speak_plain_http() {
    let destination = Registry::open().await;
    let (closing, _closing) = answering(b"").await;
    let (of_http, _of_http) = answering(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    // It would pass on whatever is sent in plain http.
    let plain = Proxy::http(&[]).await;
    for (proxy, told) in [
        (format!("http://{closing}"), "by way of the proxy"),
        (format!("https://{of_http}"), "want http://, by way of the proxy"),
    ] {
        let outcome = migration(&destination)
            .auth(&json!({ NAME: { "insecure": true, "username": "mover", "password": "s3cret" } }))
            .env("HTTPS_PROXY", proxy)
            .env("HTTP_PROXY", format!("http://{}", plain.address()))
            .run()
            .await;
        outcome.assert_failures(1, 1, 0);
        assert!(outcome.everything().contains(told), "{outcome}");
        assert_eq!(plain.asked(), [""; 0]);
    }
}
