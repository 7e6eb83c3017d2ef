//! A running registry: where it is, what it has seen, and what it is to do next.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use tokio::task::JoinHandle;

use crate::action::Action;
use crate::builder::{Builder, Settings};
use crate::hook::{Hook, Matcher};
use crate::request::{Kind, Request};
use crate::server::serve;
use crate::state::{Shared, lock};

/// A registry in memory, served at a port of this machine until it is dropped.
pub struct Registry {
    pub(crate) shared: Arc<Shared>,
    listeners: Vec<JoinHandle<()>>,
}

impl Registry {
    /// Describes a registry; without further words an open one that imitates the distribution registry.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// An open registry with nothing in it.
    pub async fn open() -> Self {
        Self::builder().start().await
    }

    pub(crate) async fn start(settings: Settings) -> Self {
        let mut registry = Registry { shared: Arc::new(Shared::new(settings)), listeners: Vec::new() };
        registry.resume().await;
        registry
    }

    /// Goes away: nobody listens any more, and all connections are closed. What it holds, it keeps.
    pub async fn stop(&mut self) {
        for listener in self.listeners.drain(..) {
            listener.abort();
            // Until then its port is taken.
            let _ = listener.await;
        }
    }

    /// Is there again after [`Registry::stop`], at the same ports.
    pub async fn resume(&mut self) {
        for (port, origin) in self.shared.ports.all() {
            self.listeners.push(tokio::spawn(serve(port.listen().await, origin, Arc::clone(&self.shared))));
        }
    }

    /// `127.0.0.1:<port>`, as it stands in image references.
    pub fn host(&self) -> String {
        self.shared.ports.registry.address().to_string()
    }

    /// `http://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// An image reference: `127.0.0.1:<port>/<repository>:<tag>`, or with `@` before a digest.
    pub fn reference(&self, repository: &str, reference: &str) -> String {
        let separator = if reference.contains(':') { '@' } else { ':' };
        format!("{}/{repository}{separator}{reference}", self.host())
    }

    /// Where tokens are issued, if this registry wants any.
    pub fn token_host(&self) -> Option<String> {
        self.shared.ports.token_server.as_ref().map(|port| port.address().to_string())
    }

    /// Where blobs are redirected to, if they are.
    pub fn blob_host(&self) -> Option<String> {
        self.shared.ports.blob_origin.as_ref().map(|port| port.address().to_string())
    }

    /// Does something to every request selected: `registry.on(Kind::BlobGet.nth(2), Action::CutResponseAfter(100))`.
    ///
    /// It stays in force until [`Hook::remove`] or [`Registry::clear_hooks`]; a matcher with `times` or `nth` ends by itself.
    /// Hooks act before the registry looks at credentials. If several select a request, their actions add up as in [`Action::All`].
    /// A hook that panics breaks the connection, and the registry panics when it is dropped.
    pub fn on(&self, matcher: impl Into<Matcher>, action: impl Into<Action>) -> Hook {
        let action = action.into();
        self.on_each(matcher, move |_| Some(action.clone()))
    }

    /// Lets a closure say for each request selected what is done to it, if anything.
    pub fn on_each(
        &self,
        matcher: impl Into<Matcher>,
        decide: impl Fn(&Request) -> Option<Action> + Send + Sync + 'static,
    ) -> Hook {
        self.shared.hooks.add(matcher.into(), Box::new(decide))
    }

    /// Ends all hooks.
    pub fn clear_hooks(&self) {
        self.shared.hooks.clear();
    }

    /// Every request so far to any origin, in the order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.requests()
    }

    /// Those requests so far that are selected, whatever `after` and `times` say.
    pub fn requests_of(&self, matcher: impl Into<Matcher>) -> Vec<Request> {
        let matcher = matcher.into();
        self.requests().into_iter().filter(|request| matcher.selects(request)).collect()
    }

    /// How many requests of a kind there were.
    pub fn count(&self, kind: Kind) -> u64 {
        self.shared.log.count(kind)
    }

    /// How many requests there were to all origins.
    pub fn count_all(&self) -> u64 {
        self.shared.log.count_all()
    }

    /// How many requests of a kind are under way: come, and their answer neither wholly sent nor given up.
    pub fn in_flight(&self, kind: Kind) -> u64 {
        self.shared.log.in_flight(kind)
    }

    /// The largest number of requests of a kind that were under way at once.
    pub fn peak(&self, kind: Kind) -> u64 {
        self.shared.log.peak(kind)
    }

    /// The largest number of requests to all origins that were under way at once.
    pub fn peak_all(&self) -> u64 {
        self.shared.log.peak_all()
    }

    /// Forgets the requests so far, their counts and peaks.
    pub fn clear_log(&self) {
        self.shared.log.clear();
    }

    /// Waits until `count` requests of a kind have come.
    pub async fn until(&self, kind: Kind, count: u64) {
        self.shared.log.until(kind, count).await;
    }

    /// How many connections were accepted by all origins.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(SeqCst)
    }

    /// Makes a repository, or for [`crate::Missing::NoProject`] the project of that name.
    pub fn create(&self, name: &str) {
        lock(&self.shared.made).insert(name.to_owned());
    }

    /// How many uploads were started and neither finished nor cancelled.
    pub fn open_uploads(&self) -> usize {
        self.shared.uploads.open()
    }

    /// How many tokens were issued.
    pub fn tokens_issued(&self) -> u64 {
        self.shared.tokens.issued()
    }

    /// Makes every token issued so far invalid.
    pub fn revoke_tokens(&self) {
        self.shared.tokens.revoke();
    }

    /// Makes every address at the blob origin that was handed out so far invalid.
    pub fn expire_redirects(&self) {
        self.shared.expire_redirects();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.listeners.iter().for_each(JoinHandle::abort);
        // What a hook asserts counts as if the test did.
        assert!(std::thread::panicking() || !self.shared.hooks.have_panicked(), "a hook has panicked");
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Registry").field(&self.host()).finish()
    }
}
