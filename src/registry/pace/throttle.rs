//! A ceiling for the bytes per second of the whole run: one bucket for all that is read.

use std::num::NonZeroU64;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::shared::lock;

/// What may be made up for after a pause. Timers are coarse: without it they would cost speed.
const SLACK: Duration = Duration::from_millis(20);
/// Most bytes taken at once, so that all streams get on alike whatever the size of what arrives.
const PIECE: u64 = 64 << 10;
/// How often a second even a slow stream gets something.
const TURNS: u64 = 8;

/// Bytes are promised in the order in which they are asked for, each when its time has come.
pub struct Throttle {
    rate: NonZeroU64,
    /// When all that was promised so far will have been given.
    next: Mutex<Instant>,
}

impl Throttle {
    /// For so many bytes a second.
    pub fn new(rate: NonZeroU64) -> Self {
        // The first second is not to have more than the others.
        Self { rate, next: Mutex::new(Instant::now() + SLACK) }
    }

    /// The largest piece that is to be taken at once.
    pub fn piece(&self) -> usize {
        usize::try_from((self.rate.get() / TURNS).clamp(1, PIECE)).unwrap_or(usize::MAX)
    }

    /// Waits until so many bytes may be used.
    pub async fn take(&self, bytes: u64) {
        let until = self.promise(bytes);
        // A timer is no finer than this.
        if until > Instant::now() + Duration::from_millis(1) {
            tokio::time::sleep_until(until).await;
        }
    }

    fn promise(&self, bytes: u64) -> Instant {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.get());
        let length = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let now = Instant::now();
        let mut next = lock(&self.next);
        let start = now.checked_sub(SLACK).map_or(*next, |earliest| earliest.max(*next));
        *next = start + length;
        *next
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    fn throttle(rate: u64) -> Arc<Throttle> {
        Arc::new(Throttle::new(NonZeroU64::new(rate).unwrap()))
    }

    #[tokio::test]
    async fn a_slow_run_takes_small_pieces() {
        let pieces = [1, 8 * 100, u64::MAX].map(|rate| throttle(rate).piece());
        assert_eq!(pieces, [1, 100, 64 << 10]);
    }

    /// What streams that want all they can get have got after so many seconds.
    async fn taken(rate: u64, streams: usize, seconds: u64) -> Vec<u64> {
        let throttle = throttle(rate);
        let counters: Vec<Arc<AtomicU64>> = (0..streams).map(|_| Arc::default()).collect();
        let streams: Vec<_> = counters
            .iter()
            .map(|counter| {
                let (throttle, counter) = (throttle.clone(), counter.clone());
                tokio::spawn(async move {
                    loop {
                        let piece = throttle.piece() as u64;
                        throttle.take(piece).await;
                        counter.fetch_add(piece, Relaxed);
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        streams.iter().for_each(tokio::task::JoinHandle::abort);
        counters.iter().map(|counter| counter.load(Relaxed)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_sum_of_all_streams_is_what_was_asked_for() {
        for (rate, streams) in [(1_000, 1), (50_000_000, 1), (50_000_000, 39), (1_000_000, 7), (3_333, 3)] {
            let sum: u64 = taken(rate, streams, 60).await.iter().sum();
            let most = rate * 60;
            assert!(sum <= most, "{sum} of {most} at {rate}/s by {streams}");
            assert!(sum >= most - most / 50, "{sum} of {most} at {rate}/s by {streams}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_streams_get_alike() {
        let taken = taken(1_000_000, 7, 60).await;
        let (least, most) = (taken.iter().min().unwrap(), taken.iter().max().unwrap());
        assert!(most - least <= 2 * PIECE, "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_used_is_not_made_up_for() {
        let throttle = throttle(1_000);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let begun = Instant::now();
        throttle.take(5_000).await;
        assert!(begun.elapsed() >= Duration::from_secs(5) - SLACK);
    }
}
