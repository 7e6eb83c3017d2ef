//! When bytes went, and what each worker did: bounded, however long a run is.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most buckets into which a run is divided; their width doubles when there would be more.
const BUCKETS: usize = 512;
/// The width of a bucket at first. It stays a power of two, so that widths of several runs fit each other.
const WIDTH: f64 = 0.125;
/// The most flights that are named: those that took longest.
const FLIGHTS: usize = 1_000;
/// Above this many workers, a merged report shows one line per run.
const WORKERS: usize = 128;
/// No run lasts longer: a hundred years.
const LONGEST: f64 = 3.2e9;

/// What went over the wire, and when. Times are seconds since the start of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// The width of a bucket in seconds.
    pub width: f64,
    /// The bytes of the blobs that arrived, in each bucket: those of one blob spread evenly over the time it took.
    pub bytes: Series,
    pub workers: Vec<Worker>,
    /// The blobs that took longest, by their start.
    pub flights: Vec<Flight>,
}

/// One of the places for large blobs on their way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// Its number, after that of the shard if runs were merged.
    pub name: String,
    /// Milliseconds in which it moved something, in each bucket.
    pub busy: Series,
}

/// A blob on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flight {
    /// Place in `workers`.
    pub worker: usize,
    pub start: f64,
    pub seconds: f64,
    pub bytes: u64,
    /// Repositories.
    pub source: String,
    pub destination: String,
    pub digest: String,
}

/// An amount for each bucket; those at the end that have none are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Series(Vec<u64>);

impl Default for Traffic {
    fn default() -> Self {
        Self { width: WIDTH, bytes: Series::default(), workers: Vec::new(), flights: Vec::new() }
    }
}

impl Traffic {
    /// A blob arrived.
    pub(super) fn moved(&mut self, start: Duration, end: Duration, bytes: u64) {
        self.reach(end.as_secs_f64());
        self.bytes.add(self.width, start.as_secs_f64(), end.as_secs_f64(), bytes);
    }

    /// A worker is done with a blob.
    pub(super) fn flown(&mut self, flight: Flight) {
        let end = flight.start + flight.seconds;
        self.reach(end);
        if self.workers.len() <= flight.worker {
            let name = |number: usize| Worker { name: (number + 1).to_string(), ..Worker::default() };
            self.workers.extend((self.workers.len()..=flight.worker).map(name));
        }
        let worker = &mut self.workers[flight.worker];
        worker.busy.add(self.width, flight.start, end, (flight.seconds * 1000.0) as u64);
        self.flights.push(flight);
        if self.flights.len() >= 2 * FLIGHTS {
            self.trim();
        }
    }

    /// Ready to be written.
    pub(super) fn finish(&mut self) {
        self.trim();
        self.flights.sort_by(|a, b| a.start.total_cmp(&b.start).then(a.worker.cmp(&b.worker)));
    }

    /// Adds what happened in another run, which began `later` seconds after this one and is called `name`.
    pub(super) fn add(&mut self, mut other: Self, later: f64, name: &str) {
        let later = later.clamp(0.0, LONGEST);
        other.reach(0.0);
        let width = other.width;
        let length = other.workers.iter().map(|worker| worker.busy.0.len()).max().unwrap_or_default();
        self.reach(later + width * length.max(other.bytes.0.len()) as f64);
        self.bytes.add_all(self.width, &other.bytes, width, later);
        let first = self.workers.len();
        for worker in other.workers {
            let mut busy = Series::default();
            busy.add_all(self.width, &worker.busy, width, later);
            let name = if name.is_empty() { worker.name } else { format!("{name} · {}", worker.name) };
            self.workers.push(Worker { name, busy });
        }
        let workers = self.workers.len();
        let known =
            other.flights.into_iter().map(|flight| Flight { worker: flight.worker.saturating_add(first), ..flight });
        self.flights.extend(known.filter(|flight| flight.worker < workers).map(|flight| Flight {
            start: (flight.start + later).clamp(0.0, LONGEST),
            seconds: flight.seconds.clamp(0.0, LONGEST),
            ..flight
        }));
        self.trim();
    }

