//! The dry run: what a migration would do with each image, found out by reading alone.
//!
//! It looks at an image in two steps. First side by side: what both sides name, and what the source's manifests name that
//! the destination lacks. Then, in the order of the plan, it is settled to which image a blob counts; and each that would
//! have to be sent is asked for at the destination. So the same registries give the same plan.
//!
//! Both sides are read with the right to pull, and nothing is written.

mod claims;
mod companions;
mod ground;
mod nodes;

use std::cell::RefCell;
use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::{BoxFuture, LocalBoxFuture};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use self::claims::{Claims, Way};
use self::companions::{Companion, Companions};
use self::ground::Ground;
use self::nodes::{Blob, Child, Nodes};
use super::board::Came;
use super::expected::{Expected, ExpectedImage, expected};
use super::image::{CHILDREN, MAX_DEPTH, absent_child, corrupt, of_another_size, too_deep};
use super::ledger::Ledger;
use super::referrers::DigestTags;
use super::{Limits, Policy};
use crate::digest::Digest;
use crate::event::{BlobCounts, Event, Facts, Failure, Listener, Prospect};
use crate::plan::{Task, Work};
use crate::reference::Reference;
use crate::registry::{Clients, RepositoryClient};
use crate::shared::lock;
use crate::survey::{Repositories, begin, in_order};

/// Tells what would be done. What it has learnt in one round it knows in the next.
pub struct Forecast {
    clients: Arc<Clients>,
    listener: Arc<dyn Listener>,
    limits: Limits,
    policy: Policy,
    nodes: Nodes,
    claims: Mutex<Claims>,
    digest_tags: DigestTags,
}

/// One image that is looked at. Cheap to clone, since children are looked at side by side.
#[derive(Clone)]
struct Look {
    forecast: Arc<Forecast>,
    task: Task,
    source: RepositoryClient,
    ground: Arc<Ground>,
    ledger: Arc<Ledger>,
    /// The manifests below the root that were looked at, with the sizes that their indexes say. Each is looked at once: the
    /// paths by which nested indexes lead to it may be without number.
    walked: Arc<Mutex<HashSet<Child>>>,
}

/// What would be done with an image, and what has to come to the destination for that.
struct Lacking {
    prospect: Prospect,
    blobs: Vec<Arc<Blob>>,
    companions: Companions,
}

/// What would be done with an image, and with what refers to it.
struct Outlook {
    prospect: Prospect,
    companions: Companions,
}

impl Work for Arc<Forecast> {
    fn run<'a>(&'a self, tasks: &'a [Task], last: bool) -> LocalBoxFuture<'a, Vec<(usize, Failure)>> {
        Forecast::run(self, tasks, last).boxed_local()
    }

    fn leave_to_others(&self, tags: &[Task]) {
        Forecast::leave_to_others(self, tags);
    }
}

impl Forecast {
    pub fn new(clients: Arc<Clients>, limits: Limits, policy: Policy, listener: Arc<dyn Listener>) -> Arc<Self> {
        let (nodes, claims, digest_tags) = (Nodes::default(), Mutex::default(), DigestTags::default());
        Arc::new(Self { clients, listener, limits, policy, nodes, claims, digest_tags })
    }

    /// Looks at every task once and tells of them in their order. Gives those that failed, by their place among the
    /// tasks. `last` if what fails is not tried again.
    pub async fn run(self: &Arc<Self>, tasks: &[Task], last: bool) -> Vec<(usize, Failure)> {
        if self.policy.referrers {
            self.digest_tags.plan(tasks);
        }
        let grounds = RefCell::new(Repositories::of(tasks));
        let looks = tasks.iter().map(|task| {
            let look = self.look(task, &mut grounds.borrow_mut());
            let looking = begin(look.clone().compare(), self.clients.end());
            async move { (look, task, looking.await) }
        });
        let settled = in_order(looks, self.limits.images).map(|(look, task, lacking)| {
            let settling = lacking.map(|lacking| begin(look.clone().settle(lacking, last), self.clients.end()));
            async move {
                let settled = match settling {
                    Ok(settling) => settling.await,
                    Err(failure) => Err(failure),
                };
                (look, task, settled)
            }
        });
        let mut settled = pin!(settled.buffered(self.limits.images).enumerate());
        let mut failed = Vec::new();
        while let Some((place, (look, task, result))) = settled.next().await {
            if let Err(failure) = self.tell(&look, result, last) {
                failed.push((place, failure));
            }
            grounds.borrow_mut().ended(task);
        }
        failed
    }

