//! HTTP as registries need it: one hop at a time, redirects without credentials, answers read up to a bound.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Request, Response, StatusCode};
use url::Url;

use super::Keyring;
use super::blob::Wait;
use super::elsewhere::Elsewhere;
use super::error::{self, ErrorKind};
use super::exchange::{TIME_LIMIT, within};
use super::pace::{LONGEST_HOLD, RateLimit, clock, until};
use super::probe::base;
use super::reach::{self, Reach, authority};
use super::sent::Sent;
use super::streams::{Proxies, Proxy, Streams};
use super::tls::{self, Tls, Trust};
use crate::digest::Digest;
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
/// Most bytes of an answer whose body says nothing of use, or why not.
pub(super) const SHORT: usize = 64 << 10;

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
        Ok(Self { strict, hosts, led, elsewhere: Elsewhere::default(), proxies: Proxies::of_system() })
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
        let mut url = url.clone();
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
                false => Box::pin(self.http.elsewhere.ask(&url, send)).await?,
            };
            if !is_redirect(response.status()) {
                return Ok(sent.noted_in(response));
            }
            let next = redirect_target(&url, response.headers())?;
            if next.origin() != url.origin() {
                headers.remove(AUTHORIZATION);
            }
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

/// An answer read to its end.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Where it came from: what `Location` and `Link` are relative to.
    pub url: Url,
    pub body: Bytes,
    pub sent: Sent,
}

