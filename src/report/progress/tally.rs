//! The numbers behind progress: what is done, what is known of the rest, how fast it goes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytesize::ByteSize;

use crate::event::{Event, Flight, Phase};

/// The rate is that of the last so many seconds.
const WINDOW: Duration = Duration::from_secs(10);

pub(super) struct Tally {
    phase: Phase,
    listed: usize,
    images: u64,
    /// Images that were begun at least once in this round, or had ended before it.
    started: u64,
    done: u64,
    failed: u64,
    blobs: Share,
    bytes: Share,
    /// Bytes sent by flights that are over.
    sent: u64,
    flights: BTreeMap<u64, (Instant, Flight)>,
    /// Sums of bytes sent, at moments within the window.
    samples: VecDeque<(Instant, u64)>,
}

/// How much of what is known to be needed is there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Share {
    pub there: u64,
    pub known: u64,
}

/// What is shown at one moment.
pub(super) struct View {
    pub overall: String,
    /// Of the bytes that are known of.
    pub bytes: Share,
    /// The flights, the oldest first.
    pub flights: Vec<(u64, Flight, Duration)>,
}

impl Tally {
    pub fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Generate,
            listed: 0,
            images: 0,
            started: 0,
            done: 0,
            failed: 0,
            blobs: Share::default(),
            bytes: Share::default(),
            sent: 0,
            flights: BTreeMap::new(),
            samples: VecDeque::from([(now, 0)]),
        }
    }

    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Phase(phase) => {
                self.phase = *phase;
                // What failed is begun again, and asks again for what it needs.
                self.started = self.done + self.failed;
                self.blobs.known = self.blobs.there;
                self.bytes.known = self.bytes.there;
            }
            Event::TagsListed { tags, .. } => self.listed += tags,
            Event::TasksGenerated(tasks) => self.images += *tasks as u64,
            Event::ImageStarted { .. } => self.started += 1,
            Event::ImageDone { .. } | Event::ImagePlanned { .. } => {
                self.started = self.started.max(self.done + 1);
                self.done += 1;
            }
            Event::ImageFailed { again: false, .. } => self.failed += 1,
            Event::BlobWanted { bytes } => {
                self.blobs.known += 1;
                self.bytes.known = self.bytes.known.saturating_add(*bytes);
            }
            Event::BlobMoved { bytes, .. } | Event::BlobMounted { bytes, .. } | Event::BlobPresent { bytes, .. } => {
                self.blobs.there += 1;
                self.bytes.there = self.bytes.there.saturating_add(*bytes);
            }
            Event::FlightStarted(flight) => {
                self.flights.insert(flight.number, (Instant::now(), flight.clone()));
            }
            Event::FlightEnded(number) => {
                if let Some((_, flight)) = self.flights.remove(number) {
                    self.sent = self.sent.saturating_add(flight.passed.load(Relaxed));
                }
            }
            _ => {}
        }
    }

    /// Notes how much has been sent until `now`.
    pub fn sample(&mut self, now: Instant) {
        self.samples.push_back((now, self.sent.saturating_add(self.in_flight())));
        while self.samples.len() > 2 && now.duration_since(self.samples[1].0) >= WINDOW {
            self.samples.pop_front();
        }
    }

    fn in_flight(&self) -> u64 {
        self.flights.values().map(|(_, flight)| flight.passed.load(Relaxed)).sum()
    }

    /// Bytes a second.
    fn rate(&self) -> f64 {
        let (Some((from, before)), Some((to, after))) = (self.samples.front(), self.samples.back()) else { return 0.0 };
        let seconds = to.duration_since(*from).as_secs_f64();
        if seconds > 0.0 { after.saturating_sub(*before) as f64 / seconds } else { 0.0 }
    }

    /// How long the rest will take if it is like what has been seen of it.
    fn left(&self, rate: f64) -> Option<Duration> {
        if self.started == 0 || rate < 1.0 {
            return None;
        }
        let expected = self.bytes.known as f64 * (self.images as f64 / self.started as f64).max(1.0);
        let seconds = (expected - self.there() as f64) / rate;
        (0.0..1e7).contains(&seconds).then(|| Duration::from_secs(seconds as u64))
    }

    /// Bytes that are where they are needed, with those on their way; a second try counts what it sends once.
    fn there(&self) -> u64 {
        let in_flight = self.flights.values().map(|(_, flight)| flight.passed.load(Relaxed).min(flight.bytes));
        in_flight.fold(self.bytes.there, u64::saturating_add).min(self.bytes.known)
    }

    /// `12/38 images, 310.4 MiB of 1.2 GiB, 52.1 MiB/s, 18s left, 40/120 blobs`: what matters most first, since narrow
    /// terminals cut the end.
    pub fn to_line(&self) -> String {
        if let Phase::Generate | Phase::RetryGenerate = self.phase {
            return format!("listing tags: {} so far", self.listed);
        }
        let size = |bytes| ByteSize(bytes).display().iec();
        if self.started == 0 {
            return format!("{} images", self.images);
        }
        let mut line = format!("{}/{} images", self.done + self.failed, self.images);
        if self.failed > 0 {
            line.push_str(&format!(", {} failed", self.failed));
        }
        line.push_str(&format!(", {} of {}", size(self.there()), size(self.bytes.known)));
        let rate = self.rate();
        if rate >= 1.0 {
            line.push_str(&format!(", {}/s", size(rate as u64)));
        }
        if let Some(left) = self.left(rate) {
            line.push_str(&format!(", {} left", humantime::format_duration(left)));
        }
        line + &format!(", {}/{} blobs", self.blobs.there, self.blobs.known)
    }

    pub fn view(&self) -> View {
        let flights = self.flights.values().map(|(since, flight)| (flight.number, flight.clone(), since.elapsed()));
        View {
            overall: self.to_line(),
            bytes: Share { there: self.there(), known: self.bytes.known },
            flights: flights.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::digest::Digest;
    use crate::event::{Facts, Failure, Success};
    use crate::reference::{Reference, Repository};

    const MIB: u64 = 1 << 20;

    fn image() -> Reference {
        repository().tagged("1".parse().unwrap())
    }

    fn repository() -> Repository {
        "r.example.com/a".parse().unwrap()
    }

    fn started() -> Event {
        Event::ImageStarted { source: image(), destination: image() }
    }

    fn done() -> Event {
        let (source, destination) = (image(), image());
        Event::ImageDone { source, destination, success: Success::Copied, facts: Facts::default() }
    }

    fn failed(again: bool) -> Event {
        let (source, destination, failure) = (image(), image(), Failure::cancelled());
        Event::ImageFailed { source, destination, failure, again, facts: Facts::default() }
    }

    fn flight(number: u64, bytes: u64, passed: u64) -> Event {
        let passed = Arc::new(AtomicU64::new(passed));
        let (source, destination, digest) = (repository(), repository(), Digest::of(b""));
        Event::FlightStarted(Flight { number, source, destination, digest, bytes, passed })
    }

    fn moved(bytes: u64) -> Event {
        let (repository, digest) = (repository(), Digest::of(b""));
        Event::BlobMoved { repository, digest, bytes, elapsed: Duration::ZERO }
    }

    fn tally(events: impl IntoIterator<Item = Event>) -> (Tally, Instant) {
        let begin = Instant::now();
        let mut tally = Tally::new(begin);
        events.into_iter().for_each(|event| tally.add(&event));
        (tally, begin)
    }

    #[test]
    fn the_rest_is_expected_to_be_like_what_has_been_seen() {
        let wanted = || Event::BlobWanted { bytes: 10 * MIB };
        let (mut tally, begin) = tally([
            Event::TasksGenerated(4),
            Event::Phase(Phase::Handle),
            started(),
            started(),
            wanted(),
            wanted(),
            flight(0, 10 * MIB, 10 * MIB),
            moved(10 * MIB),
            Event::FlightEnded(0),
            done(),
            flight(1, 10 * MIB, 5 * MIB),
        ]);
        tally.sample(begin + Duration::from_secs(5));
        // 15 of 40 MiB in 5 seconds.
        assert_eq!(tally.to_line(), "1/4 images, 15.0 MiB of 20.0 MiB, 3.0 MiB/s, 8s left, 1/2 blobs");
    }

    #[test]
    fn what_is_sent_again_is_there_only_once() {
        let (tally, _) = tally([
            Event::TasksGenerated(1),
            Event::Phase(Phase::Handle),
            started(),
            Event::BlobWanted { bytes: 2 * MIB },
            flight(0, 2 * MIB, 7 * MIB),
        ]);
        assert_eq!(tally.view().bytes.there, 2 * MIB);
        assert_eq!(tally.to_line(), "0/1 images, 2.0 MiB of 2.0 MiB, 0/1 blobs");
    }

    #[test]
    fn a_retry_round_asks_again_for_what_is_missing() {
        let (tally, _) = tally([
            Event::TasksGenerated(2),
            Event::Phase(Phase::Handle),
            started(),
            Event::BlobWanted { bytes: MIB },
            Event::BlobWanted { bytes: MIB },
            moved(MIB),
            failed(true),
            Event::Phase(Phase::RetryHandle),
            started(),
            Event::BlobWanted { bytes: MIB },
            failed(false),
        ]);
        assert_eq!(tally.to_line(), "1/2 images, 1 failed, 1.0 MiB of 2.0 MiB, 1/2 blobs");
    }

    #[test]
    fn the_rate_forgets_what_was_long_ago() {
        let (mut tally, begin) = tally([Event::TasksGenerated(1), Event::Phase(Phase::Handle)]);
        tally.add(&flight(0, 100 * MIB, 60 * MIB));
        for second in 1..=60 {
            tally.sample(begin + Duration::from_secs(second));
        }
        assert!(tally.rate() < 1.0, "{}", tally.rate());
    }
}
