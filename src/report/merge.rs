//! Several reports as one: the shards of a run, or a run and those that brought what it had left.
//!
//! - An image counts once. Of several records of it the one that was begun last says what became of it; one of an image
//!   that was not reached does so only if there is no other, for it says nothing of the destination. What was moved is
//!   summed; and what the earlier ones know of that which is still there, as where it has its layers, is not lost, also
//!   where one between them does not know what is there.
//! - A rule counts once, by its source and destination; one that stands twice in a file is two. One that failed has
//!   failed, unless a later report says that its tags were listed.
//! - Blobs and bytes are summed, since all of them were moved; a report that is named twice is one. Times are compared as
//!   the clocks of the machines have them.
//! - Shards that are missing are [`missing`]: the whole is not there without them. A report without a shard, as that of a
//!   repeated run, does not fill the gap: it does not say which part of the work it was.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::record::{self, Document, Image, Moment, Rule, Schema, Summary};
use super::traffic::Traffic;
use crate::event::RuleName;
use crate::schema::Shard;

/// Joins reports, of which there is at least one.
pub fn merge(mut documents: Vec<Document>) -> Document {
    // Stable: of equals the one named last counts.
    documents.sort_by_key(|document| document.started);
    documents.dedup();
    let started = documents.first().map_or(Moment(std::time::SystemTime::UNIX_EPOCH), |document| document.started);
    let alone = documents.len() == 1;
    let mut seconds: f64 = 0.0;
    let mut summary = Summary::default();
    let mut traffic = Traffic::default();
    let mut covered = BTreeSet::new();
    // Each with the last report in which it failed, and in which its tags were listed.
    let mut rules: Vec<(usize, Rule)> = Vec::new();
    let mut listed: BTreeMap<RuleName, usize> = BTreeMap::new();
    let mut known_rules: HashMap<(String, String, usize), usize> = HashMap::new();
    let mut images: Vec<Image> = Vec::new();
    for (number, document) in documents.into_iter().enumerate() {
        let later = document.started.0.duration_since(started.0).unwrap_or(Duration::ZERO);
        seconds = seconds.max(record::seconds(later) + document.seconds);
        summary.add_blobs(&document.summary);
        let name = match document.shards.as_slice() {
            _ if alone => String::new(),
            [shard] => shard.to_string(),
            _ => format!("#{}", number + 1),
        };
        traffic.add(document.traffic, record::seconds(later), &name);
        covered.extend(document.shards);
        let mut seen: HashMap<(String, String), usize> = HashMap::new();
        for rule in document.rules {
            let (source, destination) = (rule.source.clone(), rule.destination.clone());
            let nth = seen.entry((source.clone(), destination.clone())).or_default();
            match known_rules.entry((source, destination, *nth)) {
                Entry::Occupied(known) => rules[*known.get()] = (number, rule),
                Entry::Vacant(place) => {
                    place.insert(rules.len());
                    rules.push((number, rule));
                }
            }
            *nth += 1;
        }
        listed.extend(document.listed.into_iter().map(|rule| (rule, number)));
        images.extend(document.images);
    }
    if !alone {
        traffic.condense();
    }
    traffic.finish();
    rules.retain(|(failed, rule)| {
        let Some(destination) = &rule.full_destination else { return true };
        let name = RuleName { source: rule.source.clone(), destination: destination.clone() };
        let is_made_good = listed.get(&name).is_some_and(|good| good > failed);
        if !is_made_good {
            listed.remove(&name);
        }
        !is_made_good
    });
    let rules: Vec<Rule> = rules.into_iter().map(|(_, rule)| rule).collect();
    let listed = listed.into_keys().collect();
    let images = once_each(images);
    summary.count(&images, &rules);
    let shards = if is_complete(&covered) { Vec::new() } else { covered.into_iter().collect() };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let dry_run = false;
    Document { schema: Schema, version, started, seconds, dry_run, shards, summary, rules, listed, images, traffic }
}

/// The missing shards of the division that is closest to complete.
pub fn missing(document: &Document) -> Vec<Shard> {
    let divisions = divisions(&document.shards);
    let most = divisions.into_iter().min_by_key(|(count, there)| usize::from(*count) - there.len());
    let Some((count, there)) = most else { return Vec::new() };
    (0..count).filter(|index| !there.contains(index)).map(|index| Shard { count, index }).collect()
}

