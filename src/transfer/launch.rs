//! Tickets of the board that become tasks: each is given back exactly once, whatever becomes of its task.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Engine;
use super::board::{Place, Ticket};
use super::flight::fly;
use crate::event::Failure;

/// Gives the ticket back if its task ends without having said what came of it.
///
/// It is made before the task is: one that is cancelled before it has begun has a ticket, too.
pub(super) struct Guard {
    pub engine: Arc<Engine>,
    pub ticket: Option<Ticket>,
}

impl Guard {
    pub fn close(mut self, tell: impl FnOnce(&Ticket)) {
        if let Some(ticket) = self.ticket.take() {
            tell(&ticket);
        }
        self.engine.dispatch();
    }

    /// Gives the place back, and has the blob tried again after some time.
    pub fn postpone(self, wait: Duration) {
        let (engine, round) = (self.engine.clone(), self.engine.round());
        let Some(Ticket { key, destination, .. }) = &self.ticket else { return };
        let (key, destination) = (key.clone(), destination.clone());
        tracing::debug!(%destination, digest = %key.digest, seconds = wait.as_secs_f64(), "the blob is postponed");
        self.close(|ticket| engine.board.postponed(ticket));
        let resume = {
            let engine = engine.clone();
            async move {
                tokio::time::sleep(wait).await;
                engine.board.resume(&key, &destination);
                engine.dispatch();
            }
        };
        engine.flights.spawn(async move { round.run_until_cancelled(resume).await });
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let failure =
                if self.engine.cancel.is_cancelled() { Failure::cancelled() } else { Failure::internal("blob") };
            self.engine.board.aborted(&ticket, &failure);
            self.engine.dispatch();
        }
    }
}

impl Engine {
    /// Starts whatever may start now. At the end of a round that is nothing, and after an interruption it fails instead.
    pub(super) fn dispatch(self: &Arc<Self>) {
        let round = self.round();
        if round.is_cancelled() {
            return;
        }
        if self.cancel.is_cancelled() {
            return self.give_up();
        }
        self.board.take_ready().into_iter().for_each(|ticket| self.start(ticket, &round));
    }

    /// Has the next blob read, while what has the place is stored by the destination.
    pub(super) fn hand_on(self: &Arc<Self>, place: &Place) {
        let round = self.round();
        if !round.is_cancelled()
            && !self.cancel.is_cancelled()
            && let Some(ticket) = self.board.sent(place)
        {
            self.start(ticket, &round);
        }
    }

    fn start(self: &Arc<Self>, ticket: Ticket, round: &CancellationToken) {
        let guard = Guard { engine: self.clone(), ticket: Some(ticket) };
        let round = round.clone();
        self.flights.spawn(async move { round.run_until_cancelled(fly(guard)).await });
    }

    /// Fails whatever would start now, and what comes in its place.
    fn give_up(&self) {
        loop {
            let tickets = self.board.take_ready();
            if tickets.is_empty() {
                return;
            }
            tickets.iter().for_each(|ticket| self.board.aborted(ticket, &Failure::cancelled()));
        }
    }
}
