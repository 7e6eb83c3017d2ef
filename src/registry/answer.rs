//! An answer read to its end, up to a bound, and what it says if it is not the one that was hoped for.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use url::Url;

use super::blob::Wait;
use super::error::{self, ErrorKind, is_transient};
use super::http::is_redirect;
use super::pace::{LONGEST_HOLD, RateLimit, clock, until};
use super::reach::authority;
use super::sent::Sent;
use crate::digest::Digest;

/// Most bytes of an answer whose body says nothing of use, or why not.
pub(super) const SHORT: usize = 64 << 10;

/// An answer read to its end.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Where it came from: what `Location` and `Link` are relative to.
    pub url: Url,
    pub body: Bytes,
    pub sent: Sent,
}

impl Answer {
    /// Reads the body of `response`, which must not exceed `limit` bytes if it is what was asked for. Of a refusal no
    /// more is read than a message needs. The end is waited for as long as bytes come: the caller limits the whole.
    pub async fn read(mut response: Response, limit: usize) -> Result<Self, ErrorKind> {
        let (status, url) = (response.status(), response.url().clone());
        let (headers, sent) = (std::mem::take(response.headers_mut()), Sent::taken_from(&mut response));
        let (mut body, mut wait) = (BytesMut::new(), Wait::default());
        while let Some(chunk) = wait.chunk(&mut response).await? {
            if status.is_success() && body.len() + chunk.len() > limit {
                return Err(ErrorKind::Malformed { reason: format!("it is larger than {limit} bytes") });
            }
            body.extend_from_slice(&chunk);
            if !status.is_success() && body.len() > SHORT {
                break;
            }
        }
        Ok(Self { status, headers, url, body: body.freeze(), sent })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// What is told of the answer, without what was sent for it: some repeat that.
    pub fn without_secrets(&self, text: &str) -> String {
        self.sent.secrets(&self.url).hide(text).into_owned()
    }

    /// Why it cannot be read: by the `error` of who tried, unless it is a page for people.
    pub fn misread(&self, error: &str) -> String {
        let media_type = self.header(CONTENT_TYPE.as_str()).unwrap_or_default().to_ascii_lowercase();
        if !media_type.starts_with("text/html") {
            return self.without_secrets(error);
        }
        let host = authority(&self.url);
        format!(
            "it is a web page of {host}; see that this is the registry's own host and port and not that of its web \
             pages, and that no proxy before it asks for a login"
        )
    }

    /// The digest that the registry names for what was asked.
    pub fn digest(&self) -> Option<Digest> {
        self.header("docker-content-digest")?.parse().ok()
    }

    /// Whether the registry at `base` wants other credentials than it got. What another host says of credentials, to
    /// which a redirect or an upload led, is not the registry's word, and must not be answered with its password.
    pub fn is_challenge_of(&self, base: &Url) -> bool {
        (self.status == StatusCode::UNAUTHORIZED || self.says_expired()) && self.url.origin() == base.origin()
    }

    /// Whether the credentials were good once. ECR says so with 403: "Your authorization token has expired".
    pub fn says_expired(&self) -> bool {
        let text = || String::from_utf8_lossy(&self.body).to_ascii_lowercase();
        self.status == StatusCode::FORBIDDEN && text().contains("token has expired")
    }

    /// What this answer says if it is not the one that was hoped for. `asked` is where the request began.
    pub fn refusal_of(&self, asked: &Url) -> ErrorKind {
        let signature_refused = matches!(self.status.as_u16(), 400 | 401 | 403);
        if signature_refused && self.url.origin() != asked.origin() {
            let host = self.url.host_str().unwrap_or_default().to_owned();
            return ErrorKind::RefusedElsewhere { host, status: self.status };
        }
        self.refusal()
    }

    /// What an answer of the registry itself says if it is not the one that was hoped for.
    pub fn refusal(&self) -> ErrorKind {
        let (codes, message) = error::read_body(&self.body, &self.sent.secrets(&self.url));
        // Of the address the host alone: the rest may be signed.
        let led = || self.url.join(self.header(LOCATION.as_str())?).ok()?.host_str().map(str::to_owned);
        let message = match led().filter(|_| is_redirect(self.status)) {
            Some(host) => format!("it leads to {host}, where this request is not sent on"),
            None => message,
        };
        ErrorKind::Status { status: self.status, codes, message, retry_after: self.retry_after() }
    }

    /// What it says if that may pass by itself.
    pub fn trouble(&self) -> Option<ErrorKind> {
        let refusal = is_transient(self.status).then(|| self.refusal());
        refusal.filter(ErrorKind::is_transient)
    }

    /// How long the registry wants to be left alone: as it says, or until what is used up comes again.
    fn retry_after(&self) -> Option<Duration> {
        let reset = || RateLimit::read(&self.headers).filter(|limit| limit.remaining == Some(0))?.reset;
        retry_after(&self.headers).or_else(|| Some(reset()?.min(LONGEST_HOLD)))
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), which some write in seconds too. A date is read by the
/// clock of whoever says it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match text.parse() {
        Ok(seconds) => until(seconds, clock(headers)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(clock(headers)).ok()?,
    };
    Some(pause.min(LONGEST_HOLD))
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};
    use reqwest::Body;
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::registry::exchange::TIME_LIMIT;

