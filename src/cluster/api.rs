//! Asking an API server: one GET with its limits and repetitions, and lists page by page.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::client::{AuthError, Body};
use serde::Deserialize;

use super::access::{Access, Patience, unusable};
use super::objects::{Object, Page};
use crate::causes::{find, innermost};
use crate::foreign::{Secrets, one_line};

/// Objects in a page, as kubectl asks for them.
const PAGE: usize = 500;
/// Pages of a list that are read: as many objects as no cluster holds.
const MOST_PAGES: usize = 10_000;
/// Pages in a row without an object, after which there will be none.
const BARREN: usize = 5;
/// Far above 500 pods; what is above it is no list of them.
const MAX_PAGE: usize = 256 << 20;
/// How often a request is sent before a failure that may pass is told.
const TRIES: u32 = 4;
/// Longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Of an answer that is no `Status`, so much is looked at.
const LONGEST_PREFACE: usize = 4 << 10;
/// How often a list is begun anew when the server no longer knows where it was.
const BEGINNINGS: u32 = 5;

/// Why an API server gave no answer to what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("cannot reach the API server {server}: {reason}")]
    Unreachable { server: String, reason: String },
    #[error(
        "the API server {server} did not answer in time ({path}: nothing for {} s, or no end within {} s); try again, or \
         read fewer namespaces at a time with -n",
        .patience.silence.as_secs(), .patience.page.as_secs()
    )]
    Slow { server: String, path: String, patience: Patience },
    /// They are looked at with each request, before it is sent.
    #[error("the credentials of {identity} cannot be used: {reason}")]
    Credentials { identity: String, reason: String },
    #[error("the API server {server} does not accept the credentials of {identity}: {message}")]
    Unauthorized { server: String, identity: String, message: String },
    /// It understood and said no.
    #[error("the API server {server} answered {path} with {code}: {message}")]
    Refused { server: String, path: String, code: u16, message: String },
    #[error("the answer of {server} to {path} is no list of Kubernetes: {reason}")]
    Strange { server: String, path: String, reason: String },
    #[error("the list {path} of {server} changes faster than it can be read; try again, or narrow it with -n")]
    Restless { server: String, path: String },
}

impl ApiError {
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// What the API server said, without where.
    pub fn message(&self) -> String {
        match self {
            Self::Refused { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}

/// What an API server answers when it cannot do what was asked.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u64>,
}

/// Hands each object of a list to `take`, holding one page at a time. Returns how many there were.
///
/// A list that is begun anew hands out objects that were handed out before.
pub async fn list(access: &Access, path: &str, mut take: impl FnMut(&Object)) -> Result<usize, ApiError> {
    for _ in 0..BEGINNINGS {
        match list_once(access, path, &mut take).await {
            // The page after this one is no longer kept: the server forgets where lists were after some minutes.
            Err(error) if error.code() == Some(StatusCode::GONE.as_u16()) => {}
            ended => return ended,
        }
    }
    Err(ApiError::Restless { server: access.server.clone(), path: path.to_owned() })
}

async fn list_once(access: &Access, path: &str, take: &mut impl FnMut(&Object)) -> Result<usize, ApiError> {
    let strange = |reason: String| {
        let reason = access.secrets.hide(&reason).into_owned();
        ApiError::Strange { server: access.server.clone(), path: path.to_owned(), reason }
    };
    let mut count = 0;
    let (mut seen, mut barren) = (HashSet::new(), 0);
    let mut query = format!("{path}?limit={PAGE}");
    loop {
        let body = get(access, &query).await?;
        let page = page(&body).map_err(strange)?;
        drop(body);
        let items = page.items.unwrap_or_default();
        items.iter().for_each(&mut *take);
        count += items.len();
        barren = if items.is_empty() { barren + 1 } else { 0 };
        let Some(next) = page.metadata.next.filter(|next| !next.is_empty()) else { return Ok(count) };
        let token: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        query = format!("{path}?limit={PAGE}&continue={token}");
        if !seen.insert(next) {
            return Err(strange("it leads in a circle".to_owned()));
        }
        if barren == BARREN || seen.len() > MOST_PAGES {
            return Err(strange(format!(
                "it goes on for ever: {BARREN} pages in a row without an object, or more than {MOST_PAGES} pages"
            )));
        }
    }
}

/// Reads one page; if it is none, why. An empty list has no items either, so what it is must be said.
pub(super) fn page(body: &[u8]) -> Result<Page, String> {
    let page: Page = serde_json::from_slice(body).map_err(|error| one_line(&error.to_string()))?;
    match page.kind.as_str() {
        kind if kind.ends_with("List") => Ok(page),
        "" => Err("it does not say of which kind it is".to_owned()),
        kind => Err(format!("it is of the kind {}", one_line(kind))),
    }
}

/// The body of a GET, tried again where the failure may pass.
pub async fn get(access: &Access, path: &str) -> Result<Vec<u8>, ApiError> {
    let mut pause = Duration::from_millis(500);
    for _ in 1..TRIES {
        match try_get(access, path).await {
            Ok(body) => return Ok(body),
            Err(Failed { again: Again::After(asked), .. }) => {
                tokio::time::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE)).await
            }
            Err(Failed { error, again: Again::No }) => return Err(error),
        }
        pause *= 2;
    }
    try_get(access, path).await.map_err(|failed| failed.error)
}

