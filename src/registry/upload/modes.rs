//! What one registry, or a proxy before it, was found to take in one request; and so how a blob is sent there.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use super::refusals::Complaint;
use crate::shared::lock;

/// The first size of chunk that is tried: what GHCR takes at most. ECR, which wants more, takes blobs whole.
const FIRST_CHUNK: u64 = 4 << 20;
/// No smaller chunk is worth its request.
const SMALLEST_CHUNK: u64 = 64 << 10;
/// No larger one is worth its memory: each worker holds one.
pub(super) const LARGEST_CHUNK: u64 = 32 << 20;

/// How the bytes of a blob are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// In one PUT: the fewest requests, and what most registries take.
    Whole,
    /// In one PATCH that does not say its length, as docker does: it gets past what judges by that length.
    Streamed,
    /// In PATCHes of a part each, with their place.
    Chunks,
}

/// What a registry has taught so far in this run.
#[derive(Debug, Default)]
pub(in crate::registry) struct Modes(Mutex<Known>);

#[derive(Debug)]
struct Known {
    /// The largest blob that was taken whole, or the largest chunk.
    taken: u64,
    /// The smallest blob that was not taken whole.
    refused: Option<u64>,
    streams: bool,
    chunks: bool,
    /// The sizes of blobs that took longer than a token lasts, and whether they go in chunks for it. No other does.
    slow: HashMap<u64, bool>,
    chunk: u64,
    too_small: u64,
    too_large: u64,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            taken: 0,
            refused: None,
            streams: true,
            chunks: true,
            slow: HashMap::new(),
            chunk: FIRST_CHUNK,
            too_small: 0,
            too_large: LARGEST_CHUNK + 1,
        }
    }
}

impl Modes {
    /// Whether a blob of `size` bytes goes in one request.
    pub(in crate::registry) fn sends_whole(&self, size: u64) -> bool {
        self.mode(size) == Some(Mode::Whole)
    }

    /// How to send a blob of `size` bytes. After a refusal, only blobs no larger than the largest accepted, or than 64 KiB,
    /// are sent whole: every refusal costs another read of the source. `None` if no way is left.
    pub(super) fn mode(&self, size: u64) -> Option<Mode> {
        let known = self.lock();
        if known.chunks && known.slow.get(&size) == Some(&true) {
            return Some(Mode::Chunks);
        }
        let whole = known.refused.is_none_or(|refused| size < refused && size <= known.taken.max(SMALLEST_CHUNK));
        match (whole, known.streams, known.chunks) {
            (true, ..) => Some(Mode::Whole),
            (false, true, _) => Some(Mode::Streamed),
            (false, false, true) => Some(Mode::Chunks),
            (false, false, false) => None,
        }
    }

    /// A blob of this size was taken whole.
    pub(super) fn took(&self, size: u64) {
        let mut known = self.lock();
        if known.refused.is_none_or(|refused| size < refused) {
            known.taken = known.taken.max(size);
        }
    }

    /// A blob of this size was not taken whole.
    pub(super) fn refused_whole(&self, size: u64) {
        let mut known = self.lock();
        known.refused = Some(known.refused.map_or(size, |refused| refused.min(size)));
    }

    /// A blob was not taken whole, and not for its size. Says whether none has been: then none is sent so again.
    pub(super) fn takes_none_whole(&self) -> bool {
        let mut known = self.lock();
        if known.taken == 0 {
            known.refused = Some(0);
        }
        known.taken == 0
    }

    /// A PATCH without length was not taken.
    pub(super) fn refused_stream(&self) {
        self.lock().streams = false;
    }

    /// A blob of this size took longer than a token lasts. Says whether it goes in chunks now, and did not before.
    pub(super) fn takes_too_long(&self, size: u64) -> bool {
        let mut known = self.lock();
        let is_new = known.chunks && !known.slow.contains_key(&size);
        if is_new {
            known.slow.insert(size, true);
        }
        is_new
    }

    /// No chunk was taken of a blob of this size. Says whether it went so for slowness alone: then it goes as before.
    pub(super) fn takes_no_chunk_of(&self, size: u64) -> bool {
        self.lock().slow.insert(size, false) == Some(true)
    }

    /// What was sent in chunks is not there whole.
    pub(super) fn loses_chunks(&self) {
        self.lock().chunks = false;
    }

    /// The size of the next chunk, where the registry asked for `at_least` so many bytes.
    pub(super) fn chunk(&self, at_least: u64) -> u64 {
        self.lock().chunk.max(at_least)
    }

