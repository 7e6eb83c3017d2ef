//! The dry run: what a migration would do with each image, found out by reading alone.
//!
//! It looks at an image in two steps. First side by side: what both sides name, and what the source's manifests name that
//! the destination lacks. Then, in the order of the plan, it is settled to which image a blob counts; and each that would
//! have to be sent is asked for at the destination. So the same registries give the same plan.
//!
//! Both sides are read with the right to pull, and nothing is written.

mod claims;
mod ground;
mod nodes;

use std::cell::RefCell;
use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use self::claims::{Claims, Way};
use self::ground::Ground;
use self::nodes::{Blob, Nodes};
use super::board::Came;
use super::expected::{Expected, ExpectedImage, expected};
use super::image::{CHILDREN, MAX_DEPTH, clobbered, corrupt};
use super::ledger::Ledger;
use super::{Limits, Policy};
use crate::digest::Digest;
use crate::event::{Category, Event, Facts, Failure, Listener, Prospect};
use crate::plan::Task;
use crate::reference::Identifier;
use crate::registry::{Clients, RepositoryClient};
use crate::shared::lock;
use crate::survey::{Repositories, begin};

/// Tells what would be done. What it has learnt in one round it knows in the next.
pub struct Forecast {
    clients: Arc<Clients>,
    listener: Arc<dyn Listener>,
    cancel: CancellationToken,
    limits: Limits,
    policy: Policy,
    nodes: Nodes,
    claims: Mutex<Claims>,
}

/// One image that is looked at. Cheap to clone, since children are looked at side by side.
#[derive(Clone)]
struct Look {
    forecast: Arc<Forecast>,
    task: Task,
    source: RepositoryClient,
    ground: Arc<Ground>,
    ledger: Arc<Ledger>,
    /// The manifests below the root that were looked at, with the sizes that were said of them: indexes may name the same
    /// ones in so many ways that no run would see the end of it.
    walked: Arc<Mutex<HashSet<(Digest, u64)>>>,
}

/// What has to come to the destination.
enum Lacking {
    /// Nothing: the image is there.
    UpToDate,
    /// Nothing: the image is not wanted.
    Unwanted,
    Blobs(Vec<Arc<Blob>>),
}

impl Forecast {
    pub fn new(
        clients: Arc<Clients>,
        limits: Limits,
        policy: Policy,
        listener: Arc<dyn Listener>,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        let (nodes, claims) = (Nodes::default(), Mutex::default());
        Arc::new(Self { clients, listener, cancel, limits, policy, nodes, claims })
    }

    /// Looks at every task once and tells of them in their order. Gives those that failed, by their place among the
    /// tasks. `last` if what fails is not tried again.
    pub async fn run(self: &Arc<Self>, tasks: &[Task], last: bool) -> Vec<(usize, Failure)> {
        let grounds = RefCell::new(Repositories::of(tasks));
        let looked = stream::iter(tasks).map(|task| {
            let look = self.look(task, &mut grounds.borrow_mut());
            let looking = begin(look.clone().compare(), &self.cancel);
            async move { (look, task, looking.await) }
        });
        let settled = looked.buffered(self.limits.images).map(|(look, task, lacking)| {
            let settling = lacking.map(|lacking| begin(look.clone().settle(lacking), &self.cancel));
            async move {
                let prospect = match settling {
                    Ok(settling) => settling.await,
                    Err(failure) => Err(failure),
                };
                (look, task, prospect)
            }
        });
        let mut settled = pin!(settled.buffered(self.limits.images).enumerate());
        let mut failed = Vec::new();
        while let Some((place, (look, task, prospect))) = settled.next().await {
            if let Err(failure) = self.tell(&look, prospect, last) {
                failed.push((place, failure));
            }
            grounds.borrow_mut().ended(task);
        }
        failed
    }

    fn look<'a>(self: &Arc<Self>, task: &'a Task, grounds: &mut Repositories<'a, Ground>) -> Look {
        let destination = self.clients.reader(&task.destination.repository);
        Look {
            forecast: self.clone(),
            task: task.clone(),
            source: self.clients.reader(&task.source.repository),
            ground: grounds.open(task, |images| Ground::new(destination, images, self.policy.force)),
            ledger: Arc::default(),
            walked: Arc::default(),
        }
    }

    fn tell(&self, look: &Look, prospect: Result<Prospect, Failure>, last: bool) -> Result<(), Failure> {
        let Task { source, destination } = look.task.clone();
        let facts = look.ledger.facts();
        let failure = match prospect {
            Ok(prospect) => {
                self.listener.hear(&Event::ImagePlanned { source, destination, prospect, facts });
                return Ok(());
            }
            Err(failure) => failure,
        };
        let again = !last && !failure.is_final;
        let facts = Facts { digest: None, ..facts };
        // Of what was not reached nothing can be said.
        if !again && failure.category != Category::Cancelled {
            let (source, destination, facts) = (source.clone(), destination.clone(), facts.clone());
            let prospect = Prospect::Fails(failure.clone());
            self.listener.hear(&Event::ImagePlanned { source, destination, prospect, facts });
        }
        self.listener.hear(&Event::ImageFailed { source, destination, failure: failure.clone(), again, facts });
        Err(failure)
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        lock(&self.claims)
    }
}

