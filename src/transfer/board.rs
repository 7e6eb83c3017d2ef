//! Which image needs which blob where, and which flight brings it. A blob is moved once to a registry that mounts.
//!
//! Bookkeeping only. Nothing here waits or talks to a registry: callers tell what happened and take away what may start
//! now ([`Board::take_ready`]). One lock, never held over an await. Those who need a blob that somebody else is moving
//! wait as entries, not as permits, so that waiting never uses up what the mover needs.

mod blob;
mod homes;
mod mounts;
mod ticket;
mod whereabouts;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use self::blob::{Blob, Need, Stage};
pub(super) use self::mounts::{Mounts, When};
pub(super) use self::ticket::{Back, Place, Ticket, Work};
use self::whereabouts::Whereabouts;
use super::Limits;
use super::lane::{LaneKind, Lanes, Pair};
use crate::digest::Digest;
use crate::event::Failure;
use crate::reference::{Reference, Registry, Repository};
use crate::shared::lock;

/// A blob at a destination registry. The size is part of it, so that a manifest with a wrong one fails alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct BlobKey {
    pub registry: Registry,
    pub digest: Digest,
    pub size: u64,
}

/// An image of the plan that needs blobs.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// Its place in the plan: the oldest goes first.
    pub place: usize,
    /// Its destination: to whose record it counts what is moved for it, and for what refers to it.
    pub image: Arc<Reference>,
}

/// How a blob came to be where it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    Moved,
    Mounted,
    /// It was there, or another image brought it.
    Present,
}

/// What came of a need. Everybody who waits for the blob in this repository gets it; only the first is told that it was
/// moved or mounted.
pub(super) type Answer = Result<Came, Failure>;

/// The reply to [`Board::want`].
pub(super) enum Wanted {
    Here,
    Failed(Failure),
    Await { answer: oneshot::Receiver<Answer>, is_first: bool },
}

/// Whom a failure concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Concerns {
    /// The blob in this source repository.
    Source(Repository),
    /// The blob in this destination repository.
    Destination(Repository),
}

pub(super) struct Board(Mutex<State>);

struct State {
    /// Those that somebody needs, and those that failed in this round.
    blobs: HashMap<BlobKey, Blob>,
    whereabouts: Whereabouts,
    mounts: HashMap<Registry, Mounts>,
    lanes: Lanes,
    streamed_from: u64,
}

impl Board {
    /// A board for as many blobs in flight at once as the limits allow.
    pub fn new(limits: &Limits) -> Self {
        Self(Mutex::new(State {
            blobs: HashMap::new(),
            whereabouts: Whereabouts::default(),
            mounts: HashMap::new(),
            lanes: Lanes::new(limits),
            streamed_from: limits.streamed_from,
        }))
    }

    /// An image needs a blob in `destination` and could have it from `source`.
    pub fn want(&self, digest: &Digest, size: u64, source: &Repository, destination: &Repository, job: &Job) -> Wanted {
        let mut state = self.lock();
        let key = BlobKey { registry: destination.registry().clone(), digest: digest.clone(), size };
        state.whereabouts.open(destination);
        if state.whereabouts.has(destination, &key) {
            return Wanted::Here;
        }
        let has_home = state.whereabouts.home(&key).is_some();
        let failure = state.blobs.get(&key).and_then(|blob| blob.failure(source, destination, has_home));
        if let Some(failure) = failure {
            return Wanted::Failed(failure.clone());
        }
        let blob = state.blobs.entry(key.clone()).or_default();
        let (sender, answer) = oneshot::channel();
        match blob.need(destination) {
            Some(need) => {
                need.waiters.push(sender);
                if !need.sources.contains(source) {
                    // It was postponed for the registries that it was to come from; this one may give it.
                    need.resume_if(|need| !need.has_source_in(source.registry()));
                    need.sources.push(source.clone());
                    state.advance(&key);
                }
                Wanted::Await { answer, is_first: false }
            }
            None => {
                blob.needs.push(Need {
                    destination: destination.clone(),
                    sources: vec![source.clone()],
                    job: job.clone(),
                    stage: Stage::Waiting,
                    mount_refused: false,
                    postponements: 0,
                    upload: None,
                    waiters: vec![sender],
                });
                state.advance(&key);
                Wanted::Await { answer, is_first: true }
            }
        }
    }

    /// What may start now, the most urgent first.
    pub fn take_ready(&self) -> Vec<Ticket> {
        let mut state = self.lock();
        let kinds = [LaneKind::Mount, LaneKind::Worker, LaneKind::Tiny];
        let mut ready = Vec::new();
        // What is passed over in one lane may add to another.
        loop {
            let before = ready.len();
            for kind in kinds {
                while let Some(ticket) = state.next(kind) {
                    ready.push(ticket);
                }
            }
            if ready.len() == before {
                return ready;
            }
        }
    }

