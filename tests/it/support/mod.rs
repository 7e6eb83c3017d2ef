//! What the tests stand on: a run of the program, real registries, and a witness that is not the program.

pub mod docker_registry;
pub mod fault;
pub mod helper;
pub mod kube_api;
pub mod nginx;
pub mod pki;
pub mod proxy;
pub mod run;
pub mod skopeo;
pub mod token_server;
pub mod verdict;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use scriptable_registry::{Action, Hook, Image, Kind, Matcher, Registry, Request};

pub use docker_registry::{PASSWORD, USER};
pub use run::{GENERATE, HANDLE, Migration, Outcome, RETRY_GENERATE, RETRY_HANDLE, summary};

/// Larger than what counts as tiny, so that a worker moves it.
pub const LARGE: u64 = 300_000;

/// A client for what a test itself asks: of anybody, whoever vouches for them, and through no proxy.
pub fn http_client() -> reqwest::Client {
    // The program has its own at each connection; another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy().build().unwrap()
}

/// A small image, another one for each seed.
pub fn small(seed: u64) -> Image {
    Image::new("linux/amd64").layer_of(seed, 2_000)
}

/// An image of one large layer, another one for each seed.
pub fn large(seed: u64) -> Image {
    Image::new("linux/amd64").layer_of(seed, LARGE)
}

/// A source and a destination, open and empty.
pub async fn two_registries() -> (Registry, Registry) {
    (Registry::open().await, Registry::open().await)
}

/// Has something happen in a registry at the moment when a request comes, which is then served as ever.
pub fn when(
    registry: &Arc<Registry>,
    matcher: impl Into<Matcher>,
    act: impl Fn(&Registry) + Send + Sync + 'static,
) -> Hook {
    // The registry owns its hooks, so they must not own the registry.
    let weak = Arc::downgrade(registry);
    registry.on_each(matcher, move |_| {
        weak.upgrade().iter().for_each(|registry| act(registry));
        Some(Action::All(Vec::new()))
    })
}

/// How many requests of each kind a registry has seen, but for pings, of which a run may send one.
pub fn requests(registry: &Registry) -> BTreeMap<Kind, u64> {
    let mut counts = BTreeMap::new();
    for request in registry.requests() {
        *counts.entry(request.kind).or_default() += 1;
    }
    let pings = counts.remove(&Kind::Ping).unwrap_or_default();
    assert!(pings <= 1, "{pings} pings");
    counts
}

/// Asserts that nothing was written to any of these.
#[track_caller]
pub fn assert_only_read(registries: &[&Registry]) {
    for request in registries.iter().flat_map(|registry| registry.requests()) {
        assert!(["GET", "HEAD"].contains(&request.method.as_str()), "{request:?}");
    }
}

/// The user named in a Basic header.
pub fn basic_user(request: &Request) -> Option<String> {
    let encoded = request.header("authorization")?.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    Some(decoded.split(':').next()?.to_owned())
}

/// Asserts that a tag is at the destination with the source's digest, and all that belongs to it.
#[track_caller]
pub fn assert_same(source: (&Registry, &str, &str), destination: (&Registry, &str, &str)) {
    let (from, repository, tag) = source;
    let expected = from.manifest(repository, tag).unwrap_or_else(|| panic!("no {repository}:{tag} at the source"));
    let (to, repository, tag) = destination;
    let found = to.manifest(repository, tag).unwrap_or_else(|| panic!("no {repository}:{tag} at the destination"));
    assert_eq!(found.digest, expected.digest, "{repository}:{tag}");
    assert_eq!(found.bytes, expected.bytes, "{repository}:{tag}");
    assert_eq!(found.media_type, expected.media_type, "{repository}:{tag}");
    assert_eq!(to.missing(repository, tag), Vec::<String>::new(), "{repository}:{tag}");
}

/// A number from the environment, for those who want more of a test than a build server does.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
