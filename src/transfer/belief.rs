//! What can be believed of a registry's answers to mounts.
//!
//! `POST ?mount=D&from=<the same repository>` is 201 if the blob is there and 202 with an upload if not: existence and
//! the start of an upload in one request. It is no promise of the specification, so it is believed only of registries
//! that were found to have told the truth once, and given up at the first odd answer. A mount from another repository
//! is one, and is believed until the registry turns out not to have what it granted. How many such mounts are granted
//! or refused, and so whether they are worth a request, is the board's.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use crate::reference::Registry;
use crate::shared::lock;

#[derive(Default)]
pub(super) struct Beliefs(Mutex<HashMap<Registry, Belief>>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Belief {
    /// Mounts are asked for; those from the repository itself are checked.
    #[default]
    Untried,
    /// A mount from the repository itself tells whether the blob is there.
    Truthful,
    /// Such a mount says nothing; others may.
    NotOfItself,
    /// It said that it had what it had not: no mount is asked for.
    Wrong,
}

impl Beliefs {
    /// Whether it is worth asking for a mount from another repository.
    pub fn may_mount(&self, registry: &Registry) -> bool {
        self.of(registry) != Belief::Wrong
    }

    /// Whether it is worth asking for a mount from the repository itself.
    pub fn may_tell(&self, registry: &Registry) -> bool {
        matches!(self.of(registry), Belief::Untried | Belief::Truthful)
    }

    /// Whether the answer to that says for certain if the blob is there.
    pub fn tells(&self, registry: &Registry) -> bool {
        self.of(registry) == Belief::Truthful
    }

    /// A mount from the repository itself was granted, and the blob is there.
    pub fn told_truth(&self, registry: &Registry) {
        let mut beliefs = self.lock();
        let belief = beliefs.entry(registry.clone()).or_default();
        if *belief == Belief::Untried {
            *belief = Belief::Truthful;
        }
    }

    /// A mount from the repository itself was answered as if the blob were not there, or not at all.
    pub fn tells_nothing(&self, registry: &Registry) {
        let mut beliefs = self.lock();
        let belief = beliefs.entry(registry.clone()).or_default();
        if *belief != Belief::Wrong {
            *belief = Belief::NotOfItself;
        }
    }

    /// The registry does not have what it was believed to have.
    pub fn was_wrong(&self, registry: &Registry) {
        self.lock().insert(registry.clone(), Belief::Wrong);
    }

    fn of(&self, registry: &Registry) -> Belief {
        self.lock().get(registry).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Registry, Belief>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrong_is_not_believed_again() {
        let (beliefs, registry) = (Beliefs::default(), "r.example.com".parse().unwrap());
        assert!(beliefs.may_mount(&registry) && beliefs.may_tell(&registry) && !beliefs.tells(&registry));
        beliefs.told_truth(&registry);
        assert!(beliefs.tells(&registry));
        beliefs.tells_nothing(&registry);
        assert!(beliefs.may_mount(&registry) && !beliefs.may_tell(&registry));
        beliefs.was_wrong(&registry);
        beliefs.told_truth(&registry);
        beliefs.tells_nothing(&registry);
        assert!(!beliefs.may_mount(&registry) && !beliefs.may_tell(&registry));
    }
}