fn is_complete(shards: &BTreeSet<Shard>) -> bool {
    divisions(shards).into_iter().any(|(count, there)| there.len() == usize::from(count))
}

/// What is there of each division, by the number of its shards.
fn divisions<'a>(shards: impl IntoIterator<Item = &'a Shard>) -> BTreeMap<u16, BTreeSet<u16>> {
    let mut divisions = BTreeMap::<_, BTreeSet<_>>::new();
    for Shard { count, index } in shards {
        divisions.entry(*count).or_default().insert(*index);
    }
    divisions
}

/// Each image once, sorted.
fn once_each(mut records: Vec<Image>) -> Vec<Image> {
    // Stable, too. What was not reached comes before what was.
    records.sort_by(|a, b| (&a.source, &a.destination, a.started).cmp(&(&b.source, &b.destination, b.started)));
    let mut images = Vec::new();
    let mut records = records.into_iter().peekable();
    while let Some(first) = records.next() {
        let mut whole = Whole { blobs: first.blobs(), former: 0, image: first, known: None };
        while let Some(later) = records.next_if(|next| whole.is_of(next)) {
            whole.add(later);
        }
        images.push(whole.image);
    }
    images
}

/// One image, by its records in order of time.
struct Whole {
    /// What the records so far say of it.
    image: Image,
    /// If the last record does not know what is there: what was known of it before.
    known: Option<Image>,
    /// The most blobs that a record accounts for, of those of what the source names now.
    blobs: u64,
    /// Blobs that were brought for what it named before.
    former: u64,
}

impl Whole {
    fn is_of(&self, record: &Image) -> bool {
        (&self.image.source, &self.image.destination) == (&record.source, &record.destination)
    }

    fn add(&mut self, later: Image) {
        let known = || self.known.as_ref()?.source_digest.as_ref();
        let before = self.image.source_digest.as_ref().or_else(known);
        if matches!((before, &later.source_digest), (Some(before), Some(now)) if before != now) {
            (self.former, self.blobs) = (self.image.brought(), 0);
        }
        self.blobs = self.blobs.max(later.blobs());
        let earlier = std::mem::replace(&mut self.image, later);
        let image = &mut self.image;
        image.bytes_moved = image.bytes_moved.saturating_add(earlier.bytes_moved);
        image.blobs_moved = image.blobs_moved.saturating_add(earlier.blobs_moved);
        image.blobs_mounted = image.blobs_mounted.saturating_add(earlier.blobs_mounted);
        // What one run moved is not present for the next.
        image.blobs_present = self.former.saturating_add(self.blobs).saturating_sub(image.brought());
        if earlier.destination_digest.is_some() {
            self.known = Some(earlier);
        } else if image.destination_digest.is_none() {
            // Neither put anything there.
            image.source_digest = image.source_digest.take().or(earlier.source_digest);
            image.previous_digest = image.previous_digest.take().or(earlier.previous_digest);
        }
        if image.destination_digest.is_some()
            && let Some(known) = self.known.take()
            && known.destination_digest == image.destination_digest
        {
            image.learn(known);
        }
    }
}

impl Image {
    /// The blobs that this record accounts for.
    fn blobs(&self) -> u64 {
        self.brought().saturating_add(self.blobs_present)
    }

    fn brought(&self) -> u64 {
        self.blobs_moved.saturating_add(self.blobs_mounted)
    }

