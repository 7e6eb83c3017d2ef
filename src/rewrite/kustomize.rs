//! kustomize: entries of `images`, which name what they change in other files.
//!
//! `name` is looked for in the resources and patches, so it must become what it will be there, and only then; where
//! the image itself goes is said by `newName`, which is added where it is missing. If only some of what it names is
//! called differently, an entry for those is added.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::content::{self, Content};
use super::moves::{Destination, Image, Moves, Reason, Version};
use super::scan::Scan;
use super::tree::{Mapping, Node, Scalar, Style, Tree, as_value};
use super::written::Written;

/// The names of a kustomization's file.
const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Where it names what it is made of.
const PARTS: [&str; 7] =
    ["resources", "bases", "components", "patches", "patchesStrategicMerge", "patchesJson6902", "helmCharts"];
/// So many are read, each a part of the one before: more would need as much stack.
const MAX_DEPTH: usize = 64;

/// The images in what a kustomization is made of.
#[derive(Debug, Default)]
pub struct Bases {
    /// Their names, without tags, as they will be.
    names: BTreeSet<String>,
    /// Whether there may be more, in what is not here: those are called as they always were.
    is_partial: bool,
}

/// What a kustomization is made of.
struct Parts {
    here: Vec<PathBuf>,
    is_partial: bool,
}

/// Whether `path` is a kustomization.
pub fn is_kustomization(path: &Path) -> bool {
    path.file_name().is_some_and(|name| FILES.iter().any(|file| name == *file))
}

/// What the kustomization `path`, whose text is `text`, is made of.
fn parts(path: &Path, text: &str) -> Parts {
    let mut parts = Parts { here: Vec::new(), is_partial: false };
    let folder = path.parent().unwrap_or(Path::new(""));
    let Some(tree) = Tree::parse(text, text) else { return parts };
    let mappings = tree.roots.iter().filter_map(|root| match root {
        Node::Mapping(mapping) => Some(mapping),
        _ => None,
    });
    let lists = mappings.flat_map(|mapping| PARTS.iter().filter_map(|part| Some((*part, mapping.get(part)?))));
    let items = lists.flat_map(|(part, list)| match list {
        Node::Sequence(items) => items.iter().map(|item| (part, item)).collect(),
        _ => Vec::new(),
    });
    for (part, item) in items {
        let name = match item {
            Node::Scalar(name) => Some(name),
            Node::Mapping(part) => part.scalar("path").or(part.scalar("valuesFile")),
            _ => None,
        };
        let path = name.map(|name| folder.join(&name.value));
        let file =
            path.and_then(|path| if path.is_dir() { file_of(&path) } else { Some(path).filter(|path| path.is_file()) });
        // A patch has no images of its own but those that are written in it; a chart has more than its values.
        parts.is_partial |= match item {
            Node::Mapping(chart) if part == "helmCharts" => chart.get("name").is_some(),
            _ => file.is_none() && !part.starts_with("patches"),
        };
        parts.here.extend(file);
    }
    parts
}

fn file_of(folder: &Path) -> Option<PathBuf> {
    FILES.iter().map(|name| folder.join(name)).find(|file| file.is_file())
}

/// What kustomizations are made of. A part is read once, however many are made of it.
pub struct Kustomizations<'m> {
    moves: &'m Moves,
    /// The files that are rewritten.
    ours: HashSet<PathBuf>,
    /// The images in each part, with those of its own parts. `None` if they are not known, as while it is being read:
    /// then it is a part of itself.
    known: HashMap<PathBuf, Option<Rc<Bases>>>,
    /// How many are being read.
    depth: usize,
}

impl<'m> Kustomizations<'m> {
    /// `files` are those that are rewritten.
    pub fn new(files: &[PathBuf], moves: &'m Moves) -> Self {
        let ours = files.iter().filter_map(|file| file.canonicalize().ok()).collect();
        Self { moves, ours, known: HashMap::new(), depth: 0 }
    }

    /// What the kustomization `path`, whose text is `text`, is made of.
    pub fn bases(&mut self, path: &Path, text: &str) -> Bases {
        let Parts { here, is_partial } = parts(path, text);
        let mut bases = Bases { names: BTreeSet::new(), is_partial };
        for part in here {
            match self.part(&part) {
                Some(part) => {
                    bases.names.extend(part.names.iter().cloned());
                    bases.is_partial |= part.is_partial;
                }
                None => bases.is_partial = true,
            }
        }
        bases
    }

