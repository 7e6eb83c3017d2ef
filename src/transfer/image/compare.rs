//! What both sides name, and what follows from that.

use super::Image;
use crate::digest::Digest;
use crate::event::{Category, Failure};
use crate::plan::Task;
use crate::reference::Identifier;
use crate::registry::Error;
use crate::transfer::Policy;

impl Image {
    /// Asks the destination. Where it cannot be asked, an upload may tell why.
    pub(super) async fn or_say_why<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        match ask().await {
            // Some say the same of a repository that they do not have as of a tag that is not for us.
            Err(error) if error.is_refused_repository() && error.registry == *self.destination.registry() => {
                self.destination.check_open(&self.destination.client).await?;
                ask().await
            }
            answer => answer,
        }
    }

    /// What is at the destination, and what the source names: the latter only if it can be compared with the former, or
    /// if the registry counts how often manifests are read.
    pub(super) async fn compare(&self) -> Result<(Option<Digest>, Option<Digest>), Error> {
        let source = &self.task.source;
        let there = async {
            match self.conversion.known_place(&self.task) {
                Some(place) => self.destination.digest(place).await,
                None => Ok(None),
            }
        };
        if let Some(digest) = source.identifier.digest() {
            return Ok((there.await?, Some(digest.clone())));
        }
        let wanted = self.source.digest(&source.identifier);
        let converts = self.conversion.changes_images();
        if self.source.counts_pulls() || self.destination.seems_done() && !converts {
            return tokio::try_join!(there, wanted);
        }
        match there.await? {
            Some(there) if !converts => Ok((Some(there), wanted.await?)),
            there => Ok((there, None)),
        }
    }

    /// Whether nothing is to be done, or must not be, since this is what the destination names.
    pub(super) fn is_up_to_date(&self, there: Option<&Digest>, wanted: &Digest) -> Result<bool, Failure> {
        let source = self.ledger.source_digest();
        let is_done = self.engine.policy.is_done(&self.task, source.as_ref(), there, wanted)?;
        if is_done {
            self.ledger.placed(wanted);
        }
        Ok(is_done)
    }

    /// Asks once more what the tag names, just before it is written: what was learnt before is old by now. A digest names
    /// one thing for ever.
    pub(super) async fn check_clobber(&self, digest: &Digest) -> Result<(), Failure> {
        let identifier = &self.task.destination.identifier;
        if !self.engine.policy.no_clobber || identifier.digest().is_some() {
            return Ok(());
        }
        let there = self.named_there(identifier).await?;
        self.ledger.before(there.as_ref());
        match there {
            Some(there) if there != *digest => {
                Err(clobbered(&self.task, self.ledger.source_digest().as_ref(), &there, digest))
            }
            _ => Ok(()),
        }
    }

    /// What the destination names, asked as a reader: to a writer what is forbidden counts as absent, and the tag would be
    /// written over.
    pub(in crate::transfer) async fn named_there(&self, identifier: &Identifier) -> Result<Option<Digest>, Failure> {
        match self.engine.clients.reader(&self.task.destination.repository).digest(identifier).await {
            // JFrog says so of what is absent.
            Err(error) if error.is_forbidden() && self.destination.lists_without(identifier) => Ok(None),
            there => there.map_err(Failure::from),
        }
    }
}

impl Policy {
    /// Whether nothing is to be done, or must not be, where the destination names `there`, and is to name `wanted`, which
    /// is what `source` has become.
    pub(in crate::transfer) fn is_done(
        &self,
        task: &Task,
        source: Option<&Digest>,
        there: Option<&Digest>,
        wanted: &Digest,
    ) -> Result<bool, Failure> {
        match there {
            Some(there) if there != wanted && self.no_clobber => Err(clobbered(task, source, there, wanted)),
            there => Ok(there == Some(wanted) && !self.force),
        }
    }

    /// Whether it is told what goes when the destination is to name `wanted` in place of `there`.
    pub(in crate::transfer) fn tells_loss(&self, task: &Task, there: &Digest, wanted: &Digest) -> bool {
        !self.no_clobber && there != wanted && task.destination.identifier.is_about_digest()
    }
}

/// The destination names something else, and is to be left so.
fn clobbered(task: &Task, source: Option<&Digest>, there: &Digest, wanted: &Digest) -> Failure {
    let whose = match source {
        Some(source) if source != wanted => format!("the source {source}, converted {wanted}"),
        _ => format!("the source {wanted}"),
    };
    let reason = format!("the destination names {there} already, {whose}; --no-clobber leaves it so");
    Failure::for_good(Category::Refused, Some(task.destination.repository.registry()), reason)
}
