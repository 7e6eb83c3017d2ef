//! Why a rule cannot be used.

use std::fmt;

use crate::config::name::InvalidName;
use crate::digest::Digest;

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReason {
    #[error("source: {0}")]
    Source(InvalidName),
    #[error("destination: {0}")]
    Destination(InvalidName),
    #[error("its array of destinations is empty")]
    NoDestinations,
    #[error("an empty destination needs {0}")]
    NoDefault(MissingDefault),
    #[error("{flag}: {0}", flag = MissingDefault::Registry)]
    DefaultRegistry(InvalidName),
    #[error("{flag}: {0}", flag = MissingDefault::Namespace)]
    DefaultNamespace(InvalidName),
    #[error("invalid regular expression {expression:?}: {message}")]
    Expression { expression: String, message: String },
    #[error("a destination is no regular expression: tags that match keep their names, so write the repository alone")]
    DestinationExpression,
    #[error("a destination has a tag only where the source names its tags: write the destination's repository alone")]
    TagForMany,
    #[error("unequal lists: {at_source} at the source, {at_destination} at the destination; tags are paired in order")]
    UnequalLists { at_source: usize, at_destination: usize },
    #[error("an image has one tag at a destination: for {tags} write an array of as many destinations, each with one")]
    TagsForOne { tags: usize },
    #[error("a destination has a digest only where the source names the same digest")]
    DigestOfUnknown,
    #[error("--platform and --format change digests: leave that of the destination out")]
    DigestMayChange,
    #[error("a copy has the digest of its source: expected {expected}, found {found} at the destination")]
    OtherDigest { expected: Digest, found: Digest },
    #[error("its tasks could not be generated in that run, so not all that it names is in the report")]
    NotRecorded,
}

impl InvalidReason {
    /// regex draws its complaint on several lines; the last one says what is wrong.
    pub(super) fn expression(expression: &str, error: &regex::Error) -> Self {
        let drawn = error.to_string();
        let last = drawn.lines().next_back().unwrap_or(&drawn);
        let message = last.strip_prefix("error: ").unwrap_or(last).to_owned();
        Self::Expression { expression: expression.to_owned(), message }
    }
}

/// Which default an empty destination lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingDefault {
    Registry,
    Namespace,
    Both,
}

impl fmt::Display for MissingDefault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registry => "--registry or DEFAULT_REGISTRY",
            Self::Namespace => "--namespace or DEFAULT_NAMESPACE",
            Self::Both => "--registry or DEFAULT_REGISTRY, and --namespace or DEFAULT_NAMESPACE",
        })
    }
}
