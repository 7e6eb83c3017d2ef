//! The engine: moves images from registry to registry, as fast as its limits allow, and ends every task in one outcome.
//!
//! It knows tasks, blobs, manifests and limits; no files, flags or terminals. What happens is told as events.
//!
//! # The schedule
//!
//! A run works in rounds; each gets the tasks that failed in the one before. Within a round [`Engine::run`] keeps up to
//! [`Limits::images`] images in progress, pairs of registries in turn. An image is a task of its own: it compares both
//! sides, tells the board which blobs it needs where, waits for the answers, and puts its manifests, the tag last.
//!
//! The board answers at once where a blob is there. Else it gives out a ticket, for a move or a mount, as soon as a lane
//! has a place, and all who need the blob there get the same answer: one flight brings it. Who needs it elsewhere in that
//! registry waits until it can be mounted, or has it moved as well where mounts are refused. Nobody polls the board:
//! whoever has told it something calls `Engine::dispatch`, which makes a task of each ticket that may start now.
//!
//! | what is bounded | by | held |
//! | --- | --- | --- |
//! | images in progress | [`Limits::images`] | until the image ends |
//! | blobs in flight | the lanes: workers, tiny blobs, mounts | from ticket to answer; a worker hands its place on when all is sent |
//! | small requests at one registry | permits, in `registry` | for one exchange |
//!
//! A round ends with its last image: flights for which nobody waits are cut. An interruption ends a run: nothing is begun
//! any more, and what waits for a place fails at once; what is under way after `GRACE` is cut.
//!
//! # Why it cannot stop
//!
//! Resources are taken in one order: a place among the images, the referrers of a manifest and the list of them, a manifest
//! (by digest), a look at what a refused one lacks, a blob's answer, a place in a lane, a manifest's turn to be put, the
//! first look at a repository, a permit for one request. A task that holds one waits only for those further right, and the
//! rightmost is one exchange with a time limit. An image that waits for a blob has no place in a lane and no permit, but an
//! entry of the board; nor has a blob whose registry wants to be left alone for longer than a moment.
//!
//! # Where it stands
//!
//! | file | holds |
//! | --- | --- |
//! | `queue` | which image is admitted next |
//! | `running` | images in progress, each a task of its own |
//! | `image` | one image: compare, bring its parts, write its manifest |
//! | `convert` | what is to be placed: an image as it is, or what was asked for |
//! | `destinations` | the destination repositories that are being written to |
//! | `destination` | what is known of one of them, and whether it takes anything |
//! | `manifests` | the manifests that it has, each brought there once |
//! | `board` | which image needs which blob where, and which flight brings it |
//! | `lane` | the places for blobs in flight |
//! | `launch` | what the board lets start, and that it comes back |
//! | `round` | what a round has set going |
//! | `flight` | one blob on its way, with its tries |
//! | `tries` | how often a blob is tried, and when again |
//! | `opening` | what the destination says before anything is sent |
//! | `stream` | the bytes of a blob, verified and resumed |
//! | `shown` | what the operator is shown of a flight |
//! | `pulls` | manifests that a registry counts |
//! | `puts` | manifests that are put one after the other |
//! | `doubts` | refused manifests of which parts may be missing |
//! | `referrers` | what refers to an image, if that is wanted |
//! | `replaced` | what a tag of signatures names before it is moved |
//! | `ledger` | what is learnt of one image on its way |
//! | `expected` | what a source becomes on its way |
//! | `forecast` | the dry run: what would be done, found out by reading alone |

mod board;
mod convert;
mod destination;
mod destinations;
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
mod manifests;
mod opening;
mod pulls;
mod puts;
mod queue;
mod referrers;
mod replaced;
mod round;
mod running;
mod shown;
mod stream;
mod tries;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use self::convert::Conversion;
pub use self::expected::{Expected, expected};
pub use self::forecast::Forecast;
pub use self::image::{MAX_DEPTH, too_deep};
pub use self::shown::Shown;
pub use self::stream::read_through;

