//! One blob at one destination registry: where it is needed, and what failed.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Answer, Came, Concerns, Job, Work};
use crate::event::Failure;
use crate::reference::{Reference, Registry, Repository};
use crate::registry::Upload;
use crate::transfer::lane::LaneKind;

#[derive(Default)]
pub(super) struct Blob {
    pub needs: Vec<Need>,
    pub failures: Failures,
}

/// What failed in this round, so that nobody repeats it.
#[derive(Default)]
pub(super) struct Failures(HashMap<Concerns, Failure>);

pub(super) struct Need {
    pub destination: Repository,
    /// At least one.
    pub sources: Vec<Repository>,
    /// The image that needed it first.
    pub job: Job,
    pub stage: Stage,
    pub mount_refused: bool,
    /// How often it was postponed.
    pub postponements: u32,
    pub upload: Option<Upload>,
    pub waiters: Vec<oneshot::Sender<Answer>>,
}

/// From `Waiting` to `Queued` to `Active`; from there to its answer, or back to `Waiting`, perhaps by way of `Postponed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits for what others do.
    Waiting,
    /// In the queue of a lane.
    Queued(LaneKind),
    /// Somebody has its ticket.
    Active(LaneKind),
    /// Somebody had its ticket, and will again after some time.
    Postponed(LaneKind),
}

impl Stage {
    /// Whether it is being moved, or is about to be.
    pub fn is_move(self) -> bool {
        let (Self::Queued(kind) | Self::Active(kind)) = self else { return false };
        matches!(kind, LaneKind::Worker | LaneKind::Tiny)
    }
}

impl Blob {
    pub fn need(&mut self, destination: &Repository) -> Option<&mut Need> {
        self.needs.iter_mut().find(|need| need.destination == *destination)
    }

    /// The source registries that have postponed a move of it.
    pub fn held(&self) -> Vec<Registry> {
        let held =
            self.needs.iter().filter(|need| matches!(need.stage, Stage::Postponed(LaneKind::Worker | LaneKind::Tiny)));
        held.flat_map(|need| &need.sources).map(|source| source.registry().clone()).collect()
    }

    /// Whether nothing is left to be known of it here.
    pub fn is_settled(&self) -> bool {
        self.needs.is_empty() && self.failures.0.is_empty()
    }

    /// The known failure that leaves no way from `source` to `destination`. Where it can be mounted, or somebody brings it
    /// there, it does not matter what the source lacks.
    pub fn failure(&self, source: &Repository, destination: &Repository, can_be_mounted: bool) -> Option<&Failure> {
        let is_coming = can_be_mounted || self.needs.iter().any(|need| need.destination == *destination);
        let of_move = || self.failures.of_move(std::slice::from_ref(source)).filter(|_| !is_coming);
        self.failures.at(destination).or_else(of_move)
    }

    pub fn answer(&mut self, destination: &Repository, answer: &Answer) {
        if let Some(at) = self.needs.iter().position(|need| need.destination == *destination) {
            self.needs.swap_remove(at).answer(answer);
        }
    }

    /// The work of a need whose turn it is, for which image it is done, and how often it was postponed; none if nobody waits
    /// for it any more, or if this way has been lost while it was queued. Then it waits for another. `from` is where it can
    /// be mounted from.
    pub fn take(
        &mut self,
        destination: &Repository,
        kind: LaneKind,
        from: Option<&Repository>,
    ) -> Option<(Work, Arc<Reference>, u32)> {
        let at = self.needs.iter().position(|need| need.destination == *destination)?;
        if self.needs[at].is_abandoned() {
            self.needs.swap_remove(at);
            return None;
        }
        let need = &mut self.needs[at];
        if need.stage != Stage::Queued(kind) {
            return None;
        }
        need.stage = Stage::Waiting;
        let work = match kind {
            LaneKind::Mount => Work::Mount { from: from?.clone() },
            LaneKind::Worker | LaneKind::Tiny => {
                let sources: Vec<_> =
                    need.sources.iter().filter(|source| self.failures.of_source(source).is_none()).cloned().collect();
                if sources.is_empty() {
                    return None;
                }
                Work::Move { sources, upload: need.upload.take() }
            }
        };
        need.stage = Stage::Active(kind);
        Some((work, need.job.image.clone(), need.postponements))
    }
}

impl Failures {
    pub fn note(&mut self, concerns: Concerns, failure: Failure) {
        self.0.entry(concerns).or_insert(failure);
    }

    /// Why `destination` does not take it.
    pub fn at(&self, destination: &Repository) -> Option<&Failure> {
        self.0.get(&Concerns::Destination(destination.clone()))
    }

    /// Why it cannot be had from any of `sources`.
    pub fn of_move(&self, sources: &[Repository]) -> Option<&Failure> {
        // The last one is as good as any: every source has failed.
        sources.iter().map(|source| self.of_source(source)).collect::<Option<Vec<_>>>()?.pop()
    }

    fn of_source(&self, source: &Repository) -> Option<&Failure> {
        self.0.get(&Concerns::Source(source.clone()))
    }
}

impl Need {
    pub fn answer(self, answer: &Answer) {
        let mut answer = answer.clone();
        for waiter in self.waiters {
            // A waiter that is gone failed for another reason.
            if waiter.send(answer.clone()).is_ok() && answer.is_ok() {
                answer = Ok(Came::Present);
            }
        }
    }

    pub fn has_source_in(&self, registry: &Registry) -> bool {
        self.sources.iter().any(|source| source.registry() == registry)
    }

    /// Whether all its sources are in `held`, the registries that have postponed a move of the blob.
    pub fn is_held_with(&self, held: &[Registry]) -> bool {
        self.sources.iter().all(|source| held.contains(source.registry()))
    }

    /// Ends its postponement, if it is postponed and the condition holds.
    pub fn resume_if(&mut self, condition: impl Fn(&Self) -> bool) {
        if matches!(self.stage, Stage::Postponed(_)) && condition(self) {
            self.stage = Stage::Waiting;
        }
    }

    pub fn is_abandoned(&self) -> bool {
        self.waiters.iter().all(oneshot::Sender::is_closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_lacks_does_not_matter_where_another_brings_it() {
        let [lacks, has, here, elsewhere]: [Repository; 4] =
            ["s.io/lacks", "s.io/has", "d.io/here", "d.io/elsewhere"].map(|name| name.parse().unwrap());
        let mut blob = Blob::default();
        blob.failures.note(Concerns::Source(lacks.clone()), Failure::internal("test"));
        blob.needs.push(Need {
            destination: here.clone(),
            sources: vec![has],
            job: Job { place: 0, image: Arc::new(here.clone().tagged("1".parse().unwrap())) },
            stage: Stage::Active(LaneKind::Worker),
            mount_refused: false,
            postponements: 0,
            upload: None,
            waiters: Vec::new(),
        });
        assert!(blob.failure(&lacks, &here, false).is_none());
        assert!(blob.failure(&lacks, &elsewhere, false).is_some());
        blob.failures.note(Concerns::Destination(here.clone()), Failure::internal("test"));
        assert!(blob.failure(&lacks, &here, false).is_some());
    }
}
