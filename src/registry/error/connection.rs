//! What went wrong with a connection, as the libraries below tell it.

use super::ErrorKind;
use crate::causes::{self, Source, find, sources};
use crate::foreign::one_line;
use crate::registry::streams::Proxy;

impl From<reqwest::Error> for ErrorKind {
    fn from(error: reqwest::Error) -> Self {
        Self::of_connection(&error, error.is_connect())
    }
}

impl ErrorKind {
    /// What `error` says. `is_connect` if no connection came about.
    pub(in crate::registry) fn of_connection(error: Source<'_>, is_connect: bool) -> Self {
        use rustls::AlertDescription as Alert;
        match find(error) {
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
            // It says nothing of the other side.
            _ if is_out_of_files(error) => Self::TooFewFiles { reason: innermost(error) },
            _ if is_no_http(error) => Self::NotHttp { reason: innermost(error) },
            _ if is_connect => Self::Unreachable { reason: innermost(error) },
            _ => Self::Broken { reason: innermost(error) },
        }
    }

    /// The same where a proxy was between: it may be the one that cannot be reached, or that does not let us through.
    pub(in crate::registry) fn through(self, proxy: Option<&Proxy>) -> Self {
        let Some(Proxy { host, is_spoken_to_in_tls }) = proxy else { return self };
        let reason = match self {
            Self::Unreachable { reason } => reason,
            Self::NotTls if *is_spoken_to_in_tls => {
                "the answer is not TLS, and most proxies that are named with https:// want http://".to_owned()
            }
            Self::Untrusted { reason, .. } if *is_spoken_to_in_tls => {
                format!("{reason}, if it is not that of the registry")
            }
            kind => return kind,
        };
        Self::Unreachable { reason: format!("{reason}, by way of the proxy {host}") }
    }
}

fn is_no_http(error: Source<'_>) -> bool {
    sources(error).filter_map(|source| source.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse)
}

/// Whether this process, or the machine, has as many files open as it may: EMFILE and ENFILE, which have these numbers on
/// every Unix, or WSAEMFILE.
fn is_out_of_files(error: Source<'_>) -> bool {
    let numbers: &[i32] = if cfg!(windows) { &[10024] } else { &[23, 24] };
    let mut of_system = sources(error).filter_map(|source| source.downcast_ref::<std::io::Error>());
    of_system.any(|error| error.raw_os_error().is_some_and(|number| numbers.contains(&number)))
}

/// Whether a server is there that does not speak TLS, or none at all. Some http servers answer what they cannot read by
/// closing the connection, with a reset if they have not read all of it. A proxy that fails says nothing of what is
/// behind it: with one between, only an answer that is not TLS counts, and only if it cannot be the proxy's.
pub(in crate::registry) fn is_refused_or_not_tls(error: &reqwest::Error, proxy: Option<&Proxy>) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, ConnectionReset, UnexpectedEof};
    let is_shut = |kind| matches!(kind, ConnectionRefused | ConnectionReset | UnexpectedEof);
    let mut shut =
        sources(error).filter_map(|source| source.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    let is_shut = error.is_connect() && shut.any(is_shut);
    let is_not_tls = matches!(find(error), Some(rustls::Error::InvalidMessage(_)));
    match proxy {
        None => is_shut || is_not_tls,
        Some(proxy) => is_not_tls && !proxy.is_spoken_to_in_tls,
    }
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

/// What happened, in words. The text of an error without a cause holds the URL, query and all.
fn innermost(error: Source<'_>) -> String {
    if error.source().is_some() { causes::innermost(error) } else { "request failed".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn that_no_more_files_may_be_opened_is_not_said_of_the_other_side() {
        for number in [23, 24] {
            let error = std::io::Error::other(std::io::Error::from_raw_os_error(number));
            let kind = ErrorKind::of_connection(&error, true);
            assert!(matches!(&kind, ErrorKind::TooFewFiles { .. }) && kind.is_transient(), "{kind}");
        }
        let refused = std::io::Error::other(std::io::Error::from_raw_os_error(111));
        assert!(matches!(ErrorKind::of_connection(&refused, true), ErrorKind::Unreachable { .. }));
    }
}
