//! Variables in an image, as `FROM` and Compose have them: which text of the file each part of it comes from.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::moves::{Destination, Reason};
use super::scan::Scan;
use super::variable::variable;
use super::written::Written;

/// Deeper references of variables to variables are a circle.
const MAX_DEPTH: usize = 8;
/// No image is made of more; defaults that name each other often would never end.
const MAX_PIECES: usize = 64;

/// The arguments before the first `FROM`, with where their defaults stand.
#[derive(Default)]
pub struct Arguments {
    defaults: HashMap<String, Option<Range<usize>>>,
    /// Where the defaults begin that stages take over, for any use.
    taken_over: HashSet<usize>,
    is_closed: bool,
}

/// An image that the file uses.
pub struct Use {
    /// Where it stands.
    word: Range<usize>,
    pieces: Vec<Piece>,
}

/// A part of it that stands in one place.
struct Piece {
    /// The variable itself if the file does not say what it holds; see [`Written::is_open`].
    text: String,
    /// `None` if the file does not say it.
    range: Option<Range<usize>>,
}

impl Arguments {
    /// Adds those of an `ARG`.
    pub fn add(&mut self, text: &str, words: &[Range<usize>]) {
        if self.is_closed {
            let defaults = words.iter().filter_map(|word| self.defaults.get(&text[word.clone()])?.clone());
            self.taken_over.extend(defaults.map(|default| default.start));
            return;
        }
        for word in words {
            let (name, default) = match text[word.clone()].split_once('=') {
                Some((name, default)) => (name, Some(word.end - default.len()..word.end)),
                None => (&text[word.clone()], None),
            };
            self.defaults.insert(name.to_owned(), default.map(|range| unquoted(text, range)));
        }
    }

    /// What comes now belongs to a stage, and no `FROM` sees it.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether a stage may need what stands at `range` as it is. What is clearly an image serves no other use.
    fn is_needed(&self, text: &str, range: &Range<usize>) -> bool {
        self.taken_over.contains(&range.start) && !text[range.clone()].contains(['/', ':', '@'])
    }

    /// What the word at `range` stands for.
    pub fn expand(&self, text: &str, range: Range<usize>) -> Use {
        let mut pieces = Vec::new();
        self.expand_into(text, range.clone(), &mut pieces, 0);
        Use { word: range, pieces }
    }

    fn expand_into(&self, text: &str, range: Range<usize>, pieces: &mut Vec<Piece>, depth: usize) {
        let mut start = range.start;
        while let Some(dollar) = text[start..range.end].find('$').map(|length| start + length) {
            if dollar > start {
                pieces.push(Piece { text: text[start..dollar].to_owned(), range: Some(start..dollar) });
            }
            let (name, fallback, end) = variable(text, dollar..range.end);
            let default = self.defaults.get(name).cloned().flatten().or(fallback);
            match default.filter(|_| depth < MAX_DEPTH && pieces.len() < MAX_PIECES) {
                Some(default) => self.expand_into(text, default, pieces, depth + 1),
                None => pieces.push(Piece { text: text[dollar..end].to_owned(), range: None }),
            }
            start = end;
        }
        // Also what is empty is a part: others may fill it.
        if start < range.end || range.is_empty() {
            pieces.push(Piece { text: text[start..range.end].to_owned(), range: Some(start..range.end) });
        }
    }
}

