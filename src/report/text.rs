//! The lines that are promised to people and scripts, word for word.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytesize::ByteSize;

use super::Totals;
use super::record::{Document, Image, Summary};
use crate::event::{Ending, FailedImage, FailedRule, Failure, Phase};
use crate::foreign::is_obeyed;

pub(super) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Generate => "Start to generate images tasks, please wait ...",
        Phase::Handle => "Start to handle images tasks, please wait ...",
        Phase::RetryGenerate => "Start to retry to generate images tasks, please wait ...",
        Phase::RetryHandle => "Start to retry images tasks, please wait ...",
    }
}

pub(super) fn summary(ending: &Ending) -> String {
    summary_line(ending.images as u64, ending.failed_images.len() as u64, ending.not_generated() as u64)
}

pub(super) fn summary_line(images: u64, failed: u64, not_generated: u64) -> String {
    format!("Images({images}) migration finished, {failed} images tasks failed, {not_generated} tasks generate failed")
}

/// What failed in the end.
#[derive(Clone, Copy)]
pub(super) enum Failed<'a> {
    Rule(&'a FailedRule),
    Image(&'a FailedImage),
}

impl<'a> Failed<'a> {
    fn failure(self) -> &'a Failure {
        match self {
            Self::Rule(rule) => &rule.failure,
            Self::Image(image) => &image.failure,
        }
    }
}

impl fmt::Display for Failed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(FailedRule { rule, failure, .. }) => write!(f, "FAILED {rule}: {failure}"),
            Self::Image(FailedImage { source, destination, failure }) => {
                write!(f, "FAILED {source} -> {destination}: {failure}")
            }
        }
    }
}

/// What failed, each a line, those of one registry and one kind together: rules in the order of the file, then images by
/// name.
pub(super) fn failures<'a>(rules: &'a [FailedRule], images: &'a [FailedImage]) -> Vec<Failed<'a>> {
    let mut images: Vec<_> = images.iter().collect();
    images.sort_by_key(|image| (&image.source, &image.destination));
    let images = images.into_iter().map(Failed::Image);
    let mut lines: Vec<Failed> = rules.iter().map(Failed::Rule).chain(images).collect();
    // Stable: within a group the order stays.
    lines.sort_by_key(|failed| (&failed.failure().registry, failed.failure().category));
    lines
}

/// The last line of merged reports.
pub fn merged_summary(document: &Document) -> String {
    let Summary { images, failed, not_generated, .. } = document.summary;
    summary_line(images, failed, not_generated)
}

/// One line for each rule and image of merged reports that failed: the rules in their order, then the images by category
/// and name.
pub fn merged_failures(document: &Document) -> Vec<String> {
    let rules = document.rules.iter().map(|rule| {
        let word = if rule.invalid { "INVALID" } else { "FAILED" };
        format!("{word} {}: {:?} -> {:?}: {}", rule.place, rule.source, rule.destination, rule.reason)
    });
    let mut images: Vec<&Image> = document.images.iter().filter(|image| image.result.is_failure()).collect();
    // Stable: they stand by name.
    images.sort_by_key(|image| image.category);
    let images = images.into_iter().map(|image| {
        let reason = image.reason.as_deref().unwrap_or("no reason was given");
        format!("FAILED {} -> {}: {reason}", image.source, image.destination)
    });
    rules.chain(images).map(|line| line.replace(is_obeyed, " ")).collect()
}

/// What to create before the next run, ready for a shell: each line once. Nothing if nothing is missing.
pub(super) fn remedies(ending: &Ending) -> Vec<String> {
    let lines: BTreeSet<&str> =
        ending.failed_images.iter().filter_map(|image| image.failure.remedy.as_deref()).collect();
    let head = (!lines.is_empty()).then(|| "CREATE what is missing, then run the same command again:".to_owned());
    head.into_iter().chain(lines.into_iter().map(|line| format!("    {line}"))).collect()
}

