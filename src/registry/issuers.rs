//! The servers that give tokens. Each is asked as one citizen, for whichever registry and by whichever task: where it says
//! that it is asked too much, all who need a token of it wait; where it cannot be reached, one tries and all are told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Body, Method, Request, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::Url;

use super::error::{Error, ErrorKind};
use super::exchange::{Kind, TIME_LIMIT, within};
use super::http::{Answer, Transport};
use super::pace::{self, Pace, Turn};
use super::probe::TRIES_IF_KNOWN;
use super::reach::authority;
use super::sent::FORM;
use super::tries::patiently_until;
use crate::reference::Registry;
use crate::shared::lock;

/// All that is asked of such a server.
pub(super) const TOKENS: Turn = (Kind::Token, Method::GET);

const MAX_ANSWER: usize = 1 << 20;
/// No try begins so long after the first one: a server that never answers takes its time with each.
const LONGEST_SEARCH: Duration = Duration::from_secs(90);

/// Those of a run, by host and port.
pub(super) struct Issuers {
    /// Requests in flight at once at one of them.
    requests: usize,
    known: Mutex<HashMap<String, Arc<Issuer>>>,
}

/// One of them.
pub(super) struct Issuer {
    /// How fast it may be asked.
    pub pace: Pace,
    /// How it could not be reached. Nobody tries again before the next round.
    unreachable: Mutex<Option<ErrorKind>>,
    /// Whether somebody could not reach it, and nobody has since.
    is_doubted: AtomicBool,
    /// Held while one task finds out whether it can be reached. The others wait for that.
    search: tokio::sync::Mutex<()>,
}

impl Issuer {
    /// Asks, on behalf of a registry, until there is an answer that another try would not change, or that has all wait: by
    /// POST of a form, or by GET.
    pub async fn ask(
        &self,
        transport: &Transport,
        url: &Url,
        authorization: Option<&HeaderValue>,
        form: Option<&SecretString>,
    ) -> Result<Answer, Error> {
        let error = |kind| {
            let method = if form.is_some() { Method::POST } else { Method::GET };
            Error::new(&transport.registry, &method, url, kind)
        };
        let search = Mutex::new(None);
        let attempt = || async {
            let permit = loop {
                let permit = self.pace.permit(&Method::GET).await;
                if let Some(kind) = self.closed() {
                    return Err(error(kind));
                }
                if !self.is_doubted.load(Relaxed) || lock(&search).is_some() {
                    break permit;
                }
                drop(permit);
                let alone = self.search.lock().await;
                // It may have been found while this task waited.
                if self.is_doubted.load(Relaxed) {
                    *lock(&search) = Some(alone);
                }
            };
            let begun = Instant::now();
            let exchange = within(TIME_LIMIT, exchange(transport, url, authorization, form)).await;
            match &exchange {
                Err(ErrorKind::Unreachable { .. } | ErrorKind::TimedOut { .. }) => self.is_doubted.store(true, Relaxed),
                Err(ErrorKind::TooFewFiles { .. }) => {}
                // Somebody is there: who waited to be told need not wait for an answer that is of use.
                Ok(_) | Err(_) => {
                    self.is_doubted.store(false, Relaxed);
                    *lock(&search) = None;
                }
            }
            let answer = exchange.map_err(error)?;
            self.forget_unreachable();
            let trouble = answer.trouble();
            self.pace.heed(&TOKENS, begun, Some(&permit), &HeaderMap::new(), trouble.as_ref());
            match trouble.filter(|_| !pace::is_refusal(answer.status)) {
                Some(kind) => Err(self.unless_hopeless(answer.status, error(kind))),
                None => Ok(answer),
            }
        };
        let answer = patiently_until(transport.end(), TRIES_IF_KNOWN, LONGEST_SEARCH, attempt).await;
        let answer = answer.map_err(|error| self.judged(error))?;
        match pace::is_refusal(answer.status) {
            true => Err(self.unless_hopeless(answer.status, error(answer.refusal()))),
            false => Ok(answer),
        }
    }

    /// The error; as a verdict if so many requests were answered so that a repetition is not worth it.
    fn unless_hopeless(&self, status: StatusCode, error: Error) -> Error {
        if self.pace.is_hopeless(&TOKENS, status) { error.into_verdict() } else { error }
    }

    /// Why it is not asked now, if that is so.
    fn closed(&self) -> Option<ErrorKind> {
        self.pace.held(&TOKENS).or_else(|| lock(&self.unreachable).clone())
    }

    /// The error with which somebody has given up, as all are told it if there was no answer.
    fn judged(&self, error: Error) -> Error {
        if !matches!(error.kind, ErrorKind::Unreachable { .. } | ErrorKind::TimedOut { .. }) {
            return error;
        }
        let verdict = error.into_verdict();
        *lock(&self.unreachable) = Some(verdict.kind.clone());
        verdict
    }

