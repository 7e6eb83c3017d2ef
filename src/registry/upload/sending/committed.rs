//! Whether a blob is there after its last request: its answer may have been lost, and may have been untrue.

use std::time::Duration;

use reqwest::{Method, StatusCode};

use super::Sending;
use crate::registry::blob::Stored;
use crate::registry::error::{Error, ErrorKind};
use crate::registry::exchange::Kind;
use crate::registry::upload::modes::Modes;

/// The pauses before each look for a blob whose answer was lost: GHCR commits a large one in the seconds after. Each with
/// the size in bytes from which it is worth it.
const LOOKS: [(Duration, u64); 6] = [
    (Duration::ZERO, 0),
    (Duration::from_secs(1), 0),
    (Duration::from_secs(3), 0),
    (Duration::from_secs(6), 256 << 20),
    (Duration::from_secs(12), 1 << 30),
    (Duration::from_secs(24), 4 << 30),
];

/// The most looks for one blob.
pub(super) const ALL_LOOKS: usize = LOOKS.len();

impl Sending<'_> {
    /// The failure of an upload's end, unless the blob is there all the same: the answer may have been lost, or another
    /// try's commit may have come late. It is looked for at most `looks` times.
    pub(super) async fn unless_committed(&self, looks: usize, result: Result<(), Error>) -> Result<(), Error> {
        let Err(error) = result else { return Ok(()) };
        let turn = (Kind::BlobWrite, Method::PUT);
        let looks = match error.facts() {
            ErrorKind::Broken { .. } | ErrorKind::TimedOut { .. } => looks,
            // A proxy did not wait for the registry, which is still at it.
            ErrorKind::Status { status, .. } if is_of_proxy(*status) => looks,
            // It has answered: what it says at once it says for good.
            ErrorKind::Status { status, .. } if may_follow_a_commit(*status) => looks.min(1),
            _ => return Err(self.to.judged(&turn, error)),
        };
        for (pause, _) in LOOKS.into_iter().take(looks).filter(|(_, from)| self.size >= *from) {
            tokio::time::sleep(pause).await;
            if let Ok(true) = Box::pin(self.to.has_blob(self.digest, self.size)).await {
                tracing::info!(%error, digest = %self.digest, "the blob is there all the same");
                self.to.client.pace.was_done(&turn);
                return Ok(());
            }
        }
        Err(self.to.judged(&turn, error))
    }

    /// Registries were seen to keep nothing but the last chunk, under the whole blob's digest. Then that is no way here.
    pub(super) async fn check_stored(&self, no_way: impl Fn(&Modes)) -> Result<(), Error> {
        match self.to.stored(self.digest).await {
            // Some say 0 of whatever is answered without a body.
            Ok(Stored::Sized(found)) if found != self.size && found > 0 => {
                no_way(&self.to.client.modes);
                let url = self.to.blob_url(self.digest).await?;
                let kind = ErrorKind::WrongSize { expected: self.size, found };
                Err(self.to.error(&Method::HEAD, &url, kind))
            }
            // A registry that cannot tell the size may be right. If there is nothing, it refuses the manifest.
            _ => Ok(()),
        }
    }
}

fn may_follow_a_commit(status: StatusCode) -> bool {
    matches!(status.as_u16(), 404 | 409 | 423 | 425) || status.is_server_error()
}

/// Whether it is what a proxy says that does not wait for the registry any longer.
fn is_of_proxy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502 | 504 | 524)
}
