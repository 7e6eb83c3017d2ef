//! Who needs which blob where, and who moves it: each blob once for a destination registry, if it mounts.
//!
//! Bookkeeping only. Nothing here waits or talks to a registry: callers tell what happened and take away what may start
//! now ([`Board::take_ready`]). One lock, never held over an await. Those who need a blob that somebody else is moving
//! wait as entries, not as permits, so that waiting never uses up what the mover needs.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::lane::{Lane, Pair};
use crate::digest::Digest;
use crate::event::Failure;
use crate::reference::{Registry, Repository};
use crate::registry::Upload;

/// Refused mounts after which a registry that never granted one is not asked again.
const REFUSALS: u32 = 3;

/// A blob at a destination registry. The size is part of it, so that a manifest with a wrong one fails alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct BlobKey {
    pub registry: Registry,
    pub digest: Digest,
    pub size: u64,
}

/// What came of a need. Everybody who waits for the blob in this repository gets it.
pub(super) type Answer = Result<(), Failure>;

/// The reply to [`Board::want`].
pub(super) enum Wanted {
    Here,
    Failed(Failure),
    Await(oneshot::Receiver<Answer>),
}

/// Something that may start now. It must be given back by exactly one of `landed`, `mount_refused`, `failed`, `aborted`.
#[derive(Debug)]
pub(super) struct Ticket {
    pub key: BlobKey,
    pub destination: Repository,
    pub work: Work,
}

#[derive(Debug)]
pub(super) enum Work {
    /// Bring the blob from one of `sources`; an upload may be open already, from a mount that was not granted.
    Move { sources: Vec<Repository>, upload: Option<Upload>, pair: Pair },
    /// Have the registry link it from another repository.
    Mount { from: Repository },
}

/// Whom a failure concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those who would read from this repository.
    Source(Repository),
    /// Those who would write to the same repository.
    Destination,
    /// Everybody: the blob itself, or the way between the registries.
    Blob,
}

pub(super) struct Board(Mutex<State>);

struct State {
    blobs: HashMap<BlobKey, Blob>,
    /// Blobs known to be in a repository, for as long as it has work.
    present: HashMap<Repository, HashSet<Digest>>,
    mounts: HashMap<Registry, Mounts>,
    /// Blobs as streams, and blobs so small that they are one request.
    workers: Lane,
    tiny: Lane,
    streamed_from: u64,
    ready: Vec<Ticket>,
}

#[derive(Default)]
struct Blob {
    /// A repository from which it can be mounted.
    home: Option<Repository>,
    needs: Vec<Need>,
    /// What failed in this round, so that nobody repeats it.
    failures: Vec<(Scope, Repository, Failure)>,
}

struct Need {
    destination: Repository,
    sources: Vec<Repository>,
    /// Place of the image in the plan: the oldest goes first.
    job: usize,
    stage: Stage,
    mount_refused: bool,
    upload: Option<Upload>,
    waiters: Vec<oneshot::Sender<Answer>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Queued,
    Moving,
    Mounting,
}

#[derive(Default)]
struct Mounts {
    granted: bool,
    refused: u32,
}

impl Mounts {
    fn are_worth_asking(&self) -> bool {
        self.granted || self.refused < REFUSALS
    }
}

impl Board {
    /// A board for so many blobs in flight at once, and so many of less than `streamed_from` bytes besides.
    pub fn new(workers: usize, tiny: usize, streamed_from: u64) -> Self {
        Self(Mutex::new(State {
            blobs: HashMap::new(),
            present: HashMap::new(),
            mounts: HashMap::new(),
            workers: Lane::new(workers),
            tiny: Lane::new(tiny),
            streamed_from,
            ready: Vec::new(),
        }))
    }

    /// The image `job` needs a blob in `destination` and could have it from `source`.
    pub fn want(
        &self,
        digest: &Digest,
        size: u64,
        source: &Repository,
        destination: &Repository,
        job: usize,
    ) -> Wanted {
        let mut state = self.lock();
        if state.present.get(destination).is_some_and(|blobs| blobs.contains(digest)) {
            return Wanted::Here;
        }
        let key = BlobKey { registry: destination.registry().clone(), digest: digest.clone(), size };
        let blob = state.blobs.entry(key.clone()).or_default();
        if let Some(failure) = blob.failure(std::slice::from_ref(source), destination) {
            return Wanted::Failed(failure.clone());
        }
        let (sender, receiver) = oneshot::channel();
        match blob.need(destination) {
            Some(need) => {
                if !need.sources.contains(source) {
                    need.sources.push(source.clone());
                }
                need.waiters.push(sender);
            }
            None => {
                blob.needs.push(Need {
                    destination: destination.clone(),
                    sources: vec![source.clone()],
                    job,
                    stage: Stage::Waiting,
                    mount_refused: false,
                    upload: None,
                    waiters: vec![sender],
                });
                state.advance(&key);
            }
        }
        Wanted::Await(receiver)
    }