    fn forget_unreachable(&self) {
        self.is_doubted.store(false, Relaxed);
        *lock(&self.unreachable) = None;
    }
}

async fn exchange(
    transport: &Transport,
    url: &Url,
    authorization: Option<&HeaderValue>,
    form: Option<&SecretString>,
) -> Result<Answer, ErrorKind> {
    let headers = authorization.map(|value| (AUTHORIZATION, value.clone()));
    let response = match form {
        None => transport.follow(url, Method::GET, url, headers.into_iter().collect()).await?,
        // What is posted is secret: it goes nowhere else.
        Some(form) => {
            let mut request = Request::new(Method::POST, url.clone());
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
            *request.body_mut() = Some(Body::from(form.expose_secret().to_owned()));
            transport.send(request).await?
        }
    };
    Answer::read(response, MAX_ANSWER).await
}

impl Issuers {
    pub fn new(requests: usize) -> Self {
        Self { requests, known: Mutex::default() }
    }

    /// The server at `url`, which gives tokens for `registry`.
    pub fn of(&self, url: &Url, registry: &Registry) -> Arc<Issuer> {
        let host = authority(url).to_owned();
        // In the log it has the name of its host, or of whom it serves.
        let name = host.parse().unwrap_or_else(|_| registry.clone());
        let new = || Issuer {
            pace: Pace::new(&name, self.requests),
            unreachable: Mutex::default(),
            is_doubted: AtomicBool::new(false),
            search: Default::default(),
        };
        lock(&self.known).entry(host).or_insert_with(|| Arc::new(new())).clone()
    }

    /// Lets those be asked again that could not be reached before.
    pub fn forget_unreachable(&self) {
        for issuer in lock(&self.known).values() {
            issuer.forget_unreachable();
            issuer.pace.forget_failures();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::registry::Keyring;
    use crate::registry::http::Http;

    const GIVEN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    /// Asks a server that was doubted by so many at once. It says this to the first at once, and answers the others only
    /// when all are there who have no answer yet.
    async fn ask_side_by_side(first: &'static [u8]) {
        const ALL: usize = 8;
        let together = if first == GIVEN { ALL - 1 } else { ALL };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}/token", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            let (mut open, mut is_served) = (Vec::new(), false);
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                if !std::mem::replace(&mut is_served, true) {
                    stream.write_all(first).await.unwrap();
                    continue;
                }
                open.push(stream);
                if open.len() == together {
                    for mut stream in open.drain(..) {
                        stream.write_all(GIVEN).await.unwrap();
                    }
                }
            }
        });
        let registry: Registry = "r.example.com".parse().unwrap();
        let transport = Transport::new(Arc::new(Http::new(&Keyring::default()).unwrap()), registry.clone());
        let issuer = Issuers::new(ALL).of(&url, &registry);
        issuer.is_doubted.store(true, Relaxed);
        let ask = |_| {
            let (issuer, transport, url) = (issuer.clone(), transport.clone(), url.clone());
            tokio::spawn(async move { issuer.ask(&transport, &url, None, None).await.map(|answer| answer.status) })
        };
        let everybody: Vec<_> = (0..ALL).map(ask).collect();
        for somebody in everybody {
            assert_eq!(somebody.await.unwrap().unwrap(), 200);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn once_a_server_is_found_again_those_who_waited_for_that_ask_side_by_side() {
        ask_side_by_side(GIVEN).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_breaks_off_is_there_and_is_asked_side_by_side() {
        ask_side_by_side(b"").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_fails_is_there_and_is_asked_side_by_side() {
        ask_side_by_side(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_is_given_up_once_for_all() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}/token", listener.local_addr().unwrap()).parse().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let seen = connections.clone();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                seen.fetch_add(1, Relaxed);
                open.push(stream);
            }
        });
        let registry: Registry = "r.example.com".parse().unwrap();
        let http = Arc::new(Http::new(&Keyring::default()).unwrap());
        let transport = Transport::new(http, registry.clone());
        let issuers = Issuers::new(1);
        for round in 1..=2 {
            let ask = |_| {
                let (issuer, transport, url) = (issuers.of(&url, &registry), transport.clone(), url.clone());
                tokio::spawn(async move { issuer.ask(&transport, &url, None, None).await.map(drop).unwrap_err() })
            };
            let everybody: Vec<_> = (0..40).map(ask).collect();
            for somebody in everybody {
                let error = somebody.await.unwrap();
                assert!(matches!(error.kind, ErrorKind::Verdict(_)) && error.is_transient(), "{error}");
            }
            let connections = connections.load(Relaxed);
            assert!((round..=round * (1 + TRIES_IF_KNOWN)).contains(&connections), "{connections} in round {round}");
            issuers.forget_unreachable();
        }
    }
}
