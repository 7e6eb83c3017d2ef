//! Small requests: sent under a permit, with the right token, within a time limit, and again where that may help.
//!
//! A permit covers exactly one exchange, redirects followed and body read. Tokens, pauses between tries and hold-ups are
//! outside of it, so that a task with a permit waits for nothing but an answer. There is a time limit for the head of each
//! answer, redirects included, for any silence after it, and for the whole. Two things of the host to which a redirect
//! leads are found out under the permit, since only the redirect shows them: its anonymous token, and that it cannot be
//! reached.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue};
use reqwest::{Body, Method, Request, Response, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::RepositoryClient;
use super::error::{Asked, Error, ErrorKind};
use super::http::{Answer, SHORT, Transport};
use super::pace::{Permit, Turn};
use super::token::{Need, Scope};
use super::tries::{TRIES, backoff, wait, warn_again};
use crate::reference::Repository;

/// Longest until an answer's head.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(60);
/// For all redirects of one request, and what has to be found out of the hosts to which they lead.
const LONGEST_CHAIN: Duration = TIME_LIMIT.saturating_mul(5);
/// Longest until that of the answer to a manifest's PUT: a registry may look at, sign or replicate all that it names.
pub(super) const LONGEST_WRITE: Duration = Duration::from_secs(180);
/// Longest until its end, while bytes come: a list of tags may be long, and the way narrow.
const LONGEST_BODY: Duration = Duration::from_secs(600);
/// How often a token is renewed for one request. One may expire while its request queues.
pub(super) const RENEWALS: u32 = 2;
/// How often one request may be refused for its rate. Others may be served in the meantime.
pub(super) const REFUSALS: u32 = 8;

/// What registries count apart when they limit rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Tags,
    ManifestRead,
    ManifestWrite,
    BlobRead,
    BlobWrite,
    /// Asked of token servers, not of the registry.
    Token,
}

/// One small request, which can be sent again as it is.
pub(super) struct Call {
    pub kind: Kind,
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
    /// Most bytes of the answer.
    pub limit: usize,
    /// Whether a broken exchange may simply be repeated. That of an upload's end may not: the session is gone.
    pub repeat: bool,
}

impl Call {
    pub fn new(kind: Kind, method: Method, url: Url) -> Self {
        Self { kind, method, url, headers: HeaderMap::new(), body: None, limit: SHORT, repeat: true }
    }

    pub fn header(mut self, name: reqwest::header::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Until the head of the answer.
    fn time_limit(&self) -> Duration {
        if self.kind == Kind::ManifestWrite { LONGEST_WRITE } else { TIME_LIMIT }
    }

    /// A manifest whose answer does not come may still be written: it is looked for before it is put again.
    fn is_repeated_after(&self, error: &ErrorKind) -> bool {
        let may_be_under_way = self.kind == Kind::ManifestWrite && matches!(error, ErrorKind::TimedOut { .. });
        self.repeat && !may_be_under_way
    }
}

impl RepositoryClient {
    /// The URL of something in this repository: `/v2/<path>/<rest>`.
    pub(super) async fn url(&self, rest: &str) -> Result<Url, Error> {
        let base = self.base().await?;
        base.join(&format!("{}/{rest}", self.repository.path()))
            .map_err(|error| self.error(&Method::GET, base, ErrorKind::Malformed { reason: error.to_string() }))
    }

    /// The failure of a request to the registry, which has spoken HTTP before.
    pub(super) fn error(&self, method: &Method, url: &Url, kind: ErrorKind) -> Error {
        let is_own = self.client.is_own(url);
        let (auth, scope) = (&self.client.auth, || self.scope(method, None));
        let kind = match kind {
            // What comes now is the end of an answer that should have none, such as one to a HEAD.
            ErrorKind::NotHttp { reason } => ErrorKind::Broken { reason: format!("what came is no HTTP: {reason}") },
            ErrorKind::Status { status: StatusCode::UNAUTHORIZED, .. } if is_own => {
                auth.login_lacked(&scope()).unwrap_or(kind)
            }
            kind => kind,
        };
        let error = Error::new(&self.client.registry, method, url, kind);
        match error.is_denial() && is_own {
            true => error.with_remedy(auth.remedy(&scope())),
            false => error,
        }
    }

