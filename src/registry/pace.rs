//! How fast a registry may be asked: the one citizen that this program is to it, whatever the number of its tasks.
//!
//! | file | holds |
//! | --- | --- |
//! | `window` | how many at once: halved when that is too much, grown again |
//! | `permits` | small requests in flight |
//! | `holds` | until when a kind of request, or the host, is left alone |
//! | `failures` | which kinds of requests all fail |
//! | `headers` | what registries say of their limits |
//! | `quota` | pulls that are counted |
//! | `patience` | how long and how often one piece of work tries |
//! | `throttle` | bytes per second of the whole run |

mod failures;
mod headers;
mod holds;
mod patience;
mod permits;
mod quota;
mod throttle;
mod window;

use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use tokio::time::Instant;

pub(super) use headers::{RateLimit, clock, until};
pub(super) use holds::{Hold, LONGEST_HOLD};
pub use patience::Budget;
pub(super) use patience::Patience;
pub(super) use permits::Permit;
pub use permits::heads;
pub(super) use throttle::Throttle;
pub use window::Window;

use self::failures::Failures;
use self::holds::{Holds, Refusal};
use self::permits::Permits;
use self::quota::Quota;
use super::error::{ErrorKind, is_transient};
use super::exchange::Kind;
use crate::reference::Registry;

/// Longest that anything waits because a registry asks for it. What is to wait longer fails at once.
pub const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What registries count apart when they limit rates: what is asked for, and how. Docker Hub counts the GET of a
/// manifest and not its HEAD; ECR counts starts and ends of uploads, manifests and blobs each by themselves.
pub(super) type Turn = (Kind, Method);

/// One registry's.
pub(super) struct Pace {
    registry: Registry,
    permits: Permits,
    holds: Holds,
    failures: Failures,
    quota: Quota,
}

impl Pace {
    /// For at most so many small requests in flight at once, or [more HEADs](heads).
    pub fn new(registry: &Registry, requests: usize) -> Self {
        Self {
            registry: registry.clone(),
            permits: Permits::new(requests),
            holds: Holds::default(),
            failures: Failures::default(),
            quota: Quota::default(),
        }
    }

    /// Waits until requests of this kind may be sent, or says what will not be waited for.
    pub async fn wait(&self, turn: &Turn, patience: &Patience) -> Result<(), ErrorKind> {
        while let Some(hold) = self.holds.current(turn) {
            if hold.is_hopeless || hold.until.duration_since(Instant::now()) > patience.longest {
                return Err(hold.into());
            }
            tokio::time::sleep_until(hold.until).await;
        }
        Ok(())
    }

    /// Why requests of this kind are held back now, if they are.
    pub fn held(&self, turn: &Turn) -> Option<ErrorKind> {
        self.holds.current(turn).map(Into::into)
    }

    pub fn is_held(&self, turn: &Turn) -> bool {
        self.holds.current(turn).is_some()
    }

    /// Whether a request that was just refused in this way is not worth repeating.
    pub fn is_hopeless(&self, turn: &Turn, status: StatusCode) -> bool {
        is_refusal(status) && self.holds.is_hopeless(turn) || is_failure(status) && self.failures.is_hopeless(turn)
    }

    /// Whether it is to be told aloud that a request was refused in this way: not of each where all of a kind fail.
    pub fn is_news(&self, turn: &Turn, status: StatusCode) -> bool {
        !is_failure(status) || self.failures.is_news(turn)
    }

    /// What was refused had been done.
    pub fn was_done(&self, turn: &Turn) {
        self.failures.went_well(turn);
    }

    /// Lets what failed be tried as patiently as ever.
    pub fn forget_failures(&self) {
        self.failures.forget();
    }

