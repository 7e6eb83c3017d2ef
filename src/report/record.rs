//! The result of a run, as it is kept: schema `image-migrator/report/v1`.
//!
//! `--report FILE.json` writes one [`Document`], one image a line:
//!
//! ```json
//! {
//!   "schema": "image-migrator/report/v1",
//!   "version": "0.1.0",
//!   "started": "2026-03-01T22:00:00.000Z",
//!   "seconds": 123.456,
//!   "dryRun": false,
//!   "summary": {"images":1,"failed":0,"notGenerated":0,"copied":1,"planned":0,"upToDate":0,"skipped":0,"cancelled":0, ...},
//!   "rules": [],
//!   "listed": [{"source":"quay.io/a/b","destination":"swr.example.com/a/b"}],
//!   "images": [
//!     {"source":"quay.io/a/b:1","destination":"swr.example.com/a/b:1","sourceDigest":"sha256:…", ...}
//!   ],
//!   "traffic": { ... }
//! }
//! ```
//!
//! Names are camelCase; the fields of each object are those of the types below, all of them always present, `null` where
//! it is not known. A run asks registries for nothing just to fill a report: an image that was up to date has
//! digests, but no media type and no size.
//!
//! Within `v1` fields may be added, and nothing else changes; a reader ignores what it does not know.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

// The whole schema is told in one place.
pub use super::traffic::{Flight, Series, Traffic, Worker};
use crate::digest::Digest;
pub use crate::event::{Category, RuleName};
use crate::schema;
pub use crate::schema::{Outcome, Shard};

/// What became of a run, or of several that were merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    pub schema: Schema,
    /// Of the program that wrote it.
    pub version: String,
    pub started: Moment,
    /// From the start to the end.
    pub seconds: f64,
    /// Whether nothing was done, and all of it is what a dry run says.
    #[serde(default)]
    pub dry_run: bool,
    /// Which parts of the work this is, as `INDEX/COUNT`; nothing if it is all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<Shard>,
    pub summary: Summary,
    /// Those of which some or all tasks could not be generated, in the order of the file.
    pub rules: Vec<Rule>,
    /// Those whose tags were listed and of which all tasks were generated. They make good what failed of the same rules in an
    /// earlier report.
    #[serde(default)]
    pub listed: Vec<RuleName>,
    /// Each image once, by source and destination.
    pub images: Vec<Image>,
    #[serde(default)]
    pub traffic: Traffic,
}

/// The numbers of a run. Those of images count records; those of blobs and bytes count what was really done, also for
/// images that failed, or what a dry run says would be done. The blobs that were moved and mounted and the bytes that were
/// moved are the sums of what the images of the run have, always; `blobsPresent` counts a blob once for a repository,
/// where each image that needs it has it. Of a dry run `bytesMounted` and `blobsPresent` are not known, and 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub images: u64,
    /// Those that are not where they should be; `cancelled` are some of them.
    pub failed: u64,
    /// Rules of which some or all tasks could not be generated.
    pub not_generated: u64,
    pub copied: u64,
    /// Those that a dry run would copy.
    #[serde(default)]
    pub planned: u64,
    pub up_to_date: u64,
    pub skipped: u64,
    pub cancelled: u64,
    pub bytes_moved: u64,
    pub blobs_moved: u64,
    pub bytes_mounted: u64,
    pub blobs_mounted: u64,
    pub blobs_present: u64,
    pub layers_skipped: u64,
}

/// A rule of which some or all tasks could not be generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Where it stands: `images.json:12:5`.
    pub place: String,
    /// As written.
    pub source: String,
    /// As written; may be empty.
    pub destination: String,
    /// As it means the same without defaults; not known if it could not be used.
    #[serde(default)]
    pub full_destination: Option<String>,
    /// Whether it could not be used at all; else it failed.
    pub invalid: bool,
    pub category: Category,
    pub reason: String,
}

/// One image: where it was to go, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// `registry/repository:tag` or `registry/repository@digest`.
    pub source: String,
    pub destination: String,
    /// What the source names.
    pub source_digest: Option<Digest>,
    /// What the destination names now. Differs from the source's where the image was converted.
    pub destination_digest: Option<Digest>,
    /// What the destination named before.
    pub previous_digest: Option<Digest>,
    pub media_type: Option<String>,
    /// `os/architecture[/variant]`, as an index has them; of an image that is no index they are not known.
    pub platforms: Vec<String>,
    /// Bytes of all its manifests and blobs.
    pub size: Option<u64>,
    pub bytes_moved: u64,
    /// Blobs that were sent for this image, that the destination linked, and that were there; also if it failed. What
    /// several images of a repository need counts as moved for the first that needed it and as present for the others.
    pub blobs_moved: u64,
    pub blobs_mounted: u64,
    pub blobs_present: u64,
    /// Layers with `urls` of their own, which were left there.
    #[serde(default)]
    pub layers_skipped: Vec<Digest>,
    pub result: Outcome,
    /// Of the failure, if it failed.
    pub category: Option<Category>,
    pub reason: Option<String>,
    /// Rounds in which it was begun: 0 if it was never reached.
    pub attempts: u32,
    pub started: Option<Moment>,
    /// From the start of the first attempt to the end of the last.
    pub seconds: f64,
}

impl Summary {
    /// Counts records anew; what was done with blobs stays.
    pub(super) fn count(&mut self, images: &[Image], rules: &[Rule]) {
        let count = |outcome| images.iter().filter(|image| image.result == outcome).count() as u64;
        self.images = images.len() as u64;
        self.copied = count(Outcome::Copied);
        self.planned = count(Outcome::Planned);
        self.up_to_date = count(Outcome::UpToDate);
        self.skipped = count(Outcome::Skipped);
        self.cancelled = count(Outcome::Cancelled);
        self.failed = count(Outcome::Failed) + self.cancelled;
        self.not_generated = rules.len() as u64;
    }

    /// Adds what another run did with blobs.
    pub(super) fn add_blobs(&mut self, other: &Self) {
        for (sum, number) in [
            (&mut self.bytes_moved, other.bytes_moved),
            (&mut self.blobs_moved, other.blobs_moved),
            (&mut self.bytes_mounted, other.bytes_mounted),
            (&mut self.blobs_mounted, other.blobs_mounted),
            (&mut self.blobs_present, other.blobs_present),
            (&mut self.layers_skipped, other.layers_skipped),
        ] {
            *sum = sum.saturating_add(number);
        }
    }
}

/// The name and version of this schema; nothing else is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema;

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(schema::NAME)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        schema::check(&String::deserialize(deserializer)?).map(|()| Self).map_err(de::Error::custom)
    }
}

/// A time, written as RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub SystemTime);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&text);
        time.map(Self)
            .map_err(|_| de::Error::custom(format!("found {text:?}, expected a time like 2026-03-01T22:00:00Z")))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(self.0).fmt(f)
    }
}

/// Seconds as reports have them: to the millisecond.
pub(super) fn seconds(duration: std::time::Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}
