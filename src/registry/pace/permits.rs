//! Permits for small requests, as many as the registry bears.
//!
//! A HEAD takes half a place: its answer has no content that is to be held, and a run with nothing to do, which is made of
//! HEADs, lasts as many round trips as cannot be made at once.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use reqwest::Method;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::window::Window;
use crate::shared::lock;

/// What a place is divided into.
const PARTS: usize = 2;

/// How many HEADs may be in flight at once where so many requests with content may. Who wants one thing at a time means
/// HEADs as well.
pub fn heads(requests: usize) -> usize {
    if requests <= 1 { 1 } else { requests * PARTS }
}

/// First come, first served. Only spawned tasks acquire, so nobody holds a place in the queue without being polled.
pub struct Permits {
    /// The parts of all places.
    semaphore: Semaphore,
    /// How many places there are.
    window: Mutex<Window>,
    /// Parts to be taken away when they are given back.
    owed: AtomicUsize,
}

/// Room for one request. Covers exactly one exchange.
pub struct Permit<'a> {
    parts: Option<SemaphorePermit<'a>>,
    permits: &'a Permits,
    generation: u64,
}

impl Permits {
    /// For so many requests with content.
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        let semaphore = Semaphore::new(most * PARTS);
        Self { semaphore, window: Mutex::new(Window::new(most)), owed: AtomicUsize::new(0) }
    }

    pub async fn acquire(&self, method: &Method) -> Permit<'_> {
        // The last place is not shared: the registry bears one request. It may have become the last in the meantime.
        let may_share = || *method == Method::HEAD && self.window().size() > 1;
        loop {
            let shares = may_share();
            // The semaphore is never closed.
            let parts = self.semaphore.acquire_many(if shares { 1 } else { PARTS as u32 }).await.ok();
            let permit = Permit { parts, permits: self, generation: self.window().generation() };
            if !shares || may_share() {
                return permit;
            }
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        lock(&self.window)
    }

    /// Takes up to so many of the parts that are owed. Answers how many.
    fn settle(&self, parts: usize) -> usize {
        let owed = self.owed.fetch_update(Relaxed, Relaxed, |owed| Some(owed.saturating_sub(parts)));
        owed.unwrap_or_default().min(parts)
    }
}

impl Permit<'_> {
    /// The registry says that this request was one too many.
    pub fn overloaded(&self) {
        let permits = self.permits;
        let mut window = permits.window();
        let fewer = window.overloaded(self.generation) * PARTS;
        // What is not free is taken away when it is given back.
        permits.owed.fetch_add(fewer - permits.semaphore.forget_permits(fewer), Relaxed);
    }

    /// The registry served this request.
    pub fn went_well(&self) {
        let permits = self.permits;
        let mut window = permits.window();
        if window.went_well(self.generation) {
            permits.semaphore.add_permits(PARTS - permits.settle(PARTS));
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.permits.owed.load(Relaxed) > 0
            && let Some(parts) = &mut self.parts
            && let Some(owed) = parts.split(self.permits.settle(parts.num_permits()))
        {
            owed.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::{Either, select};
    use futures_util::poll;

    use super::*;

    /// How many requests with content, and how many HEADs, could be sent now.
    fn free(permits: &Permits) -> (usize, usize) {
        let parts = permits.semaphore.available_permits();
        (parts / PARTS, parts)
    }

    #[tokio::test]
    async fn permits_follow_the_window_down_and_up() {
        for (method, most) in [(Method::GET, 8), (Method::HEAD, 16)] {
            let permits = Permits::new(8);
            let mut taken = Vec::new();
            for _ in 0..most {
                taken.push(permits.acquire(&method).await);
            }
            assert_eq!(free(&permits), (0, 0), "{method}");
            taken[0].overloaded();
            taken[1].overloaded();
            assert_eq!(permits.owed.load(Relaxed), 4 * PARTS, "a burst counts once");
            drop(taken);
            assert_eq!((free(&permits), permits.owed.load(Relaxed)), ((4, 8), 0), "{method}");
            for _ in 0..4 + 5 + 6 + 7 {
                permits.acquire(&method).await.went_well();
            }
            assert_eq!(free(&permits), (8, 16), "{method}");
        }
    }

    #[tokio::test]
    async fn one_permit_stays_whatever_happens_and_not_two_for_heads() {
        for most in [1, 2] {
            let permits = Permits::new(most);
            permits.acquire(&Method::GET).await.overloaded();
            for method in [Method::GET, Method::HEAD, Method::GET, Method::HEAD] {
                let permit = permits.acquire(&method).await;
                assert_eq!(free(&permits), (0, 0));
                permit.overloaded();
            }
            assert_eq!(free(&permits).0, 1);
        }
    }

    #[tokio::test]
    async fn heads_that_waited_do_not_share_the_place_that_became_the_last() {
        let permits = Permits::new(2);
        let (first, second) = (permits.acquire(&Method::GET).await, permits.acquire(&Method::GET).await);
        let [mut one, mut other] = [(); 2].map(|()| Box::pin(permits.acquire(&Method::HEAD)));
        assert!(poll!(&mut one).is_pending() && poll!(&mut other).is_pending());
        first.overloaded();
        drop((first, second));
        let Either::Left((in_flight, mut other)) = select(one, other).await else {
            panic!("the first is served first")
        };
        assert!(poll!(&mut other).is_pending(), "one at a time");
        drop(in_flight);
        other.await;
        assert_eq!(free(&permits).0, 1);
    }

    /// Whatever is said in whatever order: the window and the permits agree when all have been given back.
    #[tokio::test(flavor = "multi_thread")]
    async fn no_permit_is_lost_or_won() {
        let permits = std::sync::Arc::new(Permits::new(16));
        let request = |seed: u64| {
            let permits = permits.clone();
            tokio::spawn(async move {
                for step in 0..50 {
                    let method = if (seed + step).is_multiple_of(3) { Method::GET } else { Method::HEAD };
                    let permit = permits.acquire(&method).await;
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
        assert_eq!(permits.semaphore.available_permits(), permits.window().size() * PARTS + permits.owed.load(Relaxed));
    }
}
