//! Where the blobs of a run are: what has landed is known to its end, so it is held in few bytes.

use std::collections::{HashMap, HashSet};

use super::BlobKey;
use super::homes::{Home, Homes};
use crate::digest::Digest;
use crate::reference::{Registry, Repository};

#[derive(Default)]
pub(super) struct Whereabouts {
    homes: HashMap<Registry, Homes>,
    /// The repositories that have work, with what else each is known to have.
    open: HashMap<Repository, HashMap<Digest, u64>>,
    /// What was known to be there until a registry denied it. How it came there has been told.
    denied: HashMap<Repository, HashSet<Digest>>,
}

impl Whereabouts {
    /// Whether it is known to be there.
    pub fn has(&self, repository: &Repository, key: &BlobKey) -> bool {
        self.home(key).is_some_and(|home| home.repository == *repository)
            || self.open.get(repository).is_some_and(|others| others.get(&key.digest) == Some(&key.size))
    }

    /// Where the blob can be mounted from.
    pub fn home(&self, key: &BlobKey) -> Option<&Home> {
        self.homes.get(&key.registry)?.get(&key.digest).filter(|home| home.size() == key.size)
    }

    /// The repository has work, until it is closed.
    pub fn open(&mut self, repository: &Repository) {
        if !self.open.contains_key(repository) {
            self.open.insert(repository.clone(), HashMap::new());
        }
    }

    pub fn close(&mut self, repository: &Repository) {
        self.open.remove(repository);
    }

    /// The blob is in `repository`. Its size is certain if it was `counted`: what a registry links or has is not.
    pub fn landed(&mut self, repository: &Repository, key: &BlobKey, counted: bool) {
        match self.homes.get(&key.registry).and_then(|homes| homes.get(&key.digest)) {
            Some(home) if home.size() != key.size && !counted => self.note(repository, &key.digest, key.size),
            Some(home) if home.size() == key.size && home.repository == *repository => {}
            Some(home) if home.size() == key.size => self.note(repository, &key.digest, key.size),
            _ => {
                let home = Home::new(repository.clone(), key.size);
                self.homes.entry(key.registry.clone()).or_default().insert(&key.digest, home);
            }
        }
    }

    /// A manifest in `repository` names the blob: a better home than one without.
    pub fn sealed(&mut self, repository: &Repository, digest: &Digest, size: u64) {
        let home = self.homes.get_mut(repository.registry()).and_then(|homes| homes.get_mut(digest));
        let Some(home) = home.filter(|home| !home.is_sealed() && home.size() == size) else { return };
        let former = home.seal(repository.clone());
        if former != *repository {
            self.note(&former, digest, size);
        }
    }

    /// The blob is not in `repository`, whatever was believed. Its home goes, too, wherever that is: a mount from there may be
    /// what was wrongly believed.
    pub fn forget(&mut self, repository: &Repository, digest: &Digest) {
        let homes = self.homes.get_mut(repository.registry());
        let home = homes.and_then(|homes| homes.remove(digest));
        let was_at_home = home.as_ref().is_some_and(|home| home.repository == *repository);
        if let Some(home) = home {
            self.note(&home.repository, digest, home.size());
        }
        let was_noted = self.open.get_mut(repository).is_some_and(|others| others.remove(digest).is_some());
        if was_at_home || was_noted {
            self.denied.entry(repository.clone()).or_default().insert(digest.clone());
        }
    }

    /// Whether it was known to be there before a registry denied it.
    pub fn was_denied(&self, repository: &Repository, digest: &Digest) -> bool {
        self.denied.get(repository).is_some_and(|denied| denied.contains(digest))
    }

    /// Another repository is its home, and this one has it as well. Of one without work that need not be known.
    fn note(&mut self, repository: &Repository, digest: &Digest, size: u64) {
        if let Some(others) = self.open.get_mut(repository) {
            others.insert(digest.clone(), size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1 << 20;

    fn repository(path: &str) -> Repository {
        format!("d.example.com/{path}").parse().unwrap()
    }

    fn key() -> BlobKey {
        BlobKey { registry: repository("a").registry().clone(), digest: Digest::of(b"blob"), size: SIZE }
    }

    /// Repositories `a` and `b` have work, and the blob landed in both, first in `a`.
    fn landed_in_two() -> (Whereabouts, [Repository; 2]) {
        let (mut whereabouts, both) = (Whereabouts::default(), ["a", "b"].map(repository));
        for repository in &both {
            whereabouts.open(repository);
            whereabouts.landed(repository, &key(), true);
        }
        (whereabouts, both)
    }

    #[test]
    fn a_better_home_leaves_the_blob_where_it_was() {
        let (mut whereabouts, [a, b]) = landed_in_two();
        let home = |whereabouts: &Whereabouts| {
            whereabouts.home(&key()).map(|home| (home.repository.clone(), home.is_sealed()))
        };
        assert_eq!(home(&whereabouts), Some((a.clone(), false)));
        whereabouts.sealed(&b, &key().digest, SIZE);
        whereabouts.sealed(&a, &key().digest, SIZE);
        assert_eq!(home(&whereabouts), Some((b.clone(), true)));
        assert!(whereabouts.has(&a, &key()) && whereabouts.has(&b, &key()));
    }

    #[test]
    fn what_is_forgotten_in_one_place_is_known_in_the_other_but_not_mounted() {
        let (mut whereabouts, [a, b]) = landed_in_two();
        whereabouts.forget(&b, &key().digest);
        assert!(whereabouts.home(&key()).is_none());
        assert!(whereabouts.has(&a, &key()) && !whereabouts.has(&b, &key()));
        assert!(!whereabouts.was_denied(&a, &key().digest) && whereabouts.was_denied(&b, &key().digest));
        whereabouts.forget(&b, &Digest::of(b"unknown"));
        assert!(!whereabouts.was_denied(&b, &Digest::of(b"unknown")), "nothing was told of it");
        whereabouts.forget(&a, &key().digest);
        whereabouts.close(&a);
        assert!(whereabouts.was_denied(&a, &key().digest), "also in the next round");
    }

    #[test]
    fn of_a_repository_without_work_only_homes_are_kept() {
        let (mut whereabouts, [a, b]) = landed_in_two();
        whereabouts.close(&b);
        whereabouts.landed(&b, &key(), true);
        assert!(whereabouts.has(&a, &key()) && !whereabouts.has(&b, &key()));
        assert!(!whereabouts.open.contains_key(&b));
    }

    #[test]
    fn a_wrong_size_is_nowhere() {
        let (mut whereabouts, [a, _]) = landed_in_two();
        let wrong = BlobKey { size: 5, ..key() };
        whereabouts.sealed(&a, &wrong.digest, wrong.size);
        assert!(!whereabouts.has(&a, &wrong) && whereabouts.home(&wrong).is_none());
        assert!(whereabouts.home(&key()).is_some_and(|home| !home.is_sealed()));
    }

    #[test]
    fn a_size_that_was_counted_is_believed_rather_than_one_that_a_registry_let_pass() {
        let (mut whereabouts, [a, b]) = (Whereabouts::default(), ["a", "b"].map(repository));
        let wrong = BlobKey { size: 5, ..key() };
        whereabouts.landed(&a, &wrong, false);
        whereabouts.landed(&b, &key(), true);
        assert!(whereabouts.home(&key()).is_some_and(|home| home.repository == b));
        whereabouts.landed(&a, &wrong, false);
        assert!(whereabouts.home(&key()).is_some());
    }
}
