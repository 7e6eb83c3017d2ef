//! Images in progress: each is a task of its own, so that a panic fails that one alone.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::{Id, JoinSet};
use tracing::Instrument as _;

use super::image::Image;
use super::ledger::Ledger;
use crate::event::Failure;
use crate::plan::Task;

#[derive(Default)]
pub(super) struct Running {
    tasks: JoinSet<Result<(), Failure>>,
    images: HashMap<Id, (usize, Arc<Ledger>)>,
}

/// An image that has ended.
pub(super) struct Ended {
    /// Its place in the plan.
    pub job: usize,
    pub ledger: Arc<Ledger>,
    pub result: Result<(), Failure>,
}

impl Running {
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    pub fn begin(&mut self, image: Image) {
        let (job, ledger) = (image.job.place, image.ledger.clone());
        // Whatever is logged on its way names the image.
        let Task { source, destination } = &image.task;
        let span = tracing::info_span!("image", %source, %destination);
        let task = self.tasks.spawn(image.run().instrument(span));
        self.images.insert(task.id(), (job, ledger));
    }

    /// The next image that ends, if any is in progress. Nothing is lost where this is not awaited to its end.
    pub async fn next(&mut self) -> Option<Ended> {
        loop {
            let (id, result) = match self.tasks.join_next_with_id().await? {
                Ok(ended) => ended,
                Err(error) => (error.id(), Err(Failure::internal(&error.to_string()))),
            };
            if let Some((job, ledger)) = self.images.remove(&id) {
                return Some(Ended { job, ledger, result });
            }
        }
    }
}
