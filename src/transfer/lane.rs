//! A bounded number of places for blobs in flight, dealt fairly between pairs of registries.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::Limits;
use super::board::BlobKey;
use crate::reference::{Registry, Repository};
use crate::registry::Window;

/// From where to where: what is slow is a registry or the way between two.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Pair {
    pub source: Registry,
    pub destination: Registry,
}

/// What goes by a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneKind {
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

    /// Whether a blob of any size would find a place.
    pub fn have_room(&self) -> bool {
        [&self.workers, &self.tiny].iter().all(|lane| lane.free > 0 || lane.places == 0)
    }

    /// Whether nothing is in flight.
    #[cfg(test)]
    pub fn are_free(&self) -> bool {
        [&self.workers, &self.tiny, &self.mounts].iter().all(|lane| lane.free == lane.places)
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        for lane in [&mut self.workers, &mut self.tiny, &mut self.mounts] {
            lane.pairs.values_mut().for_each(|queue| queue.waiting.clear());
        }
    }

    pub fn get(&mut self, kind: LaneKind) -> &mut Lane {
        match kind {
            LaneKind::Worker => &mut self.workers,
            LaneKind::Tiny => &mut self.tiny,
            LaneKind::Mount => &mut self.mounts,
        }
    }
}

pub(super) struct Lane {
    places: usize,
    free: usize,
    pairs: BTreeMap<Pair, Queue>,
    /// Entries that were taken.
    taken: u64,
}

struct Queue {
    in_flight: usize,
    /// How many entries of all pairs had been taken when the last of these was.
    served: u64,
    /// How many may be in flight, by what the registries of the pair bear.
    window: Window,
    waiting: BinaryHeap<Entry>,
}

impl Queue {
    /// Whether something waits, and not too much is in flight.
    fn may_start(&self) -> bool {
        !self.waiting.is_empty() && self.in_flight < self.window.size()
    }
}

/// The oldest image first, and of its blobs the largest: what takes longest should not begin last.
struct Entry {
    order: (Reverse<usize>, u64),
    key: BlobKey,
    destination: Repository,
}

impl Lane {
    pub fn new(places: usize) -> Self {
        Self { places, free: places, pairs: BTreeMap::new(), taken: 0 }
    }

    pub fn push(&mut self, pair: Pair, job: usize, key: BlobKey, destination: Repository) {
        let order = (Reverse(job), key.size);
        let new = || Queue { in_flight: 0, served: 0, window: Window::new(self.places), waiting: BinaryHeap::new() };
        self.pairs.entry(pair).or_insert_with(new).waiting.push(Entry { order, key, destination });
    }

    /// Takes the first entry of the pair whose turn it is, and a place for it, if there is one.
    pub fn pop(&mut self) -> Option<(Pair, BlobKey, Repository)> {
        if self.free == 0 {
            return None;
        }
        let pair = self.next()?.clone();
        let (key, destination) = self.take(&pair)?;
        self.pairs.get_mut(&pair)?.in_flight += 1;
        self.free -= 1;
        Some((pair, key, destination))
    }

    /// Reuses a place that this pair holds for its next entry. `None` if the lane has one place, if the pair has more than
    /// its window, or if another pair waits with no place, or with fewer than this one would keep without it.
    pub fn pop_for(&mut self, pair: &Pair) -> Option<(BlobKey, Repository)> {
        let queue = self.pairs.get(pair)?;
        let left = queue.in_flight.saturating_sub(1);
        let is_due = |other: &Queue| other.may_start() && (other.in_flight == 0 || other.in_flight < left);
        let may_keep = self.places > 1 && queue.in_flight <= queue.window.size();
        if !may_keep || self.pairs.iter().any(|(other, queue)| other != pair && is_due(queue)) {
            return None;
        }
        self.take(pair)
    }

    /// The pair whose turn it is: of those with work, and not too much of it in flight, the one that has the fewest in
    /// flight; of several such the one that was served longest ago.
    fn next(&self) -> Option<&Pair> {
        let with_work = self.pairs.iter().filter(|(_, queue)| queue.may_start());
        with_work.min_by_key(|(_, queue)| (queue.in_flight, queue.served)).map(|(pair, _)| pair)
    }

    /// The first entry of a pair.
    fn take(&mut self, pair: &Pair) -> Option<(BlobKey, Repository)> {
        let queue = self.pairs.get_mut(pair)?;
        let entry = queue.waiting.pop()?;
        self.taken += 1;
        queue.served = self.taken;
        Some((entry.key, entry.destination))
    }

