//! One image: compared, and copied if it differs. Blobs first, then children by digest, then the tag, once.
//!
//! Where manifests are converted, only the source's manifests tell what has to be at the destination: they are read
//! before anything is compared, where else two digests would do.
//!
//! | file | holds |
//! | --- | --- |
//! | `compare` | what both sides name, and whether anything is to be done |
//! | `lack` | why the destination refused a manifest |
//! | `place` | what a manifest names brought before it, and itself put in its place |

mod compare;
mod lack;
mod place;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

pub(super) use self::place::absent_child;
use super::Engine;
use super::board::Job;
use super::convert::{Conversion, Source, Target, Tree};
use super::destination::Destination;
use super::expected::named;
use super::ledger::Ledger;
use super::replaced::tell_loss;
use crate::digest::Digest;
use crate::event::{Category, Event, Failure, Retry, Success};
use crate::plan::Task;
use crate::registry::{Descriptor, Error, Manifest, RepositoryClient};

/// Indexes within indexes, at most: real ones have two levels.
pub const MAX_DEPTH: usize = 8;
/// Children of one index in work at once.
pub(super) const CHILDREN: usize = 16;

/// What the copying of one image needs to know. Cheap to clone, since children are copied side by side.
#[derive(Clone)]
pub(super) struct Image {
    pub engine: Arc<Engine>,
    pub task: Task,
    /// The image of the plan: this one, or the one that this one refers to.
    pub job: Job,
    pub source: RepositoryClient,
    pub destination: Arc<Destination>,
    pub ledger: Arc<Ledger>,
    /// Manifests that were made, or read already. The source has the others.
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
    /// Brings the image to its destination, and tells that it begins, and that it has ended well.
    pub async fn run(self) -> Result<(), Failure> {
        let (engine, Task { source, destination }) = (&self.engine, self.task.clone());
        engine.tell(Event::ImageStarted { source: source.clone(), destination: destination.clone() });
        // Boxed: moved into what waits for both it would be held more than once.
        let copied = engine.cut.run_until_cancelled(Box::pin(self.copy())).await;
        let success = copied.unwrap_or_else(|| Err(Failure::cancelled()))?;
        engine.tell(Event::ImageDone { source, destination, success, facts: self.ledger.facts() });
        Ok(())
    }

    /// Brings the image to its destination, unless it is there; and what refers to it, if that is wanted.
    pub async fn copy(&self) -> Result<Success, Failure> {
        let Brought { success, tree } = self.bring().await?;
        if self.engine.policy.referrers && success != Success::Skipped {
            // Boxed, as what few runs want: every image in progress carries the room for what it may do.
            Box::pin(self.bring_companions(tree)).await?;
        }
        // Perhaps in an earlier round.
        Ok(if self.ledger.is_written() { Success::Copied } else { success })
    }

    /// Brings what refers to the image.
    async fn bring_companions(&self, tree: Option<Tree>) -> Result<(), Failure> {
        let (root, mut parts, changes) = match tree {
            Some(Tree { root, parts, changes }) => (root, parts, changes),
            None => (self.read_root().await?, HashMap::new(), Vec::new()),
        };
        let digest = root.digest.clone();
        parts.insert(digest.clone(), root);
        Self { parts: Arc::new(parts), ..self.clone() }.bring_referrers(&digest, &changes).await
    }

    /// Brings a tag of signatures as it is at the source, unless it stays. Others sign at the destination, too, perhaps since
    /// its tags were listed: it is asked for now.
    pub async fn copy_as_it_is(&self) -> Result<Success, Failure> {
        let image = Self { conversion: Arc::default(), ..self.clone() };
        let Task { source, destination } = &image.task;
        let there = image.or_say_why(|| image.destination.digest_now(&destination.identifier)).await?;
        let wanted = match &there {
            Some(_) => Some(named(&image.source, &source.identifier).await?),
            None => None,
        };
        if let (Some(there), Some(wanted)) = (&there, &wanted)
            && there != wanted
            && image.is_left(there, wanted).await?
        {
            return Ok(Success::UpToDate);
        }
        Ok(image.bring_compared(there, wanted).await?.success)
    }

    /// The source's manifest, when only its digest was asked for before.
    async fn read_root(&self) -> Result<Manifest, Failure> {
        let read = match &self.ledger.source_digest() {
            Some(digest) => self.engine.pulls.read(&self.source, digest).await,
            None => self.read(None).await,
        };
        read.map(Arc::unwrap_or_clone).map_err(Failure::from)
    }

    async fn bring(&self) -> Result<Brought, Failure> {
        let (there, wanted) = self.or_say_why(|| self.compare()).await?;
        self.bring_compared(there, wanted).await
    }

