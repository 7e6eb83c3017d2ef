//! The little HTTP that the tests need.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use scriptable_registry::{Registry, digest_of};

/// A client that follows nothing and never waits for long.
pub fn client() -> Client {
    // No TLS is spoken here, but other members of the workspace have reqwest insist on somebody who could.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(5))
        .no_proxy()
        .build()
        .unwrap()
}

/// A request to the registry itself.
pub fn ask(registry: &Registry, method: &str, path: &str) -> RequestBuilder {
    let address = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", registry.url()) };
    let request = client().request(Method::from_bytes(method.as_bytes()).unwrap(), address);
    if method == "POST" { request.header("content-length", "0") } else { request }
}

pub async fn get(registry: &Registry, path: &str) -> Response {
    ask(registry, "GET", path).send().await.unwrap()
}

/// The status of a request.
pub async fn status(registry: &Registry, method: &str, path: &str) -> u16 {
    ask(registry, method, path).send().await.unwrap().status().as_u16()
}

pub fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

/// The first error code of an answer.
pub async fn code(response: Response) -> String {
    let body: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    body["errors"][0]["code"].as_str().unwrap().to_owned()
}

/// Starts an upload and answers its location.
pub async fn start_upload(registry: &Registry, repository: &str) -> String {
    let started = ask(registry, "POST", &format!("/v2/{repository}/blobs/uploads/")).send().await.unwrap();
    assert_eq!(started.status(), 202);
    header(&started, "location").to_owned()
}

/// Uploads a blob in one piece.
pub async fn upload(registry: &Registry, repository: &str, bytes: &'static [u8]) -> Response {
    let location = start_upload(registry, repository).await;
    ask(registry, "PUT", &format!("{location}&digest={}", digest_of(bytes))).body(bytes).send().await.unwrap()
}