    /// Tags that are made of digests, which others bring.
    pub fn leave_to_others(&self, tags: &[Task]) {
        self.digest_tags.leave_to_others(tags);
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

    fn tell(&self, look: &Look, settled: Result<Outlook, Failure>, last: bool) -> Result<(), Failure> {
        let Task { source, destination } = look.task.clone();
        let facts = look.ledger.facts();
        let (failure, load) = match settled {
            Ok(Outlook { prospect, companions: Companions { coming, left, lost } }) => {
                let referrers = coming.len();
                if !lost.failure().is_some_and(|failure| failure.is_tried_again(last)) {
                    self.tell_coming(&look.task, coming);
                }
                let Some(failure) = lost.failure() else {
                    self.tell_left(&source, left);
                    self.listener.hear(&Event::ImagePlanned { source, destination, prospect, referrers, facts });
                    return Ok(());
                };
                // What can be had would come all the same.
                (failure.clone(), facts.blobs)
            }
            Err(failure) => (failure, BlobCounts::default()),
        };
        let again = failure.is_tried_again(last);
        let blobs = if again { BlobCounts::default() } else { load };
        let facts = Facts { digest: None, blobs, ..facts };
        self.listener.hear(&Event::ImageFailed { source, destination, failure: failure.clone(), again, facts });
        Err(failure)
    }

    fn tell_coming(&self, Task { source, destination }: &Task, coming: Vec<Companion>) {
        for Companion { identifier, artifact_type, .. } in coming {
            let (source, repository) = (source.clone(), destination.repository.clone());
            let referrer = identifier.to_string();
            self.listener.hear(&Event::ReferrerPlanned { source, repository, referrer, artifact_type });
        }
    }

    fn tell_left(&self, source: &Reference, left: Vec<(Digest, usize)>) {
        for (subject, referrers) in left {
            self.listener.hear(&Event::ReferrersLeft { source: source.clone(), subject, referrers });
        }
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        lock(&self.claims)
    }
}

impl Look {
    /// What both sides name, and what the destination lacks of it and of what refers to it.
    async fn compare(self) -> Result<Lacking, Failure> {
        let Task { source, destination } = self.task.clone();
        self.forecast.listener.hear(&Event::ImageStarted { source, destination });
        let Some((wanted, lacking)) = self.compare_image().await? else {
            let (blobs, companions) = (Vec::new(), Companions::default());
            return Ok(Lacking { prospect: Prospect::Skip, blobs, companions });
        };
        let companions = match self.forecast.policy.referrers {
            true => self.companions(&wanted).await?,
            false => Companions::default(),
        };
        let prospect = if lacking.is_some() { Prospect::Copy } else { Prospect::UpToDate };
        Ok(Lacking { prospect, blobs: lacking.unwrap_or_default(), companions })
    }

    /// What is to be at the destination, and the blobs that it lacks for that, unless the image is there; nothing if it is
    /// not wanted.
    async fn compare_image(&self) -> Result<Option<(ExpectedImage, Option<Vec<Arc<Blob>>>)>, Failure> {
        let policy = &self.forecast.policy;
        let conversion = &policy.conversion;
        let place = conversion.known_place(&self.task);
        let there = async {
            let Some(place) = place else { return Ok(None) };
            let there = self.ground.digest(place).await?;
            self.ledger.before(there.as_ref());
            Ok(there)
        };
        let wanted = expected(conversion, &self.source, &self.task.source.identifier, |it| self.ledger.source(it));
        // Both are waited for: also of what fails it is told what both sides name.
        let (there, wanted): (Result<_, Failure>, _) = tokio::join!(there, wanted);
        let (wanted, mut there) = (wanted?, there?);
        let wanted = match wanted {
            Expected::Image(wanted) => wanted,
            Expected::Nothing(platform) => {
                self.ledger.skipped(platform);
                return Ok(None);
            }
        };
        if place.is_none() {
            there = self.ground.digest(&self.task.place(&wanted.root)).await?;
            self.ledger.before(there.as_ref());
        }
        let wanted = wanted.confirmed(there.as_ref(), &self.source, &self.task.source.identifier).await?;
        self.ledger.source(&wanted.source);
        if let Some(root) = wanted.read_root() {
            self.ledger.root(root);
        }
        let digest = wanted.root_like(there.as_ref());
        if policy.is_done(&self.task, Some(&wanted.source), there.as_ref(), &digest)? {
            self.ledger.placed(&digest);
            return Ok(Some((wanted, None)));
        }
        self.tell_loss(&self.task, there.as_ref(), &wanted).await?;
        let lacking = self.lacking(&wanted, wanted.root.clone(), None, 0).await;
        self.learn(&wanted.root);
        let mut lacking = lacking?;
        let mut seen = HashSet::new();
        lacking.retain(|blob| seen.insert(blob.clone()));
        self.ledger.placed(&wanted.root);
        Ok(Some((wanted, Some(lacking))))
    }