    /// The generation of what starts now, as the calls below want to hear it.
    pub fn generation(&self, pair: &Pair) -> u64 {
        self.pairs.get(pair).map_or(0, |queue| queue.window.generation())
    }

    /// A registry of the pair says that what started in `generation` was too much at once.
    pub fn overloaded(&mut self, pair: &Pair, generation: u64) {
        if let Some(queue) = self.pairs.get_mut(pair) {
            queue.window.overloaded(generation);
        }
    }

    /// What started in `generation` went well.
    pub fn went_well(&mut self, pair: &Pair, generation: u64) {
        if let Some(queue) = self.pairs.get_mut(pair) {
            queue.window.went_well(generation);
        }
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
    fn a_pair_that_is_overloaded_leaves_its_places_to_others_until_it_does_well() {
        let mut lane = Lane::new(4);
        for job in 0..20 {
            push(&mut lane, "busy.example.com", job, 1);
        }
        let take =
            |lane: &mut Lane| -> Vec<Pair> { std::iter::from_fn(|| lane.pop()).map(|(pair, ..)| pair).collect() };
        let taken = take(&mut lane);
        let (pair, begun) = (&taken[0], lane.generation(&taken[0]));
        taken.iter().for_each(|pair| lane.overloaded(pair, begun));
        taken.iter().for_each(|pair| lane.release(pair));
        assert_eq!(take(&mut lane).len(), 2, "a burst halves it once");
        push(&mut lane, "other.example.com", 20, 1);
        assert_eq!(take(&mut lane).len(), 1);
        for _ in 0..2 + 3 {
            lane.went_well(pair, lane.generation(pair));
        }
        lane.release(pair);
        lane.release(pair);
        assert_eq!(take(&mut lane).len(), 3, "one place is the other's");
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

    #[test]
    fn a_pair_hands_on_no_place_that_would_be_another_s() {
        let mut lane = Lane::new(2);
        for job in 0..9 {
            push(&mut lane, "first.example.com", job, 1);
        }
        let (pair, ..) = lane.pop().unwrap();
        let _ = lane.pop();
        assert!(lane.pop_for(&pair).is_some(), "nobody else wants it");
        push(&mut lane, "late.example.com", 9, 1);
        assert!(lane.pop_for(&pair).is_none());
        lane.release(&pair);
        assert_eq!(lane.pop().map(|(pair, ..)| pair.source.to_string()).as_deref(), Some("late.example.com"));
        assert!(lane.pop_for(&pair).is_some(), "each has one");
    }

    #[test]
    fn who_has_one_place_leaves_it_to_a_pair_that_has_none() {
        let mut lane = Lane::new(2);
        for job in 0..9 {
            push(&mut lane, ["a.example.com", "b.example.com", "c.example.com"][job % 3], job, 1);
        }
        let (pair, ..) = lane.pop().unwrap();
        let _ = lane.pop();
        assert!(lane.pop_for(&pair).is_none());
    }

    #[test]
    fn pairs_that_have_their_share_hand_their_places_on() {
        let mut lane = Lane::new(7);
        for job in 0..99 {
            push(&mut lane, ["a.example.com", "b.example.com"][job % 2], job, 1);
        }
        let flying: Vec<Pair> = std::iter::from_fn(|| lane.pop()).map(|(pair, ..)| pair).collect();
        assert_eq!(flying.len(), 7);
        for _ in 0..5 {
            assert!(flying.iter().all(|pair| lane.pop_for(pair).is_some()));
        }
    }

    #[test]
    fn more_pairs_than_places_are_served_in_turn() {
        let mut lane = Lane::new(2);
        for job in 0..9 {
            push(&mut lane, ["a.example.com", "b.example.com", "c.example.com"][job % 3], job, 1);
        }
        let mut flying: Vec<Pair> = (0..2).filter_map(|_| lane.pop()).map(|(pair, ..)| pair).collect();
        let mut served = flying.clone();
        while served.len() < 6 {
            lane.release(&flying.remove(0));
            flying.extend(lane.pop().map(|(pair, ..)| pair));
            served.extend(flying.last().cloned());
        }
        served.sort();
        served.dedup_by_key(|pair| pair.source.clone());
        assert_eq!(served.len(), 3);
    }
}
