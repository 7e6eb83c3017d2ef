//! Until when a kind of request is left alone, because the registry refused one for its rate or its load.
//!
//! A hold is the registry's, not a task's: a task that comes while it lasts waits with the others. If the registry refuses
//! again and again, with no success in between, all that wait are told so, and none has to find out for itself. A registry
//! that does not speak of rates may be unwell in one repository only: tasks may still ask for others, but ask once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::Instant;

use super::Turn;
use crate::shared::lock;

/// Refusals in a row, each after a hold, from which on nobody waits for another.
const STRIKES: u32 = 5;
/// Nor does anybody wait this long after the first of them.
const LONGEST_ROW: Duration = Duration::from_secs(600);
/// A hold that ended this long ago, with nothing asked since, no longer counts as a consecutive refusal.
const FORGOTTEN: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// Longest time that is believed of a registry: a day.
pub const LONGEST_HOLD: Duration = Duration::from_secs(24 * 3600);

/// What a registry said when it refused.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub message: String,
    /// How long it asked to be left alone.
    pub pause: Option<Duration>,
    /// Whether it is about a quota, and not about how many requests come at a time.
    pub is_of_quota: bool,
    /// Whether it spoke of rates, and not just of being unwell, which may be true of one repository only.
    pub is_explicit: bool,
    /// Whether it is about all requests.
    pub is_of_host: bool,
}

impl Refusal {
    pub fn in_words(&self) -> String {
        match self.message.as_str() {
            "" => self.status.to_string(),
            message => format!("{} ({message})", self.status),
        }
    }
}

/// A hold that is in force.
#[derive(Debug, Clone)]
pub struct Hold {
    pub until: Instant,
    /// Whether there is no point in waiting for its end.
    pub is_hopeless: bool,
    /// What was refused, and how.
    pub why: Arc<str>,
}

#[derive(Default)]
pub struct Holds(Mutex<State>);

#[derive(Default)]
struct State {
    kinds: HashMap<Turn, Row>,
    host: Option<Row>,
}

/// Refusals in a row.
struct Row {
    began: Instant,
    strikes: u32,
    /// The end of the hold before: what was sent since then is of one burst with the last of them.
    tried: Instant,
    /// Whether the last of them spoke of how much the registry bears.
    is_of_load: bool,
    hold: Hold,
}

impl Holds {
    /// The hold on requests of this kind, if there is one now: the one that lasts longer of theirs and the host's.
    pub fn current(&self, turn: &Turn) -> Option<Hold> {
        let (state, now) = (self.lock(), Instant::now());
        let holds = state.kinds.get(turn).into_iter().chain(&state.host).map(|row| &row.hold);
        holds.filter(|hold| hold.until > now).max_by_key(|hold| hold.until).cloned()
    }

    /// A request that was sent at `begun` was refused. Answers the length of the hold if this is where it begins.
    pub fn refused(&self, turn: &Turn, begun: Instant, refusal: &Refusal) -> Option<Duration> {
        let mut state = self.lock();
        let now = Instant::now();
        let before = if refusal.is_of_host { state.host.take() } else { state.kinds.remove(turn) };
        let (began, strikes, tried) = match &before {
            None => (now, 1, now),
            Some(row) if begun > row.hold.until + FORGOTTEN => (now, 1, now),
            // Of a burst, the first one says it all.
            Some(row) if begun < row.hold.until => (row.began, row.strikes, row.tried),
            Some(row) => (row.began, row.strikes + 1, row.hold.until),
        };
        // Some ask for no time at all: that is no reason to ask again at once.
        let asked = refusal.pause.filter(|pause| !pause.is_zero());
        let pause = asked.unwrap_or_else(|| back_off(strikes)).min(LONGEST_HOLD);
        let is_hopeless = strikes >= STRIKES || now + pause > began + LONGEST_ROW;
        let until = if is_hopeless && !refusal.is_explicit { now } else { now + pause };
        let before = before.map_or(now, |row| row.hold.until);
        let hold = Hold { until: before.max(until), is_hopeless, why: refusal.in_words().into() };
        let is_new = before <= now && until > now;
        let is_of_load = refusal.is_explicit && !refusal.is_of_quota;
        let row = Row { began, strikes, tried, is_of_load, hold };
        if refusal.is_of_host {
            state.host = Some(row);
        } else {
            state.kinds.insert(turn.clone(), row);
        }
        is_new.then_some(pause)
    }

