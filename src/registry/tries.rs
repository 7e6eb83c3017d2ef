//! Tries of one request that fails in ways that pass: how many, with what pauses, and none after an interruption.

use std::time::Duration;

use backon::BackoffBuilder as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::pace::LONGEST_WAIT;

/// Tries of one request.
pub(super) const TRIES: usize = 5;

/// Tells that a request failed and is sent again.
pub(super) fn warn_again(error: &Error, pause: Duration) {
    tracing::warn!(pause = format_args!("{:.1}s", pause.as_secs_f64()), "{error}; trying again");
}

/// Tries until there is a result that another try would not change.
pub async fn patiently<T, F>(attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    patiently_until(&CancellationToken::new(), TRIES, Duration::MAX, attempt).await
}

/// As `patiently`, with at most `tries` tries, the last of which begins within this time and before the `end` of all.
pub(super) async fn patiently_until<T, F>(
    end: &CancellationToken,
    tries: usize,
    within: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut pauses = backoff(tries);
    let began = Instant::now();
    loop {
        let error = match attempt().await {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        let pause = pauses.next().filter(|_| error.is_worth_repeating());
        let pause = pause.map(|pause| error.retry_after().unwrap_or(pause)).filter(|pause| *pause <= LONGEST_WAIT);
        let Some(pause) = pause.filter(|pause| began.elapsed().saturating_add(*pause) < within) else {
            return Err(error);
        };
        if !wait(end, pause, || warn_again(&error, pause)).await {
            return Err(error);
        }
    }
}

/// Waits before another try, which is told first. Answers whether there is to be one: not once the `end` has come.
pub(super) async fn wait(end: &CancellationToken, pause: Duration, tell: impl FnOnce()) -> bool {
    if end.is_cancelled() {
        return false;
    }
    tell();
    end.run_until_cancelled(tokio::time::sleep(pause)).await.is_some()
}

/// The pauses between the tries of one request.
pub(super) fn backoff(tries: usize) -> impl Iterator<Item = Duration> {
    backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(300))
        .with_max_delay(Duration::from_secs(20))
        .with_max_times(tries.saturating_sub(1))
        .with_jitter()
        .build()
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;
    use crate::registry::ErrorKind;

    fn down() -> Error {
        down_for(Duration::ZERO)
    }

    fn down_for(asked: Duration) -> Error {
        Error {
            registry: "r.example.com".parse().unwrap(),
            asked: None,
            kind: ErrorKind::Status {
                status: StatusCode::SERVICE_UNAVAILABLE,
                codes: Vec::new(),
                message: String::new(),
                retry_after: Some(asked),
            },
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_no_time_at_all_is_not_asked_again_at_once() {
        let up_again = Instant::now() + Duration::from_secs(4);
        let attempt = async || if Instant::now() < up_again { Err(down()) } else { Ok(()) };
        assert!(patiently(attempt).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_some_time_is_given_it_and_who_asks_for_hours_is_not_waited_for() {
        for (asked, tries) in [(LONGEST_WAIT, 2), (LONGEST_WAIT + Duration::from_secs(1), 1)] {
            let (begun, mut made) = (Instant::now(), 0);
            let attempt = || {
                made += 1;
                let again = made == 1;
                async move { if again { Err(down_for(asked)) } else { Ok(()) } }
            };
            assert_eq!((patiently(attempt).await.is_ok(), made), (tries == 2, tries));
            assert_eq!(begun.elapsed().as_secs(), if tries == 2 { asked.as_secs() } else { 0 });
        }
    }

    /// How often that is tried which never succeeds, if all ends after so long.
    async fn tries(end_after: Duration, within: Duration) -> usize {
        let (end, mut tries) = (CancellationToken::new(), 0);
        if end_after.is_zero() {
            end.cancel();
        }
        let ending = end.clone();
        let ending = tokio::spawn(async move {
            tokio::time::sleep(end_after).await;
            ending.cancel();
        });
        let attempt = || {
            tries += 1;
            async { Err::<(), _>(down()) }
        };
        assert!(patiently_until(&end, 20, within, attempt).await.is_err());
        ending.abort();
        tries
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_tried_again_after_so_long_or_after_the_end() {
        let (soon, never) = (Duration::from_secs(1), Duration::MAX);
        assert_eq!(tries(Duration::from_secs(3600), never).await, 20);
        assert!((2..=3).contains(&tries(Duration::from_secs(3600), soon).await));
        assert!((2..=3).contains(&tries(soon, never).await));
        assert_eq!(tries(Duration::ZERO, never).await, 1);
    }
}
