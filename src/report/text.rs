//! The lines that are promised to people and scripts, word for word.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytesize::ByteSize;

use super::Totals;
use crate::event::{Category, Failure, Phase};
use crate::migration::Remains;

pub(super) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Generate => "Start to generate images tasks, please wait ...",
        Phase::Handle => "Start to handle images tasks, please wait ...",
        Phase::RetryGenerate => "Start to retry to generate images tasks, please wait ...",
        Phase::RetryHandle => "Start to retry images tasks, please wait ...",
    }
}

pub(super) fn summary(images: usize, failed: usize, rules_failed: usize) -> String {
    format!("Images({images}) migration finished, {failed} images tasks failed, {rules_failed} tasks generate failed")
}

/// One line for each failure, those of one registry and one kind together: rules in the order of the file, then images
/// by name.
pub(super) fn failures(remains: &Remains) -> Vec<(String, Category)> {
    let rules = remains.rules.iter().map(|(rule, failure)| (failure, format!("FAILED {rule}: {failure}")));
    let mut images: Vec<_> = remains.failed.iter().collect();
    images.sort_by_key(|(task, _)| (&task.source, &task.destination));
    let images = images
        .into_iter()
        .map(|(task, failure)| (failure, format!("FAILED {} -> {}: {failure}", task.source, task.destination)));
    let mut lines: Vec<(&Failure, String)> = rules.chain(images).collect();
    // Stable: within a group the order stays.
    lines.sort_by_key(|(failure, _)| (&failure.registry, failure.category));
    lines.into_iter().map(|(failure, line)| (line, failure.category)).collect()
}

impl Totals {
    /// `2m 3s: 38 copied, 0 up to date; 120 blobs (1.2 GiB) moved, 14 mounted, 3 already there`
    pub(super) fn to_line(&self, elapsed: Duration) -> String {
        let elapsed = if elapsed < Duration::from_secs(10) {
            Duration::from_millis(elapsed.as_millis() as u64)
        } else {
            Duration::from_secs(elapsed.as_secs())
        };
        let mut line = format!(
            "{}: {} copied, {} up to date; {} blobs ({}) moved, {} mounted, {} already there",
            humantime::format_duration(elapsed),
            self.copied.load(Relaxed),
            self.up_to_date.load(Relaxed),
            self.blobs_moved.load(Relaxed),
            ByteSize(self.bytes_moved.load(Relaxed)).display().iec(),
            self.blobs_mounted.load(Relaxed),
            self.blobs_present.load(Relaxed),
        );
        let skipped = self.layers_skipped.load(Relaxed);
        if skipped > 0 {
            line += &format!(", {skipped} layers left where they are (they have urls of their own)");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::plan::Task;
    use crate::reference::Repository;

    #[test]
    fn failures_of_one_registry_and_kind_stand_together() {
        let failed = |name: &str, registry: &str, category| {
            let reference = name.parse::<Repository>().unwrap().tagged("1".parse().unwrap());
            let task = Arc::new(Task { source: reference.clone(), destination: reference });
            let registry = Some(registry.parse().unwrap());
            let failure = Failure { registry, category, ..Failure::internal("test") };
            (task, failure)
        };
        let remains = Remains {
            images: 4,
            failed: vec![
                failed("s.io/d", "b.io", Category::Auth),
                failed("s.io/c", "a.io", Category::Network),
                failed("s.io/b", "b.io", Category::Auth),
                failed("s.io/a", "a.io", Category::Auth),
            ],
            rules: Vec::new(),
        };
        let order: Vec<char> = failures(&remains)
            .iter()
            .filter_map(|(line, _)| line.strip_prefix("FAILED s.io/")?.chars().next())
            .collect();
        assert_eq!(order, ['a', 'c', 'b', 'd']);
    }

    #[test]
    fn the_summary_is_what_scripts_read() {
        assert_eq!(summary(38, 0, 0), "Images(38) migration finished, 0 images tasks failed, 0 tasks generate failed");
    }
}
