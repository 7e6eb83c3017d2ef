//! The hosts to which registries lead for content, such as their storage. Where one of them cannot be reached, one request
//! tries again, and all others are told what comes of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use url::Url;

use super::error::{Error, ErrorKind};
use super::probe::TRIES_IF_KNOWN;
use super::reach::authority;
use super::tries::patiently_until;
use crate::reference::Registry;
use crate::shared::lock;

/// No try begins so long after the first one: a host that is silent takes its time with each.
const LONGEST_SEARCH: Duration = Duration::from_secs(30);

/// How a host could not be reached, once that is known. Held by who finds out, while the others wait to be told.
type Search = Arc<tokio::sync::Mutex<Option<ErrorKind>>>;

/// Those that somebody could not reach, by host and port, until somebody has.
#[derive(Default)]
pub(super) struct Elsewhere {
    searches: Mutex<HashMap<String, Search>>,
    /// When nothing is to be tried again.
    end: CancellationToken,
}

impl Elsewhere {
    pub fn until(end: CancellationToken) -> Self {
        Self { end, ..Self::default() }
    }

    /// Sends to the host of `url`, to which `registry` leads, until there is an answer, or it is known that there is none in
    /// this round.
    pub async fn ask<T, F>(&self, registry: &Registry, url: &Url, send: impl Fn() -> F) -> Result<T, ErrorKind>
    where
        F: Future<Output = Result<T, ErrorKind>>,
    {
        let host = authority(url);
        let named = |kind| named(host, kind);
        if self.doubted(host).is_none() {
            match send().await {
                Err(kind) if is_silence(&kind) => {}
                answered => return answered.map_err(named),
            }
        }
        let search = lock(&self.searches).entry(host.to_owned()).or_default().clone();
        let mut unreachable = search.lock().await;
        if let Some(kind) = &*unreachable {
            return Err(kind.clone());
        }
        if !self.doubted(host).is_some_and(|current| Arc::ptr_eq(&current, &search)) {
            // It was reached meanwhile: those who waited for that go on side by side.
            drop(unreachable);
            return send().await.map_err(named);
        }
        let silent = |kind| Error { registry: registry.clone(), asked: None, kind: named(kind) };
        let attempt = || async {
            match send().await {
                Err(kind) if is_silence(&kind) => Err(silent(kind)),
                answered => Ok(answered),
            }
        };
        match patiently_until(&self.end, TRIES_IF_KNOWN, LONGEST_SEARCH, attempt).await {
            Err(error) => Err(unreachable.insert(error.into_verdict().kind).clone()),
            Ok(answered) => {
                lock(&self.searches).remove(host);
                answered.map_err(named)
            }
        }
    }

    fn doubted(&self, host: &str) -> Option<Search> {
        lock(&self.searches).get(host).cloned()
    }

    /// Lets those be asked again that could not be reached before.
    pub fn forget_unreachable(&self) {
        lock(&self.searches).clear();
    }
}

/// Whether nobody is there. That one answer does not come in time says nothing of others.
fn is_silence(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unreachable { .. })
}

/// Says whose failure it is. Nothing follows from it for the registry, whose request it was.
fn named(host: &str, kind: ErrorKind) -> ErrorKind {
    match kind {
        ErrorKind::Unreachable { .. }
        | ErrorKind::Untrusted { .. }
        | ErrorKind::NotTls
        | ErrorKind::CertificateNeeded { .. }
        | ErrorKind::TimedOut { .. }
        | ErrorKind::Broken { .. }
        | ErrorKind::NotHttp { .. } => ErrorKind::Elsewhere { host: host.to_owned(), kind: Arc::new(kind) },
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    /// Has so many ask at once. The host is silent to the first `silent` of their requests.
    async fn ask_together(
        elsewhere: &Arc<Elsewhere>,
        asked: &Arc<AtomicUsize>,
        silent: usize,
    ) -> Vec<Option<ErrorKind>> {
        let one = |_| {
            let (elsewhere, asked) = (elsewhere.clone(), asked.clone());
            tokio::spawn(async move {
                let url = "https://storage.example.com:9000/x".parse().unwrap();
                let send = || async {
                    let number = asked.fetch_add(1, Relaxed);
                    tokio::time::sleep(Duration::from_secs(15)).await;
                    let reason = "deadline has elapsed".to_owned();
                    if number < silent { Err(ErrorKind::Unreachable { reason }) } else { Ok(()) }
                };
                elsewhere.ask(&"r.example.com".parse().unwrap(), &url, send).await.err()
            })
        };
        let all: Vec<_> = (0..40).map(one).collect();
        let mut failed = Vec::new();
        for one in all {
            failed.push(one.await.unwrap());
        }
        failed
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_cannot_be_reached_is_asked_by_one_in_each_round_and_named() {
        let (elsewhere, asked) = (Arc::new(Elsewhere::default()), Arc::new(AtomicUsize::new(0)));
        for _ in 0..2 {
            let before = asked.load(Relaxed);
            // The first all together, before it is known; then nobody.
            for most in [40 + TRIES_IF_KNOWN, 0] {
                let asked_before = asked.load(Relaxed);
                for kind in ask_together(&elsewhere, &asked, usize::MAX).await {
                    let kind = kind.expect("there is nobody");
                    assert!(matches!(kind, ErrorKind::Verdict(_)) && kind.is_transient(), "{kind}");
                    let said = "storage.example.com:9000, where it leads: cannot connect: deadline has elapsed";
                    assert_eq!(kind.to_string(), said);
                }
                assert!(asked.load(Relaxed) - asked_before <= most);
            }
            assert!(asked.load(Relaxed) > before, "it is asked again in the next round");
            elsewhere.forget_unreachable();
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_late_says_nothing_of_the_host() {
        let elsewhere = Elsewhere::default();
        let url = "https://storage.example.com:9000/x".parse().unwrap();
        let late = || async { Err::<(), _>(ErrorKind::TimedOut { after: Duration::from_secs(60) }) };
        let kind = elsewhere.ask(&"r.example.com".parse().unwrap(), &url, late).await.unwrap_err();
        assert!(matches!(&kind, ErrorKind::Elsewhere { .. }) && kind.is_transient(), "{kind}");
        assert!(elsewhere.doubted("storage.example.com:9000").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_reached_again_answers_all() {
        let (elsewhere, asked) = (Arc::new(Elsewhere::default()), Arc::new(AtomicUsize::new(0)));
        let failed = ask_together(&elsewhere, &asked, 41).await;
        assert!(failed.iter().all(Option::is_none), "{failed:?}");
        // Side by side: all but the one who found it.
        assert_eq!(asked.load(Relaxed), 40 + 2 + 39);
        assert!(ask_together(&elsewhere, &asked, 0).await.iter().all(Option::is_none));
    }
}