    /// Takes a ticket back with what came of it.
    pub fn give_back(&self, ticket: Ticket, back: Back) {
        let mut state = self.lock();
        state.told_of_mount(&ticket, &back);
        if let Back::Landed(_) = back {
            let Place { kind, pair, generation, .. } = &*ticket.place;
            state.lanes.get(*kind).went_well(pair, *generation);
        }
        state.release(&ticket);
        let need = state.need(&ticket.key, &ticket.destination);
        match back {
            Back::Landed(came) => {
                state.whereabouts.landed(&ticket.destination, &ticket.key, came == Came::Moved);
                state.answer(&ticket, &Ok(came));
            }
            Back::Aborted(failure) => state.answer(&ticket, &Err(failure)),
            Back::MountRefused(upload) | Back::NotMounted(upload) => {
                if let Some(need) = need {
                    need.stage = Stage::Waiting;
                    need.mount_refused = true;
                    need.upload = upload;
                }
            }
            // It may have got another source since the ticket was given out; if not, it is told with the others.
            Back::Failed => {
                if let Some(need) = need {
                    need.stage = Stage::Waiting;
                }
            }
            // Others may have it from elsewhere.
            Back::Postponed(_) => {
                if let Some(need) = need {
                    need.stage = Stage::Postponed(ticket.place.kind);
                    need.postponements += 1;
                }
            }
        }
        state.advance(&ticket.key);
    }

    /// What failed on the way, and whom that concerns for the rest of this round.
    pub fn note(&self, ticket: &Ticket, reasons: &[(Concerns, Failure)]) {
        let mut state = self.lock();
        let blob = state.blobs.entry(ticket.key.clone()).or_default();
        for (concerns, failure) in reasons {
            blob.failures.note(concerns.clone(), failure.clone());
        }
    }

    /// The time of a need that was postponed has come.
    pub fn resume(&self, key: &BlobKey, destination: &Repository) {
        let mut state = self.lock();
        if let Some(need) = state.need(key, destination) {
            need.resume_if(|_| true);
        }
        state.advance(key);
    }

    /// A registry says that what the ticket stands for was one too many at once.
    pub fn overloaded(&self, ticket: &Ticket) {
        let Place { kind, pair, generation, .. } = &*ticket.place;
        self.lock().lanes.get(*kind).overloaded(pair, *generation);
    }

    /// All bytes of what has this place are on their way. While the destination checks and stores them, the place goes to
    /// another of the same pair, if one waits.
    pub fn sent(&self, place: &Place) -> Option<Ticket> {
        let mut state = self.lock();
        if place.is_given_away() {
            return None;
        }
        let next = state.place(place.kind, &place.pair, &place.sending);
        let ticket = loop {
            let (key, destination) = state.lanes.get(place.kind).pop_for(&place.pair)?;
            if let Some(ticket) = state.ticket(key, destination, &next) {
                break ticket;
            }
        };
        place.is_given_away.store(true, Relaxed);
        Some(ticket)
    }

    /// Whether a blob that came to be wanted now could be moved at once.
    pub fn is_idle(&self) -> bool {
        self.lock().lanes.have_room()
    }

    /// What is known of a registry's mounts, to be asked or told something. It is done under the lock, and asks the board
    /// for nothing else.
    pub fn mounts<T>(&self, registry: &Registry, look: impl FnOnce(&mut Mounts) -> T) -> T {
        look(self.lock().mounts.entry(registry.clone()).or_default())
    }