impl Totals {
    /// `2m 3s: 38 copied, 0 up to date, 0 skipped; 1.2 GiB moved in 120 blobs, 300.0 MiB mounted in 14, 3 already there,
    /// 0 layers skipped`
    pub(super) fn to_line(&self, elapsed: Duration) -> String {
        let elapsed = if elapsed < Duration::from_secs(10) {
            Duration::from_millis(elapsed.as_millis() as u64)
        } else {
            Duration::from_secs(elapsed.as_secs())
        };
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let size = |counter: &AtomicU64| ByteSize(counter.load(Relaxed)).display().iec();
        format!(
            "{}: {} copied, {} up to date, {} skipped; {} moved in {} blobs, {} mounted in {}, {} already there, {} layers \
             skipped",
            humantime::format_duration(elapsed),
            count(&self.copied),
            count(&self.up_to_date),
            count(&self.skipped),
            size(&self.bytes_moved),
            count(&self.blobs_moved),
            size(&self.bytes_mounted),
            count(&self.blobs_mounted),
            count(&self.blobs_present),
            count(&self.layers_skipped),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Category, InvalidRule, RuleText, WrittenRule};
    use crate::reference::Repository;

    fn failure(registry: &str, category: Category) -> Failure {
        Failure { registry: Some(registry.parse().unwrap()), category, ..Failure::internal("test") }
    }

    fn image(name: &str, registry: &str, category: Category) -> FailedImage {
        let reference = name.parse::<Repository>().unwrap().tagged("1".parse().unwrap());
        let failure = failure(registry, category);
        FailedImage { source: reference.clone(), destination: reference, failure }
    }

    #[test]
    fn what_is_missing_is_named_once() {
        let missing = |remedy: Option<&str>| {
            let image = image("s.io/a", "a.io", Category::NotFound);
            FailedImage { failure: Failure { remedy: remedy.map(Into::into), ..image.failure }, ..image }
        };
        let ending = |remedies: &[Option<&str>]| Ending {
            images: 9,
            failed_images: remedies.iter().map(|remedy| missing(*remedy)).collect(),
            ..Ending::default()
        };
        let found = remedies(&ending(&[Some("make b"), None, Some("make a"), Some("make b")]));
        assert_eq!(found[1..], ["    make a", "    make b"]);
        assert!(found[0].starts_with("CREATE "));
        assert_eq!(remedies(&ending(&[None])), [""; 0]);
    }

    #[test]
    fn failures_of_one_registry_and_kind_stand_together() {
        let rule = |place: &str| {
            let rule = RuleText { place: place.to_owned(), source: "a.io/a".to_owned(), ..RuleText::default() };
            FailedRule { rule, full_destination: String::new(), failure: failure("a.io", Category::Network) }
        };
        let written = WrittenRule { source: String::new(), destinations: vec![] };
        let invalid = InvalidRule { rule: RuleText::default(), reason: String::new(), written };
        let ending = Ending {
            images: 4,
            failed_images: vec![
                image("s.io/d", "b.io", Category::Auth),
                image("s.io/c", "a.io", Category::Network),
                image("s.io/b", "b.io", Category::Auth),
                image("s.io/a", "a.io", Category::Auth),
            ],
            failed_rules: vec![rule("images.json:9:1"), rule("images.json:10:1")],
            invalid_rules: vec![invalid],
            ..Ending::default()
        };
        let names: Vec<String> = failures(&ending.failed_rules, &ending.failed_images)
            .iter()
            .map(|failed| failed.to_string().split(' ').nth(1).unwrap().to_owned())
            .collect();
        assert_eq!(names, ["s.io/a:1", "images.json:9:1:", "images.json:10:1:", "s.io/c:1", "s.io/b:1", "s.io/d:1"]);
        assert_eq!(summary(&ending), "Images(4) migration finished, 4 images tasks failed, 3 tasks generate failed");
    }

    #[test]
    fn a_report_of_another_program_cannot_move_what_is_shown() {
        let mut document = crate::report::json::tests::document();
        document.images[1].reason = Some("a\r\nb\u{1b}[2J\u{202e}c".to_owned());
        let lines = merged_failures(&document);
        assert!(lines[1].ends_with(": a  b [2J c"), "{}", lines[1]);
    }
}
