//! Hooks: which requests a test wants to meddle with, and the list of those in force.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use http::Method;

use crate::action::{Action, Plan};
use crate::request::{Kind, Origin, Request};
use crate::state::lock;

type Filter = Arc<dyn Fn(&Request) -> bool + Send + Sync>;
type Decide = dyn Fn(&Request) -> Option<Action> + Send + Sync;

/// Selects requests: `Kind::BlobGet.of(&digest).after(1).times(2)`. Every condition has to hold.
#[derive(Clone, Default)]
pub struct Matcher {
    kinds: Vec<Kind>,
    origin: Option<Origin>,
    method: Option<Method>,
    repository: Option<String>,
    reference: Option<String>,
    filters: Vec<Filter>,
    skip: u64,
    times: Option<u64>,
}

impl Matcher {
    /// Every request to every origin.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests of one of these kinds.
    pub fn any_of(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Matcher { kinds: kinds.into_iter().collect(), ..Self::default() }
    }

    /// Only at this origin.
    #[must_use]
    pub fn at(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Only with this method.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only in this repository.
    #[must_use]
    pub fn within(mut self, repository: &str) -> Self {
        self.repository = Some(repository.to_owned());
        self
    }

    /// Only about this tag or digest; see [`Request::reference`].
    #[must_use]
    pub fn of(mut self, reference: &str) -> Self {
        self.reference = Some(reference.to_owned());
        self
    }

    /// Only those that the closure says yes to.
    #[must_use]
    pub fn filter(mut self, filter: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        self.filters.push(Arc::new(filter));
        self
    }

    /// Not the first `n` of those selected.
    #[must_use]
    pub fn after(mut self, n: u64) -> Self {
        self.skip = n;
        self
    }

    /// At most `n` of those selected.
    #[must_use]
    pub fn times(mut self, n: u64) -> Self {
        self.times = Some(n);
        self
    }

    /// The next one of those selected, and no more.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// The `n`th of those selected and no other, counted from 1.
    #[must_use]
    pub fn nth(self, n: u64) -> Self {
        self.after(n.saturating_sub(1)).times(1)
    }

    /// Whether the request is one of those selected, whatever came before it.
    pub fn selects(&self, request: &Request) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&request.kind))
            && self.origin.is_none_or(|origin| origin == request.origin)
            && self.method.as_ref().is_none_or(|method| *method == request.method)
            && (self.repository.is_none() || self.repository == request.repository)
            && (self.reference.is_none() || self.reference == request.reference)
            && self.filters.iter().all(|filter| filter(request))
    }
}

impl From<Kind> for Matcher {
    fn from(kind: Kind) -> Self {
        Matcher::any_of([kind])
    }
}

/// The beginnings of a [`Matcher`], so that a selection starts with its kind.
impl Kind {
    /// Requests of this kind in one repository.
    pub fn within(self, repository: &str) -> Matcher {
        Matcher::from(self).within(repository)
    }

    /// Requests of this kind about one tag or digest.
    pub fn of(self, reference: &str) -> Matcher {
        Matcher::from(self).of(reference)
    }

    /// Requests of this kind that the closure says yes to.
    pub fn filter(self, filter: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Matcher {
        Matcher::from(self).filter(filter)
    }

    /// Requests of this kind but the first `n`.
    pub fn after(self, n: u64) -> Matcher {
        Matcher::from(self).after(n)
    }

    /// The next `n` requests of this kind.
    pub fn times(self, n: u64) -> Matcher {
        Matcher::from(self).times(n)
    }

    /// The next request of this kind.
    pub fn once(self) -> Matcher {
        Matcher::from(self).once()
    }

    /// The `n`th request of this kind from now, counted from 1.
    pub fn nth(self, n: u64) -> Matcher {
        Matcher::from(self).nth(n)
    }
}

/// A hook in force. It stays so when this handle is dropped; [`Hook::remove`] ends it.
#[derive(Clone)]
pub struct Hook(Arc<Rule>);

impl Hook {
    /// How many requests it has acted on.
    pub fn hits(&self) -> u64 {
        self.0.hits.load(SeqCst)
    }

    /// Ends it for the requests that come later.
    pub fn remove(&self) {
        self.0.removed.store(true, SeqCst);
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").field("hits", &self.hits()).finish_non_exhaustive()
    }
}

struct Rule {
    matcher: Matcher,
    decide: Box<Decide>,
    seen: AtomicU64,
    hits: AtomicU64,
    removed: AtomicBool,
}

impl Rule {
    /// What to do with a request, if it is this rule's turn.
    fn decide(&self, request: &Request) -> Option<Action> {
        if self.removed.load(SeqCst) || !self.matcher.selects(request) {
            return None;
        }
        if self.seen.fetch_add(1, SeqCst) < self.matcher.skip {
            return None;
        }
        let limit = self.matcher.times.unwrap_or(u64::MAX);
        if self.hits.load(SeqCst) >= limit {
            return None;
        }
        let action = (self.decide)(request)?;
        let taken = self.hits.fetch_update(SeqCst, SeqCst, |hits| (hits < limit).then_some(hits + 1));
        taken.is_ok().then_some(action)
    }
}

/// All hooks, in the order in which they were set.
#[derive(Default)]
pub(crate) struct Hooks {
    rules: Mutex<Arc<Vec<Arc<Rule>>>>,
    has_panicked: AtomicBool,
}

impl Hooks {
    pub(crate) fn add(&self, matcher: Matcher, decide: Box<Decide>) -> Hook {
        let counters = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let rule = Arc::new(Rule { matcher, decide, seen: counters.0, hits: counters.1, removed: counters.2 });
        let mut list = lock(&self.rules);
        Arc::make_mut(&mut list).push(Arc::clone(&rule));
        Hook(rule)
    }

    pub(crate) fn clear(&self) {
        *lock(&self.rules) = Arc::default();
    }

    /// The sum of what the hooks have to say about a request.
    pub(crate) fn plan(&self, request: &Request) -> Plan {
        // The lock is let go before a test's closure runs, which may want to set hooks itself.
        let rules = Arc::clone(&lock(&self.rules));
        let plan = catch_unwind(AssertUnwindSafe(|| {
            let mut plan = Plan::default();
            rules.iter().filter_map(|rule| rule.decide(request)).for_each(|action| plan.add(action));
            plan
        }));
        plan.unwrap_or_else(|panic| {
            // Only the request ends with it, and a client may well ask again.
            self.has_panicked.store(true, SeqCst);
            resume_unwind(panic)
        })
    }

    /// Whether a test's closure has panicked.
    pub(crate) fn have_panicked(&self) -> bool {
        self.has_panicked.load(SeqCst)
    }
}
