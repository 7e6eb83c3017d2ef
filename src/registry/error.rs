//! What can go wrong in an exchange with a registry, as facts; and what follows from them.
//!
//! | file | holds |
//! | --- | --- |
//! | `body` | what a registry says in an error answer |
//! | `category` | what kind of thing it is, for logs and reports |
//! | `connection` | what the libraries below say of a connection |
//! | `display` | all of it in words |
//! | `remedy` | what the operator can do about it |

mod body;
mod category;
mod connection;
mod display;
mod remedy;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(super) use self::body::read_body;
pub(super) use self::connection::is_refused_or_not_tls;
use super::advice;
use super::pace::{LONGEST_WAIT, is_refusal};
use crate::digest::Digest;
use crate::event::{Failure, Retry};
use crate::foreign::one_line;
use crate::reference::{Registry, Repository};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use reqwest::{Method, StatusCode};
use url::Url;

/// A request that did not give what was asked. Cheap to clone, since many may wait for one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub registry: Registry,
    /// Nothing where nobody could be asked.
    pub asked: Option<Arc<Asked>>,
    pub kind: ErrorKind,
}

/// A request as it stands in messages: without query, which may hold a signature, and without user and password.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    method: Method,
    url: Url,
    /// What to do if those as whom it was sent may not send it.
    remedy: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// The registry answered with a status that is no success.
    Status { status: StatusCode, codes: Vec<String>, message: String, retry_after: Option<Duration> },
    /// The registry sent us to another host, which refused. Its addresses are signed for a short time: the registry
    /// gives a new one.
    RefusedElsewhere { host: String, status: StatusCode },
    /// The registry refused the credentials from this source.
    Rejected { source: String, message: String, remedy: String },
    /// Credentials are kept somewhere and could not be had.
    Unavailable { reason: String, remedy: String },
    /// The registry wants credentials and there are none.
    LoginNeeded { remedy: String },
    /// What one request found out for all: nobody asks again in this round.
    Verdict(Arc<ErrorKind>),
    /// The registry refused too often, or for too long: it is not asked before that time. `hopeless` if it has refused
    /// after several such times already.
    Limited { why: Arc<str>, until: SystemTime, hopeless: bool },
    /// No connection: name resolution, TCP or TLS.
    Unreachable { reason: String },
    /// No connection, since this process, or the whole machine, has as many files open as it may.
    TooFewFiles { reason: String },
    /// The server's certificate is not taken.
    Untrusted { reason: String, unknown_issuer: bool },
    /// A server is there that does not speak TLS.
    NotTls,
    /// The server wants a certificate of us, or another one.
    CertificateNeeded { alert: String },
    /// What came is no HTTP as it is read, or its headers have no end.
    NotHttp { reason: String },
    /// A host failed to which the registry led.
    Elsewhere { host: String, kind: Arc<ErrorKind> },
    /// The connection broke within the exchange.
    Broken { reason: String },
    /// Nothing came for this long.
    TimedOut { after: Duration },
    /// Bytes came for this long, and no end.
    Late { after: Duration },
    /// The bytes are not what their digest says.
    WrongDigest { expected: Digest, found: Digest },
    /// An upload was refused for its token, which is renewed for the next try.
    /// `in_transit` if it had ended when the answer came.
    TokenExpired { in_transit: bool },
    /// A blob was not taken in requests of the size it was sent in. The next try sends it in others.
    Portion { status: StatusCode },
    /// There is no such repository to push to, and the registry makes none.
    NoRepository { repository: Box<Repository>, status: StatusCode, message: String },
    /// The tag may not be moved, and names another manifest.
    ImmutableTag { tag: String, found: Box<Digest>, status: StatusCode, message: String },
    /// More or fewer bytes than said.
    WrongSize { expected: u64, found: u64 },
    /// The registry has something else under the digest of a blob, also after that was sent and taken.
    KeptDamaged { digest: Digest, expected: u64, found: u64 },
    /// An answer that makes no sense by the specification.
    Malformed { reason: String },
    /// A thing that cannot be copied faithfully.
    Unsupported { reason: String },
}

