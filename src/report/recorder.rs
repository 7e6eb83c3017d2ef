//! Keeps what became of each image, for reports. Only a run that writes one has a recorder: it grows with the images.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use super::record::{self, Document, Image, Moment, Rule, Schema, Summary};
use super::traffic::{self, Traffic};
use crate::event::{
    BlobCounts, Category, Ending, Event, Facts, FailedRule, Failure, Flight, Listener, Prospect, RuleText, Success,
    Verdict,
};
use crate::reference::{Reference, Repository};
use crate::schema::{Outcome, Shard};
use crate::shared::lock;

/// Listens to a migration and remembers each image.
pub struct Recorder {
    started: SystemTime,
    began: Instant,
    /// Bytes from which a blob is moved by a worker.
    streamed_from: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By destination: no two images have one.
    images: HashMap<Reference, Entry>,
    /// The sums that are counted here, and not image by image.
    totals: Summary,
    traffic: Traffic,
    /// By number.
    flights: HashMap<u64, Flying>,
    /// Whether each worker is at work.
    workers: Vec<bool>,
}

struct Entry {
    /// When it was begun first, after the start of the run.
    began: Duration,
    /// The most blobs that an attempt has accounted for.
    blobs: u64,
    /// What the last attempt has told of blobs. In a dry run that is what would be done for the image.
    last: BlobCounts,
    image: Image,
}

struct Flying {
    worker: usize,
    began: Duration,
    flight: Flight,
    destination: Repository,
}

impl Recorder {
    /// `streamed_from` is the size from which a blob is moved by a worker.
    pub fn new(streamed_from: u64) -> Self {
        Self { started: SystemTime::now(), began: Instant::now(), streamed_from, state: Mutex::default() }
    }

