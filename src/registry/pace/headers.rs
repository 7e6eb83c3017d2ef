//! What registries say of their limits in headers.
//!
//! Three spellings are seen: `RateLimit-Limit`, `-Remaining` and `-Reset` by themselves (GitLab; Docker Hub adds the window,
//! `100;w=21600`), one `RateLimit: limit=100, remaining=50, reset=30` (draft-ietf-httpapi-ratelimit-headers up to 07),
//! and `RateLimit: "name";r=50;t=30` beside `RateLimit-Policy: "name";q=100;w=60` (from 08 on).

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, HeaderName};

// Looked up in every answer: their names are not parsed each time.
static SINGLE: HeaderName = HeaderName::from_static("ratelimit");
static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// From here on a number of seconds is a date.
const DATES: u64 = 1_000_000_000;

/// What one answer says of a limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateLimit {
    pub limit: Option<u64>,
    /// The time for which `limit` is.
    pub window: Option<Duration>,
    pub remaining: Option<u64>,
    /// How long until there is more again.
    pub reset: Option<Duration>,
}

impl RateLimit {
    /// What the headers say, if anything.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
        let (single, limit, remaining) = (text(&SINGLE), text(&LIMIT), text(&REMAINING));
        if single.is_none() && limit.is_none() && remaining.is_none() {
            return None;
        }
        let policy = text(&POLICY);
        let of_single = |names: &[&str]| single.and_then(|text| parameter(text, names));
        let seconds = |number: Option<u64>| number.map(Duration::from_secs);
        let reset = text(&RESET).and_then(leading).or_else(|| of_single(&["reset", "t"]));
        Some(Self {
            limit: limit
                .and_then(leading)
                .or_else(|| of_single(&["limit"]))
                .or_else(|| policy.and_then(|text| parameter(text, &["q"]))),
            window: seconds([limit, remaining, policy].into_iter().flatten().find_map(|text| parameter(text, &["w"]))),
            remaining: remaining.and_then(leading).or_else(|| of_single(&["remaining", "r"])),
            reset: reset.map(|seconds| until(seconds, clock(headers))),
        })
    }
}

/// The number with which a value begins.
fn leading(text: &str) -> Option<u64> {
    text.split([';', ',']).next()?.trim().parse().ok()
}

/// The value of the first parameter that has one of these names.
fn parameter(text: &str, names: &[&str]) -> Option<u64> {
    text.split([';', ',']).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        names.iter().any(|known| name.trim().eq_ignore_ascii_case(known)).then(|| value.trim().parse().ok())?
    })
}

/// What the clock of whoever answered shows, by which the dates in the answer are: it need not be ours.
pub fn clock(headers: &HeaderMap) -> SystemTime {
    let date = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    date.unwrap_or_else(SystemTime::now)
}

/// Some registries give the date, others what is left until then. `now` is by the same clock.
pub fn until(seconds: u64, now: SystemTime) -> Duration {
    if seconds < DATES {
        return Duration::from_secs(seconds);
    }
    let date = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    date.and_then(|date| date.duration_since(now).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn read(headers: &[(&'static str, &str)]) -> Option<RateLimit> {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        RateLimit::read(&headers.iter().map(header).collect())
    }

    fn limit(limit: u64, window: Option<u64>, remaining: u64, reset: Option<u64>) -> Option<RateLimit> {
        let seconds = |number: Option<u64>| number.map(Duration::from_secs);
        Some(RateLimit {
            limit: Some(limit),
            window: seconds(window),
            remaining: Some(remaining),
            reset: seconds(reset),
        })
    }

    #[test]
    fn all_spellings_are_read() {
        let hub = [("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "76;w=21600")];
        assert_eq!(read(&hub), limit(100, Some(21600), 76, None));
        let gitlab = [("ratelimit-limit", "60"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "12")];
        assert_eq!(read(&gitlab), limit(60, None, 0, Some(12)));
        assert_eq!(read(&[("ratelimit", "limit=10, remaining=5, reset=7")]), limit(10, None, 5, Some(7)));
        let newest = [("ratelimit", "\"default\";r=5;t=7"), ("ratelimit-policy", "\"default\";q=10;w=60")];
        assert_eq!(read(&newest), limit(10, Some(60), 5, Some(7)));
    }

    #[test]
    fn a_reset_may_be_a_date() {
        let epoch = |date: SystemTime| date.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string();
        let reset =
            |text: &str| read(&[("ratelimit-remaining", "0"), ("ratelimit-reset", text)]).unwrap().reset.unwrap();
        let soon = reset(&epoch(SystemTime::now() + Duration::from_secs(100)));
        assert!((90..=100).contains(&soon.as_secs()), "{soon:?}");
        assert_eq!(reset("1000000001"), Duration::ZERO);
    }

    #[test]
    fn what_makes_no_sense_says_nothing() {
        assert_eq!(read(&[]), None);
        assert_eq!(
            read(&[("ratelimit-limit", "lots;w=;=;"), ("ratelimit-remaining", "-1")]),
            Some(RateLimit::default())
        );
    }
}
