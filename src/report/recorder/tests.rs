use std::sync::Arc;

use super::*;
use crate::digest::Digest;
use crate::event::{FailedImage, FailedRule, RuleText};
use crate::reference::Repository;

fn reference(name: &str) -> Reference {
    name.parse::<Repository>().unwrap().tagged("1".parse().unwrap())
}

fn started(name: &str) -> Event {
    Event::ImageStarted { source: reference(&format!("s.io/{name}")), destination: reference(&format!("d.io/{name}")) }
}

fn facts(moved: u64, mounted: u64, present: u64) -> Facts {
    Facts { blobs: BlobCounts { moved, bytes_moved: moved * 10, mounted, present }, ..Facts::default() }
}

fn failed(name: &str, failure: Failure, facts: Facts) -> Event {
    let (source, destination) = (reference(&format!("s.io/{name}")), reference(&format!("d.io/{name}")));
    Event::ImageFailed { source, destination, failure, again: true, facts }
}

fn done(name: &str, facts: Facts) -> Event {
    let (source, destination) = (reference(&format!("s.io/{name}")), reference(&format!("d.io/{name}")));
    Event::ImageDone { source, destination, success: Success::Copied, facts }
}

fn moved(name: &str) -> Event {
    let image = reference(&format!("d.io/{name}"));
    let (repository, digest) = (image.repository.clone(), Digest::of(b""));
    Event::BlobMoved { image, repository, digest, bytes: 10, elapsed: Duration::ZERO }
}

fn mounted(name: &str) -> Event {
    let image = reference(&format!("d.io/{name}"));
    let (repository, from) = (image.repository.clone(), image.repository.clone());
    Event::BlobMounted { image, repository, digest: Digest::of(b""), bytes: 10, from }
}

#[test]
fn an_image_is_one_record_over_all_its_attempts() {
    let recorder = Recorder::new(0);
    let digest = Digest::of(b"");
    let last = Facts { digest: Some(digest.clone()), ..facts(0, 0, 5) };
    let broken = Failure { category: Category::Network, ..Failure::internal("test") };
    let first = [started("a"), moved("a"), moved("a"), mounted("a"), failed("a", broken, facts(1, 1, 1))];
    // One more was under way when it failed.
    for event in first.into_iter().chain([moved("a"), started("a"), done("a", last)]) {
        recorder.hear(&event);
    }
    let ending = Ending { images: 1, ..Ending::default() };
    let document = recorder.document(&ending, None, false);
    let [image] = document.images.as_slice() else { panic!("{document:?}") };
    assert_eq!((image.result, image.category, image.attempts), (Outcome::Copied, None, 2));
    assert_eq!((image.blobs_moved, image.blobs_mounted, image.blobs_present, image.bytes_moved), (3, 1, 1, 30));
    assert_eq!(image.destination_digest, Some(digest));
    assert!(image.started.is_some());
}

#[test]
fn what_was_never_reached_is_a_record_and_rules_stand_first_to_last() {
    let recorder = Recorder::new(0);
    let failed_image = |name: &str| FailedImage {
        source: reference(&format!("s.io/{name}")),
        destination: reference(&format!("d.io/{name}")),
        failure: Failure::cancelled(),
    };
    for event in [started("b"), done("b", Facts::default())] {
        recorder.hear(&event);
    }
    let rule = RuleText { place: "i:1:1".into(), source: "s.io/r".into(), ..RuleText::default() };
    let ending = Ending {
        images: 3,
        failed_images: vec![failed_image("c"), failed_image("a")],
        failed_rules: vec![FailedRule { rule, full_destination: String::new(), failure: Failure::cancelled() }],
        ..Ending::default()
    };
    let document = recorder.document(&ending, None, false);
    let names: Vec<_> = document.images.iter().map(|image| (image.source.as_str(), image.result)).collect();
    let cancelled = Outcome::Cancelled;
    assert_eq!(names, [("s.io/a:1", cancelled), ("s.io/b:1", Outcome::Copied), ("s.io/c:1", cancelled)]);
    let Summary { images, failed, cancelled, copied, not_generated, .. } = document.summary;
    assert_eq!((images, failed, cancelled, copied, not_generated), (3, 2, 2, 1, 1));
    assert_eq!(document.images[0].attempts, 0);
}

