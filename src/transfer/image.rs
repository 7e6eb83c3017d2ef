//! One image: compared, and copied if it differs. Blobs first, then children by digest, then the tag, once.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Engine;
use super::board::{Came, Wanted};
use super::destination::Destination;
use super::ledger::Ledger;
use crate::digest::Digest;
use crate::event::{Category, Event, Facts, Failure, Success};
use crate::plan::Task;
use crate::reference::Identifier;
use crate::registry::{Content, Descriptor, Error, Manifest, RepositoryClient};

/// Indexes within indexes, at most: real ones have two levels.
pub(super) const MAX_DEPTH: usize = 8;
/// Children of one index in work at once.
pub(super) const CHILDREN: usize = 16;
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
    pub ledger: Arc<Ledger>,
}

impl Image {
    /// Brings the image to its destination, unless it is there.
    pub async fn copy(&self) -> Result<Success, Failure> {
        let (there, wanted) = self.compare().await.map_err(|error| error.to_failure())?;
        self.ledger.before(there.as_ref());
        if let Some(wanted) = &wanted {
            self.ledger.source(wanted);
        }
        if !self.engine.policy.force
            && let Some(there) = &there
            && Some(there) == wanted.as_ref()
        {
            self.ledger.placed(there);
            return Ok(Success::UpToDate);
        }
        if self.engine.policy.no_clobber && there.is_some() && there != wanted {
            return Err(self.clobbered());
        }
        let manifest = self.source.manifest(&self.task.source.identifier).await.map_err(|error| error.to_failure())?;
        self.ledger.source(&manifest.digest);
        self.ledger.root(&manifest);
        self.place(&manifest).await?;
        self.ledger.placed(&manifest.digest);
        Ok(Success::Copied)
    }

    /// Asks once more what the tag names, just before it is written: what was learnt before is old by now.
    async fn check_clobber(&self, digest: &Digest) -> Result<(), Failure> {
        if !self.engine.policy.no_clobber {
            return Ok(());
        }
        let there = self.destination.client.digest(&self.task.destination.identifier).await;
        let there = there.map_err(|error| error.to_failure())?;
        self.ledger.before(there.as_ref());
        match there {
            Some(there) if there != *digest => Err(self.clobbered()),
            _ => Ok(()),
        }
    }

