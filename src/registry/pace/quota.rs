//! A registry that counts pulls: how many are left, as it tells it with its answers.
//!
//! Docker Hub counts each GET of a manifest and no HEAD, and tells both how many are left
//! (Docker documentation "Docker Hub pull usage and limits"). It has two kinds of 429: the used-up quota, for hours,
//! as a JSON error, and an abuse limit, for a short time, as plain text.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use reqwest::Method;

use super::headers::RateLimit;
use super::{LONGEST_WAIT, Turn};
use crate::reference::Registry;
use crate::registry::exchange::Kind;
use crate::shared::lock;

/// Less than one of so many left is little.
const LITTLE: u64 = 10;
/// A quota has a window longer than this; what is shorter is a rate, and waited for.
const SHORTEST_WINDOW: Duration = LONGEST_WAIT;
/// The window where it is not told: Docker Hub's.
const USUAL_WINDOW: Duration = Duration::from_secs(6 * 3600);

#[derive(Default)]
pub struct Quota(Mutex<Known>);

#[derive(Default)]
struct Known {
    limit: Option<u64>,
    window: Option<Duration>,
    told_low: bool,
}

impl Quota {
    /// Learns from an answer; tells of the quota when it is first seen, and when it becomes low.
    pub fn note(&self, registry: &Registry, seen: &RateLimit) {
        let (Some(limit), Some(remaining), Some(window)) = (seen.limit, seen.remaining, seen.window) else { return };
        if window <= SHORTEST_WINDOW {
            return;
        }
        let mut known = self.lock();
        let is_new = known.limit.replace(limit).is_none();
        known.window = Some(window);
        let is_low = remaining < limit.div_ceil(LITTLE);
        let tells_low = is_low && !known.told_low;
        known.told_low = is_low;
        drop(known);
        let window = humantime::format_duration(window);
        match (tells_low, is_new) {
            (true, _) => tracing::warn!(%registry, "{remaining} of {limit} pulls in {window} are left"),
            (false, true) => tracing::info!(%registry, "{remaining} of {limit} pulls in {window} are left"),
            (false, false) => {}
        }
    }

    /// Whether the registry has told of a quota.
    pub fn is_known(&self) -> bool {
        self.lock().limit.is_some()
    }

    /// Whether a 429 says that the quota is used up, and not that there were too many requests just now.
    pub fn is_used_up(&self, turn: &Turn, codes: &[String], message: &str, seen: Option<&RateLimit>) -> bool {
        let is_pull = *turn == (Kind::ManifestRead, Method::GET);
        let is_said = codes.iter().any(|code| code == "TOOMANYREQUESTS") && message.contains("pull rate limit");
        let is_counted = seen.is_some_and(|seen| seen.remaining == Some(0)) && self.is_known();
        is_pull && (is_said || is_counted)
    }

    /// The longest time until there are pulls again.
    pub fn window(&self) -> Duration {
        self.lock().window.unwrap_or(USUAL_WINDOW)
    }

    /// That it is used up, in words that say how much it was.
    pub fn in_words(&self, message: &str) -> String {
        let known = self.lock();
        let quota = match (known.limit, known.window) {
            (Some(limit), Some(window)) => format!(" ({limit} in {})", humantime::format_duration(window)),
            _ => String::new(),
        };
        format!("its pull quota{quota} is used up: {message}")
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(remaining: u64, window: u64) -> RateLimit {
        let window = Some(Duration::from_secs(window));
        RateLimit { limit: Some(100), remaining: Some(remaining), window, reset: None }
    }

    #[test]
    fn a_used_up_quota_is_not_an_abuse_limit() {
        let quota = Quota::default();
        let (reads, heads) = ((Kind::ManifestRead, Method::GET), (Kind::ManifestRead, Method::HEAD));
        let code = ["TOOMANYREQUESTS".to_owned()];
        let text = "TOOMANYREQUESTS: You have reached your unauthenticated pull rate limit.";
        assert!(quota.is_used_up(&reads, &code, text, None));
        assert!(!quota.is_used_up(&heads, &code, text, None), "no HEAD is counted");
        assert!(!quota.is_used_up(&reads, &code, "TOOMANYREQUESTS: slow down", None));
        assert!(!quota.is_used_up(&reads, &[], "Too Many Requests", Some(&seen(0, 21600))), "no quota is known");
        quota.note(&"docker.io".parse().unwrap(), &seen(0, 21600));
        assert!(quota.is_used_up(&reads, &[], "", Some(&seen(0, 21600))));
        assert!(!quota.is_used_up(&reads, &[], "Too Many Requests", Some(&seen(5, 21600))));
    }

    #[test]
    fn a_rate_is_no_quota() {
        let quota = Quota::default();
        quota.note(&"r.example.com".parse().unwrap(), &seen(5, 60));
        assert!(!quota.is_known());
        quota.note(&"r.example.com".parse().unwrap(), &seen(5, 21600));
        assert!(quota.is_known());
        assert!(quota.in_words("no").contains("100 in 6h"), "{}", quota.in_words("no"));
    }
}
