//! What is known of a registry's mounts: whether it is asked for any, and what its answers say.
//!
//! A mount from another repository is asked for until such mounts were refused a few times and never granted. One from the
//! repository itself, `POST ?mount=D&from=<the same repository>`, is 201 if the blob is there and 202 with an upload if
//! not: existence and the start of an upload in one request. That is no promise of the specification, so it is believed
//! only of registries that were found to have told the truth once, and given up at the first odd answer. A registry that
//! turns out not to have what it granted is asked for neither.

use super::homes::Home;

/// Refused mounts after which a registry that never granted one is not asked again.
pub(super) const REFUSALS: u32 = 3;

/// When a mount is asked for. Some registries grant one only once the other repository has a manifest that names the blob
/// (ECR, JFrog).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before that.
    Early,
    /// After that.
    Late,
}

impl When {
    /// Of a mount from `home`; without one, of a mount from where the blob is being moved now.
    pub(super) fn of(home: Option<&Home>) -> Self {
        if home.is_some_and(Home::is_sealed) { Self::Late } else { Self::Early }
    }
}

/// What came of the mounts that a registry was asked for.
#[derive(Default)]
pub struct Mounts {
    early: Asked,
    late: Asked,
    of_itself: OfItself,
    /// It said that it had what it had not.
    are_wrong: bool,
}

#[derive(Default)]
struct Asked {
    granted: bool,
    refused: u32,
}

/// What a mount from the repository itself says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum OfItself {
    /// Nobody knows: the answer is checked.
    #[default]
    Unknown,
    /// Whether the blob is there.
    Truth,
    Nothing,
}

impl Asked {
    fn is_worth_asking(&self) -> bool {
        self.granted || self.refused < REFUSALS
    }
}

impl Mounts {
    /// Whether a mount from another repository is worth a request.
    pub fn are_worth_asking(&self, when: When) -> bool {
        !self.are_wrong
            && match when {
                When::Early => self.early.is_worth_asking(),
                When::Late => self.early.granted || self.late.is_worth_asking(),
            }
    }

    /// Whether such mounts are known to be granted.
    pub fn are_granted(&self) -> bool {
        !self.are_wrong && (self.early.granted || self.late.granted)
    }

    /// Such a mount was granted, or not.
    pub fn told(&mut self, when: When, granted: bool) {
        let asked = match when {
            When::Early => &mut self.early,
            When::Late => &mut self.late,
        };
        if granted {
            asked.granted = true;
        } else {
            asked.refused += 1;
        }
    }

    /// Whether a mount from the repository itself is worth a request.
    pub fn may_tell(&self) -> bool {
        !self.are_wrong && self.of_itself != OfItself::Nothing
    }

    /// Whether its answer says for certain if the blob is there.
    pub fn tell(&self) -> bool {
        !self.are_wrong && self.of_itself == OfItself::Truth
    }

    /// Such a mount was granted, and the blob is there.
    pub fn told_truth(&mut self) {
        if self.of_itself == OfItself::Unknown {
            self.of_itself = OfItself::Truth;
        }
    }

    /// Such a mount was answered as if the blob were not there, or not at all.
    pub fn tell_nothing(&mut self) {
        self.of_itself = OfItself::Nothing;
    }

    /// The registry does not have what it was believed to have.
    pub fn were_wrong(&mut self) {
        self.are_wrong = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrong_is_not_believed_again() {
        let mut mounts = Mounts::default();
        let is_asked = |mounts: &Mounts| [When::Early, When::Late].map(|when| mounts.are_worth_asking(when));
        assert!(mounts.may_tell() && !mounts.tell() && !mounts.are_granted());
        mounts.told_truth();
        assert!(mounts.tell());
        mounts.tell_nothing();
        mounts.told_truth();
        assert!(!mounts.may_tell() && !mounts.tell());
        mounts.told(When::Early, true);
        assert!(mounts.are_granted());
        assert_eq!(is_asked(&mounts), [true; 2]);
        mounts.were_wrong();
        mounts.told(When::Late, true);
        assert_eq!(is_asked(&mounts), [false; 2]);
        assert!(!mounts.are_granted() && !mounts.may_tell());
    }
}
