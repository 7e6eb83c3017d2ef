//! What a destination says when it is asked for a blob, before anything is sent: it is there, it can be linked, or here
//! is an upload. In as few requests as the registry can be believed in.

use super::Engine;
use super::board::{BlobKey, Came, Mounts, When};
use crate::digest::Digest;
use crate::reference::Repository;
use crate::registry::{Error, RepositoryClient, Started, Upload};

/// The size up to which a blob is sent into the upload that was opened to see whether the repository takes any.
const TINY: u64 = 16 << 10;

/// What a destination says when it is asked for a blob before anything is sent.
pub(super) enum Opening {
    There(Came),
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
    /// Asks the destination to open an upload, unless an earlier question tells that none is needed, or opens one.
    pub(super) async fn open(
        &self,
        key: &BlobKey,
        source: &Repository,
        destination: &RepositoryClient,
    ) -> Result<Opening, Error> {
        if let Some(opening) = self.by_mount_from_source(key, source, destination).await? {
            return Ok(opening);
        }
        let place = self.destinations.get(destination.repository());
        // Where blobs are found it may be there already.
        if key.size <= TINY
            && let Some(place) = place.filter(|place| !place.has_blobs())
            && let Some(upload) = place.take_first_upload()
        {
            // It is not asked for: to send it once too often costs no more.
            return Ok(Opening::Upload(upload));
        }
        if let Some(opening) = self.by_mount_from_itself(key, destination).await? {
            return Ok(opening);
        }
        if self.is_there(destination, key).await? {
            return Ok(Opening::There(Came::Present));
        }
        Ok(Opening::Upload(destination.start_upload().await?))
    }

    /// Has the registry link the blob from the source, if that is another of its repositories.
    async fn by_mount_from_source(
        &self,
        key: &BlobKey,
        source: &Repository,
        destination: &RepositoryClient,
    ) -> Result<Option<Opening>, Error> {
        let own = destination.repository();
        if !self.may_mount(key, source, own) {
            return Ok(None);
        }
        let place = self.destinations.get(own);
        if let Some(place) = &place {
            place.check_not_refused()?;
        }
        let mounted = destination.mount(&key.digest, source).await;
        if let Err(error) = &mounted
            && may_be_granted_later(error)
        {
            return Err(error.clone());
        }
        let granted = matches!(mounted, Ok(Started::Mounted));
        self.board.mounts(&key.registry, |mounts| mounts.told(When::Late, granted));
        match mounted {
            Ok(Started::Mounted) => Ok(Some(Opening::There(Came::Mounted))),
            Ok(Started::Upload(upload)) => self.unless_there(destination, key, upload).await.map(Some),
            Err(error) => {
                tracing::debug!(%error, "not mounted");
                // It was to tell whether the repository takes anything.
                if let Some(place) = place {
                    place.check_open(destination).await?;
                }
                Ok(None)
            }
        }
    }

    /// Has the registry link the blob from where it is to be: granted if it is there, and else an upload. Where that can be
    /// believed, it is two questions in one.
    async fn by_mount_from_itself(
        &self,
        key: &BlobKey,
        destination: &RepositoryClient,
    ) -> Result<Option<Opening>, Error> {
        let BlobKey { registry, digest, size } = key;
        // A mount says that there is a blob, and not that it is whole.
        if self.policy.force || !is_linked_by_name(digest) || !self.board.mounts(registry, |mounts| mounts.may_tell()) {
            return Ok(None);
        }
        let mounted = destination.mount(digest, destination.repository()).await;
        let is_true = self.board.mounts(registry, |mounts| mounts.tell());
        match mounted {
            Ok(Started::Mounted) if is_true => Ok(Some(Opening::There(Came::Present))),
            // The first time it is checked whether that is true.
            Ok(Started::Mounted) => {
                if destination.has_blob(digest, *size).await? {
                    self.board.mounts(registry, Mounts::told_truth);
                    return Ok(Some(Opening::There(Came::Present)));
                }
                self.board.mounts(registry, Mounts::were_wrong);
                Ok(None)
            }
            Ok(Started::Upload(upload)) if is_true => Ok(Some(Opening::Upload(upload))),
            // Some registries answer every mount with an upload.
            Ok(Started::Upload(upload)) => {
                let opening = self.unless_there(destination, key, upload).await?;
                if let Opening::There(_) = opening {
                    self.board.mounts(registry, Mounts::tell_nothing);
                }
                Ok(Some(opening))
            }
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                tracing::debug!(%error, "a mount is no way to ask for a blob here");
                self.board.mounts(registry, Mounts::tell_nothing);
                Ok(None)
            }
        }
    }

    /// Whether `destination` is asked to link a blob that `source` has, since both are in one registry.
    pub(super) fn may_mount(&self, key: &BlobKey, source: &Repository, destination: &Repository) -> bool {
        let registry = destination.registry();
        let is_worth_it = || self.board.mounts(registry, |mounts| mounts.are_worth_asking(When::Late));
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
        Ok(if is_there { Opening::There(Came::Present) } else { Opening::Upload(upload) })
    }

    /// Whether the blob is there, asked by HEAD. Where there are no tags there is hardly a blob, and it is not asked.
    pub(super) async fn is_there(&self, destination: &RepositoryClient, key: &BlobKey) -> Result<bool, Error> {
        Ok(!self.seems_empty(destination.repository()) && destination.has_blob(&key.digest, key.size).await?)
    }

    pub(super) fn seems_empty(&self, repository: &Repository) -> bool {
        self.destinations.get(repository).is_some_and(|destination| destination.seems_empty())
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
