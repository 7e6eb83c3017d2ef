//! Whether a registry wants to be left alone with what moves blobs: seen before anything is opened or read for one.

use reqwest::Method;

use super::RepositoryClient;
use super::error::Error;
use super::exchange::Kind;

/// Requests by which a blob is read.
const OF_READER: &[(Kind, Method)] = &[(Kind::BlobRead, Method::GET)];
/// Requests by which a blob is sent.
const OF_WRITER: &[(Kind, Method)] =
    &[(Kind::BlobWrite, Method::POST), (Kind::BlobWrite, Method::PATCH), (Kind::BlobWrite, Method::PUT)];

impl RepositoryClient {
    /// Those by which a blob of `size` bytes is read; or sent, by whoever writes.
    fn turns(&self, size: u64) -> impl Iterator<Item = &'static (Kind, Method)> {
        let is_whole = self.client.modes.sends_whole(size);
        let turns = if self.push { OF_WRITER } else { OF_READER };
        turns.iter().filter(move |(_, method)| !is_whole || *method != Method::PATCH)
    }

    /// Whether a blob of `size` bytes is not to be read here now; or not to be sent, by whoever writes.
    pub fn holds_back(&self, size: u64) -> bool {
        self.turns(size).any(|turn| self.client.pace.is_held(turn))
    }

    /// Waits until it may be, or says for how long it may not.
    pub async fn wait_to_move(&self, size: u64) -> Result<(), Error> {
        for turn in self.turns(size) {
            self.wait_turn(turn, &self.url("blobs/").await?).await?;
        }
        Ok(())
    }
}
