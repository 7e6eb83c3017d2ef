//! What can go wrong in an exchange with a registry, as facts; and what follows from them.
//!
//! | file | holds |
//! | --- | --- |
//! | `body` | what a registry says in an error answer |
//! | `connection` | what the libraries below say of a connection |
//! | `display` | all of it in words |

mod body;
mod connection;
mod display;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(super) use self::body::read_body;
pub(super) use self::connection::is_refused_or_not_tls;
use super::advice;
use super::foreign::one_line;
use super::pace::{LONGEST_WAIT, is_refusal};
use super::probe::base;
use super::reach::authority;
use crate::digest::Digest;
use crate::event::{Category, Failure};
use crate::reference::{Registry, Repository};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use reqwest::{Method, StatusCode};
use url::Url;

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
    /// The failure of a request, whose URL may be one that `registry` gave.
    pub(super) fn new(registry: &Registry, method: &Method, url: &Url, kind: ErrorKind) -> Self {
        Self { registry: registry.clone(), request: show(method, url), kind }
    }

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
            ErrorKind::Status { status, message, .. } if lacks_room(*status, message) => Category::Refused,
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

    /// Whether a manifest was refused since the registry lacks what it names.
    pub fn parts_are_missing(&self) -> bool {
        ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"].iter().any(|code| self.has_code(code))
    }

    /// Whether the registry says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }

    /// Whether the registry says that this is not for us.
    pub fn is_forbidden(&self) -> bool {
        self.status() == Some(StatusCode::FORBIDDEN)
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
        let url = self.request.split(' ').nth(1).and_then(|url| url.parse::<Url>().ok());
        let url = url.filter(|_| !self.registry.is_docker_hub());
        url.map_or_else(|| self.registry.to_string(), |url| authority(&url).to_owned())
    }

    /// Whether this came to the bytes of an upload that the registry has sent to another origin than its own.
    fn is_of_upload_elsewhere(&self) -> bool {
        let Some((method, url)) = self.request.split_once(' ') else { return false };
        let Ok(url) = url.parse::<Url>() else { return false };
        let own = base(&self.registry, url.scheme());
        matches!(method, "PUT" | "PATCH") && own.is_some_and(|own| own.origin() != url.origin())
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
            ErrorKind::Status { status, message, .. } if lacks_room(*status, message) => {
                "free space there, or have the quota raised".to_owned()
            }
            ErrorKind::Status { status, .. } if status.is_redirection() => {
                "if that is the registry's own name, give it that name in images.json and auth.json; if it is its storage, \
                 have the registry take uploads itself"
                    .to_owned()
            }
            ErrorKind::Status { status: StatusCode::PAYLOAD_TOO_LARGE, .. } => {
                "the registry, or a proxy before it, limits the size of requests: have that limit raised".to_owned()
            }
            ErrorKind::Status { status: StatusCode::UNAUTHORIZED, .. } if self.is_of_upload_elsewhere() => format!(
                "{registry} has uploads sent to {}, where its credentials are not shown: correct the address that the registry \
                 gives itself, or the Host header that a proxy before it passes on",
                host()
            ),
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

/// A request as it stands in messages: without query, which may hold a signature, and without user and password.
fn show(method: &Method, url: &Url) -> String {
    format!("{method} {}://{}{}", url.scheme(), authority(url), url.path())
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

/// Whether a push was refused since there is no room, and not since there are too many requests.
fn lacks_room(status: StatusCode, message: &str) -> bool {
    matches!(status.as_u16(), 400 | 403 | 412 | 413) && tells_of_room(message)
}

/// Whether what a registry says is about how much it holds, which no other request, repository or account changes.
pub(super) fn tells_of_room(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["quota", "storage limit", "limitexceeded"].iter().any(|words| message.contains(words))
}

/// 408, 429 and what servers say when they or those behind them are down; also with the numbers of nginx and Cloudflare.
pub(super) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524 | 530)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_show_no_query_and_no_password() {
        let url = "https://user:secret@r.example.com:1/v2/x?_state=secret".parse().unwrap();
        assert_eq!(show(&Method::GET, &url), "GET https://r.example.com:1/v2/x");
    }

    #[test]
    fn it_is_not_the_entry_that_is_wrong_where_credentials_are_not_shown() {
        let advice = |registry: &str, request: &str| {
            let (status, codes) = (StatusCode::UNAUTHORIZED, Vec::new());
            let kind = ErrorKind::Status { status, codes, message: String::new(), retry_after: None };
            Error { registry: registry.parse().unwrap(), request: request.to_owned(), kind }.advice().unwrap()
        };
        let elsewhere = advice("r.example.com:8443", "PUT https://r.example.com/v2/a/blobs/uploads/1");
        assert!(elsewhere.contains("sent to r.example.com, ") && elsewhere.contains("Host header"), "{elsewhere}");
        for (registry, request) in [
            ("r.example.com:8443", "PUT https://r.example.com:8443/v2/a/blobs/uploads/1"),
            ("r.example.com:443", "PATCH https://r.example.com/v2/a/blobs/uploads/1"),
            ("docker.io", "PUT https://registry-1.docker.io/v2/a/blobs/uploads/1"),
            ("r.example.com", "GET https://auth.example.com/token"),
        ] {
            assert!(advice(registry, request).contains("has an entry"), "{request}");
        }
    }

    #[test]
    fn what_passes_by_itself_is_known_by_its_number() {
        for (status, passes) in [(408, true), (499, true), (501, false), (505, false), (519, false), (525, false)]
            .into_iter()
            .chain([429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 530].map(|status| (status, true)))
        {
            assert_eq!(is_transient(StatusCode::from_u16(status).unwrap()), passes, "{status}");
        }
    }
}
