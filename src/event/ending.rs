//! What is left when a run has ended: how much there was to do, and what of it was not done.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::reference::Reference;

/// What is left of a run when it has ended.
#[derive(Debug, Default)]
pub struct Ending {
    /// Image tasks that were generated, whatever became of them.
    pub images: usize,
    pub failed_images: Vec<FailedImage>,
    /// Rules of which some or all tasks could not be generated, in the order of the file.
    pub failed_rules: Vec<FailedRule>,
    /// Rules that cannot be used, in the order of the file.
    pub invalid_rules: Vec<InvalidRule>,
    /// The rules whose tags were listed and of which all tasks were generated, in the order of the file.
    pub listed_rules: Vec<RuleName>,
    /// The rules to be given again to have what was not generated, in the order of the file: those whose tags could not be
    /// listed or clashed, and the earlier ones that go to the same repositories, so that what is theirs stays theirs.
    pub rules_again: Vec<RuleName>,
}

impl Ending {
    /// How many rules did not become tasks, or not wholly.
    pub fn not_generated(&self) -> usize {
        self.failed_rules.len() + self.invalid_rules.len()
    }

    /// Whether all was generated and nothing failed.
    pub fn is_well(&self) -> bool {
        self.failed_images.is_empty() && self.not_generated() == 0
    }
}

/// What a rule is known by in every run, whatever the defaults of that run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleName {
    /// As written.
    pub source: String,
    /// In full: as it means the same without a default registry and namespace.
    pub destination: String,
}

#[derive(Debug)]
pub struct FailedImage {
    pub source: Reference,
    pub destination: Reference,
    pub failure: Failure,
}

#[derive(Debug)]
pub struct FailedRule {
    pub rule: RuleText,
    /// As it means the same without defaults.
    pub full_destination: String,
    pub failure: Failure,
}

/// A rule that cannot be used.
#[derive(Debug)]
pub struct InvalidRule {
    /// As it may be shown: without logins.
    pub rule: RuleText,
    /// As it may be shown.
    pub reason: String,
    /// As it stands in the file, with whatever login is in it: for files of rules alone.
    pub written: WrittenRule,
}

impl fmt::Display for InvalidRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "INVALID {}: {}", self.rule, self.reason)
    }
}

/// A source with its destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenRule {
    pub source: String,
    pub destinations: Vec<String>,
}

/// A rule as it is written in its file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleText {
    /// `images.json:12:5`
    pub place: String,
    pub source: String,
    /// May be empty.
    pub destination: String,
}

impl fmt::Display for RuleText {
    /// `images.json:12:5: "quay.io/a/b" -> "swr.example.com/a/b"`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} -> {:?}", self.place, self.source, self.destination)
    }
}
