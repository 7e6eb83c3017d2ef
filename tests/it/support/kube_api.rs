//! A kube-apiserver that lists what a test puts into it, page by page, and can refuse, forget and stay silent.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::pki::{Authority, Issued};

/// Who may ask.
#[derive(Clone, Debug, Default)]
pub enum Admission {
    #[default]
    Everybody,
    /// Whoever sends this as `Authorization`.
    Header(String),
    /// Whoever shows a certificate of the server's authority.
    Certificate,
}

/// A running API server; it ends when this is dropped.
pub struct KubeApi {
    address: SocketAddr,
    authority: Option<Authority>,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub query: HashMap<String, String>,
    pub headers: HashMap<String, Vec<String>>,
}

#[derive(Default)]
struct State {
    /// By the plural of their kind.
    objects: HashMap<String, Vec<Value>>,
    namespaces: BTreeSet<String>,
    admission: Admission,
    /// What may not be listed: the plural, and the namespace if it is but one.
    forbidden: HashSet<(String, Option<String>)>,
    /// Prefixes of paths that are not served.
    absent: Vec<String>,
    /// How many requests for a later page are answered with 410.
    gone: usize,
    /// The statuses with which the next requests are answered.
    failures: Vec<u16>,
    silent: bool,
    seen: Vec<Seen>,
}

impl KubeApi {
    /// One that speaks plain http.
    pub async fn plain() -> Self {
        Self::start(None).await
    }

    /// One that speaks TLS, with a certificate of an authority of its own.
    pub async fn tls() -> Self {
        Self::start(Some(Authority::new("Cluster"))).await
    }

    async fn start(authority: Option<Authority>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let acceptor = authority.as_ref().map(|authority| {
            let server = authority.server(&["127.0.0.1", "kubernetes.example"]);
            TlsAcceptor::from(Arc::new(server.server_config_with_clients(authority)))
        });
        let task = tokio::spawn(serve(listener, acceptor, Arc::clone(&state)));
        KubeApi { address, authority, state, task }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn url(&self) -> String {
        format!("{}://{}", if self.authority.is_some() { "https" } else { "http" }, self.address)
    }

    /// Adds an object; its namespace exists from then on.
    pub fn add(&self, plural: &str, object: Value) -> &Self {
        let namespace = object["metadata"]["namespace"].as_str().unwrap().to_owned();
        let mut state = self.state();
        state.namespaces.insert(namespace);
        state.objects.entry(plural.to_owned()).or_default().push(object);
        drop(state);
        self
    }

    pub fn admit(&self, admission: Admission) -> &Self {
        self.state().admission = admission;
        self
    }

    /// Answers a kind's lists with 403, in one namespace or wherever they are asked for.
    pub fn forbid(&self, plural: &str, namespace: Option<&str>) -> &Self {
        self.state().forbidden.insert((plural.to_owned(), namespace.map(str::to_owned)));
        self
    }

    /// Answers 404 below a path.
    pub fn absent(&self, prefix: &str) -> &Self {
        self.state().absent.push(prefix.to_owned());
        self
    }

    /// Answers the next requests for a later page with 410.
    pub fn forget_places(&self, times: usize) -> &Self {
        self.state().gone = times;
        self
    }

    /// Answers the next requests with these statuses.
    pub fn fail(&self, statuses: &[u16]) -> &Self {
        self.state().failures = statuses.to_vec();
        self
    }

    /// Answers nothing any more.
    pub fn be_silent(&self) -> &Self {
        self.state().silent = true;
        self
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// Where the lists were asked for, without their query, each once.
    pub fn paths(&self) -> BTreeSet<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }

    /// A certificate of its authority for a client.
    pub fn client_certificate(&self) -> Issued {
        self.authority.as_ref().expect("it speaks TLS").client()
    }

    /// The cluster part of a kubeconfig, with the certificate of the authority.
    pub fn cluster(&self) -> Value {
        match &self.authority {
            None => json!({ "server": self.url() }),
            Some(authority) => {
                json!({ "server": self.url(), "certificate-authority-data": STANDARD.encode(&authority.pem) })
            }
        }
    }

    /// A kubeconfig for a user; JSON is YAML.
    pub fn kubeconfig(&self, user: Value) -> String {
        kubeconfig(self.cluster(), user)
    }
}

impl Drop for KubeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A kubeconfig with one context, `here`.
pub fn kubeconfig(cluster: Value, user: Value) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here", "preferences": {},
        "contexts": [{ "name": "here", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": cluster }],
        "users": [{ "name": "u", "user": user }],
    })
    .to_string()
}

