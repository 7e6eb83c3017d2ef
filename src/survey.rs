//! Looking at many images side by side and telling of them in order: what a dry run and a verification have in common.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::stream::{self, FuturesUnordered, Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;

use crate::event::Failure;
use crate::plan::Task;
use crate::reference::Repository;

/// Begins to look at an image, in a task of its own. Only a task may wait for the permit of a request: a future that is
/// not polled could be dealt one and never use it.
pub fn begin<T, F>(look: F, cancel: &CancellationToken) -> impl Future<Output = Result<T, Failure>> + use<T, F>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let cancel = cancel.clone();
    let looking = async move { cancel.run_until_cancelled(look).await.unwrap_or_else(|| Err(Failure::cancelled())) };
    let looking = tokio::spawn(looking);
    async move { looking.await.unwrap_or_else(|error| Err(Failure::internal(&error.to_string()))) }
}

/// At most this multiple of `limit` looks are running, or wait for an earlier one to be told.
const AHEAD: usize = 16;

/// What comes of `looks`, in their order. Up to `limit` run at once: beside one that takes long others end and begin.
pub fn in_order<F: Future>(looks: impl Iterator<Item = F>, limit: usize) -> impl Stream<Item = F::Output> {
    let state = (looks.enumerate(), FuturesUnordered::new(), BTreeMap::new(), 0);
    stream::unfold(state, move |(mut looks, mut running, mut ended, next)| async move {
        loop {
            if let Some(result) = ended.remove(&next) {
                return Some((result, (looks, running, ended, next + 1)));
            }
            while running.len() < limit
                && running.len() + ended.len() < AHEAD * limit
                && let Some((place, look)) = looks.next()
            {
                running.push(async move { (place, look.await) });
            }
            let (place, result) = running.next().await?;
            ended.insert(place, result);
        }
    })
}

/// What is known of each destination repository that has images left to look at in this round.
pub struct Repositories<'a, T> {
    unfinished: HashMap<&'a Repository, usize>,
    known: HashMap<&'a Repository, Arc<T>>,
}

impl<'a, T> Repositories<'a, T> {
    pub fn of(tasks: &'a [Task]) -> Self {
        let mut unfinished = HashMap::new();
        for task in tasks {
            *unfinished.entry(&task.destination.repository).or_default() += 1;
        }
        Self { unfinished, known: HashMap::new() }
    }

    /// What is known of the destination of `task`; `new`, which gets the number of its images, if that is nothing yet.
    pub fn open(&mut self, task: &'a Task, new: impl FnOnce(usize) -> T) -> Arc<T> {
        let repository = &task.destination.repository;
        let images = self.unfinished.get(repository).copied().unwrap_or_default();
        self.known.entry(repository).or_insert_with(|| Arc::new(new(images))).clone()
    }

    /// Notes the end of an image; what is known of a repository goes with its last one.
    pub fn ended(&mut self, task: &'a Task) {
        let repository = &task.destination.repository;
        let Some(unfinished) = self.unfinished.get_mut(repository) else { return };
        *unfinished -= 1;
        if *unfinished == 0 {
            self.known.remove(repository);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    fn task(destination: &str) -> Task {
        let tagged = |text: &str| text.parse::<Repository>().unwrap().tagged("1".parse().unwrap());
        Task { source: tagged("s.io/a"), destination: tagged(destination) }
    }

    #[test]
    fn what_is_known_of_a_repository_goes_with_its_last_image() {
        let tasks = [task("d.io/x"), task("d.io/y"), task("d.io/x")];
        let mut repositories = Repositories::of(&tasks);
        let x = repositories.open(&tasks[0], |images| images);
        assert_eq!((*x, *repositories.open(&tasks[1], |images| images)), (2, 1));
        repositories.ended(&tasks[0]);
        assert!(Arc::ptr_eq(&x, &repositories.open(&tasks[2], |_| 0)));
        repositories.ended(&tasks[2]);
        assert_eq!(Arc::strong_count(&x), 1);
    }

    #[tokio::test]
    async fn beside_a_look_that_takes_long_others_begin_and_all_are_told_in_order() {
        const LIMIT: usize = 2;
        let begun = AtomicUsize::new(0);
        let (last, open) = (LIMIT * AHEAD - 1, tokio::sync::Notify::new());
        let looks = (0..3 * LIMIT * AHEAD).map(|place| {
            if begun.fetch_add(1, Relaxed) == last {
                open.notify_one();
            }
            let open = &open;
            async move {
                if place == 0 {
                    open.notified().await;
                    tokio::task::yield_now().await;
                }
                place
            }
        });
        let mut told = pin!(in_order(looks, LIMIT));
        assert_eq!(told.next().await, Some(0));
        assert_eq!(begun.load(Relaxed), last + 1, "no more than that wait to be told");
        assert!(told.collect::<Vec<_>>().await.into_iter().eq(1..3 * LIMIT * AHEAD));
    }

    #[tokio::test]
    async fn a_look_that_panics_or_is_cancelled_has_failed() {
        let cancel = CancellationToken::new();
        let panics = async { if cfg!(test) { panic!("on purpose") } else { Ok(()) } };
        let failure = begin(panics, &cancel).await.unwrap_err();
        assert!(failure.reason.contains("internal error"), "{failure}");
        let endless = begin(std::future::pending::<Result<(), Failure>>(), &cancel);
        cancel.cancel();
        assert_eq!(endless.await, Err(Failure::cancelled()));
    }
}
