//! YAML as a tree of which every scalar knows where it stands.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::scan::{Scan, line_start};

/// Deeper nesting is no configuration, and would need as much stack to walk.
const MAX_DEPTH: usize = 128;

/// The documents of a file.
pub struct Tree {
    pub roots: Vec<Node>,
    /// Where keys and values without quotes stand.
    pub plain: Vec<Range<usize>>,
    /// Whether a mapping is the key of another one. Nobody writes that: it is `{{ .x }}` without quotes.
    pub is_template: bool,
}

pub enum Node {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Mapping),
    /// By the number of the anchor.
    Alias(usize),
}

/// A mapping; keys that are no scalars have no name here.
#[derive(Default)]
pub struct Mapping {
    entries: Vec<(Option<Scalar>, Node)>,
    /// Zero if it has none.
    pub anchor: usize,
}

pub struct Scalar {
    pub value: String,
    pub style: Style,
    /// Where it stands in the file, with its quotes. A block begins with its header or its first character.
    pub raw: Range<usize>,
    /// Zero if it has none.
    pub anchor: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Quoted,
    /// Behind `|`: what it says is what stands there.
    Literal,
    /// Folded (`>`), or any scalar whose text cannot be located in the file.
    Folded,
}

impl Tree {
    /// Parses `masked`, which is `text` but for what is covered. `None` if it is not YAML.
    pub fn parse(text: &str, masked: &str) -> Option<Self> {
        Self::parse_at(0, text, masked)
    }

    /// The same for a text that stands at `start` of another one, to which all places belong then.
    pub fn parse_at(start: usize, text: &str, masked: &str) -> Option<Self> {
        let offsets = Offsets::of(masked);
        let mut tree = Self { roots: Vec::new(), plain: Vec::new(), is_template: false };
        let mut open: Vec<Open> = Vec::new();
        for event in Parser::new_from_str(masked) {
            let (event, span) = event.ok()?;
            let node = match event {
                Event::Scalar(value, style, anchor, _) => {
                    let mut scalar = Scalar::new(text, masked, value.into_owned(), style, anchor, offsets.range(span)?);
                    scalar.raw = start + scalar.raw.start..start + scalar.raw.end;
                    tree.plain.extend(Some(scalar.raw.clone()).filter(|_| scalar.style == Style::Plain));
                    Node::Scalar(scalar)
                }
                Event::Alias(anchor) => Node::Alias(anchor),
                Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= MAX_DEPTH => return None,
                Event::SequenceStart(..) => {
                    open.push(Open::Sequence(Vec::new()));
                    continue;
                }
                Event::MappingStart(anchor, _) => {
                    open.push(Open::Mapping(Mapping { entries: Vec::new(), anchor }, None));
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => open.pop()?.close(),
                _ => continue,
            };
            match open.last_mut() {
                Some(parent) => {
                    tree.is_template |= matches!((&*parent, &node), (Open::Mapping(_, None), Node::Mapping(_)));
                    parent.add(node);
                }
                None => tree.roots.push(node),
            }
        }
        Some(tree)
    }
}

impl Mapping {
    pub fn entries(&self) -> impl Iterator<Item = (Option<&Scalar>, &Node)> {
        self.entries.iter().map(|(key, value)| (key.as_ref(), value))
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// A key and its value.
    pub fn entry(&self, name: &str) -> Option<(&Scalar, &Node)> {
        self.entries
            .iter()
            .find_map(|(key, value)| key.as_ref().filter(|key| key.value == name).map(|key| (key, value)))
    }

    pub fn scalar(&self, key: &str) -> Option<&Scalar> {
        match self.get(key) {
            Some(Node::Scalar(scalar)) => Some(scalar),
            _ => None,
        }
    }
}

impl Scalar {
    fn new(text: &str, masked: &str, value: String, style: ScalarStyle, anchor: usize, span: Range<usize>) -> Self {
        let span = span.start + properties(&masked[span.clone()])..span.end;
        let rest = &masked[span.start..];
        let (style, raw) = match style {
            ScalarStyle::Plain if rest.starts_with(&value) => (Style::Plain, span.start..span.start + value.len()),
            ScalarStyle::Plain => (Style::Plain, span),
            // The end that the parser knows may be that of a comment behind it.
            ScalarStyle::SingleQuoted if rest.starts_with('\'') => {
                (Style::Quoted, span.start..span.start + quoted(rest, '\''))
            }
            ScalarStyle::DoubleQuoted if rest.starts_with('"') => {
                (Style::Quoted, span.start..span.start + quoted(rest, '"'))
            }
            ScalarStyle::Literal => (Style::Literal, span),
            // Also what is kept apart from its anchor or tag by a comment: it is not looked for.
            _ => (Style::Folded, span),
        };
        // What was covered is shown again, so that names of templates can be told.
        let covered =
            |range: &Range<usize>| text.get(range.clone()).filter(|shown| Some(*shown) != masked.get(range.clone()));
        let inside = if style == Style::Quoted { raw.start + 1..raw.end.max(raw.start + 2) - 1 } else { raw.clone() };
        let value = match covered(&inside) {
            Some(shown) if matches!(style, Style::Plain | Style::Quoted) => shown.to_owned(),
            _ => value,
        };
        Self { value, style, raw, anchor }
    }

