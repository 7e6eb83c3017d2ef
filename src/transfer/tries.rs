//! How often one blob is tried from one source, and when again: within a budget that its tries share with the repeated
//! requests and resumed streams of each.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

use super::stream::LONGEST_PAUSE;
use crate::event::Category;
use crate::registry::{Budget, Error};

/// Tries of one blob from one source.
const TRIES: usize = 4;
/// Tries of a blob whose bytes were wrong: another read may be right, many will not be.
const TRIES_IF_CORRUPT: usize = 2;
/// Tries of one whose upload was refused where its address leads: that may have expired, a new one has not.
const TRIES_IF_EXPIRED: usize = 2;
/// How often one blob may be refused because a registry is asked too much. Others may be served in the meantime.
const REFUSALS: usize = 8;
/// Most ways of sending one blob that are tried, as its registry refuses one after the other.
pub(super) const WAYS: usize = 4;

/// Which side failed, and how.
pub(super) struct Fault {
    pub side: Side,
    pub error: Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

pub(super) fn at_source(error: Error) -> Fault {
    Fault { side: Side::Source, error }
}

pub(super) fn at_destination(error: Error) -> Fault {
    Fault { side: Side::Destination, error }
}

impl Fault {
    fn is_lost_upload(&self) -> bool {
        self.side == Side::Destination && self.error.is_lost_upload()
    }

    fn may_have_expired(&self) -> bool {
        self.side == Side::Destination && self.error.may_be_of_expired_address()
    }
}

/// When a blob is tried again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// As soon as it is served: there is a hold on these requests, for which the next try waits.
    WhenServed,
    /// At once: the registry has been understood, and nothing is wrong.
    InAnotherWay,
    After(Duration),
    Never,
}

/// What has come of the tries so far.
pub(super) struct Tries {
    budget: Budget,
    pauses: ExponentialBackoff,
    failed: usize,
    expired: usize,
    refused: usize,
    ways: usize,
}

impl Tries {
    pub fn new(budget: &Budget) -> Self {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(500))
            .with_max_delay(Duration::from_secs(20))
            .with_max_times(TRIES)
            .with_jitter()
            .build();
        Self { budget: budget.clone(), pauses, failed: 0, expired: 0, refused: 0, ways: 0 }
    }

    /// What follows from one more fault.
    pub fn after(&mut self, fault: &Fault) -> Next {
        let error = &fault.error;
        let is_overload = error.is_overload() && error.is_worth_repeating();
        if is_overload && self.refused < REFUSALS && self.budget.spend() {
            self.refused += 1;
            return Next::WhenServed;
        }
        if error.wants_other_portions() && self.ways < WAYS {
            self.ways += 1;
            return Next::InAnotherWay;
        }
        self.failed += 1;
        self.expired += usize::from(fault.may_have_expired());
        let most = if error.category() == Category::Corrupt { TRIES_IF_CORRUPT } else { TRIES };
        let is_lost = fault.is_lost_upload() || fault.may_have_expired() && self.expired < TRIES_IF_EXPIRED;
        let again = self.failed < most && (error.is_worth_repeating() || is_lost);
        match self.pauses.next().filter(|_| again && self.budget.spend()) {
            Some(pause) => Next::After(error.retry_after().map_or(pause, |asked| asked.min(LONGEST_PAUSE))),
            None => Next::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::ErrorKind;

    /// How often a blob with such a fault is tried again, and what comes in the end.
    fn tried_again(fault: impl Fn(Error) -> Fault, kind: &ErrorKind) -> (usize, usize, Next) {
        let mut tries = Tries::new(&Budget::default());
        let (mut paused, mut served) = (0, 0);
        loop {
            let error = Error { registry: "r.example.com".parse().unwrap(), asked: None, kind: kind.clone() };
            match tries.after(&fault(error)) {
                Next::After(_) => paused += 1,
                Next::WhenServed => served += 1,
                end => return (paused, served, end),
            }
        }
    }

    fn status(status: &str, retry_after: Option<u64>) -> ErrorKind {
        let (status, retry_after) = (status.parse().unwrap(), retry_after.map(Duration::from_secs));
        ErrorKind::Status { status, codes: Vec::new(), message: String::new(), retry_after }
    }

    #[test]
    fn what_may_pass_is_tried_a_few_times_and_what_will_not_is_not() {
        let broken = ErrorKind::Broken { reason: String::new() };
        for fault in [at_source, at_destination] {
            assert_eq!(tried_again(fault, &broken), (TRIES - 1, 0, Next::Never));
            assert_eq!(tried_again(fault, &status("403", None)), (0, 0, Next::Never));
            let wrong = ErrorKind::WrongSize { expected: 1, found: 2 };
            assert_eq!(tried_again(fault, &wrong).0, TRIES_IF_CORRUPT - 1, "it is read once more");
        }
    }

    #[test]
    fn a_registry_that_is_asked_too_much_never_uses_up_more_than_the_budget() {
        let all = std::iter::from_fn({
            let budget = Budget::default();
            move || budget.spend().then_some(())
        });
        let (paused, served, end) = tried_again(at_source, &status("429", None));
        assert_eq!((paused + served, end), (all.count(), Next::Never));
        assert!(served > 0);
    }

    #[test]
    fn an_upload_is_not_paused_for_longer_than_it_lives() {
        let mut tries = Tries::new(&Budget::default());
        let error = |kind| Error { registry: "r.example.com".parse().unwrap(), asked: None, kind };
        let next = tries.after(&at_destination(error(status("500", Some(3600)))));
        assert!(matches!(next, Next::After(pause) if pause <= LONGEST_PAUSE) || next == Next::Never, "{next:?}");
    }
}