    /// Room for one small request.
    pub async fn permit(&self, method: &Method) -> Permit<'_> {
        self.permits.acquire(method).await
    }

    /// Whether the registry counts how often manifests are read, as far as is known.
    pub fn counts_pulls(&self) -> bool {
        self.registry.is_docker_hub() || self.quota.is_known()
    }

    /// Learns from the answer to a request that was sent at `begun`. `trouble` is what it says if that may pass.
    pub fn heed(
        &self,
        turn: &Turn,
        begun: Instant,
        permit: Option<&Permit<'_>>,
        headers: &HeaderMap,
        trouble: Option<&ErrorKind>,
    ) {
        let limits = RateLimit::read(headers);
        if let Some(limits) = &limits {
            self.quota.note(&self.registry, limits);
        }
        if let Some(refusal) = trouble.and_then(|refusal| self.refusal(turn, refusal, limits.as_ref())) {
            if let Some(permit) = permit.filter(|_| !refusal.is_of_quota) {
                permit.overloaded();
            }
            if let Some(pause) = self.holds.refused(turn, begun, &refusal) {
                let what = if refusal.is_of_host { "all requests" } else { name(turn) };
                let (registry, pause) = (&self.registry, humantime::format_duration(rounded(pause)));
                tracing::warn!(%registry, "{}: {what} wait for {pause}", refusal.in_words());
            }
            return;
        }
        match trouble {
            Some(ErrorKind::Status { status, .. }) if is_failure(*status) => return self.failures.failed(turn, begun),
            Some(_) => return,
            None => self.failures.went_well(turn),
        }
        let may_grow = self.holds.went_well(turn, begun);
        if let Some(permit) = permit.filter(|_| may_grow) {
            permit.went_well();
        }
        // One that was allowed, and the last of its time.
        let spent = limits.filter(|limits| limits.remaining == Some(0)).and_then(|limits| limits.reset);
        if let Some(pause) = spent.filter(|pause| !pause.is_zero() && *pause <= LONGEST_WAIT)
            && self.holds.spent(turn, pause)
        {
            let (registry, pause) = (&self.registry, humantime::format_duration(pause));
            tracing::info!(%registry, "{} have used up their rate and wait for {pause}", name(turn));
        }
    }

    /// What is to be done about a refusal, if it is one for rate or load.
    fn refusal(&self, turn: &Turn, said: &ErrorKind, limits: Option<&RateLimit>) -> Option<Refusal> {
        let ErrorKind::Status { status, codes, message, retry_after } = said else { return None };
        if !is_refusal(*status) {
            return None;
        }
        let is_limit = *status == StatusCode::TOO_MANY_REQUESTS;
        let is_of_quota = is_limit && self.quota.is_used_up(turn, codes, message, limits);
        Some(Refusal {
            status: *status,
            message: if is_of_quota { self.quota.in_words(message) } else { message.clone() },
            pause: retry_after.or_else(|| is_of_quota.then(|| self.quota.window())),
            is_of_quota,
            is_explicit: is_limit || retry_after.is_some(),
            // Docker Hub's abuse limit, which has mostly no JSON, and what proxies say.
            is_of_host: is_limit
                && (message.contains("HAP429")
                    || codes.is_empty() && message.eq_ignore_ascii_case("too many requests")),
        })
    }
}

/// Whether an answer may say that the registry is asked too much, or more than it bears.
pub(super) fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// Whether an answer says that what was asked cannot be done, for a reason that has to do with neither its rate nor its load.
fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() && is_transient(status) && !is_refusal(status)
}

/// Fit to be read: whole milliseconds, or seconds if there are many.
fn rounded(pause: Duration) -> Duration {
    if pause < Duration::from_secs(1) {
        Duration::from_millis(u64::try_from(pause.as_millis()).unwrap_or_default())
    } else {
        Duration::from_secs(pause.as_secs())
    }
}

impl From<Hold> for ErrorKind {
    fn from(hold: Hold) -> Self {
        let left = hold.until.saturating_duration_since(Instant::now());
        Self::Limited { why: hold.why, until: SystemTime::now() + left, hopeless: hold.is_hopeless }
    }
}

