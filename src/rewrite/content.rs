//! What a file holds: bytes to keep, and a text of the same length to read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Nobody writes larger manifests by hand.
const MAX_SIZE: u64 = 16 << 20;
/// In so many bytes a file that is not text shows it; as git judges.
const PROBE: usize = 8000;
const BOM: &[u8] = b"\xEF\xBB\xBF";

pub enum Content {
    Text {
        bytes: Vec<u8>,
        /// Where the text begins: behind a byte order mark.
        start: usize,
        /// As long as the bytes.
        text: String,
    },
    /// Not text; with the reason if that is not plain to see.
    Skipped(Option<&'static str>),
}

pub fn read(path: &Path) -> io::Result<Content> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    let length = file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Ok(Content::Skipped(Some("it is UTF-16")));
    }
    if bytes[..length.min(PROBE)].contains(&0) {
        return Ok(Content::Skipped(None));
    }
    if length as u64 > MAX_SIZE {
        return Ok(Content::Skipped(Some("it is larger than 16 MiB")));
    }
    let start = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
    let text = text(&bytes[start..]);
    Ok(Content::Text { bytes, start, text })
}

/// The text that `bytes` are. What is not ASCII is covered, if not all is UTF-8.
pub fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' }).collect(),
    }
}

/// `bytes` with what `edits` replace in the text that begins at `start`.
pub fn apply(bytes: &[u8], start: usize, edits: &BTreeMap<(usize, usize), String>) -> Vec<u8> {
    let mut after = Vec::with_capacity(bytes.len());
    let mut done = 0;
    for ((from, to), text) in edits {
        after.extend_from_slice(&bytes[done..start + from]);
        after.extend_from_slice(text.as_bytes());
        done = start + to;
    }
    after.extend_from_slice(&bytes[done..]);
    after
}