    /// Reads an answer of ten pieces as large as this, each of which comes half a minute after the one before.
    async fn slow(piece: usize) -> Result<usize, ErrorKind> {
        let pieces = stream::iter(0..10).then(move |_| async move {
            tokio::time::sleep(TIME_LIMIT / 2).await;
            Ok::<_, std::io::Error>(vec![0; piece])
        });
        let response = http::Response::new(Body::wrap_stream(pieces));
        Answer::read(response.into(), SHORT).await.map(|answer| answer.body.len())
    }

    #[tokio::test(start_paused = true)]
    async fn what_keeps_coming_is_read_however_long_that_takes_and_a_trickle_is_not() {
        assert_eq!(slow(5_000).await, Ok(50_000));
        assert_eq!(slow(1).await, Err(ErrorKind::TimedOut { after: TIME_LIMIT }));
    }

    #[test]
    fn what_is_used_up_is_waited_for_until_there_is_more_and_what_is_left_is_not() {
        let said = |headers: &[(&'static str, &'static str)]| {
            let header = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
            let headers = headers.iter().map(header).collect();
            let (status, url) = (StatusCode::TOO_MANY_REQUESTS, "https://r.example.com/v2/".parse().unwrap());
            match (Answer { status, headers, url, body: Bytes::new(), sent: Sent::default() }).refusal() {
                ErrorKind::Status { retry_after, .. } => retry_after.map(|pause| pause.as_secs()),
                other => panic!("{other}"),
            }
        };
        let (reset, used_up) = (("ratelimit-reset", "30"), ("ratelimit-remaining", "0"));
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[reset, used_up]), Some(30));
        assert_eq!(said(&[reset, ("ratelimit-remaining", "5")]), None, "this is not what it was refused for");
        assert_eq!(said(&[reset, used_up, ("retry-after", "7")]), Some(7), "what is said outright goes first");
        assert_eq!(said(&[("ratelimit-reset", "999999"), used_up]), Some(LONGEST_HOLD.as_secs()));
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("999999"), Some(LONGEST_HOLD));
        let soon = std::time::SystemTime::now() + Duration::from_secs(100);
        let soon = soon.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!(read(&soon.to_string()).unwrap() <= Duration::from_secs(100));
        assert_eq!(read("1000000001"), Some(Duration::ZERO));
        assert_eq!(read("Fri, 31 Dec 2100 23:59:59 GMT"), Some(LONGEST_HOLD));
        assert_eq!(read("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(read("soon"), None);
    }

    #[test]
    fn a_date_is_read_by_the_clock_of_whoever_says_it() {
        for wrong_by in [-600, 0, 600_i64] {
            let now = std::time::SystemTime::now();
            let theirs = match u64::try_from(wrong_by) {
                Ok(ahead) => now + Duration::from_secs(ahead),
                Err(_) => now - Duration::from_secs(wrong_by.unsigned_abs()),
            };
            let seconds = |date: std::time::SystemTime| date.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            let date = httpdate::fmt_http_date(theirs);
            let later = theirs + Duration::from_secs(7);
            for said in [httpdate::fmt_http_date(later), seconds(later).to_string()] {
                let headers = [(reqwest::header::DATE, &date), (RETRY_AFTER, &said)];
                let headers = headers.map(|(name, value)| (name, HeaderValue::from_str(value).unwrap()));
                assert_eq!(retry_after(&headers.into_iter().collect()), Some(Duration::from_secs(7)), "{said}");
            }
            let reset = seconds(later).to_string();
            let headers = [("date", &*date), ("ratelimit-remaining", "0"), ("ratelimit-reset", &reset)];
            let headers =
                headers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
            let limit = RateLimit::read(&headers.into_iter().collect()).unwrap();
            assert_eq!(limit.reset, Some(Duration::from_secs(7)));
        }
    }
}
