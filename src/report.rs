//! From events to what an operator and a script see: standard output, failures, totals, the log.

mod log;
mod plan;
mod text;
mod verification;

use std::fmt::Display;
use std::io::Write;

pub use log::PRINTED;
pub use plan::PlanReport;
pub use verification::VerificationReport;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::event::{Ending, Event, Listener, Success};

/// Listens to a migration and tells of it.
pub struct Report {
    began: Instant,
    totals: Totals,
    /// Contract lines alone. Locked for whole lines.
    stdout: Mutex<Box<dyn Write + Send>>,
    stderr: Mutex<Box<dyn Write + Send>>,
}

/// Sums over the events of a run.
#[derive(Default)]
struct Totals {
    copied: AtomicU64,
    up_to_date: AtomicU64,
    blobs_moved: AtomicU64,
    bytes_moved: AtomicU64,
    blobs_mounted: AtomicU64,
    bytes_mounted: AtomicU64,
    blobs_present: AtomicU64,
    layers_skipped: AtomicU64,
}

impl Report {
    pub fn new(stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Self {
        Self {
            began: Instant::now(),
            totals: Totals::default(),
            stdout: Mutex::new(stdout),
            stderr: Mutex::new(stderr),
        }
    }

    /// Tells what was found in the configuration, before anything is done.
    pub fn configuration(&self, warnings: &[String], invalid: &[impl Display]) {
        for warning in warnings {
            self.warning(warning);
        }
        self.invalid(invalid);
    }

    /// Names the rules that cannot be used.
    fn invalid(&self, rules: &[impl Display]) {
        for rule in rules {
            let line = format!("INVALID {rule}");
            log::invalid(&line);
            self.to_stderr(&line);
        }
    }

    /// A remark on the configuration.
    fn warning(&self, text: &str) {
        tracing::warn!("{text}");
    }

    /// Names what failed, once each, then the totals, then the summary, which is the last line of output and log.
    pub fn finish(&self, ending: &Ending, invalid: usize) {
        for (line, category) in text::failures(ending) {
            log::failed(&line, category);
            self.to_stderr(&line);
        }
        let totals = self.totals.to_line(self.began.elapsed());
        log::totals(&totals);
        self.to_stderr(&totals);
        let summary = text::summary(ending, invalid);
        log::summary(&summary);
        self.to_stdout(&summary);
    }

    // A closed pipe is no reason to stop a migration.
    fn to_stdout(&self, line: &str) {
        let mut stdout = self.stdout.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }

    fn to_stderr(&self, line: &str) {
        let mut stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(stderr, "{line}").and_then(|()| stderr.flush());
    }
}

impl Listener for Report {
    fn hear(&self, event: &Event) {
        log::event(event);
        self.totals.add(event);
        if let Event::Phase(phase) = event {
            self.to_stdout(text::phase(*phase));
        }
    }
}

impl Totals {
    fn add(&self, event: &Event) {
        let counter = match event {
            Event::ImageDone { success: Success::Copied, .. } => &self.copied,
            Event::ImageDone { success: Success::UpToDate, .. } => &self.up_to_date,
            Event::BlobMoved { bytes, .. } => {
                self.bytes_moved.fetch_add(*bytes, Relaxed);
                &self.blobs_moved
            }
            Event::BlobMounted { bytes, .. } => {
                self.bytes_mounted.fetch_add(*bytes, Relaxed);
                &self.blobs_mounted
            }
            Event::BlobPresent { .. } => &self.blobs_present,
            Event::LayerSkipped { .. } => &self.layers_skipped,
            _ => return,
        };
        counter.fetch_add(1, Relaxed);
    }
}
