//! Answers challenges: Basic, or Bearer tokens fetched once for all who need the same, and renewed in time.
//!
//! Sources: distribution `docs/content/spec/auth/token.md`, `scope.md`. A token is fetched outside of all request
//! limits, before the request that needs it queues for its permit.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Request, StatusCode};
use secrecy::ExposeSecret;
use serde::Deserialize;
use url::Url;

use super::challenge::{self, Challenge};
use super::error::{Error, ErrorKind, is_transient};
use super::http::{Answer, Transport, sensitive};
use super::{Keyring, Login, patiently};
use crate::reference::{Registry, Repository};
use crate::shared::Shared;

/// Lifetime of a token whose answer does not say (`token.md`).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// A token is renewed when less than this is left, or a quarter of its life if that is less: requests are judged by it
/// when they begin, and some begin late.
const MARGIN: Duration = Duration::from_secs(30);
const MAX_ANSWER: usize = 1 << 20;
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What a request is allowed to do, and so what its token must cover.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub repository: Repository,
    pub push: bool,
    /// The repository from which a blob is mounted.
    pub mount_from: Option<Repository>,
}

impl Scope {
    /// The scopes as a token server reads them, what is pushed first: some servers read only the first.
    fn parameters(&self) -> impl Iterator<Item = String> {
        let actions = if self.push { "pull,push" } else { "pull" };
        let own = format!("repository:{}:{actions}", self.repository.path());
        let from = self.mount_from.as_ref().map(|from| format!("repository:{}:pull", from.path()));
        std::iter::once(own).chain(from)
    }
}

/// What to do about a 401.
pub(super) enum Verdict {
    /// Send the request again: what it was refused for has changed.
    Again,
    /// The registry means it.
    Final,
}

/// Who is asking: the name of the entry of auth.json, or nobody.
type Who = Option<String>;

/// What a token is asked for: where, for what, and by whom.
struct Grant<'a> {
    realm: &'a Url,
    service: Option<&'a str>,
    scope: &'a Scope,
    login: Option<&'a Login>,
}

pub(super) struct Authenticator {
    registry: Registry,
    keyring: Arc<Keyring>,
    transport: Transport,
    challenge: Mutex<Option<Challenge>>,
    tokens: Mutex<HashMap<(Who, Scope), Slot>>,
    /// Entries that the registry has accepted once. Until then one request asks and the others wait, so that a wrong
    /// password is shown once and not by all who need it.
    proven: Mutex<HashMap<String, Arc<Shared<(), Error>>>>,
    /// Entries that the registry refused, with what it said. They are not shown to it again.
    rejected: Mutex<HashMap<String, Error>>,
}

/// A place for one token, which is fetched once for all who wait for it.
type Slot = Arc<Shared<Token, Error>>;

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    renew_at: Instant,
}

impl Authenticator {
    pub fn new(registry: Registry, keyring: Arc<Keyring>, transport: Transport) -> Self {
        Self {
            registry,
            keyring,
            transport,
            challenge: Mutex::default(),
            tokens: Mutex::default(),
            proven: Mutex::default(),
            rejected: Mutex::default(),
        }
    }

    /// Learns from an answer how the registry wants to be spoken to. Bearer, once offered, stays: Harbor says
    /// Basic to those who come with a token it does not like.
    pub fn learn(&self, headers: &HeaderMap, url: &Url) {
        let Some(offered) = challenge::read(headers, url) else { return };
        let mut known = lock(&self.challenge);
        if !matches!((&*known, &offered), (Some(Challenge::Bearer { .. }), Challenge::Basic)) {
            *known = Some(offered);
        }
    }

