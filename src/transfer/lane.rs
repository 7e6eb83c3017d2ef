//! A bounded number of places for blobs in flight, dealt fairly between pairs of registries.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::Limits;
use super::board::BlobKey;
use crate::reference::{Registry, Repository};

/// From where to where: what is slow is a registry or the way between two.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Pair {
    pub source: Registry,
    pub destination: Registry,
}

/// What kind of lane a blob goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A stream.
    Worker,
    /// A blob so small that it is one request.
    Tiny,
    /// No bytes at all.
    Mount,
}

/// One lane for each kind.
pub(super) struct Lanes {
    workers: Lane,
    tiny: Lane,
    mounts: Lane,
}

impl Lanes {
    pub fn new(limits: &Limits) -> Self {
        Self { workers: Lane::new(limits.workers), tiny: Lane::new(limits.tiny), mounts: Lane::new(limits.requests) }
    }

    pub fn get(&mut self, kind: Kind) -> &mut Lane {
        match kind {
            Kind::Worker => &mut self.workers,
            Kind::Tiny => &mut self.tiny,
            Kind::Mount => &mut self.mounts,
        }
    }
}

pub(super) struct Lane {
    free: usize,
    pairs: BTreeMap<Pair, Queue>,
}

#[derive(Default)]
struct Queue {
    in_flight: usize,
    waiting: BinaryHeap<Entry>,
}

/// The oldest image first, and of its blobs the largest: what takes longest should not begin last.
struct Entry {
    order: (Reverse<usize>, u64),
    key: BlobKey,
    destination: Repository,
}

impl Lane {
    pub fn new(places: usize) -> Self {
        Self { free: places, pairs: BTreeMap::new() }
    }

    pub fn push(&mut self, pair: Pair, job: usize, key: BlobKey, destination: Repository) {
        let order = (Reverse(job), key.size);
        self.pairs.entry(pair).or_default().waiting.push(Entry { order, key, destination });
    }

    /// Takes the first entry of the pair that has the fewest in flight, and a place for it, if there is one.
    pub fn pop(&mut self) -> Option<(Pair, BlobKey, Repository)> {
        if self.free == 0 {
            return None;
        }
        let with_work = self.pairs.iter_mut().filter(|(_, queue)| !queue.waiting.is_empty());
        let (pair, queue) = with_work.min_by_key(|(_, queue)| queue.in_flight)?;
        let entry = queue.waiting.pop()?;
        queue.in_flight += 1;
        self.free -= 1;
        Some((pair.clone(), entry.key, entry.destination))
    }

    /// Gives a place back.
    pub fn release(&mut self, pair: &Pair) {
        self.free += 1;
        if let Some(queue) = self.pairs.get_mut(pair) {
            queue.in_flight -= 1;
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn push(lane: &mut Lane, source: &str, job: usize, size: u64) {
        let destination: Repository = "d.example.com/a".parse().unwrap();
        let registry = destination.registry().clone();
        let pair = Pair { source: source.parse().unwrap(), destination: registry.clone() };
        lane.push(pair, job, BlobKey { registry, digest: Digest::of(b""), size }, destination);
    }

    #[test]
    fn the_oldest_image_goes_first_and_its_largest_blob() {
        let mut lane = Lane::new(9);
        for (job, size) in [(2, 900), (1, 10), (1, 20), (0, 5)] {
            push(&mut lane, "s.example.com", job, size);
        }
        let sizes: Vec<u64> = std::iter::from_fn(|| lane.pop()).map(|(_, key, _)| key.size).collect();
        assert_eq!(sizes, [5, 20, 10, 900]);
    }

    #[test]
    fn no_pair_has_all_places_while_another_has_work() {
        let mut lane = Lane::new(4);
        for job in 0..9 {
            push(&mut lane, "slow.example.com", job, 1);
        }
        for job in 9..18 {
            push(&mut lane, "fast.example.com", job, 1);
        }
        let taken: Vec<Pair> = std::iter::from_fn(|| lane.pop()).map(|(pair, ..)| pair).collect();
        assert_eq!(taken.iter().filter(|pair| pair.source.as_str() == "slow.example.com").count(), 2);
        assert_eq!(taken.len(), 4);
        assert!(lane.pop().is_none());
        lane.release(&taken[0]);
        assert_eq!(lane.pop().map(|(pair, ..)| pair).as_ref(), Some(&taken[0]));
    }
}
