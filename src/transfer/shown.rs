//! Blobs on their way, as those see them who watch the run.

use std::sync::Arc;
use std::time::Instant;

use super::stream::Passed;
use crate::digest::Digest;
use crate::event::{Event, Flight, Listener};
use crate::reference::Repository;

/// A flight that is told of. It ends for those who watch when it is dropped.
pub struct Shown {
    listener: Arc<dyn Listener>,
    number: u64,
    pub began: Instant,
    /// Bytes that have passed.
    pub passed: Passed,
}

impl Shown {
    /// Tells that a blob of some size begins its way from one repository to another, or is only read. Numbers count the
    /// flights of a run.
    pub fn start(
        listener: &Arc<dyn Listener>,
        number: u64,
        (source, destination): (&Repository, Option<&Repository>),
        (digest, bytes): (&Digest, u64),
    ) -> Self {
        let passed = Passed::default();
        listener.hear(&Event::FlightStarted(Flight {
            number,
            source: source.clone(),
            destination: destination.cloned(),
            digest: digest.clone(),
            bytes,
            passed: passed.clone(),
        }));
        Self { listener: listener.clone(), number, began: Instant::now(), passed }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.listener.hear(&Event::FlightEnded(self.number));
    }
}