    /// Adds what an earlier record knows of the same content at the destination.
    fn learn(&mut self, earlier: Self) {
        self.source_digest = self.source_digest.take().or(earlier.source_digest);
        // What was there before the first.
        self.previous_digest = earlier.previous_digest;
        self.media_type = self.media_type.take().or(earlier.media_type);
        self.size = self.size.or(earlier.size);
        if self.platforms.is_empty() {
            self.platforms = earlier.platforms;
        }
        if self.layers_skipped.is_empty() {
            self.layers_skipped = earlier.layers_skipped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::json::tests::document;
    use crate::report::traffic::Flight;
    use crate::schema::Outcome;

    fn at(seconds: u64) -> Moment {
        Moment(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// A report of one image.
    fn report(second: u64, source: &str, result: Outcome, started: Option<u64>) -> Document {
        let mut document = document();
        document.started = at(second);
        document.rules.clear();
        document.images.truncate(1);
        let image = &mut document.images[0];
        (image.source, image.result, image.started) = (source.to_owned(), result, started.map(at));
        document.summary.count(&document.images, &[]);
        document
    }

    fn results(document: &Document) -> Vec<(&str, Outcome)> {
        document.images.iter().map(|image| (image.source.as_str(), image.result)).collect()
    }

    #[test]
    fn an_image_counts_once_as_it_was_last() {
        let first = report(1, "s.io/a:1", Outcome::Failed, Some(2));
        let last = report(5, "s.io/a:1", Outcome::Copied, Some(6));
        for documents in [vec![first.clone(), last.clone()], vec![last, first]] {
            let whole = merge(documents);
            assert_eq!(results(&whole), [("s.io/a:1", Outcome::Copied)]);
            assert_eq!((whole.summary.images, whole.summary.failed, whole.summary.copied), (1, 0, 1));
            assert_eq!(whole.summary.bytes_moved, 4000, "both moved them");
            assert_eq!((whole.started, whole.seconds), (at(1), 6.5));
        }
    }

    #[test]
    fn what_was_moved_is_summed_and_what_is_known_of_what_is_still_there_is_kept() {
        let copied = report(1, "s.io/a:1", Outcome::Copied, Some(2));
        let mut looked = report(5, "s.io/a:1", Outcome::UpToDate, Some(6));
        let image = &mut looked.images[0];
        (image.media_type, image.size, image.bytes_moved, image.blobs_moved) = (None, None, 0, 0);
        image.platforms.clear();
        image.layers_skipped.clear();
        for is_there in [true, false] {
            if !is_there {
                looked.images[0].destination_digest = None;
            }
            for documents in [[&copied, &looked], [&looked, &copied]] {
                let whole = merge(documents.map(Clone::clone).to_vec());
                let [image] = whole.images.as_slice() else { panic!("{whole:?}") };
                assert_eq!((image.result, image.bytes_moved, image.blobs_moved), (Outcome::UpToDate, 1000, 2));
                let known = (image.media_type.is_some(), image.size.is_some(), !image.platforms.is_empty());
                assert_eq!(known, (is_there, is_there, is_there));
                assert_eq!(image.layers_skipped.is_empty(), !is_there);
            }
        }
    }

    #[test]
    fn what_is_known_of_what_is_still_there_is_kept_over_a_failure_between() {
        let digest = |text: &[u8]| Some(crate::digest::Digest::of(text));
        let mut copied = report(1, "s.io/a:1", Outcome::Copied, Some(2));
        copied.images[0].previous_digest = digest(b"before");
        let mut looked = report(9, "s.io/a:1", Outcome::UpToDate, Some(10));
        let image = &mut looked.images[0];
        (image.media_type, image.size, image.previous_digest) = (None, None, digest(b""));
        image.platforms.clear();
        image.layers_skipped.clear();
        let failed = [3, 5].map(|second| {
            let mut failed = report(second, "s.io/a:1", Outcome::Failed, Some(second));
            (failed.images[0].destination_digest, failed.images[0].size) = (None, Some(1));
            failed
        });
        for is_same in [true, false] {
            if !is_same {
                looked.images[0].destination_digest = digest(b"other");
            }
            let [first, second] = failed.clone();
            let whole = merge(vec![looked.clone(), second, copied.clone(), first]);
            let [image] = whole.images.as_slice() else { panic!("{whole:?}") };
            let left_out = (image.platforms.is_empty(), image.layers_skipped.is_empty());
            assert_eq!((image.size, image.media_type.is_some()), (is_same.then_some(1234), is_same));
            assert_eq!(left_out, (!is_same, !is_same));
            assert_eq!(image.previous_digest, digest(if is_same { b"before" } else { b"" }));
        }
    }

    #[test]
    fn what_a_tag_named_before_is_not_lost_where_nothing_was_put_there() {
        let [mut first, mut second] = [1, 5].map(|second| report(second, "s.io/a:1", Outcome::Failed, Some(second)));
        first.images[0].destination_digest = None;
        let image = &mut second.images[0];
        (image.destination_digest, image.previous_digest) = (None, Some(crate::digest::Digest::of(b"before")));
        let expected = image.previous_digest.clone();
        assert_eq!(merge(vec![first.clone(), second.clone()]).images[0].previous_digest, expected);
        std::mem::swap(&mut first.images[0].previous_digest, &mut second.images[0].previous_digest);
        second.images[0].source_digest = None;
        let whole = merge(vec![first, second]);
        assert_eq!((&whole.images[0].previous_digest, whole.images[0].source_digest.is_some()), (&expected, true));
    }

    #[test]
    fn a_blob_that_one_run_moved_is_not_present_for_the_next() {
        let [mut copied, mut again] = [1, 5].map(|second| report(second, "s.io/a:1", Outcome::Copied, Some(second)));
        let blobs = |image: &mut Image, moved, mounted, present| {
            (image.blobs_moved, image.blobs_mounted, image.blobs_present) = (moved, mounted, present);
        };
        blobs(&mut copied.images[0], 3, 1, 1);
        blobs(&mut again.images[0], 0, 0, 5);
        let whole = merge(vec![copied, again]);
        let image = &whole.images[0];
        assert_eq!((image.blobs_moved, image.blobs_mounted, image.blobs_present), (3, 1, 1));
    }

    #[test]
    fn the_blobs_that_are_present_are_those_of_the_image_that_was_last() {
        let documents = [("one", (5, 0, 0)), ("two", (2, 0, 1)), ("two", (1, 1, 3))].into_iter().enumerate();
        let documents = documents.map(|(n, (content, (moved, mounted, present)))| {
            let mut document = report(n as u64 + 1, "s.io/a:1", Outcome::Copied, Some(n as u64 + 1));
            let image = &mut document.images[0];
            image.source_digest = Some(crate::digest::Digest::of(content.as_bytes()));
            (image.blobs_moved, image.blobs_mounted, image.blobs_present) = (moved, mounted, present);
            document
        });
        let documents: Vec<_> = documents.collect();
        // One that read nothing, after the first.
        let mut failed = report(1, "s.io/a:1", Outcome::Failed, Some(1));
        let image = &mut failed.images[0];
        (image.source_digest, image.destination_digest) = (None, None);
        (image.blobs_moved, image.blobs_mounted, image.blobs_present) = (0, 0, 0);
        for (records, expected) in [(2, (7, 0, 1)), (3, (8, 1, 1))] {
            for between in [None, Some(failed.clone())] {
                let mut documents = documents[..records].to_vec();
                documents.splice(1..1, between);
                let whole = merge(documents);
                let image = &whole.images[0];
                assert_eq!((image.blobs_moved, image.blobs_mounted, image.blobs_present), expected);
            }
        }
    }

    #[test]
    fn a_report_that_is_named_twice_counts_once() {
        let [one, other] = [1, 2].map(|second| report(second, "s.io/a:1", Outcome::Copied, Some(second)));
        let whole = merge(vec![one.clone(), other, one.clone()]);
        assert_eq!(whole.summary.bytes_moved, 2 * one.summary.bytes_moved);
    }

    #[test]
    fn what_was_not_reached_says_nothing() {
        let done = report(1, "s.io/a:1", Outcome::Copied, Some(2));
        let interrupted = report(5, "s.io/a:1", Outcome::Cancelled, None);
        for documents in [vec![done.clone(), interrupted.clone()], vec![interrupted, done]] {
            assert_eq!(results(&merge(documents)), [("s.io/a:1", Outcome::Copied)]);
        }
    }

    #[test]
    fn one_report_alone_keeps_all_its_workers() {
        let mut shards = Traffic::default();
        for shard in 0..2 {
            let mut traffic = Traffic::default();
            for worker in 0..100 {
                let [source, destination, digest] = Default::default();
                traffic.flown(Flight { worker, start: 0.0, seconds: 1.0, bytes: 1, source, destination, digest });
            }
            shards.add(traffic, 0.0, &format!("{shard}/2"));
        }
        let whole = merge(vec![Document { traffic: shards, ..document() }]).traffic;
        assert_eq!((whole.workers.len(), whole.flights.len()), (200, 200));
        assert_eq!(whole.workers[199].name, "1/2 · 100");
    }

    #[test]
    fn images_of_all_are_sorted_and_rules_count_once() {
        let (mut one, mut two) = (document(), document());
        one.images.remove(0);
        two.images.remove(1);
        two.rules[0].reason = "later".to_owned();
        two.started = at(2_000_000_000);
        let whole = merge(vec![one, two]);
        assert_eq!(results(&whole), [("s.io/a:1", Outcome::Copied), ("s.io/b:</script>", Outcome::Failed)]);
        assert_eq!(whole.rules.len(), 1);
        assert_eq!(whole.rules[0].reason, "later");
        assert_eq!((whole.summary.not_generated, whole.summary.failed), (1, 1));
    }

    #[test]
    fn shards_that_are_missing_are_named() {
        let shard = |index, count| Document { shards: vec![Shard { count, index }], ..document() };
        let part = merge(vec![shard(0, 3), shard(2, 3), shard(1, 8)]);
        assert_eq!(missing(&part), [Shard { count: 3, index: 1 }]);
        let whole = merge(vec![part, shard(1, 3)]);
        assert_eq!((missing(&whole), whole.shards), (vec![], vec![]));
        let repeated = merge(vec![shard(0, 2), document()]);
        assert_eq!(missing(&repeated), [Shard { count: 2, index: 1 }], "a repetition is not the rest");
        assert_eq!(missing(&merge(vec![document(), document()])), []);
    }

    #[test]
    fn many_shards_are_not_compared_with_each_other() {
        // Comparing each with each would take long here.
        let shards = (0..u16::MAX).filter(|index| *index != 7).map(|index| Shard { count: u16::MAX, index }).collect();
        let part = merge(vec![Document { shards, ..document() }]);
        assert_eq!(missing(&part), [Shard { count: u16::MAX, index: 7 }]);
    }

    #[test]
    fn a_rule_is_made_good_by_a_later_report_that_has_listed_it() {
        let listed = || RuleName { source: "s.io/c".to_owned(), destination: "d.io/c".to_owned() };
        let at = |second, rules: Vec<Rule>, listed| Document { started: at(second), rules, listed, ..document() };
        let failed = Rule { full_destination: Some("d.io/c".to_owned()), invalid: false, ..document().rules.remove(0) };
        let (bad, good) = (at(1, vec![failed.clone()], vec![]), at(2, vec![], vec![listed()]));
        let elsewhere = RuleName { destination: "d.io/x".to_owned(), ..listed() };
        let (worse, other) = (at(3, vec![failed.clone()], vec![]), at(4, vec![], vec![elsewhere.clone()]));
        let left = |documents: &[&Document]| {
            let whole = merge(documents.iter().map(|document| (*document).clone()).collect());
            assert_eq!(whole.summary.not_generated, whole.rules.len() as u64);
            (whole.rules.len(), whole.listed)
        };
        assert_eq!(left(&[&good, &bad]), (0, vec![listed()]));
        assert_eq!(left(&[&good, &worse]), (1, vec![]), "it was not so to the end");
        assert_eq!(left(&[&bad, &other]), (1, vec![elsewhere]));
        let both = at(1, vec![failed], vec![listed()]);
        assert_eq!(left(&[&both]), (1, vec![]), "of a rule that stands twice");
        let unusable = at(1, document().rules, vec![]);
        assert_eq!(left(&[&unusable, &good]).0, 1);
    }

    #[test]
    fn a_rule_that_stands_twice_is_two() {
        let mut twice = document();
        twice.rules.push(Rule { reason: "second".to_owned(), ..twice.rules[0].clone() });
        assert_eq!(merge(vec![twice.clone()]).summary.not_generated, 2);
        let whole = merge(vec![document(), twice]);
        let reasons: Vec<&str> = whole.rules.iter().map(|rule| rule.reason.as_str()).collect();
        assert_eq!(reasons, ["no default", "second"]);
    }
}
