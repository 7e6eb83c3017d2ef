//! A token server that a real registry believes: it signs what it grants (distribution `docs/spec/auth/jwt.md`).

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::docker_registry::{PASSWORD, USER};
use super::pki::Issued;

/// A running token server with one user, who may do everything; it ends when this is dropped.
pub struct TokenServer {
    /// `http://127.0.0.1:<port>`
    url: String,
    signer: Arc<Signer>,
    task: JoinHandle<()>,
}

struct Signer {
    key: KeyPair,
    certificate: rcgen::Certificate,
    /// The scopes asked for, request by request.
    asked: Mutex<Vec<Vec<String>>>,
}

impl TokenServer {
    pub const ISSUER: &str = "the token server of a test";
    pub const SERVICE: &str = "a real registry";

    /// One that speaks plain http, or https with a certificate.
    pub async fn start(certificate: Option<&Issued>) -> Self {
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let signer = Arc::new(Signer { key, certificate: own, asked: Mutex::default() });
        let tls = certificate.map(|issued| TlsAcceptor::from(Arc::new(issued.server_config())));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let state = signer.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (state.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => state.serve(stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                state.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        Self { url, signer, task }
    }

    /// `127.0.0.1:<port>`
    pub fn host(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    pub fn realm(&self) -> String {
        format!("{}/token?from=a-real-registry", self.url)
    }

    /// The certificate of the key it signs with, in PEM.
    pub fn certificate(&self) -> String {
        self.signer.certificate.pem()
    }

    /// The scopes asked for, request by request.
    pub fn asked(&self) -> Vec<Vec<String>> {
        self.signer.asked.lock().unwrap().clone()
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Signer {
    async fn serve(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| {
            let answer = self.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let expected = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        let shown = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        if shown != Some(expected) {
            return Response::builder().status(401).body(Full::default()).unwrap();
        }
        let url = url::Url::parse("http://token/").unwrap().join(&request.uri().to_string()).unwrap();
        assert!(url.query_pairs().any(|(name, value)| name == "from" && value == "a-real-registry"), "{url}");
        let scopes: Vec<String> =
            url.query_pairs().filter(|(name, _)| name == "scope").map(|(_, value)| value.into_owned()).collect();
        self.asked.lock().unwrap().push(scopes.clone());
        let access: Vec<Value> = scopes
            .iter()
            .filter_map(|scope| {
                let (resource, actions) = scope.rsplit_once(':')?;
                let (kind, name) = resource.split_once(':')?;
                Some(json!({ "type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>() }))
            })
            .collect();
        let body = json!({ "token": self.sign(&access), "expires_in": 300 }).to_string();
        Response::new(Full::from(body))
    }

    fn sign(&self, access: &[Value]) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let certificate = STANDARD.encode(self.certificate.der());
        let head = json!({ "typ": "JWT", "alg": "ES256", "x5c": [certificate] });
        let claims = json!({
            "iss": TokenServer::ISSUER, "aud": TokenServer::SERVICE, "sub": USER, "jti": now.to_string(),
            "iat": now - 10, "nbf": now - 10, "exp": now + 300, "access": access,
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&head), encode(&claims));
        // A token holds the two numbers of a signature as they are (RFC 7518, 3.4), a certificate's are wrapped.
        let random = SystemRandom::new();
        let key = self.key.serialize_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key, &random).unwrap();
        let signature = key.sign(&random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
