//! Reports that are read again: by `report merge`, `verify --against` and `rewrite --report`.

use std::io::{self, Write};

use super::record::{Document, Summary};
use super::{json, merge, merged_failures, merged_summary};
use crate::fuzz::assert_one_line;

pub fn report(data: &[u8]) {
    crate::config::fuzz::recorded(data);
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
    assert_is_the_sum_of_its_parts(&alone);
}

/// Asserts that parts with each other image, whichever is named first, are the whole.
fn assert_is_the_sum_of_its_parts(whole: &Document) {
    let (one, other) = whole.images.iter().cloned().enumerate().partition::<Vec<_>, _>(|(index, _)| index % 2 == 0);
    let [one, other] = [one, other].map(|part| part.into_iter().map(|(_, image)| image).collect());
    let first = Document { images: one, ..whole.clone() };
    let rest = Document { images: other, rules: vec![], listed: vec![], summary: Summary::default(), ..whole.clone() };
    let [there, back] = [vec![first.clone(), rest.clone()], vec![rest, first]].map(merge::merge);
    for sum in [there, back] {
        assert_eq!((&sum.images, &sum.rules, &sum.listed), (&whole.images, &whole.rules, &whole.listed));
        assert_eq!(sum.summary, whole.summary);
    }
}

fn written(document: &Document) -> String {
    let mut text = Vec::new();
    json::write(document, &mut text).expect("memory takes all");
    String::from_utf8(text).expect("text")
}

fn assert_tells(document: &Document) {
    assert_one_line(&merged_summary(document));
    merged_failures(document).iter().for_each(|line| assert_one_line(line));
    let missing = merge::missing(document);
    assert!(missing.iter().all(|shard| !document.shards.contains(shard)));
    let text = written(document);
    json::parse("report.json", text.as_bytes()).expect("what was merged is read");
    assert_has_a_row_for_each(document, &page_of(super::csv::write, document));
    let page = page_of(super::html::write, document);
    assert!(page.len() < (1 << 20) + 40 * text.len(), "{} bytes of {}", page.len(), text.len());
    let data = page.split_once(" id=\"report\">").and_then(|(_, rest)| rest.split_once("</script>")).expect("data").0;
    assert!(!data.contains(['<', '>', '&']));
    assert_eq!(written(&json::parse("report.json", data.as_bytes()).expect("a report")), text);
}

fn page_of(write: fn(&Document, &mut dyn Write) -> io::Result<()>, document: &Document) -> String {
    let mut page = Vec::new();
    write(document, &mut page).expect("memory takes all");
    String::from_utf8(page).expect("text")
}

/// Asserts that a reader of CSV sees the names and reasons as they are, but for a `'` here and there, and no formula.
fn assert_has_a_row_for_each(document: &Document, text: &str) {
    let rows = rows(text);
    assert_eq!(rows.len(), document.images.len() + 1);
    let place = |name: &str| rows[0].iter().position(|cell| cell == name).expect("a column");
    let (source, destination, reason) = (place("source"), place("destination"), place("reason"));
    for (row, image) in rows[1..].iter().zip(&document.images) {
        assert_eq!(row.len(), rows[0].len());
        assert!(!row.iter().any(|cell| cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])), "{row:?}");
        let said =
            [&image.source, &image.destination, image.reason.as_ref().unwrap_or(&String::new())].map(String::clone);
        let shown = [source, destination, reason].map(|place| row[place].clone());
        for (said, shown) in said.iter().zip(&shown) {
            assert_eq!(shown.replace('\'', ""), said.replace('\'', ""));
            let cells = shown.split(';').map(|cell| cell.trim_start_matches(' '));
            assert!(!cells.into_iter().any(|cell| cell.starts_with(['=', '+', '-', '@'])), "{shown:?}");
        }
    }
}

/// CSV as RFC 4180 has it.
fn rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut is_quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if !is_quoted => {
                assert!(cell.is_empty(), "a quote within {cell:?}");
                is_quoted = true;
            }
            '"' if characters.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' => {
                is_quoted = false;
                assert!(matches!(characters.peek(), Some(',' | '\r')), "something behind {cell:?}");
            }
            ',' if !is_quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !is_quoted => {
                assert_eq!(characters.next(), Some('\n'));
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => {
                assert!(is_quoted || c != '\n', "a line ends within {cell:?}");
                cell.push(c);
            }
        }
    }
    assert!(row.is_empty() && cell.is_empty() && !is_quoted);
    rows
}
