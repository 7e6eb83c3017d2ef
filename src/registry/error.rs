//! What can go wrong in an exchange with a registry, as facts; and what follows from them.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use serde::Deserialize;

use super::advice;
use super::foreign::one_line;
use super::pace::{LONGEST_WAIT, is_refusal};
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
    /// The registry refused the credentials from this source.
    Rejected { source: String, message: String, remedy: String },
    /// Credentials are kept somewhere and could not be had.
    Unavailable { reason: String, remedy: String },
    /// The registry wants credentials and there are none.
    LoginNeeded,
    /// What one request found out for all: nobody asks again in this round.
    Verdict(Arc<ErrorKind>),
    /// The registry refused so many, or for so long, that it is not asked before that time.
    /// `hopeless` if it was asked after several such times already.
    Limited { why: Arc<str>, until: SystemTime, hopeless: bool },
    /// No connection: name resolution, TCP or TLS.
    Unreachable { reason: String },
    /// The server's certificate is not taken.
    Untrusted { reason: String, unknown_issuer: bool },
    /// Somebody is there who does not speak TLS.
    NotTls,
    /// The server wants a certificate of us, or another one.
    CertificateNeeded { alert: String },
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

    /// Whether it makes sense to send the request again soon.
    pub fn is_worth_repeating(&self) -> bool {
        self.is_transient() && !matches!(self.kind, ErrorKind::Verdict(_) | ErrorKind::Limited { .. })
    }

    /// The same as what all are told who want the same.
    pub(super) fn into_verdict(self) -> Self {
        Self { kind: ErrorKind::Verdict(Arc::new(self.kind)), ..self }
    }

    /// What happened, to whomever.
    fn facts(&self) -> &ErrorKind {
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

    /// What kind of thing it is, in the words of logs and reports.
    pub fn category(&self) -> Category {
        match self.facts() {
            ErrorKind::Status { status: StatusCode::FORBIDDEN, .. } if self.may_be_of_media_type() => Category::Refused,
            ErrorKind::Status { status, message, .. } if tells_of_quota(*status, message) => Category::Refused,
            ErrorKind::Status { status, .. } => match *status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Category::Auth,
                StatusCode::NOT_FOUND => Category::NotFound,
                status if is_transient(status) => Category::Network,
                _ => Category::Refused,
            },
            ErrorKind::Rejected { .. }
            | ErrorKind::Unavailable { .. }
            | ErrorKind::LoginNeeded
            | ErrorKind::TokenExpired
            | ErrorKind::CertificateNeeded { .. } => Category::Auth,
            ErrorKind::Limited { .. }
            | ErrorKind::Verdict(_)
            | ErrorKind::Unreachable { .. }
            | ErrorKind::Untrusted { .. }
            | ErrorKind::NotTls
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
        match self.facts() {
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

    /// Whether this may be a manifest that was refused for its media type. Registries say that in words of their own:
    /// SWR cannot parse it, Aliyun ACR knows no class for it, ECR finds it unsupported, zot answers 415.
    pub fn may_be_of_media_type(&self) -> bool {
        let ErrorKind::Status { status, codes, message, .. } = &self.kind else { return false };
        if !self.request.starts_with("PUT ") || !self.request.contains("/manifests/") || is_transient(*status) {
            return false;
        }
        let is_code = |code: &String| matches!(code.as_str(), "MANIFEST_INVALID" | "UNSUPPORTED");
        let message = message.to_ascii_lowercase();
        let words = ["manifest class", "fail to parse", "media type", "mediatype", "schema version"];
        *status == StatusCode::UNSUPPORTED_MEDIA_TYPE
            || codes.iter().any(is_code)
            || words.iter().any(|words| message.contains(words))
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

    /// The host that was asked: not always the registry, but also its token server.
    fn host(&self) -> String {
        let url = self.request.split(' ').nth(1).and_then(|url| url.parse::<url::Url>().ok());
        let host = url.filter(|_| !self.registry.is_docker_hub()).and_then(|url| {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            Some(format!("{}{port}", url.host_str()?))
        });
        host.unwrap_or_else(|| self.registry.to_string())
    }

    fn advice(&self) -> Option<String> {
        let (registry, host) = (&self.registry, || self.host());
        Some(match self.facts() {
            ErrorKind::Rejected { remedy, .. } | ErrorKind::Unavailable { remedy, .. } => remedy.clone(),
            ErrorKind::LoginNeeded => {
                format!("give an entry for {:?} in auth.json, or log in with docker login", registry.as_str())
            }
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
            ErrorKind::Status { status: StatusCode::FORBIDDEN, .. } if !self.may_be_of_media_type() => {
                "check that the account in auth.json may use this repository".to_owned()
            }
            ErrorKind::Status { status: StatusCode::NOT_FOUND, .. } if self.request.ends_with("/tags/list") => {
                "check the repository's name, and that the account may see it".to_owned()
            }
            ErrorKind::Status { status: StatusCode::TOO_MANY_REQUESTS, .. } => {
                "the registry limits the rate: use fewer --workers or try later".to_owned()
            }
            ErrorKind::Limited { .. } => {
                "run the same command again then, or with an account that may do more in auth.json".to_owned()
            }
            ErrorKind::Untrusted { unknown_issuer: true, .. } => format!(
                "if it is vouched for by an authority of your own, give that one's certificate as \"ca\" of {} in \
                 auth.json; \"insecure\": true there takes any certificate",
                host()
            ),
            ErrorKind::Untrusted { .. } => {
                format!("\"insecure\": true for {} in auth.json takes any certificate", host())
            }
            ErrorKind::NotTls => {
                format!("if {} speaks plain http, set \"insecure\": true for it in auth.json", host())
            }
            ErrorKind::CertificateNeeded { .. } => {
                format!("give a certificate that it takes as \"cert\" and \"key\" of {} in auth.json", host())
            }
            _ => return None,
        })
    }
}

impl ErrorKind {
    /// Whether the same request may succeed a little later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => is_transient(*status),
            Self::Verdict(kind) => kind.is_transient(),
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::TimedOut { .. }
            | Self::RefusedElsewhere { .. }
            | Self::TokenExpired
            | Self::Limited { .. }
            | Self::Portion { .. }
            | Self::WrongDigest { .. }
            | Self::WrongSize { .. } => true,
            Self::Rejected { .. }
            | Self::Unavailable { .. }
            | Self::LoginNeeded
            | Self::Untrusted { .. }
            | Self::NotTls
            | Self::CertificateNeeded { .. }
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
        // An address may be one that the registry gave.
        write!(f, "{}: {}", one_line(&self.request), self.kind)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, message, .. } => Said(*status, message).fmt(f),
            Self::Verdict(kind) => write!(f, "{kind}"),
            Self::RefusedElsewhere { host, status } => write!(f, "{host}, where it leads, answered {status}"),
            Self::Rejected { source, message, .. } => {
                write!(f, "the credentials from {source} were rejected: {message}")
            }
            Self::Unavailable { reason, .. } => write!(f, "the credentials cannot be had: {reason}"),
            Self::LoginNeeded => f.write_str("the registry wants credentials and there are none"),
            Self::Limited { why, until, .. } => {
                let until = humantime::format_rfc3339_seconds(*until);
                write!(f, "the registry limits how much it is asked, and is left alone until {until}: {why}")
            }
            Self::Unreachable { reason } | Self::Untrusted { reason, .. } => write!(f, "cannot connect: {reason}"),
            Self::NotTls => f.write_str("cannot connect: the answer is not TLS; this looks like a plain http server"),
            Self::CertificateNeeded { alert } => {
                write!(f, "cannot connect: the server wants a client certificate ({alert})")
            }
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
        use rustls::AlertDescription as Alert;
        match tls_error(&error) {
            Some(rustls::Error::InvalidCertificate(defect)) => Self::Untrusted {
                reason: certificate(defect),
                unknown_issuer: matches!(
                    defect,
                    rustls::CertificateError::UnknownIssuer | rustls::CertificateError::Other(_)
                ),
            },
            Some(rustls::Error::InvalidMessage(_)) if error.is_connect() => Self::NotTls,
            // Of our certificate it can be said only after the handshake, in answer to the request (RFC 8446, 4.4.2).
            Some(rustls::Error::AlertReceived(
                alert @ (Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnknownCA
                | Alert::CertificateUnknown
                | Alert::CertificateExpired
                | Alert::UnsupportedCertificate),
            )) => Self::CertificateNeeded { alert: format!("{alert:?}") },
            _ if is_head_too_large(&error) => {
                Self::Malformed { reason: "its headers are more, or longer, than is read".to_owned() }
            }
            _ if error.is_connect() => Self::Unreachable { reason: innermost(&error) },
            _ => Self::Broken { reason: innermost(&error) },
        }
    }
}

fn is_head_too_large(error: Source<'_>) -> bool {
    sources(error).filter_map(|source| source.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse_too_large)
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
