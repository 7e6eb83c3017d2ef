//! Rules of which one brings what another copies: which of two images that is depends on what comes first, and nothing
//! says what does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::rule::{Filter, Rule, Which};
use crate::reference::{Identifier, Repository};

/// The rules that copy from one repository.
#[derive(Default)]
struct Readers<'a> {
    fixed: HashMap<&'a Identifier, usize>,
    listed: Vec<(&'a Filter, usize)>,
}

/// A warning for each rule that brings what another rule copies, by the first such.
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
    let writes = rules.iter().enumerate().filter_map(|(index, rule)| {
        let reader = &rules[readers.get(&rule.images.destination.without_usual_port())?.of(index, rule)?];
        Some(format!(
            "{rule}: it writes what another rule copies, {reader}; which image that one finds depends on what comes first: \
             run them one after the other, from files of their own"
        ))
    });
    writes.collect()
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
