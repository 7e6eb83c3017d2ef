//! A dry run: the plan on standard output, one image a line, then what would be moved to each registry, then the summary.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use bytesize::ByteSize;

use super::{Conclusion, Teller, Telling, log};
use crate::digest::Digest;
use crate::event::{BlobCounts, Category, Ending, Event, Facts, FailedImage, Failure, Listener, Prospect};
use crate::reference::{Reference, Registry};
use crate::shared::lock;

/// Listens to a dry run and tells of it. Standard output is the plan alone.
pub struct PlanTeller {
    teller: Teller,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    to_copy: usize,
    up_to_date: usize,
    skipped: usize,
    loads: BTreeMap<Registry, BlobCounts>,
    /// The destinations of those of which it is said that they would fail.
    failing: HashSet<Reference>,
}

impl PlanTeller {
    /// Prints the plan where `teller` prints.
    pub fn new(teller: Teller) -> Self {
        Self { teller, tally: Mutex::default() }
    }

    fn line(&self, source: &Reference, destination: &Reference, told: &str) {
        self.teller.console.out(&format!("{source} -> {destination}: {told}"));
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }
}

impl Listener for PlanTeller {
    fn hear(&self, event: &Event) {
        log::event(event);
        let (source, destination, told) = match event {
            Event::ImagePlanned { source, destination, prospect, referrers, facts } => {
                self.tally().add(destination.repository.registry(), *prospect, &facts.blobs);
                (source, destination, Told { prospect: *prospect, referrers: *referrers, facts }.to_string())
            }
            // Of what was not reached nothing can be said.
            Event::ImageFailed { source, destination, failure, again: false, facts }
                if failure.category != Category::Cancelled =>
            {
                let mut tally = self.tally();
                if facts.blobs != BlobCounts::default() {
                    tally.add_load(destination.repository.registry(), &facts.blobs);
                }
                tally.failing.insert(destination.clone());
                (source, destination, failing(source, failure))
            }
            _ => return,
        };
        self.line(source, destination, &told);
    }
}

impl Telling for PlanTeller {
    /// Names what would fail, then the bytes for each registry.
    fn finish(&self, ending: &Ending) -> Conclusion {
        let tally = self.tally();
        // These were to be asked again, and the run was interrupted.
        for FailedImage { source, destination, failure } in &ending.failed_images {
            if failure.category != Category::Cancelled && !tally.failing.contains(destination) {
                self.line(source, destination, &failing(source, failure));
            }
        }
        self.teller.failures(&ending.failed_rules, &ending.failed_images);
        for (registry, load) in &tally.loads {
            self.teller.console.out(&format!(
                "{registry}: {} to move in {} blobs, {} to mount",
                size(load.bytes_moved),
                load.moved,
                load.mounted
            ));
        }
        let skipped = if tally.skipped > 0 { format!(" {} skipped,", tally.skipped) } else { String::new() };
        let summary = format!(
            "Images({}) planned, {} to copy, {} up to date,{skipped} {} images tasks failed, {} tasks generate failed",
            ending.images,
            tally.to_copy,
            tally.up_to_date,
            ending.failed_images.len(),
            ending.not_generated()
        );
        Conclusion { summary, is_well: ending.is_well() }
    }
}

impl Tally {
    fn add(&mut self, registry: &Registry, prospect: Prospect, blobs: &BlobCounts) {
        match prospect {
            Prospect::UpToDate => self.up_to_date += 1,
            Prospect::Skip => {
                self.skipped += 1;
                return;
            }
            Prospect::Copy => self.to_copy += 1,
        }
        self.add_load(registry, blobs);
    }

    /// What would come to a registry, also with an image that would fail since something that refers to it cannot be had.
    fn add_load(&mut self, registry: &Registry, blobs: &BlobCounts) {
        let load = self.loads.entry(registry.clone()).or_default();
        load.moved += blobs.moved;
        load.bytes_moved = load.bytes_moved.saturating_add(blobs.bytes_moved);
        load.mounted += blobs.mounted;
    }
}

/// What would become of an image, in words.
struct Told<'a> {
    prospect: Prospect,
    /// How many things that refer to it would travel with it.
    referrers: usize,
    facts: &'a Facts,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prospect {
            Prospect::UpToDate if self.referrers == 0 => return f.write_str("up to date"),
            Prospect::Skip => return f.write_str("skipped, it is for another platform"),
            Prospect::UpToDate | Prospect::Copy => {}
        }
        let mut steps = Vec::new();
        match (&self.facts.digest_before, &self.facts.digest) {
            _ if self.prospect == Prospect::UpToDate => steps.push("up to date".to_owned()),
            (Some(before), Some(after)) if before == after => steps.push("would put the same again".to_owned()),
            (Some(before), Some(after)) => {
                steps.push(format!("would move tag ({} -> {})", Short(before), Short(after)));
            }
            _ => {}
        }
        let BlobCounts { moved, bytes_moved, mounted, .. } = self.facts.blobs;
        if moved > 0 {
            steps.push(format!("copy {moved} blobs {}", size(bytes_moved)));
        }
        if mounted > 0 {
            steps.push(format!("mount {mounted}"));
        }
        if moved == 0 && mounted == 0 {
            steps.push("copy manifests only".to_owned());
        }
        match self.referrers {
            0 => {}
            1 => steps.push("with 1 referrer".to_owned()),
            more => steps.push(format!("with {more} referrers")),
        }
        f.write_str(&steps.join(", "))
    }
}