impl Error {
    /// The failure of a request, whose URL may be one that `registry` gave.
    pub(super) fn new(registry: &Registry, method: &Method, url: &Url, kind: ErrorKind) -> Self {
        let asked = Arc::new(Asked::new(method.clone(), url.clone()));
        Self { registry: registry.clone(), asked: Some(asked), kind }
    }

    /// The same, with what to do about whom the request was sent as.
    pub(super) fn with_remedy(mut self, remedy: String) -> Self {
        if let Some(asked) = self.asked.as_mut().and_then(Arc::get_mut) {
            asked.remedy = Some(remedy);
        }
        self
    }

    /// Whether it came to a request with one of these methods.
    fn is_of(&self, methods: &[Method]) -> bool {
        self.asked.as_ref().is_some_and(|asked| methods.contains(&asked.method))
    }

    /// What was asked for.
    fn path(&self) -> &str {
        self.asked.as_ref().map_or("", |asked| asked.url.path())
    }

    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        self.kind.is_transient()
    }

    /// Whether it makes sense to send the request again soon. What came late would take as long once more.
    pub fn is_worth_repeating(&self) -> bool {
        let is_final = matches!(self.kind, ErrorKind::Verdict(_) | ErrorKind::Limited { .. } | ErrorKind::Late { .. });
        self.is_transient() && !is_final
    }

    /// Marks the error as the answer for all: every waiter gets it, and nobody repeats the request in this round.
    pub(super) fn into_verdict(self) -> Self {
        Self { kind: ErrorKind::Verdict(Arc::new(self.kind)), ..self }
    }

    /// What happened, to whomever.
    pub(super) fn facts(&self) -> &ErrorKind {
        match &self.kind {
            ErrorKind::Verdict(kind) => kind,
            kind => kind,
        }
    }

    /// How long to wait until the registry is asked again, if it is left alone and that is worth the wait.
    pub fn postponed(&self) -> Option<Duration> {
        match &self.kind {
            ErrorKind::Limited { hopeless: false, until, .. } => {
                let wait = until.duration_since(SystemTime::now()).unwrap_or_default();
                Some(wait).filter(|wait| *wait <= LONGEST_WAIT)
            }
            _ => None,
        }
    }

    /// Whether the registry said that it is asked too much, or more than it bears.
    pub fn is_overload(&self) -> bool {
        self.status().is_some_and(is_refusal)
    }

    /// Whether what failed by it is worth another try in this run.
    fn retry(&self) -> Retry {
        match &self.kind {
            ErrorKind::Rejected { .. } => Retry::Never,
            // What is put again is as large.
            ErrorKind::Status { status: StatusCode::PAYLOAD_TOO_LARGE, message, .. }
                if self.is_of_manifest_put() && !tells_of_room(message) =>
            {
                Retry::Never
            }
            _ if self.is_transient() => Retry::AfterPause,
            _ => Retry::AtOnce,
        }
    }

    pub fn status(&self) -> Option<StatusCode> {
        match self.facts() {
            ErrorKind::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the registry failed over this one request, as far as can be seen: it is neither asked too much nor away.
    pub fn is_of_server(&self) -> bool {
        self.status().is_some_and(|status| status.is_server_error()) && !self.is_overload()
    }

    /// Whether the registry refused the credentials themselves.
    pub fn is_rejection(&self) -> bool {
        matches!(self.kind, ErrorKind::Rejected { .. })
    }

    /// Whether the registry takes nothing for the repository: it is not there, not for us, only to be read, or has no
    /// valid name.
    pub fn is_refused_repository(&self) -> bool {
        matches!(self.kind, ErrorKind::NoRepository { .. } | ErrorKind::Rejected { .. } | ErrorKind::LoginNeeded { .. })
            || matches!(self.status().map(|status| status.as_u16()), Some(400 | 401 | 403 | 405))
    }

    /// Whether a blob is to be sent again at once, in requests of another size.
    pub fn wants_other_portions(&self) -> bool {
        matches!(self.kind, ErrorKind::Portion { .. })
    }

    /// Whether an upload is gone: the registry forgot it, or its state and the bytes do not fit (distribution answers both
    /// with 404, or 416); or it is in the way of another one that is just being ended (409, 423, 425). A new one may do.
    pub fn is_lost_upload(&self) -> bool {
        let of_session = || ["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"].iter().any(|code| self.has_code(code));
        let status = self.status().map(|status| status.as_u16());
        self.is_of(&[Method::PUT, Method::PATCH])
            && (matches!(status, Some(404 | 409 | 416 | 423 | 425)) || of_session())
    }

    /// Whether the address of an upload may have expired: elsewhere than at the registry itself it may be signed for a short
    /// time. If a new one is refused as well, it is not that.
    pub fn may_be_of_expired_address(&self) -> bool {
        matches!(&self.kind, ErrorKind::Status { status, message, .. }
            if matches!(status.as_u16(), 400 | 401 | 403) && !lacks_room(*status, message))
            && self.is_of_upload_elsewhere()
    }

    /// Whether a manifest was refused since the registry lacks what it names.
    pub fn parts_are_missing(&self) -> bool {
        matches!(&self.kind, ErrorKind::Status { codes, .. } if name_missing_parts(codes))
    }

    /// Whether a manifest was refused in words that may mean that parts of it are missing: Quay calls it invalid then, and
    /// others say that a manifest is unknown.
    pub fn may_be_of_missing_parts(&self) -> bool {
        let ErrorKind::Status { status, codes, message, .. } = &self.kind else { return false };
        let is_of_name = |code: &String| code.starts_with("TAG_") || code.starts_with("NAME_");
        self.is_of_manifest_put()
            && matches!(status.as_u16(), 400 | 404)
            && !codes.iter().any(is_of_name)
            && !lacks_room(*status, message)
    }

    fn is_of_manifest_put(&self) -> bool {
        self.is_of(&[Method::PUT]) && self.path().contains("/manifests/")
    }

    /// Whether the registry says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }

    /// Whether it was refused to whom the request was sent as.
    pub(super) fn is_denial(&self) -> bool {
        matches!(self.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }

    /// Whether the registry says that this is not for us.
    pub fn is_forbidden(&self) -> bool {
        self.status() == Some(StatusCode::FORBIDDEN)
    }

    /// Whether the registry named this error code (distribution-spec "Error Codes").
    pub fn has_code(&self, code: &str) -> bool {
        matches!(&self.kind, ErrorKind::Status { codes, .. } if codes.iter().any(|c| c == code))
    }

    /// Whether the answer is a registry's own, and no page of something before it.
    pub fn names_a_code(&self) -> bool {
        self.kind.names_a_code()
    }

    /// Whether this may be a manifest that was refused for its media type. Registries say that in words of their own:
    /// SWR cannot parse it, Aliyun ACR knows no class for it, ECR finds it unsupported, zot answers 415.
    pub fn may_be_of_media_type(&self) -> bool {
        let ErrorKind::Status { status, codes, message, .. } = &self.kind else { return false };
        if !self.is_of_manifest_put() || is_transient(*status) {
            return false;
        }
        let is_code = |code: &String| matches!(code.as_str(), "MANIFEST_INVALID" | "UNSUPPORTED");
        let message = message.to_ascii_lowercase();
        let words = ["manifest class", "fail to parse", "media type", "mediatype", "schema version"];
        *status == StatusCode::UNSUPPORTED_MEDIA_TYPE
            || codes.iter().any(is_code)
            || words.iter().any(|words| message.contains(words))
    }

    /// How long the registry asked to be left alone. Some ask for no time at all, which is no reason to ask again at once.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.kind {
            ErrorKind::Status { retry_after, .. } => retry_after.filter(|pause| !pause.is_zero()),
            _ => None,
        }
    }

    /// The sentence for the operator: what happened, where, and what to do where that is known.
    pub fn to_failure(&self) -> Failure {
        let reason = match self.advice() {
            Some(advice) => format!("{self}; {advice}"),
            None => self.to_string(),
        };
        Failure {
            category: self.category(),
            registry: Some(self.registry.clone()),
            reason: reason.into(),
            retry: self.retry(),
            remedy: match &self.kind {
                ErrorKind::NoRepository { repository, message, .. } => {
                    Some(advice::create(repository, message).line.into())
                }
                _ => None,
            },
        }
    }
}

