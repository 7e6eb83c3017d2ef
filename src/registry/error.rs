//! What can go wrong in an exchange with a registry, as facts; and what follows from them.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use serde::Deserialize;

use super::advice;
use crate::digest::Digest;
use crate::event::{Category, Failure};
use crate::reference::{Registry, Repository};

/// A request that did not give what was asked. Cheap to clone, since many may wait for one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub registry: Registry,
    /// Method and URL, without the query (it may hold what nobody should read).
    pub request: String,
    pub kind: ErrorKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// The registry answered with a status that is no success.
    Status { status: StatusCode, codes: Vec<String>, message: String, retry_after: Option<Duration> },
    /// The registry sent us to another host, which refused. Its addresses are signed for a short time: the registry
    /// gives a new one.
    RefusedElsewhere { host: String, status: StatusCode },
    /// The registry refused the credentials of this entry of auth.json.
    Rejected { entry: String, message: String },
    /// The registry wants credentials and there are none.
    LoginNeeded,
    /// No connection: name resolution, TCP or TLS. `lasting` if waiting will not help.
    Unreachable { reason: String, lasting: bool },
    /// The connection broke within the exchange.
    Broken { reason: String },
    /// Nothing came for this long.
    TimedOut { after: Duration },
    /// The bytes are not what their digest says.
    WrongDigest { expected: Digest, found: Digest },
    /// An upload was refused for its token, which is renewed for the next try.
    TokenExpired,
    /// A blob was not taken in requests of the size it was sent in. The next try sends it in others.
    Portion { status: StatusCode },
    /// There is no such repository to push to, and the registry makes none.
    NoRepository { repository: Box<Repository>, status: StatusCode, message: String },
    /// The tag may not be moved, and names another manifest.
    ImmutableTag { tag: String, found: Box<Digest>, status: StatusCode, message: String },
    /// More or fewer bytes than said.
    WrongSize { expected: u64, found: u64 },
    /// An answer that makes no sense by the specification.
    Malformed { reason: String },
    /// A thing that cannot be copied faithfully.
    Unsupported { reason: String },
}

impl Error {
    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        self.kind.is_transient()
    }

    /// What kind of thing it is, in the words of logs and reports.
    pub fn category(&self) -> Category {
        match &self.kind {
            ErrorKind::Status { status, message, .. } if tells_of_quota(*status, message) => Category::Refused,
            ErrorKind::Status { status, .. } => match *status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Category::Auth,
                StatusCode::NOT_FOUND => Category::NotFound,
                status if is_transient(status) => Category::Network,
                _ => Category::Refused,
            },
            ErrorKind::Rejected { .. } | ErrorKind::LoginNeeded | ErrorKind::TokenExpired => Category::Auth,
            ErrorKind::Unreachable { .. }
            | ErrorKind::Broken { .. }
            | ErrorKind::TimedOut { .. }
            | ErrorKind::RefusedElsewhere { .. } => Category::Network,
            ErrorKind::WrongDigest { .. } | ErrorKind::WrongSize { .. } | ErrorKind::Malformed { .. } => {
                Category::Corrupt
            }
            ErrorKind::NoRepository { .. } => Category::NotFound,
            ErrorKind::Unsupported { .. } | ErrorKind::Portion { .. } | ErrorKind::ImmutableTag { .. } => {
                Category::Refused
            }
        }
    }

    pub fn status(&self) -> Option<StatusCode> {
        match &self.kind {
            ErrorKind::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the registry refused the credentials themselves.
    pub fn is_rejection(&self) -> bool {
        matches!(self.kind, ErrorKind::Rejected { .. })
    }

    /// Whether the registry takes nothing for the repository: it is not there, not for us, or has no valid name.
    pub fn is_refused_repository(&self) -> bool {
        matches!(self.kind, ErrorKind::NoRepository { .. } | ErrorKind::Rejected { .. } | ErrorKind::LoginNeeded)
            || matches!(self.status().map(|status| status.as_u16()), Some(400 | 401 | 403))
    }

    /// Whether a blob is to be sent again at once, in requests of another size.
    pub fn wants_other_portions(&self) -> bool {
        matches!(self.kind, ErrorKind::Portion { .. })
    }

    /// Whether an upload is gone: the registry forgot it, or its state and the bytes do not fit (distribution answers both
    /// with 404, or 416). A new one may do.
    pub fn is_lost_upload(&self) -> bool {
        let of_session = || ["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"].iter().any(|code| self.has_code(code));
        let of_bytes = ["PUT ", "PATCH "].iter().any(|method| self.request.starts_with(method));
        let status = self.status().map(|status| status.as_u16());
        of_bytes && (matches!(status, Some(404 | 416)) || of_session())
    }

    /// Whether the registry says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }

    /// Whether the registry named this error code (distribution-spec "Error Codes").
    pub fn has_code(&self, code: &str) -> bool {
        matches!(&self.kind, ErrorKind::Status { codes, .. } if codes.iter().any(|c| c == code))
    }

    /// How long the registry asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.kind {
            ErrorKind::Status { retry_after, .. } => *retry_after,
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
            transient: self.is_transient(),
            is_final: self.is_rejection(),
            remedy: match &self.kind {
                ErrorKind::NoRepository { repository, message, .. } => {
                    Some(advice::create(repository, message).line.into())
                }
                _ => None,
            },
        }
    }

    fn advice(&self) -> Option<String> {
        let registry = &self.registry;
        Some(match &self.kind {
            ErrorKind::Rejected { entry, .. } => {
                format!("correct username and password of {entry:?} in auth.json")
            }
            ErrorKind::LoginNeeded => format!("give an entry for {:?} in auth.json", registry.as_str()),
            ErrorKind::NoRepository { repository, message, .. } => advice::create(repository, message).sentence,
            ErrorKind::ImmutableTag { .. } => {
                "delete the tag there, allow it to be moved, or give the image another tag".to_owned()
            }
            ErrorKind::Status { status, message, .. } if tells_of_quota(*status, message) => {
                "free space there, or have the quota raised".to_owned()
            }
            ErrorKind::Status { status: StatusCode::PAYLOAD_TOO_LARGE, .. } => {
                "the registry, or a proxy before it, limits the size of requests: have that limit raised".to_owned()
            }
            ErrorKind::Status { status: StatusCode::UNAUTHORIZED, .. } => {
                format!("check that auth.json has an entry for {registry} whose account may use this repository")
            }
            ErrorKind::Status { status: StatusCode::FORBIDDEN, .. } => {
                "check that the account in auth.json may use this repository".to_owned()
            }
            ErrorKind::Status { status: StatusCode::NOT_FOUND, .. } if self.request.ends_with("/tags/list") => {
                "check the repository's name, and that the account may see it".to_owned()
            }
            ErrorKind::Status { status: StatusCode::TOO_MANY_REQUESTS, .. } => {
                "the registry limits the rate: use fewer --workers or try later".to_owned()
            }
            ErrorKind::Unreachable { lasting: true, .. } => format!(
                "if {registry} has a private certificate or speaks plain http, set \"insecure\": true for it in auth.json"
            ),
            _ => return None,
        })
    }
}

