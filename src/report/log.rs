//! Events as log lines.

use super::text::Failed;
use crate::digest::Digest;
use crate::event::{
    BlobCounts, Category, Change, Dropped, Event, Facts, FailedImage, FailedRule, Flight, InvalidRule, Prospect,
    Success, Verdict,
};
use crate::platform::Platform;
use crate::reference::Reference;

/// A line that names all that it is about. It has no parent span, so that the image whose task writes it is not
/// named again.
macro_rules! line {
    ($level:ident, target: $target:ident, $($said:tt)*) => { tracing::$level!(target: $target, parent: None, $($said)*) };
    ($level:ident, $($said:tt)*) => { tracing::$level!(parent: None, $($said)*) };
}

/// What is also printed on stderr in its own form: its log line is not shown there as well.
pub const PRINTED: &str = "printed";
/// What is printed on stderr later: its log line is not shown there as well.
pub const TOLD: &str = concat!(env!("CARGO_CRATE_NAME"), "::told");
/// What is in the log at every level, and there alone: the last line, and what is named nowhere else.
pub const ALWAYS: &str = "always";

pub(super) fn event(event: &Event) {
    match event {
        Event::Phase(phase) => line!(info, "{}", super::text::phase(*phase)),
        Event::TagsListed { repository, tags } => line!(info, %repository, tags, "tags listed"),
        Event::RuleFailed { rule, failure, again: true } => {
            line!(warn, %rule, category = %failure.category, reason = %failure,
                "{rule}: {failure}; it will be tried again");
        }
        Event::RuleFailed { rule, failure, again: false } => {
            line!(info, target: TOLD, %rule, category = %failure.category, reason = %failure, "{rule}: {failure}");
        }
        Event::Clash { rule, source, destination, taken_by } => {
            line!(warn, target: ALWAYS, %source, %destination, %taken_by, "{rule}: the destination is taken");
        }
        Event::ReferrerCopied { source, repository, referrer, artifact_type } => {
            line!(info, %source, %repository, referrer, artifact_type, "referrer copied");
        }
        Event::ReferrerPlanned { source, repository, referrer, artifact_type } => {
            line!(info, %source, %repository, referrer, artifact_type, "referrer would be copied");
        }
        Event::ReferrersLeft { source, subject, referrers } => {
            line!(warn, %source, %subject, referrers, "left what refers to a manifest that was converted");
        }
        Event::TasksGenerated(images) => line!(info, images, "image tasks generated"),
        Event::ImageStarted { source, destination } => {
            line!(debug, %source, %destination, "image begun");
        }
        Event::FlightStarted(flight) => {
            let Flight { source, destination, digest, bytes, .. } = flight;
            let destination = destination.as_ref().map(tracing::field::display);
            line!(debug, %source, destination, %digest, bytes, "blob begun");
        }
        Event::BlobWanted { .. } | Event::FlightEnded(_) => {}
        Event::BlobMoved { repository, digest, bytes, elapsed, .. } => {
            line!(info, %repository, %digest, bytes, seconds = elapsed.as_secs_f64(), "blob moved");
        }
        Event::BlobMounted { repository, digest, bytes, from, .. } => {
            line!(info, %repository, %digest, bytes, %from, "blob mounted");
        }
        Event::BlobPresent { repository, digest, again: false, .. } => {
            line!(info, %repository, %digest, "blob already there");
        }
        Event::BlobPresent { repository, digest, again: true, .. } => {
            line!(info, %repository, %digest, "blob is there, as was believed");
        }
        Event::BlobVerified { repository, digest, bytes } => {
            line!(debug, %repository, %digest, bytes, "blob looked at");
        }
        Event::BlobRetried { repository, digest, failure, pause } => {
            line!(warn, %repository, %digest, pause = format_args!("{:.1}s", pause.as_secs_f64()),
                "{failure}; trying the blob again");
        }
        Event::LayerSkipped { source, digest } => {
            line!(warn, %source, %digest, "layer left out: it is to be fetched from its own urls");
        }
        Event::ManifestConverted { source, change: Change { from, to, dropped, lost } } => {
            let dropped: Vec<String> = dropped.iter().map(Dropped::to_string).collect();
            line!(info, %source, %from, %to, dropped = listed(&dropped), lost = listed(lost), "manifest converted");
        }
        Event::ImageDone { source, destination, success: Success::Skipped, facts } => {
            let platform = facts.platforms.iter().map(Platform::to_string).collect::<String>();
            line!(info, %source, %destination, platform, "image skipped: it is for none of the platforms asked for");
        }
        Event::ImageDone { source, destination, success, facts } => {
            let text = if *success == Success::Copied { "image copied" } else { "image up to date" };
            let digest = shown(&facts.digest);
            match &facts.source_digest {
                Some(converted_from) if facts.source_digest != facts.digest => {
                    line!(info, %source, %destination, %digest, %converted_from, "{text}");
                }
                _ => line!(info, %source, %destination, %digest, "{text}"),
            }
        }
        Event::ImageFailed { source, destination, failure, again: true, .. } => {
            line!(warn, %source, %destination, category = %failure.category, reason = %failure,
                "{source} -> {destination}: {failure}; it will be tried again");
        }
        Event::ImageFailed { source, destination, failure, again: false, .. } => {
            line!(info, target: TOLD, %source, %destination, category = %failure.category, reason = %failure,
                "{source} -> {destination}: {failure}");
        }
        Event::ImagePlanned { source, destination, prospect, facts, .. } => {
            planned(source, destination, prospect, facts)
        }
        Event::ImageVerified { source, destination, verdict: Verdict::Equal, facts } => {
            line!(info, %source, %destination, digest = %shown(&facts.digest), "image is equal");
        }
        Event::ImageVerified { source, destination, verdict: Verdict::Skipped, .. } => {
            line!(info, %source, %destination, "image skipped: it is for another platform");
        }
        // Told as a difference.
        Event::ImageVerified { .. } => {}
    }
}

