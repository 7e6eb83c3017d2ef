//! The bytes of a blob on their way from source to destination: counted, hashed, and resumed where the source breaks.
//!
//! The last part is held back until the whole is known to be right, so that the destination can never commit bytes
//! that the digest does not name.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};

use crate::digest::{Digest, Hasher};
use crate::registry::{BlobReader, Budget, Error, ErrorKind, RepositoryClient};
use crate::shared::lock;

/// A source that sends this many bytes between two breaks works.
const PROGRESS: u64 = 1 << 20;
/// Longest pause before the source is asked to go on: the destination keeps an upload open meanwhile, and proxies cut
/// what is silent for a minute.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Where the stream leaves the source's error: the destination's request fails too, and says nothing of the cause.
#[derive(Clone, Default)]
pub(super) struct SourceFault(Arc<Mutex<Option<Error>>>);

impl SourceFault {
    pub fn take(&self) -> Option<Error> {
        lock(&self.0).take()
    }

    fn set(&self, error: &Error) {
        *lock(&self.0) = Some(error.clone());
    }
}

/// Counts the bytes that pass, to be shown.
pub type Passed = Arc<AtomicU64>;

/// The bytes of the blob, all of them right, or an error before the last.
pub(super) fn verified(
    reader: BlobReader,
    budget: Budget,
    fault: SourceFault,
    passed: Passed,
) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static {
    let hasher = Some(Hasher::like(reader.digest()));
    let state = Verified { reader, budget, hasher, offset: 0, last: None, breaks: 0, unbroken: 0, passed };
    stream::try_unfold(state, move |mut state| {
        let fault = fault.clone();
        async move {
            match state.next().await {
                Ok(Some(bytes)) => Ok(Some((bytes, state))),
                Ok(None) => Ok(None),
                Err(error) => {
                    fault.set(&error);
                    Err(error)
                }
            }
        }
    })
}

/// Reads the blob to its end. All its bytes are right, or there is an error.
pub async fn read_through(source: &RepositoryClient, digest: &Digest, size: u64, passed: &Passed) -> Result<(), Error> {
    let reader = source.read_blob(digest, size, 0).await?;
    let (budget, fault) = (Budget::default(), SourceFault::default());
    let mut bytes = pin!(verified(reader, budget, fault, passed.clone()));
    while bytes.try_next().await?.is_some() {}
    Ok(())
}

struct Verified {
    reader: BlobReader,
    budget: Budget,
    /// Gone once the whole has been found right.
    hasher: Option<Hasher>,
    offset: u64,
    /// The part that ends the blob.
    last: Option<Bytes>,
    breaks: u32,
    /// Bytes since the last break.
    unbroken: u64,
    passed: Passed,
}

impl Verified {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.offset < self.reader.size() {
            let Some(bytes) = self.read().await? else { continue };
            self.offset += bytes.len() as u64;
            self.passed.fetch_add(bytes.len() as u64, Relaxed);
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&bytes);
            }
            // Given away at once, so that the connection reads into the same memory again.
            if self.offset < self.reader.size() {
                return Ok(Some(bytes));
            }
            self.last = Some(bytes);
        }
        if let Some(hasher) = self.hasher.take() {
            let found = hasher.finish();
            if found != *self.reader.digest() {
                let expected = self.reader.digest().clone();
                return Err(self.reader.error(ErrorKind::WrongDigest { expected, found }));
            }
            // Also lets the connection be used again, which needs the end of the answer to be seen.
            if let Ok(Some(more)) = self.reader.next().await {
                return Err(self.too_many(more.len() as u64));
            }
        }
        Ok(self.last.take())
    }

    /// The next bytes; `None` after a break that has been mended.
    async fn read(&mut self) -> Result<Option<Bytes>, Error> {
        let broken = match self.reader.next().await {
            Ok(Some(bytes)) if self.offset + bytes.len() as u64 > self.reader.size() => {
                return Err(self.too_many(bytes.len() as u64));
            }
            Ok(Some(bytes)) => {
                self.unbroken += bytes.len() as u64;
                return Ok(Some(bytes));
            }
            Ok(None) => self.wrong_size(self.offset),
            Err(error) => error,
        };
        self.reopen(broken).await?;
        Ok(None)
    }

    /// Asks the source for the rest, after a pause that grows while nothing comes.
    async fn reopen(&mut self, mut error: Error) -> Result<(), Error> {
        loop {
            if self.unbroken >= PROGRESS {
                self.breaks = 0;
                self.budget.refill();
            }
            self.unbroken = 0;
            self.breaks += 1;
            // A source that asks for more patience than proxies have with a silent upload is not waited for.
            let too_long = error.retry_after().is_some_and(|pause| pause > LONGEST_PAUSE);
            if too_long || !error.is_worth_repeating() || !self.budget.spend() {
                return Err(error);
            }
            let pause = Duration::from_millis(200 << self.breaks.min(9)).min(LONGEST_PAUSE);
            let pause = error.retry_after().unwrap_or(pause);
            let seconds = pause.as_secs_f64();
            tracing::warn!(offset = self.offset, pause = format_args!("{seconds:.1}s"), "{error}; asking for the rest");
            tokio::time::sleep(pause).await;
            match self.reader.reopen(self.offset).await {
                Ok(()) => return Ok(()),
                Err(next) => error = next,
            }
        }
    }

    fn too_many(&self, more: u64) -> Error {
        self.wrong_size(self.offset + more)
    }

    fn wrong_size(&self, found: u64) -> Error {
        self.reader.error(ErrorKind::WrongSize { expected: self.reader.size(), found })
    }
}

