//! Every fault at every request, once, twice and always: what can heal heals, and what cannot is named and leaves
//! nothing wrong behind.

use futures_util::StreamExt;
use scriptable_registry::{Image, Index, Kind, Matcher, Registry, Request};
use serde_json::json;

use crate::support::fault::{EVERY_FAULT, Fault};
use crate::support::verdict::{Moved, judge};
use crate::support::{LARGE, Migration, PASSWORD, USER, small};

/// Runs at once: they wait for most of their time.
const AT_ONCE: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// Every kind of request that a migration sends to either side.
const PLACES: [(Side, Kind); 15] = [
    (Side::Source, Kind::Ping),
    (Side::Source, Kind::Token),
    (Side::Source, Kind::TagList),
    (Side::Source, Kind::ManifestHead),
    (Side::Source, Kind::ManifestGet),
    (Side::Source, Kind::BlobGet),
    (Side::Destination, Kind::Ping),
    (Side::Destination, Kind::Token),
    (Side::Destination, Kind::TagList),
    (Side::Destination, Kind::ManifestHead),
    (Side::Destination, Kind::ManifestPut),
    (Side::Destination, Kind::BlobHead),
    (Side::Destination, Kind::Mount),
    (Side::Destination, Kind::UploadStart),
    (Side::Destination, Kind::UploadFinish),
];

#[derive(Clone, Copy, Debug)]
struct Case {
    place: (Side, Kind),
    fault: Fault,
    /// None is always.
    times: Option<u64>,
}

impl Case {
    /// Whether the default retries have to overcome it.
    fn heals(self) -> bool {
        match (self.place.1, self.fault) {
            _ if self.times.is_none() => false,
            // Credentials that are refused are not tried again: accounts are locked for that.
            (Kind::Token, Fault::Unauthorized | Fault::Denied | Fault::Absent) => false,
            (Kind::Ping, fault) => fault.may_pass(),
            _ => true,
        }
    }

    fn matcher(self) -> Matcher {
        let Case { place: (_, kind), fault, times } = self;
        // What has no token yet is refused anyway.
        let has_token = |request: &Request| request.header("authorization").is_some();
        let matcher = match (kind, fault) {
            (Kind::Ping | Kind::Token, _) => kind.into(),
            // What counts is what would have been served.
            _ => kind.filter(has_token),
        };
        match times {
            Some(times) => matcher.times(times),
            None => matcher,
        }
    }

    /// Runs it, and says what is wrong with what came of it.
    async fn run(self) -> Result<bool, String> {
        let registry = || Registry::builder().bearer((USER, PASSWORD));
        let source = registry().start().await;
        // Who sees to it that a manifest's parts are there is the program alone.
        let destination = registry().takes_incomplete_manifests().start().await;
        let base = || Image::new("linux/amd64").layer_of(1, LARGE);
        let index = Index::new().image(&base().layer("amd")).image(&Image::new("linux/arm64").layer_of(2, 500));
        source.put("team/app", "1.0", &index);
        source.put("team/app", "2.0", &small(3));
        source.put("team/other", "1.0", &base().layer("other"));
        // One tag is to be moved, one is new, and so is a repository.
        let old = destination.put("moved/app", "1.0", &small(4));
        let mut images = vec![
            Moved::new(("team/app", "1.0"), ("moved/app", "1.0")),
            Moved::new(("team/app", "2.0"), ("moved/app", "2.0")),
            Moved::new(("team/other", "1.0"), ("moved/other", "1.0")),
        ];
        images[0].before = Some(old);
        let faulty = if self.place.0 == Side::Source { &source } else { &destination };
        let hook = faulty.on(self.matcher(), self.fault.action(faulty));
        let login = json!({ "username": USER, "password": PASSWORD });
        let migration = match self.times {
            Some(_) => Migration::with_default_retries(),
            None => Migration::new(),
        };
        let migration = migration
            .auth(&json!({ source.host(): login, destination.host(): login }))
            .app(&source, &destination)
            .rule(format!("{}/team/other", source.host()), format!("{}/moved/other", destination.host()));
        let outcome = migration.run().await;
        let judged = judge(&source, &destination, &images, &outcome);
        let well = judged.map_err(|wrong| format!("{self:?}: {wrong}\n{outcome}"))?;
        if hook.hits() == 0 {
            return Err(format!("{self:?}: there was no such request\n{outcome}"));
        }
        if self.heals() && !well {
            return Err(format!("{self:?}: it was not overcome\n{outcome}"));
        }
        Ok(well)
    }
}

fn all_cases() -> impl Iterator<Item = Case> {
    PLACES.into_iter().flat_map(|place| {
        let faults = EVERY_FAULT.into_iter().filter(move |fault| fault.befalls(place.1));
        faults.flat_map(move |fault| [Some(1), Some(2), None].map(|times| Case { place, fault, times }))
    })
}

/// Of the statuses that mean the same each place gets another one.
fn thinned() -> impl Iterator<Item = Case> {
    let alike: Vec<Fault> = EVERY_FAULT.into_iter().filter(|fault| matches!(fault, Fault::Unwell(_))).collect();
    all_cases().filter(move |case| {
        let place = PLACES.iter().position(|place| *place == case.place).unwrap();
        !alike.contains(&case.fault) || case.fault == alike[place % alike.len()]
    })
}

/// `IMAGE_MIGRATOR_CASE=` runs all 600 cases, `IMAGE_MIGRATOR_CASE=BlobGet` those whose description holds the word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_once_twice_or_always_is_overcome_or_named_and_leaves_no_wrong_tag() {
    let cases: Vec<Case> = match std::env::var("IMAGE_MIGRATOR_CASE") {
        Ok(only) => all_cases().filter(|case| format!("{case:?}").contains(&only)).collect(),
        Err(_) => thinned().collect(),
    };
    let count = cases.len();
    let results: Vec<_> = futures_util::stream::iter(cases).map(Case::run).buffer_unordered(AT_ONCE).collect().await;
    let (good, bad): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let overcome = good.iter().filter(|result| matches!(result, Ok(true))).count();
    println!("{count} cases: {overcome} overcome, {} named", good.len() - overcome);
    let bad: Vec<String> = bad.into_iter().filter_map(Result::err).collect();
    assert!(bad.is_empty(), "{} of {count} went wrong:\n{}", bad.len(), bad.join("\n\n"));
}