    fn part(&mut self, path: &Path) -> Option<Rc<Bases>> {
        let place = path.canonicalize().ok()?;
        if let Some(known) = self.known.get(&place) {
            return known.clone();
        }
        self.known.insert(place.clone(), None);
        let part = self.read(path, self.ours.contains(&place)).map(Rc::new);
        self.known.insert(place, part.clone());
        part
    }

    fn read(&mut self, path: &Path, is_ours: bool) -> Option<Bases> {
        let Ok(Content::Text { text, .. }) = content::read(path) else { return None };
        let bases = if is_kustomization(path) {
            if self.depth == MAX_DEPTH {
                return None;
            }
            self.depth += 1;
            let bases = self.bases(path, &text);
            self.depth -= 1;
            Some(bases)
        } else {
            None
        };
        let names = super::scan_file(path, &text, self.moves, bases.as_ref()).names;
        let mut all = bases.unwrap_or_default();
        all.names.extend(names.into_values().map(|(now, then)| if is_ours { then } else { now }));
        Some(all)
    }
}

/// Whether `mapping`, one of `images`, is an entry of kustomize's: one that gives what it names another name, tag or digest.
pub fn is_entry(mapping: &Mapping) -> bool {
    mapping.scalar("name").is_some()
        && ["newName", "newTag", "digest", "tagSuffix"].iter().any(|key| mapping.get(key).is_some())
}

/// What the images of the resources are called.
struct Called {
    known: BTreeSet<String>,
    /// Whether others may have the names they always had.
    may_be_old: bool,
    /// Whether others may have the names that they have now.
    may_be_new: bool,
}

/// Rewrites the entries among the mappings of a list. What else is in the file was read before: it may hold patches. What
/// `is_apart` from what it changes, such as a component, finds that called either way.
pub fn read(scan: &mut Scan, list: &[&Mapping], bases: Option<&Bases>, is_apart: bool) {
    let own = scan.found.names.values().map(|(_, then)| then);
    let known = bases.iter().flat_map(|bases| bases.names.iter().chain(own.clone())).cloned().collect();
    let may_be_old = is_apart || bases.is_some_and(|bases| bases.is_partial);
    let names = Called { known, may_be_old, may_be_new: is_apart };
    for entry in list.iter().filter(|entry| is_entry(entry)) {
        scan_entry(scan, entry, list, &names);
    }
}

fn scan_entry(scan: &mut Scan, entry: &Mapping, list: &[&Mapping], names: &Called) {
    let Some((key, Node::Scalar(name))) = entry.entry("name") else { return };
    let given = |field: &str| entry.scalar(field).filter(|scalar| !scalar.is_empty());
    let (new_name, new_tag, digest) = (given("newName"), given("newTag"), given("digest"));
    let moved = moved(scan, name, names);
    let destination = destination(scan, new_name.unwrap_or(name), new_tag, digest);
    let repository = destination.as_ref().map(|destination| destination.repository.to_string());
    let to_tag = destination.as_ref().and_then(|destination| destination.tag.as_ref()).map(ToString::to_string);
    let to_digest = destination.as_ref().and_then(|destination| destination.digest.as_ref()).map(ToString::to_string);
    let has_both = names.may_be_old || names.known.contains(&name.value);
    let renamed = moved.as_ref().filter(|_| !has_both);
    let mut lines = Vec::new();
    if let Some(renamed) = renamed {
        name.write(scan, renamed);
    }
    match (&repository, new_name) {
        (Some(repository), Some(new_name)) => new_name.write(scan, repository),
        (Some(repository), None) if renamed != Some(repository) => lines.push(field(key, "newName", repository)),
        // What is not at the destination must come from where it always came from.
        (None, None) if renamed.is_some() => lines.push(field(key, "newName", &name.value)),
        _ => {}
    }
    if let (Some(field), Some(tag)) = (new_tag, &to_tag) {
        field.write(scan, tag);
    }
    match (digest, &to_digest) {
        (Some(field), Some(digest)) => field.write(scan, digest),
        (None, Some(digest)) if entry.get("digest").is_none() => lines.push(field(key, "digest", digest)),
        _ => {}
    }
    insert(scan, entry, key, name, &lines);
    let Some(moved) = moved.filter(|_| has_both) else { return };
    if list.iter().any(|other| other.scalar("name").is_some_and(|name| name.value == moved)) {
        return;
    }
    let written = |field: Option<&Scalar>| field.map(|field| field.value.clone());
    let new_name = repository.or(written(new_name)).unwrap_or_else(|| name.value.clone());
    let mut fields = vec![field(key, "name", &moved)];
    if new_name != moved {
        fields.push(field(key, "newName", &new_name));
    }
    let tag = new_tag.map(|tag| to_tag.unwrap_or_else(|| tag.value.clone()));
    fields.extend(tag.map(|tag| field(key, "newTag", &tag)));
    fields.extend(given("tagSuffix").map(|suffix| field(key, "tagSuffix", &suffix.value)));
    fields.extend(to_digest.or(written(digest)).map(|digest| field(key, "digest", &digest)));
    // An entry with a name alone changes nothing, so it is not added.
    if fields.len() > 1 && !insert_entry(scan, entry, &fields) {
        scan.stays(name.raw.start, &name.value, Reason::NoRoom(moved));
    }
}

