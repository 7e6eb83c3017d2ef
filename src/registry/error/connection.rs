//! What went wrong with a connection, as the libraries below tell it.

use super::ErrorKind;
use crate::foreign::one_line;

impl From<reqwest::Error> for ErrorKind {
    fn from(error: reqwest::Error) -> Self {
        Self::of_connection(&error, error.is_connect())
    }
}

impl ErrorKind {
    /// What `error` says. `is_connect` if no connection came about.
    pub(in crate::registry) fn of_connection(error: Source<'_>, is_connect: bool) -> Self {
        use rustls::AlertDescription as Alert;
        match tls_error(error) {
            Some(rustls::Error::InvalidCertificate(defect)) => Self::Untrusted {
                reason: certificate(defect),
                unknown_issuer: matches!(
                    defect,
                    rustls::CertificateError::UnknownIssuer | rustls::CertificateError::Other(_)
                ),
            },
            Some(rustls::Error::InvalidMessage(_)) if is_connect => Self::NotTls,
            // Of our certificate it can be said only after the handshake, in answer to the request (RFC 8446, 4.4.2).
            Some(rustls::Error::AlertReceived(
                alert @ (Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnknownCA
                | Alert::CertificateUnknown
                | Alert::CertificateExpired
                | Alert::UnsupportedCertificate),
            )) => Self::CertificateNeeded { alert: format!("{alert:?}") },
            _ if is_no_http(error) => Self::NotHttp { reason: innermost(error) },
            _ if is_connect => Self::Unreachable { reason: innermost(error) },
            _ => Self::Broken { reason: innermost(error) },
        }
    }

    /// The same where a proxy was between: it may be the one that cannot be reached, or that does not let us through.
    pub(in crate::registry) fn through(self, proxy: Option<String>) -> Self {
        match (self, proxy) {
            (Self::Unreachable { reason }, Some(proxy)) => {
                Self::Unreachable { reason: format!("{reason}, by way of the proxy {proxy}") }
            }
            (kind, _) => kind,
        }
    }
}

fn is_no_http(error: Source<'_>) -> bool {
    sources(error).filter_map(|source| source.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse)
}

/// The TLS error behind a failed connection, if it was one.
fn tls_error(error: Source<'_>) -> Option<&rustls::Error> {
    sources(error).find_map(|source| source.downcast_ref())
}

/// Whether somebody is there who does not speak TLS, or nobody at all. Some http servers answer what they cannot read by
/// closing the connection, with a reset if they have not read all of it.
pub(in crate::registry) fn is_refused_or_not_tls(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, ConnectionReset, UnexpectedEof};
    let is_shut = |kind| matches!(kind, ConnectionRefused | ConnectionReset | UnexpectedEof);
    let mut shut =
        sources(error).filter_map(|source| source.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    error.is_connect() && shut.any(is_shut) || matches!(tls_error(error), Some(rustls::Error::InvalidMessage(_)))
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
        // webpki's word for what `openssl req -x509` makes.
        Defect::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "its certificate is that of an authority, signed by itself, and this machine does not trust it".to_owned()
        }
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
fn innermost(error: Source<'_>) -> String {
    let last = sources(error).last().map(ToString::to_string).unwrap_or_default();
    match error.source() {
        // Without a cause the text holds the URL, query and all.
        None => "request failed".to_owned(),
        Some(_) => one_line(&last),
    }
}
