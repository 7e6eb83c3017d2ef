//! The bodies of uploads: who is waited for, the source or the registry, so that each has a time limit of its own; and
//! how much of a body is in memory.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::task::AtomicWaker;
use futures_util::{Stream, StreamExt as _};

use crate::registry::blob::STALL;
use crate::registry::error::Error;
use crate::shared::lock;

/// Longest wait for the answer after the last byte: the registry may read the whole blob once more.
const COMMIT: Duration = Duration::from_secs(600);
/// Bytes in memory are handed over in pieces of this size, so that it is seen when nobody takes them.
const PIECE: usize = 64 << 10;
/// Bytes that may wait to be written to the connection, but for the one part that goes beyond. Without this bound hyper
/// would hold several; what keeps the connection busy is in the socket's buffer.
const UNSENT: usize = 128 << 10;

/// The bytes of a blob on their way.
pub(super) type Content = BoxStream<'static, Result<Bytes, Error>>;

/// What the body of an upload is doing.
#[derive(Debug, Clone, Copy)]
enum State {
    /// The source owes the next bytes; its reader has a time limit of its own.
    Waiting,
    /// The registry has yet to take what it was given, since then.
    Handed(Instant),
    /// All was given, to the last byte, since then.
    Ended(Instant),
    /// The registry has answered before that: it is given no more.
    Closed,
}

/// How far a body has come.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<State>>);

impl Progress {
    /// That of a request without body.
    pub fn ended() -> Self {
        Self(Arc::new(Mutex::new(State::Ended(Instant::now()))))
    }

    /// The request goes out now: until then the registry owed nothing.
    pub fn begin(&self) {
        let mut state = lock(&self.0);
        *state = match *state {
            State::Ended(_) => State::Ended(Instant::now()),
            _ => State::Handed(Instant::now()),
        };
    }

    /// Ends when the registry has taken nothing for too long. A time limit on the whole would end healthy uploads.
    pub async fn stalled(&self) -> Duration {
        loop {
            let state = *lock(&self.0);
            let (since, limit) = match state {
                State::Waiting | State::Closed => (Instant::now(), STALL),
                State::Handed(since) => (since, STALL),
                State::Ended(since) => (since, COMMIT),
            };
            if since.elapsed() >= limit {
                return limit;
            }
            tokio::time::sleep_until((since + limit).into()).await;
        }
    }

    /// There is an answer. What is left of the body would be sent all the same, and read from the source for that.
    pub fn close(&self) {
        let mut state = lock(&self.0);
        if !matches!(*state, State::Ended(_)) {
            *state = State::Closed;
        }
    }

    /// Whether the last byte was given away.
    pub fn has_ended(&self) -> bool {
        matches!(*lock(&self.0), State::Ended(_))
    }
}

/// The `size` bytes of `content` as a body, and how far it has come.
pub(super) fn watch(content: Content, size: u64) -> (Watched, Progress) {
    let state = Arc::new(Mutex::new(State::Handed(Instant::now())));
    let unsent = Arc::default();
    (Watched { content, left: size, state: state.clone(), unsent }, Progress(state))
}

/// Bytes in memory as the stream that a body is.
pub(super) fn pieces(bytes: Bytes) -> Content {
    let places = (0..bytes.len()).step_by(PIECE);
    stream::iter(places.map(move |at| Ok(bytes.slice(at..bytes.len().min(at + PIECE))))).boxed()
}

/// What was handed over and is not yet written to the connection.
#[derive(Default)]
struct Unsent {
    bytes: AtomicUsize,
    body: AtomicWaker,
}

impl Unsent {
    /// `bytes`, counted until nobody holds them any more.
    fn count(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.bytes.fetch_add(bytes.len(), SeqCst);
        Bytes::from_owner(Counted { bytes, unsent: self.clone() })
    }
}

struct Counted {
    bytes: Bytes,
    unsent: Arc<Unsent>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Given back first: once the body is woken, the connection may read into the same memory again.
        let length = std::mem::take(&mut self.bytes).len();
        self.unsent.bytes.fetch_sub(length, SeqCst);
        self.unsent.body.wake();
    }
}

