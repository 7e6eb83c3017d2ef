//! Where each blob of a registry can be mounted from, held in few bytes: there is one entry for all that a run moves.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::reference::Repository;

/// Sizes are below it (OCI image-spec `descriptor.md`: an int64).
const SEALED: u64 = 1 << 63;

/// Of each blob one repository that has it. Trees: they grow with the blobs, where a hash table would have twice the room,
/// and thrice while it grows.
#[derive(Default)]
pub(super) struct Homes {
    /// The common digests by what they hold, without the room for others.
    sha256: BTreeMap<[u8; 32], Home>,
    others: BTreeMap<Digest, Home>,
}

pub(super) struct Home {
    pub repository: Repository,
    /// The size, and whether it is sealed.
    size: u64,
}

impl Homes {
    pub fn get(&self, digest: &Digest) -> Option<&Home> {
        match digest.sha256() {
            Some(bytes) => self.sha256.get(bytes),
            None => self.others.get(digest),
        }
    }

    pub fn get_mut(&mut self, digest: &Digest) -> Option<&mut Home> {
        match digest.sha256() {
            Some(bytes) => self.sha256.get_mut(bytes),
            None => self.others.get_mut(digest),
        }
    }

    pub fn insert(&mut self, digest: &Digest, home: Home) {
        match digest.sha256() {
            Some(bytes) => self.sha256.insert(*bytes, home),
            None => self.others.insert(digest.clone(), home),
        };
    }

    pub fn remove(&mut self, digest: &Digest) -> Option<Home> {
        match digest.sha256() {
            Some(bytes) => self.sha256.remove(bytes),
            None => self.others.remove(digest),
        }
    }
}

impl Home {
    /// A home that no manifest has sealed yet.
    pub fn new(repository: Repository, size: u64) -> Self {
        Self { repository, size: size & !SEALED }
    }

    pub fn size(&self) -> u64 {
        self.size & !SEALED
    }

    /// Whether a manifest there names the blob.
    pub fn is_sealed(&self) -> bool {
        self.size & SEALED != 0
    }

    /// A manifest in `repository` names the blob. Answers where it was at home before.
    pub fn seal(&mut self, repository: Repository) -> Repository {
        self.size |= SEALED;
        std::mem::replace(&mut self.repository, repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_landed_blob_is_held_in_few_bytes() {
        assert!(size_of::<([u8; 32], Home)>() <= 48);
    }

    #[test]
    fn digests_of_either_algorithm_have_homes_of_their_own() {
        let [a, b]: [Repository; 2] = ["d.example.com/a", "d.example.com/b"].map(|name| name.parse().unwrap());
        let short = Digest::of(b"blob");
        let long: Digest = format!("sha512:{0}{0}", short.hex()).parse().unwrap();
        let mut homes = Homes::default();
        homes.insert(&short, Home::new(a.clone(), 5));
        homes.insert(&long, Home::new(b.clone(), 5));
        assert_eq!(homes.get_mut(&short).unwrap().seal(b.clone()), a);
        assert!(homes.get(&short).is_some_and(|home| home.is_sealed() && home.size() == 5 && home.repository == b));
        assert!(homes.remove(&long).is_some_and(|home| !home.is_sealed() && home.repository == b));
        assert!(homes.get(&long).is_none() && homes.get(&short).is_some());
    }
}
