//! The numbers behind progress: what is done, what is known of the rest, how fast it goes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytesize::ByteSize;

use super::Activity;
use crate::event::{Event, Flight, Phase, Verdict};

/// The span over which the rate is measured.
const WINDOW: Duration = Duration::from_secs(10);

pub(super) struct Tally {
    activity: Activity,
    phase: Phase,
    listed: usize,
    images: u64,
    /// Images that were begun at least once in this round, or had ended before it.
    started: u64,
    done: u64,
    failed: u64,
    /// Images that were compared and are not as they should be.
    unequal: u64,
    blobs: Share,
    bytes: Share,
    /// Bytes sent by flights that are over.
    sent: u64,
    flights: BTreeMap<u64, (Instant, Flight)>,
    /// How much was done at each of these moments, which span the window.
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
    /// Of the bytes that are known to be needed; of the images where none are moved.
    pub whole: Share,
    /// The flights, the oldest first.
    pub flights: Vec<(u64, Flight, Duration)>,
}

impl Tally {
    pub fn new(now: Instant, activity: Activity) -> Self {
        Self {
            activity,
            phase: Phase::Generate,
            listed: 0,
            images: 0,
            started: 0,
            done: 0,
            failed: 0,
            unequal: 0,
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
            Event::ImageDone { .. } | Event::ImagePlanned { .. } => self.done += 1,
            Event::ImageVerified { verdict, .. } => {
                self.done += 1;
                self.unequal += u64::from(!matches!(verdict, Verdict::Equal | Verdict::Skipped));
            }
            Event::ImageFailed { again: false, .. } => self.failed += 1,
            Event::BlobWanted { bytes } => {
                self.blobs.known += 1;
                self.bytes.known = self.bytes.known.saturating_add(*bytes);
            }
            Event::BlobMoved { bytes, .. }
            | Event::BlobMounted { bytes, .. }
            | Event::BlobPresent { bytes, .. }
            | Event::BlobVerified { bytes, .. } => {
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

    /// Notes how much has gone until `now`.
    pub fn sample(&mut self, now: Instant) {
        let gone = if self.moves_bytes() { self.sent.saturating_add(self.in_flight()) } else { self.ended() };
        self.samples.push_back((now, gone));
        while self.samples.len() > 2 && now.duration_since(self.samples[1].0) >= WINDOW {
            self.samples.pop_front();
        }
    }

    /// Whether progress is measured in bytes; else in images, as where all of them are there already.
    fn moves_bytes(&self) -> bool {
        self.bytes.known > 0 && self.activity != Activity::Verification { of_content: false }
    }

    fn ended(&self) -> u64 {
        self.done + self.failed
    }

    fn in_flight(&self) -> u64 {
        self.flights.values().map(|(_, flight)| flight.passed.load(Relaxed)).sum()
    }

    /// Bytes a second, or images.
    fn rate(&self) -> f64 {
        let (Some((from, before)), Some((to, after))) = (self.samples.front(), self.samples.back()) else { return 0.0 };
        let seconds = to.duration_since(*from).as_secs_f64();
        if seconds > 0.0 { after.saturating_sub(*before) as f64 / seconds } else { 0.0 }
    }

    /// How long the rest will take if it is like what has been seen of it. Where all known bytes are there, nobody knows.
    fn left(&self, rate: f64) -> Option<Duration> {
        let rest = if !self.moves_bytes() {
            self.images as f64 - self.ended() as f64
        } else if self.started > 0 && rate >= 1.0 {
            self.bytes.known as f64 * (self.images as f64 / self.started as f64).max(1.0) - self.there() as f64
        } else {
            return None;
        };
        let seconds = rest / rate;
        (rest > 0.0 && seconds < 1e7).then(|| Duration::from_secs(seconds as u64))
    }

    /// Bytes that are where they are needed, and those on their way. What a second try sends again counts once.
    fn there(&self) -> u64 {
        let in_flight = self.flights.values().map(|(_, flight)| flight.passed.load(Relaxed).min(flight.bytes));
        in_flight.fold(self.bytes.there, u64::saturating_add).min(self.bytes.known)
    }

    /// `12/38 images, 310.4 MiB of 1.2 GiB, 52.1 MiB/s, 18s left, 40/120 blobs`,
    /// `verified 12/38 images, 1 not equal, 3/s, 8s left, 40/120 blobs`: what matters most first, since narrow terminals cut
    /// the end.
    pub fn to_line(&self) -> String {
        if let Phase::Generate | Phase::RetryGenerate = self.phase {
            return format!("listing tags: {} so far", self.listed);
        }
        let size = |bytes| ByteSize(bytes).display().iec();
        let is_verified = matches!(self.activity, Activity::Verification { .. });
        let noun = if self.images == 1 { "image" } else { "images" };
        if self.started == 0 {
            return format!("{} {noun}{}", self.images, if is_verified { " to verify" } else { "" });
        }
        let mut line = format!("{}{}/{} {noun}", if is_verified { "verified " } else { "" }, self.ended(), self.images);
        let mut add = |text: String| {
            line.push_str(", ");
            line.push_str(&text);
        };
        for (number, what) in [(self.unequal, "not equal"), (self.failed, "failed")] {
            if number > 0 {
                add(format!("{number} {what}"));
            }
        }
        if self.moves_bytes() {
            let read = if is_verified { " read" } else { "" };
            add(format!("{} of {}{read}", size(self.there()), size(self.bytes.known)));
        }
        let rate = self.rate();
        if rate >= 1.0 {
            add(if self.moves_bytes() { format!("{}/s", size(rate as u64)) } else { format!("{rate:.0}/s") });
        }
        if let Some(left) = self.left(rate) {
            add(format!("{} left", humantime::format_duration(left)));
        }
        if self.blobs.known > 0 {
            add(format!("{}/{} blobs", self.blobs.there, self.blobs.known));
        }
        line
    }

    pub fn view(&self) -> View {
        let flights = self.flights.values().map(|(since, flight)| (flight.number, flight.clone(), since.elapsed()));
        View {
            overall: self.to_line(),
            whole: if self.moves_bytes() {
                Share { there: self.there(), known: self.bytes.known }
            } else {
                Share { there: self.ended(), known: self.images }
            },
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
    use crate::event::{Facts, Failure, Prospect, Success};
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
        let (source, destination, digest) = (repository(), Some(repository()), Digest::of(b""));
        Event::FlightStarted(Flight { number, source, destination, digest, bytes, passed })
    }

    fn moved(bytes: u64) -> Event {
        let (repository, digest) = (repository(), Digest::of(b""));
        Event::BlobMoved { image: image(), repository, digest, bytes, elapsed: Duration::ZERO }
    }

    fn verified(verdict: Verdict) -> Event {
        Event::ImageVerified { source: image(), destination: image(), verdict, facts: Facts::default() }
    }

    fn tally(events: impl IntoIterator<Item = Event>) -> (Tally, Instant) {
        tally_of(Activity::Migration, events)
    }

    fn tally_of(activity: Activity, events: impl IntoIterator<Item = Event>) -> (Tally, Instant) {
        let begin = Instant::now();
        let mut tally = Tally::new(begin, activity);
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

        for event in [started(), started(), moved(10 * MIB), Event::FlightEnded(1), done(), done()] {
            tally.add(&event);
        }
        assert_eq!(tally.to_line(), "3/4 images, 20.0 MiB of 20.0 MiB, 3.0 MiB/s, 2/2 blobs", "it waits for the last");
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
        assert_eq!(tally.view().whole.there, 2 * MIB);
        assert_eq!(tally.to_line(), "0/1 image, 2.0 MiB of 2.0 MiB, 0/1 blobs");
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
    fn a_verification_goes_as_fast_as_its_images_unless_it_reads_them() {
        let begun = || [Event::TasksGenerated(40), Event::Phase(Phase::Handle)];
        let of_tags = Activity::Verification { of_content: false };
        assert_eq!(tally_of(of_tags, begun()).0.to_line(), "40 images to verify");
        let compared = || (0..8).map(|_| verified(Verdict::Equal)).chain([verified(Verdict::Missing), failed(false)]);
        let (mut tags, begin) = tally_of(of_tags, begun().into_iter().chain([started()]).chain(compared()));
        tags.sample(begin + Duration::from_secs(5));
        assert_eq!(tags.to_line(), "verified 10/40 images, 1 not equal, 1 failed, 2/s, 15s left");
        assert_eq!((tags.view().whole.there, tags.view().whole.known), (10, 40));

        let seen = |digest| Event::BlobVerified { repository: repository(), digest, bytes: 10 * MIB };
        let blobs =
            [Event::BlobWanted { bytes: 10 * MIB }, Event::BlobWanted { bytes: 10 * MIB }, seen(Digest::of(b""))];
        let of_trees = begun().into_iter().chain([started()]).chain(blobs.clone());
        assert_eq!(tally_of(of_tags, of_trees).0.to_line(), "verified 0/40 images, 1/2 blobs");

        let reading = [flight(0, 10 * MIB, 10 * MIB), Event::FlightEnded(0), flight(1, 10 * MIB, 5 * MIB)];
        let of_content = begun().into_iter().chain((0..20).map(|_| started())).chain(blobs).chain(reading);
        let (mut content, begin) = tally_of(Activity::Verification { of_content: true }, of_content);
        content.sample(begin + Duration::from_secs(5));
        assert_eq!(content.to_line(), "verified 0/40 images, 15.0 MiB of 20.0 MiB read, 3.0 MiB/s, 8s left, 1/2 blobs");
    }

    #[test]
    fn where_nothing_is_sent_a_run_goes_as_fast_as_its_images() {
        let (source, destination, facts) = (image(), image(), Facts::default());
        let planned = Event::ImagePlanned { source, destination, prospect: Prospect::Copy, referrers: 0, facts };
        for (activity, settled) in [(Activity::DryRun, planned), (Activity::Migration, done())] {
            let events = [Event::TasksGenerated(22), Event::Phase(Phase::Handle), started(), failed(false)];
            let (mut tally, begin) = tally_of(activity, events.into_iter().chain(vec![settled; 11]));
            tally.sample(begin + Duration::from_secs(4));
            assert_eq!(tally.to_line(), "12/22 images, 1 failed, 3/s, 3s left");
        }
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
