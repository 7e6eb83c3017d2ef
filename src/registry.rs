//! A client of Registry v2 endpoints: what the distribution specification offers, as typed calls with typed errors.
//!
//! It knows nothing of plans and tasks; but its errors advise the operator, and so name the files and flags of this
//! program. [`Clients`] gives one [`Client`] a registry, which holds what its repositories share: how to
//! connect, tokens, limits. [`RepositoryClient`] is one repository, as it may be used.
//!
//! | file | holds |
//! | --- | --- |
//! | `http` | one hop of HTTP, redirects |
//! | `answer` | an answer, read up to a bound |
//! | `sent` | what of a request no message may hold |
//! | `streams` | the connections by which blobs come |
//! | `elsewhere` | hosts to which registries lead, where they cannot be reached |
//! | `exchange` | a small request: permit, token, time limit, tries |
//! | `tries` | how often a request is sent that fails |
//! | `pace` | how fast a registry is asked |
//! | `turns` | whether blobs may be moved now |
//! | `credentials`, `helper` | who we are, and where that is kept |
//! | `auth`, `session` | who we are to one registry, as far as it has been found out |
//! | `challenge`, `realm`, `token` | how the registry wants it said |
//! | `issuers` | how fast token servers are asked |
//! | `reach` | where what a registry says may lead |
//! | `tls` | who the registry is |
//! | `probe` | the first contact: https or http, and the challenge |
//! | `tags`, `manifest`, `referrers`, `blob`, `upload` | the calls |
//! | `links` | where a list goes on |
//! | `media` | manifests as data |
//! | `error` | what can go wrong |
//! | `advice` | what an operator can do about it at which registry |

mod advice;
mod answer;
mod auth;
mod blob;
mod challenge;
mod credentials;
mod elsewhere;
mod error;
mod exchange;
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzz/targets/registry.rs"]
pub(crate) mod fuzz;
mod helper;
mod http;
mod issuers;
mod links;
mod manifest;
mod media;
mod pace;
mod probe;
#[cfg(test)]
mod properties;
mod reach;
mod realm;
mod referrers;
mod sent;
mod session;
mod streams;
mod tags;
pub mod tls;
mod token;
mod tries;
mod turns;
mod upload;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use blob::{BlobReader, Stored};
pub use credentials::{Account, Credential, Entry, Holds, Keyring, Prefixes, Source, Store};
pub(crate) use credentials::{NO_USERNAME, is_username};
pub use error::{Error, ErrorKind};
pub use helper::Helper;
pub use http::SetupError;
pub use media::{Content, Descriptor, Format, Manifest};
pub use pace::{Budget, Window, heads};
pub use referrers::{Referrer, ReferrersList};
pub use tries::patiently;
pub use upload::{Started, Upload};

use crate::digest::Digest;
use crate::reference::{Registry, Repository};
use crate::shared::lock;

/// The clients of all registries of a run, made when first asked for.
pub struct Clients {
    http: Arc<http::Http>,
    keyring: Arc<Keyring>,
    /// Small requests (manifests, HEADs, mounts, starts of uploads) in flight at once at one registry.
    requests: usize,
    throttle: Option<Arc<pace::Throttle>>,
    issuers: Arc<issuers::Issuers>,
    clients: Mutex<HashMap<Registry, Arc<Client>>>,
}

impl Clients {
    /// Clients that log in with `keyring` and have at most `requests` small requests in flight at one registry, or
    /// [more HEADs](heads).
    pub fn new(keyring: Arc<Keyring>, requests: usize) -> Result<Self, SetupError> {
        let http = Arc::new(http::Http::new(&keyring)?);
        let issuers = Arc::new(issuers::Issuers::new(requests));
        Ok(Self { http, keyring, requests, throttle: None, issuers, clients: Mutex::default() })
    }

    /// The same with a ceiling for the bytes of blobs that are read in a second, from all registries together.
    pub fn with_rate(self, bytes_per_second: NonZeroU64) -> Self {
        Self { throttle: Some(Arc::new(pace::Throttle::new(bytes_per_second))), ..self }
    }

    /// Cancelled when the run is to end: then nothing is tried again.
    pub fn end(&self) -> &CancellationToken {
        &self.http.end
    }

    /// The client of `registry`: one for all who ask.
    pub fn get(&self, registry: &Registry) -> Arc<Client> {
        let mut clients = lock(&self.clients);
        clients.entry(registry.clone()).or_insert_with(|| Arc::new(Client::new(registry, self))).clone()
    }

    /// A repository of which nothing is changed.
    pub fn reader(&self, repository: &Repository) -> RepositoryClient {
        let (client, repository) = (self.get(repository.registry()), repository.clone());
        RepositoryClient { client, repository, push: false, patience: pace::Patience::default() }
    }

    /// A repository that is written to as well.
    pub fn writer(&self, repository: &Repository) -> RepositoryClient {
        RepositoryClient { push: true, ..self.reader(repository) }
    }

    /// Asks again those registries, their token servers and storages, that could not be reached before.
    pub fn forget_unreachable(&self) {
        self.http.forget_unreachable();
        self.issuers.forget_unreachable();
        for client in lock(&self.clients).values() {
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
    pace: pace::Pace,
    throttle: Option<Arc<pace::Throttle>>,
    referrers_api: referrers::Api,
    modes: upload::Modes,
    /// Blobs that it has, or had, in another size than theirs.
    damaged: Mutex<HashSet<Digest>>,
    /// Whether the redirect of a blob's HEAD says that the blob is there, once it has been looked where one leads.
    redirects_to_blobs: tokio::sync::OnceCell<bool>,
}

impl Client {
    fn new(registry: &Registry, run: &Clients) -> Self {
        let transport = http::Transport::new(run.http.clone(), registry.clone());
        Self {
            registry: registry.clone(),
            auth: auth::Authenticator::new(run.keyring.clone(), run.issuers.clone(), transport.clone()),
            transport,
            probe: probe::Probe::default(),
            plain_http_allowed: run.keyring.is_insecure(registry) || registry.is_loopback(),
            pace: pace::Pace::new(registry, run.requests),
            throttle: run.throttle.clone(),
            referrers_api: referrers::Api::default(),
            modes: upload::Modes::default(),
            damaged: Mutex::default(),
            redirects_to_blobs: Default::default(),
        }
    }
}

/// One repository, and whether it may be written to. Cheap to clone.
#[derive(Clone)]
pub struct RepositoryClient {
    client: Arc<Client>,
    repository: Repository,
    push: bool,
    patience: pace::Patience,
}

impl RepositoryClient {
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The same, with its tries counted against `budget`. A request that would have to wait longer than `longest` for the
    /// end of a hold fails instead.
    pub fn within(self, budget: &Budget, longest: Duration) -> Self {
        Self { patience: pace::Patience { longest, budget: Some(budget.clone()) }, ..self }
    }

    /// Whether the registry counts how often manifests are read, as far as is known: those it is not asked for twice.
    pub fn counts_pulls(&self) -> bool {
        self.client.pace.counts_pulls()
    }
}