/// How an image would fail. That its source has no such image, and not the image no such part or platform, is known only from
/// what was asked for.
fn failing(source: &Reference, failure: &Failure) -> String {
    let Reference { repository, identifier } = source;
    let asked = format!("/v2/{}/manifests/{identifier}: 404 ", repository.path());
    let is_missing = failure.category == Category::NotFound
        && failure.registry.as_ref() == Some(repository.registry())
        && failure.reason.contains(&asked);
    if is_missing { "missing at source".to_owned() } else { format!("would fail: {failure}") }
}

/// As much of a digest as people compare: `sha256:0123456789ab…`.
struct Short<'a>(&'a Digest);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.19}…", self.0.to_string())
    }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Repository;
    use crate::report::Console;

    fn source() -> Reference {
        "s.io/team/app".parse::<Repository>().unwrap().tagged("1".parse().unwrap())
    }

    fn told(before: Option<&[u8]>, blobs: BlobCounts) -> String {
        let digest_before = before.map(Digest::of);
        let facts = Facts { digest: Some(Digest::of(b"new")), digest_before, blobs, ..Facts::default() };
        Told { prospect: Prospect::Copy, referrers: 0, facts: &facts }.to_string()
    }

    #[test]
    fn a_plan_says_what_would_be_done() {
        let some = BlobCounts { moved: 5, bytes_moved: 312 << 20, mounted: 0, present: 2 };
        assert_eq!(told(None, some), "copy 5 blobs 312.0 MiB");
        assert_eq!(told(None, BlobCounts { mounted: 3, ..some }), "copy 5 blobs 312.0 MiB, mount 3");
        assert_eq!(
            told(Some(b""), some),
            "would move tag (sha256:e3b0c44298fc… -> sha256:11507a0e2f5e…), copy 5 blobs 312.0 MiB"
        );
        let nothing = BlobCounts { present: 2, ..BlobCounts::default() };
        assert_eq!(told(None, nothing), "copy manifests only");
        assert_eq!(told(Some(b"new"), nothing), "would put the same again, copy manifests only");
    }

    #[test]
    fn a_plan_counts_what_would_travel_with_an_image() {
        let told = |prospect, referrers, moved| {
            let blobs = BlobCounts { moved, bytes_moved: moved << 10, ..BlobCounts::default() };
            let facts = Facts { blobs, ..Facts::default() };
            Told { prospect, referrers, facts: &facts }.to_string()
        };
        assert_eq!(told(Prospect::Copy, 2, 5), "copy 5 blobs 5.0 KiB, with 2 referrers");
        assert_eq!(told(Prospect::UpToDate, 1, 1), "up to date, copy 1 blobs 1.0 KiB, with 1 referrer");
        assert_eq!(told(Prospect::UpToDate, 1, 0), "up to date, copy manifests only, with 1 referrer");
        assert_eq!(told(Prospect::UpToDate, 0, 0), "up to date");
    }

    #[test]
    fn what_failed_and_is_not_asked_again_has_one_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let console = Console::new(Box::new(file.reopen().unwrap()), Box::new(std::io::sink()));
        let teller = PlanTeller::new(Teller::new(console));
        let destination = |tag: &str| "d.io/app".parse::<Repository>().unwrap().tagged(tag.parse().unwrap());
        let hear = |tag, failure: &Failure, again| {
            let (failure, facts) = (failure.clone(), Facts::default());
            let event = Event::ImageFailed { source: source(), destination: destination(tag), failure, again, facts };
            teller.hear(&event);
        };
        let (broken, cancelled) = (Failure::internal("test"), Failure::cancelled());
        hear("cut", &broken, true);
        hear("cut", &cancelled, false);
        hear("lost", &broken, false);
        hear("unknown", &cancelled, false);
        let failed = [("cut", &broken), ("lost", &broken), ("unknown", &cancelled)].map(|(tag, failure)| FailedImage {
            source: source(),
            destination: destination(tag),
            failure: failure.clone(),
        });
        teller.finish(&Ending { failed_images: failed.into(), ..Ending::default() });
        let plan = std::fs::read_to_string(file.path()).unwrap();
        let lines = |tag| plan.lines().filter(|line| line.contains(&format!("app:{tag}: would fail: "))).count();
        assert_eq!(["cut", "lost", "unknown"].map(lines), [1, 1, 0], "{plan}");
    }

    #[test]
    fn a_plan_says_what_would_fail() {
        let told = |failure: &Failure| failing(&source(), failure);
        let missing = |url: &str, what: &str| {
            let reason = format!("GET https://{url}: 404 Not Found (MANIFEST_UNKNOWN){what}");
            told(&Failure::for_good(Category::NotFound, "s.io".parse().ok().as_ref(), reason))
        };
        assert_eq!(missing("s.io/v2/team/app/manifests/1", ""), "missing at source");
        let child = missing("s.io/v2/team/app/manifests/sha256:12", "; the index names it");
        assert!(child.starts_with("would fail: GET https://s.io/v2/team/app/manifests/sha256:12: 404 "), "{child}");
        assert!(told(&Failure::internal("test")).starts_with("would fail: internal error (test)"));
    }
}
