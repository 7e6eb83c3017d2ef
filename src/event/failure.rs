//! Why something could not be done, and when it is tried again.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::reference::Registry;

/// What kind of thing went wrong: stable words for logs and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Credentials are missing, wrong, or not sufficient.
    Auth,
    /// The registry says that it has no such thing.
    NotFound,
    /// The registry understood and said no.
    Refused,
    /// The registry could not be reached, broke off, or said that it cannot serve now.
    Network,
    /// What came is not what its digest or size says, or is no valid manifest.
    Corrupt,
    /// The rules or files ask for something that cannot be.
    Config,
    /// The run was interrupted.
    Cancelled,
}

/// As in reports.
impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// When what failed is tried again, if the run has rounds left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// In the next round, after a pause: it may pass by itself.
    AfterPause,
    /// In the next round. Time alone will not mend it.
    AtOnce,
    /// Never: it would fail the same way (rejected credentials, a clash).
    Never,
}

/// Why something could not be done, as it is told to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub category: Category,
    /// The registry at which it failed, if it was one.
    pub registry: Option<Registry>,
    /// What happened, in one line.
    pub reason: Arc<str>,
    pub retry: Retry,
    /// A line for a shell that creates what is missing, or a comment that says what to create.
    pub remedy: Option<Arc<str>>,
}

impl Failure {
    /// Something that no waiting and no other try will mend.
    pub fn for_good(category: Category, registry: Option<&Registry>, reason: impl Into<Arc<str>>) -> Self {
        let (registry, reason) = (registry.cloned(), reason.into());
        Self { category, registry, reason, retry: Retry::Never, remedy: None }
    }

    /// Whether it is tried again in another round; there is none after the `last`.
    pub fn is_tried_again(&self, last: bool) -> bool {
        !last && self.retry != Retry::Never
    }

    /// The run was interrupted before this was done.
    pub fn cancelled() -> Self {
        let reason = "interrupted before it was done; run the same command again to finish it";
        Self::for_good(Category::Cancelled, None, reason)
    }

    /// A defect of this program: what it was about, and what it said.
    pub fn internal(about: &str) -> Self {
        let reason = format!("internal error ({about}); please report it with the log");
        Self { retry: Retry::AtOnce, ..Self::for_good(Category::Refused, None, reason) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