impl Use {
    /// Where its parts stand.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.pieces.iter().filter_map(|piece| piece.range.clone())
    }

    /// What to write where. `None` if it cannot be done without touching what is not its own.
    fn changes(&self, text: &str, written: &Written, to: &Destination) -> Option<Vec<(Range<usize>, String)>> {
        if let [Piece { range: Some(range), .. }] = self.pieces.as_slice() {
            return Some(vec![(range.clone(), written.moved(text, to))]);
        }
        let moved = written.moved(text, to);
        if let Some(change) = self.registry(text, written, &moved) {
            return Some(vec![change]);
        }
        let first = self.pieces.first()?;
        let range = first.range.clone()?;
        let name = written.name.len();
        let rest = first.text.get(name..)?;
        let follows = if rest.is_empty() { &self.pieces.get(1)?.text } else { rest };
        if !follows.starts_with([':', '@']) {
            return None;
        }
        let repository = to.repository.to_string();
        if moved[repository.len()..] == text[name..] {
            return Some(vec![(range.start..range.start + name, repository)]);
        }
        // Another tag: then that must be one piece.
        match self.pieces.as_slice() {
            [_, Piece { text: tag, range: Some(place) }] if rest == ":" && written.tag == Some(tag) => {
                let tag = moved[repository.len()..].strip_prefix(':')?.to_owned();
                Some(vec![(range.start..range.start + name, repository), (place.clone(), tag)])
            }
            _ => None,
        }
    }

    /// What to write for a registry that is a part by itself, where all behind it stays: `${REGISTRY:-quay.io}/a/b:1`.
    fn registry(&self, text: &str, written: &Written, moved: &str) -> Option<(Range<usize>, String)> {
        let [Piece { text: registry, range }, path, rest @ ..] = self.pieces.as_slice() else { return None };
        // What is put in right behind the path would belong to it.
        let has_end = rest.is_empty() || registry.len() + path.text.len() > written.name.len();
        let moved = moved.strip_suffix(&text[registry.len()..])?;
        (path.text.starts_with('/') && has_end).then_some((range.clone()?, moved.to_owned()))
    }
}

/// The word at `range` without its quotes.
pub fn unquoted(text: &str, range: Range<usize>) -> Range<usize> {
    let word = &text[range.clone()];
    let is_quoted =
        word.len() > 1 && ['"', '\''].iter().any(|quote| word.starts_with(*quote) && word.ends_with(*quote));
    if is_quoted { range.start + 1..range.end - 1 } else { range }
}

/// Rewrites the image in `range`, parts of which are the defaults of variables that are set elsewhere.
pub fn spread(scan: &mut Scan, range: Range<usize>) {
    let arguments = Arguments::default();
    let image = arguments.expand(scan.text, range);
    apply(scan, vec![image], &arguments);
}

/// Rewrites the images. What several use is changed only as all of them want it.
pub fn apply(scan: &mut Scan, uses: Vec<Use>, arguments: &Arguments) {
    let mut wanted = Vec::new();
    let is_needed = |scan: &Scan, changes: &[(Range<usize>, String)]| {
        changes.iter().any(|(range, _)| arguments.is_needed(scan.text, range))
    };
    for one in &uses {
        let text: String = one.pieces.iter().map(|piece| piece.text.as_str()).collect();
        let Some(written) = Written::parse(&text, scan.moves.hosts()) else {
            wanted.push((text, None));
            continue;
        };
        let changes = scan
            .find(one.word.start, &text, written.name, &written.image())
            .map(|to| (one.changes(&text, &written, &to), written.moved(&text, &to)))
            .map(|(changes, moved)| (changes.filter(|changes| !is_needed(scan, changes)), moved));
        wanted.push((text, changes));
    }
    // How many stand in a place, and how many want this change. Places are the same or apart, and a change begins with one.
    let (mut users, mut wishes) = (HashMap::<_, usize>::new(), HashMap::<_, usize>::new());
    for (one, (_, changes)) in uses.iter().zip(&wanted) {
        let places: HashSet<usize> = one.ranges().filter(|range| !range.is_empty()).map(|range| range.start).collect();
        places.into_iter().for_each(|place| *users.entry(place).or_default() += 1);
        let changes = changes.iter().filter_map(|(changes, _)| changes.as_ref()).flatten();
        changes.for_each(|change| *wishes.entry(change).or_default() += 1);
    }
    for (one, (text, changes)) in uses.iter().zip(&wanted) {
        let Some((changes, moved)) = changes else { continue };
        let is_own = |range: &Range<usize>| one.word.start <= range.start && range.end <= one.word.end;
        let agreed = changes.as_ref().filter(|changes| {
            // No other stands in its own word.
            changes.iter().all(|(range, _)| is_own(range))
                || changes.iter().all(|change| users.get(&change.0.start) == wishes.get(change))
        });
        match agreed {
            Some(changes) => changes.iter().for_each(|(range, text)| scan.replace(range.clone(), text.clone())),
            None => scan.keeps(one.word.start, text, Reason::Shared(moved.clone())),
        }
    }
}
