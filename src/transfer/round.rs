//! What a round has set going: blobs on their way, and what follows from them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub(super) struct Round {
    over: CancellationToken,
    tasks: TaskTracker,
}

impl Round {
    /// A round that ends no later than `cut` is cancelled.
    pub fn begin(cut: &CancellationToken) -> Arc<Self> {
        Arc::new(Self { over: cut.child_token(), tasks: TaskTracker::new() })
    }

    /// Keeps the round from ending while something is set going; none if it is over. What is begun by a connection that
    /// takes the rest of a blob would else reach into the next.
    pub fn enter(&self) -> Option<TaskTrackerToken> {
        let token = self.tasks.token();
        (!self.over.is_cancelled()).then_some(token)
    }

    /// Sets something going that ends with the round at the latest.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        // Boxed: moved into what waits for both it would be held more than once.
        let (over, work) = (self.over.clone(), Box::pin(work));
        self.tasks.spawn(async move { over.run_until_cancelled(work).await });
    }

    /// Sets something going that the end of the round waits for.
    pub fn spawn_awaited(&self, work: impl Future<Output: Send> + Send + 'static) {
        self.tasks.spawn(async { _ = work.await });
    }

    /// Ends what is still going, such as a blob that nobody waits for any more, and waits until it has.
    pub async fn end(&self) {
        self.over.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// How much is going.
    #[cfg(test)]
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn a_round_does_not_end_while_something_is_set_going() {
        let round = Round::begin(&CancellationToken::new());
        let entered = round.enter();
        let mut end = pin!(round.end());
        assert!(entered.is_some() && poll!(&mut end).is_pending());
        assert!(round.enter().is_none(), "nothing new");
        drop(entered);
        end.await;
    }
}
