//! The connections by which blobs come.
//!
//! hyper reads as much of an answer at once as has arrived, up to 400 KiB, keeps a buffer of that size for each
//! connection, and reads one such part ahead. With 64 workers that alone is more memory than all the rest; and reqwest
//! has no way to say how much. So blobs are read by hyper's own client, on which reqwest is built; but not through a
//! proxy, which is reqwest's matter.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use reqwest::header::{ACCEPT, HeaderValue, USER_AGENT};
use reqwest::{Body, Request, Response, ResponseBuilderExt as _};

use super::error::ErrorKind;
use super::http::{AGENT, CONNECT, IDLE};

/// Most bytes that are read at once, and longest head of an answer.
const READ: usize = 64 << 10;
/// How often it is seen whether an idle connection still stands, and after how many times without answer it does not.
const KEEPALIVE: Duration = Duration::from_secs(15);
const PROBES: u32 = 3;
/// What names the proxies of the environment.
const VARIABLES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// Requests without body whose answers are read as they come.
#[derive(Clone)]
pub(super) struct Streams {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Streams {
    pub fn new(tls: &rustls::ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(PROBES));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(READ)
            .build(HttpsConnector::from((tcp, tls.clone())));
        Self { client }
    }

    /// Sends a request and gives the answer's head; its body is still to come.
    pub async fn send(&self, request: Request) -> Result<Response, ErrorKind> {
        let url = request.url().clone();
        let malformed = |reason: String| ErrorKind::Malformed { reason };
        let request = http::Request::try_from(request)?;
        let (mut head, _) = request.into_parts();
        head.headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        head.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        let answer = self.client.request(http::Request::from_parts(head, Empty::new())).await?;
        let (head, body) = answer.into_parts();
        let mut answer = http::Response::builder()
            .status(head.status)
            .url(url)
            .body(Body::wrap(body))
            .map_err(|error| malformed(error.to_string()))?;
        *answer.headers_mut() = head.headers;
        Ok(answer.into())
    }
}

/// Which hosts are behind a proxy, by the environment.
pub(super) struct Proxies(Matcher);

impl Proxies {
    pub fn of_system() -> Self {
        for name in VARIABLES {
            if std::env::var(name).is_ok_and(|value| !value.trim().is_empty() && !is_proxy(value)) {
                // Not its value, which may hold a password.
                tracing::warn!(
                    "{name} names no proxy: expected http://host:port, https:// or socks5://; it is not used"
                );
            }
        }
        Self(Matcher::from_system())
    }

    /// The proxy by which `url` is asked for, if it is by one.
    pub fn of(&self, url: &url::Url) -> Option<Proxy> {
        let proxy = self.0.intercept(&url.as_str().parse().ok()?)?;
        let authority = proxy.uri().authority()?;
        let host = match authority.port() {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        Some(Proxy { host, is_spoken_to_in_tls: proxy.uri().scheme_str() == Some("https") })
    }
}

/// A proxy between us and a registry.
pub(super) struct Proxy {
    /// Its host and port. The user and password that its URL may hold are not kept.
    pub host: String,
    /// Whether TLS is spoken with the proxy itself: then an error of TLS may be about the proxy.
    pub is_spoken_to_in_tls: bool,
}

/// Whether a proxy can be asked that is named so.
fn is_proxy(named: String) -> bool {
    let any = "https://registry.example.com/".parse();
    any.is_ok_and(|any| Matcher::builder().all(named).build().intercept(&any).is_some())
}

impl From<Error> for ErrorKind {
    fn from(error: Error) -> Self {
        let is_connect = error.is_connect();
        Self::of_connection(&error, is_connect)
    }
}