    /// What may start now, the most urgent first.
    pub fn take_ready(&self) -> Vec<Ticket> {
        let mut state = self.lock();
        let mut ready = std::mem::take(&mut state.ready);
        while let Some(ticket) = state.next_move() {
            ready.push(ticket);
        }
        ready
    }

    /// The blob is in the ticket's repository.
    pub fn landed(&self, ticket: &Ticket) {
        let mut state = self.lock();
        state.release(ticket);
        if let Work::Mount { .. } = ticket.work {
            state.mounts.entry(ticket.key.registry.clone()).or_default().granted = true;
        }
        state.present.entry(ticket.destination.clone()).or_default().insert(ticket.key.digest.clone());
        let blob = state.blobs.entry(ticket.key.clone()).or_default();
        blob.home.get_or_insert_with(|| ticket.destination.clone());
        blob.answer(&ticket.destination, &Ok(()));
        state.advance(&ticket.key);
    }

    /// The registry did not mount; it may have opened an upload in place.
    pub fn mount_refused(&self, ticket: &Ticket, upload: Option<Upload>) {
        let mut state = self.lock();
        state.mounts.entry(ticket.key.registry.clone()).or_default().refused += 1;
        let blob = state.blobs.entry(ticket.key.clone()).or_default();
        if let Some(need) = blob.need(&ticket.destination) {
            need.stage = Stage::Waiting;
            need.mount_refused = true;
            need.upload = upload;
        }
        state.advance(&ticket.key);
    }

    /// It could not be brought there, for a reason that concerns `scope` for the rest of this round.
    pub fn failed(&self, ticket: &Ticket, scope: Scope, failure: &Failure) {
        let mut state = self.lock();
        state.release(ticket);
        let blob = state.blobs.entry(ticket.key.clone()).or_default();
        blob.failures.push((scope, ticket.destination.clone(), failure.clone()));
        blob.answer(&ticket.destination, &Err(failure.clone()));
        blob.answer_hopeless();
        state.advance(&ticket.key);
    }

    /// Nobody knows what came of it: the task that held the ticket panicked or was cancelled.
    pub fn aborted(&self, ticket: &Ticket, failure: &Failure) {
        let mut state = self.lock();
        state.release(ticket);
        state.blobs.entry(ticket.key.clone()).or_default().answer(&ticket.destination, &Err(failure.clone()));
        state.advance(&ticket.key);
    }

