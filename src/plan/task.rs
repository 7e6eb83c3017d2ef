//! Tasks, and what is done with them.

use futures_util::future::LocalBoxFuture;

use crate::digest::Digest;
use crate::event::Failure;
use crate::reference::{Identifier, Reference};

/// One image to be brought from its source to its destination. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Task {
    pub source: Reference,
    pub destination: Reference,
}

impl Task {
    /// What the image is called at its destination when it is `root` there: without a tag it has its digest for a name,
    /// whichever that has become.
    pub fn place(&self, root: &Digest) -> Identifier {
        match &self.destination.identifier {
            Identifier::Digest(_) => root.clone().into(),
            tag => tag.clone(),
        }
    }
}

/// What is done with tasks: images are copied, or only looked at.
pub trait Work {
    /// Does it once for every task. Gives those that failed, by their place among the tasks and in that order. `last` if
    /// what fails is not tried again.
    fn run<'a>(&'a self, tasks: &'a [Task], last: bool) -> LocalBoxFuture<'a, Vec<(usize, Failure)>>;

    /// Whether sources are asked for anything but their tags.
    fn asks_sources(&self) -> bool {
        true
    }

    /// Leaves these tags to others, who bring them.
    fn leave_to_others(&self, _tags: &[Task]) {}
}
