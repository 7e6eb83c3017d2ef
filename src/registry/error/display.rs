//! What went wrong, in words.

use std::fmt;

use reqwest::StatusCode;

use super::{Asked, Error, ErrorKind};
use crate::foreign::one_line;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.asked {
            Some(asked) => write!(f, "{asked}: {}", self.kind),
            None => write!(f, "{}: {}", self.registry, self.kind),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An address may be one that the registry gave.
        write!(f, "{} {}", self.method, one_line(self.url.as_str()))
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
            Self::LoginNeeded { .. } => f.write_str("the registry wants credentials and there are none"),
            Self::Limited { why, until, .. } => {
                let until = humantime::format_rfc3339_seconds(*until);
                write!(f, "the registry limits how much it is asked, and is left alone until {until}: {why}")
            }
            Self::Unreachable { reason } | Self::TooFewFiles { reason } | Self::Untrusted { reason, .. } => {
                write!(f, "cannot connect: {reason}")
            }
            Self::NotTls => f.write_str("cannot connect: the answer is not TLS; this looks like a plain http server"),
            Self::CertificateNeeded { alert } => {
                write!(f, "cannot connect: the server wants a client certificate ({alert})")
            }
            Self::NotHttp { reason } => write!(f, "the answer cannot be used: no HTTP as it is read: {reason}"),
            Self::Elsewhere { host, kind } => write!(f, "{host}, where it leads: {kind}"),
            Self::Broken { reason } => write!(f, "the connection broke: {reason}"),
            Self::TimedOut { after } => write!(f, "nothing came for {}", humantime::format_duration(*after)),
            Self::Late { after } => {
                write!(f, "the end of the answer did not come within {}", humantime::format_duration(*after))
            }
            Self::TokenExpired { .. } => f.write_str("the upload's token was refused"),
            Self::Portion { status: status @ StatusCode::UNAUTHORIZED } => {
                write!(f, "{status}: the upload took longer than its token lasts")
            }
            Self::Portion { status } => write!(f, "{status}: it takes no request of this size"),
            Self::NoRepository { repository, status, message } => {
                // What is not there and what is not for this account look the same where rights are refused.
                let for_whom =
                    if *status == StatusCode::NOT_FOUND { "to push to" } else { "that the account may push to" };
                write!(f, "there is no repository {repository} {for_whom}: {}", Said(*status, message))
            }
            Self::ImmutableTag { tag, found, status, message } => {
                write!(f, "the tag {tag} is immutable there and names {found}: {}", Said(*status, message))
            }
            Self::WrongDigest { expected, found } => write!(f, "the content has digest {found}, expected {expected}"),
            Self::WrongSize { expected, found } => write!(f, "{found} bytes came, expected {expected}"),
            Self::KeptDamaged { digest, expected, found } => {
                write!(f, "the registry keeps {found} bytes under {digest}, which has {expected}, whatever is sent")
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_longer_than_its_token_is_not_told_as_too_large() {
        let told = |status| ErrorKind::Portion { status }.to_string();
        assert!(told(StatusCode::UNAUTHORIZED).ends_with(": the upload took longer than its token lasts"));
        assert!(told(StatusCode::PAYLOAD_TOO_LARGE).ends_with(": it takes no request of this size"));
    }

    #[test]
    fn a_refused_right_is_not_told_as_a_missing_repository() {
        let told = |status, message: &str| {
            let repository = Box::new("r.example.com/team/app".parse().unwrap());
            ErrorKind::NoRepository { repository, status, message: message.to_owned() }.to_string()
        };
        let refused = told(StatusCode::UNAUTHORIZED, "access to the requested resource is not authorized");
        assert!(
            refused.starts_with("there is no repository r.example.com/team/app that the account may push to: 401 ")
        );
        let missing = told(StatusCode::NOT_FOUND, "");
        assert!(missing.starts_with("there is no repository r.example.com/team/app to push to: 404 "), "{missing}");
    }
}