/// The new name of the images that `name` selects in the resources, if some of them have a new one.
fn moved(scan: &Scan, name: &Scalar, names: &Called) -> Option<String> {
    let written = Written::parse(&name.value, scan.moves.hosts())?;
    let mut places = scan.moves.places_of(&written.repository).map(|place| place.to_string());
    places.find(|place| *place != name.value && (names.may_be_new || names.known.contains(place)))
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
    let written = Written::parse(&text, scan.moves.hosts())?;
    let image = match (tag, digest) {
        (None, None) => Image { repository: written.repository.clone(), version: Version::Unknown },
        _ => written.image(),
    };
    scan.find(name.raw.start, &text, &name.value, &image)
}

/// A field as it is written beside `key`: in JSON all is quoted.
fn field(key: &Scalar, name: &str, value: &str) -> String {
    match key.style {
        Style::Quoted => format!("\"{name}\": \"{value}\""),
        _ => format!("{name}: {}", as_value(value)),
    }
}

/// Where the first key of `entry` stands.
fn start(entry: &Mapping) -> Option<usize> {
    entry.entries().filter_map(|(key, _)| Some(key?.raw.start)).min()
}

/// Adds an entry before `entry`. Whether there is room for it.
fn insert_entry(scan: &mut Scan, entry: &Mapping, fields: &[String]) -> bool {
    let Some(place) = start(entry) else { return false };
    let opener = scan.text[..place].trim_end();
    let before = &scan.text[scan.line_start(opener.len())..place];
    let ending = scan.line_ending(opener.len());
    let is_own_line = before.trim_start().starts_with('-');
    let (between, end) = match opener.chars().next_back() {
        Some('-') => (format!("{ending}{}", " ".repeat(place - scan.line_start(place))), format!("{ending}{before}")),
        Some('{') if is_own_line => (", ".to_owned(), format!("}}{ending}{before}")),
        Some('{') => (", ".to_owned(), "}, {".to_owned()),
        _ => return false,
    };
    scan.replace(place..place, fields.join(&between) + &end);
    true
}

/// Adds fields behind the name, as its own line is indented.
fn insert(scan: &mut Scan, entry: &Mapping, key: &Scalar, name: &Scalar, fields: &[String]) {
    if fields.is_empty() {
        return;
    }
    let text = scan.text;
    let is_in_braces = start(entry).is_some_and(|place| text[..place].trim_end().ends_with('{'));
    let line = match scan.new_line(key.raw.start) {
        Some(line) if !is_in_braces => line,
        line => {
            let comma = line.map_or(", ".to_owned(), |line| format!(",{line}"));
            let fields: String = fields.iter().map(|field| format!("{comma}{field}")).collect();
            return scan.replace(name.raw.end..name.raw.end, fields);
        }
    };
    let end = text[name.raw.end..].find(['\r', '\n']).map_or(text.len(), |length| name.raw.end + length);
    let fields: String = fields.iter().map(|field| format!("{line}{field}")).collect();
    scan.replace(end..end, fields);
}

#[cfg(test)]
mod tests;