    /// The registry says that these blobs are not in `repository`, whatever was believed.
    pub fn forget<'a>(&self, repository: &Repository, blobs: impl Iterator<Item = (&'a Digest, u64)>) {
        let mut state = self.lock();
        for (digest, size) in blobs {
            if let Some(present) = state.present.get_mut(repository) {
                present.remove(digest);
            }
            let key = BlobKey { registry: repository.registry().clone(), digest: digest.clone(), size };
            if let Some(blob) = state.blobs.get_mut(&key) {
                blob.home.take_if(|home| home == repository);
            }
        }
    }

    /// The repository has no more work: what is known of it is not needed.
    pub fn close(&self, repository: &Repository) {
        self.lock().present.remove(repository);
    }

    /// A new round: what failed may be tried again.
    pub fn forget_failures(&self) {
        for blob in self.lock().blobs.values_mut() {
            blob.failures = Vec::new();
        }
    }

    /// What is behind the lock is whole between any two calls, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blob {
    fn need(&mut self, destination: &Repository) -> Option<&mut Need> {
        self.needs.iter_mut().find(|need| need.destination == *destination)
    }

    /// The known failure that leaves no way from any of `sources` to `destination`.
    fn failure(&self, sources: &[Repository], destination: &Repository) -> Option<&Failure> {
        let concerns_all = |(scope, at, _): &&(Scope, Repository, Failure)| match scope {
            Scope::Blob => true,
            Scope::Destination => at == destination,
            Scope::Source(_) => false,
        };
        let of_source = |source: &Repository| {
            let found = self.failures.iter().find(|(scope, ..)| *scope == Scope::Source(source.clone()));
            found.map(|(.., failure)| failure)
        };
        if let Some((.., failure)) = self.failures.iter().find(concerns_all) {
            return Some(failure);
        }
        // The last one is as good as any: every source has failed.
        sources.iter().map(of_source).collect::<Option<Vec<_>>>()?.pop()
    }

    fn answer(&mut self, destination: &Repository, answer: &Answer) {
        if let Some(at) = self.needs.iter().position(|need| need.destination == *destination) {
            self.needs.swap_remove(at).answer(answer);
        }
    }

    /// Tells those who wait and have no way left.
    fn answer_hopeless(&mut self) {
        let waiting = |need: &Need| need.stage == Stage::Waiting;
        let hopeless: Vec<(Repository, Failure)> = self
            .needs
            .iter()
            .filter(|need| waiting(need))
            .filter_map(|need| {
                Some((need.destination.clone(), self.failure(&need.sources, &need.destination)?.clone()))
            })
            .collect();
        for (destination, failure) in hopeless {
            self.answer(&destination, &Err(failure));
        }
    }
}

impl Need {
    fn answer(self, answer: &Answer) {
        for waiter in self.waiters {
            // Whoever stopped waiting failed for another reason.
            let _ = waiter.send(answer.clone());
        }
    }

    fn is_abandoned(&self) -> bool {
        self.waiters.iter().all(oneshot::Sender::is_closed)
    }
}

impl State {
    /// Moves on those who wait for this blob: all mount it where that is possible, all move it where mounts are not
    /// granted, and else one moves it for the others.
    fn advance(&mut self, key: &BlobKey) {
        let Some(blob) = self.blobs.get_mut(key) else { return };
        let mounts = self.mounts.get(&key.registry).is_none_or(Mounts::are_worth_asking);
        let lane = if key.size < self.streamed_from { &mut self.tiny } else { &mut self.workers };
        let mut somebody_moves = blob.needs.iter().any(|need| matches!(need.stage, Stage::Queued | Stage::Moving));
        for need in blob.needs.iter_mut().filter(|need| need.stage == Stage::Waiting) {
            let may_mount = mounts && !need.mount_refused;
            match &blob.home {
                Some(home) if may_mount => {
                    need.stage = Stage::Mounting;
                    let (destination, work) = (need.destination.clone(), Work::Mount { from: home.clone() });
                    self.ready.push(Ticket { key: key.clone(), destination, work });
                }
                None if may_mount && somebody_moves => {}
                _ => {
                    need.stage = Stage::Queued;
                    somebody_moves = true;
                    let pair = Pair { source: need.sources[0].registry().clone(), destination: key.registry.clone() };
                    lane.push(pair, need.job, key.clone(), need.destination.clone());
                }
            }
        }
    }

    /// The next blob for which a lane has room.
    fn next_move(&mut self) -> Option<Ticket> {
        loop {
            let (pair, key, destination) = match self.workers.pop() {
                Some(entry) => entry,
                None => self.tiny.pop()?,
            };
            let blob = self.blobs.get_mut(&key);
            let abandoned = match blob.and_then(|blob| blob.need(&destination)) {
                Some(need) if !need.is_abandoned() => {
                    need.stage = Stage::Moving;
                    let work = Work::Move { sources: need.sources.clone(), upload: need.upload.take(), pair };
                    return Some(Ticket { key, destination, work });
                }
                Some(_) => true,
                None => false,
            };
            self.lane(&key).release(&pair);
            if abandoned {
                if let Some(blob) = self.blobs.get_mut(&key) {
                    blob.needs.retain(|need| need.destination != destination);
                }
                self.advance(&key);
            }
        }
    }

    fn release(&mut self, ticket: &Ticket) {
        if let Work::Move { pair, .. } = &ticket.work {
            self.lane(&ticket.key).release(pair);
        }
    }

    fn lane(&mut self, key: &BlobKey) -> &mut Lane {
        if key.size < self.streamed_from { &mut self.tiny } else { &mut self.workers }
    }
}

#[cfg(test)]
mod tests;