    /// A chunk of this size was not taken. Says whether one of another size may be.
    pub(super) fn refused_chunk(&self, size: u64, complaint: Complaint) -> bool {
        let mut known = self.lock();
        let next = match complaint {
            Complaint::TooLarge => {
                known.too_large = known.too_large.min(size);
                // The next power of two below: limits are often such.
                let halved = 1 << size.saturating_sub(1).max(1).ilog2();
                known.chunk.min(halved).max(SMALLEST_CHUNK)
            }
            Complaint::TooSmall => {
                known.too_small = known.too_small.max(size);
                known.chunk.max(size.saturating_mul(2))
            }
        };
        let is_new = next > known.too_small && next < known.too_large;
        if is_new {
            known.chunk = next;
        }
        is_new
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn one_way_after_the_other_is_tried_and_the_one_that_works_is_remembered() {
        let modes = Modes::default();
        assert_eq!(modes.mode(u64::MAX), Some(Mode::Whole));
        modes.took(100_000);
        modes.refused_whole(30 * MIB);
        assert_eq!((modes.mode(100_000), modes.mode(100_001)), (Some(Mode::Whole), Some(Mode::Streamed)));
        assert_eq!(modes.mode(30 * MIB), Some(Mode::Streamed));
        modes.refused_stream();
        assert_eq!(modes.mode(30 * MIB), Some(Mode::Chunks));
        modes.took(MIB);
        assert_eq!((modes.mode(MIB), modes.mode(MIB + 1)), (Some(Mode::Whole), Some(Mode::Chunks)));
        modes.loses_chunks();
        assert_eq!((modes.mode(MIB), modes.mode(MIB + 1)), (Some(Mode::Whole), None));
    }

    #[test]
    fn what_was_taken_once_and_then_refused_is_not_sent_so_again() {
        let modes = Modes::default();
        modes.took(50);
        modes.refused_whole(40);
        assert_eq!((modes.mode(39), modes.mode(40)), (Some(Mode::Whole), Some(Mode::Streamed)));
        modes.took(60);
        assert_eq!(modes.mode(50), Some(Mode::Streamed));
    }

    #[test]
    fn what_is_smaller_than_any_limit_is_sent_whole_also_when_nothing_was_taken() {
        let modes = Modes::default();
        modes.refused_whole(MIB);
        assert_eq!(modes.mode(SMALLEST_CHUNK), Some(Mode::Whole));
        assert_eq!(modes.mode(SMALLEST_CHUNK + 1), Some(Mode::Streamed));
        modes.refused_whole(2_000);
        assert_eq!((modes.mode(1_999), modes.mode(2_000)), (Some(Mode::Whole), Some(Mode::Streamed)));
    }

    #[test]
    fn a_registry_that_takes_none_whole_is_sent_none_so_but_one_that_did_is() {
        let modes = Modes::default();
        assert!(modes.takes_none_whole());
        assert_eq!((modes.mode(0), modes.mode(1)), (Some(Mode::Streamed), Some(Mode::Streamed)));
        let modes = Modes::default();
        modes.took(10);
        assert!(!modes.takes_none_whole());
        assert_eq!(modes.mode(20), Some(Mode::Whole));
    }

    #[test]
    fn a_blob_that_takes_too_long_goes_in_chunks_and_no_other() {
        let modes = Modes::default();
        modes.took(10);
        assert!(modes.takes_too_long(20));
        assert_eq!([19, 20, 21].map(|size| modes.mode(size)), [Mode::Whole, Mode::Chunks, Mode::Whole].map(Some));
        modes.refused_whole(21);
        assert_eq!(modes.mode(MIB), Some(Mode::Streamed));
        modes.loses_chunks();
        assert_eq!((modes.mode(20), modes.mode(MIB)), (Some(Mode::Whole), Some(Mode::Streamed)));
        assert!(!modes.takes_too_long(20) && !modes.takes_too_long(30));
    }

    #[test]
    fn where_there_are_no_chunks_a_blob_that_takes_too_long_changes_nothing() {
        let modes = Modes::default();
        modes.refused_stream();
        modes.loses_chunks();
        assert!(!modes.takes_too_long(20));
        assert_eq!([20, 30].map(|size| modes.mode(size)), [Some(Mode::Whole); 2]);
    }

    #[test]
    fn a_blob_that_takes_too_long_and_whose_chunks_are_refused_goes_as_before() {
        let modes = Modes::default();
        assert!(modes.takes_too_long(20));
        assert!(modes.takes_no_chunk_of(20) && !modes.takes_no_chunk_of(20));
        assert_eq!(modes.mode(20), Some(Mode::Whole));
        assert!(!modes.takes_too_long(20), "it would go on so for ever");
    }

    #[test]
    fn a_chunk_that_fits_is_found_by_halving() {
        let modes = Modes::default();
        let limit = MIB;
        while modes.chunk(0) > limit {
            assert!(modes.refused_chunk(modes.chunk(0), Complaint::TooLarge));
        }
        assert_eq!(modes.chunk(0), MIB);
        // Another worker's chunk was under way when that was learnt.
        assert!(modes.refused_chunk(FIRST_CHUNK, Complaint::TooLarge));
        assert_eq!(modes.chunk(0), MIB);
    }

    #[test]
    fn a_chunk_that_never_fits_is_not_looked_for_for_ever() {
        let modes = Modes::default();
        let mut tries = 0;
        while modes.refused_chunk(modes.chunk(0), Complaint::TooLarge) {
            tries += 1;
        }
        assert_eq!((modes.chunk(0), tries), (SMALLEST_CHUNK, 6));

        let modes = Modes::default();
        assert!(modes.refused_chunk(modes.chunk(0), Complaint::TooSmall));
        assert_eq!(modes.chunk(0), 8 * MIB, "ECR takes parts of 5 to 10 MiB");
        assert!(!modes.refused_chunk(8 * MIB, Complaint::TooLarge), "what is between was too small");
    }

    #[test]
    fn the_registrys_own_word_on_chunks_counts() {
        let modes = Modes::default();
        assert_eq!((modes.chunk(5 * MIB), modes.chunk(1)), (5 * MIB, FIRST_CHUNK));
    }
}
