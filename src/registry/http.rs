//! HTTP as registries need it: one hop at a time, redirects without credentials.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Request, Response, StatusCode};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Keyring;
pub(super) use super::answer::{Answer, SHORT};
use super::elsewhere::Elsewhere;
use super::error::ErrorKind;
use super::exchange::{TIME_LIMIT, within};
use super::probe::base;
use super::reach::{self, Reach, authority};
use super::sent::Sent;
use super::streams::{Proxies, Proxy, Streams};
use super::tls::{self, Tls, Trust};
use crate::reference::Registry;

/// How this program calls itself.
pub(super) const AGENT: &str = concat!("image-migrator/", env!("CARGO_PKG_VERSION"));
/// Time to connect, TLS included. For streams TLS is not: the limit of the whole opening covers it.
pub(super) const CONNECT: Duration = Duration::from_secs(15);
/// Idle connections are dropped before the balancers in front of registries do it (60 s and more).
pub(super) const IDLE: Duration = Duration::from_secs(25);
/// After so long the system gives up a connection whose other end takes nothing. Longer than we wait for that ourselves:
/// reqwest's 30 s ended uploads while a registry was busy with what it had.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNTAKEN: Duration = super::blob::STALL.saturating_add(Duration::from_secs(30));
const MAX_REDIRECTS: usize = 10;

/// The ways in which a run speaks HTTP. Connections are shared by all registries that need no certificates of their own.
pub(super) struct Http {
    strict: Clients,
    /// To hosts of which auth.json says how they are known, by their name and port in URLs. Also token servers may be
    /// among them. Our certificate is shown to its host and nobody else.
    hosts: HashMap<String, Clients>,
    /// From registries that have an authority of their own to where they lead: it often vouches for their token server
    /// and storage as well.
    led: HashMap<Registry, Clients>,
    elsewhere: Elsewhere,
    proxies: Proxies,
    /// When nothing is to be tried again.
    pub end: CancellationToken,
}

/// Clients that trust alike.
#[derive(Clone)]
struct Clients {
    /// Through the proxies of the environment.
    proxied: Client,
    /// To this machine: no proxy knows its loopback addresses.
    direct: Client,
    /// For blobs, where no proxy is between.
    streams: Streams,
}

impl Http {
    /// Clients for all registries of `keyring`.
    pub fn new(keyring: &Keyring) -> Result<Self, SetupError> {
        let roots = tls::roots();
        let clients = |tls: &Tls, trust| Clients::new(&tls::client(&roots, tls, trust)?);
        let usual = Tls::default();
        let strict = clients(&usual, Trust::Vouched)?;
        let (mut hosts, mut led) = (HashMap::new(), HashMap::new());
        let key = |registry| base(registry, "https").map(|url| authority(&url).to_owned());
        if !keyring.insecure().is_empty() {
            let lax = clients(&usual, Trust::Any)?;
            hosts.extend(keyring.insecure().iter().filter_map(key).map(|key| (key, lax.clone())));
        }
        for (registry, tls) in keyring.tls() {
            let trust = if keyring.is_insecure(registry) { Trust::Any } else { Trust::Vouched };
            let own = clients(tls, trust)?;
            hosts.extend(key(registry).map(|key| (key, own)));
            let authorities = Tls { identity: None, ..tls.clone() };
            led.insert(registry.clone(), clients(&authorities, Trust::Vouched)?);
        }
        let end = CancellationToken::new();
        Ok(Self { strict, hosts, led, elsewhere: Elsewhere::until(end.clone()), proxies: Proxies::of_system(), end })
    }

    /// Lets those hosts be asked again, to which registries led, that could not be reached before.
    pub fn forget_unreachable(&self) {
        self.elsewhere.forget_unreachable();
    }

    fn clients(&self, registry: &Registry, url: &Url) -> &Clients {
        let own = self.hosts.get(authority(url));
        own.or_else(|| self.led.get(registry)).unwrap_or(&self.strict)
    }
}