    /// Whether a request that was just refused is not worth repeating, although there is no hold.
    pub fn is_hopeless(&self, turn: &Turn) -> bool {
        let (state, now) = (self.lock(), Instant::now());
        state.kinds.get(turn).is_some_and(|Row { hold, .. }| hold.is_hopeless && hold.until <= now)
    }

    /// A request was served, and said that it was the last for some time. Answers whether that was not known.
    pub fn spent(&self, turn: &Turn, pause: Duration) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        let hold = Hold { until: now + pause, is_hopeless: false, why: "the rate is used up".into() };
        let before = state.kinds.get(turn).map_or(now, |row| row.hold.until);
        if before < hold.until {
            let row = Row { began: now, strikes: 0, tried: now, is_of_load: false, hold };
            state.kinds.insert(turn.clone(), row);
        }
        before <= now
    }

    /// A request that was sent at `begun` was served: the row of refusals before it has ended. Answers whether more may be
    /// asked at once, as far as is known: not while anything is held because that was too much.
    pub fn went_well(&self, turn: &Turn, begun: Instant) -> bool {
        let mut state = self.lock();
        let State { kinds, host } = &mut *state;
        if kinds.get_mut(turn).is_some_and(|row| row.went_well(begun)) {
            kinds.remove(turn);
        }
        host.take_if(|row| row.went_well(begun));
        let now = Instant::now();
        !kinds.values().chain(&*host).any(|row| row.is_of_load && row.hold.until > now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl Row {
    /// A request that was sent at `begun` was served. Answers whether the row has ended. If only some of a burst were too
    /// much, it begins with them; but what is unwell is so whatever is served elsewhere.
    fn went_well(&mut self, begun: Instant) -> bool {
        if self.is_of_load && begun < self.hold.until && begun >= self.tried {
            let now = Instant::now();
            (self.began, self.strikes) = (now, self.strikes.min(1));
            self.hold.is_hopeless = self.hold.until > now + LONGEST_ROW;
        }
        begun >= self.hold.until
    }
}

/// Doubles with each strike. Not jittered: requests are spread by their permits, which are fewer now.
pub(super) fn back_off(strikes: u32) -> Duration {
    (FIRST_PAUSE * (1 << strikes.clamp(1, 10).saturating_sub(1))).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::*;
    use crate::registry::exchange::Kind;

    const READS: Turn = (Kind::ManifestRead, Method::GET);
    const HEADS: Turn = (Kind::ManifestRead, Method::HEAD);

    fn refusal(pause: Option<u64>) -> Refusal {
        Refusal {
            status: StatusCode::TOO_MANY_REQUESTS,
            message: "slow down".to_owned(),
            pause: pause.map(Duration::from_secs),
            is_of_quota: false,
            is_explicit: true,
            is_of_host: false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_of_request_is_held_for_as_long_as_was_asked_and_no_other() {
        let holds = Holds::default();
        assert_eq!(holds.refused(&READS, Instant::now(), &refusal(Some(7))), Some(Duration::from_secs(7)));
        assert_eq!(holds.refused(&READS, Instant::now(), &refusal(Some(3))), None, "it is told once");
        assert_eq!(holds.current(&READS).unwrap().until - Instant::now(), Duration::from_secs(7));
        assert!(holds.current(&HEADS).is_none());
        tokio::time::advance(Duration::from_secs(7)).await;
        assert!(holds.current(&READS).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_abuse_limit_holds_the_host() {
        let holds = Holds::default();
        holds.refused(&READS, Instant::now(), &Refusal { is_of_host: true, ..refusal(Some(2)) });
        assert!(holds.current(&READS).is_some() && holds.current(&HEADS).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_of_refusals_is_hopeless_and_one_success_ends_it() {
        let holds = Holds::default();
        let mut pauses = Vec::new();
        for strike in 1..=STRIKES {
            // The whole burst is refused.
            let begun = Instant::now();
            pauses.extend((0..9).filter_map(|_| holds.refused(&READS, begun, &refusal(None))));
            assert_eq!(holds.current(&READS).unwrap().is_hopeless, strike == STRIKES);
            assert!(!holds.is_hopeless(&READS), "the hold says it");
            if strike == STRIKES {
                holds.went_well(&READS, begun);
                assert!(!holds.current(&READS).unwrap().is_hopeless, "some of the last burst were served");
            }
            tokio::time::sleep_until(holds.current(&READS).unwrap().until).await;
        }
        assert_eq!(pauses, [300, 600, 1200, 2400, 4800].map(Duration::from_millis));
        holds.went_well(&READS, Instant::now());
        holds.refused(&READS, Instant::now(), &refusal(None));
        assert!(!holds.current(&READS).unwrap().is_hopeless);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_unwell_keeps_nobody_from_asking_for_long() {
        let holds = Holds::default();
        for strike in 1..2 * STRIKES {
            holds.refused(&READS, Instant::now(), &Refusal { is_explicit: false, ..refusal(None) });
            assert_eq!(holds.is_hopeless(&READS), strike >= STRIKES);
            let hold = holds.current(&READS);
            assert_eq!(hold.is_some(), strike < STRIKES);
            tokio::time::sleep_until(hold.map_or_else(Instant::now, |hold| hold.until)).await;
        }
        holds.went_well(&READS, Instant::now());
        assert!(!holds.is_hopeless(&READS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_that_would_last_too_long_is_hopeless_whatever_the_number_of_its_refusals() {
        let holds = Holds::default();
        let asked = LONGEST_ROW.as_secs() / 2;
        for is_hopeless in [false, false, true] {
            holds.refused(&READS, Instant::now(), &refusal(Some(asked)));
            let hold = holds.current(&READS).unwrap();
            assert_eq!(hold.is_hopeless, is_hopeless);
            tokio::time::sleep_until(hold.until).await;
        }
        holds.refused(&HEADS, Instant::now(), &refusal(Some(LONGEST_ROW.as_secs() + 1)));
        assert!(holds.current(&HEADS).unwrap().is_hopeless);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_before_a_refusal_and_goes_well_ends_no_hold() {
        for is_of_host in [false, true] {
            let (holds, begun) = (Holds::default(), Instant::now());
            let again = || holds.refused(&READS, Instant::now(), &Refusal { is_of_host, ..refusal(None) });
            let first = again();
            holds.went_well(&READS, begun);
            let hold = holds.current(&READS).expect("it lasts");
            tokio::time::sleep_until(hold.until).await;
            assert!(again() > first, "it is the next of a row");
            tokio::time::sleep_until(holds.current(&READS).unwrap().until).await;
            holds.went_well(&READS, Instant::now());
            assert_eq!(again(), first, "the row has ended");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bursts_of_which_some_are_served_are_no_row_whoever_is_heard_first() {
        let holds = Holds::default();
        for _ in 0..2 * STRIKES {
            let begun = Instant::now();
            holds.refused(&READS, begun, &refusal(None));
            holds.went_well(&READS, begun);
            holds.refused(&READS, begun, &refusal(None));
            let hold = holds.current(&READS).expect("it lasts");
            assert!(!hold.is_hopeless && hold.until <= begun + 2 * FIRST_PAUSE);
            tokio::time::sleep_until(hold.until).await;
        }
        // But what is asked to be left alone for too long is so, whatever was served beside it.
        let begun = Instant::now();
        holds.refused(&READS, begun, &refusal(Some(LONGEST_ROW.as_secs() + 1)));
        holds.went_well(&READS, begun);
        assert!(holds.current(&READS).unwrap().is_hopeless);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_long_after_the_last_one_begins_a_row_of_its_own() {
        let holds = Holds::default();
        for _ in 0..2 * STRIKES {
            holds.refused(&READS, Instant::now(), &refusal(None));
            let hold = holds.current(&READS).unwrap();
            assert!(!hold.is_hopeless);
            // Nothing of the kind is asked meanwhile: nobody needs it.
            tokio::time::sleep_until(hold.until + 2 * FORGOTTEN).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_time_at_all_is_some_time() {
        let holds = Holds::default();
        holds.refused(&READS, Instant::now(), &refusal(Some(0)));
        assert_eq!(holds.current(&READS).unwrap().until - Instant::now(), FIRST_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_spent_is_waited_for_and_told_once() {
        let holds = Holds::default();
        assert!(holds.spent(&READS, Duration::from_secs(5)));
        assert!(!holds.spent(&READS, Duration::from_secs(6)));
        assert_eq!(holds.current(&READS).unwrap().until - Instant::now(), Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_for_is_bounded() {
        let holds = Holds::default();
        holds.refused(&READS, Instant::now(), &refusal(Some(u64::MAX / 2)));
        assert_eq!(holds.current(&READS).unwrap().until - Instant::now(), LONGEST_HOLD);
    }
}
