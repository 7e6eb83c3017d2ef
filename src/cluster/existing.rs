//! The images.json that is there already: whatever goes somewhere by it goes there again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::images::Image;
use crate::config::{self, AuthFile, ConfigError, Files, Filter, Images, Rule, Sources, Target, Which};
use crate::reference::Repository;

/// The targets of an earlier images.json. Rules without a target of their own (`""`) are none.
#[derive(Debug, Default)]
pub struct Existing {
    /// As they are written, by source.
    exact: BTreeMap<String, Vec<String>>,
    /// Rules for what a repository has, of which the tags are not written down.
    listed: Vec<(Repository, Filter, Repository)>,
    /// Which sources each repository of the target side is for.
    holders: BTreeMap<Repository, BTreeSet<Repository>>,
    /// Where each repository goes, in the order of its rules.
    repositories: BTreeMap<Repository, Vec<Repository>>,
    /// Rules that cannot be used, as they are told to people.
    pub invalid: Vec<String>,
}

impl Existing {
    /// Reads `path`; that there is no such file is no error.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        if !path.is_file() {
            return Ok(Self::default());
        }
        // No credentials and no defaults: only what stands in the file counts.
        let files = Files::Separate { auth: AuthFile::None, images: path.to_owned() };
        let (rules, invalid) =
            config::load_rules(&Sources { files, registry: None, namespace: None, converts: false })?;
        let mut existing = Self::of(&rules);
        let with_target = invalid.iter().filter(|rule| !rule.destination.is_empty());
        existing.invalid = with_target.map(ToString::to_string).collect();
        Ok(existing)
    }

    /// The targets of rules that were checked without defaults.
    pub(super) fn of(rules: &[Rule]) -> Self {
        let mut existing = Self::default();
        rules.iter().for_each(|rule| existing.add(rule));
        existing
    }

    /// The destinations of an image, as they are written; empty if it has none.
    pub fn destinations(&self, image: &Image) -> Vec<String> {
        if let Some(written) = self.exact.get(&image.to_string()) {
            return written.clone();
        }
        let Image { repository, tag: Some(tag), digest: None } = image else { return Vec::new() };
        let accepts =
            |(source, filter, _): &&(Repository, Filter, Repository)| source == repository && filter.accepts(tag);
        self.listed.iter().filter(accepts).map(|(_, _, destination)| destination.to_string()).collect()
    }

    /// Where other images of a repository go, if that is at `target`: what went elsewhere says nothing of newcomers.
    pub fn repository(&self, source: &Repository, target: &Target) -> Option<&Repository> {
        self.repositories.get(source)?.iter().find(|destination| target.holds(destination))
    }

    /// Whether a repository of the target side is for anything but `source`.
    pub fn is_held_against(&self, destination: &Repository, source: &Repository) -> bool {
        self.holders.get(destination).is_some_and(|sources| sources.iter().any(|other| other != source))
    }

    /// The sources that are written down one by one, with their destinations.
    pub fn fixed(&self) -> impl Iterator<Item = (&String, &Vec<String>)> {
        self.exact.iter()
    }

    /// How many sources are not among those that `is_used` tells.
    pub fn unused(&self, is_used: impl Fn(&str) -> bool) -> usize {
        self.exact.keys().filter(|source| !is_used(source)).count()
    }

    fn add(&mut self, rule: &Rule) {
        let Images { source, destination, which } = &rule.images;
        self.hold(source, destination);
        match which {
            Which::Listed(filter) => self.listed.push((source.clone(), filter.clone(), destination.clone())),
            Which::Fixed(pairs) => {
                for (from, to) in rule.images.fixed() {
                    let (key, written) = match (pairs.len(), Image::parse(&rule.source)) {
                        (1, Ok(image)) => (image.to_string(), rule.destination.clone()),
                        _ if from.identifier == to.identifier => (from.to_string(), destination.to_string()),
                        _ => (from.to_string(), to.to_string()),
                    };
                    let destinations = self.exact.entry(key).or_default();
                    if !destinations.contains(&written) {
                        destinations.push(written);
                    }
                }
            }
        }
    }

    fn hold(&mut self, source: &Repository, destination: &Repository) {
        self.holders.entry(destination.clone()).or_default().insert(source.clone());
        self.repositories.entry(source.clone()).or_default().push(destination.clone());
    }
}
