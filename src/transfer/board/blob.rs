//! One blob at one destination registry: where it can be had, who needs it, and what failed.

use tokio::sync::oneshot;

use super::{Answer, Came, Scope, Work};
use crate::event::Failure;
use crate::reference::Repository;
use crate::registry::Upload;
use crate::transfer::lane::Kind;

#[derive(Default)]
pub(super) struct Blob {
    /// A repository from which it can be mounted.
    pub home: Option<Repository>,
    /// Whether a manifest there names it.
    pub home_is_sealed: bool,
    pub needs: Vec<Need>,
    /// What failed in this round, so that nobody repeats it.
    pub failures: Vec<(Scope, Repository, Failure)>,
}

pub(super) struct Need {
    pub destination: Repository,
    /// At least one.
    pub sources: Vec<Repository>,
    /// Place of the image in the plan: the oldest goes first.
    pub job: usize,
    pub stage: Stage,
    pub mount_refused: bool,
    pub upload: Option<Upload>,
    pub waiters: Vec<oneshot::Sender<Answer>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// For what others do.
    Waiting,
    /// In the queue of a lane.
    Queued(Kind),
    /// Somebody has its ticket.
    Active(Kind),
    /// Somebody had its ticket, and will again after some time.
    Postponed(Kind),
}

impl Stage {
    pub fn is_move(self) -> bool {
        let (Self::Queued(kind) | Self::Active(kind) | Self::Postponed(kind)) = self else { return false };
        matches!(kind, Kind::Worker | Kind::Tiny)
    }
}

impl Blob {
    pub fn need(&mut self, destination: &Repository) -> Option<&mut Need> {
        self.needs.iter_mut().find(|need| need.destination == *destination)
    }

    /// The known failure that leaves no way from any of `sources` to `destination`.
    pub fn failure(&self, sources: &[Repository], destination: &Repository) -> Option<&Failure> {
        let refused =
            |(scope, at, _): &&(Scope, Repository, Failure)| *scope == Scope::Destination && at == destination;
        let of_source = |source: &Repository| {
            let found = self.failures.iter().find(|(scope, ..)| *scope == Scope::Source(source.clone()));
            found.map(|(.., failure)| failure)
        };
        if let Some((.., failure)) = self.failures.iter().find(refused) {
            return Some(failure);
        }
        if self.home.is_some() {
            // It can be mounted, whatever the sources lack.
            return None;
        }
        // The last one is as good as any: every source has failed.
        sources.iter().map(of_source).collect::<Option<Vec<_>>>()?.pop()
    }

    pub fn answer(&mut self, destination: &Repository, answer: &Answer) {
        if let Some(at) = self.needs.iter().position(|need| need.destination == *destination) {
            self.needs.swap_remove(at).answer(answer);
        }
    }

    /// Tells those who wait and have no way left.
    pub fn answer_hopeless(&mut self) {
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

    /// The work of a need whose turn it is; none if nobody waits for it any more, if it has become hopeless while it
    /// was queued, or if there is no home to mount from any more.
    pub fn take(&mut self, destination: &Repository, kind: Kind) -> Option<Work> {
        let at = self.needs.iter().position(|need| need.destination == *destination)?;
        if self.needs[at].is_abandoned() {
            self.needs.swap_remove(at);
            return None;
        }
        if let Some(failure) = self.failure(&self.needs[at].sources, destination) {
            let failure = failure.clone();
            self.needs.swap_remove(at).answer(&Err(failure));
            return None;
        }
        let need = &mut self.needs[at];
        need.stage = Stage::Active(kind);
        match (kind, &self.home) {
            (Kind::Mount, Some(home)) => Some(Work::Mount { from: home.clone() }),
            (Kind::Mount, None) => {
                need.stage = Stage::Waiting;
                None
            }
            _ => Some(Work::Move { sources: need.sources.clone(), upload: need.upload.take() }),
        }
    }
}

impl Need {
    pub fn answer(self, answer: &Answer) {
        let mut answer = answer.clone();
        for waiter in self.waiters {
            // Whoever stopped waiting failed for another reason.
            if waiter.send(answer.clone()).is_ok() && answer.is_ok() {
                answer = Ok(Came::Present);
            }
        }
    }

    pub fn is_abandoned(&self) -> bool {
        self.waiters.iter().all(oneshot::Sender::is_closed)
    }
}