impl ErrorKind {
    /// Whether the same request may succeed a little later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => is_transient(*status),
            Self::Unreachable { lasting, .. } => !lasting,
            Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::RefusedElsewhere { .. }
            | Self::TokenExpired
            | Self::Portion { .. }
            | Self::WrongDigest { .. }
            | Self::WrongSize { .. } => true,
            Self::Rejected { .. }
            | Self::LoginNeeded
            | Self::NoRepository { .. }
            | Self::ImmutableTag { .. }
            | Self::Malformed { .. }
            | Self::Unsupported { .. } => false,
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.request, self.kind)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, message, .. } => Said(*status, message).fmt(f),
            Self::RefusedElsewhere { host, status } => write!(f, "{host}, where it leads, answered {status}"),
            Self::Rejected { message, .. } => write!(f, "the credentials were rejected: {message}"),
            Self::LoginNeeded => f.write_str("the registry wants credentials and there are none"),
            Self::Unreachable { reason, .. } => write!(f, "cannot connect: {reason}"),
            Self::Broken { reason } => write!(f, "the connection broke: {reason}"),
            Self::TimedOut { after } => write!(f, "nothing came for {}", humantime::format_duration(*after)),
            Self::TokenExpired => f.write_str("the upload's token was refused"),
            Self::Portion { status } => write!(f, "{status}: it takes no request of this size"),
            Self::NoRepository { repository, status, message } => {
                write!(f, "there is no repository {repository} to push to: {}", Said(*status, message))
            }
            Self::ImmutableTag { tag, found, status, message } => {
                write!(f, "the tag {tag} is immutable there and names {found}: {}", Said(*status, message))
            }
            Self::WrongDigest { expected, found } => write!(f, "the content has digest {found}, expected {expected}"),
            Self::WrongSize { expected, found } => write!(f, "{found} bytes came, expected {expected}"),
            Self::Malformed { reason } => write!(f, "the answer cannot be used: {reason}"),
            Self::Unsupported { reason } => f.write_str(reason),
        }
    }
}

/// A status with what the registry said to it, if anything.
struct Said<'a>(StatusCode, &'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(status, "") => write!(f, "{status}"),
            Self(status, message) => write!(f, "{status} ({message})"),
        }
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

/// Whether what the registry says is that there is no room, not that there are too many requests.
fn tells_of_quota(status: StatusCode, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    matches!(status.as_u16(), 400 | 403 | 412 | 413) && (message.contains("quota") || message.contains("storage limit"))
}

/// 408, 429 and what servers say when they or those behind them are down.
pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 499 | 500 | 502 | 503 | 504 | 522)
}

