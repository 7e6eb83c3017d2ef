//! The destination repositories of a run: those that are being written to, and what is remembered of the others.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};

use super::destination::{Destination, Known};
use crate::reference::{Registry, Repository};
use crate::registry::Clients;
use crate::shared::lock;

pub(super) struct Destinations {
    clients: Arc<Clients>,
    /// Nothing there is believed to be whole.
    force: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Those that images go to, until the last of them has ended.
    in_work: HashMap<Repository, Arc<Destination>>,
    /// Those that opened an upload.
    open: HashSet<Repository>,
    /// By registry, whether the repository that was last looked at had no tags.
    are_new: HashMap<Registry, Arc<AtomicBool>>,
    /// Whether a round is over. It may have left blobs where there is no tag yet.
    is_repeated: bool,
}

impl Destinations {
    pub fn new(clients: Arc<Clients>, force: bool) -> Self {
        Self { clients, force, state: Mutex::default() }
    }

    /// The repository, to which so many images of this round go.
    pub fn enter(&self, repository: &Repository, images: usize) -> Arc<Destination> {
        let mut state = self.lock();
        if let Some(destination) = state.in_work.get(repository) {
            return destination.clone();
        }
        let known = Known {
            is_open: state.open.contains(repository),
            has_blobs: state.is_repeated,
            others_are_new: state.are_new.entry(repository.registry().clone()).or_default().clone(),
        };
        let destination = Arc::new(Destination::new(self.clients.writer(repository), images, self.force, known));
        state.in_work.insert(repository.clone(), destination.clone());
        destination
    }

    /// The repository, while images go to it.
    pub fn get(&self, repository: &Repository) -> Option<Arc<Destination>> {
        self.lock().in_work.get(repository).cloned()
    }

    /// Its last image of this round has ended. Answers what was known of it.
    pub fn leave(&self, repository: &Repository) -> Option<Arc<Destination>> {
        let mut state = self.lock();
        let destination = state.in_work.remove(repository)?;
        if destination.is_open() {
            state.open.insert(repository.clone());
        }
        Some(destination)
    }

    /// A round is over.
    pub fn end_round(&self) {
        self.lock().is_repeated = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
