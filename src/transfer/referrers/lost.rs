//! Why something that refers to an image is not there, while the image is, and all else that refers to it.

use crate::event::{Category, Failure};

/// Why the first that cannot be had is not there: of those that may come in another round, if there are any.
#[derive(Debug, Default)]
pub(in crate::transfer) struct Lost(Option<Box<Failure>>);

impl Lost {
    /// Notes a failure that concerns one of many. Also one that may pass by itself keeps no other away: what is damaged for
    /// ever can fail so in every round. An interruption ends them all.
    pub fn unless_lost<T>(&mut self, result: Result<T, impl Into<Failure>>) -> Result<Option<T>, Failure> {
        match result.map_err(Into::into) {
            Err(failure) if failure.category != Category::Cancelled => {
                self.add(&failure);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// Notes what `other` has.
    pub fn join(&mut self, other: &Self) {
        if let Some(failure) = other.failure() {
            self.add(failure);
        }
    }

    pub fn failure(&self) -> Option<&Failure> {
        self.0.as_deref()
    }

    fn add(&mut self, failure: &Failure) {
        let is_tried_again = |failure: &Failure| failure.is_tried_again(false);
        if self.failure().is_none_or(|first| !is_tried_again(first) && is_tried_again(failure)) {
            self.0 = Some(Box::new(failure.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Retry;

    #[test]
    fn one_that_may_come_in_another_round_is_waited_for_whatever_else_is_lost() {
        let of = |retry, reason: &str| Failure { retry, ..Failure::for_good(Category::Corrupt, None, reason) };
        let (never, soon) = (of(Retry::Never, "never"), of(Retry::AtOnce, "soon"));
        let later = of(Retry::AfterPause, "later");
        for (lost, told) in [
            (vec![], None),
            (vec![&never], Some("never")),
            (vec![&never, &later, &soon], Some("later")),
            (vec![&soon, &never], Some("soon")),
        ] {
            let (mut all, mut parts) = (Lost::default(), Lost::default());
            for failure in lost {
                let mut part = Lost::default();
                assert_eq!(part.unless_lost::<()>(Err(failure.clone())), Ok(None));
                parts.join(&part);
                assert_eq!(all.unless_lost::<()>(Err(failure.clone())), Ok(None));
            }
            let reason = |lost: &Lost| lost.failure().map(|failure| failure.reason.to_string());
            assert_eq!((reason(&all).as_deref(), reason(&parts).as_deref()), (told, told));
        }
        let mut lost = Lost::default();
        assert_eq!(lost.unless_lost::<()>(Err(Failure::cancelled())), Err(Failure::cancelled()));
        assert!(lost.failure().is_none());
    }
}