    /// What requests of this method need: one that changes nothing asks for no more than it needs, also here.
    pub(super) fn scope(&self, method: &Method, mount_from: Option<&Repository>) -> Scope {
        let push = self.push && !matches!(*method, Method::GET | Method::HEAD);
        Scope { repository: self.repository.clone(), push, mount_from: mount_from.cloned(), reads: Vec::new() }
    }

    /// Sends `call` until there is an answer that another try would not change. Any such answer is given, also a refusal.
    pub(super) async fn call(&self, call: &Call) -> Result<Answer, Error> {
        self.call_within(call, &mut self.scope(&call.method, None)).await
    }

    /// Like `call`, with a token for `scope`, which is widened in place if the registry asks for more to read the
    /// repository.
    pub(super) async fn call_within(&self, call: &Call, scope: &mut Scope) -> Result<Answer, Error> {
        let turn = (call.kind, call.method.clone());
        let (mut pauses, mut refusals, mut renewals) = (backoff(TRIES), 0, 0);
        loop {
            let base = self.base().await?;
            // The wait comes first: a token that was fetched before a long hold would end in it.
            self.wait_turn(&turn, &call.url).await?;
            let authorization = self.authorize(&call.url, scope, Need::Request).await?;
            let Some(result) = self.exchange_in_turn(call, &turn, base, authorization.as_ref()).await else { continue };
            let kind = match result {
                Ok(answer) if answer.status.is_success() => return Ok(answer),
                Ok(answer) if answer.is_challenge_of(base) && renewals < RENEWALS => {
                    renewals += 1;
                    if self.client.auth.renews_or_widens(scope, authorization.as_ref(), &answer) {
                        continue;
                    }
                    return Ok(answer);
                }
                Ok(answer) => match answer.refusal_of(&call.url) {
                    kind if kind.is_transient() => kind,
                    _ => return Ok(answer),
                },
                Err(kind) => kind,
            };
            let error = self.judged(&turn, self.error(&call.method, &call.url, kind));
            let pause = if error.status() == Some(StatusCode::TOO_MANY_REQUESTS) {
                refusals += 1;
                (refusals <= REFUSALS).then_some(Duration::ZERO)
            } else {
                pauses.next()
            };
            match pause
                .filter(|_| call.is_repeated_after(&error.kind) && error.is_worth_repeating() && self.patience.spend())
            {
                Some(_) if self.client.transport.end().is_cancelled() => return Err(error),
                // There is a hold on all requests of this kind, which has been told.
                Some(_) if error.is_overload() => {}
                Some(pause) => {
                    if !self.wait_to_try(&turn, &error, pause).await {
                        return Err(error);
                    }
                }
                None => {
                    if let ErrorKind::Broken { .. } = error.kind {
                        self.client.doubt(&call.url);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Waits until requests of this kind are not held back, or says for how long they are.
    pub(super) async fn wait_turn(&self, turn: &Turn, url: &Url) -> Result<(), Error> {
        self.client.pace.wait(turn, &self.patience).await.map_err(|kind| self.error(&turn.1, url, kind))
    }

    /// The error; as a verdict if so many of its kind came before it that a repetition is not worth it.
    pub(super) fn judged(&self, turn: &Turn, error: Error) -> Error {
        let is_hopeless = error.status().is_some_and(|status| self.client.pace.is_hopeless(turn, status));
        if is_hopeless && error.is_transient() { error.into_verdict() } else { error }
    }

    /// Waits before a request is sent again that failed. Answers whether it is to be.
    pub(super) async fn wait_to_try(&self, turn: &Turn, error: &Error, pause: Duration) -> bool {
        let tell = || match error.status().is_none_or(|status| self.client.pace.is_news(turn, status)) {
            true => warn_again(error, pause),
            false => tracing::debug!(pause = format_args!("{:.1}s", pause.as_secs_f64()), "{error}; trying again"),
        };
        wait(self.client.transport.end(), pause, tell).await
    }

    /// One exchange under a permit. `None` if requests of its kind came to be held back while it queued for the permit.
    async fn exchange_in_turn(
        &self,
        call: &Call,
        turn: &Turn,
        base: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Option<Result<Answer, ErrorKind>> {
        let permit = self.client.pace.permit(&call.method).await;
        if self.client.pace.is_held(turn) {
            return None;
        }
        let begun = Instant::now();
        let result = self.exchange(call, base, authorization).await;
        trace(&call.method, &call.url, begun, result.as_ref().map(|answer| answer.status));
        self.heed(turn, &call.url, begun, Some(&permit), result.as_ref());
        Some(result)
    }

    /// Learns from how an exchange ended what the registry bears, and whether it can be reached.
    pub(super) fn heed(
        &self,
        turn: &Turn,
        url: &Url,
        begun: Instant,
        permit: Option<&Permit<'_>>,
        result: Result<&Answer, &ErrorKind>,
    ) {
        match result {
            Ok(answer) => {
                self.client.pace.heed(turn, begun, permit, &answer.headers, answer.trouble().as_ref());
            }
            Err(ErrorKind::Unreachable { .. } | ErrorKind::TimedOut { .. }) => self.client.doubt(url),
            Err(_) => {}
        }
    }

    /// The credentials for a request: none if it goes to another origin, where an upload may lead.
    pub(super) async fn authorize(&self, url: &Url, scope: &Scope, need: Need) -> Result<Option<HeaderValue>, Error> {
        let base = self.base().await?;
        if url.origin() != base.origin() {
            return Ok(None);
        }
        self.client.auth.authorize(scope, need, base, &self.patience).await
    }

    async fn exchange(
        &self,
        call: &Call,
        base: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, ErrorKind> {
        let response = Box::pin(self.ask(call, base, authorization)).await?;
        read_answer(call, response).await
    }

    /// The head of the answer to `call`, within the time limit.
    async fn ask(&self, call: &Call, base: &Url, authorization: Option<&HeaderValue>) -> Result<Response, ErrorKind> {
        let headers = with_authorization(&call.headers, authorization);
        match &call.body {
            // The HEAD of a blob is judged by the registry's own answer: a redirect says that the blob is there.
            None if call.method == Method::GET || call.kind == Kind::ManifestRead => {
                let followed = self.follow(&self.client.transport, base, call.method.clone(), &call.url, headers);
                within(LONGEST_CHAIN, followed).await
            }
            body => {
                let mut request = Request::new(call.method.clone(), call.url.clone());
                *request.headers_mut() = headers;
                if call.method != Method::HEAD {
                    let length = body.as_ref().map_or(0, Bytes::len);
                    // Without it some registries answer 411 to a request that has no body.
                    request.headers_mut().insert(CONTENT_LENGTH, length.into());
                    *request.body_mut() = body.clone().map(Body::from);
                }
                within(call.time_limit(), self.client.transport.send(request)).await
            }
        }
    }

    /// Follows redirects, also to a host that wants a token of its own: of nobody in particular, as registry.k8s.io's
    /// Artifact Registry does. The pages after the first one of a list begin there. Other redirects lead to addresses that
    /// are signed, and want none.
    pub(super) async fn follow(
        &self,
        transport: &Transport,
        base: &Url,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
    ) -> Result<Response, ErrorKind> {
        let mut response = transport.follow(base, method.clone(), url, headers.clone()).await?;
        let mut refused = None;
        for _ in 0..RENEWALS {
            if response.status() != StatusCode::UNAUTHORIZED || response.url().origin() == base.origin() {
                break;
            }
            let guest = self.client.auth.guest(response.headers(), response.url(), refused.as_ref());
            let Ok(Some(token)) = tokio::time::timeout(TIME_LIMIT, Box::pin(guest)).await else { break };
            headers.insert(AUTHORIZATION, token.clone());
            refused = Some(token);
            response = Box::pin(transport.follow(base, method.clone(), response.url(), headers.clone())).await?;
        }
        Ok(response)
    }

    /// Opens an answer that is read as a stream. Not under a permit: it lasts as long as the transfer.
    pub(super) async fn open(&self, url: &Url, headers: &HeaderMap) -> Result<Response, Error> {
        let base = self.base().await?;
        let scope = self.scope(&Method::GET, None);
        let mut renewals = 0;
        let turn = (Kind::BlobRead, Method::GET);
        let transport = self.client.transport.of_streams();
        loop {
            self.wait_turn(&turn, url).await?;
            let authorization = self.authorize(url, &scope, Need::Request).await?;
            let headers = with_authorization(headers, authorization.as_ref());
            let begun = Instant::now();
            let opening = async {
                let followed = self.follow(&transport, base, Method::GET, url, headers);
                let response = within(LONGEST_CHAIN, followed).await?;
                // Of a refusal also the end has to come in time.
                match response.status().is_success() {
                    true => Ok(Ok(response)),
                    false => within(TIME_LIMIT, Answer::read(response, SHORT)).await.map(Err),
                }
            };
            let opened = opening.await;
            let status = |opened: &Result<Response, Answer>| match opened {
                Ok(response) => response.status(),
                Err(refusal) => refusal.status,
            };
            trace(&Method::GET, url, begun, opened.as_ref().map(status));
            let opened = opened
                .inspect_err(|kind| self.heed(&turn, url, begun, None, Err(kind)))
                .map_err(|kind| self.error(&Method::GET, url, kind))?;
            let answer = match opened {
                Ok(response) => {
                    self.client.pace.heed(&turn, begun, None, response.headers(), None);
                    return Ok(response);
                }
                Err(refusal) => refusal,
            };
            self.heed(&turn, url, begun, None, Ok(&answer));
            if answer.is_challenge_of(base) && renewals < RENEWALS {
                renewals += 1;
                if self.client.auth.renews(&scope, authorization.as_ref(), &answer) {
                    continue;
                }
            }
            return Err(self.judged(&turn, self.error(&Method::GET, url, answer.refusal_of(url))));
        }
    }
}

/// What comes of an exchange, if that is known within `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    exchange: impl Future<Output = Result<T, ErrorKind>>,
) -> Result<T, ErrorKind> {
    tokio::time::timeout(limit, exchange).await.unwrap_or(Err(ErrorKind::TimedOut { after: limit }))
}

/// The whole answer to `call`.
pub(super) async fn read_answer(call: &Call, response: Response) -> Result<Answer, ErrorKind> {
    let late = |_| Err(ErrorKind::Late { after: LONGEST_BODY });
    tokio::time::timeout(LONGEST_BODY, Answer::read(response, call.limit)).await.unwrap_or_else(late)
}

/// Tells of an exchange in the most verbose log, as messages show requests: without query, and without user and password.
pub(super) fn trace(method: &Method, url: &Url, begun: Instant, result: Result<StatusCode, &ErrorKind>) {
    if !tracing::enabled!(tracing::Level::TRACE) {
        return;
    }
    let (request, ms) = (Asked::new(method.clone(), url.clone()).to_string(), begun.elapsed().as_millis() as u64);
    match result {
        Ok(status) => tracing::trace!(parent: None, request, status = status.as_u16(), ms, "answered"),
        Err(kind) => tracing::trace!(parent: None, request, error = %kind, ms, "not answered"),
    }
}

pub(super) fn with_authorization(headers: &HeaderMap, authorization: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = headers.clone();
    // An answer that is encoded on the way would not have the digest of what is stored.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(value) = authorization {
        headers.insert(AUTHORIZATION, value.clone());
    }
    headers
}

#[cfg(test)]
mod tests;