impl From<reqwest::Error> for ErrorKind {
    fn from(error: reqwest::Error) -> Self {
        if !error.is_connect() {
            return Self::Broken { reason: innermost(&error) };
        }
        match tls_error(&error) {
            Some(rustls::Error::InvalidCertificate(defect)) => {
                Self::Unreachable { reason: certificate(defect), lasting: true }
            }
            Some(rustls::Error::InvalidMessage(_)) => Self::Unreachable {
                reason: "the answer is not TLS; this looks like a plain http server".to_owned(),
                lasting: true,
            },
            _ => Self::Unreachable { reason: innermost(&error), lasting: false },
        }
    }
}

/// The TLS error behind a failed connection, if it was one.
pub(super) fn tls_error(error: Source<'_>) -> Option<&rustls::Error> {
    sources(error).find_map(|source| source.downcast_ref())
}

/// Whether somebody is there who does not speak TLS, or nobody at all.
pub(super) fn is_refused_or_not_tls(error: &reqwest::Error) -> bool {
    let refused = sources(error)
        .filter_map(|source| source.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::ConnectionRefused);
    refused || matches!(tls_error(error), Some(rustls::Error::InvalidMessage(_)))
}

/// What is wrong with a certificate, in words.
fn certificate(defect: &rustls::CertificateError) -> String {
    use rustls::CertificateError as Defect;
    match defect {
        Defect::UnknownIssuer => "nobody whom this machine trusts vouches for its certificate".to_owned(),
        Defect::Expired | Defect::ExpiredContext { .. } => "its certificate has expired".to_owned(),
        Defect::NotValidYet | Defect::NotValidYetContext { .. } => "its certificate is not valid yet".to_owned(),
        Defect::NotValidForName | Defect::NotValidForNameContext { .. } => {
            "its certificate is for another name".to_owned()
        }
        Defect::Revoked => "its certificate has been revoked".to_owned(),
        // A root certificate that a server shows as its own is the usual one of these.
        other => one_line(&format!("its certificate is not valid ({other:?})")),
    }
}

type Source<'a> = &'a (dyn std::error::Error + 'static);

/// The error and what caused it, down to the first cause.
fn sources<'a>(error: Source<'a>) -> impl Iterator<Item = Source<'a>> {
    fn next<'a>(error: &Source<'a>) -> Option<Source<'a>> {
        // An I/O error passes over what it wraps when it is asked for its source.
        match error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref()) {
            Some(wrapped) => Some(wrapped),
            None => (**error).source(),
        }
    }
    std::iter::successors(Some(error), next)
}

/// The last link of the chain says what happened; those before it only where.
fn innermost(error: &reqwest::Error) -> String {
    let last = sources(error).last().map(ToString::to_string).unwrap_or_default();
    match error.source() {
        // Without a cause the text holds the URL, query and all.
        None => "request failed".to_owned(),
        Some(_) => one_line(&last),
    }
}

/// Reads the body of an error answer: the spec's JSON, other JSON seen in the wild, or plain text.
pub(super) fn read_body(body: &[u8]) -> (Vec<String>, String) {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        errors: Vec<Entry>,
        #[serde(alias = "details")]
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct Entry {
        code: Option<String>,
        message: Option<String>,
    }
    let Ok(body) = serde_json::from_slice::<Body>(body) else {
        let text = String::from_utf8_lossy(body);
        // A proxy's page says nothing that its status does not.
        let message = if text.trim_start().starts_with('<') { String::new() } else { one_line(&text) };
        return (Vec::new(), message);
    };
    let sentences: Vec<String> = body
        .errors
        .iter()
        .map(|entry| match (&entry.code, &entry.message) {
            (Some(code), Some(message)) if !message.is_empty() => format!("{code}: {message}"),
            (Some(text), _) | (None, Some(text)) => text.clone(),
            (None, None) => String::new(),
        })
        .collect();
    let codes = body.errors.into_iter().filter_map(|entry| entry.code).collect();
    let message = if sentences.is_empty() { body.message.unwrap_or_default() } else { sentences.join(", ") };
    (codes, one_line(&message))
}

/// Foreign text made fit for a terminal and a log: one line, no control characters, bounded.
pub(super) fn one_line(text: &str) -> String {
    const LONGEST: usize = 300;
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_own_words_are_kept() {
        let (codes, message) = read_body(br#"{"errors":[{"code":"DENIED","message":"no quota","detail":{"a":[1]}}]}"#);
        assert_eq!((codes, message.as_str()), (vec!["DENIED".to_owned()], "DENIED: no quota"));
        assert_eq!(read_body(br#"{"details":"odd"}"#).1, "odd");
        assert_eq!(read_body(b"Too Many\n Requests\x1b[31m").1, "Too Many Requests[31m");
        assert_eq!(read_body(b"<html>502</html>").1, "");
        assert_eq!(read_body(b"").1, "");
    }
}