use self::board::{Board, Job};
use self::destinations::Destinations;
use self::doubts::Doubts;
use self::image::Image;
use self::ledger::Ledger;
use self::pulls::Pulls;
use self::queue::Queue;
use self::referrers::DigestTags;
use self::round::Round;
use self::running::{Ended, Running};
use crate::digest::Digest;
use crate::event::{Event, Failure, Listener};
use crate::plan::{Task, Work};
use crate::reference::Repository;
use crate::registry::Clients;
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
    /// Small requests in flight at once at one registry, two HEADs for one of them; and mounts in all.
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
    destinations: Destinations,
    doubts: Doubts,
    pulls: Pulls,
    digest_tags: DigestTags,
    /// Images that this run has put in their place, but not all that refers to them: with what the tag named before.
    written: Mutex<HashMap<Task, Option<Digest>>>,
    round: Mutex<Arc<Round>>,
    flights_started: AtomicU64,
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
            listener,
            cancel: clients.end().clone(),
            limits,
            board: Board::new(&limits),
            destinations: Destinations::new(clients.clone(), policy.force),
            doubts: Doubts::default(),
            pulls: Pulls::default(),
            digest_tags: DigestTags::default(),
            written: Mutex::default(),
            round: Mutex::new(Round::begin(&cut)),
            flights_started: AtomicU64::new(0),
            clients,
            cut,
            policy,
        })
    }

    /// Runs every task once. Gives those that failed, by their place among the tasks and in that order. `last` if what
    /// fails is not tried again.
    pub async fn run(self: &Arc<Self>, tasks: &[Task], last: bool) -> Vec<(usize, Failure)> {
        self.begin_round(tasks);
        let _interruption = AbortOnDropHandle::new(tokio::spawn(self.clone().end_when_cancelled()));
        let (mut queue, mut running, mut failed) = (Queue::new(tasks), Running::default(), Vec::new());
        let mut room = self.limits.images;
        loop {
            while running.len() < room
                && !self.cancel.is_cancelled()
                && let Some(job) = queue.next()
            {
                let images = queue.unfinished(&tasks[job].destination.repository);
                running.begin(self.image(job, &tasks[job], images));
            }
            let Ok(ended) = tokio::time::timeout(STUCK, running.next()).await else {
                if self.board.is_idle() {
                    room = 2 * self.limits.images;
                }
                continue;
            };
            room = self.limits.images;
            let Some(Ended { job, ledger, result }) = ended else { break };
            if let Err(failure) = result {
                self.tell_failed(&tasks[job], &failure, &ledger, last);
                failed.push((job, failure));
            }
            if let Some(repository) = queue.ended(job) {
                self.close(repository);
            }
        }
        self.end_round().await;
        // What was not reached may be all there is: the reason is held once.
        let cancelled = Failure::cancelled();
        failed.extend(std::iter::from_fn(|| queue.next()).map(|job| (job, cancelled.clone())));
        failed.sort_unstable_by_key(|(job, _)| *job);
        failed
    }

    fn begin_round(&self, tasks: &[Task]) {
        *lock(&self.round) = Round::begin(&self.cut);
        self.board.begin_round();
        if self.policy.referrers {
            self.digest_tags.plan(tasks);
        }
    }

    async fn end_round(&self) {
        self.round().end().await;
        self.destinations.end_round();
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
        self.board.close(repository);
        // All that was wanted there was mounted, or there already.
        if let Some(destination) = self.destinations.leave(repository)
            && let Some(upload) = destination.take_first_upload()
        {
            let cancel = self.cancel.clone();
            let courtesy = async move { destination.client.cancel_upload(upload).await };
            // An interrupted run does not wait for it.
            self.round().spawn_awaited(async move { cancel.run_until_cancelled(courtesy).await });
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
        let written = lock(&self.written).remove(task);
        Image {
            engine: self.clone(),
            task: task.clone(),
            job: Job { place: job, image: Arc::new(task.destination.clone()) },
            source: self.clients.reader(&task.source.repository),
            destination: self.destinations.enter(&task.destination.repository, images),
            ledger: Arc::new(written.map(Ledger::of_written).unwrap_or_default()),
            parts: Arc::default(),
            conversion: self.policy.conversion.clone(),
        }
    }

    fn round(&self) -> Arc<Round> {
        lock(&self.round).clone()
    }

    fn tell(&self, event: Event) {
        self.listener.hear(&event);
    }
}

#[cfg(test)]
mod tests;
