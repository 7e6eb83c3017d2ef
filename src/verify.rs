//! Verification: compares every image at its destination with what it should be, and changes nothing.
//!
//! It looks at tags alone, or also at all that they name: whether it is there and has its size, or even whether each byte
//! is right. What is found is a verdict for each image; what could not be found out is a failure.

mod tree;

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};

use self::tree::{Readers, Tree};
use crate::digest::Digest;
use crate::event::{Category, Event, Facts, Failure, Listener, Verdict};
use crate::plan::{Task, Work};
use crate::reference::{Identifier, Reference};
use crate::registry::{Clients, Error, RepositoryClient};
use crate::survey::{Repositories, begin, in_order};
use crate::transfer::{Conversion, Expected, Limits, expected};

/// How closely the destination is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What the tag names.
    Tag,
    /// And that all manifests under it are there and right, and all blobs there with their sizes.
    Tree,
    /// And that every byte of the blobs is right.
    Content,
}

/// What the destinations are compared with.
#[derive(Debug)]
pub enum Standard {
    /// What the sources name now.
    Sources,
    /// What was recorded for each destination when it was migrated; `None` where nothing was wanted. The sources are not
    /// asked.
    Recorded(HashMap<Reference, Option<Digest>>),
}

/// Compares. What it learns of a repository it keeps while that has images to be looked at in the same round.
pub struct Verification {
    clients: Arc<Clients>,
    listener: Arc<dyn Listener>,
    limits: Limits,
    standard: Standard,
    /// What has become of the images on their way.
    conversion: Conversion,
    depth: Depth,
    readers: Arc<Readers>,
}

impl Work for Arc<Verification> {
    fn run<'a>(&'a self, tasks: &'a [Task], last: bool) -> LocalBoxFuture<'a, Vec<(usize, Failure)>> {
        Verification::run(self, tasks, last).boxed_local()
    }

    fn asks_sources(&self) -> bool {
        matches!(self.standard, Standard::Sources)
    }
}

impl Verification {
    pub fn new(
        clients: Arc<Clients>,
        limits: Limits,
        standard: Standard,
        conversion: Conversion,
        depth: Depth,
        listener: Arc<dyn Listener>,
    ) -> Arc<Self> {
        let readers = Arc::new(Readers::new(limits.workers));
        Arc::new(Self { clients, listener, limits, standard, conversion, depth, readers })
    }

    /// Looks at every image once and tells of them in their order. Gives those that failed, by their place among the
    /// tasks. `last` if what fails is not tried again.
    pub async fn run(self: &Arc<Self>, tasks: &[Task], last: bool) -> Vec<(usize, Failure)> {
        let trees = RefCell::new(Repositories::of(tasks));
        let looks = tasks.iter().map(|task| {
            let client = self.clients.reader(&task.destination.repository);
            let readers = (self.depth == Depth::Content).then(|| self.readers.clone());
            let tree = trees.borrow_mut().open(task, |_| Tree::new(client.clone(), readers, self.listener.clone()));
            let looking = begin(self.clone().look(task.clone(), client, tree), self.clients.end());
            async move { (task, looking.await) }
        });
        let mut looked = pin!(in_order(looks, self.limits.images).enumerate());
        let mut lost = Vec::new();
        while let Some((place, (task, result))) = looked.next().await {
            let Task { source, destination } = task.clone();
            match result {
                Ok((verdict, facts)) => {
                    self.listener.hear(&Event::ImageVerified { source, destination, verdict, facts });
                }
                Err(failure) => {
                    let (again, facts) = (failure.is_tried_again(last), Facts::default());
                    let failed = failure.clone();
                    self.listener.hear(&Event::ImageFailed { source, destination, failure: failed, again, facts });
                    lost.push((place, failure));
                }
            }
            trees.borrow_mut().ended(task);
        }
        lost
    }

    async fn look(
        self: Arc<Self>,
        task: Task,
        destination: RepositoryClient,
        tree: Arc<Tree>,
    ) -> Result<(Verdict, Facts), Failure> {
        let (from, to) = (task.source.clone(), task.destination.clone());
        self.listener.hear(&Event::ImageStarted { source: from, destination: to });
        let skipped = Ok((Verdict::Skipped, Facts::default()));
        let (source, expected, found) = match &self.standard {
            Standard::Sources => {
                let source = self.clients.reader(&task.source.repository);
                let expected = expected(&self.conversion, &source, &task.source.identifier, |_| ());
                let place = self.conversion.known_place(&task);
                let found = async {
                    match place {
                        Some(place) => named(&destination, place).await,
                        None => Ok(None),
                    }
                };
                let (expected, mut found) = tokio::try_join!(expected, found)?;
                let Expected::Image(image) = expected else { return skipped };
                if place.is_none() {
                    found = named(&destination, &task.place(&image.root)).await?;
                }
                let image = image.confirmed(found.as_ref(), &source, &task.source.identifier).await?;
                (Some(image.source.clone()), image.root_like(found.as_ref()), found)
            }
            Standard::Recorded(digests) => {
                let recorded = digests.get(&task.destination).ok_or_else(|| unrecorded(&task))?;
                let Some(expected) = recorded else { return skipped };
                (None, expected.clone(), named(&destination, &task.place(expected)).await?)
            }
        };
        let verdict = match &found {
            None => Verdict::Missing,
            Some(found) if *found != expected => Verdict::Differs { expected: expected.clone(), found: found.clone() },
            Some(_) => self.look_below(tree, &expected).await?,
        };
        Ok((verdict, Facts { source_digest: source, digest: found, ..Facts::default() }))
    }

    async fn look_below(&self, tree: Arc<Tree>, root: &Digest) -> Result<Verdict, Error> {
        if self.depth == Depth::Tag {
            return Ok(Verdict::Equal);
        }
        let defects = tree.defects(root.clone(), None, 0).await?;
        Ok(if defects.is_empty() { Verdict::Equal } else { Verdict::Incomplete(defects) })
    }
}

/// What the destination names.
async fn named(destination: &RepositoryClient, place: &Identifier) -> Result<Option<Digest>, Failure> {
    destination.digest(place).await.map_err(Failure::from)
}

/// There is nothing to compare this image with.
fn unrecorded(task: &Task) -> Failure {
    let reason = "the report has no digest to compare it with, since it was not migrated in that run";
    Failure::for_good(Category::Config, Some(task.destination.repository.registry()), reason)
}
