//! What dry runs and verifications find: what a migration would do, and how the two sides of an image compare.

use std::sync::Arc;

use crate::digest::Digest;

/// What a migration would do with one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// The destination names the right digest already.
    UpToDate,
    /// The destination would be written. From what to what, and what would come there, stands in the facts.
    Copy,
    /// It is for a platform that is not wanted.
    Skip,
}

/// How the destination of an image compares with what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It names the right digest; and what that names is there and right, as far as that was looked at.
    Equal,
    /// It is for a platform that is not wanted, so that there is nothing to compare.
    Skipped,
    /// The destination has no such tag or digest.
    Missing,
    /// The destination names another digest.
    Differs { expected: Digest, found: Digest },
    /// It names the right digest, but what that names is not there, or not right.
    Incomplete(Arc<[Defect]>),
}

/// A part of an image that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Defect {
    pub part: Part,
    pub digest: Digest,
    /// Bytes, as what names the part says; not known of what a tag names.
    pub size: Option<u64>,
    pub wrong: Wrong,
}

/// What an image consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    Manifest,
    Blob,
}

/// What is wrong with a part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wrong {
    Missing,
    /// It has this many bytes.
    Size(u64),
    /// Its bytes have this digest.
    Content(Digest),
    /// It is no manifest that can be read, and why.
    Unreadable(Arc<str>),
}
