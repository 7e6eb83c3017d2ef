//! One image: compared, and copied if it differs. Blobs first, then children by digest, then the tag, once.
//!
//! Where manifests are converted, only the source's manifests tell what has to be at the destination: they are read
//! before anything is compared, where else two digests would do.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Engine;
use super::board::{Came, Wanted};
use super::convert::{Conversion, Target, Tree};
use super::destination::{Destination, Unsettled};
use super::ledger::Ledger;
use crate::digest::Digest;
use crate::event::{Category, Event, Failure, Success};
use crate::plan::Task;
use crate::reference::Identifier;
use crate::registry::{Content, Descriptor, Error, Format, Manifest, RepositoryClient};

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
    /// Manifests below the root that were made, or read already. The source has the others.
    pub parts: Arc<HashMap<Digest, Manifest>>,
    /// What is to become of it.
    pub conversion: Arc<Conversion>,
}

/// How an image ended well, and what it is, if that was read.
struct Brought {
    success: Success,
    tree: Option<Tree>,
}

impl Brought {
    fn up_to_date(tree: Option<Tree>) -> Self {
        Self { success: Success::UpToDate, tree }
    }
}

impl Image {
    /// Brings the image to its destination, unless it is there; and what refers to it, if that is wanted.
    pub async fn copy(&self) -> Result<Success, Failure> {
        let Brought { success, tree } = self.bring().await?;
        if !self.engine.policy.referrers || success == Success::Skipped {
            return Ok(success);
        }
        let (root, parts, changes) = match tree {
            Some(Tree { root, parts, changes }) => (root, parts, changes),
            None => (self.read_root().await?, HashMap::new(), Vec::new()),
        };
        Self { parts: Arc::new(parts), ..self.clone() }.bring_referrers(&root, &changes).await?;
        Ok(success)
    }

    /// Brings the image to its destination as it is at the source, and nothing else.
    pub async fn copy_as_it_is(&self) -> Result<Success, Failure> {
        let image = Self { conversion: Arc::default(), ..self.clone() };
        Ok(image.bring().await?.success)
    }

    /// The source's manifest, when only its digest was asked for before.
    async fn read_root(&self) -> Result<Manifest, Failure> {
        let known = self.ledger.facts().source_digest.map(Identifier::Digest);
        let identifier = known.as_ref().unwrap_or(&self.task.source.identifier);
        self.source.manifest(identifier).await.map_err(|error| error.to_failure())
    }

    async fn bring(&self) -> Result<Brought, Failure> {
        let conversion = &self.conversion;
        let (mut there, wanted) = self.compare_where_open().await.map_err(|error| error.to_failure())?;
        self.ledger.before(there.as_ref());
        if let Some(wanted) = &wanted {
            self.ledger.source(wanted);
            if self.is_up_to_date(there.as_ref(), wanted)? {
                return Ok(Brought::up_to_date(None));
            }
        }
        let manifest = self.read(wanted.as_ref()).await.map_err(|error| error.to_failure())?;
        self.ledger.source(&manifest.digest);
        let target = conversion.apply(Arc::unwrap_or_clone(manifest), &self.source).await;
        let tree = match target.map_err(|refusal| refusal.to_failure(self.source.repository().registry()))? {
            Target::Place(tree) => tree,
            Target::Skip(platform) => {
                self.ledger.skipped(platform);
                return Ok(Brought { success: Success::Skipped, tree: None });
            }
        };
        let Tree { root, parts, changes } = &tree;
        self.ledger.root(root);
        if !conversion.is_none() {
            let place = self.place_of(root);
            if let Identifier::Digest(_) = place {
                there = self.destination.client.digest(&place).await.map_err(|error| error.to_failure())?;
                self.ledger.before(there.as_ref());
            }
            if self.is_up_to_date(there.as_ref(), &root.digest)? {
                return Ok(Brought::up_to_date(Some(tree)));
            }
        }
        for change in changes {
            self.engine.tell(Event::ManifestConverted { source: self.task.source.clone(), change: change.clone() });
        }
        Self { parts: Arc::new(parts.clone()), ..self.clone() }.place(root).await?;
        self.ledger.placed(&root.digest);
        Ok(Brought { success: Success::Copied, tree: Some(tree) })
    }

