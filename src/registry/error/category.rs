//! What kind of thing an error is.

use reqwest::StatusCode;

use super::{Error, ErrorKind, lacks_room};
use crate::event::Category;

impl Error {
    /// What kind of thing it is, in the words of logs and reports.
    pub fn category(&self) -> Category {
        match self.facts() {
            ErrorKind::Status { status: StatusCode::FORBIDDEN, .. } if self.may_be_of_media_type() => Category::Refused,
            ErrorKind::Status { status, message, .. } if lacks_room(*status, message) => Category::Refused,
            ErrorKind::Status { status, .. } => match *status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Category::Auth,
                StatusCode::NOT_FOUND => Category::NotFound,
                _ if self.facts().is_transient() => Category::Network,
                _ => Category::Refused,
            },
            ErrorKind::Elsewhere { kind, .. } if matches!(**kind, ErrorKind::CertificateNeeded { .. }) => {
                Category::Auth
            }
            ErrorKind::Rejected { .. }
            | ErrorKind::Unavailable { .. }
            | ErrorKind::LoginNeeded { .. }
            | ErrorKind::TokenExpired { .. }
            | ErrorKind::CertificateNeeded { .. } => Category::Auth,
            ErrorKind::Limited { .. }
            | ErrorKind::Verdict(_)
            | ErrorKind::Unreachable { .. }
            | ErrorKind::TooFewFiles { .. }
            | ErrorKind::Untrusted { .. }
            | ErrorKind::NotTls
            | ErrorKind::Broken { .. }
            | ErrorKind::TimedOut { .. }
            | ErrorKind::Late { .. }
            | ErrorKind::Elsewhere { .. }
            | ErrorKind::RefusedElsewhere { .. } => Category::Network,
            ErrorKind::WrongDigest { .. }
            | ErrorKind::WrongSize { .. }
            | ErrorKind::KeptDamaged { .. }
            | ErrorKind::NotHttp { .. }
            | ErrorKind::Malformed { .. } => Category::Corrupt,
            ErrorKind::NoRepository { .. } => Category::NotFound,
            ErrorKind::Unsupported { .. } | ErrorKind::Portion { .. } | ErrorKind::ImmutableTag { .. } => {
                Category::Refused
            }
        }
    }
}