/// A kind of request in words.
fn name((kind, method): &Turn) -> &'static str {
    match (kind, method.as_str()) {
        (Kind::Tags, _) => "requests for tag lists",
        (Kind::ManifestRead, "HEAD") => "HEADs of manifests",
        (Kind::ManifestRead, _) => "reads of manifests",
        (Kind::ManifestWrite, _) => "writes of manifests",
        (Kind::BlobRead, "HEAD") => "HEADs of blobs",
        (Kind::BlobRead, _) => "reads of blobs",
        (Kind::Token, _) => "requests for tokens",
        (Kind::BlobWrite, "POST") => "starts of uploads",
        (Kind::BlobWrite, _) => "uploads",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READS: Turn = (Kind::ManifestRead, Method::GET);
    const HEADS: Turn = (Kind::ManifestRead, Method::HEAD);

    fn used_up() -> ErrorKind {
        ErrorKind::Status {
            status: StatusCode::TOO_MANY_REQUESTS,
            codes: vec!["TOOMANYREQUESTS".to_owned()],
            message: "TOOMANYREQUESTS: You have reached your pull rate limit.".to_owned(),
            retry_after: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_used_up_quota_is_not_waited_for_and_narrows_nothing() {
        let pace = Pace::new(&"docker.io".parse().unwrap(), 4);
        let permit = pace.permit(&Method::GET).await;
        pace.heed(&READS, Instant::now(), Some(&permit), &HeaderMap::new(), Some(&used_up()));
        drop(permit);
        let refused = pace.wait(&READS, &Patience::default()).await.unwrap_err();
        assert!(matches!(&refused, ErrorKind::Limited { until, .. } if *until > SystemTime::now() + LONGEST_WAIT));
        assert!(refused.to_string().contains("its pull quota is used up"), "{refused}");
        assert!(pace.wait(&HEADS, &Patience::default()).await.is_ok(), "what is not counted goes on");
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(tokio::time::timeout(Duration::from_secs(1), pace.permit(&Method::GET)).await.expect("a permit"));
        }
        // Its window is over.
        drop(all);
        tokio::time::advance(Duration::from_secs(6 * 3600)).await;
        assert!(pace.wait(&READS, &Patience::default()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_served_while_others_are_held_back_makes_no_room() {
        let pace = Pace::new(&"r.example.com".parse().unwrap(), 8);
        let heed = async |turn, said: Option<&ErrorKind>| {
            pace.heed(turn, Instant::now(), Some(&pace.permit(&Method::GET).await), &HeaderMap::new(), said);
        };
        let room = async || {
            let mut permits = Vec::new();
            while let Ok(permit) = tokio::time::timeout(Duration::from_millis(1), pace.permit(&Method::GET)).await {
                permits.push(permit);
            }
            permits.len()
        };
        let (status, codes) = (StatusCode::TOO_MANY_REQUESTS, Vec::new());
        heed(&READS, Some(&ErrorKind::Status { status, codes, message: String::new(), retry_after: None })).await;
        for _ in 0..20 {
            heed(&HEADS, None).await;
        }
        assert_eq!(room().await, 4);
        pace.wait(&READS, &Patience::default()).await.unwrap();
        // That pulls are used up says nothing of how many may come at once.
        heed(&READS, Some(&used_up())).await;
        assert!(pace.is_held(&READS));
        for _ in 0..4 {
            heed(&HEADS, None).await;
        }
        assert_eq!(room().await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_less_patience_is_told_of_a_hold_and_who_has_more_waits() {
        let pace = Pace::new(&"r.example.com".parse().unwrap(), 4);
        let said = ErrorKind::Status {
            status: StatusCode::SERVICE_UNAVAILABLE,
            codes: Vec::new(),
            message: String::new(),
            retry_after: Some(Duration::from_secs(30)),
        };
        pace.heed(&READS, Instant::now(), None, &HeaderMap::new(), Some(&said));
        let hasty = Patience { longest: Duration::from_secs(20), budget: None };
        let told = pace.wait(&READS, &hasty).await.unwrap_err();
        assert!(matches!(told, ErrorKind::Limited { hopeless: false, .. }));
        let begun = Instant::now();
        assert!(pace.wait(&READS, &Patience::default()).await.is_ok());
        assert!((29..=31).contains(&begun.elapsed().as_secs()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_abuse_limit_is_plain_text_and_all_else_concerns_its_kind() {
        for (status, code, message, is_of_host) in [
            (StatusCode::TOO_MANY_REQUESTS, None, "Too Many Requests", true),
            (StatusCode::TOO_MANY_REQUESTS, None, "Too Many Requests (HAP429).", true),
            (StatusCode::TOO_MANY_REQUESTS, Some("TOOMANYREQUESTS"), "Too Many Requests (HAP429)", true),
            (StatusCode::TOO_MANY_REQUESTS, None, "Too Many Requests. Please see https://docs.docker.com", false),
            (StatusCode::TOO_MANY_REQUESTS, None, "slow down", false),
            (StatusCode::TOO_MANY_REQUESTS, Some("TOOMANYREQUESTS"), "too many requests", false),
            (StatusCode::SERVICE_UNAVAILABLE, None, "too many requests", false),
            (StatusCode::SERVICE_UNAVAILABLE, None, "", false),
        ] {
            let pace = Pace::new(&"docker.io".parse().unwrap(), 4);
            let codes = code.map(str::to_owned).into_iter().collect();
            let said = ErrorKind::Status { status, codes, message: message.to_owned(), retry_after: None };
            pace.heed(&READS, Instant::now(), None, &HeaderMap::new(), Some(&said));
            assert_eq!((pace.is_held(&READS), pace.is_held(&HEADS)), (true, is_of_host), "{status} {code:?} {message}");
        }
    }

    #[test]
    fn docker_hub_counts_pulls_before_it_says_so() {
        assert!(Pace::new(&"docker.io".parse().unwrap(), 1).counts_pulls());
        assert!(!Pace::new(&"quay.io".parse().unwrap(), 1).counts_pulls());
    }
}