    fn clobbered(&self) -> Failure {
        clobbered(&self.task, &self.ledger.facts())
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
            if self.is_there(&Identifier::Digest(manifest.digest.clone())).await? {
                return Ok(None);
            }
            placed = true;
            self.commit(manifest, place, 0).await
        };
        let settled = self.destination.settled(&manifest.digest, self.source.repository());
        self.ledger.size(settled.get(|_| true, settle).await?);
        if placed {
            return Ok(());
        }
        self.check_clobber(&manifest.digest).await?;
        match self.destination.client.put_manifest(place, manifest).await {
            Ok(()) => Ok(()),
            // The manifest is there, but not all that it names any more.
            Err(error) if parts_are_missing(&error) => {
                self.forget_parts(manifest);
                self.commit(manifest, place, 0).await?;
                Ok(())
            }
            Err(error) => Err(error.to_failure()),
        }
    }

    /// Brings a child of an index, once for all who name it in this repository. Answers the bytes of all that it names.
    async fn bring_child(&self, child: &Descriptor, depth: usize) -> Result<Option<u64>, Failure> {
        let settle = async || {
            let by_digest = Identifier::Digest(child.digest.clone());
            if self.is_there(&by_digest).await? {
                return Ok(None);
            }
            let manifest = self.source.manifest(&by_digest).await.map_err(|error| error.to_failure())?;
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
        self.destination.settled(&child.digest, self.source.repository()).get(|_| true, settle).await
    }

    /// Whether a manifest is at the destination from an earlier run, with all that it names: registries take no
    /// manifest whose parts they lack. Where nothing was before, it is not asked.
    async fn is_there(&self, by_digest: &Identifier) -> Result<bool, Failure> {
        if self.destination.has_no_tags() || self.engine.policy.force {
            return Ok(false);
        }
        let there = self.destination.client.digest(by_digest).await.map_err(|error| error.to_failure())?;
        Ok(there.is_some())
    }

    /// Writes the manifest after everything it names. Answers the bytes of all that.
    async fn commit(&self, manifest: &Manifest, identifier: &Identifier, depth: usize) -> Result<Option<u64>, Failure> {
        let mut repairs = 0;
        loop {
            let parts = self.bring_parts(manifest, depth).await?;
            if depth == 0 {
                self.check_clobber(&manifest.digest).await?;
            }
            let error = match self.destination.client.put_manifest(identifier, manifest).await {
                Ok(()) => {
                    self.tell_skipped(manifest);
                    return Ok(parts.map(|parts| parts.saturating_add(manifest.bytes.len() as u64)));
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

    async fn bring_parts(&self, manifest: &Manifest, depth: usize) -> Result<Option<u64>, Failure> {
        match &manifest.content {
            Content::Blobs(blobs) => self.bring_blobs(blobs).await.map(Some),
            Content::Index { manifests, blobs } => {
                if depth == MAX_DEPTH {
                    return Err(self.corrupt(format!("indexes are nested more than {MAX_DEPTH} deep")));
                }
                let children = self.bring_children(manifests, depth + 1).await?;
                let blobs = self.bring_blobs(blobs).await?;
                Ok(children.map(|children| children.saturating_add(blobs)))
            }
        }
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
                running.spawn(self.clone().boxed_child(child.clone(), depth));
            }
            match running.join_next().await {
                None => return Ok(bytes),
                Some(Ok(child)) => bytes = child?.zip(bytes).map(|(child, all)| all.saturating_add(child)),
                Some(Err(_)) => return Err(Failure::internal("child manifest")),
            }
        }
    }

    /// Boxed, because children may be indexes and have children.
    fn boxed_child(
        self,
        child: Descriptor,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Option<u64>, Failure>> + Send>> {
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
            match self.engine.board.want(&blob.digest, blob.size, self.source.repository(), repository, self.job) {
                Wanted::Here => self.ledger.blob(Came::Present, blob.size),
                Wanted::Failed(failure) => return Err(failure),
                Wanted::Await { answer, is_first } => {
                    if is_first {
                        self.engine.tell(Event::BlobWanted { bytes: blob.size });
                    }
                    awaited.push((answer, blob.size));
                }
            }
        }
        self.engine.dispatch();
        for (answer, size) in awaited {
            let came = answer.await.unwrap_or_else(|_| Err(Failure::internal("blob")))?;
            self.ledger.blob(came, size);
        }
        Ok(bytes)
    }

    fn corrupt(&self, reason: String) -> Failure {
        corrupt(&self.task, reason)
    }
}

/// The destination names something else, and is to be left so.
pub(super) fn clobbered(task: &Task, facts: &Facts) -> Failure {
    let show = |digest: &Option<Digest>| digest.as_ref().map(Digest::to_string).unwrap_or_default();
    Failure {
        category: Category::Refused,
        registry: Some(task.destination.repository.registry().clone()),
        reason: format!(
            "the destination names {} already, the source {}; --no-clobber leaves it so",
            show(&facts.digest_before),
            show(&facts.source_digest)
        )
        .into(),
        transient: false,
        is_final: true,
    }
}

/// The source's parts do not fit together.
pub(super) fn corrupt(task: &Task, reason: String) -> Failure {
    Failure {
        category: Category::Corrupt,
        registry: Some(task.source.repository.registry().clone()),
        reason: reason.into(),
        transient: false,
        is_final: false,
    }
}

/// Whether a manifest was refused because the registry lacks what it names.
fn parts_are_missing(error: &Error) -> bool {
    ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"].iter().any(|code| error.has_code(code))
}