#[test]
fn a_look_is_begun_like_a_copy() {
    let recorder = Recorder::new(0);
    let broken = Failure { category: Category::Network, ..Failure::internal("test") };
    let found = Event::ImageVerified {
        source: reference("s.io/a"),
        destination: reference("d.io/a"),
        verdict: Verdict::Missing,
        facts: Facts::default(),
    };
    for event in [started("a"), failed("a", broken, Facts::default()), started("a"), found] {
        recorder.hear(&event);
    }
    let ending = Ending { images: 1, ..Ending::default() };
    let document = recorder.document(&ending, None, false);
    let [image] = document.images.as_slice() else { panic!("{document:?}") };
    assert_eq!((image.result, image.attempts), (Outcome::Failed, 2));
    assert!(image.started.is_some(), "what was found later counts more than what was found before");
}

#[test]
fn sums_are_those_of_the_images_also_of_a_dry_run() {
    let recorder = Recorder::new(0);
    for name in ["a", "b", "c", "d", "e"] {
        recorder.hear(&started(name));
    }
    recorder.hear(&failed("d", Failure::internal("test"), facts(9, 9, 9)));
    recorder.hear(&failed("d", Failure::internal("test"), facts(0, 0, 0)));
    // Something that refers to it cannot be had: the rest would come.
    recorder.hear(&failed("e", Failure::internal("test"), facts(2, 1, 4)));
    for (name, prospect) in [("a", Prospect::Copy), ("b", Prospect::Copy), ("c", Prospect::UpToDate)] {
        recorder.hear(&Event::ImagePlanned {
            source: reference(&format!("s.io/{name}")),
            destination: reference(&format!("d.io/{name}")),
            prospect,
            referrers: 0,
            facts: facts(2, 1, 4),
        });
    }
    let ending = Ending { images: 5, ..Ending::default() };
    let Document { images, summary, .. } = recorder.document(&ending, None, true);
    assert_eq!((summary.planned, summary.up_to_date, summary.copied, summary.failed), (2, 1, 0, 2));
    assert!(images.iter().all(|image| image.attempts == 1), "each was looked at");
    let sum = |of: fn(&Image) -> u64| images.iter().map(of).sum::<u64>();
    assert_eq!((summary.bytes_moved, sum(|image| image.bytes_moved)), (80, 80));
    assert_eq!((summary.blobs_moved, sum(|image| image.blobs_moved)), (8, 8));
    assert_eq!((summary.blobs_mounted, sum(|image| image.blobs_mounted)), (4, 4));
    let present: Vec<_> = images.iter().map(|image| image.blobs_present).collect();
    assert_eq!(present, [4, 4, 4, 0, 4], "what would be moved is not there, and the last look counts");
}

#[test]
fn workers_take_the_first_free_place() {
    let recorder = Recorder::new(100);
    let repository: Repository = "s.io/a".parse().unwrap();
    let flight = |number, bytes, passed: u64| {
        Event::FlightStarted(Flight {
            number,
            source: repository.clone(),
            destination: Some(repository.clone()),
            digest: Digest::of(b""),
            bytes,
            passed: Arc::new(passed.into()),
        })
    };
    // Of the last nothing is sent, since it is there.
    let events =
        [flight(0, 100, 1), flight(1, 200, 200), flight(2, 99, 99), Event::FlightEnded(0), flight(3, 300, 300)];
    for event in events.into_iter().chain([flight(4, 400, 0)]) {
        recorder.hear(&event);
    }
    for number in [1, 2, 3, 4] {
        recorder.hear(&Event::FlightEnded(number));
    }
    let ending = Ending { images: 0, ..Ending::default() };
    let mut flights: Vec<_> = recorder
        .document(&ending, None, false)
        .traffic
        .flights
        .iter()
        .map(|flight| (flight.bytes, flight.worker))
        .collect();
    flights.sort_unstable();
    assert_eq!(flights, [(100, 0), (200, 1), (300, 0)]);
}
