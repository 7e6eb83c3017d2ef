//! Who is believed to be whom: root certificates, private authorities, certificates of our own.
//!
//! Trusted are the system's roots and those of Mozilla, which are built in: a container without any, or one with
//! those of years ago, reaches public registries as well. Where `SSL_CERT_FILE` or `SSL_CERT_DIR` is set, only what it
//! names is trusted. A private authority (`ca` in auth.json) is trusted in addition, for the sake of its registry alone.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::foreign::one_line;

/// The certificates that one host needs beside the usual ones.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Those of its authorities, or its own.
    pub authorities: Vec<CertificateDer<'static>>,
    pub identity: Option<Identity>,
}

/// A certificate of our own, with its key.
#[derive(Debug, Clone)]
pub struct Identity(Arc<CertifiedKey>);

/// What is wrong with a file that should hold certificates or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemDefect {
    #[error("it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    #[error("certificate {0} in it cannot be read")]
    InvalidCertificate(usize),
    #[error("it holds no private key in PEM, or an encrypted one")]
    NoKey,
    #[error("the key cannot be used: expected RSA, ECDSA or Ed25519")]
    InvalidKey,
    #[error("it is not the key of the certificate")]
    OtherKey,
}

/// The certificates of authorities in `pem`.
pub fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemDefect> {
    let certificates = certificates(pem)?;
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        roots.add(certificate.clone()).map_err(|_| PemDefect::InvalidCertificate(index + 1))?;
    }
    Ok(certificates)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemDefect> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .enumerate()
        .map(|(index, certificate)| certificate.map_err(|_| PemDefect::InvalidCertificate(index + 1)))
        .collect::<Result<_, _>>()?;
    if certificates.is_empty() { Err(PemDefect::NoCertificate) } else { Ok(certificates) }
}

impl Identity {
    /// The certificate in `certificate`, with those that lead to its authority.
    pub fn new(certificate: &[u8], key: &[u8]) -> Result<Self, PemDefect> {
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| PemDefect::NoKey)?;
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map(|key| Self(Arc::new(key))).map_err(|error| {
            match error {
                Error::InconsistentKeys(_) => PemDefect::OtherKey,
                Error::InvalidCertificate(_) => PemDefect::InvalidCertificate(1),
                _ => PemDefect::InvalidKey,
            }
        })
    }
}

/// The roots that every connection may trust.
pub(super) fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    let is_chosen = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    if let Some(error) = found.errors.first().filter(|_| is_chosen) {
        tracing::warn!(
            "not all that SSL_CERT_FILE and SSL_CERT_DIR name can be read: {}",
            one_line(&error.to_string())
        );
    }
    if added == 0 && is_chosen {
        tracing::warn!("SSL_CERT_FILE and SSL_CERT_DIR name no certificate that can be read; they are passed over");
    }
    if added == 0 || !is_chosen {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// Whose certificates are taken.
#[derive(Clone, Copy)]
pub(super) enum Trust {
    /// Those that a root vouches for.
    Vouched,
    /// Any: only for hosts that the operator declared insecure.
    Any,
}

/// The TLS side of a connection to a host with these certificates.
pub(super) fn client(roots: &RootCertStore, tls: &Tls, trust: Trust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = roots.clone();
    roots.add_parsable_certificates(tls.authorities.iter().cloned());
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let verifier = Verifier { webpki, pinned: tls.authorities.clone(), trust };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &tls.identity {
        Some(Identity(key)) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone()))),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// As webpki, but for servers that show what the operator gave as their authority: such a certificate, made by
/// `openssl req -x509` or an appliance, says that it is an authority, and webpki takes no authority for a server.
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
    trust: Trust,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Trust::Any = self.trust {
            return Ok(ServerCertVerified::assertion());
        }
        let verdict = self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // Dates have been checked by then, the name has not.
            Err(Error::InvalidCertificate(CertificateError::Other(_))) if self.pinned.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn what_is_no_certificate_and_no_key_is_said_so() {
        let made = rcgen::generate_simple_self_signed(["r.example.com".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        assert_eq!(authorities(certificate.as_bytes()).unwrap().len(), 1);
        assert_eq!(authorities(b"hello"), Err(PemDefect::NoCertificate));
        assert_eq!(authorities(key.as_bytes()), Err(PemDefect::NoCertificate));
        let broken = format!("{certificate}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert_eq!(authorities(broken.as_bytes()), Err(PemDefect::InvalidCertificate(2)));

        let identity = |certificate: &str, key: &str| Identity::new(certificate.as_bytes(), key.as_bytes()).map(|_| ());
        assert_eq!(identity(&certificate, &key), Ok(()));
        let both = format!("{key}{certificate}");
        assert_eq!(identity(&both, &both), Ok(()), "one file may hold both");
        assert_eq!(identity(&certificate, &certificate), Err(PemDefect::NoKey));
        assert_eq!(identity(&key, &key), Err(PemDefect::NoCertificate));
        let other = KeyPair::generate().unwrap().serialize_pem();
        assert_eq!(identity(&certificate, &other), Err(PemDefect::OtherKey));
    }

    #[test]
    fn there_are_roots_also_where_the_system_has_none() {
        if std::env::var_os("SSL_CERT_FILE").is_none() && std::env::var_os("SSL_CERT_DIR").is_none() {
            assert!(roots().len() >= webpki_roots::TLS_SERVER_ROOTS.len());
        }
    }

    /// What a verifier that was given `pinned` says to a server that shows `shown` and is called `name`.
    fn verdict(pinned: &CertificateDer<'static>, shown: &CertificateDer<'static>, name: &'static str) -> bool {
        let tls = Tls { authorities: vec![pinned.clone()], identity: None };
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(tls.authorities.iter().cloned());
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let verifier = Verifier { webpki, pinned: tls.authorities, trust: Trust::Vouched };
        let name = ServerName::try_from(name).unwrap();
        verifier.verify_server_cert(shown, &[], &name, &[], UnixTime::now()).is_ok()
    }

    #[test]
    fn a_certificate_that_is_its_own_authority_is_taken_from_whom_it_names() {
        let certificate = |is_authority: bool, year: i32| {
            let mut params = CertificateParams::new(["r.example.com".to_owned()]).unwrap();
            if is_authority {
                params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            }
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        for is_authority in [false, true] {
            let (pinned, other) = (certificate(is_authority, 2999), certificate(is_authority, 2999));
            assert!(verdict(&pinned, &pinned, "r.example.com"));
            assert!(!verdict(&pinned, &pinned, "x.example.com"));
            assert!(!verdict(&pinned, &other, "r.example.com"));
            let expired = certificate(is_authority, 2001);
            assert!(!verdict(&expired, &expired, "r.example.com"));
        }
    }
}
