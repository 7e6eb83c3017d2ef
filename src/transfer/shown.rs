//! Blobs on their way, as they are shown to the operator.

use std::sync::Arc;
use std::time::Instant;

use super::stream::Passed;
use crate::event::{Event, Flight, Listener};

/// A flight that is shown until this is dropped.
pub struct Shown {
    listener: Arc<dyn Listener>,
    number: u64,
    pub began: Instant,
    /// Bytes that have passed.
    pub passed: Passed,
}

impl Shown {
    /// Tells that the flight begins.
    pub fn start(listener: &Arc<dyn Listener>, flight: Flight) -> Self {
        let (number, passed) = (flight.number, flight.passed.clone());
        listener.hear(&Event::FlightStarted(flight));
        Self { listener: listener.clone(), number, began: Instant::now(), passed }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.listener.hear(&Event::FlightEnded(self.number));
    }
}
