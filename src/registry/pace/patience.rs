//! How long and how often one piece of work tries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::LONGEST_WAIT;

/// Failures that pass, which one blob's move from one source may have without progress in between.
const TRIES: u32 = 6;

/// The tries of one piece of work, at whatever depth: repeated requests, reopened streams, new uploads. Clones are the
/// same budget.
#[derive(Debug, Clone)]
pub struct Budget(Arc<AtomicU32>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(TRIES)))
    }
}

impl Budget {
    /// Whether another try may be made after a failure. It is paid for with this question.
    pub fn spend(&self) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// There was progress: what failed before does not count any more.
    pub fn refill(&self) {
        self.0.store(TRIES, Relaxed);
    }
}

/// What somebody who asks a registry is ready to bear.
#[derive(Debug, Clone)]
pub struct Patience {
    /// Longest wait for the end of a hold.
    pub longest: Duration,
    /// What its tries are counted against, beside the limit that each request has.
    pub budget: Option<Budget>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { longest: LONGEST_WAIT, budget: None }
    }
}

impl Patience {
    /// Whether another try is within the budget. It is paid for with this question.
    pub fn spend(&self) -> bool {
        self.budget.as_ref().is_none_or(Budget::spend)
    }

    /// There was progress: what failed before does not count any more.
    pub fn refill(&self) {
        if let Some(budget) = &self.budget {
            budget.refill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_one_for_all_who_share_it() {
        let budget = Budget::default();
        let patience = Patience { budget: Some(budget.clone()), ..Patience::default() };
        let spent = (0..20).filter(|n| if n % 2 == 0 { budget.spend() } else { patience.spend() }).count();
        assert_eq!(spent, TRIES as usize);
        budget.refill();
        assert!(patience.spend());
        assert!((0..99).all(|_| Patience::default().spend()), "who has no budget is limited elsewhere");
    }
}