    /// Joins the workers of each run into one, if there are too many workers and fewer runs.
    pub(super) fn condense(&mut self) {
        let run = |worker: &Worker| worker.name.split(" · ").next().unwrap_or_default().to_owned();
        let runs = self.workers.iter().map(run).collect::<HashSet<_>>().len();
        if self.workers.len() <= WORKERS || self.workers.len() == runs {
            return;
        }
        let mut condensed: Vec<(Worker, u64)> = Vec::with_capacity(runs);
        let mut places = HashMap::with_capacity(runs);
        for worker in std::mem::take(&mut self.workers) {
            match places.entry(run(&worker)) {
                Entry::Occupied(place) => {
                    let (known, count): &mut (Worker, u64) = &mut condensed[*place.get()];
                    known.busy.add_all(self.width, &worker.busy, self.width, 0.0);
                    *count += 1;
                }
                Entry::Vacant(place) => {
                    condensed.push((Worker { name: place.key().clone(), busy: worker.busy }, 1));
                    place.insert(condensed.len() - 1);
                }
            }
        }
        for (worker, count) in &mut condensed {
            worker.busy.0.iter_mut().for_each(|busy| *busy /= *count);
        }
        self.workers = condensed.into_iter().map(|(worker, _)| worker).collect();
        self.flights.clear();
    }

    /// Makes the buckets so wide that they last until `end`.
    fn reach(&mut self, end: f64) {
        if !(self.width >= WIDTH && self.width <= LONGEST) {
            self.width = WIDTH;
        }
        let end = end.clamp(0.0, LONGEST);
        while end > self.width * BUCKETS as f64 {
            self.width *= 2.0;
            self.bytes.fold();
            self.workers.iter_mut().for_each(|worker| worker.busy.fold());
        }
    }

    fn trim(&mut self) {
        if self.flights.len() > FLIGHTS {
            self.flights.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
            self.flights.truncate(FLIGHTS);
        }
    }
}

impl Series {
    /// Spreads an amount evenly over a time; nothing of it is lost to rounding.
    fn add(&mut self, width: f64, start: f64, end: f64, amount: u64) {
        if amount == 0 {
            return;
        }
        let bucket = |time: f64| ((time.max(0.0) / width) as usize).min(BUCKETS - 1);
        let (first, last) = (bucket(start), bucket(end));
        if self.0.len() <= last {
            self.0.resize(last + 1, 0);
        }
        let mut before = 0;
        for index in first..=last {
            let passed = (((index + 1) as f64 * width - start) / (end - start)).clamp(0.0, 1.0);
            let until = if index == last { amount } else { ((amount as f64 * passed) as u64).clamp(before, amount) };
            self.0[index] = self.0[index].saturating_add(until - before);
            before = until;
        }
    }

    /// Adds another series, with buckets of another width, that begins `later`.
    fn add_all(&mut self, width: f64, other: &Self, its_width: f64, later: f64) {
        for (index, &amount) in other.0.iter().enumerate() {
            let start = later + index as f64 * its_width;
            self.add(width, start, start + its_width, amount);
        }
    }

