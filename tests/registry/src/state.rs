//! What all listeners of one registry share.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::access::Access;
use crate::builder::Settings;
use crate::digest::digest_of;
use crate::hook::Hooks;
use crate::log::Log;
use crate::port::Port;
use crate::request::Origin;
use crate::store::Store;
use crate::tokens::Tokens;
use crate::uploads::Uploads;

/// The state of a running registry. No lock in it is held while anything is awaited.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) ports: Ports,
    pub(crate) log: Arc<Log>,
    pub(crate) hooks: Hooks,
    pub(crate) tokens: Tokens,
    pub(crate) uploads: Uploads,
    pub(crate) connections: AtomicU64,
    /// What signatures and tokens are made from, different in each registry.
    pub(crate) salt: u64,
    /// The repositories or projects that a test has made.
    pub(crate) made: Mutex<BTreeSet<String>>,
    store: Mutex<Store>,
    secrets: AtomicU64,
    redirect_key: AtomicU64,
}

/// What a panic left, as a test has it that goes on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where it listens.
pub(crate) struct Ports {
    pub(crate) registry: Port,
    pub(crate) token_server: Option<Port>,
    pub(crate) blob_origin: Option<Port>,
}

impl Ports {
    fn hold(settings: &Settings) -> Self {
        Ports {
            registry: Port::hold(),
            token_server: matches!(settings.access, Access::Bearer(_)).then(Port::hold),
            blob_origin: settings.redirects.then(Port::hold),
        }
    }

    /// With who is found there.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Port, Origin)> {
        let registry = Some((&self.registry, Origin::Registry));
        let token_server = self.token_server.as_ref().map(|port| (port, Origin::TokenServer));
        let blob_origin = self.blob_origin.as_ref().map(|port| (port, Origin::BlobOrigin));
        [registry, token_server, blob_origin].into_iter().flatten()
    }
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Self {
        let ports = Ports::hold(&settings);
        Shared {
            log: Arc::new(Log::new(settings.keep_log)),
            settings,
            hooks: Hooks::default(),
            tokens: Tokens::default(),
            uploads: Uploads::default(),
            connections: AtomicU64::new(0),
            salt: RandomState::new().hash_one(ports.registry.address()),
            ports,
            made: Mutex::default(),
            store: Mutex::default(),
            secrets: AtomicU64::new(0),
            redirect_key: AtomicU64::new(1),
        }
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// A string nobody can guess and that never comes twice.
    pub(crate) fn secret(&self, purpose: &str) -> String {
        let number = self.secrets.fetch_add(1, SeqCst);
        digest_of(format!("{purpose} {} {number}", self.salt).as_bytes()).split_off("sha256:".len())
    }

    /// Part of every signed address; with a new one all earlier addresses have expired.
    pub(crate) fn redirect_key(&self) -> u64 {
        self.redirect_key.load(SeqCst)
    }

    pub(crate) fn expire_redirects(&self) {
        self.redirect_key.fetch_add(1, SeqCst);
    }

    pub(crate) fn token_realm(&self) -> String {
        self.ports.token_server.as_ref().map(|port| format!("http://{}/token", port.address())).unwrap_or_default()
    }
}
