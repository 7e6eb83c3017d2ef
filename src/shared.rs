//! What tasks share:
//!
//! - [`lock`]: locks that a panic of another task does not close.
//! - [`Shared`]: a value that is made once for all that wait for it. If making it fails, all that waited get that failure.
//! - [`Keyed`]: such a value for each key.
//!
//! `tokio::sync::OnceCell` has each of the waiters try in turn: with an unreachable host and a time limit of a minute,
//! a hundred of them take hours to learn the same thing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What `mutex` holds. A panic elsewhere must not fail all that comes later: what is behind a lock here is whole at every
/// moment.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place for one value. A failure goes to all that waited for the value; the next caller tries again.
#[derive(Debug)]
pub struct Shared<T, E> {
    value: Mutex<Option<T>>,
    /// Held while the value is made; what came of it the last time, if it failed.
    making: tokio::sync::Mutex<Option<(E, Instant)>>,
}

impl<T: Clone, E: Clone> Shared<T, E> {
    /// The value, made by `make` if there is none that `is_good`. If the caller that makes it is cancelled, the next makes
    /// it.
    pub async fn get<F>(&self, is_good: impl Fn(&T) -> bool, make: F) -> Result<T, E>
    where
        F: AsyncFnOnce() -> Result<T, E>,
    {
        let asked = Instant::now();
        let mut failed = self.making.lock().await;
        if let Some(value) = self.peek().filter(is_good) {
            return Ok(value);
        }
        if let Some((error, at)) = &*failed
            && *at >= asked
        {
            return Err(error.clone());
        }
        match make().await {
            Ok(value) => Ok(self.value().insert(value).clone()),
            Err(error) => {
                *failed = Some((error.clone(), Instant::now()));
                Err(error)
            }
        }
    }

    /// The value, if it has been made.
    pub fn peek(&self) -> Option<T> {
        self.value().clone()
    }

    /// Throws the value away if it is one that `is_bad`.
    pub fn discard(&self, is_bad: impl Fn(&T) -> bool) {
        self.value().take_if(|value| is_bad(value));
    }

    fn value(&self) -> MutexGuard<'_, Option<T>> {
        lock(&self.value)
    }
}

impl<T, E> Default for Shared<T, E> {
    fn default() -> Self {
        Self { value: Mutex::default(), making: tokio::sync::Mutex::new(None) }
    }
}

/// A value for each key, made once for all who want it.
#[derive(Debug)]
pub struct Keyed<K, T, E>(Mutex<HashMap<K, Arc<Shared<T, E>>>>);

impl<K: Eq + Hash, T: Clone, E: Clone> Keyed<K, T, E> {
    /// The value of `key`, made by `make` if there is none.
    pub async fn get<F>(&self, key: K, make: F) -> Result<T, E>
    where
        F: AsyncFnOnce() -> Result<T, E>,
    {
        let value = lock(&self.0).entry(key).or_default().clone();
        value.get(|_| true, make).await
    }

    /// The value of `key`, if it has been made.
    pub fn peek(&self, key: &K) -> Option<T> {
        lock(&self.0).get(key).and_then(|value| value.peek())
    }

    /// Makes room for the value of `key`, which will be wanted. Answers whether there was none.
    pub fn announce(&self, key: K) -> bool {
        match lock(&self.0).entry(key) {
            Entry::Vacant(room) => {
                room.insert(Arc::default());
                true
            }
            Entry::Occupied(_) => false,
        }
    }
}

impl<K, T, E> Default for Keyed<K, T, E> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::time::Duration;

    use super::*;

    /// What ten get who ask at once, and how often it was made.
    async fn ten(shared: &Arc<Shared<u32, String>>, result: Result<u32, String>) -> (Vec<Result<u32, String>>, u32) {
        let made = Arc::new(AtomicU32::new(0));
        let ask = |_| {
            let (shared, made, result) = (shared.clone(), made.clone(), result.clone());
            tokio::spawn(async move {
                let make = async || {
                    made.fetch_add(1, Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    result
                };
                shared.get(|_| true, make).await
            })
        };
        let asked: Vec<_> = (0..10).map(ask).collect();
        let mut answers = Vec::new();
        for answer in asked {
            answers.push(answer.await.unwrap());
        }
        (answers, made.load(Relaxed))
    }

    #[tokio::test]
    async fn a_value_is_made_once() {
        let shared = Arc::default();
        assert_eq!(ten(&shared, Ok(1)).await, (vec![Ok(1); 10], 1));
        assert_eq!(ten(&shared, Ok(2)).await, (vec![Ok(1); 10], 0));
        shared.discard(|value| *value == 1);
        assert_eq!(ten(&shared, Ok(2)).await, (vec![Ok(2); 10], 1));
    }

    #[tokio::test]
    async fn a_failure_is_shared_by_those_who_waited_and_by_nobody_else() {
        let shared = Arc::default();
        assert_eq!(ten(&shared, Err("down".into())).await, (vec![Err("down".into()); 10], 1));
        assert_eq!(ten(&shared, Ok(1)).await, (vec![Ok(1); 10], 1));
    }

    #[tokio::test]
    async fn each_key_has_a_value_of_its_own() {
        let keyed = Keyed::<_, _, String>::default();
        assert!(keyed.announce("a") && !keyed.announce("a"));
        for (key, made, value) in [("a", 1, 1), ("a", 2, 1), ("b", 3, 3)] {
            assert_eq!(keyed.get(key, async || Ok(made)).await, Ok(value));
        }
        assert!(!keyed.announce("b"), "it was made");
    }

    #[tokio::test]
    async fn what_was_cancelled_is_made_by_the_next() {
        let shared = Shared::<u32, String>::default();
        let never = shared.get(|_| true, async || std::future::pending().await);
        assert!(tokio::time::timeout(Duration::from_millis(1), never).await.is_err());
        assert_eq!(shared.get(|_| true, async || Ok(3)).await, Ok(3));
    }
}
