//! The manifests of one destination repository: each is brought there once for all images that name it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::digest::Digest;
use crate::event::Failure;
use crate::reference::Repository;
use crate::shared::{Shared, lock};

/// Manifests that are there, or are being brought there. By where they come from, since what one source lacks another may
/// have.
#[derive(Default)]
pub(super) struct Manifests(Mutex<HashMap<(Digest, Repository), Settled>>);

enum Settled {
    /// It is being brought there.
    Under(Arc<Shared<Option<u64>, Unsettled>>),
    /// It is there with all that it names: the bytes of all that, if it was read. Held as it is, since there are as many
    /// as images.
    Done(Option<u64>),
}

/// Why a manifest is not there.
#[derive(Debug, Clone)]
pub(super) struct Unsettled {
    pub failure: Failure,
    /// Whether it was refused under one tag, when all that it names was there. That says nothing of other tags.
    pub of_tag: bool,
}

impl From<Failure> for Unsettled {
    fn from(failure: Failure) -> Self {
        Self { failure, of_tag: false }
    }
}

impl Manifests {
    /// Sees to it by `settle` that the manifest with this digest is there, once for all. Answers the bytes of all that it
    /// names, if it was read. A refusal under the tag of one image is not shared: the next image tries its own.
    pub async fn settle<F>(&self, digest: &Digest, source: &Repository, settle: F) -> Result<Option<u64>, Failure>
    where
        F: AsyncFnOnce() -> Result<Option<u64>, Unsettled>,
    {
        let key = (digest.clone(), source.clone());
        let mut settle = Some(settle);
        loop {
            let shared = match lock(&self.0).entry(key.clone()).or_insert_with(|| Settled::Under(Arc::default())) {
                Settled::Done(bytes) => return Ok(*bytes),
                Settled::Under(shared) => shared.clone(),
            };
            let attempt = async || match settle.take() {
                Some(settle) => settle().await,
                None => Err(Failure::internal("manifest").into()),
            };
            let bytes = match shared.get(|_| true, attempt).await {
                Ok(bytes) => bytes,
                Err(Unsettled { of_tag: true, .. }) if settle.is_some() => continue,
                Err(Unsettled { failure, .. }) => return Err(failure),
            };
            // Unless it was forgotten meanwhile.
            if let Some(settled) = lock(&self.0).get_mut(&key)
                && matches!(settled, Settled::Under(current) if Arc::ptr_eq(current, &shared))
            {
                *settled = Settled::Done(bytes);
            }
            return Ok(bytes);
        }
    }

    /// The registry says that these manifests are not there, whatever was believed.
    pub fn forget<'a>(&self, digests: impl Iterator<Item = &'a Digest>) {
        let digests: HashSet<&Digest> = digests.collect();
        lock(&self.0).retain(|(digest, _), _| !digests.contains(digest));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;

    use futures_util::poll;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_is_forgotten_while_it_is_brought_is_brought_again() {
        let (manifests, source) = (Manifests::default(), "s.io/a".parse().unwrap());
        let (digest, open, brought) = (Digest::of(b"child"), Notify::new(), Cell::new(0));
        let bring = async || {
            brought.set(brought.get() + 1);
            open.notified().await;
            Ok(Some(1))
        };
        let mut again = pin!(manifests.settle(&digest, &source, bring));
        let forgotten = async || {
            manifests.forget([&digest].into_iter());
            assert!(poll!(&mut again).is_pending());
            Ok(Some(1))
        };
        manifests.settle(&digest, &source, forgotten).await.unwrap();
        let mut waits = pin!(manifests.settle(&digest, &source, bring));
        assert!(poll!(&mut waits).is_pending(), "it is not there yet");
        open.notify_one();
        assert_eq!((again.await.unwrap(), waits.await.unwrap()), (Some(1), Some(1)));
        assert_eq!(brought.get(), 1, "once for all");
    }
}