    /// Where its value stands in the file, if it stands there as it is: on one line, without escapes.
    pub fn content(&self) -> Option<Range<usize>> {
        let range = match self.style {
            Style::Plain => self.raw.clone(),
            Style::Quoted => self.raw.start + 1..self.raw.end.checked_sub(1)?,
            Style::Literal | Style::Folded => return None,
        };
        (range.len() == self.value.len()).then_some(range)
    }

    /// The lines of a block in `text`, without its header.
    pub fn lines(&self, text: &str) -> Range<usize> {
        let line = line_start(text, self.raw.start);
        if text[line..self.raw.start].trim().is_empty() {
            return line..self.raw.end;
        }
        let header = text[self.raw.clone()].find('\n').map_or(self.raw.len(), |newline| newline + 1);
        self.raw.start + header..self.raw.end
    }

    /// Where the only line of a block stands.
    pub fn only_line(&self, text: &str) -> Option<Range<usize>> {
        let lines = self.lines(text);
        let value = self.value.trim();
        let begin = lines.start + text[lines].find(value)?;
        let is_block = matches!(self.style, Style::Literal | Style::Folded);
        (is_block && !value.is_empty() && !value.contains(char::is_whitespace)).then(|| begin..begin + value.len())
    }

    /// Whether others may stand for it.
    pub fn is_anchored(&self) -> bool {
        self.anchor > 0
    }

    /// Whether YAML takes it for nothing.
    pub fn is_empty(&self) -> bool {
        self.value.is_empty()
            || (self.style == Style::Plain && matches!(self.value.as_str(), "~" | "null" | "Null" | "NULL"))
    }

    /// Puts `text` in the place of its value, in its style if that can be.
    pub fn write(&self, scan: &mut Scan, text: &str) {
        let Some(range) = self.content() else { return };
        if text == self.value {
            return;
        }
        scan.replace(range, if self.style == Style::Plain { as_value(text) } else { text.to_owned() });
    }
}

/// `text`, a part of a reference, as a value: in quotes if YAML would take it for something else than a string.
pub fn as_value(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { format!("\"{text}\"") }
}

/// Whether `text`, a part of a reference, is a string for YAML also without quotes.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "~"];
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        // Numbers, dates and times begin with a digit and hold nothing else than these; so does 0x1f, and 1e3.
        && (text.contains('/') || text.starts_with(|first: char| first.is_ascii_alphabetic()))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// The length of anchor and tag, which the parser takes for a part of the scalar behind them.
fn properties(text: &str) -> usize {
    let mut rest = text;
    // To YAML no other characters are white.
    let white = [' ', '\t', '\r', '\n'];
    while rest.starts_with(['&', '!']) {
        rest = rest.trim_start_matches(|c| !white.contains(&c)).trim_start_matches(white);
    }
    text.len() - rest.len()
}

/// The length of the quoted scalar at the start of `text`.
fn quoted(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((offset, character)) = characters.next() {
        if character == '\\' && quote == '"' {
            characters.next();
        } else if character == quote {
            match characters.peek() {
                Some((_, '\'')) if quote == '\'' => _ = characters.next(),
                _ => return offset + 1,
            }
        }
    }
    text.len()
}

/// A sequence or mapping that has not ended.
enum Open {
    Sequence(Vec<Node>),
    /// With the key whose value comes next.
    Mapping(Mapping, Option<Node>),
}

impl Open {
    fn add(&mut self, node: Node) {
        match self {
            Self::Sequence(items) => items.push(node),
            Self::Mapping(mapping, key) => match key.take() {
                None => *key = Some(node),
                Some(Node::Scalar(name)) => mapping.entries.push((Some(name), node)),
                Some(_) => mapping.entries.push((None, node)),
            },
        }
    }

