//! The request log: what came, what became of it, and how much was under way at once.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::request::{Kind, Request};
use crate::state::lock;

/// Every request since the start or since it was last cleared.
pub(crate) struct Log {
    state: Mutex<State>,
    arrival: Notify,
}

struct State {
    number: u64,
    keep: bool,
    entries: Vec<Arc<Entry>>,
    kinds: [Gauge; Kind::COUNT],
    all: Gauge,
}

/// How many there were, are, and were at most at once.
#[derive(Clone, Copy, Default)]
struct Gauge {
    count: u64,
    now: u64,
    peak: u64,
}

impl Gauge {
    fn begin(&mut self) {
        self.count += 1;
        self.now += 1;
        self.peak = self.peak.max(self.now);
    }

    fn forget(&mut self) {
        self.count = 0;
        self.peak = self.now;
    }
}

/// One request, with the parts that change while it is served.
pub(crate) struct Entry {
    pub(crate) request: Request,
    received: AtomicU64,
    sent: AtomicU64,
    status: AtomicU16,
}

impl Entry {
    pub(crate) fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, SeqCst);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, SeqCst);
    }

    pub(crate) fn answered(&self, status: u16) {
        self.status.store(status, SeqCst);
    }

    fn snapshot(&self) -> Request {
        let mut request = self.request.clone();
        request.received = self.received.load(SeqCst);
        request.sent = self.sent.load(SeqCst);
        request.status = Some(self.status.load(SeqCst)).filter(|status| *status != 0);
        request
    }
}

/// A request under way: counted as such until it is dropped.
pub(crate) struct Flight {
    log: Arc<Log>,
    pub(crate) entry: Arc<Entry>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut state = self.log.state();
        state.kinds[self.entry.request.kind as usize].now -= 1;
        state.all.now -= 1;
    }
}

impl Log {
    /// A log that counts, and remembers the requests too if it is to `keep` them.
    pub(crate) fn new(keep: bool) -> Self {
        let kinds = [Gauge::default(); Kind::COUNT];
        let state = State { number: 0, keep, entries: Vec::new(), kinds, all: Gauge::default() };
        Log { state: Mutex::new(state), arrival: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Enters a request and gives it its number.
    pub(crate) fn begin(self: &Arc<Self>, mut request: Request) -> Flight {
        let mut state = self.state();
        state.number += 1;
        state.kinds[request.kind as usize].begin();
        state.all.begin();
        request.number = state.number;
        let entry = Arc::new(Entry {
            request,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            status: AtomicU16::new(0),
        });
        if state.keep {
            state.entries.push(Arc::clone(&entry));
        }
        drop(state);
        self.arrival.notify_waiters();
        Flight { log: Arc::clone(self), entry }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        let entries = self.state().entries.clone();
        entries.iter().map(|entry| entry.snapshot()).collect()
    }

    pub(crate) fn count(&self, kind: Kind) -> u64 {
        self.state().kinds[kind as usize].count
    }

    pub(crate) fn count_all(&self) -> u64 {
        self.state().all.count
    }

    pub(crate) fn in_flight(&self, kind: Kind) -> u64 {
        self.state().kinds[kind as usize].now
    }

    pub(crate) fn peak(&self, kind: Kind) -> u64 {
        self.state().kinds[kind as usize].peak
    }

    pub(crate) fn peak_all(&self) -> u64 {
        self.state().all.peak
    }

    /// Forgets the past. What is under way still counts as under way.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.entries.clear();
        state.kinds.iter_mut().for_each(Gauge::forget);
        state.all.forget();
    }

    /// Waits until there were that many requests of a kind.
    pub(crate) async fn until(&self, kind: Kind, count: u64) {
        loop {
            let arrival = self.arrival.notified();
            tokio::pin!(arrival);
            arrival.as_mut().enable();
            if self.count(kind) >= count {
                return;
            }
            arrival.await;
        }
    }
}
