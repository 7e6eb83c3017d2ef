//! What is told of merged reports: the lines of the run that they were.

use super::record::{Document, Image, Summary};
use crate::foreign::is_obeyed;

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
    rules.chain(images).map(|line| line.replace(is_obeyed, " ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::json::tests::document;

    #[test]
    fn a_report_of_another_program_cannot_move_what_is_shown() {
        let mut document = document();
        document.images[1].reason = Some("a\r\nb\u{1b}[2J\u{202e}c".to_owned());
        let lines = failures(&document);
        assert!(lines[1].ends_with(": a  b [2J c"), "{}", lines[1]);
    }
}