    /// A manifest that names these blobs is in `repository`: from there they can be mounted at any registry that mounts.
    pub fn sealed<'a>(&self, repository: &Repository, blobs: impl Iterator<Item = (&'a Digest, u64)>) {
        let mut state = self.lock();
        for (digest, size) in blobs {
            state.whereabouts.sealed(repository, digest, size);
        }
    }

    /// The registry says that these blobs are not in `repository`, whatever was believed.
    pub fn forget<'a>(&self, repository: &Repository, blobs: impl Iterator<Item = &'a Digest>) {
        let mut state = self.lock();
        for digest in blobs {
            state.whereabouts.forget(repository, digest);
        }
    }

    /// The repository has no more work: what is known of it is not needed.
    pub fn close(&self, repository: &Repository) {
        self.lock().whereabouts.close(repository);
    }

    /// A new round: what failed may be tried again. Nobody is left who waits for what the last one began or postponed.
    pub fn begin_round(&self) {
        let mut state = self.lock();
        state.blobs.clear();
        state.lanes.clear();
    }

    /// What is behind the lock is whole between any two calls, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl State {
    /// Finds a way for each need of this blob that waits. If it can be mounted, all mount it. If mounts are not granted, all
    /// move it. Else one moves it, and the others wait for that. Needs that have no way left are answered.
    fn advance(&mut self, key: &BlobKey) {
        let Some(blob) = self.blobs.get_mut(key) else { return };
        let home = self.whereabouts.home(key);
        let mounts = self.mounts.entry(key.registry.clone()).or_default();
        // What is being moved now is there before its manifest.
        let [now, once_moved] = [When::of(home), When::Early].map(|when| mounts.are_worth_asking(when));
        let moved_by = if key.size < self.streamed_from { LaneKind::Tiny } else { LaneKind::Worker };
        let mut somebody_moves = blob.needs.iter().any(|need| need.stage.is_move());
        let held = blob.held();
        let mut hopeless = Vec::new();
        for need in blob.needs.iter_mut().filter(|need| need.stage == Stage::Waiting) {
            let kind = match home {
                Some(home) if now && !need.mount_refused && home.repository != need.destination => LaneKind::Mount,
                None if once_moved && !need.mount_refused && (somebody_moves || need.is_held_with(&held)) => continue,
                _ => moved_by,
            };
            let of_move = || blob.failures.of_move(&need.sources).filter(|_| kind == moved_by);
            if let Some(failure) = blob.failures.at(&need.destination).or_else(of_move) {
                hopeless.push((need.destination.clone(), failure.clone()));
                continue;
            }
            need.stage = Stage::Queued(kind);
            somebody_moves |= need.stage.is_move();
            let pair = Pair { source: need.sources[0].registry().clone(), destination: key.registry.clone() };
            self.lanes.get(kind).push(pair, need.job.place, key.clone(), need.destination.clone());
        }
        for (destination, failure) in hopeless {
            blob.answer(&destination, &Err(failure));
        }
        if blob.is_settled() {
            self.blobs.remove(key);
        }
    }

    fn need(&mut self, key: &BlobKey, destination: &Repository) -> Option<&mut Need> {
        self.blobs.get_mut(key)?.need(destination)
    }

    /// Tells those who wait for what the ticket stands for.
    fn answer(&mut self, ticket: &Ticket, answer: &Answer) {
        if let Some(blob) = self.blobs.get_mut(&ticket.key) {
            blob.answer(&ticket.destination, answer);
        }
    }

    /// Notes whether the registry granted a mount, if the ticket was for one and that is known.
    fn told_of_mount(&mut self, ticket: &Ticket, back: &Back) {
        let granted = match (&ticket.work, back) {
            (Work::Mount { .. }, Back::Landed(came)) => *came == Came::Mounted,
            (Work::Mount { .. }, Back::MountRefused(_)) => false,
            _ => return,
        };
        self.mounts.entry(ticket.key.registry.clone()).or_default().told(ticket.when, granted);
    }

    /// The next ticket for which a lane has room.
    fn next(&mut self, kind: LaneKind) -> Option<Ticket> {
        loop {
            let (pair, key, destination) = self.lanes.get(kind).pop()?;
            let place = self.place(kind, &pair, &Arc::default());
            if let Some(ticket) = self.ticket(key, destination, &place) {
                return Some(ticket);
            }
            self.lanes.get(kind).release(&pair);
        }
    }

    /// A place in a lane, as a ticket has it from now on.
    fn place(&mut self, kind: LaneKind, pair: &Pair, sending: &Arc<tokio::sync::Mutex<()>>) -> Arc<Place> {
        let generation = self.lanes.get(kind).generation(pair);
        let (pair, sending) = (pair.clone(), sending.clone());
        Arc::new(Place { kind, pair, generation, sending, is_given_away: AtomicBool::new(false) })
    }

    /// The ticket for what was queued, if it is still to be done in this way.
    fn ticket(&mut self, key: BlobKey, destination: Repository, place: &Arc<Place>) -> Option<Ticket> {
        let home = self.whereabouts.home(&key);
        let when = When::of(home);
        let mounts = self.mounts.entry(key.registry.clone()).or_default();
        let from = home.filter(|_| mounts.are_worth_asking(when)).map(|home| &home.repository);
        let blob = self.blobs.get_mut(&key);
        let Some((work, image, postponements)) = blob.and_then(|blob| blob.take(&destination, place.kind, from)) else {
            self.advance(&key);
            return None;
        };
        let was_denied = self.whereabouts.was_denied(&destination, &key.digest);
        Some(Ticket { key, destination, work, image, postponements, was_denied, place: place.clone(), when })
    }

    fn release(&mut self, ticket: &Ticket) {
        if !ticket.place.is_given_away.swap(true, Relaxed) {
            self.lanes.get(ticket.place.kind).release(&ticket.place.pair);
        }
    }
}

#[cfg(test)]
mod tests;
