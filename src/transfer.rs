//! The engine: moves images from registry to registry, as fast as its limits allow, and ends every task in one outcome.
//!
//! It knows tasks, blobs, manifests and limits; no files, flags or terminals. What happens is told as events.
//!
//! | file | holds |
//! | --- | --- |
//! | `queue` | which image is admitted next |
//! | `image` | one image: compare, bring its parts, write its manifest |
//! | `convert` | what is to be placed: an image as it is, or what was asked for |
//! | `destination` | what is known of one destination repository, and whether it takes anything |
//! | `board` | which image needs which blob where, and which flight brings it |
//! | `lane` | the places for blobs in flight |
//! | `launch` | what the board lets start, and that it comes back |
//! | `flight` | one blob on its way, with its tries |
//! | `tries` | how often a blob is tried, and when again |
//! | `opening` | what the destination says before anything is sent |
//! | `referrers` | what refers to an image, if that is wanted |
//! | `replaced` | what a tag of signatures names before it is moved |
//! | `ledger` | what is learnt of one image on its way |
//! | `shown` | what the operator is shown of a flight |
//! | `stream` | the bytes of a blob, verified and resumed |
//! | `pulls` | manifests that a registry counts |
//! | `puts` | manifests that are put one after the other |
//! | `doubts` | refused manifests of which parts may be missing |
//! | `expected` | what a source becomes on its way |
//! | `forecast` | the dry run: what would be done, found out by reading alone |
//!
//! # Why it cannot stop
//!
//! Resources are taken in one order: a place among the images, a list of referrers, a manifest (by digest), a look at what
//! a refused one lacks, a blob's flight, a place in a lane, a manifest's turn to be put, a permit for one request. A task
//! that holds one waits only for those further right, and the rightmost is one exchange with a time limit. An image that
//! waits for a blob which another image is moving is an entry of the board, and holds no place and no permit. So is a blob
//! whose registry wants to be left alone for longer than a moment.

mod board;
mod convert;
mod destination;
mod doubts;
mod expected;
mod flight;
mod forecast;
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzz/targets/transfer.rs"]
pub(crate) mod fuzz;
mod image;
mod lane;
mod launch;
mod ledger;
mod opening;
mod pulls;
mod puts;
mod queue;
mod referrers;
mod replaced;
mod shown;
mod stream;
mod tries;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Instrument as _;

pub use self::convert::Conversion;
pub use self::expected::{Expected, expected};
pub use self::forecast::Forecast;
pub use self::image::{MAX_DEPTH, too_deep};
pub use self::shown::Shown;
pub use self::stream::read_through;

use self::board::{Board, Job};
use self::destination::{Destination, Known};
use self::doubts::Doubts;
use self::image::Image;
use self::ledger::Ledger;
use self::pulls::Pulls;
use self::queue::Queue;
use self::referrers::DigestTags;
use crate::digest::Digest;
use crate::event::{Event, Failure, Listener};
use crate::plan::{Task, Work};
use crate::reference::{Registry, Repository};
use crate::registry::{Clients, Upload};
use crate::shared::lock;

/// How long an interrupted run lets what is under way end: a manifest whose answer is awaited, the rest of a small blob.
const GRACE: Duration = Duration::from_secs(3);
/// With no image finished for this long and no blob queued, all may be waiting for one blob; then twice as many are
/// admitted.
const STUCK: Duration = Duration::from_secs(1);

/// How much is done at once. Everything that grows is bounded by these, never by layers, images or tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Blobs that are streamed at once.
    pub workers: usize,
    /// Small requests in flight at once at one registry; and mounts in all.
    pub requests: usize,
    /// Tiny blobs in flight at once, beside the workers.
    pub tiny: usize,
    /// Bytes from which a blob is streamed by a worker. Smaller ones are tiny: fetched whole and sent as one request.
    pub streamed_from: u64,
    /// Images in progress. Most of them wait for blobs, so there are more of them than requests; and twice as many while all
    /// wait for the same.
    pub images: usize,
}

impl Limits {
    /// The limits that go with a number of workers. One worker means one of everything at a time.
    pub fn for_workers(workers: usize) -> Self {
        if workers <= 1 {
            return Self { workers: 1, requests: 1, tiny: 0, streamed_from: 0, images: 4 };
        }
        let requests = (workers * 5).clamp(8, 64);
        Self { workers, requests, tiny: requests.min(32), streamed_from: 128 << 10, images: requests * 4 }
    }
}

