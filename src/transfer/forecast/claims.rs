//! To which image a blob counts: to the first in the plan that would bring it to its destination registry.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::nodes::Blob;
use crate::reference::{Identifier, Registry, Repository};

/// How a blob would come to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It is there, or an earlier image brings it there.
    Present,
    /// Another repository of the registry has it, or will have it by then.
    Mount,
    /// It is there, or it has to be sent: the registry has to be asked.
    Unclear,
}

/// What the images so far bring where.
#[derive(Default)]
pub(super) struct Claims {
    registries: HashMap<Registry, HashSet<Arc<Blob>>>,
    repositories: HashMap<Repository, HashSet<Arc<Blob>>>,
    /// Tags and digests of what refers to images.
    referrers: HashMap<Repository, HashSet<Identifier>>,
}

impl Claims {
    /// Claims the blob for an image that goes from `source` to `destination`, as far as no earlier one has.
    pub fn claim(&mut self, blob: &Arc<Blob>, source: &Repository, destination: &Repository) -> Way {
        let is_new_here = insert(&mut self.repositories, destination, blob);
        if !is_new_here || source == destination {
            return Way::Present;
        }
        let is_new_there = insert(&mut self.registries, destination.registry(), blob);
        if !is_new_there || source.registry() == destination.registry() { Way::Mount } else { Way::Unclear }
    }

    /// Claims what refers to an image, if no earlier one has: it travels once.
    pub fn claim_referrer(&mut self, referrer: &Identifier, destination: &Repository) -> bool {
        self.referrers.entry(destination.clone()).or_default().insert(referrer.clone())
    }

    /// Gives such a thing back.
    pub fn release_referrer(&mut self, referrer: &Identifier, destination: &Repository) {
        self.referrers.get_mut(destination).map(|referrers| referrers.remove(referrer));
    }

    /// Gives back what was claimed so.
    pub fn release(&mut self, blob: &Arc<Blob>, way: Way, destination: &Repository) {
        if way != Way::Present {
            self.repositories.get_mut(destination).map(|blobs| blobs.remove(blob));
        }
        // Elsewhere there it is an earlier image's, or there already.
        if way == Way::Unclear {
            self.registries.get_mut(destination.registry()).map(|blobs| blobs.remove(blob));
        }
    }
}

fn insert<K: Clone + Eq + std::hash::Hash>(
    places: &mut HashMap<K, HashSet<Arc<Blob>>>,
    place: &K,
    blob: &Arc<Blob>,
) -> bool {
    match places.get_mut(place) {
        Some(blobs) => blobs.insert(blob.clone()),
        None => places.entry(place.clone()).or_default().insert(blob.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_blob_is_sent_once_to_a_registry_and_mounted_elsewhere_there() {
        let repository = |name: &str| name.parse::<Repository>().unwrap();
        let (source, a, b) = (repository("s.io/x"), repository("d.io/a"), repository("d.io/b"));
        let blob = Arc::new(Blob { digest: Digest::of(b""), size: 0 });
        let mut claims = Claims::default();
        assert_eq!(claims.claim(&blob, &source, &a), Way::Unclear);
        assert_eq!(claims.claim(&blob, &source, &a), Way::Present);
        assert_eq!(claims.claim(&blob, &source, &b), Way::Mount);
        assert_eq!(claims.claim(&blob, &source, &repository("e.io/a")), Way::Unclear, "another registry");
        claims.release(&blob, Way::Mount, &b);
        assert_eq!(claims.claim(&blob, &source, &b), Way::Mount, "the first is still to bring it");
        claims.release(&blob, Way::Present, &a);
        assert_eq!(claims.claim(&blob, &source, &a), Way::Present, "an earlier image brings it");
        claims.release(&blob, Way::Unclear, &a);
        assert_eq!(claims.claim(&blob, &source, &a), Way::Unclear, "it was not brought");
    }

    #[test]
    fn within_a_registry_nothing_is_sent() {
        let repository = |name: &str| name.parse::<Repository>().unwrap();
        let (a, b) = (repository("d.io/a"), repository("d.io/b"));
        let blob = Arc::new(Blob { digest: Digest::of(b""), size: 0 });
        let mut claims = Claims::default();
        assert_eq!(claims.claim(&blob, &a, &b), Way::Mount);
        assert_eq!(claims.claim(&blob, &a, &a), Way::Present);
    }
}
