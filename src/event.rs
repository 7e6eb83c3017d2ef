//! What can happen in a run, as plain data: the work tells it, and the reports show it.

mod ending;
mod failure;
mod survey;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::digest::Digest;
use crate::platform::Platform;
use crate::reference::{Reference, Repository};

pub use ending::{Ending, FailedImage, FailedRule, InvalidRule, RuleName, RuleText, WrittenRule};
pub use failure::{Category, Failure, Retry};
pub use survey::{Defect, Part, Prospect, Verdict, Wrong};

/// How a task ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Success {
    /// The destination tag was written.
    Copied,
    /// The destination had the same digest already.
    UpToDate,
    /// It is for one platform alone, and that is none of those asked for. The destination was left as it is.
    Skipped,
}

/// What is known of an image when its task ends, for better or worse. What was not learnt is left out: a run asks for
/// nothing that it does not need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the source names.
    pub source_digest: Option<Digest>,
    /// What the destination names now.
    pub digest: Option<Digest>,
    /// What the destination named before.
    pub digest_before: Option<Digest>,
    pub media_type: Option<String>,
    /// As the index has them that was placed. Of an image that is no index they are known only if it was skipped.
    pub platforms: Vec<Platform>,
    /// Bytes of all manifests and blobs, where all manifests were read. What several platforms share counts for each.
    pub size: Option<u64>,
    pub blobs: BlobCounts,
    /// Layers that were left where they are, as far as the manifests that name them were read.
    pub layers_skipped: Vec<Digest>,
}

/// A manifest that was made from one of the source, as the operator asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub from: Digest,
    pub to: Digest,
    /// What it names no more.
    pub dropped: Vec<Dropped>,
    /// Fields that the new format does not have, sorted: `annotations`, `layers.annotations`.
    pub lost: Vec<String>,
}

/// A child that an index names no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    pub digest: Digest,
    pub platform: Option<Platform>,
}

impl Change {
    pub fn new(from: &Digest, to: &Digest, dropped: Vec<Dropped>, mut lost: Vec<String>) -> Self {
        lost.sort_unstable();
        lost.dedup();
        Self { from: from.clone(), to: to.clone(), dropped, lost }
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.platform {
            Some(platform) => write!(f, "{platform} {}", self.digest),
            None => self.digest.fmt(f),
        }
    }
}

/// What became of the distinct blobs of one image, as far as it waited for them: when it ends, others may still be on
/// their way. A blob that several images of a run need counts as moved or mounted for one of those that go to the same
/// repository, and as present for the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlobCounts {
    pub moved: u64,
    pub bytes_moved: u64,
    pub mounted: u64,
    pub present: u64,
}

/// The parts of a run that are announced on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Generate,
    Handle,
    RetryGenerate,
    RetryHandle,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Event {
    Phase(Phase),
    /// The tags of a source repository are known.
    TagsListed {
        repository: Repository,
        tags: usize,
    },
    /// This many more images are to be migrated.
    TasksGenerated(usize),
    /// A rule's tags could not be listed; it is tried again in a later round, or not.
    RuleFailed {
        rule: String,
        failure: Failure,
        again: bool,
    },
    /// A rule wants a destination that an earlier one has.
    Clash {
        /// Where it stands: there may be as many clashes as it names tags.
        rule: String,
        source: Reference,
        destination: Reference,
        taken_by: Reference,
    },
    /// A blob is needed in a repository, and is not known to be there or to be right.
    BlobWanted {
        bytes: u64,
    },
    /// A blob is about to be read, and sent if it is for somewhere else. `FlightEnded` follows, whatever happens.
    FlightStarted(Flight),
    /// The flight with this number is over.
    FlightEnded(u64),
    /// A blob is now in `repository` because it was sent, for the image with this destination: the first that needed it,
    /// whatever becomes of that.
    BlobMoved {
        image: Reference,
        repository: Repository,
        digest: Digest,
        bytes: u64,
        elapsed: Duration,
    },
    /// A blob is now in `repository` because the registry linked it from `from`, for an image as above.
    BlobMounted {
        image: Reference,
        repository: Repository,
        digest: Digest,
        bytes: u64,
        from: Repository,
    },
    /// A blob was in `repository` already.
    BlobPresent {
        repository: Repository,
        digest: Digest,
        bytes: u64,
        /// How it came there was told before: it was only looked for again.
        again: bool,
    },
    /// A blob that is wanted was looked at where it is, whatever was found.
    BlobVerified {
        repository: Repository,
        digest: Digest,
        bytes: u64,
    },
    /// A blob could not be moved at this try and is tried again.
    BlobRetried {
        repository: Repository,
        digest: Digest,
        failure: Failure,
        pause: Duration,
    },
    /// A layer that clients fetch from elsewhere, and so is not copied.
    LayerSkipped {
        source: Reference,
        digest: Digest,
    },
    /// A manifest of the image was placed as something else than the source has.
    ManifestConverted {
        source: Reference,
        change: Change,
    },
    /// Something that refers to the image, or to a manifest of it, is now in `repository`, too.
    ReferrerCopied {
        source: Reference,
        repository: Repository,
        /// Its tag or digest.
        referrer: String,
        /// What kind of thing it is, if the list says so.
        artifact_type: String,
    },
    /// Something that refers to the image, or to a manifest of it, would come to `repository`, too.
    ReferrerPlanned {
        source: Reference,
        repository: Repository,
        /// Its tag or digest.
        referrer: String,
        /// What kind of thing it is, if the list says so.
        artifact_type: String,
    },
    /// Things that refer to a manifest stay behind, because it was converted: they speak of it as it was.
    ReferrersLeft {
        source: Reference,
        subject: Digest,
        referrers: usize,
    },
    /// An image is about to be copied, or looked at, in this round.
    ImageStarted {
        source: Reference,
        destination: Reference,
    },
    ImageDone {
        source: Reference,
        destination: Reference,
        success: Success,
        facts: Facts,
    },
    /// An image failed; it is tried again in a later round, or not.
    ImageFailed {
        source: Reference,
        destination: Reference,
        failure: Failure,
        again: bool,
        facts: Facts,
    },
    /// What would become of an image is known. Its facts are those that the migration would leave behind: the digest that
    /// the destination would name, and the blobs that would come there, also those of its referrers.
    ImagePlanned {
        source: Reference,
        destination: Reference,
        prospect: Prospect,
        /// What refers to it and would travel with it.
        referrers: usize,
        facts: Facts,
    },
    /// An image was compared. Its source's digest is what the destination should name.
    ImageVerified {
        source: Reference,
        destination: Reference,
        verdict: Verdict,
        facts: Facts,
    },
}

/// A blob on its way.
#[derive(Debug, Clone)]
pub struct Flight {
    /// Counts the flights of a run.
    pub number: u64,
    pub source: Repository,
    /// Where it goes; nowhere if it is only read.
    pub destination: Option<Repository>,
    pub digest: Digest,
    pub bytes: u64,
    /// Bytes that have passed, over all tries. Only for show: read it when it is drawn.
    pub passed: Arc<AtomicU64>,
}

/// Hears of every event, in the order in which each task tells them. Called from many tasks at once: it must be quick.
pub trait Listener: Send + Sync {
    fn hear(&self, event: &Event);
}

/// Several listeners, told in order.
impl Listener for Vec<Arc<dyn Listener>> {
    fn hear(&self, event: &Event) {
        for listener in self {
            listener.hear(event);
        }
    }
}