    /// The `Authorization` for a request, as far as the registry is known to want one. `base` is its `/v2/`.
    pub async fn authorize(&self, scope: &Scope, base: &Url) -> Result<Option<HeaderValue>, Error> {
        let challenge = lock(&self.challenge).clone();
        let login = self.keyring.login(&scope.repository);
        if let Some(login) = &login {
            self.check_not_rejected(login)?;
        }
        match (challenge, login) {
            (None, _) => Ok(None),
            (Some(Challenge::Basic), None) => Err(self.error_at(base, ErrorKind::LoginNeeded)),
            (Some(Challenge::Basic), Some(login)) => {
                self.prove(&login, async || self.try_basic(&login, base).await).await?;
                Ok(basic(&login))
            }
            (Some(Challenge::Bearer { realm, service }), login) => {
                let grant = Grant { realm: &realm, service: service.as_deref(), scope, login: login.as_deref() };
                let token = async || self.token(&grant).await;
                if let Some(login) = &login {
                    let attempt = async || match token().await {
                        // What is said of this scope is not said of the password, nor to those who want another.
                        Err(error) if error.is_rejection() => Err(error),
                        _ => Ok(()),
                    };
                    self.prove(login, attempt).await?;
                }
                Ok(Some(token().await?.header))
            }
        }
    }

    /// Judges a 401 of the registry that came to a request sent with `used`.
    pub fn refused(&self, scope: &Scope, used: Option<&HeaderValue>, answer: &Answer) -> Verdict {
        self.learn(&answer.headers, &answer.url);
        let challenge = lock(&self.challenge).clone();
        match (challenge, used) {
            (Some(Challenge::Bearer { .. }), used) => {
                let login = self.keyring.login(&scope.repository);
                // Somebody else may have renewed it in the meantime.
                self.slot(login.as_deref(), scope).discard(|token| Some(&token.header) == used);
                Verdict::Again
            }
            (Some(Challenge::Basic), None) => Verdict::Again,
            // The password was proven at /v2/: this is about the repository.
            (Some(Challenge::Basic), Some(_)) | (None, _) => Verdict::Final,
        }
    }

    /// Sees to it that the registry has accepted this login once, or says how it refused it.
    async fn prove(&self, login: &Login, attempt: impl AsyncFnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let proven = lock(&self.proven).entry(login.entry.clone()).or_default().clone();
        if proven.peek().is_some() {
            return Ok(());
        }
        // Boxed like all that is rare: every request carries the room for what it may have to do.
        Box::pin(proven.get(|()| true, attempt)).await
    }

    /// Shows user and password to `/v2/`, which any account may read.
    async fn try_basic(&self, login: &Login, base: &Url) -> Result<(), Error> {
        let answer = self.get_patiently(base, basic(login)).await?;
        match answer.status {
            StatusCode::UNAUTHORIZED => Err(self.reject(login, base, &answer)),
            _ => Ok(()),
        }
    }

    /// The token for a scope, fetched if there is none that lasts.
    async fn token(&self, grant: &Grant<'_>) -> Result<Token, Error> {
        let lasts = |token: &Token| Instant::now() < token.renew_at;
        let slot = self.slot(grant.login, grant.scope);
        match slot.peek().filter(lasts) {
            Some(token) => Ok(token),
            None => Box::pin(slot.get(lasts, async || self.fetch(grant).await)).await,
        }
    }

    fn slot(&self, login: Option<&Login>, scope: &Scope) -> Slot {
        let who = login.map(|login| login.entry.clone());
        lock(&self.tokens).entry((who, scope.clone())).or_default().clone()
    }

