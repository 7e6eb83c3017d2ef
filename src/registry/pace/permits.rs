//! Permits for small requests, as many as the registry bears.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::window::Window;
use crate::shared::lock;

/// First come, first served. Only spawned tasks acquire, so nobody holds a place in the queue without being polled.
pub struct Permits {
    semaphore: Semaphore,
    window: Mutex<Window>,
    /// Permits to be taken away when they are given back.
    owed: AtomicUsize,
}

/// Room for one request. Covers exactly one exchange.
pub struct Permit<'a> {
    permit: Option<SemaphorePermit<'a>>,
    permits: &'a Permits,
    generation: u64,
}

impl Permits {
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { semaphore: Semaphore::new(most), window: Mutex::new(Window::new(most)), owed: AtomicUsize::new(0) }
    }

    pub async fn acquire(&self) -> Permit<'_> {
        // The semaphore is never closed.
        let permit = self.semaphore.acquire().await.ok();
        Permit { permit, permits: self, generation: self.window().generation() }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        lock(&self.window)
    }

    /// Takes one of those that are owed, if any is.
    fn settle(&self) -> bool {
        self.owed.fetch_update(Relaxed, Relaxed, |owed| owed.checked_sub(1)).is_ok()
    }
}

impl Permit<'_> {
    /// The registry says that this request was one too many.
    pub fn overloaded(&self) {
        let permits = self.permits;
        let mut window = permits.window();
        let fewer = window.overloaded(self.generation);
        // What is not free is taken away when it is given back.
        permits.owed.fetch_add(fewer - permits.semaphore.forget_permits(fewer), Relaxed);
    }

    /// The registry served this request.
    pub fn went_well(&self) {
        let permits = self.permits;
        let mut window = permits.window();
        if window.went_well(self.generation) && !permits.settle() {
            permits.semaphore.add_permits(1);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.permits.owed.load(Relaxed) > 0
            && let Some(permit) = self.permit.take()
            && self.permits.settle()
        {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many can be had at once.
    fn free(permits: &Permits) -> usize {
        permits.semaphore.available_permits()
    }

    #[tokio::test]
    async fn permits_follow_the_window_down_and_up() {
        let permits = Permits::new(8);
        let mut taken = Vec::new();
        for _ in 0..8 {
            taken.push(permits.acquire().await);
        }
        taken[0].overloaded();
        taken[1].overloaded();
        assert_eq!(permits.owed.load(Relaxed), 4, "a burst counts once");
        drop(taken);
        assert_eq!((free(&permits), permits.owed.load(Relaxed)), (4, 0));
        for _ in 0..4 + 5 + 6 + 7 {
            permits.acquire().await.went_well();
        }
        assert_eq!(free(&permits), 8);
    }

    #[tokio::test]
    async fn one_permit_stays_whatever_happens() {
        let permits = Permits::new(1);
        for _ in 0..9 {
            let permit = permits.acquire().await;
            assert_eq!(free(&permits), 0);
            permit.overloaded();
        }
        assert_eq!(free(&permits), 1);
    }

    /// Whatever is said in whatever order: the window and the permits agree when all have been given back.
    #[tokio::test(flavor = "multi_thread")]
    async fn no_permit_is_lost_or_won() {
        let permits = std::sync::Arc::new(Permits::new(16));
        let request = |seed: u64| {
            let permits = permits.clone();
            tokio::spawn(async move {
                for step in 0..50 {
                    let permit = permits.acquire().await;
                    tokio::task::yield_now().await;
                    match (seed * 31 + step * 17) % 7 {
                        0 => permit.overloaded(),
                        1 => {}
                        _ => permit.went_well(),
                    }
                }
            })
        };
        for request in (0..64).map(request).collect::<Vec<_>>() {
            request.await.unwrap();
        }
        assert_eq!(free(&permits), permits.window().size() + permits.owed.load(Relaxed));
    }
}