/// Whether it leads to this machine, to which no proxy is asked.
fn is_here(url: &Url) -> bool {
    reach::reach(url) == Reach::Machine
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Http(#[from] reqwest::Error),
}

impl Clients {
    fn new(tls: &rustls::ClientConfig) -> Result<Self, SetupError> {
        let builder = || {
            let builder = Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(AGENT)
                .redirect(Policy::none())
                .referer(false)
                .connect_timeout(CONNECT)
                .pool_idle_timeout(IDLE)
                // One connection a transfer: no flow-control window shared between blobs.
                .http1_only();
            #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
            let builder = builder.tcp_user_timeout(UNTAKEN);
            builder
        };
        Ok(Self { proxied: builder().build()?, direct: builder().no_proxy().build()?, streams: Streams::new(tls) })
    }
}

/// A registry's side of the connection: what is trusted for its sake.
#[derive(Clone)]
pub(super) struct Transport {
    http: Arc<Http>,
    pub registry: Registry,
    /// Whether the answers are read as streams.
    streams: bool,
}

impl Transport {
    pub fn new(http: Arc<Http>, registry: Registry) -> Self {
        Self { http, registry, streams: false }
    }

    /// The same for answers that are read as streams.
    pub fn of_streams(&self) -> Self {
        Self { streams: true, ..self.clone() }
    }

    /// When nothing is to be tried again.
    pub fn end(&self) -> &CancellationToken {
        &self.http.end
    }

    /// Sends one request and gives the answer's head; its body is still to come.
    pub async fn execute(&self, request: Request) -> Result<Response, reqwest::Error> {
        let clients = self.http.clients(&self.registry, request.url());
        let client = if is_here(request.url()) { &clients.direct } else { &clients.proxied };
        let sent = Sent::of(&request);
        client.execute(request).await.map(|answer| sent.noted_in(answer))
    }

    /// As `execute`, with the error as we tell it.
    pub async fn send(&self, request: Request) -> Result<Response, ErrorKind> {
        if self.streams && self.proxy(request.url()).is_none() {
            let sent = Sent::of(&request);
            let streams = &self.http.clients(&self.registry, request.url()).streams;
            return streams.send(request).await.map(|answer| sent.noted_in(answer));
        }
        self.execute(request).await.map_err(|error| self.told(error))
    }

    /// The error of `execute` as we tell it: with the proxy that was between, if one was.
    pub fn told(&self, error: reqwest::Error) -> ErrorKind {
        let proxy = error.url().and_then(|url| self.proxy(url));
        ErrorKind::from(error).through(proxy.as_ref())
    }

    pub fn proxy(&self, url: &Url) -> Option<Proxy> {
        if is_here(url) { None } else { self.http.proxies.of(url) }
    }

    /// Sends a request without body, and again wherever a redirect points. Each hop has the time limit for itself, and may
    /// have to wait before it: for what is found out of a host other than that of `home`. Credentials stay with the origin
    /// they are meant for (distribution-spec "API"; presigned URLs refuse them).
    pub async fn follow(
        &self,
        home: &Url,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
    ) -> Result<Response, ErrorKind> {
        let (mut url, origin, own) = (url.clone(), url.origin(), headers.get(AUTHORIZATION).cloned());
        // A host to which a redirect leads may have been told by its address.
        let sent = Sent::with(&headers);
        for _ in 0..=MAX_REDIRECTS {
            let send = || {
                let mut request = Request::new(method.clone(), url.clone());
                *request.headers_mut() = headers.clone();
                within(TIME_LIMIT, self.send(request))
            };
            let response = match url.origin() == home.origin() {
                true => send().await?,
                false => Box::pin(self.http.elsewhere.ask(&self.registry, &url, send)).await?,
            };
            if !is_redirect(response.status()) {
                return Ok(sent.noted_in(response));
            }
            let next = redirect_target(&url, response.headers())?;
            // What leads away may lead back.
            match own.as_ref().filter(|_| next.origin() == origin) {
                Some(own) => headers.insert(AUTHORIZATION, own.clone()),
                None => headers.remove(AUTHORIZATION),
            };
            url = next;
        }
        Err(ErrorKind::Malformed { reason: format!("more than {MAX_REDIRECTS} redirects") })
    }
}

pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads, if that may be followed.
pub(super) fn redirect_target(from: &Url, headers: &HeaderMap) -> Result<Url, ErrorKind> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let next = location
        .and_then(|location| from.join(location).ok())
        .ok_or_else(|| ErrorKind::Malformed { reason: "a redirect without a usable Location".to_owned() })?;
    reach::check(from, &next)
        .map_err(|reason| ErrorKind::Malformed { reason: format!("a redirect {reason}, not followed") })?;
    Ok(next)
}

/// What the registry at `answered` calls `named`, as it is reached from here: a proxy that ends TLS lets the registry behind
/// it believe in http.
pub(super) fn over_tls(answered: &Url, mut named: Url) -> Url {
    if (answered.scheme(), named.scheme()) == ("https", "http") && named.host() == answered.host() {
        let _ = named.set_scheme("https");
    }
    named
}

/// A header whose value is kept out of debug output.
pub(super) fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(from: &str, location: &str) -> Result<String, ErrorKind> {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().unwrap());
        redirect_target(&from.parse().unwrap(), &headers).map(String::from)
    }

    #[test]
    fn redirects_never_lead_from_https_to_something_weaker() {
        assert_eq!(target("https://a/x", "/y?z=1").unwrap(), "https://a/y?z=1");
        assert_eq!(target("http://a/x", "https://b/").unwrap(), "https://b/");
        assert_eq!(target("http://a/x", "http://b/").unwrap(), "http://b/");
        assert!(target("https://a/x", "http://a/x").is_err());
        assert!(target("https://a/x", "file:///etc/passwd").is_err());
        assert!(target("http://a/x", "file:///etc/passwd").is_err());
    }

    #[test]
    fn redirects_never_lead_closer_than_the_registry_is() {
        for to in ["http://169.254.169.254/latest", "http://127.0.0.1/", "//localhost./", "http://[::ffff:7f00:1]/"] {
            assert!(target("http://r.example.com/x", to).is_err(), "{to}");
        }
        assert!(target("http://127.0.0.1:5000/x", "http://127.0.0.1:9000/").is_ok());
        assert!(target("http://r.example.com/x", "http://10.0.0.1/").is_ok());
    }
}
