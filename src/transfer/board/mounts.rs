//! Whether a registry is asked to mount.

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
    pub fn of(home: Option<&Home>) -> Self {
        if home.is_some_and(Home::is_sealed) { Self::Late } else { Self::Early }
    }
}

/// What came of the mounts that a registry was asked for.
#[derive(Default)]
pub(super) struct Mounts {
    early: Asked,
    late: Asked,
}

#[derive(Default)]
struct Asked {
    granted: bool,
    refused: u32,
}

impl Asked {
    fn is_worth_asking(&self) -> bool {
        self.granted || self.refused < REFUSALS
    }
}

impl Mounts {
    pub fn are_worth_asking(&self, when: When) -> bool {
        match when {
            When::Early => self.early.is_worth_asking(),
            When::Late => self.early.granted || self.late.is_worth_asking(),
        }
    }

    /// Whether any was granted.
    pub fn are_granted(&self) -> bool {
        self.early.granted || self.late.granted
    }

    /// A mount was granted, or not.
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
}
