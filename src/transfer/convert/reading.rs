//! The source, and how much of it is read to know what is to be placed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::Refusal;
use crate::digest::Digest;
use crate::platform::Platform;
use crate::reference::Identifier;
use crate::registry::{Descriptor, Error, Manifest, RepositoryClient};
use crate::shared::Keyed;

/// Most bytes of an image's configuration that are read to learn its platform.
const LARGEST_CONFIG: u64 = 4 << 20;
/// Most bytes of all manifests below one root, since they are held until it is placed. Thousands of real ones fit.
const BUDGET: u64 = 32 << 20;
/// What a manifest costs at least, so that an end comes to indexes that name the same children over and over.
const LEAST: u64 = 4 << 10;

/// Where the parts of an image are read from that must be known.
pub trait Source: Sync {
    /// A manifest that an index names.
    fn manifest<'a>(&'a self, child: &'a Descriptor) -> BoxFuture<'a, Result<Manifest, Error>>;

    /// A configuration, whole.
    fn config<'a>(&'a self, config: &'a Descriptor) -> BoxFuture<'a, Result<Bytes, Error>>;
}

impl Source for RepositoryClient {
    fn manifest<'a>(&'a self, child: &'a Descriptor) -> BoxFuture<'a, Result<Manifest, Error>> {
        async { self.manifest(&Identifier::from(child.digest.clone())).await }.boxed()
    }

    fn config<'a>(&'a self, config: &'a Descriptor) -> BoxFuture<'a, Result<Bytes, Error>> {
        self.small_blob(&config.digest, config.size).boxed()
    }
}

/// What is read below one root: each manifest once, however often it is named.
pub(super) struct Reading<'a> {
    source: &'a dyn Source,
    spent: AtomicU64,
    manifests: Keyed<Digest, Manifest, Refusal>,
    /// By the manifest.
    platforms: Keyed<Digest, Option<Platform>, Refusal>,
}

impl<'a> Reading<'a> {
    pub fn of(source: &'a dyn Source) -> Self {
        Self { source, spent: AtomicU64::new(0), manifests: Keyed::default(), platforms: Keyed::default() }
    }

    pub async fn manifest(&self, child: &Descriptor) -> Result<Manifest, Refusal> {
        let Descriptor { digest, size, .. } = child;
        let cost = if self.manifests.announce(digest.clone()) { LEAST.max(*size) } else { LEAST };
        if self.spent.fetch_add(cost.min(BUDGET), Relaxed) > BUDGET - cost.min(BUDGET) {
            let reason =
                format!("with it the image has more than the {BUDGET} bytes of manifests that can be converted");
            return Err(Refusal::malformed(digest, reason));
        }
        let read = async || Ok(self.source.manifest(child).await?);
        let manifest = self.manifests.get(digest.clone(), read).await?;
        if manifest.bytes.len() as u64 != *size {
            let reason = format!("it has {} bytes, but the index that names it says {size}", manifest.bytes.len());
            return Err(Refusal::malformed(digest, reason));
        }
        Ok(manifest)
    }

    /// What an image runs on, by its configuration; none if it is no image, or says nothing of it.
    pub async fn platform_of(&self, image: &Manifest) -> Result<Option<Platform>, Refusal> {
        let Some(config) = image.image_config() else { return Ok(None) };
        if config.size > LARGEST_CONFIG {
            let reason = format!(
                "its configuration has {} bytes; at most {LARGEST_CONFIG} are read to learn its platform",
                config.size
            );
            return Err(Refusal::malformed(&image.digest, reason));
        }
        let read = async || {
            let bytes = self.source.config(config).await?;
            Ok(serde_json::from_slice(&bytes).ok().filter(|platform: &Platform| !platform.is_unknown()))
        };
        self.platforms.get(image.digest.clone(), read).await
    }
}