/// A body that notes who is being waited for.
pub(super) struct Watched {
    content: Content,
    /// Bytes still to come. The end is counted, since nobody asks for more once the declared length is reached.
    left: u64,
    state: Arc<Mutex<State>>,
    unsent: Arc<Unsent>,
}

impl Stream for Watched {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.unsent.bytes.load(SeqCst) >= UNSENT {
            self.unsent.body.register(context.waker());
            // It may have been written while the waker was noted.
            if self.unsent.bytes.load(SeqCst) >= UNSENT {
                return Poll::Pending;
            }
        }
        if matches!(*lock(&self.state), State::Closed) {
            return Poll::Ready(None);
        }
        let next = self.content.as_mut().poll_next(context);
        if let Poll::Ready(Some(Ok(bytes))) = &next {
            self.left = self.left.saturating_sub(bytes.len() as u64);
        }
        let mut state = lock(&self.state);
        *state = match (&*state, &next) {
            (State::Closed, _) => State::Closed,
            (_, Poll::Pending) => State::Waiting,
            (_, Poll::Ready(_)) if self.left > 0 => State::Handed(Instant::now()),
            (_, Poll::Ready(_)) => State::Ended(Instant::now()),
        };
        drop(state);
        next.map_ok(|bytes| self.unsent.count(bytes))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_side_that_is_waited_for_can_stall() {
        let progress = |state| Progress(Arc::new(Mutex::new(state)));
        let brief = Duration::from_millis(1);
        assert!(tokio::time::timeout(brief, progress(State::Waiting).stalled()).await.is_err());
        assert!(tokio::time::timeout(brief, progress(State::Handed(Instant::now())).stalled()).await.is_err());
        let long_ago = Instant::now().checked_sub(STALL).unwrap();
        assert_eq!(progress(State::Handed(long_ago)).stalled().await, STALL);
        assert!(tokio::time::timeout(brief, progress(State::Ended(long_ago)).stalled()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_before_a_request_is_no_time_of_the_registry() {
        let long_ago = Instant::now().checked_sub(COMMIT).unwrap();
        for state in [State::Handed(long_ago), State::Ended(long_ago)] {
            let progress = Progress(Arc::new(Mutex::new(state)));
            progress.begin();
            assert!(tokio::time::timeout(Duration::from_millis(1), progress.stalled()).await.is_err(), "{state:?}");
        }
    }

    #[tokio::test]
    async fn a_registry_has_more_time_once_it_has_all_bytes() {
        let chunks = [Ok(Bytes::from_static(b"abc")), Ok(Bytes::from_static(b"de"))];
        let (mut content, progress) = watch(stream::iter(chunks).boxed(), 5);
        let mut next = async || {
            std::future::poll_fn(|context| Pin::new(&mut content).poll_next(context)).await;
            *progress.0.lock().unwrap()
        };
        assert!(matches!(next().await, State::Handed(_)));
        assert!(matches!(next().await, State::Ended(_)), "nobody asks for more than the declared length");
    }

    #[tokio::test]
    async fn of_a_body_that_has_its_answer_no_more_is_read() {
        let pieces = stream::repeat_with(|| Ok(Bytes::from_static(b"abc")));
        let (mut content, progress) = watch(pieces.boxed(), 300);
        assert!(content.next().await.is_some());
        progress.close();
        assert!(content.next().await.is_none());
        assert!(!progress.has_ended());
    }

    #[tokio::test]
    async fn what_is_not_yet_sent_holds_back_the_rest_and_the_registry_is_waited_for() {
        let chunks = [Ok(Bytes::from(vec![0; UNSENT])), Ok(Bytes::from_static(b"rest"))];
        let (mut content, progress) = watch(stream::iter(chunks).boxed(), UNSENT as u64 + 4);
        let first = content.next().await.unwrap().unwrap();
        let slice = first.slice(..1);
        drop(first);
        assert!(content.next().now_or_never().is_none(), "a part of it is still held");
        assert!(matches!(*lock(&progress.0), State::Handed(_)));
        let (rest, ()) = tokio::join!(content.next(), async { drop(slice) });
        assert_eq!(rest.unwrap().unwrap(), "rest");
    }
}
