//! The body of a request, read piece by piece, counted, and broken off where a hook says so.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::log::Entry;

/// Go's server reads this much of a body nobody wanted before it closes the connection.
const DRAIN: u64 = 256 * 1024;
/// And keeps the connection open, so that the client can read the answer: Go for half a second, which on a busy machine can
/// be too short.
const LINGER: Duration = Duration::from_secs(60);

/// The connection is to be closed, or is so already, without a proper answer.
#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was broken")
    }
}

impl std::error::Error for Broken {}

/// What is left of a request's body.
pub(crate) struct Intake {
    body: Incoming,
    entry: Arc<Entry>,
    received: u64,
    cut_after: Option<u64>,
    stall_after: Option<u64>,
}

impl Intake {
    pub(crate) fn new(body: Incoming, entry: Arc<Entry>, cut_after: Option<u64>, stall_after: Option<u64>) -> Self {
        Intake { body, entry, received: 0, cut_after, stall_after }
    }

    /// The next piece; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if self.cut_after.is_some_and(|limit| self.received >= limit) {
                return Err(Broken);
            }
            if self.stall_after.is_some_and(|limit| self.received >= limit) {
                return pending().await;
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let Ok(mut piece) = frame.map_err(|_| Broken)?.into_data() else { continue };
            let limit = self.cut_after.into_iter().chain(self.stall_after).min().unwrap_or(u64::MAX);
            piece.truncate((limit - self.received).min(piece.len() as u64) as usize);
            self.received += piece.len() as u64;
            self.entry.received(piece.len() as u64);
            return Ok(Some(piece));
        }
    }

    /// How many bytes were read so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// The whole body, or `None` if it is longer than `limit`.
    pub(crate) async fn whole(&mut self, limit: usize) -> Result<Option<Bytes>, Broken> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > limit {
                return Ok(None);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole.into()))
    }

    /// After an answer was decided on: deals with what nobody has read. Whether the connection can be used again.
    pub(crate) async fn settle(mut self) -> Result<bool, Broken> {
        if self.cut_after.is_some() || self.stall_after.is_some() {
            while self.next().await?.is_some() {}
        }
        let is_read = self.body.is_end_stream();
        if !is_read {
            // A client in the midst of a large body learns of an early answer only if somebody goes on reading for a while.
            tokio::spawn(async move {
                while self.received < DRAIN {
                    match self.next().await {
                        Ok(Some(_)) => {}
                        _ => return,
                    }
                }
                tokio::time::sleep(LINGER).await;
            });
        }
        Ok(is_read)
    }
}
