//! The body of an answer: a stretch of some content, sent in pieces, with the faults that hooks ask for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Sleep, sleep};

use crate::content::{Content, PIECE};
use crate::intake::Broken;
use crate::log::Flight;

/// What was sent before a cut is flushed in this time, so that exactly that much arrives.
const FLUSH: Duration = Duration::from_millis(5);

/// A body on its way out. The request is under way until the last piece is handed over or the body is dropped.
pub(crate) struct ResponseBody {
    pub(crate) content: Content,
    pub(crate) at: u64,
    pub(crate) end: u64,
    pub(crate) sent: u64,
    /// Where in the content a byte is inverted.
    pub(crate) flip: Option<u64>,
    pub(crate) cut_after: Option<u64>,
    pub(crate) stall_after: Option<u64>,
    /// The most bytes a second.
    pub(crate) throttle: Option<u64>,
    /// Until when the next piece, or the cut, has to wait.
    pub(crate) timer: Option<Pin<Box<Sleep>>>,
    pub(crate) flight: Option<Flight>,
}

impl ResponseBody {
    /// A body of no bytes.
    pub(crate) fn empty() -> Self {
        ResponseBody {
            content: Content::empty(),
            at: 0,
            end: 0,
            sent: 0,
            flip: None,
            cut_after: None,
            stall_after: None,
            throttle: None,
            timer: None,
            flight: None,
        }
    }

    /// What is sent next, up to the place where something is to happen.
    fn next_piece(&self) -> Bytes {
        let limit = self.cut_after.into_iter().chain(self.stall_after).min().unwrap_or(u64::MAX);
        // A throttled body goes out in small pieces, so that it flows and does not leap.
        let smooth = self.throttle.map_or(PIECE, |rate| (rate / 20).clamp(1, PIECE));
        let max = smooth.min(self.end - self.at).min(limit - self.sent);
        self.flipped(self.content.read(self.at, max))
    }

    fn count(&mut self, length: u64) {
        self.at += length;
        self.sent += length;
        if let Some(flight) = &self.flight {
            flight.entry.sent(length);
        }
        if self.at >= self.end {
            self.flight = None;
        } else if let Some(rate) = self.throttle {
            let pause = Duration::from_secs_f64(length as f64 / rate as f64);
            self.timer = Some(Box::pin(sleep(pause)));
        }
    }

    fn flipped(&self, piece: Bytes) -> Bytes {
        let Some(place) = self.flip.and_then(|flip| flip.checked_sub(self.at)) else { return piece };
        if place >= piece.len() as u64 {
            return piece;
        }
        let mut altered = piece.to_vec();
        altered[place as usize] = !altered[place as usize];
        altered.into()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        if this.at >= this.end {
            return Poll::Ready(None);
        }
        let cut = this.cut_after.is_some_and(|limit| this.sent >= limit);
        if cut {
            this.timer.get_or_insert_with(|| Box::pin(sleep(FLUSH)));
        } else if this.stall_after.is_some_and(|limit| this.sent >= limit) {
            // Nobody wakes this up: it ends with the connection.
            return Poll::Pending;
        }
        if let Some(timer) = &mut this.timer {
            ready!(timer.as_mut().poll(cx));
            this.timer = None;
        }
        let piece = if cut { Bytes::new() } else { this.next_piece() };
        if piece.is_empty() {
            return Poll::Ready(Some(Err(Broken)));
        }
        this.count(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.end
    }
}