/// How images are copied.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Trust no tag and no manifest at the destination: ask for every blob, put every manifest again.
    pub force: bool,
    /// Never move a tag that names another digest.
    pub no_clobber: bool,
    /// Copy what refers to an image along with it.
    pub referrers: bool,
    /// What is placed in place of what the source has.
    pub conversion: Arc<Conversion>,
}

/// Moves images. What it has learnt in one round it knows in the next.
pub struct Engine {
    clients: Arc<Clients>,
    listener: Arc<dyn Listener>,
    /// Nothing new is begun any more.
    cancel: CancellationToken,
    /// Nor does anything go on: some time after `cancel`.
    cut: CancellationToken,
    limits: Limits,
    policy: Policy,
    board: Board,
    doubts: Doubts,
    pulls: Pulls,
    /// The repositories that are being written to in this round.
    destinations: Mutex<HashMap<Repository, Arc<Destination>>>,
    /// Those that opened an upload.
    open: Mutex<HashSet<Repository>>,
    /// By registry, whether the repository that was last looked at had no tags.
    are_new: Mutex<HashMap<Registry, Arc<AtomicBool>>>,
    digest_tags: DigestTags,
    /// Images that this run has put in their place, but not all that refers to them: with what the tag named before.
    written: Mutex<HashMap<Task, Option<Digest>>>,
    /// Ends with the round: a blob that nobody waits for any more is not moved.
    round: Mutex<CancellationToken>,
    flights: TaskTracker,
    flights_started: AtomicU64,
    /// Whether a round is over. It may have left blobs where there is no tag yet.
    is_repeated: AtomicBool,
}

impl Work for Arc<Engine> {
    fn run<'a>(&'a self, tasks: &'a [Task], last: bool) -> LocalBoxFuture<'a, Vec<(usize, Failure)>> {
        Engine::run(self, tasks, last).boxed_local()
    }

    fn leave_to_others(&self, tags: &[Task]) {
        Engine::leave_to_others(self, tags);
    }
}

impl Engine {
    /// An engine that works until `clients` are to end.
    pub fn new(clients: Arc<Clients>, limits: Limits, policy: Policy, listener: Arc<dyn Listener>) -> Arc<Self> {
        let cut = CancellationToken::new();
        Arc::new(Self {
            round: Mutex::new(cut.child_token()),
            flights: TaskTracker::new(),
            flights_started: AtomicU64::new(0),
            is_repeated: AtomicBool::new(false),
            cancel: clients.end().clone(),
            clients,
            listener,
            cut,
            limits,
            policy,
            board: Board::new(&limits),
            doubts: Doubts::default(),
            pulls: Pulls::default(),
            destinations: Mutex::default(),
            open: Mutex::default(),
            are_new: Mutex::default(),
            digest_tags: DigestTags::default(),
            written: Mutex::default(),
        })
    }

    /// Runs every task once. Gives those that failed, by their place among the tasks and in that order. `last` if what
    /// fails is not tried again.
    pub async fn run(self: &Arc<Self>, tasks: &[Task], last: bool) -> Vec<(usize, Failure)> {
        *lock(&self.round) = self.cut.child_token();
        self.board.begin_round();
        if self.policy.referrers {
            self.digest_tags.plan(tasks);
        }
        let _interruption = AbortOnDropHandle::new(tokio::spawn(self.clone().end_when_cancelled()));
        let mut failed = Vec::new();
        let mut queue = Queue::new(tasks);
        let mut running = JoinSet::new();
        let mut jobs: HashMap<Id, (usize, Arc<Ledger>)> = HashMap::new();
        let mut room = self.limits.images;
        loop {
            while running.len() < room
                && !self.cancel.is_cancelled()
                && let Some(job) = queue.next()
            {
                let image = self.image(job, &tasks[job], queue.unfinished(&tasks[job].destination.repository));
                let ledger = image.ledger.clone();
                // Whatever is logged on its way names the image.
                let Task { source, destination } = &tasks[job];
                let span = tracing::info_span!("image", %source, %destination);
                jobs.insert(running.spawn(self.clone().run_one(image).instrument(span)).id(), (job, ledger));
            }
            let Ok(ended) = tokio::time::timeout(STUCK, running.join_next_with_id()).await else {
                if self.board.is_idle() {
                    room = 2 * self.limits.images;
                }
                continue;
            };
            room = self.limits.images;
            let Some(ended) = ended else { break };
            let (id, outcome) = match ended {
                Ok((id, outcome)) => (id, outcome),
                Err(error) => (error.id(), Err(Failure::internal(&error.to_string()))),
            };
            let Some((job, ledger)) = jobs.remove(&id) else { continue };
            if let Err(failure) = outcome {
                self.tell_failed(&tasks[job], &failure, &ledger, last);
                failed.push((job, failure));
            }
            if let Some(repository) = queue.ended(job) {
                self.close(repository);
            }
        }
        self.round().cancel();
        self.flights.close();
        self.flights.wait().await;
        self.flights.reopen();
        self.is_repeated.store(true, Relaxed);
        // What was not reached.
        failed.extend(std::iter::from_fn(|| queue.next()).map(|job| (job, Failure::cancelled())));
        failed.sort_unstable_by_key(|(job, _)| *job);
        failed
    }