    /// Makes one bucket of each two.
    fn fold(&mut self) {
        self.0 = self.0.chunks(2).map(|pair| pair.iter().fold(0, |sum: u64, &part| sum.saturating_add(part))).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(start: f64, end: f64, amount: u64) -> Vec<u64> {
        let mut series = Series::default();
        series.add(1.0, start, end, amount);
        series.0
    }

    fn flight(worker: usize, start: f64, seconds: f64) -> Flight {
        let text = String::new();
        Flight { worker, start, seconds, bytes: 1, source: text.clone(), destination: text.clone(), digest: text }
    }

    #[test]
    fn an_amount_is_spread_evenly_and_whole() {
        assert_eq!(series(0.5, 2.5, 100), [25, 50, 25]);
        assert_eq!(series(1.2, 1.2, 7), [0, 7]);
        assert_eq!(series(0.0, 3.0, 100).iter().sum::<u64>(), 100);
        assert_eq!(series(2.0, 1.0, 9).iter().sum::<u64>(), 0, "time does not run backwards");
    }

    #[test]
    fn a_long_run_has_wide_buckets_and_every_byte() {
        let mut traffic = Traffic::default();
        for second in 0..36_000 {
            traffic.moved(Duration::from_secs(second), Duration::from_secs(second + 10), 1_000);
        }
        assert!(traffic.bytes.0.len() <= BUCKETS && traffic.bytes.0.len() > BUCKETS / 4);
        assert_eq!(traffic.bytes.0.iter().sum::<u64>(), 36_000_000);
        assert_eq!(traffic.width.log2().fract(), 0.0);
    }

    #[test]
    fn the_longest_flights_are_named() {
        let mut traffic = Traffic::default();
        for number in 0..5_000 {
            traffic.flown(flight(number % 7, number as f64, if number % 1_000 == 0 { 5.0 } else { 0.5 }));
        }
        traffic.finish();
        assert_eq!(traffic.flights.len(), FLIGHTS);
        assert_eq!(traffic.flights.iter().filter(|flight| flight.seconds == 5.0).count(), 5);
        assert_eq!(traffic.workers.len(), 7);
        assert!(traffic.flights.is_sorted_by(|a, b| a.start <= b.start));
    }

    #[test]
    fn runs_are_laid_side_by_side_in_time() {
        let (mut whole, mut one, mut two) = (Traffic::default(), Traffic::default(), Traffic::default());
        one.moved(Duration::ZERO, Duration::from_secs(1), 800);
        one.flown(flight(0, 0.0, 1.0));
        two.moved(Duration::ZERO, Duration::from_secs(1000), 4_096);
        two.flown(flight(1, 0.0, 1000.0));
        whole.add(one, 2.0, "0/2");
        whole.add(two, 0.0, "1/2");
        whole.finish();
        assert_eq!(whole.width, 2.0);
        assert_eq!(whole.bytes.0.iter().sum::<u64>(), 4_896);
        assert_eq!(whole.bytes.0[1], 808);
        let names: Vec<&str> = whole.workers.iter().map(|worker| worker.name.as_str()).collect();
        assert_eq!(names, ["0/2 · 1", "1/2 · 1", "1/2 · 2"]);
        assert_eq!(whole.flights, [flight(2, 0.0, 1000.0), flight(0, 2.0, 1.0)]);
    }

    #[test]
    fn many_workers_are_shown_by_run() {
        for shards in [40, 150] {
            let mut whole = Traffic::default();
            for shard in 0..shards {
                let mut traffic = Traffic::default();
                for worker in 0..7 {
                    traffic.flown(flight(worker, 0.0, if worker == 0 { 7.0 } else { 0.0 }));
                }
                whole.add(traffic, 0.0, &format!("{shard}/{shards}"));
            }
            whole.condense();
            assert_eq!(whole.workers.len(), shards);
            let last = whole.workers.last().unwrap();
            assert_eq!(last.name, format!("{}/{shards}", shards - 1));
            assert!((950..=1_000).contains(&last.busy.0.iter().sum::<u64>()));
        }
    }

    #[test]
    fn many_runs_of_one_worker_stay_as_they_are() {
        let mut whole = Traffic::default();
        for shard in 0..150 {
            let mut traffic = Traffic::default();
            traffic.flown(flight(0, 0.0, 1.0));
            whole.add(traffic, 0.0, &format!("{shard}/150"));
        }
        whole.condense();
        assert_eq!((whole.workers.len(), whole.flights.len()), (150, 150));
        assert_eq!(whole.workers[149].name, "149/150 · 1");
    }

    #[test]
    fn what_no_run_can_have_had_does_no_harm() {
        for width in [0.0, -1.0, 1e-300, 1e300] {
            let mut whole = Traffic::default();
            let mut broken = Traffic { width, bytes: Series(vec![u64::MAX; 3]), ..Traffic::default() };
            broken.workers.push(Worker::default());
            broken.flights = vec![flight(0, 1e300, -1e300), flight(usize::MAX, 0.0, 0.0)];
            whole.add(broken.clone(), 1e300, "");
            whole.add(broken, -1e300, "");
            assert!(whole.bytes.0.len() <= BUCKETS && whole.workers.len() == 2);
        }
    }
}
