//! Kinds of requests that all fail, though nobody is asked too much: a disk is full, or what is behind a proxy is gone.
//!
//! Nobody is held back for that, since it may be true of one repository only. But where nothing of a kind has succeeded for
//! a while, tasks ask once; and of a row of failures one is told now and then.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::Turn;
use super::holds::back_off;
use crate::shared::lock;

/// Failures in a row, each sent a while after the one before, from which on none is repeated: about as long as a registry
/// is searched for that cannot be reached.
const STRIKES: u32 = 6;
/// After so long without a failure the next one begins a row of its own.
const FORGOTTEN: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Failures(Mutex<HashMap<Turn, Row>>);

/// Failures of one kind without success in between.
struct Row {
    strikes: u32,
    /// What was sent before this is of one burst with the last strike.
    next: Instant,
    last: Instant,
    /// Whether the last strike was not told yet.
    is_news: bool,
}

impl Failures {
    /// A request that was sent at `begun` failed.
    pub fn failed(&self, turn: &Turn, begun: Instant) {
        let now = Instant::now();
        let mut rows = self.lock();
        let new = || Row { strikes: 0, next: begun, last: now, is_news: false };
        let row = rows.entry(turn.clone()).or_insert_with(new);
        if begun > row.last + FORGOTTEN {
            *row = new();
        }
        row.last = now;
        if begun >= row.next {
            row.strikes += 1;
            row.next = now + back_off(row.strikes);
            row.is_news = true;
        }
    }

    /// A request of this kind did what was asked, or was refused with good reason.
    pub fn went_well(&self, turn: &Turn) {
        self.lock().remove(turn);
    }

    /// Whether a request that has just failed is not worth repeating.
    pub fn is_hopeless(&self, turn: &Turn) -> bool {
        self.lock().get(turn).is_some_and(|row| row.strikes >= STRIKES)
    }

    /// Whether a failure is to be told aloud: the first after each strike.
    pub fn is_news(&self, turn: &Turn) -> bool {
        self.lock().get_mut(turn).is_none_or(|row| std::mem::take(&mut row.is_news))
    }

    /// Another round: it may have passed.
    pub fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Turn, Row>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::*;
    use crate::registry::exchange::Kind;

    const STARTS: Turn = (Kind::BlobWrite, Method::POST);
    const ENDS: Turn = (Kind::BlobWrite, Method::PUT);

    /// Has requests of a kind fail for so long, some at a time. Answers how many of them were told.
    async fn fail_for(failures: &Failures, time: Duration) -> usize {
        let (mut told, end) = (0, Instant::now() + time);
        while Instant::now() < end {
            let begun = Instant::now();
            tokio::time::sleep(Duration::from_millis(100)).await;
            for _ in 0..9 {
                failures.failed(&STARTS, begun);
                told += usize::from(failures.is_news(&STARTS));
            }
        }
        told
    }

    #[tokio::test(start_paused = true)]
    async fn what_keeps_failing_is_given_up_after_a_while_and_told_now_and_then() {
        let failures = Failures::default();
        fail_for(&failures, Duration::from_secs(7)).await;
        assert!(!failures.is_hopeless(&STARTS), "it may pass");
        let told = fail_for(&failures, Duration::from_secs(60)).await;
        assert!(failures.is_hopeless(&STARTS) && !failures.is_hopeless(&ENDS));
        assert!((1..10).contains(&told), "{told}");
        failures.forget();
        failures.failed(&STARTS, Instant::now());
        assert!(!failures.is_hopeless(&STARTS), "in the next round it may have passed");
    }

    #[tokio::test(start_paused = true)]
    async fn any_success_of_the_kind_and_a_long_time_end_a_row() {
        let failures = Failures::default();
        fail_for(&failures, Duration::from_secs(60)).await;
        failures.went_well(&ENDS);
        assert!(failures.is_hopeless(&STARTS));
        failures.went_well(&STARTS);
        failures.failed(&STARTS, Instant::now());
        assert!(!failures.is_hopeless(&STARTS));
        fail_for(&failures, Duration::from_secs(60)).await;
        tokio::time::sleep(2 * FORGOTTEN).await;
        failures.failed(&STARTS, Instant::now());
        assert!(!failures.is_hopeless(&STARTS));
    }
}
