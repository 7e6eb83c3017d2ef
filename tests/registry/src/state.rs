//! What all listeners of one registry share.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::builder::Settings;
use crate::digest::digest_of;
use crate::hook::Hooks;
use crate::log::Log;
use crate::store::Store;
use crate::tokens::Tokens;
use crate::uploads::Uploads;

/// The state of a running registry. No lock in it is held while anything is awaited.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) addresses: Addresses,
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

/// Where the listeners are.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) registry: SocketAddr,
    pub(crate) token_server: Option<SocketAddr>,
    pub(crate) blob_origin: Option<SocketAddr>,
}

impl Shared {
    pub(crate) fn new(settings: Settings, addresses: Addresses) -> Self {
        Shared {
            log: Arc::new(Log::new(settings.keep_log)),
            settings,
            addresses,
            hooks: Hooks::default(),
            tokens: Tokens::default(),
            uploads: Uploads::default(),
            connections: AtomicU64::new(0),
            salt: RandomState::new().hash_one(addresses.registry),
            made: Mutex::default(),
            store: Mutex::default(),
            secrets: AtomicU64::new(0),
            redirect_key: AtomicU64::new(1),
        }
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.addresses.token_server.map(|address| format!("http://{address}/token")).unwrap_or_default()
    }
}