    async fn fetch(&self, grant: &Grant<'_>) -> Result<Token, Error> {
        let Grant { realm, service, scope, login } = *grant;
        let mut url = realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            for scope in scope.parameters() {
                query.append_pair("scope", &scope);
            }
        }
        let answer = self.get_patiently(&url, login.and_then(basic)).await?;
        match (answer.status, login) {
            (status, _) if status.is_success() => {
                read_token(&answer).map_err(|reason| self.error_at(&url, ErrorKind::Malformed { reason }))
            }
            (StatusCode::UNAUTHORIZED, Some(login)) => Err(self.reject(login, &url, &answer)),
            (StatusCode::UNAUTHORIZED, None) => Err(self.error_at(&url, ErrorKind::LoginNeeded)),
            // Also 403: some servers refuse a scope with it, and that is no word on the password.
            _ => Err(self.error_at(&url, answer.refusal())),
        }
    }

    /// Asks until there is an answer that another try would not change.
    async fn get_patiently(&self, url: &Url, authorization: Option<HeaderValue>) -> Result<Answer, Error> {
        patiently(|| async {
            match self.get(url, authorization.clone()).await {
                Ok(answer) if is_transient(answer.status) => Err(self.error_at(url, answer.refusal())),
                Ok(answer) => Ok(answer),
                Err(kind) => Err(self.error_at(url, kind)),
            }
        })
        .await
    }

    async fn get(&self, url: &Url, authorization: Option<HeaderValue>) -> Result<Answer, ErrorKind> {
        let mut request = Request::new(Method::GET, url.clone());
        if let Some(value) = authorization {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let exchange = async { Answer::read(self.transport.send(request).await?, MAX_ANSWER).await };
        tokio::time::timeout(TIME_LIMIT, exchange).await.map_err(|_| ErrorKind::TimedOut { after: TIME_LIMIT })?
    }

    fn reject(&self, login: &Login, url: &Url, answer: &Answer) -> Error {
        let message = answer.refusal().to_string();
        let error = self.error_at(url, ErrorKind::Rejected { entry: login.entry.clone(), message });
        lock(&self.rejected).entry(login.entry.clone()).or_insert(error).clone()
    }

    fn check_not_rejected(&self, login: &Login) -> Result<(), Error> {
        lock(&self.rejected).get(&login.entry).map_or(Ok(()), |error| Err(error.clone()))
    }

    fn error_at(&self, url: &Url, kind: ErrorKind) -> Error {
        Error { registry: self.registry.clone(), request: show(&Method::GET, url), kind }
    }
}

/// A request as it stands in messages: without query, which may hold a signature, and without user and password.
pub(super) fn show(method: &Method, url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{method} {}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn basic(login: &Login) -> Option<HeaderValue> {
    let pair = format!("{}:{}", login.username, login.password.expose_secret());
    sensitive(&format!("Basic {}", STANDARD.encode(pair)))
}

fn read_token(answer: &Answer) -> Result<Token, String> {
    #[derive(Deserialize)]
    struct Body {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<u64>,
    }
    let body: Body = serde_json::from_slice(&answer.body)
        // What came instead may hold a token: it is not shown.
        .map_err(|_| "it is not the JSON object that holds a token".to_owned())?;
    let token = body.token.filter(|token| !token.is_empty()).or(body.access_token).unwrap_or_default();
    if token.is_empty() {
        return Err("no token in it".to_owned());
    }
    let header = sensitive(&format!("Bearer {token}")).ok_or("a token that no header can hold")?;
    let lifetime = body.expires_in.filter(|&seconds| seconds > 0).map_or(DEFAULT_LIFETIME, |seconds| {
        // A year is for ever, and no sum with it overflows.
        Duration::from_secs(seconds.min(365 * 24 * 3600))
    });
    Ok(Token { header, renew_at: Instant::now() + lifetime - MARGIN.min(lifetime / 4) })
}

/// A panic elsewhere must not fail every later request: what is behind these locks is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authenticator({})", self.registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(path: &str, push: bool, from: Option<&str>) -> Vec<String> {
        let repository = |path: &str| Repository::new("r.example.com".parse().unwrap(), path).unwrap();
        Scope { repository: repository(path), push, mount_from: from.map(repository) }.parameters().collect()
    }

    #[test]
    fn scopes_name_the_pushed_repository_first() {
        assert_eq!(scope("a/b", false, None), ["repository:a/b:pull"]);
        assert_eq!(scope("a/b", true, Some("c")), ["repository:a/b:pull,push", "repository:c:pull"]);
    }

    #[test]
    fn messages_show_no_query_and_no_password() {
        let url = "https://user:secret@r.example.com:1/v2/x?_state=secret".parse().unwrap();
        assert_eq!(show(&Method::GET, &url), "GET https://r.example.com:1/v2/x");
    }

    #[test]
    fn a_token_in_the_wrong_place_is_not_shown() {
        let answer = |body: &str| Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            url: "https://auth.example.com/".parse().unwrap(),
            body: bytes::Bytes::copy_from_slice(body.as_bytes()),
        };
        for body in [r#""s3cret""#, r#"{"token": ["s3cret"]}"#, "s3cret", r#"{"token": "s3\ncret"}"#, "{}"] {
            let Err(reason) = read_token(&answer(body)) else { panic!("{body} is no token") };
            assert!(!reason.contains("s3"), "{reason}");
        }
        assert!(read_token(&answer(r#"{"access_token": "s3cret"}"#)).is_ok());
    }
}
