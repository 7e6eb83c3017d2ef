//! An image on its way into its place: what a manifest names comes before it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::{CHILDREN, Image, MAX_DEPTH, corrupt, of_another_size, too_deep};
use crate::digest::Digest;
use crate::event::{Event, Failure, Retry};
use crate::platform::Platform;
use crate::reference::Identifier;
use crate::registry::{Content, Descriptor, Error, Manifest};
use crate::transfer::board::{Came, Mounts, Wanted};
use crate::transfer::doubts::Lack;
use crate::transfer::manifests::Unsettled;

/// How often what a manifest names is looked for again when the destination says that something of it is missing.
const REPAIRS: u32 = 3;

impl Image {
    /// Puts the manifest in its place when all it names is there. Another tag of a manifest that is there already
    /// costs just this one request.
    pub(super) async fn place(&self, manifest: &Manifest) -> Result<(), Failure> {
        let place = &self.task.place(&manifest.digest);
        let mut placed = false;
        let settle = async || {
            // An image without a tag is here because its digest is not there.
            if let Identifier::Tag(_) = place
                && self.is_there(&manifest.digest.clone().into()).await?
            {
                return Ok(None);
            }
            placed = true;
            self.commit(manifest, place, 0).await
        };
        let bytes = self.destination.manifests.settle(&manifest.digest, self.source.repository(), settle).await?;
        self.ledger.size(bytes);
        if !placed {
            self.check_clobber(&manifest.digest).await?;
            match self.put(place, manifest).await {
                Ok(()) => {}
                // The manifest is there, but perhaps not all that it names any more.
                Err(error) => {
                    match Box::pin(self.lack(&error, manifest)).await {
                        Lack::Parts => self.forget_parts(manifest),
                        Lack::NothingMore => {}
                        Lack::Nothing => return Err(self.refused(&error, manifest, 0)),
                    }
                    self.commit(manifest, place, 0).await.map_err(|unsettled| unsettled.failure)?;
                }
            }
        }
        self.tell_skipped(manifest);
        Ok(())
    }

    /// Brings a child of an index, once for all who name it in this repository. Answers the bytes of all that it names.
    async fn bring_child(&self, child: &Descriptor, depth: usize) -> Result<Option<u64>, Failure> {
        let settle = async || {
            let by_digest = Identifier::from(child.digest.clone());
            if self.is_there(&by_digest).await? {
                return Ok(None);
            }
            let manifest = self.manifest_of(&child.digest, child.platform.as_ref()).await?;
            let bytes = manifest.bytes.len() as u64;
            if bytes != child.size {
                return Err(of_another_size(&self.task, &child.digest, bytes, child.size).into());
            }
            self.commit(&manifest, &by_digest, depth).await
        };
        self.destination.manifests.settle(&child.digest, self.source.repository(), settle).await
    }

    /// A manifest below the root, which may be for one platform.
    pub(in crate::transfer) async fn manifest_of(
        &self,
        digest: &Digest,
        platform: Option<&Platform>,
    ) -> Result<Manifest, Failure> {
        match self.parts.get(digest) {
            Some(manifest) => Ok(manifest.clone()),
            None => {
                let read = self.engine.pulls.read(&self.source, digest).await;
                read.map(Arc::unwrap_or_clone).map_err(|error| absent_child(digest, platform, &error))
            }
        }
    }

    /// Whether a manifest is at the destination from an earlier run, with all that it names: registries take no
    /// manifest whose parts they lack. Where nothing was before, it is not asked.
    async fn is_there(&self, by_digest: &Identifier) -> Result<bool, Failure> {
        if self.destination.seems_empty() || self.engine.policy.force {
            return Ok(false);
        }
        match self.destination.client.digest(by_digest).await {
            // It does not understand the name, as one by an algorithm that it does not know.
            Err(error) if error.status().is_some_and(|status| status == 400) => Ok(false),
            there => Ok(there?.is_some()),
        }
    }

    /// Writes the manifest after everything it names. Answers the bytes of all that.
    pub(in crate::transfer) async fn commit(
        &self,
        manifest: &Manifest,
        identifier: &Identifier,
        depth: usize,
    ) -> Result<Option<u64>, Unsettled> {
        let (mut repairs, mut is_put_again) = (0, false);
        loop {
            let parts = self.bring_parts(manifest, depth).await?;
            if depth == 0 {
                let checked = self.check_clobber(&manifest.digest).await;
                checked.map_err(|failure| Unsettled { of_tag: failure.retry != Retry::AfterPause, failure })?;
            }
            let error = match self.put(identifier, manifest).await {
                Ok(()) => {
                    self.note_sealed(manifest);
                    self.destination.skip_layers(manifest);
                    return Ok(parts.map(|parts| parts.saturating_add(manifest.bytes.len() as u64)));
                }
                Err(error) => error,
            };
            match Box::pin(self.lack(&error, manifest)).await {
                Lack::NothingMore if !is_put_again => {
                    is_put_again = true;
                    continue;
                }
                // Also in the next round they are asked for.
                Lack::Parts => self.forget_parts(manifest),
                Lack::NothingMore | Lack::Nothing => {
                    let of_tag = depth == 0 && !error.is_transient();
                    return Err(Unsettled { failure: self.refused(&error, manifest, depth), of_tag });
                }
            }
            if repairs == most_repairs(&error, manifest) {
                return Err(self.looked_for_in_vain(&error, manifest, depth).into());
            }
            // Either a replica lags behind, or blobs were collected: look again, after a moment.
            repairs += 1;
            tracing::warn!(%error, "the destination misses parts of this manifest; they are looked for again");
            if repairs > 1 {
                // Nor was the second look right: what the registry says of mounts is not.
                self.engine.board.mounts(self.destination.registry(), Mounts::were_wrong);
            }
            tokio::time::sleep(Duration::from_millis(500 * u64::from(repairs))).await;
        }
    }