fn planned(source: &Reference, destination: &Reference, prospect: &Prospect, facts: &Facts) {
    let digest = shown(&facts.digest);
    let BlobCounts { moved, bytes_moved, mounted, .. } = facts.blobs;
    match prospect {
        Prospect::Skip => line!(info, %source, %destination, "image would be skipped: it is for another platform"),
        Prospect::UpToDate => line!(info, %source, %destination, %digest, "image is up to date"),
        Prospect::Copy => line!(info,
            %source, %destination, %digest, blobs = moved, bytes = bytes_moved, mounts = mounted, "image would be copied"
        ),
    }
}

fn shown(digest: &Option<Digest>) -> String {
    digest.as_ref().map(Digest::to_string).unwrap_or_default()
}

/// Nothing is shown of an empty list.
fn listed(items: &[String]) -> Option<String> {
    (!items.is_empty()).then(|| items.join(", "))
}

pub(super) fn wrong(line: &str) {
    line!(error, target: PRINTED, "{line}");
}

pub(super) fn failed(failed: Failed<'_>) {
    match failed {
        Failed::Rule(FailedRule { rule, failure, .. }) => {
            line!(error, target: PRINTED, %rule, category = %failure.category, reason = %failure, "{failed}");
        }
        Failed::Image(FailedImage { source, destination, failure }) => {
            line!(error, target: PRINTED, %source, %destination, category = %failure.category, reason = %failure,
                "{failed}");
        }
    }
}

/// A rule cannot be used.
pub(super) fn invalid(invalid: &InvalidRule) {
    let InvalidRule { rule, reason, .. } = invalid;
    line!(error, target: PRINTED, %rule, category = %Category::Config, %reason, "{invalid}");
}

/// An image is not as it should be.
pub(super) fn differs(line: &str, source: &Reference, destination: &Reference) {
    line!(error, target: PRINTED, %source, %destination, "{line}");
}

pub(super) fn remark(line: &str) {
    line!(info, target: PRINTED, "{line}");
}

/// The last line.
pub fn summary(line: &str) {
    line!(info, target: ALWAYS, "{line}");
}
