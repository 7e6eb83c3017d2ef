//! The first contact with a registry: whether it speaks https or plain http, and how it wants to be addressed.
//!
//! It is made once a run, by asking for `/v2/`. If it fails, all that need the registry get that failure without another
//! try. The same holds for a registry that was reached before and is not any more: one task asks, and the others wait for
//! its verdict.
//!
//! Who has no credentials to prove there need not ask for `/v2/`: a request that reads something may be the first
//! contact, if it is answered. If it is not, `/v2/` tells whether that is about the registry or about what was read.
//! Only registries that are asked for something as soon as the run begins are met so. The others are met meanwhile, by
//! `/v2/`, which costs a request and saves the time of the first contact.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, Request, Response, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::challenge;
use super::error::{Error, ErrorKind, is_refused_or_not_tls, is_transient};
use super::exchange::{Call, read_answer, trace, with_authorization};
use super::http::{Answer, SHORT};
use super::token::{Need, Scope};
use super::tries::{TRIES, patiently_until};
use super::{Client, RepositoryClient};
use crate::reference::Registry;

const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Tries to reach a registry that was there before: it may just be started again.
pub(super) const TRIES_IF_KNOWN: usize = 6;
/// No try begins so long after the first one: one that does not answer takes its time with each.
const LONGEST_SEARCH: Duration = Duration::from_secs(30);
/// For the head of the answer to a request that is the first contact. It may take long for reasons of its own.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// What is known of the way to a registry.
#[derive(Default)]
pub(super) struct Probe {
    /// `https://host/v2/`, once anything there has answered.
    base: OnceLock<Url>,
    /// Whether `/v2/` itself has answered.
    is_asked: AtomicBool,
    /// Whether another request was to be the first contact, however that went.
    is_tried: AtomicBool,
    /// Whether a request did not reach it since it has answered the last time.
    is_doubted: AtomicBool,
    /// Held during the probe: one asks, the others wait for its verdict.
    failed: tokio::sync::Mutex<Option<Error>>,
}

impl Client {
    /// `https://host/v2/`, or http where that is allowed and https is not spoken. It has itself been asked if it
    /// `has_to_be`: what is open to nobody in particular does not tell how the registry wants to hear of credentials.
    async fn base(&self, has_to_be: impl Fn() -> bool) -> Result<&Url, Error> {
        let is_enough = || self.probe.is_asked.load(Relaxed) || !has_to_be();
        if let Some(base) = self.undoubted().filter(|_| is_enough()) {
            return Ok(base);
        }
        let mut failed = self.probe.failed.lock().await;
        if let Some(base) = self.undoubted().filter(|_| is_enough()) {
            return Ok(base);
        }
        if let Some(error) = &*failed {
            return Err(error.clone());
        }
        let end = self.transport.end();
        let found = match self.probe.base.get() {
            Some(base) if is_enough() => {
                let find = || self.find_again(base);
                Box::pin(patiently_until(end, TRIES_IF_KNOWN, LONGEST_SEARCH, find)).await.map(|()| base)
            }
            _ => Box::pin(patiently_until(end, TRIES, Duration::MAX, || self.find())).await.map(|base| {
                self.probe.is_asked.store(true, Relaxed);
                self.probe.base.get_or_init(|| base)
            }),
        };
        match found {
            Ok(base) => {
                if self.probe.is_doubted.swap(false, Relaxed) {
                    tracing::info!(registry = %self.registry, "it can be reached");
                }
                Ok(base)
            }
            Err(error) => Err(failed.insert(error.into_verdict()).clone()),
        }
    }

    fn undoubted(&self) -> Option<&Url> {
        self.probe.base.get().filter(|_| !self.probe.is_doubted.load(Relaxed))
    }

    /// A request to `url` did not get there: the next one to the registry, if that is its own, is not sent before it is known
    /// whether any does.
    pub(super) fn doubt(&self, url: &Url) {
        if self.is_own(url) {
            self.probe.is_doubted.store(true, Relaxed);
        }
    }

