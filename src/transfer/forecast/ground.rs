//! One destination repository as a dry run finds it, with no right but to pull.
//!
//! Many registries hide what is absent from accounts that may only read: they answer 403 where an account that may push
//! gets 404. What may not be looked at is taken for absent, with one warning.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::companions::Circle;
use crate::digest::Digest;
use crate::event::Failure;
use crate::reference::{Identifier, Repository};
use crate::registry::{Error, ErrorKind, RepositoryClient};
use crate::shared::Keyed;
use crate::transfer::destination::{Destination, Known};
use crate::transfer::referrers::{Keeper, Listing};

pub(super) struct Ground {
    destination: Destination,
    /// It may not be looked at.
    is_hidden: AtomicBool,
    /// Whether they are there.
    manifests: Keyed<Digest, bool, Error>,
    /// What refers to a manifest of a source and would come here, looked at once for all images that have it.
    pub circles: Keyed<(Digest, Repository), Arc<Circle>, Failure>,
}

impl Ground {
    /// A repository to which `images` images of this round go.
    pub fn new(client: RepositoryClient, images: usize, force: bool) -> Self {
        Self {
            destination: Destination::new(client, images, force, Known::default()),
            is_hidden: AtomicBool::new(false),
            manifests: Keyed::default(),
            circles: Keyed::default(),
        }
    }

    pub fn client(&self) -> &RepositoryClient {
        &self.destination.client
    }

    /// What is named there.
    pub async fn digest(&self, identifier: &Identifier) -> Result<Option<Digest>, Error> {
        let digest = match identifier {
            Identifier::Tag(_) => self.unless_hidden(self.destination.digest(identifier)).await.map(Option::flatten),
            Identifier::Digest(digest) => self.holds(digest).await.map(|holds| holds.then(|| (**digest).clone())),
        };
        match digest {
            // What would be replaced need not be readable.
            Err(Error { kind: ErrorKind::Malformed { .. } | ErrorKind::Unsupported { .. }, .. }) => Ok(None),
            // As the run does.
            Err(error) if self.destination.force && error.is_of_server() => Ok(None),
            digest => digest,
        }
    }

    /// Whether a manifest is there, with all that it names. Where nothing was before, it is not asked.
    pub async fn has_manifest(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(!self.destination.force && !self.destination.has_no_tags() && self.holds(digest).await?)
    }

    /// Whether a manifest is there. Asked once for all images that have it.
    async fn holds(&self, digest: &Digest) -> Result<bool, Error> {
        let ask = async || {
            let by_digest = Identifier::from(digest.clone());
            Ok(self.unless_hidden(self.destination.client.digest(&by_digest)).await?.flatten().is_some())
        };
        self.manifests.get(digest.clone(), ask).await
    }

    /// What is listed here as referring to `subject`. Where nothing is to be seen, the registry is taken to keep lists.
    pub async fn listing(&self, subject: &Digest) -> Result<Listing, Error> {
        let none = || Listing { referrers: Vec::new(), keeper: Keeper::Registry };
        if self.destination.has_no_tags() {
            return Ok(none());
        }
        match self.unless_hidden(Listing::of(subject, &self.destination.client)).await {
            // It is not there yet, and so nothing refers to it.
            Err(error) if error.is_not_found() => Ok(none()),
            listing => Ok(listing?.unwrap_or_else(none)),
        }
    }

    /// Whether a blob is there. Where there are no tags there is hardly one, and it is not asked.
    pub async fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        if self.destination.seems_empty() {
            return Ok(false);
        }
        Ok(self.unless_hidden(self.destination.client.has_blob(digest, size)).await?.unwrap_or(false))
    }

    /// `None` if it may not be known.
    async fn unless_hidden<T>(&self, ask: impl Future<Output = Result<T, Error>>) -> Result<Option<T>, Error> {
        if self.is_hidden.load(Relaxed) {
            return Ok(None);
        }
        match ask.await {
            Err(error) if error.status().is_some_and(|status| matches!(status.as_u16(), 401 | 403)) => {
                if !self.is_hidden.swap(true, Relaxed) {
                    let repository = self.destination.client.repository();
                    tracing::warn!("{repository} may not be looked at, and is taken for empty: {error}");
                }
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }
}
