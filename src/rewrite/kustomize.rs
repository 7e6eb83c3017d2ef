//! kustomize: entries of `images`, which name what they change in other files.
//!
//! `name` is looked for in the resources, so it must become what it will be there, and only then; where the image
//! itself goes is said by `newName`, which is added where it is missing.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::mapping::{Destination, Image, Version};
use super::scan::Scan;
use super::tree::{Document, Mapping, Node, Scalar};
use super::written::Written;

/// The names of a kustomization's file.
const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Where it names what it is made of.
const PARTS: [&str; 3] = ["resources", "bases", "components"];
/// More than this is a circle of names.
const MAX_DEPTH: usize = 32;

/// The names, without tags, of the images in what a kustomization is made of, as they will be.
#[derive(Debug, Default)]
pub struct Bases(pub BTreeSet<String>);

/// Tells the names in a file as they will be, by its path and text; of a kustomization also by its bases.
pub type Names<'n> = dyn Fn(&Path, &str, Option<&Bases>) -> BTreeSet<String> + 'n;

/// Whether `path` is a kustomization.
pub fn is_kustomization(path: &Path) -> bool {
    path.file_name().is_some_and(|name| FILES.iter().any(|file| name == *file))
}

/// The files that the kustomization `path`, whose text is `text`, is made of, as far as they are here.
pub fn parts(path: &Path, text: &str) -> Vec<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let Some(document) = Document::parse(text, text) else { return Vec::new() };
    let mappings = document.roots.iter().filter_map(|root| match root {
        Node::Mapping(mapping) => Some(mapping),
        _ => None,
    });
    let lists = mappings.flat_map(|mapping| PARTS.iter().filter_map(|part| mapping.get(part)));
    let items = lists.flat_map(|list| match list {
        Node::Sequence(items) => items.as_slice(),
        _ => &[],
    });
    let names = items.filter_map(|item| match item {
        Node::Scalar(name) => Some(folder.join(&name.value)),
        _ => None,
    });
    names
        .filter_map(|name| if name.is_dir() { file_of(&name) } else { Some(name).filter(|name| name.is_file()) })
        .collect()
}

fn file_of(folder: &Path) -> Option<PathBuf> {
    FILES.iter().map(|name| folder.join(name)).find(|file| file.is_file())
}

impl Bases {
    /// Those of the kustomization `path`.
    pub fn of(path: &Path, text: &str, names: &Names) -> Self {
        let mut seen = HashSet::new();
        Self::below(path, text, names, &mut seen, 0)
    }

    fn below(path: &Path, text: &str, names: &Names, seen: &mut HashSet<PathBuf>, depth: usize) -> Self {
        let mut found = Self::default();
        for part in parts(path, text) {
            let Ok(text) = fs::read_to_string(&part) else { continue };
            if depth >= MAX_DEPTH || !seen.insert(part.clone()) {
                continue;
            }
            if is_kustomization(&part) {
                let below = Self::below(&part, &text, names, seen, depth + 1);
                found.0.extend(names(&part, &text, Some(&below)));
                found.0.extend(below.0);
            } else {
                found.0.extend(names(&part, &text, None));
            }
        }
        found
    }
}

/// Whether `mapping`, one of `images`, is an entry of kustomize's.
pub fn is_entry(mapping: &Mapping) -> bool {
    mapping.scalar("name").is_some()
        && ["newName", "newTag", "digest", "tagSuffix"].iter().any(|key| mapping.get(key).is_some())
}

/// Rewrites an entry.
pub fn scan(scan: &mut Scan, entry: &Mapping, bases: Option<&Bases>) {
    let Some((key, Node::Scalar(name))) = entry.entry("name") else { return };
    let given = |field: &str| entry.scalar(field).filter(|scalar| !scalar.is_empty());
    let (new_name, new_tag, digest) = (given("newName"), given("newTag"), given("digest"));
    let renamed = renamed(scan, name, bases);
    let destination = destination(scan, new_name.unwrap_or(name), new_tag, digest);
    let mut lines = Vec::new();
    if let Some(renamed) = &renamed {
        name.write(scan, renamed);
    }
    let repository = destination.as_ref().map(|destination| destination.repository.to_string());
    match (&repository, new_name) {
        (Some(repository), Some(new_name)) => new_name.write(scan, repository),
        (Some(repository), None) if renamed.as_ref() != Some(repository) => {
            lines.push(format!("newName: {repository}"))
        }
        // What is not at the destination must come from where it always came from.
        (None, None) if renamed.is_some() => lines.push(format!("newName: {}", name.value)),
        _ => {}
    }
    let Some(destination) = destination else { return insert(scan, key, name, &lines) };
    if let (Some(field), Some(tag)) = (new_tag, &destination.tag) {
        field.write(scan, tag.as_str());
    }
    match (digest, &destination.digest) {
        (Some(field), Some(digest)) => field.write(scan, &digest.to_string()),
        (None, Some(digest)) if entry.get("digest").is_none() => lines.push(format!("digest: {digest}")),
        _ => {}
    }
    insert(scan, key, name, &lines);
}

/// What `name` must become since what it names in the resources does.
fn renamed(scan: &Scan, name: &Scalar, bases: Option<&Bases>) -> Option<String> {
    let names = &bases?.0;
    let written = Written::parse(&name.value, scan.mapping.hosts())?;
    if names.contains(&name.value) {
        return None;
    }
    let mut places = scan.mapping.places_of(&written.repository).map(|place| place.to_string());
    places.find(|place| names.contains(place))
}

/// Where the image that `name` with tag and digest means is now.
fn destination(scan: &mut Scan, name: &Scalar, tag: Option<&Scalar>, digest: Option<&Scalar>) -> Option<Destination> {
    let mut text = name.value.clone();
    if let Some(tag) = tag {
        text.push_str(&format!(":{}", tag.value));
    }
    if let Some(digest) = digest {
        text.push_str(&format!("@{}", digest.value));
    }
    let written = Written::parse(&text, scan.mapping.hosts())?;
    let image = match (tag, digest) {
        (None, None) => Image { repository: written.repository.clone(), version: Version::Unknown },
        _ => written.image(),
    };
    let now = name.value.clone();
    let destination = scan.find(name.raw.start, &text, &image);
    let name = match &destination {
        Some(destination) => destination.repository.to_string(),
        None => name.value.clone(),
    };
    scan.name(&now, &name);
    destination
}

/// Adds fields behind the name, as its own line is indented.
fn insert(scan: &mut Scan, key: &Scalar, name: &Scalar, fields: &[String]) {
    if fields.is_empty() {
        return;
    }
    let text = scan.text;
    let line = text[..key.raw.start].rfind('\n').map_or(0, |newline| newline + 1);
    let before = &text[line..key.raw.start];
    if before.contains(|c: char| c != ' ' && c != '-') {
        let fields = format!(", {}", fields.join(", "));
        return scan.replace(name.raw.end..name.raw.end, fields);
    }
    let end = text[name.raw.end..].find('\n').map_or(text.len(), |length| name.raw.end + length);
    let ending = scan.line_ending(name.raw.end);
    let end = if ending == "\r\n" { end - 1 } else { end };
    let indent = before.replace('-', " ");
    let fields: String = fields.iter().map(|field| format!("{ending}{indent}{field}")).collect();
    scan.replace(end..end, fields);
}

#[cfg(test)]
mod tests;
