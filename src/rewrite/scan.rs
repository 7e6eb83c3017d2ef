//! One file under the eyes of the readers of its format: what they find of it, and what is to be changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::moves::{Destination, Found, Image, Moves, Reason, Version};
use super::written::Written;
use super::{arguments, variable};
use crate::foreign::harmless;
use crate::reference::Repository;

/// The text of a file and what was found in it. All offsets are bytes of that text.
pub struct Scan<'a> {
    pub moves: &'a Moves,
    pub text: &'a str,
    pub found: Findings,
}

/// What a scan came to.
#[derive(Default)]
pub struct Findings {
    /// Replacements, by what they replace. They do not overlap.
    pub edits: BTreeMap<(usize, usize), String>,
    /// What stays, by where it stands.
    pub stays: BTreeMap<usize, (String, Reason)>,
    /// What went to several places, by its name in the file.
    pub several: BTreeMap<String, BTreeSet<Repository>>,
    /// The names of images without tags, by where they stand: as they are, and as they will be.
    pub names: BTreeMap<usize, (String, String)>,
}

/// What a text is, where an image is expected.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning {
    /// No reference at all.
    Other,
    /// A reference that stays as it is.
    Same,
    /// A reference that should be written like this.
    Moved(String),
}

/// What else than letters and digits a reference is made of.
const REFERENCE_MARKS: &[u8] = b"._-/:@+";
/// What comes before a reference, and is no host.
const SCHEMES: [&str; 3] = ["docker://", "docker-image://", "oci://"];
/// Those behind which nothing else can stand: also a short name is one of an image. A chart may be behind `oci://`.
const SCHEMES_OF_IMAGES: [&str; 2] = ["docker://", "docker-image://"];

impl<'a> Scan<'a> {
    pub fn new(moves: &'a Moves, text: &'a str) -> Self {
        Self { moves, text, found: Findings::default() }
    }

    /// Replaces `range`, unless it is changed already.
    pub fn replace(&mut self, range: Range<usize>, text: impl Into<String>) {
        let text = text.into();
        if self.text.get(range.clone()) != Some(text.as_str()) && !self.touches(&range) {
            self.found.edits.insert((range.start, range.end), text);
        }
    }

    /// Puts quotes around `range`, which has none, if YAML would take what was put into it for a list: a host in brackets.
    pub fn quote(&mut self, range: Range<usize>) {
        let Some(text) = self.text.get(range.clone()) else { return };
        let inside = self.found.edits.range((range.start, 0)..(range.end, 0)).filter(|((_, end), _)| *end <= range.end);
        let edits: Vec<(usize, usize)> = inside.map(|(place, _)| *place).collect();
        if !edits.iter().any(|place| self.found.edits.get(place).is_some_and(|text| text.starts_with('['))) {
            return;
        }
        let quote = ["\"", "'"].into_iter().find(|quote| !text.contains(quote) && !text.contains(['\\', '\n']));
        let Some(quote) = quote else { return };
        let (mut quoted, mut done) = (quote.to_owned(), range.start);
        for (from, to) in edits {
            quoted.push_str(&self.text[done..from]);
            quoted.extend(self.found.edits.remove(&(from, to)));
            done = to;
        }
        quoted.extend([&self.text[done..range.end], quote]);
        self.found.edits.insert((range.start, range.end), quoted);
    }

    fn touches(&self, range: &Range<usize>) -> bool {
        // Since they do not overlap, the last that begins before its end is the last that ends behind its begin.
        let before = self.found.edits.range(..(range.end, 0)).next_back();
        self.found.edits.contains_key(&(range.start, range.end))
            || before.is_some_and(|((_, end), _)| *end > range.start)
    }

    /// Where the line of `offset` begins.
    pub fn line_start(&self, offset: usize) -> usize {
        line_start(self.text, offset)
    }

    /// The line break and indentation that put a line beneath what stands at `offset`. `None` unless that begins its
    /// line, but for dashes.
    pub fn new_line(&self, offset: usize) -> Option<String> {
        let before = &self.text[self.line_start(offset)..offset];
        let is_begin = before.trim_start_matches([' ', '-']).is_empty();
        is_begin.then(|| format!("{}{}", self.line_ending(offset), before.replace('-', " ")))
    }