impl Answer {
    /// Reads the body of `response`, which must not exceed `limit` bytes if it is what was asked for. Of a refusal no
    /// more is read than a message needs. The end is waited for as long as bytes come: the caller limits the whole.
    pub async fn read(mut response: Response, limit: usize) -> Result<Self, ErrorKind> {
        let (status, url) = (response.status(), response.url().clone());
        let (headers, sent) = (std::mem::take(response.headers_mut()), Sent::taken_from(&mut response));
        let (mut body, mut wait) = (BytesMut::new(), Wait::default());
        while let Some(chunk) = wait.chunk(&mut response).await? {
            if status.is_success() && body.len() + chunk.len() > limit {
                return Err(ErrorKind::Malformed { reason: format!("it is larger than {limit} bytes") });
            }
            body.extend_from_slice(&chunk);
            if !status.is_success() && body.len() > SHORT {
                break;
            }
        }
        Ok(Self { status, headers, url, body: body.freeze(), sent })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The digest that the registry names for what was asked.
    pub fn digest(&self) -> Option<Digest> {
        self.header("docker-content-digest")?.parse().ok()
    }

    /// Whether the registry at `base` wants other credentials than it got. What another host says of credentials, to
    /// which a redirect or an upload led, is not the registry's word, and must not be answered with its password.
    pub fn is_challenge_of(&self, base: &Url) -> bool {
        (self.status == StatusCode::UNAUTHORIZED || self.says_expired()) && self.url.origin() == base.origin()
    }

    /// Whether the credentials were good once. ECR says so with 403: "Your authorization token has expired".
    pub fn says_expired(&self) -> bool {
        let text = || String::from_utf8_lossy(&self.body).to_ascii_lowercase();
        self.status == StatusCode::FORBIDDEN && text().contains("token has expired")
    }

    /// What this answer says if it is not the one that was hoped for. `asked` is where the request began.
    pub fn refusal_of(&self, asked: &Url) -> ErrorKind {
        let signature_refused = matches!(self.status.as_u16(), 400 | 401 | 403);
        if signature_refused && self.url.origin() != asked.origin() {
            let host = self.url.host_str().unwrap_or_default().to_owned();
            return ErrorKind::RefusedElsewhere { host, status: self.status };
        }
        self.refusal()
    }

    /// What an answer of the registry itself says if it is not the one that was hoped for.
    pub fn refusal(&self) -> ErrorKind {
        let (codes, message) = error::read_body(&self.body, &self.sent.secrets(&self.url));
        // Of the address the host alone: the rest may be signed.
        let led = || self.url.join(self.header(LOCATION.as_str())?).ok()?.host_str().map(str::to_owned);
        let message = match led().filter(|_| is_redirect(self.status)) {
            Some(host) => format!("it leads to {host}, where this request is not sent on"),
            None => message,
        };
        ErrorKind::Status { status: self.status, codes, message, retry_after: self.retry_after() }
    }

    /// How long the registry wants to be left alone: as it says, or until what is used up comes again.
    fn retry_after(&self) -> Option<Duration> {
        let reset = || RateLimit::read(&self.headers).filter(|limit| limit.remaining == Some(0))?.reset;
        retry_after(&self.headers).or_else(|| Some(reset()?.min(LONGEST_HOLD)))
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), which some write in seconds too. A date is read by the
/// clock of whoever says it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match text.parse() {
        Ok(seconds) => until(seconds, clock(headers)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(clock(headers)).ok()?,
    };
    Some(pause.min(LONGEST_HOLD))
}

/// A header whose value is kept out of debug output.
pub(super) fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};
    use reqwest::Body;
    use reqwest::header::HeaderName;

    use super::*;

    /// Reads an answer of ten pieces as large as this, each of which comes half a minute after the one before.
    async fn slow(piece: usize) -> Result<usize, ErrorKind> {
        let pieces = stream::iter(0..10).then(move |_| async move {
            tokio::time::sleep(TIME_LIMIT / 2).await;
            Ok::<_, std::io::Error>(vec![0; piece])
        });
        let response = http::Response::new(Body::wrap_stream(pieces));
        Answer::read(response.into(), SHORT).await.map(|answer| answer.body.len())
    }

    #[tokio::test(start_paused = true)]
    async fn what_keeps_coming_is_read_however_long_that_takes_and_a_trickle_is_not() {
        assert_eq!(slow(5_000).await, Ok(50_000));
        assert_eq!(slow(1).await, Err(ErrorKind::TimedOut { after: TIME_LIMIT }));
    }

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

    #[test]
    fn what_is_used_up_is_waited_for_until_there_is_more_and_what_is_left_is_not() {
        let said = |headers: &[(&'static str, &'static str)]| {
            let header = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
            let headers = headers.iter().map(header).collect();
            let (status, url) = (StatusCode::TOO_MANY_REQUESTS, "https://r.example.com/v2/".parse().unwrap());
            match (Answer { status, headers, url, body: Bytes::new(), sent: Sent::default() }).refusal() {
                ErrorKind::Status { retry_after, .. } => retry_after.map(|pause| pause.as_secs()),
                other => panic!("{other}"),
            }
        };
        let (reset, used_up) = (("ratelimit-reset", "30"), ("ratelimit-remaining", "0"));
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[reset, used_up]), Some(30));
        assert_eq!(said(&[reset, ("ratelimit-remaining", "5")]), None, "this is not what it was refused for");
        assert_eq!(said(&[reset, used_up, ("retry-after", "7")]), Some(7), "what is said outright goes first");
        assert_eq!(said(&[("ratelimit-reset", "999999"), used_up]), Some(LONGEST_HOLD.as_secs()));
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("999999"), Some(LONGEST_HOLD));
        let soon = std::time::SystemTime::now() + Duration::from_secs(100);
        let soon = soon.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!(read(&soon.to_string()).unwrap() <= Duration::from_secs(100));
        assert_eq!(read("1000000001"), Some(Duration::ZERO));
        assert_eq!(read("Fri, 31 Dec 2100 23:59:59 GMT"), Some(LONGEST_HOLD));
        assert_eq!(read("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(read("soon"), None);
    }

    #[test]
    fn a_date_is_read_by_the_clock_of_whoever_says_it() {
        for wrong_by in [-600, 0, 600_i64] {
            let now = std::time::SystemTime::now();
            let theirs = match u64::try_from(wrong_by) {
                Ok(ahead) => now + Duration::from_secs(ahead),
                Err(_) => now - Duration::from_secs(wrong_by.unsigned_abs()),
            };
            let seconds = |date: std::time::SystemTime| date.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            let date = httpdate::fmt_http_date(theirs);
            let later = theirs + Duration::from_secs(7);
            for said in [httpdate::fmt_http_date(later), seconds(later).to_string()] {
                let headers = [(reqwest::header::DATE, &date), (RETRY_AFTER, &said)];
                let headers = headers.map(|(name, value)| (name, HeaderValue::from_str(value).unwrap()));
                assert_eq!(retry_after(&headers.into_iter().collect()), Some(Duration::from_secs(7)), "{said}");
            }
            let reset = seconds(later).to_string();
            let headers = [("date", &*date), ("ratelimit-remaining", "0"), ("ratelimit-reset", &reset)];
            let headers =
                headers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
            let limit = RateLimit::read(&headers.into_iter().collect()).unwrap();
            assert_eq!(limit.reset, Some(Duration::from_secs(7)));
        }
    }
}
