//! From events to what an operator and a script see: standard output, failures, totals, the log, reports.
//!
//! [`Teller`] tells of a migration while it runs, and keeps sums alone. A [`Recorder`] beside it keeps what became of each
//! image, in the schema of [`record`].

mod console;
mod csv;
pub mod failed;
pub mod file;
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzz/targets/report.rs"]
pub(crate) mod fuzz;
mod html;
pub mod json;
mod log;
pub mod merge;
mod plan;
mod progress;
pub mod record;
mod recorder;
mod text;
pub mod traffic;
mod verification;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

pub use console::{Console, unless_closed};
pub use log::{ALWAYS, PRINTED, TOLD, summary as log_summary};
pub use plan::PlanTeller;
pub use progress::{Activity, Progress, Style};
pub use recorder::Recorder;
pub use text::{merged_failures, merged_summary};
pub use verification::VerificationTeller;

use crate::event::{Ending, Event, FailedImage, FailedRule, InvalidRule, Listener, Success};

/// Tells of a run while it goes on, and of its end.
pub trait Telling: Listener {
    /// Names what failed, then gives the sums, but for the last line of output and log.
    fn finish(&self, ending: &Ending) -> Conclusion;
}

/// How a run ended.
pub struct Conclusion {
    /// The last line of output and log.
    pub summary: String,
    pub is_well: bool,
}

/// Listens to a migration and tells of it.
pub struct Teller {
    began: Instant,
    totals: Totals,
    console: Console,
}

/// Sums over the events of a run.
#[derive(Default)]
struct Totals {
    copied: AtomicU64,
    up_to_date: AtomicU64,
    skipped: AtomicU64,
    blobs_moved: AtomicU64,
    bytes_moved: AtomicU64,
    blobs_mounted: AtomicU64,
    bytes_mounted: AtomicU64,
    blobs_present: AtomicU64,
    layers_skipped: AtomicU64,
}

impl Teller {
    pub fn new(console: Console) -> Self {
        Self { began: Instant::now(), totals: Totals::default(), console }
    }

    /// Tells what was found in the configuration, before anything is done.
    pub fn configuration(&self, warnings: &[String], invalid: &[InvalidRule]) {
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        for rule in invalid {
            log::invalid(rule);
            self.console.err_logged(&rule.to_string());
        }
    }

    /// Names what failed, once each.
    fn failures(&self, rules: &[FailedRule], images: &[FailedImage]) {
        for failed in text::failures(rules, images) {
            log::failed(failed);
            self.console.err_logged(&failed.to_string());
        }
    }
}

impl Listener for Teller {
    fn hear(&self, event: &Event) {
        log::event(event);
        self.totals.add(event);
        if let Event::Phase(phase) = event {
            self.console.out(text::phase(*phase));
        }
    }
}

impl Telling for Teller {
    /// Names what failed, once each, then what to create before the next run, then the totals.
    fn finish(&self, ending: &Ending) -> Conclusion {
        self.failures(&ending.failed_rules, &ending.failed_images);
        let totals = self.totals.to_line(self.began.elapsed());
        for line in text::remedies(ending).into_iter().chain([totals]) {
            log::remark(&line);
            self.console.err_logged(&line);
        }
        Conclusion { summary: text::summary(ending), is_well: ending.is_well() }
    }
}

impl Totals {
    fn add(&self, event: &Event) {
        let counter = match event {
            Event::ImageDone { success: Success::Copied, .. } => &self.copied,
            Event::ImageDone { success: Success::UpToDate, .. } => &self.up_to_date,
            Event::ImageDone { success: Success::Skipped, .. } => &self.skipped,
            Event::BlobMoved { bytes, .. } => {
                self.bytes_moved.fetch_add(*bytes, Relaxed);
                &self.blobs_moved
            }
            Event::BlobMounted { bytes, .. } => {
                self.bytes_mounted.fetch_add(*bytes, Relaxed);
                &self.blobs_mounted
            }
            Event::BlobPresent { again: false, .. } => &self.blobs_present,
            Event::LayerSkipped { .. } => &self.layers_skipped,
            _ => return,
        };
        counter.fetch_add(1, Relaxed);
    }
}
