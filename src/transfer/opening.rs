//! What a destination says when it is asked for a blob, before anything is sent: it is there, it can be linked, or here
//! is an upload. In as few requests as the registry can be believed in.

use super::Engine;
use super::board::{BlobKey, Came};
use crate::digest::Digest;
use crate::reference::Repository;
use crate::registry::{Error, RepositoryClient, Started, Upload};

/// The size up to which a blob is sent into the upload that was opened to see whether the repository takes any.
const TINY: u64 = 16 << 10;

/// How a blob came to be where it is needed.
pub(super) enum Arrival {
    Sent,
    Mounted(Repository),
    Present,
}

impl Arrival {
    pub fn came(&self) -> Came {
        match self {
            Self::Sent => Came::Moved,
            Self::Mounted(_) => Came::Mounted,
            Self::Present => Came::Present,
        }
    }
}

/// What a destination says when it is asked for a blob before anything is sent.
pub(super) enum Opening {
    There(Arrival),
    Upload(Upload),
}

/// Whether an error says nothing of the mounts of a registry: nobody answered, or it was asked too much.
pub(super) fn may_be_granted_later(error: &Error) -> bool {
    error.is_overload() || error.is_transient() && error.status().is_none()
}

/// Whether what is mounted is then there under this digest. distribution mounts under that of SHA-256 alone, whatever
/// digest it is asked for, and says that it did.
pub(super) fn is_linked_by_name(digest: &Digest) -> bool {
    digest.sha256().is_some()
}

impl Engine {
    /// Asks the destination to open an upload, by way of a mount where that can tell that none is needed.
    pub(super) async fn open(
        &self,
        key: &BlobKey,
        source: &Repository,
        destination: &RepositoryClient,
    ) -> Result<Opening, Error> {
        let BlobKey { registry, digest, size } = key;
        let own = destination.repository();
        if self.may_mount(key, source, own) {
            let place = self.destinations().get(own).cloned();
            if let Some(place) = &place {
                place.check_not_refused()?;
            }
            let mounted = destination.mount(digest, source).await;
            if let Err(error) = &mounted
                && may_be_granted_later(error)
            {
                return Err(error.clone());
            }
            self.board.mount_told(registry, matches!(mounted, Ok(Started::Mounted)));
            match mounted {
                Ok(Started::Mounted) => return Ok(Opening::There(Arrival::Mounted(source.clone()))),
                Ok(Started::Upload(upload)) => return self.unless_there(destination, key, upload).await,
                Err(error) => {
                    tracing::debug!(%error, "not mounted");
                    // It was to tell whether the repository takes anything.
                    if let Some(place) = place {
                        place.check_open(destination).await?;
                    }
                }
            }
        }
        if *size <= TINY
            && let Some(upload) = self.take_first_upload(own)
        {
            // To send it once too often costs no more than to ask.
            return Ok(Opening::Upload(upload));
        }
        // A mount says that there is a blob, and not that it is whole.
        if !self.policy.force && self.beliefs.may_tell(registry) && is_linked_by_name(digest) {
            match destination.mount(digest, own).await {
                Ok(Started::Mounted) if self.beliefs.tells(registry) => {
                    return Ok(Opening::There(Arrival::Present));
                }
                // The first time it is checked whether that is true.
                Ok(Started::Mounted) => {
                    if destination.has_blob(digest, *size).await? {
                        self.beliefs.told_truth(registry);
                        return Ok(Opening::There(Arrival::Present));
                    }
                    self.beliefs.was_wrong(registry);
                }
                Ok(Started::Upload(upload)) if self.beliefs.tells(registry) => return Ok(Opening::Upload(upload)),
                // Some registries answer every mount with an upload.
                Ok(Started::Upload(upload)) => {
                    let opening = self.unless_there(destination, key, upload).await?;
                    if let Opening::There(_) = opening {
                        self.beliefs.tells_nothing(registry);
                    }
                    return Ok(opening);
                }
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, "a mount is no way to ask for a blob here");
                    self.beliefs.tells_nothing(registry);
                }
            }
        }
        if self.is_there(destination, key).await? {
            return Ok(Opening::There(Arrival::Present));
        }
        Ok(Opening::Upload(destination.start_upload().await?))
    }

    /// Whether `destination` is asked to link a blob that `source` has, since both are in one registry.
    pub(super) fn may_mount(&self, key: &BlobKey, source: &Repository, destination: &Repository) -> bool {
        let registry = destination.registry();
        let is_worth_it = || self.beliefs.may_mount(registry) && self.board.mounts_are_worth_asking(registry);
        source.registry() == registry && source != destination && is_linked_by_name(&key.digest) && is_worth_it()
    }

    /// The upload, unless the blob is there and none is needed.
    async fn unless_there(
        &self,
        destination: &RepositoryClient,
        key: &BlobKey,
        upload: Upload,
    ) -> Result<Opening, Error> {
        let is_there = self.is_there(destination, key).await?;
        Ok(if is_there { Opening::There(Arrival::Present) } else { Opening::Upload(upload) })
    }

    /// Whether the blob is there, asked by HEAD. Where there are no tags there is hardly a blob, and it is not asked.
    pub(super) async fn is_there(&self, destination: &RepositoryClient, key: &BlobKey) -> Result<bool, Error> {
        Ok(!self.seems_empty(destination.repository()) && destination.has_blob(&key.digest, key.size).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::ErrorKind;

    #[test]
    fn what_nobody_answered_or_a_registry_had_no_time_for_is_no_refusal_to_mount() {
        let may_be = |kind| {
            let registry = "r.example.com".parse().unwrap();
            may_be_granted_later(&Error { registry, asked: None, kind })
        };
        let status = |status: &str| {
            let (status, codes) = (status.parse().unwrap(), Vec::new());
            ErrorKind::Status { status, codes, message: String::new(), retry_after: None }
        };
        assert!(may_be(ErrorKind::Broken { reason: String::new() }));
        assert!(may_be(status("429")) && may_be(status("503")));
        // Some answer so for ever.
        assert!(!may_be(status("500")) && !may_be(status("403")));
        assert!(!may_be(ErrorKind::Malformed { reason: String::new() }));
    }
}