    /// Whether nothing is to be done, or must not be, since this is what the destination names.
    fn is_up_to_date(&self, there: Option<&Digest>, wanted: &Digest) -> Result<bool, Failure> {
        match there {
            Some(there) if there != wanted && self.engine.policy.no_clobber => Err(self.clobbered(there, wanted)),
            Some(there) if there == wanted && !self.engine.policy.force => {
                self.ledger.placed(there);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Where the root goes: an image without a tag has its digest for a name, whichever that has become.
    fn place_of(&self, root: &Manifest) -> Identifier {
        match &self.task.destination.identifier {
            Identifier::Digest(_) => Identifier::Digest(root.digest.clone()),
            tag => tag.clone(),
        }
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
            Some(there) if there != *digest => Err(self.clobbered(&there, digest)),
            _ => Ok(()),
        }
    }

    fn clobbered(&self, there: &Digest, wanted: &Digest) -> Failure {
        clobbered(&self.task, self.ledger.facts().source_digest.as_ref(), there, wanted)
    }

    /// Compares; and sees to it that the destination is there and takes anything before more is read of an image.
    async fn compare_where_open(&self) -> Result<(Option<Digest>, Option<Digest>), Error> {
        match self.compare().await {
            Ok((None, wanted)) => {
                self.destination.check_open().await?;
                Ok((None, wanted))
            }
            // Some say the same of a repository that they do not have as of a tag that is not for us.
            Err(error) if error.is_refused_repository() && error.registry == *self.destination.registry() => {
                self.destination.check_open().await?;
                self.compare().await
            }
            compared => compared,
        }
    }

    /// The manifest to be copied: by its digest, if that is known.
    async fn read(&self, wanted: Option<&Digest>) -> Result<Arc<Manifest>, Error> {
        let identifier = &self.task.source.identifier;
        if let Some(digest) = wanted.filter(|_| self.source.counts_pulls()) {
            match self.engine.pulls.read(&self.source, digest).await {
                // The tag may have moved since, or the registry does not tell the digest as it is.
                Err(error) if error.is_not_found() && identifier.digest().is_none() => {}
                result => return result,
            }
        }
        self.source.manifest(identifier).await.map(Arc::new)
    }

    /// What is at the destination, and what should be: the latter only if the source's digest says it, and if the former
    /// is there to be compared with or the registry counts how often manifests are read.
    async fn compare(&self) -> Result<(Option<Digest>, Option<Digest>), Error> {
        let Task { source, destination } = &*self.task;
        let converts = !self.conversion.is_none();
        let there = async {
            match &destination.identifier {
                Identifier::Tag(tag) => self.destination.digest(tag).await,
                // Which digest it is will be known when it is converted.
                Identifier::Digest(_) if converts => Ok(None),
                by_digest => self.destination.client.digest(by_digest).await,
            }
        };
        if converts {
            return Ok((there.await?, None));
        }
        if let Some(digest) = source.identifier.digest() {
            return Ok((there.await?, Some(digest.clone())));
        }
        let wanted = self.source.digest(&source.identifier);
        if self.destination.seems_done() || self.source.counts_pulls() {
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
        let place = &self.place_of(manifest);
        let settled = self.destination.settled(&manifest.digest, self.source.repository());
        let (mut tried, mut placed) = (false, false);
        let bytes = loop {
            let settle = async || {
                tried = true;
                if self.is_there(&Identifier::Digest(manifest.digest.clone())).await? {
                    return Ok(None);
                }
                placed = true;
                self.commit(manifest, place, 0).await
            };
            match settled.get(|_| true, settle).await {
                Err(Unsettled { of_tag: true, .. }) if !tried => {}
                settled => break settled?,
            }
        };
        self.ledger.size(bytes);
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
            Err(error) => Err(self.refused(&error, manifest, 0)),
        }
    }

    /// Brings a child of an index, once for all who name it in this repository. Answers the bytes of all that it names.
    async fn bring_child(&self, child: &Descriptor, depth: usize) -> Result<Option<u64>, Failure> {
        let settle = async || {
            let by_digest = Identifier::Digest(child.digest.clone());
            if self.is_there(&by_digest).await? {
                return Ok(None);
            }
            let manifest = self.manifest_of(child).await?;
            if manifest.bytes.len() as u64 != child.size {
                let reason = format!(
                    "manifest {} has {} bytes, but the index that names it says {}",
                    child.digest,
                    manifest.bytes.len(),
                    child.size
                );
                return Err(self.corrupt(reason).into());
            }
            self.commit(&manifest, &by_digest, depth).await
        };
        let settled = self.destination.settled(&child.digest, self.source.repository());
        Ok(settled.get(|_| true, settle).await?)
    }

    /// A manifest below the root.
    pub(super) async fn manifest_of(&self, child: &Descriptor) -> Result<Manifest, Failure> {
        match self.parts.get(&child.digest) {
            Some(manifest) => Ok(manifest.clone()),
            None => {
                let read = self.engine.pulls.read(&self.source, &child.digest).await;
                read.map(Arc::unwrap_or_clone).map_err(|error| absent_child(child, &error))
            }
        }
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
    pub(super) async fn commit(
        &self,
        manifest: &Manifest,
        identifier: &Identifier,
        depth: usize,
    ) -> Result<Option<u64>, Unsettled> {
        let mut repairs = 0;
        loop {
            let parts = self.bring_parts(manifest, depth).await?;
            if depth == 0 {
                let checked = self.check_clobber(&manifest.digest).await;
                checked.map_err(|failure| Unsettled { of_tag: !failure.transient, failure })?;
            }
            let error = match self.destination.client.put_manifest(identifier, manifest).await {
                Ok(()) => {
                    self.note_sealed(manifest);
                    self.tell_skipped(manifest);
                    return Ok(parts.map(|parts| parts.saturating_add(manifest.bytes.len() as u64)));
                }
                Err(error) => error,
            };
            if !parts_are_missing(&error) || repairs == REPAIRS {
                let of_tag = depth == 0 && !parts_are_missing(&error) && !error.is_transient();
                return Err(Unsettled { failure: self.refused(&error, manifest, depth), of_tag });
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

    /// Why the destination did not take a manifest. If that may be for its media type, the other family may do.
    fn refused(&self, error: &Error, manifest: &Manifest, depth: usize) -> Failure {
        let failure = error.to_failure();
        let Some(other) = Format::of_manifest(&manifest.media_type).map(Format::other) else { return failure };
        // Beside the images of an index they are left out of Docker's lists; alone they cannot become Docker's.
        let is_artifact = matches!(manifest.content, Content::Blobs(_)) && manifest.image_config().is_none();
        let is_hopeless = other == Format::Docker && is_artifact && depth == 0;
        if self.conversion.format.is_some() || is_hopeless || !error.may_be_of_media_type() {
            return failure;
        }
        let reason = format!(
            "{}; if the registry takes no manifests of type {}, --format {other} converts them, which changes their digests",
            failure.reason, manifest.media_type
        );
        Failure { reason: reason.into(), ..failure }
    }

    fn corrupt(&self, reason: String) -> Failure {
        corrupt(&self.task, reason)
    }
}

/// The destination names something else, and is to be left so.
pub(super) fn clobbered(task: &Task, source: Option<&Digest>, there: &Digest, wanted: &Digest) -> Failure {
    let whose = match source {
        Some(source) if source != wanted => format!("the source {source}, converted {wanted}"),
        _ => format!("the source {wanted}"),
    };
    Failure {
        category: Category::Refused,
        registry: Some(task.destination.repository.registry().clone()),
        reason: format!("the destination names {there} already, {whose}; --no-clobber leaves it so").into(),
        transient: false,
        is_final: true,
        remedy: None,
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
        remedy: None,
    }
}

/// Why a child cannot be read: an index may name manifests that are not there, which is then told with their platform.
fn absent_child(child: &Descriptor, error: &Error) -> Failure {
    let failure = error.to_failure();
    if !error.is_not_found() {
        return failure;
    }
    let platform = child.platform.as_ref().map(|platform| format!(" for {platform}")).unwrap_or_default();
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