impl Look {
    /// What both sides name, and what the destination lacks of it.
    async fn compare(self) -> Result<Lacking, Failure> {
        let Policy { force, no_clobber, conversion, .. } = &self.forecast.policy;
        let Task { source, destination } = &self.task;
        let by_digest = destination.identifier.digest().is_some();
        let there = async {
            match by_digest && !conversion.is_none() {
                // Which digest it is will be known when it is converted.
                true => Ok(None),
                false => self.ground.digest(&destination.identifier).await.map_err(|error| error.to_failure()),
            }
        };
        let wanted = expected(conversion, &self.source, &source.identifier);
        let (mut there, wanted) = tokio::try_join!(there, wanted)?;
        let wanted = match wanted {
            Expected::Image(wanted) => wanted,
            Expected::Nothing(platform) => {
                self.ledger.skipped(platform);
                return Ok(Lacking::Unwanted);
            }
        };
        if by_digest && !conversion.is_none() {
            let place = Identifier::from(wanted.root.clone());
            there = self.ground.digest(&place).await.map_err(|error| error.to_failure())?;
        }
        self.ledger.before(there.as_ref());
        self.ledger.source(&wanted.source);
        match &there {
            Some(there) if *there == wanted.root && !force => {
                self.ledger.placed(&wanted.root);
                return Ok(Lacking::UpToDate);
            }
            Some(there) if *there != wanted.root && *no_clobber => {
                return Err(clobbered(&self.task, Some(&wanted.source), there, &wanted.root));
            }
            _ => {}
        }
        let mut lacking = self.lacking(&wanted, wanted.root.clone(), None, 0).await?;
        let mut seen = HashSet::new();
        lacking.retain(|blob| seen.insert(blob.clone()));
        self.ledger.placed(&wanted.root);
        Ok(Lacking::Blobs(lacking))
    }

    /// The blobs that a manifest names, and those that it names name, but for what stands under manifests that the
    /// destination has. Boxed, because children may be indexes and have children.
    fn lacking(
        &self,
        wanted: &ExpectedImage,
        digest: Digest,
        size: Option<u64>,
        depth: usize,
    ) -> BoxFuture<'static, Result<Vec<Arc<Blob>>, Failure>> {
        let (look, wanted) = (self.clone(), wanted.clone());
        Box::pin(async move {
            if look.ground.has_manifest(&digest).await.map_err(|error| error.to_failure())? {
                return Ok(Vec::new());
            }
            let nodes = &look.forecast.nodes;
            let node = nodes.get(&look.source, &wanted, &digest).await.map_err(|error| error.to_failure())?;
            if let Some(size) = size.filter(|&size| size != node.bytes) {
                let bytes = node.bytes;
                let reason = format!("manifest {digest} has {bytes} bytes, but the index that names it says {size}");
                return Err(corrupt(&look.task, reason));
            }
            if depth == MAX_DEPTH && !node.children.is_empty() {
                return Err(corrupt(&look.task, format!("indexes are nested more than {MAX_DEPTH} deep")));
            }
            let is_new = |child: &(Digest, u64)| lock(&look.walked).insert(child.clone());
            let children: Vec<_> = node.children.iter().filter(|child| is_new(child)).cloned().collect();
            let children =
                children.into_iter().map(|(child, size)| look.lacking(&wanted, child, Some(size), depth + 1));
            let children: Vec<_> = stream::iter(children).buffered(CHILDREN).try_collect().await?;
            Ok(node.blobs.iter().cloned().chain(children.into_iter().flatten()).collect())
        })
    }

    /// How each blob would come to the destination. Who claims it is settled at once, when this is called: in the order of
    /// the plan.
    fn settle(self, lacking: Lacking) -> impl Future<Output = Result<Prospect, Failure>> + Send + 'static {
        let mut unclear = Vec::new();
        let (source, destination) = (&self.task.source.repository, &self.task.destination.repository);
        let blobs = match &lacking {
            Lacking::Blobs(blobs) => blobs.as_slice(),
            Lacking::UpToDate | Lacking::Unwanted => &[],
        };
        for blob in blobs {
            match self.forecast.claims().claim(blob, source, destination) {
                Way::Present => self.ledger.blob(Came::Present, blob.size),
                Way::Mount => self.ledger.blob(Came::Mounted, blob.size),
                Way::Unclear => unclear.push(blob.clone()),
            }
        }
        let prospect = match lacking {
            Lacking::Blobs(_) => Prospect::Copy,
            Lacking::UpToDate => Prospect::UpToDate,
            Lacking::Unwanted => Prospect::Skip,
        };
        async move {
            let look = &self;
            let asked = stream::iter(unclear.clone()).map(|blob| async move {
                let is_there =
                    look.ground.has_blob(&blob.digest, blob.size).await.map_err(|error| error.to_failure())?;
                look.ledger.blob(if is_there { Came::Present } else { Came::Moved }, blob.size);
                Ok(())
            });
            if let Err(failure) = asked.buffer_unordered(CHILDREN).try_collect::<()>().await {
                // It is asked again in another round, or what it was to bring is another's to bring.
                self.forecast.claims().release(&unclear, &self.task.destination.repository);
                return Err(failure);
            }
            Ok(prospect)
        }
    }
}
