//! Manifests of registries that count how often they are read: each is read once for all who need it.
//!
//! What counts there is the GET of a manifest, not its HEAD. So its digest is asked for first, and what was read a moment
//! ago, for another tag or another destination, is not read again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use crate::digest::Digest;
use crate::reference::{Identifier, Repository};
use crate::registry::{Error, Manifest, RepositoryClient};
use crate::shared::{Shared, lock};

/// Manifests remembered. The images of a repository come near each other, and a quota is not much larger.
const REMEMBERED: usize = 128;
/// Larger ones are rare, and not remembered.
const LARGEST: usize = 64 << 10;

/// By where it is read: what one repository refuses or lacks another may have.
type Key = (Repository, Digest);
type Slot = Arc<Shared<Arc<Manifest>, Error>>;

#[derive(Default)]
pub(super) struct Pulls(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    slots: HashMap<Key, Slot>,
    /// The oldest first.
    order: VecDeque<Key>,
}

impl Pulls {
    /// The manifest with this digest, read from `source` unless it was a moment ago.
    pub async fn read(&self, source: &RepositoryClient, digest: &Digest) -> Result<Arc<Manifest>, Error> {
        let identifier = Identifier::from(digest.clone());
        if !source.counts_pulls() {
            return source.manifest(&identifier).await.map(Arc::new);
        }
        let slot = self.slot((source.repository().clone(), digest.clone()));
        // Boxed like all that is rare.
        let read = async || source.manifest(&identifier).await.map(Arc::new);
        let manifest = Box::pin(slot.get(|_| true, read)).await?;
        if manifest.bytes.len() > LARGEST {
            slot.discard(|_| true);
        }
        Ok(manifest)
    }

    fn slot(&self, key: Key) -> Slot {
        let mut recent = lock(&self.0);
        if let Some(slot) = recent.slots.get(&key) {
            return slot.clone();
        }
        if recent.order.len() == REMEMBERED
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.slots.remove(&oldest);
        }
        recent.order.push_back(key.clone());
        recent.slots.entry(key).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_that_were_read_last_are_remembered() {
        let pulls = Pulls::default();
        let repository: Repository = "s.example.com/a".parse().unwrap();
        let slot = |n: usize| pulls.slot((repository.clone(), Digest::of(&n.to_le_bytes())));
        let all: Vec<Slot> = (0..REMEMBERED).map(slot).collect();
        assert!(all.iter().enumerate().all(|(n, is)| Arc::ptr_eq(is, &slot(n))));
        slot(REMEMBERED);
        assert!(Arc::ptr_eq(&all[1], &slot(1)), "there is room for it");
        assert!(!Arc::ptr_eq(&all[0], &slot(0)), "it was the oldest");
        let recent = lock(&pulls.0);
        assert_eq!((recent.slots.len(), recent.order.len()), (REMEMBERED, REMEMBERED));
    }
}