async fn serve(listener: TcpListener, acceptor: Option<TlsAcceptor>, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        connections.spawn(async move {
            match acceptor {
                None => connection(stream, false, state).await,
                Some(acceptor) => {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let has_certificate = stream.get_ref().1.peer_certificates().is_some();
                    connection(stream, has_certificate, state).await;
                }
            }
        });
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    has_certificate: bool,
    state: Arc<Mutex<State>>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move {
            let (silent, answer) = {
                let mut state = state.lock().unwrap();
                (state.silent, state.answer(&request, has_certificate))
            };
            if silent {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl State {
    fn answer(&mut self, request: &Request<Incoming>, has_certificate: bool) -> Response<Full<Bytes>> {
        let seen = Seen::of(request);
        let (path, query) = (seen.path.clone(), seen.query.clone());
        let authorization = seen.headers.get("authorization").and_then(|values| values.first().cloned());
        self.seen.push(seen);
        if !self.failures.is_empty() {
            return refusal(self.failures.remove(0), "the server is currently unable to handle the request");
        }
        let admitted = match &self.admission {
            Admission::Everybody => true,
            Admission::Header(expected) => authorization.as_ref() == Some(expected),
            Admission::Certificate => has_certificate,
        };
        if !admitted {
            return refusal(401, "Unauthorized");
        }
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let rest = match parts.as_slice() {
            ["api", "v1", rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => return refusal(404, "the server could not find the requested resource"),
        };
        if self.absent.iter().any(|prefix| path.starts_with(prefix)) {
            return refusal(404, "the server could not find the requested resource");
        }
        match rest {
            ["namespaces", name] if self.forbidden.contains(&("namespaces".to_owned(), None)) => {
                refusal(403, &format!("namespaces \"{name}\" is forbidden: User \"u\" cannot get resource"))
            }
            ["namespaces", name] if self.namespaces.contains(*name) => {
                reply(200, &json!({ "kind": "Namespace", "apiVersion": "v1", "metadata": { "name": name } }))
            }
            ["namespaces", name] => refusal(404, &format!("namespaces \"{name}\" not found")),
            ["namespaces", namespace, plural] => self.list(plural, Some(namespace), &query),
            [plural] => self.list(plural, None, &query),
            _ => refusal(404, "the server could not find the requested resource"),
        }
    }

    fn list(
        &mut self,
        plural: &str,
        namespace: Option<&str>,
        query: &HashMap<String, String>,
    ) -> Response<Full<Bytes>> {
        let forbidden =
            |namespace: Option<&str>| self.forbidden.contains(&(plural.to_owned(), namespace.map(str::to_owned)));
        if forbidden(None) || namespace.is_some() && forbidden(namespace) {
            return refusal(403, &format!("{plural} is forbidden: User \"u\" cannot list resource \"{plural}\""));
        }
        let start = match query.get("continue") {
            None => 0,
            Some(_) if self.gone > 0 => {
                self.gone -= 1;
                return refusal(410, "The provided continue parameter is too old");
            }
            Some(token) => token.strip_prefix("at+/=").unwrap().parse().unwrap(),
        };
        let limit: usize = query.get("limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
        let in_namespace = |object: &&Value| namespace.is_none_or(|name| object["metadata"]["namespace"] == name);
        let all: Vec<&Value> = self.objects.get(plural).into_iter().flatten().filter(in_namespace).collect();
        let page: Vec<&Value> = all.iter().skip(start).take(limit).copied().collect();
        let mut metadata = json!({ "resourceVersion": "1000" });
        if start + page.len() < all.len() {
            // Characters that have a meaning in a URL.
            metadata["continue"] = json!(format!("at+/={}", start + page.len()));
            metadata["remainingItemCount"] = json!(all.len() - start - page.len());
        }
        reply(200, &json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": page }))
    }
}

impl Seen {
    fn of(request: &Request<Incoming>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let mut headers: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in request.headers() {
            headers.entry(name.to_string()).or_default().push(value.to_str().unwrap().to_owned());
        }
        Seen { path: request.uri().path().to_owned(), query, headers }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|values| values.first()).map(String::as_str)
    }
}

fn refusal(code: u16, message: &str) -> Response<Full<Bytes>> {
    reply(
        code,
        &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "message": message }),
    )
}

fn reply(code: u16, body: &Value) -> Response<Full<Bytes>> {
    let response = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json");
    response.body(Full::new(Bytes::from(body.to_string()))).unwrap()
}