    fn close(self) -> Node {
        match self {
            Self::Sequence(items) => Node::Sequence(items),
            Self::Mapping(mapping, _) => Node::Mapping(mapping),
        }
    }
}

/// From the parser's characters to bytes.
enum Offsets {
    /// They are the same.
    Ascii(usize),
    Characters(Vec<usize>),
}

impl Offsets {
    fn of(text: &str) -> Self {
        if text.is_ascii() {
            return Self::Ascii(text.len());
        }
        Self::Characters(text.char_indices().map(|(offset, _)| offset).chain([text.len()]).collect())
    }

    fn range(&self, span: Span) -> Option<Range<usize>> {
        let of = |index: usize| match self {
            Self::Ascii(length) => (index <= *length).then_some(index),
            Self::Characters(offsets) => offsets.get(index).copied(),
        };
        Some(of(span.start.index())?..of(span.end.index())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalars(text: &str) -> Vec<(String, String)> {
        let tree = Tree::parse(text, text).unwrap();
        let mut found = Vec::new();
        let mut nodes: Vec<&Node> = tree.roots.iter().rev().collect();
        while let Some(node) = nodes.pop() {
            match node {
                Node::Scalar(scalar) => found.push((scalar.value.clone(), text[scalar.raw.clone()].to_owned())),
                Node::Alias(_) => {}
                Node::Sequence(items) => nodes.extend(items.iter().rev()),
                Node::Mapping(mapping) => nodes.extend(mapping.entries.iter().rev().map(|(_, value)| value)),
            }
        }
        found
    }

    #[test]
    fn scalars_know_where_they_stand() {
        let text = "é: 'it''s' # \"x\"\nb: &x !!str \"a\\\"b\" # y\nc: plain value # z\n---\n- [a, {b: c:1}]\n- >-\n  folded\n  text\n\n# after\n- \n";
        let expected =
            [("it's", "'it''s'"), ("a\"b", "\"a\\\"b\""), ("plain value", "plain value"), ("a", "a"), ("c:1", "c:1")];
        let found = scalars(text);
        for (found, (value, raw)) in found.iter().zip(expected) {
            assert_eq!((found.0.as_str(), found.1.as_str()), (value, raw));
        }
        assert!(found[5].1.contains("folded") && !found[5].1.contains("# after"), "{:?}", found[5]);
        assert_eq!(found[6], (String::new(), String::new()));
    }

    #[test]
    fn the_lines_of_a_block_are_without_its_header() {
        for (text, lines) in [
            ("a: |\n  x: 1\n\n  y: 2\nb: 1\n", "  x: 1\n\n  y: 2\n"),
            ("- &a !!str |- # c\n  é: 1\n# after\n", "  é: 1\n"),
            ("- |\n  | x |\n", "  | x |\n"),
            ("- |", ""),
        ] {
            let tree = Tree::parse(text, text).unwrap();
            let Some(Node::Mapping(Mapping { entries, .. })) = tree.roots.first() else {
                let Some(Node::Sequence(items)) = tree.roots.first() else { panic!("{text}") };
                let Some(Node::Scalar(scalar)) = items.first() else { panic!("{text}") };
                assert_eq!(&text[scalar.lines(text)], lines, "{text}");
                continue;
            };
            let Node::Scalar(scalar) = &entries[0].1 else { panic!("{text}") };
            assert_eq!(&text[scalar.lines(text)], lines, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_not_followed() {
        let text = "[".repeat(100_000);
        assert!(Tree::parse(&text, &text).is_none());
    }

    #[test]
    fn what_would_be_no_string_is_quoted() {
        for text in ["1.25", "7", "2024-01-01", "0x1f", "true", "No", "[::1]:5000/a:1", "_x"] {
            assert!(!is_plain(text), "{text}");
        }
        for text in ["v1", "latest", "10.0.0.1:5000/a/b:1", "d.io", "alpine"] {
            assert!(is_plain(text), "{text}");
        }
    }
}