impl ErrorKind {
    pub(super) fn names_a_code(&self) -> bool {
        matches!(self, Self::Status { codes, .. } if !codes.is_empty())
    }

    /// Whether the same request may succeed a little later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            // A manifest is checked by a registry that is well, whatever its number (distribution's is 500 then).
            Self::Status { status, codes, .. } => is_transient(*status) && !name_missing_parts(codes),
            Self::Verdict(kind) | Self::Elsewhere { kind, .. } => kind.is_transient(),
            Self::Unreachable { .. }
            | Self::TooFewFiles { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::Late { .. }
            | Self::RefusedElsewhere { .. }
            | Self::TokenExpired { .. }
            | Self::Limited { .. }
            | Self::Portion { .. }
            | Self::WrongDigest { .. }
            | Self::WrongSize { .. } => true,
            Self::Rejected { .. }
            | Self::Unavailable { .. }
            | Self::LoginNeeded { .. }
            | Self::Untrusted { .. }
            | Self::NotTls
            | Self::CertificateNeeded { .. }
            | Self::NoRepository { .. }
            | Self::ImmutableTag { .. }
            | Self::KeptDamaged { .. }
            | Self::NotHttp { .. }
            | Self::Malformed { .. }
            | Self::Unsupported { .. } => false,
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        error.to_failure()
    }
}