    /// What comes between the item of a list that stands at `offset` and another one behind it.
    pub fn next_item(&self, offset: usize) -> String {
        let before = &self.text[self.line_start(offset)..offset];
        let (indent, dash) = before.split_at(before.len() - before.trim_start_matches(' ').len());
        // An anchor or a type may stand between.
        let is_block = |rest: &str| rest.split_whitespace().all(|word| word.starts_with(['&', '!']));
        match dash.strip_prefix('-') {
            Some(rest) if is_block(rest) => format!("{}{indent}- ", self.line_ending(offset)),
            _ => ", ".to_owned(),
        }
    }

    /// How the line of `offset` ends.
    pub fn line_ending(&self, offset: usize) -> &'static str {
        let line = self.text.get(offset..).and_then(|rest| rest.split('\n').next());
        if line.is_some_and(|line| line.ends_with('\r')) { "\r\n" } else { "\n" }
    }

    /// Reports that `name`, which stands at `offset`, stays. What is said last of it is what became of it.
    pub fn stays(&mut self, offset: usize, name: impl Into<String>, reason: Reason) {
        self.found.stays.insert(offset, (name.into(), reason));
    }

    /// Reports that `name`, which was found at `offset`, stays although it has moved.
    pub fn keeps(&mut self, offset: usize, name: impl Into<String>, reason: Reason) {
        if let Some((now, then)) = self.found.names.get_mut(&offset) {
            then.clone_from(now);
        }
        self.stays(offset, name, reason);
    }

    /// Where `image`, which stands at `offset` as `text` and is called `name`, is now. Reports it where it cannot be
    /// rewritten.
    pub fn find(&mut self, offset: usize, text: &str, name: &str, image: &Image) -> Option<Destination> {
        let destination = match self.moves.find(image) {
            Found::Moved(destination) => {
                if self.moves.pins() && destination.digest.is_none() {
                    self.stays(offset, text, Reason::UnknownDigest);
                }
                Some(destination)
            }
            Found::Stays(reason) => {
                self.stays(offset, text, reason);
                None
            }
            Found::Several(places) => {
                self.found.several.entry(harmless(text)).or_default().extend(places);
                None
            }
            Found::Foreign => None,
        };
        let then = destination.as_ref().map_or(name.to_owned(), |destination| destination.repository.to_string());
        self.found.names.insert(offset, (name.to_owned(), then));
        destination
    }

    /// Reads `text`, where an image is expected; it stands at `offset`.
    pub fn meaning(&mut self, offset: usize, text: &str) -> Meaning {
        let reference = without_scheme(text);
        let scheme = &text[..text.len() - reference.len()];
        let Some(written) = Written::parse(reference, self.moves.hosts()) else { return Meaning::Other };
        match self.find(offset, text, written.name, &written.image()) {
            Some(destination) => Meaning::Moved(format!("{scheme}{}", written.moved(reference, &destination))),
            None => Meaning::Same,
        }
    }

    /// Reports `text` if it is a migrated image: it is written with escapes at `offset`, so it is not rewritten.
    /// Returns whether it is an image at all.
    pub fn escaped(&mut self, offset: usize, text: &str) -> bool {
        match self.meaning(offset, text) {
            Meaning::Other => return false,
            Meaning::Same => {}
            Meaning::Moved(to) => self.keeps(offset, text, Reason::Escaped(to)),
        }
        true
    }

    /// Rewrites `range`, where an image is expected. What is none may hold some.
    pub fn image(&mut self, range: Range<usize>) {
        let Some(text) = self.text.get(range.clone()) else { return };
        let default = variable::default(text);
        let (range, text) = (range.start + default.start..range.start + default.end, &text[default]);
        match self.meaning(range.start, text) {
            Meaning::Moved(text) => self.replace(range, text),
            Meaning::Same => {}
            Meaning::Other => {
                arguments::spread(self, range.clone());
                self.prose(range);
            }
        }
    }

    /// Has `range` read as a file of its own.
    pub fn within(&mut self, range: Range<usize>, read: impl FnOnce(&mut Scan)) {
        let Some(text) = self.text.get(range.clone()) else { return };
        let mut inner = Scan::new(self.moves, text);
        read(&mut inner);
        let Findings { edits, stays, several, names } = inner.found;
        for ((from, to), text) in edits {
            self.replace(range.start + from..range.start + to, text);
        }
        self.found.stays.extend(stays.into_iter().map(|(offset, left)| (range.start + offset, left)));
        for (name, places) in several {
            self.found.several.entry(name).or_default().extend(places);
        }
        self.found.names.extend(names.into_iter().map(|(offset, name)| (range.start + offset, name)));
    }

    /// Rewrites the references in `range` that need no context: those with registry and tag or digest.
    pub fn prose(&mut self, range: Range<usize>) {
        let Some(text) = self.text.get(range.clone()) else { return };
        let bytes = text.as_bytes();
        let mut end = 0;
        while let Some(start) = bytes[end..].iter().position(is_part).map(|skipped| end + skipped) {
            end = bytes[start..].iter().position(|byte| !is_part(byte)).map_or(bytes.len(), |length| start + length);
            // Of an escape as in `\n` the letter is no part of what follows.
            let start = start + usize::from(begins_with_escape(bytes, start));
            // What is put in by others makes another name of it; emphasis does not.
            let is_marked = is_emphasis(bytes, start..end);
            let before = start.checked_sub(1).and_then(|before| bytes.get(before));
            let has_begin = is_marked || !before.is_some_and(|byte| b"$}%*".contains(byte));
            let behind = bytes.get(end).filter(|_| !is_marked);
            let is_cut =
                behind.is_some_and(|byte| b"${%".contains(byte) || (b"<>~^".contains(byte) && bytes[end - 1] == b':'));
            if has_begin && is_cut {
                self.unclear(range.start + start, &text[start..=end]);
            }
            if has_begin && !behind.is_some_and(|byte| b"${%*".contains(byte)) {
                let word = &text[start..end];
                let default = default_in(text, start..end).map_or(0, |default| word.len() - default.len());
                let offset = range.start + start + default;
                let is_known = self.touches(&(offset..range.start + end)) || self.found.stays.contains_key(&offset);
                if !is_known && is_value(bytes, start..end) {
                    self.unclear(offset, &word[default..]);
                }
                self.word(offset, &word[default..]);
            }
        }
    }

    /// Reports `text`, where no image is expected, if it is the full name of a migrated one. Its tag must be missing or
    /// filled in later.
    pub fn unclear(&mut self, offset: usize, text: &str) {
        let Some(written) = Written::parse(without_scheme(text), self.moves.hosts()) else { return };
        if !written.is_open && has_scheme_of_image(text) {
            return;
        }
        let is_whole = written.is_open || (written.tag.is_none() && written.digest.is_none());
        let image = Image { repository: written.repository, version: Version::Unknown };
        if written.has_host && is_whole && self.moves.find(&image) != Found::Foreign {
            self.stays(offset, written.name, Reason::Unclear);
        }
    }

    /// Reports `text`, a repository whose other fields are not known, if one of that name is migrated.
    pub fn part(&mut self, offset: usize, text: &str) {
        let written = Written::parse(text, self.moves.hosts());
        let is_source = written.is_some_and(|written| {
            let is_alone = written.tag.is_none() && written.digest.is_none();
            is_alone && self.moves.places_of(&written.repository).next().is_some()
        });
        if is_source || self.moves.knows_path(text) {
            self.stays(offset, text, Reason::NotYaml);
        }
    }

    /// Rewrites `word` if it is a reference that needs no context: it says by itself that it is one.
    fn word(&mut self, offset: usize, word: &str) {
        let whole = word;
        let word = without_scheme(word);
        let skipped = whole.len() - word.len();
        // The end of a sentence is not the end of a tag.
        let word = word.trim_end_matches(['.', ':', '-', '+']);
        let is_image = has_scheme_of_image(whole);
        if !is_image && (!word.contains('/') || !word.contains([':', '@'])) {
            return;
        }
        let written = Written::parse(word, self.moves.hosts()).filter(|written| is_image || written.is_full());
        let Some(written) = written else { return };
        let offset = offset + skipped;
        if let Some(destination) = self.find(offset, word, written.name, &written.image()) {
            self.replace(offset..offset + word.len(), written.moved(word, &destination));
        }
    }
}