    /// Notes what the manifests told that were read: none is read for that.
    fn learn(&self, root: &Digest) {
        let (nodes, source) = (&self.forecast.nodes, self.source.repository());
        if let Some(node) = nodes.known(source, root) {
            self.ledger.kind(&node.media_type, node.platforms.to_vec());
            self.ledger.size(nodes.size(source, root));
        }
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
            if look.ground.has_manifest(&digest).await? {
                return Ok(Vec::new());
            }
            let nodes = &look.forecast.nodes;
            // An index says how large its children are.
            let node = nodes.get(&look.source, &wanted, &digest).await.map_err(|error| match size {
                None => error.to_failure(),
                Some(_) => absent_child(&digest, None, &error),
            })?;
            if let Some(size) = size.filter(|&size| size != node.bytes) {
                return Err(of_another_size(&look.task, &digest, node.bytes, size));
            }
            if depth == MAX_DEPTH && !node.children.is_empty() {
                return Err(corrupt(&look.task, too_deep()));
            }
            let is_new = |child: &Child| lock(&look.walked).insert(child.clone());
            let children: Vec<_> = node.children.iter().filter(|child| is_new(child)).cloned().collect();
            let children =
                children.into_iter().map(|child| look.lacking(&wanted, child.digest, Some(child.size), depth + 1));
            let children: Vec<_> = stream::iter(children).buffered(CHILDREN).try_collect().await?;
            Ok(node.blobs.iter().cloned().chain(children.into_iter().flatten()).collect())
        })
    }

    /// How each blob would come to the destination. Who claims it is settled at once, when this is called: in the order of
    /// the plan.
    fn settle(self, lacking: Lacking, last: bool) -> impl Future<Output = Result<Outlook, Failure>> + Send + 'static {
        let Lacking { prospect, blobs, mut companions } = lacking;
        let mut claimed = Vec::new();
        let (source, destination) = (&self.task.source.repository, &self.task.destination.repository);
        companions.coming.retain(|it| self.forecast.claims().claim_referrer(&it.identifier, destination));
        // Those of them that have to be asked for.
        let mut claim = |blobs: &[Arc<Blob>]| {
            let mut unclear = Vec::new();
            for blob in blobs {
                let way = self.forecast.claims().claim(blob, source, destination);
                match way {
                    Way::Present => self.ledger.blob(&blob.digest, blob.size, Came::Present),
                    Way::Mount => self.ledger.blob(&blob.digest, blob.size, Came::Mounted),
                    Way::Unclear => unclear.push(blob.clone()),
                }
                claimed.push((blob.clone(), way));
            }
            unclear
        };
        let of_image = claim(&blobs);
        let of_companions: Vec<_> = companions.coming.iter().map(|companion| claim(&companion.blobs)).collect();
        async move {
            let referrers: Vec<_> = companions.coming.iter().map(|it| it.identifier.clone()).collect();
            let asked = async {
                self.ask_for(of_image).await?;
                self.ask_for_companions(&mut companions, of_companions).await
            };
            let asked = asked.await;
            if asked.is_err() || companions.lost.failure().is_some_and(|failure| failure.is_tried_again(last)) {
                // It is asked again in another round, or what it was to bring is another's to bring.
                let (mut claims, destination) = (self.forecast.claims(), &self.task.destination.repository);
                claimed.iter().for_each(|(blob, way)| claims.release(blob, *way, destination));
                referrers.iter().for_each(|it| claims.release_referrer(it, destination));
            }
            asked?;
            Ok(Outlook { prospect, companions })
        }
    }

    /// Finds out whether these blobs are at the destination or have to be sent. All are asked for, whatever becomes of one:
    /// others rely on those that they share with this.
    async fn ask_for(&self, blobs: Vec<Arc<Blob>>) -> Result<(), Failure> {
        let asked = stream::iter(blobs).map(|blob| async move {
            let is_there = self.ground.has_blob(&blob.digest, blob.size).await?;
            self.ledger.blob(&blob.digest, blob.size, if is_there { Came::Present } else { Came::Moved });
            Ok(())
        });
        let all: Vec<Result<(), Failure>> = asked.buffer_unordered(CHILDREN).collect().await;
        all.into_iter().collect()
    }
}
