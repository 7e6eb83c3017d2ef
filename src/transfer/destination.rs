//! What is known of one destination repository while a round works on it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::digest::Digest;
use crate::reference::{Identifier, Tag};
use crate::registry::{Error, RepositoryClient};

/// One repository that is written to, shared by all its images of a round.
pub(super) struct Destination {
    pub client: RepositoryClient,
    tags: OnceCell<Tags>,
    /// Manifests that are there, or are being brought there: filled once for all images that name them.
    manifests: Mutex<HashMap<Digest, Arc<OnceCell<()>>>>,
}

/// What is known of the tags.
enum Tags {
    /// Each has to be asked for.
    Unknown,
    Listed(HashSet<Tag>),
}

impl Destination {
    pub fn new(client: RepositoryClient) -> Self {
        Self { client, tags: OnceCell::new(), manifests: Mutex::default() }
    }

    /// What the tag names, if it is there.
    ///
    /// The first tag is asked for by itself. If it is there, this is probably a repeated run, in which a list would save
    /// nothing. If it is not, the list tells at once which others are not either, and whether there is anything.
    pub async fn digest(&self, tag: &Tag) -> Result<Option<Digest>, Error> {
        let identifier = Identifier::Tag(tag.clone());
        let mut asked = None;
        let tags = self
            .tags
            .get_or_try_init(async || {
                let digest = asked.insert(self.client.digest(&identifier).await?);
                Ok(match digest {
                    Some(_) => Tags::Unknown,
                    // Not every account that may push may list.
                    None => match self.client.tags().await {
                        Ok(tags) => Tags::Listed(tags.into_iter().collect()),
                        Err(error) if error.is_not_found() => Tags::Listed(HashSet::new()),
                        Err(error) => {
                            tracing::debug!(%error, "the destination's tags cannot be listed");
                            Tags::Unknown
                        }
                    },
                })
            })
            .await?;
        match (asked, tags) {
            (Some(digest), _) => Ok(digest),
            (None, Tags::Listed(tags)) if !tags.contains(tag) => Ok(None),
            (None, _) => self.client.digest(&identifier).await,
        }
    }

    /// Whether tags are known to be there at all. Where there are none, it is likely that there are no blobs.
    pub fn seems_empty(&self) -> bool {
        matches!(self.tags.get(), Some(Tags::Listed(tags)) if tags.is_empty())
    }

    /// Whether the first tag asked for was there, so that more probably are.
    pub fn seems_done(&self) -> bool {
        matches!(self.tags.get(), Some(Tags::Unknown))
    }

    /// The place where the manifest with this digest is settled, once for all.
    pub fn manifest(&self, digest: &Digest) -> Arc<OnceCell<()>> {
        let mut manifests = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        manifests.entry(digest.clone()).or_default().clone()
    }
}