struct Failed {
    error: ApiError,
    again: Again,
}

/// Whether a failure may pass.
enum Again {
    No,
    /// It may, after the pause that the server asked for, if it asked for one.
    After(Option<Duration>),
}

async fn try_get(access: &Access, path: &str) -> Result<Vec<u8>, Failed> {
    let shown = || path.split('?').next().unwrap_or(path).to_owned();
    let server = || access.server.clone();
    let exchange = async {
        let request = Request::get(path).header(header::ACCEPT, "application/json").body(Body::empty());
        let response = access.client.send(request.map_err(kube::Error::HttpError)?).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_PAGE).collect().await.map_err(kube::Error::Service)?;
        Ok::<_, kube::Error>((head, body.to_bytes()))
    };
    let (head, body) = match tokio::time::timeout(access.patience.page, exchange).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(broken(access, shown(), &error)),
        Err(_) => {
            return Err(Failed {
                error: ApiError::Slow { server: server(), path: shown(), patience: access.patience },
                again: Again::No,
            });
        }
    };
    if head.status.is_success() {
        return Ok(body.into());
    }
    let status: Status = serde_json::from_slice(&body).unwrap_or_default();
    let code = head.status.as_u16();
    let message = match (status.message.as_str(), status.reason.as_str()) {
        ("", "") => first_line(&access.secrets, &body, head.status),
        ("", said) | (said, _) => one_line(&access.secrets.hide(said)),
    };
    if head.status == StatusCode::UNAUTHORIZED {
        let identity = access.identity.clone();
        return Err(Failed { error: ApiError::Unauthorized { server: server(), identity, message }, again: Again::No });
    }
    let asked = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let asked = asked.or(status.details.and_then(|details| details.retry_after_seconds)).map(Duration::from_secs);
    let again = if matches!(code, 429 | 500 | 502 | 503 | 504) { Again::After(asked) } else { Again::No };
    Err(Failed { error: ApiError::Refused { server: server(), path: shown(), code, message }, again })
}

/// The request or the answer to it broke off.
fn broken(access: &Access, path: String, error: &kube::Error) -> Failed {
    let server = access.server.clone();
    if let Some(error) = find::<AuthError>(error) {
        let (identity, reason) = (access.identity.clone(), one_line(&unusable(error)));
        return Failed { error: ApiError::Credentials { identity, reason }, again: Again::No };
    }
    if find::<LengthLimitError>(error).is_some() {
        let reason = format!("it is larger than {} MiB", MAX_PAGE >> 20);
        return Failed { error: ApiError::Strange { server, path, reason }, again: Again::No };
    }
    let io = find::<io::Error>(error);
    if io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut) && !is_connecting(error) {
        return Failed { error: ApiError::Slow { server, path, patience: access.patience }, again: Again::No };
    }
    // A server that was there and closed the connection is asked again; one that refuses is not there.
    let passes = io.is_some_and(|io| {
        matches!(io.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)
    }) || find::<hyper::Error>(error).is_some_and(hyper::Error::is_incomplete_message);
    let again = if passes && !is_connecting(error) { Again::After(None) } else { Again::No };
    Failed { error: ApiError::Unreachable { server, reason: reason(access, error, io) }, again }
}

fn reason(access: &Access, error: &kube::Error, io: Option<&io::Error>) -> String {
    if let Some(tls) = find::<rustls::Error>(error) {
        return tls_reason(tls);
    }
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            "connection refused; is it running, and is this the right cluster (--context)?".to_owned()
        }
        Some(io::ErrorKind::TimedOut) => {
            format!(
                "no connection within {} s; is there a way to it from here (VPN, proxy)?",
                access.patience.connect.as_secs()
            )
        }
        _ => innermost(error),
    }
}

fn tls_reason(error: &rustls::Error) -> String {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(Certificate::UnknownIssuer) => {
            "its certificate is signed by nobody known; the kubeconfig's certificate-authority-data should hold the authority"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(Certificate::NotValidForName | Certificate::NotValidForNameContext { .. }) => {
            "its certificate is for another name; the kubeconfig's tls-server-name can give it".to_owned()
        }
        rustls::Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "its certificate has expired".to_owned()
        }
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
            "it does not speak TLS; is its address http:// rather than https://?".to_owned()
        }
        rustls::Error::AlertReceived(alert) => format!("it ended the TLS handshake ({alert:?}); does it want a client certificate?"),
        error => format!("TLS: {error}"),
    }
}

fn is_connecting(error: &kube::Error) -> bool {
    find::<hyper_util::client::legacy::Error>(error).is_some_and(hyper_util::client::legacy::Error::is_connect)
}

/// The beginning of an answer that is no `Status`: of a proxy, or of something that is no API server.
fn first_line(secrets: &Secrets, body: &[u8], status: StatusCode) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(LONGEST_PREFACE)]);
    let text = secrets.hide(&text);
    let line = text.lines().find(|line| !line.trim().is_empty()).map(one_line).unwrap_or_default();
    if line.is_empty() { status.canonical_reason().unwrap_or("no reason").to_owned() } else { line }
}

#[cfg(test)]
mod tests;
