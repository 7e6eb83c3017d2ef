//! One image: compared, and copied if it differs. Blobs first, then children by digest, then the tag, once.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::Engine;
use super::board::Wanted;
use super::destination::Destination;
use crate::digest::Digest;
use crate::event::{Category, Event, Failure, Success};
use crate::plan::Task;
use crate::reference::Identifier;
use crate::registry::{Content, Descriptor, Error, Manifest, RepositoryClient, platform_in};

/// Indexes within indexes, at most: real ones have two levels.
const MAX_DEPTH: usize = 8;
/// Children of one index in work at once.
const CHILDREN: usize = 16;
/// How often what a manifest names is looked for again when the destination says that something is missing.
const REPAIRS: u32 = 3;

/// What the copying of one image needs to know. Cheap to clone, since children are copied side by side.
#[derive(Clone)]
pub(super) struct Image {
    pub engine: Arc<Engine>,
    pub task: Arc<Task>,
    /// Place in the plan: older images go first.
    pub job: usize,
    pub source: RepositoryClient,
    pub destination: Arc<Destination>,
}

impl Image {
    /// Brings the image to its destination, unless it is there.
    pub async fn copy(&self) -> Result<(Success, Digest), Failure> {
        let (there, wanted) = match self.compare().await {
            Ok((None, wanted)) => {
                self.destination.check_open().await.map_err(|error| error.to_failure())?;
                (None, wanted)
            }
            // Some say the same of a repository that they do not have as of a tag that is not for us.
            Err(error) if error.is_refused_repository() && error.registry == *self.destination.registry() => {
                self.destination.check_open().await.map_err(|error| error.to_failure())?;
                self.compare().await.map_err(|error| error.to_failure())?
            }
            compared => compared.map_err(|error| error.to_failure())?,
        };
        if let (Some(there), Some(wanted)) = (there, wanted)
            && there == wanted
        {
            return Ok((Success::UpToDate, wanted));
        }
        let manifest = self.source.manifest(&self.task.source.identifier).await.map_err(|error| error.to_failure())?;
        self.place(&manifest).await?;
        Ok((Success::Copied, manifest.digest))
    }

    /// What is at the destination, and what should be: the latter only if the former is there to be compared with.
    async fn compare(&self) -> Result<(Option<Digest>, Option<Digest>), Error> {
        let Task { source, destination } = &*self.task;
        let there = async {
            match &destination.identifier {
                Identifier::Tag(tag) => self.destination.digest(tag).await,
                by_digest => self.destination.client.digest(by_digest).await,
            }
        };
        if let Some(digest) = source.identifier.digest() {
            return Ok((there.await?, Some(digest.clone())));
        }
        let wanted = self.source.digest(&source.identifier);
        if self.destination.seems_done() {
            return tokio::try_join!(there, wanted);
        }
        match there.await? {
            None => Ok((None, None)),
            there => Ok((there, wanted.await?)),
        }
    }

    /// Puts the manifest in its place when all it names is there. Another tag of a manifest that is there already
    /// costs just this one request.
    async fn place(&self, manifest: &Manifest) -> Result<(), Failure> {
        let place = &self.task.destination.identifier;
        let mut placed = false;
        let settle = async || {
            if !self.is_there(&Identifier::Digest(manifest.digest.clone())).await? {
                self.commit(manifest, place, 0).await?;
                placed = true;
            }
            Ok(())
        };
        self.destination.settled(&manifest.digest, self.source.repository()).get(|()| true, settle).await?;
        if placed {
            return Ok(());
        }
        match self.destination.client.put_manifest(place, manifest).await {
            Ok(()) => Ok(()),
            // The manifest is there, but not all that it names any more.
            Err(error) if parts_are_missing(&error) => {
                self.forget_parts(manifest);
                self.commit(manifest, place, 0).await
            }
            Err(error) => Err(error.to_failure()),
        }
    }

    /// Brings a child of an index, once for all who name it in this repository.
    async fn bring_child(&self, index: &[u8], child: &Descriptor, depth: usize) -> Result<(), Failure> {
        let settle = async || {
            let by_digest = Identifier::Digest(child.digest.clone());
            if self.is_there(&by_digest).await? {
                return Ok(());
            }
            let manifest =
                self.source.manifest(&by_digest).await.map_err(|error| absent_child(index, child, &error))?;
            if manifest.bytes.len() as u64 != child.size {
                return Err(self.corrupt(format!(
                    "manifest {} has {} bytes, but the index that names it says {}",
                    child.digest,
                    manifest.bytes.len(),
                    child.size
                )));
            }
            self.commit(&manifest, &by_digest, depth).await
        };
        self.destination.settled(&child.digest, self.source.repository()).get(|()| true, settle).await
    }

    /// Whether a manifest is at the destination from an earlier run, with all that it names: registries take no
    /// manifest whose parts they lack. Where nothing was before, it is not asked.
    async fn is_there(&self, by_digest: &Identifier) -> Result<bool, Failure> {
        if self.destination.has_no_tags() {
            return Ok(false);
        }
        let there = self.destination.client.digest(by_digest).await.map_err(|error| error.to_failure())?;
        Ok(there.is_some())
    }