    /// Notes that an image failed, and what the next round has to know of it.
    fn tell_failed(&self, task: &Task, failure: &Failure, ledger: &Ledger, last: bool) {
        if ledger.is_written() {
            lock(&self.written).insert(task.clone(), ledger.facts().digest_before);
        }
        let Task { source, destination } = task.clone();
        let (failure, again) = (failure.clone(), failure.is_tried_again(last));
        self.tell(Event::ImageFailed { source, destination, failure, again, facts: ledger.facts() });
    }

    /// Nothing more goes to this repository in this round.
    fn close(&self, repository: &Repository) {
        let destination = self.destinations().remove(repository);
        self.board.close(repository);
        let Some(destination) = destination else { return };
        if destination.is_open() {
            lock(&self.open).insert(repository.clone());
        }
        // All that was wanted there was mounted, or there already.
        if let Some(upload) = destination.take_first_upload() {
            let cancel = self.cancel.clone();
            let courtesy = async move { destination.client.cancel_upload(upload).await };
            // An interrupted run does not wait for it.
            self.flights.spawn(async move { cancel.run_until_cancelled(courtesy).await });
        }
    }

    /// Tags that are made of digests, which others bring.
    pub fn leave_to_others(&self, tags: &[Task]) {
        self.digest_tags.leave_to_others(tags);
    }

    /// Once the run is cancelled: fails what waits to be begun, and later cuts what has not ended by then.
    async fn end_when_cancelled(self: Arc<Self>) {
        self.cancel.cancelled().await;
        self.dispatch();
        tokio::time::sleep(GRACE).await;
        self.cut.cancel();
    }

    /// One of `images` that go to the same repository in this round.
    fn image(self: &Arc<Self>, job: usize, task: &Task, images: usize) -> Image {
        let repository = &task.destination.repository;
        let new = || {
            let known = Known {
                is_open: lock(&self.open).contains(repository),
                has_blobs: self.is_repeated.load(Relaxed),
                others_are_new: lock(&self.are_new).entry(repository.registry().clone()).or_default().clone(),
            };
            Arc::new(Destination::new(self.clients.writer(repository), images, self.policy.force, known))
        };
        let destination = self.destinations().entry(repository.clone()).or_insert_with(new).clone();
        let source = self.clients.reader(&task.source.repository);
        let written = lock(&self.written).remove(task);
        Image {
            engine: self.clone(),
            task: task.clone(),
            job: Job { place: job, image: Arc::new(task.destination.clone()) },
            source,
            destination,
            ledger: Arc::new(written.map(Ledger::of_written).unwrap_or_default()),
            parts: Arc::default(),
            conversion: self.policy.conversion.clone(),
        }
    }

    async fn run_one(self: Arc<Self>, image: Image) -> Result<(), Failure> {
        let Task { source, destination } = image.task.clone();
        self.tell(Event::ImageStarted { source: source.clone(), destination: destination.clone() });
        let result = self.cut.run_until_cancelled(image.copy()).await.unwrap_or_else(|| Err(Failure::cancelled()));
        let success = result?;
        self.tell(Event::ImageDone { source, destination, success, facts: image.ledger.facts() });
        Ok(())
    }

    fn seems_empty(&self, repository: &Repository) -> bool {
        self.destinations().get(repository).is_some_and(|destination| destination.seems_empty())
    }

    /// The upload by which the repository was found to be open, if a small blob is hardly there already.
    fn take_first_upload(&self, repository: &Repository) -> Option<Upload> {
        let destination = self.destinations().get(repository).cloned();
        destination
            .filter(|destination| !destination.has_blobs())
            .and_then(|destination| destination.take_first_upload())
    }

    fn round(&self) -> CancellationToken {
        lock(&self.round).clone()
    }

    fn tell(&self, event: Event) {
        self.listener.hear(&event);
    }

    fn destinations(&self) -> MutexGuard<'_, HashMap<Repository, Arc<Destination>>> {
        lock(&self.destinations)
    }
}

#[cfg(test)]
mod tests;