/// Where the line of `offset` begins.
pub fn line_start(text: &str, offset: usize) -> usize {
    text[..offset].rfind('\n').map_or(0, |newline| newline + 1)
}

fn has_scheme_of_image(text: &str) -> bool {
    SCHEMES_OF_IMAGES.iter().any(|scheme| text.starts_with(scheme))
}

fn without_scheme(text: &str) -> &str {
    SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text)
}

/// Whether references are made of such bytes.
fn is_part(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || REFERENCE_MARKS.contains(byte)
}

/// Whether the word at `start` begins with the letter of `\n`, `\t` or `\r`.
fn begins_with_escape(bytes: &[u8], start: usize) -> bool {
    let slashes = bytes[..start].iter().rev().take_while(|byte| **byte == b'\\').count();
    slashes % 2 == 1 && b"ntr".contains(&bytes[start])
}

/// Whether as many stars stand before `range` as behind it, as Markdown has them.
fn is_emphasis(bytes: &[u8], range: Range<usize>) -> bool {
    let is_star = |byte: &&u8| **byte == b'*';
    let before = bytes[..range.start].iter().rev().take_while(is_star).count();
    before > 0 && bytes[range.end..].iter().take_while(is_star).count() == before
}

/// Whether `range` is all of a value: between quotes, right behind `=`, or behind it up to the end of the line.
fn is_value(bytes: &[u8], range: Range<usize>) -> bool {
    let before = &bytes[..range.start];
    let behind = &bytes[range.end..];
    match before.last() {
        Some(quote @ (b'"' | b'\'')) => behind.first() == Some(quote),
        Some(b'=') => behind.first().is_none_or(|end| end.is_ascii_whitespace() || b",;#\"'".contains(end)),
        _ => {
            let is_blank = |byte: &&u8| matches!(**byte, b' ' | b'\t');
            let end = behind.iter().find(|byte| !is_blank(byte));
            let begin = before.iter().rev().find(|byte| !is_blank(byte));
            begin == Some(&b'=') && end.is_none_or(|end| matches!(end, b'\r' | b'\n' | b'#'))
        }
    }
}

