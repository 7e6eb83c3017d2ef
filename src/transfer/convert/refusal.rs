//! Why something cannot be placed as it is asked for.

use crate::digest::Digest;
use crate::event::{Category, Failure};
use crate::platform::Platform;
use crate::reference::Registry;
use crate::registry::{Error, Format};

/// Why an image cannot be placed as `--platform` and `--format` want it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// The source did not give what had to be known.
    #[error(transparent)]
    Source(#[from] Error),
    #[error("nothing in it is for {} (--platform); it has {}", listed(.asked), listed(.there))]
    NoPlatform { asked: Vec<Platform>, there: Vec<Platform> },
    #[error("--format {format}: manifest {digest} {reason}")]
    Format { format: Format, digest: Digest, reason: String },
    #[error("manifest {digest}: {reason}")]
    Malformed { digest: Digest, reason: String },
}

impl Refusal {
    pub(super) fn no_platform(asked: &[Platform], mut there: Vec<Platform>) -> Self {
        let mut seen = std::collections::HashSet::new();
        there.retain(|platform| seen.insert(platform.clone()));
        Self::NoPlatform { asked: asked.to_vec(), there }
    }

    pub(super) fn malformed(digest: &Digest, reason: String) -> Self {
        Self::Malformed { digest: digest.clone(), reason }
    }

    /// The sentence for the operator; `source` is where the image comes from. The source would have to change before
    /// another try could succeed, but for what it did not answer.
    pub fn to_failure(&self, source: &Registry) -> Failure {
        let category = match self {
            Self::Source(error) => return error.to_failure(),
            Self::NoPlatform { .. } => Category::NotFound,
            Self::Format { .. } => Category::Refused,
            Self::Malformed { .. } => Category::Corrupt,
        };
        Failure::for_good(category, Some(source), self.to_string())
    }
}

fn listed(platforms: &[Platform]) -> String {
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}