    /// What became of it all, or would, in a dry run.
    pub fn document(&self, ending: &Ending, shard: Option<Shard>, dry_run: bool) -> Document {
        let mut state = self.lock();
        let mut images = std::mem::take(&mut state.images);
        for failed in &ending.failed_images {
            let entry = images.entry(failed.destination.clone());
            entry.or_insert_with(|| Entry::new(&failed.source, &failed.destination)).image.fail(&failed.failure);
        }
        let mut images: Vec<Image> = images.into_values().map(|entry| entry.image(dry_run)).collect();
        images.sort_unstable_by(|a, b| (&a.source, &a.destination).cmp(&(&b.source, &b.destination)));
        let invalid = ending
            .invalid_rules
            .iter()
            .map(|invalid| Rule { invalid: true, ..Rule::new(&invalid.rule, None, Category::Config, &invalid.reason) });
        let failed = ending.failed_rules.iter().map(|FailedRule { rule, full_destination, failure }| {
            Rule::new(rule, Some(full_destination), failure.category, &failure.reason)
        });
        let rules: Vec<Rule> = invalid.chain(failed).collect();
        let mut summary = std::mem::take(&mut state.totals);
        for image in &images {
            summary.add_blobs(&Summary {
                blobs_moved: image.blobs_moved,
                bytes_moved: image.bytes_moved,
                blobs_mounted: image.blobs_mounted,
                ..Summary::default()
            });
        }
        summary.count(&images, &rules);
        let mut traffic = std::mem::take(&mut state.traffic);
        traffic.finish();
        Document {
            schema: Schema,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: Moment(self.started),
            seconds: record::seconds(self.began.elapsed()),
            dry_run,
            shards: shard.into_iter().collect(),
            summary,
            rules,
            listed: ending.listed_rules.clone(),
            images,
            traffic,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Listener for Recorder {
    fn hear(&self, event: &Event) {
        let now = self.began.elapsed();
        match event {
            Event::ImageStarted { source, destination } => {
                let mut state = self.lock();
                let entry = state.images.entry(destination.clone()).or_insert_with(|| {
                    let mut entry = Entry::new(source, destination);
                    entry.began = now;
                    entry.image.started = Some(Moment(self.started + now));
                    entry
                });
                entry.image.attempts += 1;
            }
            Event::ImageDone { destination, success, facts, .. } => {
                let outcome = match success {
                    Success::Copied => Outcome::Copied,
                    Success::UpToDate => Outcome::UpToDate,
                    Success::Skipped => Outcome::Skipped,
                };
                self.lock().ended(destination, now, facts, |image| image.succeed(outcome));
            }
            Event::ImagePlanned { destination, prospect, facts, .. } => {
                let outcome = match prospect {
                    Prospect::UpToDate => Outcome::UpToDate,
                    Prospect::Copy => Outcome::Planned,
                    Prospect::Skip => Outcome::Skipped,
                };
                self.lock().ended(destination, now, facts, |image| image.succeed(outcome));
            }
            Event::ImageVerified { destination, verdict, facts, .. } => {
                self.lock().ended(destination, now, facts, |image| image.judge(verdict));
            }
            Event::ImageFailed { destination, failure, facts, .. } => {
                self.lock().ended(destination, now, facts, |image| image.fail(failure));
            }
            Event::FlightStarted(flight @ Flight { destination: Some(destination), .. })
                if flight.bytes >= self.streamed_from =>
            {
                self.lock().took_off(flight, destination, now);
            }
            Event::FlightEnded(number) => self.lock().landed(*number, now),
            Event::BlobMoved { image, bytes, elapsed, .. } => {
                let mut state = self.lock();
                state.brought(image, |image| {
                    image.blobs_moved += 1;
                    image.bytes_moved = image.bytes_moved.saturating_add(*bytes);
                });
                state.traffic.moved(now.saturating_sub(*elapsed), now, *bytes);
            }
            Event::BlobMounted { image, bytes, .. } => {
                let mut state = self.lock();
                state.totals.bytes_mounted = state.totals.bytes_mounted.saturating_add(*bytes);
                state.brought(image, |image| image.blobs_mounted += 1);
            }
            Event::BlobPresent { again: false, .. } => self.lock().totals.blobs_present += 1,
            Event::LayerSkipped { .. } => self.lock().totals.layers_skipped += 1,
            _ => {}
        }
    }
}

impl State {
    /// Notes what was done for an image, which may have failed before.
    fn brought(&mut self, image: &Reference, note: impl FnOnce(&mut Image)) {
        if let Some(entry) = self.images.get_mut(image) {
            note(&mut entry.image);
            entry.image.blobs_present = entry.present();
        }
    }

    fn ended(&mut self, destination: &Reference, now: Duration, facts: &Facts, end: impl FnOnce(&mut Image)) {
        let Some(entry) = self.images.get_mut(destination) else { return };
        entry.image.seconds = record::seconds(now.saturating_sub(entry.began));
        entry.learn(facts);
        end(&mut entry.image);
    }

    fn took_off(&mut self, flight: &Flight, destination: &Repository, now: Duration) {
        let worker = self.workers.iter().position(|works| !works).unwrap_or(self.workers.len());
        if worker == self.workers.len() {
            self.workers.push(true);
        }
        self.workers[worker] = true;
        let (flight, destination) = (flight.clone(), destination.clone());
        self.flights.insert(flight.number, Flying { worker, began: now, flight, destination });
    }

    fn landed(&mut self, number: u64, now: Duration) {
        let Some(Flying { worker, began, flight, destination }) = self.flights.remove(&number) else { return };
        self.workers[worker] = false;
        // Of a blob that turned out to be there nothing went over the wire.
        if flight.passed.load(Relaxed) == 0 {
            return;
        }
        self.traffic.flown(traffic::Flight {
            worker,
            start: record::seconds(began),
            seconds: record::seconds(now.saturating_sub(began)),
            bytes: flight.bytes,
            source: flight.source.to_string(),
            destination: destination.to_string(),
            digest: flight.digest.to_string(),
        });
    }
}

impl Entry {
    /// An image of which nothing is known but its name.
    fn new(source: &Reference, destination: &Reference) -> Self {
        let image = Image {
            source: source.to_string(),
            destination: destination.to_string(),
            source_digest: None,
            destination_digest: None,
            previous_digest: None,
            media_type: None,
            platforms: Vec::new(),
            size: None,
            bytes_moved: 0,
            blobs_moved: 0,
            blobs_mounted: 0,
            blobs_present: 0,
            layers_skipped: Vec::new(),
            result: Outcome::Cancelled,
            category: Some(Category::Cancelled),
            reason: None,
            attempts: 0,
            started: None,
            seconds: 0.0,
        };
        Self { began: Duration::ZERO, blobs: 0, last: BlobCounts::default(), image }
    }

    /// What became of the image. A dry run brings no blob of which it would be told by itself.
    fn image(self, dry_run: bool) -> Image {
        let mut image = self.image;
        if dry_run {
            let BlobCounts { moved, bytes_moved, mounted, present } = self.last;
            (image.blobs_moved, image.bytes_moved) = (moved, bytes_moved);
            (image.blobs_mounted, image.blobs_present) = (mounted, present);
        }
        image
    }

    /// Adds what was learnt in one attempt. What was moved and mounted is told when it is done.
    fn learn(&mut self, facts: &Facts) {
        let image = &mut self.image;
        let known = |new: &Option<_>, old: &mut Option<_>| {
            if new.is_some() {
                old.clone_from(new);
            }
        };
        known(&facts.source_digest, &mut image.source_digest);
        known(&facts.digest, &mut image.destination_digest);
        // What was there before the first attempt.
        if image.previous_digest.is_none() {
            image.previous_digest.clone_from(&facts.digest_before);
        }
        if facts.media_type.is_some() {
            image.media_type.clone_from(&facts.media_type);
            // An index lists its attestations under a platform that does not exist.
            let real = facts.platforms.iter().map(ToString::to_string).filter(|name| name != "unknown/unknown");
            image.platforms = real.collect();
        }
        image.size = facts.size.or(image.size);
        if !facts.layers_skipped.is_empty() {
            image.layers_skipped.clone_from(&facts.layers_skipped);
        }
        self.last = facts.blobs;
        let BlobCounts { moved, mounted, present, .. } = self.last;
        self.blobs = self.blobs.max(moved + mounted + present);
        self.image.blobs_present = self.present();
    }

    /// Blobs that were there already, or that other images brought. What one attempt moved is not present for the next.
    fn present(&self) -> u64 {
        self.blobs.saturating_sub(self.image.blobs_moved + self.image.blobs_mounted)
    }
}

impl Rule {
    fn new(rule: &RuleText, full_destination: Option<&String>, category: Category, reason: &str) -> Self {
        let RuleText { place, source, destination } = rule.clone();
        let (full_destination, reason) = (full_destination.cloned(), reason.to_owned());
        Self { place, source, destination, full_destination, invalid: false, category, reason }
    }
}

impl Image {
    fn succeed(&mut self, outcome: Outcome) {
        (self.result, self.category, self.reason) = (outcome, None, None);
    }

    /// An image that is not as it should be counts as failed.
    fn judge(&mut self, verdict: &Verdict) {
        let category = match verdict {
            Verdict::Equal => return self.succeed(Outcome::UpToDate),
            Verdict::Skipped => return self.succeed(Outcome::Skipped),
            Verdict::Missing => Category::NotFound,
            Verdict::Differs { .. } => Category::Refused,
            Verdict::Incomplete(_) => Category::Corrupt,
        };
        self.result = Outcome::Failed;
        (self.category, self.reason) = (Some(category), super::verification::reason(verdict));
    }

    fn fail(&mut self, failure: &Failure) {
        self.result = match failure.category {
            Category::Cancelled => Outcome::Cancelled,
            _ => Outcome::Failed,
        };
        (self.category, self.reason) = (Some(failure.category), Some(failure.reason.to_string()));
    }
}

#[cfg(test)]
mod tests;