    /// Whether something is asked of the registry itself, and not of another host to which it has led.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        self.probe.base.get().is_some_and(|base| base.origin() == url.origin())
    }

    /// Whether it answers, whatever it says.
    async fn find_again(&self, base: &Url) -> Result<(), Error> {
        let answer = self.ping(base).await;
        answer.map(drop).map_err(|unanswered| Error::new(&self.registry, &Method::GET, base, unanswered.kind))
    }

    /// Lets the next request probe again where the last probe failed.
    pub(super) fn forget_unreachable(&self) {
        // Locked means that a probe is under way just now: its verdict is as fresh as can be.
        if let Ok(mut failed) = self.probe.failed.try_lock() {
            *failed = None;
        }
        self.auth.forget_unavailable();
        self.pace.forget_failures();
    }

    async fn find(&self) -> Result<Url, Error> {
        let unusable = || Error {
            registry: self.registry.clone(),
            asked: None,
            kind: ErrorKind::Malformed { reason: "the registry's name makes no URL".to_owned() },
        };
        let https = base(&self.registry, "https").ok_or_else(unusable)?;
        let over_tls = match self.ping(&https).await {
            Ok(answer) => return self.accept(https, answer),
            Err(error) => error,
        };
        if self.plain_http_allowed && over_tls.not_tls {
            let http = base(&self.registry, "http").ok_or_else(unusable)?;
            match self.ping(&http).await {
                // 400 is how an https server answers those who speak http to it; some lead them to where they should be.
                Ok(answer)
                    if answer.status != StatusCode::BAD_REQUEST
                        && !leads_to_https(answer.status, &answer.headers, &answer.url) =>
                {
                    return self.accept(http, answer);
                }
                _ => {}
            }
        }
        Err(Error::new(&self.registry, &Method::GET, &https, over_tls.kind))
    }

    /// Takes any answer that does not say that the registry is down: that of `/v2/` itself does not matter.
    fn accept(&self, base: Url, answer: Answer) -> Result<Url, Error> {
        if is_transient(answer.status) {
            return Err(Error::new(&self.registry, &Method::GET, &base, answer.refusal()));
        }
        self.auth.learn(&answer.headers, &answer.url);
        tracing::debug!(registry = %self.registry, %base, status = %answer.status, "registry found");
        Ok(base)
    }

    async fn ping(&self, base: &Url) -> Result<Answer, Unanswered> {
        let request = Request::new(Method::GET, base.clone());
        let exchange = async {
            let response = self.transport.execute(request).await.map_err(|error| Unanswered {
                not_tls: is_refused_or_not_tls(&error, self.transport.proxy(base).as_ref()),
                kind: self.transport.told(error),
            })?;
            Answer::read(response, SHORT).await.map_err(|kind| Unanswered { not_tls: false, kind })
        };
        let late = |_| Unanswered { not_tls: false, kind: ErrorKind::TimedOut { after: TIME_LIMIT } };
        tokio::time::timeout(TIME_LIMIT, exchange).await.map_err(late)?
    }

    /// The first contact by the call that `make` makes of the address of `path` below `/v2/`: when it was sent, and what came.
    /// `None` if a contact has been made or tried, or if nobody answers. It is tried once: those who wait meanwhile would
    /// try it one after the other.
    async fn meet_by(&self, path: &str, make: impl Fn(Url) -> Call) -> Option<(Call, Instant, Response)> {
        let failed = self.probe.failed.lock().await;
        if self.probe.base.get().is_some() || failed.is_some() || self.probe.is_tried.swap(true, Relaxed) {
            return None;
        }
        let schemes = if self.plain_http_allowed { ["https", "http"].as_slice() } else { &["https"] };
        for scheme in schemes {
            let base = base(&self.registry, scheme)?;
            let call = make(base.join(path).ok()?);
            let mut request = Request::new(call.method.clone(), call.url.clone());
            *request.headers_mut() = with_authorization(&call.headers, None);
            let begun = Instant::now();
            match tokio::time::timeout(FIRST_ANSWER, self.transport.execute(request)).await.ok()? {
                Ok(response) => {
                    let (status, headers, url) = (response.status(), response.headers(), response.url());
                    let is_challenge = status == StatusCode::UNAUTHORIZED && challenge::read(headers, url).is_some();
                    if is_final(status)
                        || is_challenge
                        || status.is_redirection() && !leads_to_https(status, headers, url)
                    {
                        self.auth.learn(headers, url);
                        tracing::debug!(registry = %self.registry, %base, %status, "registry found");
                        self.probe.base.get_or_init(|| base);
                    }
                    return Some((call, begun, response));
                }
                Err(error) if is_refused_or_not_tls(&error, self.transport.proxy(&base).as_ref()) => {}
                Err(_) => return None,
            }
        }
        None
    }
}

