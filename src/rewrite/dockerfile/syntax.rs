//! Instructions and their words, with continued lines and here-documents.
//!
//! Source: the Dockerfile reference of BuildKit.

use std::collections::HashSet;
use std::ops::Range;

/// An instruction: at least its keyword.
pub struct Instruction {
    pub words: Vec<Range<usize>>,
    /// The bodies of its here-documents.
    pub documents: Vec<Range<usize>>,
}

impl Instruction {
    /// What kind of instruction it is, in capitals. Of `ONBUILD x` it is `x`.
    pub fn keyword(&self, text: &str) -> String {
        self.words.first().map(|word| text[word.clone()].to_ascii_uppercase()).unwrap_or_default()
    }
}

/// The value of a parser directive: `# name=value`, before all else.
pub fn directive(text: &str, name: &str) -> Option<Range<usize>> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let (key, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
        if key.trim().eq_ignore_ascii_case(name) {
            let value = value.trim();
            let offset = start + line.find('=')? + 1;
            let skipped = text[offset..].len() - text[offset..].trim_start().len();
            return Some(offset + skipped..offset + skipped + value.len());
        }
        start += line.len();
    }
    None
}

/// All instructions in order.
pub fn instructions(text: &str) -> Vec<Instruction> {
    let escape = if directive(text, "escape").is_some_and(|value| &text[value] == "`") { '`' } else { '\\' };
    let mut instructions = Vec::new();
    let mut words: Vec<Range<usize>> = Vec::new();
    let mut lines = Lines { text, offset: 0, nowhere: HashSet::new() };
    while let Some((start, line)) = lines.next() {
        let trimmed = line.trim();
        if trimmed.starts_with('#') || (trimmed.is_empty() && !words.is_empty()) {
            continue;
        }
        let content = trimmed.strip_suffix(escape);
        words.extend(split(start, line, content.unwrap_or(trimmed)));
        if content.is_none() && !words.is_empty() {
            let mut words = std::mem::take(&mut words);
            if text[words[0].clone()].eq_ignore_ascii_case("ONBUILD") {
                words.remove(0);
            }
            let documents = documents(text, &words).into_iter().filter_map(|end| lines.until(end)).collect();
            instructions.push(Instruction { words, documents });
        }
    }
    if !words.is_empty() {
        instructions.push(Instruction { words, documents: Vec::new() });
    }
    instructions
}

/// The words of `content`, which stands in `line`, which stands at `start`.
fn split(start: usize, line: &str, content: &str) -> Vec<Range<usize>> {
    let offset = start + line.find(content).unwrap_or_default();
    let mut words = Vec::new();
    let mut end = 0;
    while let Some(begin) = content[end..].find(|c: char| !c.is_whitespace()).map(|skipped| end + skipped) {
        end = content[begin..].find(char::is_whitespace).map_or(content.len(), |length| begin + length);
        words.push(offset + begin..offset + end);
    }
    words
}

/// The words that end the here-documents of an instruction.
fn documents<'a>(text: &'a str, words: &[Range<usize>]) -> Vec<&'a str> {
    let keyword = words.first().map(|word| text[word.clone()].to_ascii_uppercase()).unwrap_or_default();
    if !matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") {
        return Vec::new();
    }
    let starts = words.iter().filter_map(|word| text[word.clone()].split_once("<<").map(|(_, end)| end));
    let ends = starts.map(|end| end.trim_start_matches('-').trim_matches(['"', '\'']));
    ends.filter(|end| !end.is_empty() && end.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).collect()
}

struct Lines<'a> {
    text: &'a str,
    offset: usize,
    /// What ends no here-document from here on: it is looked for once.
    nowhere: HashSet<&'a str>,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<(usize, &'a str)> {
        let rest = &self.text[self.offset..];
        let line = rest.split_inclusive('\n').next()?;
        let start = self.offset;
        self.offset += line.len();
        Some((start, line))
    }

    /// All before the line `end`. Without such a line nothing is taken: what looked like a here-document is none.
    fn until(&mut self, end: &'a str) -> Option<Range<usize>> {
        if self.nowhere.contains(end) {
            return None;
        }
        let start = self.offset;
        while let Some((offset, line)) = self.next() {
            if line.trim() == end {
                return Some(start..offset);
            }
        }
        self.offset = start;
        self.nowhere.insert(end);
        None
    }
}
