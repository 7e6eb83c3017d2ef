//! Tickets of the board that become tasks: each is given back exactly once, whatever becomes of its task.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::board::{Back, Place, Ticket};
use super::flight::fly;
use super::round::Round;
use crate::event::Failure;

/// Gives the ticket back if its task ends without having said what came of it.
///
/// It is made before the task is: one that is cancelled before it has begun has a ticket, too.
struct Guard {
    engine: Arc<Engine>,
    ticket: Option<Ticket>,
}

impl Guard {
    async fn fly(mut self) {
        let Some(ticket) = &mut self.ticket else { return };
        let upload = ticket.take_upload();
        let back = fly(&self.engine, ticket, upload).await;
        self.close(back);
    }

    /// Gives the ticket back with what came of it.
    fn close(mut self, back: Back) {
        let Some(ticket) = self.ticket.take() else { return };
        let resumed = match back {
            Back::Postponed(wait) => Some(self.engine.clone().resume_after(wait, &ticket)),
            _ => None,
        };
        self.engine.board.give_back(ticket, back);
        self.engine.dispatch();
        // Begun only now: what is not postponed yet would not be resumed.
        if let Some(resumed) = resumed {
            self.engine.round().spawn(resumed);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let failure =
                if self.engine.cancel.is_cancelled() { Failure::cancelled() } else { Failure::internal("blob") };
            self.engine.board.give_back(ticket, Back::Aborted(failure));
            self.engine.dispatch();
        }
    }
}

impl Engine {
    /// Starts whatever may start now. At the end of a round that is nothing, and after an interruption it fails instead.
    pub(super) fn dispatch(self: &Arc<Self>) {
        let round = self.round();
        let Some(_entered) = round.enter() else { return };
        if self.cancel.is_cancelled() {
            return self.give_up();
        }
        self.board.take_ready().into_iter().for_each(|ticket| self.start(ticket, &round));
    }

    /// Has the next blob read, while what has the place is stored by the destination.
    pub(super) fn hand_on(self: &Arc<Self>, place: &Place) {
        let round = self.round();
        if let Some(_entered) = round.enter()
            && !self.cancel.is_cancelled()
            && let Some(ticket) = self.board.sent(place)
        {
            self.start(ticket, &round);
        }
        // What was passed over on the way may now wait in another queue.
        self.dispatch();
    }

    fn start(self: &Arc<Self>, ticket: Ticket, round: &Round) {
        let guard = Guard { engine: self.clone(), ticket: Some(ticket) };
        round.spawn(guard.fly());
    }

    /// Has a blob that is postponed tried again after some time.
    fn resume_after(self: Arc<Self>, wait: Duration, ticket: &Ticket) -> impl Future<Output = ()> + Send + use<> {
        let Ticket { key, destination, .. } = ticket;
        tracing::debug!(%destination, digest = %key.digest, seconds = wait.as_secs_f64(), "the blob is postponed");
        let (key, destination) = (key.clone(), destination.clone());
        async move {
            tokio::time::sleep(wait).await;
            self.board.resume(&key, &destination);
            self.dispatch();
        }
    }

    /// Fails whatever would start now, and what comes in its place.
    fn give_up(&self) {
        loop {
            let tickets = self.board.take_ready();
            if tickets.is_empty() {
                return;
            }
            let aborted = || Back::Aborted(Failure::cancelled());
            tickets.into_iter().for_each(|ticket| self.board.give_back(ticket, aborted()));
        }
    }
}