impl RepositoryClient {
    /// The registry's `https://host/v2/`, once it is known, and how the registry wants to be addressed if we have
    /// credentials for this repository.
    pub(super) async fn base(&self) -> Result<&Url, Error> {
        self.client.base(|| !self.is_nobody()).await
    }

    /// Sends the call that `make` makes of the address of `rest` in this repository: one that reads, and has no body. It
    /// may come to be the first contact with the registry.
    pub(super) async fn read(
        &self,
        rest: &str,
        make: impl Fn(Url) -> Call,
        scope: &mut Scope,
    ) -> Result<(Call, Answer), Error> {
        if self.client.probe.base.get().is_none() && self.is_nobody() {
            let path = format!("{}/{rest}", self.repository.path());
            // Those who wait for the contact with a permit keep nobody from making it: `/v2/` is asked for without.
            let permit = self.client.pace.permit(&Method::GET).await;
            if let Some((call, begun, response)) = Box::pin(self.client.meet_by(&path, &make)).await {
                let result = Box::pin(read_answer(&call, response)).await;
                trace(&call.method, &call.url, begun, result.as_ref().map(|answer| answer.status));
                self.heed(&(call.kind, call.method.clone()), &call.url, begun, Some(&permit), result.as_ref());
                if let Ok(answer) = result
                    && is_final(answer.status)
                {
                    return Ok((call, answer));
                }
            }
        }
        let call = make(self.url(rest).await?);
        let answer = self.call_within(&call, scope).await?;
        Ok((call, answer))
    }

    /// Whether there are no credentials for it.
    fn is_nobody(&self) -> bool {
        self.client.auth.is_nobody(&self.scope(&Method::GET, None))
    }

    /// Makes the first contact ahead of the first request, which then knows how the registry is reached and has its
    /// credentials. A credential helper, or a token server, may take its time. Without credentials nothing is gained where
    /// the first request `follows_at_once`: it is the first contact itself.
    pub async fn meet(&self, follows_at_once: bool) {
        if follows_at_once && self.is_nobody() {
            return;
        }
        if let Ok(base) = self.base().await {
            let _ = self.authorize(base, &self.scope(&Method::GET, None), Need::Request).await;
        }
    }
}

/// Whether an answer with this status leaves no question about the registry.
fn is_final(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::NOT_FOUND
}

/// Why nobody answered, and whether plain http may be tried instead.
struct Unanswered {
    not_tls: bool,
    kind: ErrorKind,
}

/// Whether it is a redirect to the same host over https.
fn leads_to_https(status: StatusCode, headers: &HeaderMap, url: &Url) -> bool {
    let place = headers.get(LOCATION).and_then(|place| url.join(place.to_str().ok()?).ok());
    status.is_redirection() && place.is_some_and(|place| place.scheme() == "https" && place.host() == url.host())
}

/// The `/v2/` of `registry`.
pub(super) fn base(registry: &Registry, scheme: &str) -> Option<Url> {
    // Docker Hub's name is not the host that serves its registry.
    let host = if registry.is_docker_hub() { "registry-1.docker.io" } else { registry.as_str() };
    Url::parse(&format!("{scheme}://{host}/v2/")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_is_served_elsewhere() {
        let url = |name: &str| base(&name.parse().unwrap(), "https").unwrap().to_string();
        assert_eq!(url("docker.io"), "https://registry-1.docker.io/v2/");
        assert_eq!(url("[::1]:5000"), "https://[::1]:5000/v2/");
    }
}
