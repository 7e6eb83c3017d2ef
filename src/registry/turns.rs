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
    fn turns(&self) -> &'static [(Kind, Method)] {
        if self.push { OF_WRITER } else { OF_READER }
    }

    /// Whether blobs are not to be read here now; or not to be sent, by whoever writes.
    pub fn holds_back_blobs(&self) -> bool {
        self.turns().iter().any(|turn| self.client.pace.is_held(turn))
    }

    /// Waits until they may be, or says for how long they may not.
    pub async fn wait_to_move_blobs(&self) -> Result<(), Error> {
        for turn in self.turns() {
            self.wait_turn(turn, &self.url("blobs/").await?).await?;
        }
        Ok(())
    }
}