    /// Brings the image where the destination names `there`, and the source `wanted`, if that is known.
    async fn bring_compared(&self, mut there: Option<Digest>, wanted: Option<Digest>) -> Result<Brought, Failure> {
        let conversion = &self.conversion;
        self.ledger.before(there.as_ref());
        if let Some(wanted) = &wanted {
            self.ledger.source(wanted);
            if self.is_done_by_digest(there.as_ref(), wanted)? {
                return Ok(Brought::up_to_date(None));
            }
        }
        // Its place is not known before it is converted.
        let is_placed_later = conversion.known_place(&self.task).is_none();
        let reading = self.read(wanted.as_ref());
        // What is converted may be skipped, and is read first.
        let manifest = if there.is_some() || conversion.changes_images() {
            reading.await?
        } else {
            self.destination.open_for(self.will_be_mounted(), reading).await?
        };
        self.ledger.source(&manifest.digest);
        let target = Box::pin(conversion.apply(Arc::unwrap_or_clone(manifest), self)).await;
        let tree = match target.map_err(|refusal| refusal.to_failure(self.source.repository().registry()))? {
            Target::Place(tree) => tree,
            Target::Skip(platform) => {
                self.ledger.skipped(platform);
                return Ok(Brought { success: Success::Skipped, tree: None });
            }
        };
        let Tree { root, parts, changes } = &tree;
        self.ledger.root(root);
        if conversion.changes_images() {
            let place = self.task.place(&root.digest);
            if is_placed_later {
                there = self.or_say_why(|| self.destination.digest(&place)).await?;
                self.ledger.before(there.as_ref());
            }
        }
        // By the algorithm by which the destination names what it has.
        let digest = there.as_ref().map_or_else(|| root.digest.clone(), |there| there.same_algorithm_of(&root.bytes));
        if self.is_up_to_date(there.as_ref(), &digest)? {
            return Ok(Brought::up_to_date(Some(tree)));
        }
        if conversion.changes_images() && there.is_none() {
            self.destination.open_for(self.will_be_mounted(), async { Ok(()) }).await?;
        }
        if let Some(there) = &there
            && self.engine.policy.tells_loss(&self.task, there, &root.digest)
        {
            Box::pin(tell_loss(&self.destination.client, &self.task.destination, there, root)).await;
        }
        Self { parts: Arc::new(parts.clone()), ..self.clone() }.place(root).await?;
        self.ledger.written(&root.digest);
        // Now it is true, and once it is no later round comes here again.
        for change in changes {
            self.engine.tell(Event::ManifestConverted { source: self.task.source.clone(), change: change.clone() });
        }
        Ok(Brought { success: Success::Copied, tree: Some(tree) })
    }

    /// Whether two digests tell that nothing is to be done, before anything is read.
    fn is_done_by_digest(&self, there: Option<&Digest>, wanted: &Digest) -> Result<bool, Failure> {
        if self.conversion.changes_images() {
            return Ok(false);
        }
        // What a tag names some tell wrongly: it is read before that is a failure, unless reads are counted.
        let is_certain = self.source.counts_pulls() || self.task.source.identifier.digest().is_some();
        match self.is_up_to_date(there, wanted) {
            Err(_) if !is_certain => Ok(false),
            is_done => is_done,
        }
    }

    /// Whether the source is in the same registry, and that is known to grant mounts.
    fn will_be_mounted(&self) -> bool {
        let registry = self.destination.registry();
        self.source.repository().registry() == registry
            && self.engine.board.mounts(registry, |mounts| mounts.are_granted())
    }

    /// The manifest to be copied: by its digest, if that is known.
    pub(super) async fn read(&self, wanted: Option<&Digest>) -> Result<Arc<Manifest>, Error> {
        let identifier = &self.task.source.identifier;
        if self.source.counts_pulls() {
            let asked = match wanted {
                Some(digest) => Some(digest.clone()),
                // That it counts it has told since it could have been asked: with the manifest of another image.
                None => self.source.digest(identifier).await?,
            };
            if let Some(digest) = asked {
                match self.engine.pulls.read(&self.source, &digest).await {
                    // The tag may have moved since, or the registry does not tell the digest as it is.
                    Err(error) if error.is_not_found() && identifier.digest().is_none() => {}
                    result => return result,
                }
            }
        }
        self.source.manifest(identifier).await.map(Arc::new)
    }
}

/// As a conversion reads it.
impl Source for Image {
    fn manifest<'a>(&'a self, child: &'a Descriptor) -> BoxFuture<'a, Result<Manifest, Error>> {
        async { self.engine.pulls.read(&self.source, &child.digest).await.map(Arc::unwrap_or_clone) }.boxed()
    }

    fn config<'a>(&'a self, config: &'a Descriptor) -> BoxFuture<'a, Result<Bytes, Error>> {
        self.source.config(config)
    }
}

/// The source's parts do not fit together.
pub(super) fn corrupt(task: &Task, reason: String) -> Failure {
    let registry = Some(task.source.repository.registry());
    Failure { retry: Retry::AtOnce, ..Failure::for_good(Category::Corrupt, registry, reason) }
}

/// An index says of a manifest that it has another size than it has.
pub(super) fn of_another_size(task: &Task, digest: &Digest, bytes: u64, said: u64) -> Failure {
    corrupt(task, format!("manifest {digest} has {bytes} bytes, but the index that names it says {said}"))
}

/// Indexes are nested more than [`MAX_DEPTH`] deep.
pub fn too_deep() -> String {
    format!("indexes are nested more than {MAX_DEPTH} deep")
}
