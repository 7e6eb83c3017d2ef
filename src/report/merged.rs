//! What is told of merged reports: the lines of the run that they were.

use super::record::{Document, Image, Summary};

/// The last line of the whole.
pub fn summary(document: &Document) -> String {
    let Summary { images, failed, not_generated, .. } = document.summary;
    super::text::summary_line(images, failed, not_generated)
}

/// One line for each rule and image that failed: the rules in their order, then the images by category and name.
pub fn failures(document: &Document) -> Vec<String> {
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
    rules.chain(images).map(|line| line.replace(char::is_control, " ")).collect()
}