    /// One PUT, when its turn has come.
    pub(in crate::transfer) async fn put(&self, identifier: &Identifier, manifest: &Manifest) -> Result<(), Error> {
        let _turn = self.destination.puts.turn(manifest).await;
        self.destination.client.put_manifest(identifier, manifest).await
    }

    /// Notes that the manifest is there, so that its blobs can be mounted even where that needs one.
    fn note_sealed(&self, manifest: &Manifest) {
        let blobs = manifest.content.blobs().iter();
        let repository = self.destination.client.repository();
        self.engine.board.sealed(repository, blobs.map(|blob| (&blob.digest, blob.size)));
        self.engine.doubts.taken(repository.registry(), &manifest.media_type);
    }

    /// Names the layers of the image that were left where they are.
    pub(in crate::transfer) fn tell_skipped(&self, manifest: &Manifest) {
        let skipped = self.destination.skip_layers(manifest);
        self.ledger.skipped_layers(&skipped);
        for digest in skipped {
            self.engine.tell(Event::LayerSkipped { source: self.task.source.clone(), digest });
        }
    }

    fn forget_parts(&self, manifest: &Manifest) {
        let repository = self.destination.client.repository();
        // What was sent may be there all the same.
        self.destination.note_blob_found();
        self.engine.board.forget(repository, manifest.content.blobs().iter().map(|blob| &blob.digest));
        self.destination.manifests.forget(manifest.content.children().iter().map(|child| &child.digest));
    }

    /// Brings what a manifest names.
    pub(in crate::transfer) async fn bring_parts(
        &self,
        manifest: &Manifest,
        depth: usize,
    ) -> Result<Option<u64>, Failure> {
        if depth == MAX_DEPTH && matches!(manifest.content, Content::Index { .. }) {
            return Err(corrupt(&self.task, too_deep()));
        }
        let children = self.bring_children(manifest.content.children(), depth + 1).await?;
        let blobs = self.bring_blobs(manifest.content.blobs()).await?;
        Ok(children.map(|children| children.saturating_add(blobs)))
    }

    async fn bring_children(&self, children: &[Descriptor], depth: usize) -> Result<Option<u64>, Failure> {
        let mut seen = HashSet::new();
        let mut distinct = children.iter().filter(|child| seen.insert(&child.digest));
        let mut running = JoinSet::new();
        let mut bytes = Some(0_u64);
        loop {
            while running.len() < CHILDREN
                && let Some(child) = distinct.next()
            {
                running.spawn(self.clone().boxed_child(child.clone(), depth).in_current_span());
            }
            let Some(child) = running.join_next().await else { return Ok(bytes) };
            match child.unwrap_or_else(|_| Err(Failure::internal("child manifest"))) {
                Ok(child) => bytes = child.zip(bytes).map(|(child, all)| all.saturating_add(child)),
                Err(failure) => {
                    // None of them may ask for anything when the image has ended, and its round perhaps with it.
                    running.shutdown().await;
                    return Err(failure);
                }
            }
        }
    }

    /// Boxed, because children may be indexes and have children.
    fn boxed_child(self, child: Descriptor, depth: usize) -> BoxFuture<'static, Result<Option<u64>, Failure>> {
        Box::pin(async move { self.bring_child(&child, depth).await })
    }

    /// Asks for all blobs at once, then waits until each is there. Answers their bytes.
    async fn bring_blobs(&self, blobs: &[Descriptor]) -> Result<u64, Failure> {
        let repository = self.destination.client.repository();
        let mut seen = HashSet::new();
        let mut awaited = Vec::new();
        let mut bytes = 0_u64;
        for blob in blobs.iter().filter(|blob| !blob.is_foreign && seen.insert(&blob.digest)) {
            bytes = bytes.saturating_add(blob.size);
            match self.engine.board.want(&blob.digest, blob.size, self.source.repository(), repository, &self.job) {
                Wanted::Here => self.ledger.blob(&blob.digest, blob.size, Came::Present),
                Wanted::Failed(failure) => return Err(failure),
                Wanted::Await { answer, is_first } => {
                    if is_first {
                        self.engine.tell(Event::BlobWanted { bytes: blob.size });
                    }
                    awaited.push((answer, blob));
                }
            }
        }
        self.engine.dispatch();
        for (answer, blob) in awaited {
            let came = answer.await.unwrap_or_else(|_| Err(Failure::internal("blob")))?;
            self.ledger.blob(&blob.digest, blob.size, came);
        }
        Ok(bytes)
    }
}

/// How often what a refused manifest names is looked for again.
fn most_repairs(error: &Error, manifest: &Manifest) -> u32 {
    if manifest.content.blobs().iter().any(|blob| blob.is_foreign) {
        // Where layers were left out on purpose, one more look tells that nothing else is missing.
        1
    } else if error.parts_are_missing() {
        REPAIRS
    } else {
        // Its words may mean something else: it is looked once more when mounts are not believed.
        2
    }
}

/// Why a child cannot be read: an index may name manifests that are not there, which is then told with their platform.
pub(in crate::transfer) fn absent_child(digest: &Digest, platform: Option<&Platform>, error: &Error) -> Failure {
    let failure = error.to_failure();
    if !error.is_not_found() {
        return failure;
    }
    let platform = platform.map(|platform| format!(" for {platform}")).unwrap_or_default();
    let reason = format!(
        "the index names a manifest{platform} that the source does not have, {digest}; --platform copies only the platforms \
         that it names ({failure})",
    );
    Failure { reason: reason.into(), ..failure }
}