impl Asked {
    pub(super) fn new(method: Method, mut url: Url) -> Self {
        url.set_query(None);
        url.set_fragment(None);
        // An address that has no room for them has none.
        let _ = (url.set_username(""), url.set_password(None));
        Self { method, url, remedy: None }
    }
}

/// What is wrong with some content; unless it came encoded, though that was not asked for, which is what is wrong then.
pub(super) fn unless_encoded(headers: &HeaderMap, wrong: ErrorKind) -> ErrorKind {
    let encoding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    match encoding.map(one_line).filter(|encoding| !encoding.is_empty() && encoding != "identity") {
        Some(encoding) => ErrorKind::Malformed {
            reason: format!(
                "it came with Content-Encoding {encoding}, which changes its bytes: something between here and the \
                 registry's storage compresses what it sends, and must not"
            ),
        },
        None => wrong,
    }
}

/// Whether a registry's error codes say that it lacks what a manifest names.
fn name_missing_parts(codes: &[String]) -> bool {
    codes.iter().any(|code| matches!(code.as_str(), "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN"))
}

/// Whether a push was refused since there is no room, and not since there are too many requests.
fn lacks_room(status: StatusCode, message: &str) -> bool {
    matches!(status.as_u16(), 400 | 403 | 412 | 413) && tells_of_room(message)
}

/// Whether what a registry says is about how much it holds, which no other request, repository or account changes.
pub(super) fn tells_of_room(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    // Harbor: "... which when updated to ... will exceed the configured upper limit of 10.0 MiB".
    ["quota", "storage limit", "limitexceeded", "configured upper limit"].iter().any(|words| message.contains(words))
}

/// 408, 429 and what servers say when they or those behind them are down; also with the numbers of nginx and Cloudflare.
pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524 | 530)
}

#[cfg(test)]
mod tests;
