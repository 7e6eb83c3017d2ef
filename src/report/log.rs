//! Events as log lines.

use crate::digest::Digest;
use crate::event::{BlobCounts, Category, Event, Facts, Prospect, Success, Verdict};
use crate::reference::Reference;

/// What is also printed on stderr in its own form: its log line is not shown there as well.
pub const PRINTED: &str = "printed";

pub(super) fn event(event: &Event) {
    match event {
        Event::Phase(phase) => tracing::info!("{}", super::text::phase(*phase)),
        Event::TagsListed { repository, tags } => tracing::info!(%repository, tags, "tags listed"),
        Event::RuleFailed { rule, failure, again: true } => {
            tracing::warn!(category = %failure.category, "{rule}: {failure}; it will be tried again");
        }
        Event::RuleFailed { rule, failure, again: false } => {
            tracing::info!(category = %failure.category, "{rule}: {failure}");
        }
        Event::Clash { rule, source, destination, taken_by } => {
            tracing::info!(%source, %destination, %taken_by, "{rule}: the destination is taken by an earlier rule");
        }
        Event::ImageStarted { .. } | Event::BlobWanted { .. } | Event::FlightStarted(_) | Event::FlightEnded(_) => {}
        Event::BlobMoved { repository, digest, bytes, elapsed } => {
            tracing::info!(%repository, %digest, bytes, seconds = elapsed.as_secs_f64(), "blob moved");
        }
        Event::BlobMounted { repository, digest, bytes, from } => {
            tracing::info!(%repository, %digest, bytes, %from, "blob mounted");
        }
        Event::BlobPresent { repository, digest } => tracing::info!(%repository, %digest, "blob already there"),
        Event::BlobRetried { repository, digest, failure, pause } => {
            let seconds = pause.as_secs_f64();
            tracing::warn!(%repository, %digest, "{failure}; trying the blob again in {seconds:.1} s");
        }
        Event::LayerSkipped { source, digest } => {
            tracing::warn!(%source, %digest, "layer left out: it is to be fetched from its own urls");
        }
        Event::ImageDone { source, destination, success: Success::Copied, facts } => {
            tracing::info!(%source, %destination, digest = %shown(&facts.digest), "image copied");
        }
        Event::ImageDone { source, destination, success: Success::UpToDate, facts } => {
            tracing::info!(%source, %destination, digest = %shown(&facts.digest), "image up to date");
        }
        Event::ImageFailed { source, destination, failure, again: true, .. } => {
            tracing::warn!(category = %failure.category, "{source} -> {destination}: {failure}; it will be tried again");
        }
        Event::ImageFailed { source, destination, failure, again: false, .. } => {
            tracing::info!(category = %failure.category, "{source} -> {destination}: {failure}");
        }
        Event::ImagePlanned { source, destination, prospect, facts } => planned(source, destination, prospect, facts),
        Event::ImageVerified { source, destination, verdict: Verdict::Equal, facts } => {
            tracing::info!(%source, %destination, digest = %shown(&facts.digest), "image is equal");
        }
        // Told as a difference.
        Event::ImageVerified { .. } => {}
    }
}

fn planned(source: &Reference, destination: &Reference, prospect: &Prospect, facts: &Facts) {
    let digest = shown(&facts.digest);
    let BlobCounts { moved, bytes_moved, mounted, .. } = facts.blobs;
    match prospect {
        Prospect::UpToDate => tracing::info!(%source, %destination, %digest, "image is up to date"),
        Prospect::Copy => tracing::info!(
            %source, %destination, %digest, blobs = moved, bytes = bytes_moved, mounts = mounted, "image would be copied"
        ),
        // Told as a failure.
        Prospect::Fails(_) => {}
    }
}

pub(super) fn difference(line: &str) {
    tracing::error!(target: PRINTED, "{line}");
}

fn shown(digest: &Option<Digest>) -> String {
    digest.as_ref().map(Digest::to_string).unwrap_or_default()
}

pub(super) fn invalid(line: &str) {
    tracing::error!(target: PRINTED, "{line}");
}

pub(super) fn failed(line: &str, category: Category) {
    tracing::error!(target: PRINTED, %category, "{line}");
}

pub(super) fn totals(line: &str) {
    tracing::info!(target: PRINTED, "{line}");
}

pub(super) fn summary(line: &str) {
    tracing::info!("{line}");
}