/// The default in `${NAME:-default}`, which is no part of more. The word at `range` is what stands in the braces.
fn default_in(text: &str, range: Range<usize>) -> Option<&str> {
    let before = text[..range.start].strip_suffix("${")?;
    let behind = text[range.end..].strip_prefix('}')?.as_bytes().first();
    let word = &text[range];
    let default = word.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let default = default.strip_prefix(":-").or_else(|| default.strip_prefix('-'))?;
    let is_alone =
        before.ends_with(":-") || !before.as_bytes().last().is_some_and(|byte| is_part(byte) || *byte == b'}');
    (is_alone && !behind.is_some_and(|byte| is_part(byte) || *byte == b'$')).then_some(default)
}

#[cfg(test)]
mod tests {
    use super::super::moves::Choice;
    use super::*;

    #[test]
    fn what_is_changed_already_is_not_changed_again() {
        let moves = Moves::new(Vec::new(), Choice::default()).unwrap();
        let mut scan = Scan::new(&moves, "0123456789");
        for (range, text) in [(2..4, "a"), (6..8, "b"), (4..4, "c"), (8..8, "d")] {
            scan.replace(range, text);
        }
        let edits = scan.found.edits.clone();
        assert_eq!(edits.len(), 4, "{edits:?}");
        for range in [2..4, 3..6, 3..7, 3..8, 0..3, 7..9, 0..10, 3..3, 4..4] {
            scan.replace(range.clone(), "x");
            assert_eq!(scan.found.edits, edits, "{range:?}");
        }
        scan.replace(4..6, "45");
        assert_eq!(scan.found.edits, edits, "it is there already");
    }
}
