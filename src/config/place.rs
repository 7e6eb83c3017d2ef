//! Where in a file something stands, and errors that say so.

use std::fmt;
use std::sync::Arc;

/// A place in a file. Lines and columns count from 1, columns in characters, as editors do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub file: Arc<str>,
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A problem and the place where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct At<P> {
    pub place: Place,
    pub problem: P,
}

impl Place {
    /// `problem`, found here.
    pub fn at<P>(self, problem: P) -> At<P> {
        At { place: self, problem }
    }
}

/// Bytes between two counts of [`Positions`].
const STEP: usize = 256;

/// An index that turns offsets of a text into lines and columns, also where all of it is one long line.
pub struct Positions {
    /// The offset of each line's first byte.
    lines: Vec<usize>,
    /// How many characters begin before each multiple of [`STEP`].
    characters: Vec<usize>,
}

impl Positions {
    pub fn of(text: &str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let mut count = 0;
        let mut characters = vec![0];
        for chunk in text.as_bytes().chunks(STEP) {
            count += characters_in(chunk);
            characters.push(count);
        }
        Self { lines: std::iter::once(0).chain(newlines.map(|(offset, _)| offset + 1)).collect(), characters }
    }

    /// Line and column of the byte at `offset` of `text`, which is the text this index was made of.
    pub fn locate(&self, text: &str, offset: usize) -> (usize, usize) {
        let offset = offset.min(text.len());
        let line = self.lines.partition_point(|start| *start <= offset);
        let before = |offset: usize| {
            let step = offset / STEP;
            self.characters[step] + characters_in(&text.as_bytes()[step * STEP..offset])
        };
        (line, before(offset) - before(self.lines[line - 1]) + 1)
    }
}

/// How many characters begin in `bytes`: all but UTF-8's continuation bytes.
fn characters_in(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(text: &str, offset: usize) -> (usize, usize) {
        Positions::of(text).locate(text, offset)
    }

    #[test]
    fn lines_and_columns_count_from_one() {
        assert_eq!(located("", 0), (1, 1));
        assert_eq!(located("ab\ncd", 0), (1, 1));
        assert_eq!(located("ab\ncd", 2), (1, 3));
        assert_eq!(located("ab\ncd", 3), (2, 1));
        assert_eq!(located("ab\ncd", 5), (2, 3));
        assert_eq!(located("ab\ncd\n", 6), (3, 1));
    }

    #[test]
    fn columns_count_characters() {
        let text = "é“x";
        assert_eq!(located(text, text.find('x').unwrap()), (1, 3));
    }

    #[test]
    fn long_lines_are_counted_across_steps() {
        let text = format!("x\n{}y", "é".repeat(3 * STEP + 7));
        assert_eq!(located(&text, text.len() - 1), (2, 3 * STEP + 8));
        let full = "a".repeat(2 * STEP);
        assert_eq!(located(&full, full.len()), (1, 2 * STEP + 1));
    }

    #[test]
    fn a_place_is_written_for_editors() {
        let place = Place { file: "images.json".into(), line: 12, column: 5 };
        assert_eq!(place.to_string(), "images.json:12:5");
        assert_eq!(place.at("no").to_string(), "images.json:12:5: no");
    }
}
