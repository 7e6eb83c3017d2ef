//! A client of Registry v2 endpoints: what the distribution specification offers, as typed calls with typed errors.
//!
//! It knows nothing of migrations. [`Clients`] gives one [`Client`] a registry, which holds what its repositories
//! share: how to connect, tokens, limits. [`RepositoryClient`] is one repository, as it may be used.
//!
//! | file | holds |
//! | --- | --- |
//! | `http` | one hop of HTTP, redirects, bounded answers |
//! | `exchange` | a small request: permit, token, time limit, tries |
//! | `auth`, `challenge`, `credentials` | who we are, and how the registry wants it said |
//! | `probe` | the first contact: https or http, and the challenge |
//! | `tags`, `manifest`, `blob`, `upload` | the calls |
//! | `media` | manifests as data |
//! | `error` | what can go wrong |

mod auth;
mod blob;
mod challenge;
mod credentials;
mod error;
mod exchange;
mod http;
mod manifest;
mod media;
mod probe;
mod tags;
mod upload;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::BackoffBuilder as _;
use tokio::sync::Semaphore;

pub use blob::{BlobInfo, BlobReader};
pub use credentials::{Keyring, Login};
pub use error::{Error, ErrorKind};
pub use media::{Content, Descriptor, Manifest};
pub use upload::{Started, Upload};

use crate::reference::{Registry, Repository};

/// The clients of all registries of a run, made when first asked for.
pub struct Clients {
    http: http::Http,
    keyring: Arc<Keyring>,
    /// Small requests (manifests, HEADs, mounts, starts of uploads) in flight at once at one registry.
    requests: usize,
    clients: Mutex<HashMap<Registry, Arc<Client>>>,
}

impl Clients {
    /// Clients that log in with `keyring` and have at most `requests` small requests in flight at one registry.
    pub fn new(keyring: Arc<Keyring>, requests: usize) -> Result<Self, reqwest::Error> {
        Ok(Self { http: http::Http::new()?, keyring, requests, clients: Mutex::default() })
    }

    /// The client of `registry`: one for all who ask.
    pub fn get(&self, registry: &Registry) -> Arc<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Client::new(registry, &self.http, &self.keyring, self.requests);
        clients.entry(registry.clone()).or_insert_with(|| Arc::new(new())).clone()
    }

    /// A repository of which nothing is changed.
    pub fn reader(&self, repository: &Repository) -> RepositoryClient {
        RepositoryClient { client: self.get(repository.registry()), repository: repository.clone(), push: false }
    }

    /// A repository that is written to as well.
    pub fn writer(&self, repository: &Repository) -> RepositoryClient {
        RepositoryClient { push: true, ..self.reader(repository) }
    }

    /// Asks again those registries that could not be reached before.
    pub fn forget_unreachable(&self) {
        for client in self.clients.lock().unwrap_or_else(PoisonError::into_inner).values() {
            client.forget_unreachable();
        }
    }
}

/// One registry.
pub struct Client {
    registry: Registry,
    transport: http::Transport,
    auth: auth::Authenticator,
    probe: probe::Probe,
    plain_http_allowed: bool,
    requests: Semaphore,
    holds: exchange::Holds,
}

/// One repository, and whether it may be written to. Cheap to clone.
#[derive(Clone)]
pub struct RepositoryClient {
    client: Arc<Client>,
    repository: Repository,
    push: bool,
}

impl RepositoryClient {
    pub fn repository(&self) -> &Repository {
        &self.repository
    }
}

/// Tells that a request failed and is sent again.
fn warn_again(error: &Error, pause: Duration) {
    tracing::warn!("{error}; trying again in {:.1} s", pause.as_secs_f64());
}

/// Tries until there is a result that another try would not change.
pub async fn patiently<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut pauses = backoff();
    loop {
        let error = match attempt().await {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        match pauses.next().filter(|_| error.is_transient()) {
            Some(pause) => {
                let pause = error.retry_after().unwrap_or(pause);
                warn_again(&error, pause);
                tokio::time::sleep(pause).await;
            }
            None => return Err(error),
        }
    }
}

/// The pauses between the tries of one request.
fn backoff() -> impl Iterator<Item = Duration> {
    backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(300))
        .with_max_delay(Duration::from_secs(20))
        .with_max_times(4)
        .with_jitter()
        .build()
}