    /// Writes the manifest after everything it names.
    async fn commit(&self, manifest: &Manifest, identifier: &Identifier, depth: usize) -> Result<(), Failure> {
        let mut repairs = 0;
        loop {
            self.bring_parts(manifest, depth).await?;
            let error = match self.destination.client.put_manifest(identifier, manifest).await {
                Ok(()) => {
                    self.note_sealed(manifest);
                    self.tell_skipped(manifest);
                    return Ok(());
                }
                Err(error) => error,
            };
            if !parts_are_missing(&error) || repairs == REPAIRS {
                return Err(error.to_failure());
            }
            // Either a replica lags behind, or blobs were collected: look again, after a moment.
            repairs += 1;
            tracing::warn!(%error, "the destination misses parts of this manifest; they are looked for again");
            self.forget_parts(manifest);
            if repairs > 1 {
                // Nor was the second look right: what the registry says of mounts is not.
                self.engine.beliefs.was_wrong(self.destination.client.repository().registry());
            }
            tokio::time::sleep(Duration::from_millis(500 * u64::from(repairs))).await;
        }
    }

    /// Notes that the manifest is there, so that its blobs can be mounted even where that needs one.
    fn note_sealed(&self, manifest: &Manifest) {
        let (Content::Blobs(blobs) | Content::Index { blobs, .. }) = &manifest.content;
        let repository = self.destination.client.repository();
        self.engine.board.sealed(repository, blobs.iter().map(|blob| (&blob.digest, blob.size)));
    }

    /// Names the layers that were left where they are.
    fn tell_skipped(&self, manifest: &Manifest) {
        let Content::Blobs(blobs) = &manifest.content else { return };
        for blob in blobs.iter().filter(|blob| blob.is_foreign) {
            let (source, digest) = (self.task.source.clone(), blob.digest.clone());
            self.engine.tell(Event::LayerSkipped { source, digest });
        }
    }

    fn forget_parts(&self, manifest: &Manifest) {
        let (blobs, children) = match &manifest.content {
            Content::Blobs(blobs) => (blobs, [].as_slice()),
            Content::Index { manifests, blobs } => (blobs, manifests.as_slice()),
        };
        let repository = self.destination.client.repository();
        self.engine.board.forget(repository, blobs.iter().map(|blob| (&blob.digest, blob.size)));
        self.destination.forget(children.iter().map(|child| &child.digest));
    }

    async fn bring_parts(&self, manifest: &Manifest, depth: usize) -> Result<(), Failure> {
        match &manifest.content {
            Content::Blobs(blobs) => self.bring_blobs(blobs).await,
            Content::Index { manifests, blobs } => {
                if depth == MAX_DEPTH {
                    return Err(self.corrupt(format!("indexes are nested more than {MAX_DEPTH} deep")));
                }
                self.bring_children(manifest, manifests, depth + 1).await?;
                self.bring_blobs(blobs).await
            }
        }
    }

    async fn bring_children(&self, index: &Manifest, children: &[Descriptor], depth: usize) -> Result<(), Failure> {
        let mut seen = HashSet::new();
        let mut distinct = children.iter().filter(|child| seen.insert(&child.digest));
        let mut running = JoinSet::new();
        loop {
            while running.len() < CHILDREN
                && let Some(child) = distinct.next()
            {
                running.spawn(self.clone().boxed_child(index.bytes.clone(), child.clone(), depth));
            }
            match running.join_next().await {
                None => return Ok(()),
                Some(Ok(result)) => result?,
                Some(Err(_)) => return Err(Failure::internal("child manifest")),
            }
        }
    }

    /// Boxed, because children may be indexes and have children.
    fn boxed_child(
        self,
        index: Bytes,
        child: Descriptor,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>> {
        Box::pin(async move { self.bring_child(&index, &child, depth).await })
    }

    /// Asks for all blobs at once, then waits until each is there.
    async fn bring_blobs(&self, blobs: &[Descriptor]) -> Result<(), Failure> {
        let repository = self.destination.client.repository();
        let mut seen = HashSet::new();
        let mut awaited = Vec::new();
        for blob in blobs.iter().filter(|blob| !blob.is_foreign && seen.insert(&blob.digest)) {
            match self.engine.board.want(&blob.digest, blob.size, self.source.repository(), repository, self.job) {
                Wanted::Here => {}
                Wanted::Failed(failure) => return Err(failure),
                Wanted::Await(answer) => awaited.push(answer),
            }
        }
        self.engine.dispatch();
        for answer in awaited {
            answer.await.unwrap_or_else(|_| Err(Failure::internal("blob")))?;
        }
        Ok(())
    }

    fn corrupt(&self, reason: String) -> Failure {
        Failure {
            category: Category::Corrupt,
            registry: Some(self.task.source.repository.registry().clone()),
            reason: reason.into(),
            transient: false,
            is_final: false,
            remedy: None,
        }
    }
}

/// Why a child cannot be read: an index may name manifests that are not there, which is then told with their platform.
fn absent_child(index: &[u8], child: &Descriptor, error: &Error) -> Failure {
    let failure = error.to_failure();
    if !error.is_not_found() {
        return failure;
    }
    let platform = platform_in(index, &child.digest).map(|platform| format!(" for {platform}")).unwrap_or_default();
    let reason = format!(
        "the index names a manifest{platform} that the source does not have, {}; --platform copies only the platforms \
         that it names ({failure})",
        child.digest
    );
    Failure { reason: reason.into(), ..failure }
}

/// Whether a manifest was refused because the registry lacks what it names.
fn parts_are_missing(error: &Error) -> bool {
    ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"].iter().any(|code| error.has_code(code))
}
