//! Whether a registry is asked to mount.

/// Refused mounts after which a registry that never granted one is not asked again.
pub(super) const REFUSALS: u32 = 3;

/// What came of the mounts that a registry was asked for. Some grant them only once the other repository has a manifest
/// that names the blob (ECR, JFrog): those asked for before that are counted apart.
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
    pub fn are_worth_asking(&self, early: bool) -> bool {
        match early {
            true => self.early.is_worth_asking(),
            false => self.early.granted || self.late.is_worth_asking(),
        }
    }

    /// Whether any was granted.
    pub fn are_granted(&self) -> bool {
        self.early.granted || self.late.granted
    }

    pub fn told(&mut self, early: bool, granted: bool) {
        let asked = if early { &mut self.early } else { &mut self.late };
        match granted {
            true => asked.granted = true,
            false => asked.refused += 1,
        }
    }
}
