//! Reports that are read again: by `report merge`, `verify --against` and `rewrite --report`.

use super::record::Document;
use super::{json, merge, merged};
use crate::fuzz::assert_one_line;

pub fn report(data: &[u8]) {
    crate::config::fuzz::recorded(data);
    crate::rewrite::fuzz::outcomes(data);
    let document = match json::parse("report.json", data) {
        Ok(document) => document,
        Err(error) => return assert_one_line(&error.to_string()),
    };
    let text = written(&document);
    let again = json::parse("report.json", text.as_bytes()).expect("what was written is read");
    assert_eq!(written(&again), text);
    let alone = merge::merge(vec![document.clone()]);
    assert_tells(&alone);
    // A report beside itself holds the same images and rules.
    let twice = merge::merge(vec![document.clone(), document]);
    assert_eq!((&twice.images, &twice.rules), (&alone.images, &alone.rules));
    assert_eq!((twice.summary.images, twice.summary.failed), (alone.summary.images, alone.summary.failed));
    assert_tells(&twice);
}

fn written(document: &Document) -> String {
    let mut text = Vec::new();
    json::write(document, &mut text).expect("memory takes all");
    String::from_utf8(text).expect("text")
}

fn assert_tells(document: &Document) {
    assert_one_line(&merged::summary(document));
    merged::failures(document).iter().for_each(|line| assert_one_line(line));
    let missing = merge::missing(document);
    assert!(missing.iter().all(|shard| !document.shards.contains(shard)));
    let text = written(document);
    json::parse("report.json", text.as_bytes()).expect("what was merged is read");
    for write in [super::csv::write, super::html::write] {
        let mut page = Vec::new();
        write(document, &mut page).expect("memory takes all");
        assert!(page.len() < (1 << 20) + 40 * text.len(), "{} bytes of {}", page.len(), text.len());
        assert!(std::str::from_utf8(&page).is_ok());
    }
}
