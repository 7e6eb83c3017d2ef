//! Rules of which one brings what another copies: which of two images that is depends on what comes first, and nothing
//! says what does.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::rule::{Filter, Rule, Which};
use crate::reference::{Identifier, Repository};

/// The rules that copy from one repository.
#[derive(Default)]
struct Readers<'a> {
    fixed: HashMap<&'a Identifier, usize>,
    listed: Vec<(&'a Filter, usize)>,
}

/// A warning for each rule that copies what others bring, with the first of these.
pub(super) fn warnings(rules: &[Rule]) -> Vec<String> {
    let mut readers: HashMap<Repository, Readers> = HashMap::new();
    for (index, rule) in rules.iter().enumerate() {
        let readers = readers.entry(rule.images.source.without_usual_port()).or_default();
        match &rule.images.which {
            Which::Listed(filter) => readers.listed.push((filter, index)),
            Which::Fixed(pairs) => {
                for pair in pairs {
                    if let Entry::Vacant(first) = readers.fixed.entry(&pair.source) {
                        first.insert(index);
                    }
                }
            }
        }
    }
    let mut writers: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        let readers = readers.get(&rule.images.destination.without_usual_port());
        if let Some(reader) = readers.and_then(|readers| readers.of(index, rule)) {
            writers.entry(reader).or_insert((index, 0)).1 += 1;
        }
    }
    let warning = |(reader, (writer, all)): (usize, (usize, usize))| {
        let more = if all > 1 { format!(", as do {} more", all - 1) } else { String::new() };
        format!(
            "{}: another rule writes what it copies, {}{more}; what it finds depends on which comes first: run them one \
             after the other, from files of their own",
            rules[reader], rules[writer]
        )
    };
    writers.into_iter().map(warning).collect()
}

impl Readers<'_> {
    /// The first rule, but for the one at `index`, that copies what this one writes.
    fn of(&self, index: usize, rule: &Rule) -> Option<usize> {
        let others = self.listed.iter().filter(|(_, reader)| *reader != index);
        match &rule.images.which {
            // Two expressions may fit one tag.
            Which::Listed(filter) => {
                let fixed = self.fixed.iter().filter(|(name, _)| accepts(filter, name)).map(|(_, reader)| *reader);
                fixed.filter(|reader| *reader != index).chain(others.map(|(_, reader)| *reader)).min()
            }
            Which::Fixed(pairs) => {
                let written = || pairs.iter().map(|pair| &pair.destination);
                let fixed = written().filter_map(|name| self.fixed.get(name)).copied();
                let listed = others.filter(|(filter, _)| written().any(|name| accepts(filter, name)));
                fixed.filter(|reader| *reader != index).chain(listed.map(|(_, reader)| *reader)).min()
            }
        }
    }
}

fn accepts(filter: &Filter, name: &Identifier) -> bool {
    matches!(name, Identifier::Tag(tag) if filter.accepts(tag))
}
