//! Events as log lines.

use crate::event::{Category, Event, Success};

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
        Event::ImageDone { source, destination, success: Success::Copied, digest } => {
            tracing::info!(%source, %destination, %digest, "image copied");
        }
        Event::ImageDone { source, destination, success: Success::UpToDate, digest } => {
            tracing::info!(%source, %destination, %digest, "image up to date");
        }
        Event::ImageFailed { source, destination, failure, again: true } => {
            tracing::warn!(category = %failure.category, "{source} -> {destination}: {failure}; it will be tried again");
        }
        Event::ImageFailed { source, destination, failure, again: false } => {
            tracing::info!(category = %failure.category, "{source} -> {destination}: {failure}");
        }
    }
}

pub(super) fn invalid(line: &str) {
    tracing::error!(target: PRINTED, "{line}");
}

pub(super) fn failed(line: &str, category: Category) {
    tracing::error!(target: PRINTED, %category, "{line}");
}

pub(super) fn remedy(line: &str) {
    tracing::info!(target: PRINTED, "{line}");
}

pub(super) fn totals(line: &str) {
    tracing::info!(target: PRINTED, "{line}");
}

pub(super) fn summary(line: &str) {
    tracing::info!("{line}");
}