#[cfg(test)]
mod tests {
    use scriptable_registry::{self as fake, Action, Answer, Kind};

    use super::*;
    use crate::reference::Repository;
    use crate::registry::{Clients, Keyring};

    /// A source with one blob of this size.
    async fn source_of(size: u64) -> (fake::Registry, Digest) {
        let source = fake::Registry::open().await;
        let image = fake::Image::new("linux/amd64").layer_of(1, size);
        source.put("app", "1", &image);
        (source, image.layers()[0].parse().unwrap())
    }

    /// Reads the blob to its end, if `left` tries suffice.
    async fn read_with(left: usize, source: &fake::Registry, digest: &Digest, size: u64) -> Result<(), Error> {
        let (budget, full) = (Budget::default(), Budget::default());
        let all = std::iter::repeat_with(|| full.spend()).take_while(|may| *may).count();
        (left..all).for_each(|_| assert!(budget.spend()));
        let clients = Clients::new(Arc::new(Keyring::default()), 1).unwrap();
        let repository: Repository = format!("{}/app", source.host()).parse().unwrap();
        let client = clients.reader(&repository).within(&budget, LONGEST_PAUSE);
        let reader = client.read_blob(digest, size, 0).await?;
        let bytes = verified(reader, budget, SourceFault::default(), Passed::default());
        let reading = pin!(bytes.try_fold(0, async |sum, bytes| Ok(sum + bytes.len() as u64)));
        // Nothing may hang. The guard is no measure of speed.
        let read = tokio::time::timeout(Duration::from_secs(120), reading).await.expect("it is asked for ever");
        read.map(|read| assert_eq!(read, size))
    }

    #[tokio::test]
    async fn a_source_that_breaks_off_but_gets_on_has_all_its_tries_again() {
        const SIZE: u64 = 3 * PROGRESS;
        let (source, digest) = source_of(SIZE).await;
        source.on(Kind::BlobGet.times(2), Action::CutResponseAfter(PROGRESS + 1000));
        read_with(1, &source, &digest, SIZE).await.unwrap();
        assert_eq!(source.count(Kind::BlobGet), 3);
    }

    #[tokio::test]
    async fn a_source_that_breaks_off_and_does_not_get_on_is_given_up() {
        let (source, digest) = source_of(PROGRESS).await;
        source.on(Kind::BlobGet, Action::CutResponseAfter(10));
        read_with(1, &source, &digest, PROGRESS).await.unwrap_err();
        assert_eq!(source.count(Kind::BlobGet), 2);
    }

    #[tokio::test]
    async fn a_source_that_lost_the_blob_on_the_way_is_asked_once_for_the_rest() {
        let (source, digest) = source_of(PROGRESS).await;
        source.on(Kind::BlobGet.once(), Action::CutResponseAfter(10));
        source.on(Kind::BlobGet.after(1), Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry"));
        assert!(read_with(4, &source, &digest, PROGRESS).await.unwrap_err().is_not_found());
        assert_eq!(source.count(Kind::BlobGet), 2);
    }

    #[tokio::test]
    async fn a_source_that_wants_to_be_left_alone_for_long_is_not_waited_for_while_an_upload_is_open() {
        let (source, digest) = source_of(PROGRESS).await;
        source.on(Kind::BlobGet.once(), Action::CutResponseAfter(10));
        let busy = Answer::error(503, "UNAVAILABLE", "busy").header("Retry-After", "600");
        source.on(Kind::BlobGet.after(1), busy);
        read_with(4, &source, &digest, PROGRESS).await.unwrap_err();
        assert_eq!(source.count(Kind::BlobGet), 2);
    }
}
