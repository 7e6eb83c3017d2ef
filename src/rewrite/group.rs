//! An image in several fields, as charts have it: `registry`, `repository`, `tag`, `digest`.

use std::collections::HashMap;

use super::mapping::{Destination, Image, Reason, Version};
use super::scan::Scan;
use super::tree::{Mapping, Node, Scalar};
use super::written::Written;
use crate::digest::Digest;
use crate::reference::Repository;

const REGISTRY: [&str; 2] = ["registry", "imageRegistry"];
const REPOSITORY: [&str; 3] = ["repository", "imageRepository", "repo"];
const IMAGE: [&str; 2] = ["image", "imageName"];
const TAG: [&str; 2] = ["tag", "imageTag"];
const DIGEST: [&str; 3] = ["digest", "imageDigest", "sha"];

/// A field that is there. Its value may be empty.
#[derive(Clone, Copy)]
struct Field<'t> {
    key: &'t Scalar,
    value: &'t Scalar,
    /// Whether others in the file use the same value.
    is_shared: bool,
}

impl Field<'_> {
    fn text(&self) -> &str {
        if self.value.is_empty() { "" } else { self.value.value.trim_end_matches('/') }
    }

    /// Whether `text` can be written here. What is shared can only stay.
    fn takes(&self, text: &str) -> bool {
        text == self.text() || (!self.is_shared && (self.value.content().is_some() || self.value.is_empty()))
    }

    fn write(&self, scan: &mut Scan, text: &str) {
        if text == self.text() {
            return;
        }
        match self.value.content().filter(|content| !content.is_empty() || self.value.raw.len() == 2) {
            Some(_) => self.value.write(scan, text),
            // Nothing at all stands behind the key.
            None => {
                let behind = scan.text.get(self.key.raw.end..).and_then(|rest| rest.find(':'));
                let place = self.key.raw.end + behind.unwrap_or_default() + 1;
                scan.replace(place..place, format!(" {text}"));
            }
        }
    }
}

/// The fields of an image.
struct Group<'t> {
    /// What makes the name, joined by slashes; none is empty.
    name: Vec<Field<'t>>,
    tag: Option<Field<'t>>,
    digest: Option<Field<'t>>,
}

/// Rewrites the image in the fields of `mapping`, which is the value of `parent`, if there is one. Returns the keys
/// of its fields.
pub fn scan<'t>(
    scan: &mut Scan,
    parent: Option<&str>,
    mapping: &'t Mapping,
    anchors: &HashMap<usize, &'t Scalar>,
) -> Vec<&'t str> {
    for group in groups(parent, mapping, anchors) {
        let Some(text) = group.text() else { continue };
        let Some(written) = Written::parse(&text, scan.mapping.hosts()) else { continue };
        let image = match &written {
            Written { tag: None, digest: None, .. } => {
                Image { repository: written.repository.clone(), version: Version::Unknown }
            }
            _ => written.image(),
        };
        if !scan.mapping.knows(&image.repository) {
            continue;
        }
        let offset = group.name.last().map_or(0, |field| field.value.raw.start);
        if let Some(destination) = scan.find(offset, &text, &image) {
            group.write(scan, offset, &text, &written, &destination);
        }
        return group.keys();
    }
    groups(parent, mapping, anchors).first().map(Group::keys).unwrap_or_default()
}

/// The groups that `mapping` may be, the likeliest first.
fn groups<'t>(parent: Option<&str>, mapping: &'t Mapping, anchors: &HashMap<usize, &'t Scalar>) -> Vec<Group<'t>> {
    let field = |names: &[&str]| {
        names.iter().find_map(|name| {
            let (key, value) = mapping.entry(name)?;
            match value {
                Node::Scalar(value) => Some(Field { key, value, is_shared: value.is_anchored() }),
                Node::Alias(anchor) => Some(Field { key, value: anchors.get(anchor)?, is_shared: true }),
                _ => None,
            }
        })
    };
    let (registry, repository, image) = (field(&REGISTRY), field(&REPOSITORY), field(&IMAGE));
    let (tag, digest) = (field(&TAG), field(&DIGEST));
    let is_image = parent.is_some_and(|parent| parent.to_ascii_lowercase().contains("image"));
    let named = field(&["name"]).filter(|_| is_image);
    let has_version = tag.is_some() || digest.is_some();
    let is_group = match (repository, image, named) {
        (Some(_), ..) => has_version || registry.is_some() || is_image || image.is_some(),
        (None, Some(image), _) => {
            let has_own_tag = image.text().rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
            registry.is_some() || (tag.is_some() && !has_own_tag)
        }
        (None, None, Some(_)) => has_version || registry.is_some(),
        (None, None, None) => false,
    };
    if !is_group {
        return Vec::new();
    }
    let group = |name: &[Option<Field<'t>>], tag| {
        let name = name.iter().flatten().filter(|field| !field.text().is_empty()).copied().collect();
        Group { name, tag, digest }
    };
    match (repository, image.or(named)) {
        (None, last) => vec![group(&[registry, last], tag)],
        (repository, None) => vec![group(&[registry, repository], tag)],
        (repository, last) => vec![
            group(&[registry, repository], tag),
            group(&[registry, repository, last], tag.or_else(|| field(&["version"]))),
        ],
    }
}

impl<'t> Group<'t> {
    /// The reference that a chart makes of it.
    fn text(&self) -> Option<String> {
        let mut text = self.name.iter().map(Field::text).collect::<Vec<_>>().join("/");
        if text.is_empty() {
            return None;
        }
        if let Some(tag) = self.tag.map(|tag| tag.text().to_owned()).filter(|tag| !tag.is_empty()) {
            text.push_str(&format!(":{tag}"));
        }
        if let Some(field) = self.digest.filter(|field| !field.text().is_empty()) {
            text.push_str(&format!("@{}{}", field.algorithm(), field.text()));
        }
        Some(text)
    }

    fn keys(&self) -> Vec<&'t str> {
        let fields = self.name.iter().chain(&self.tag).chain(&self.digest);
        fields.map(|field| field.key.value.as_str()).collect()
    }

    fn write(&self, scan: &mut Scan, offset: usize, text: &str, written: &Written, to: &Destination) {
        let Some(changes) = self.changes(text, written, to) else {
            return scan.stays(offset, text, Reason::NoRoom(to.repository.to_string()));
        };
        if changes.iter().any(|(field, text)| !field.takes(text)) {
            return scan.stays(offset, text, Reason::Shared(to.repository.to_string()));
        }
        for (field, text) in &changes {
            field.write(scan, text);
        }
        let has_room = self.digest.is_some() || written.digest.is_some();
        if scan.mapping.pins() && to.digest.is_some() && !has_room {
            scan.stays(offset, text, Reason::NotPinned);
        }
    }

    /// What to write in which field.
    fn changes(&self, text: &str, written: &Written, to: &Destination) -> Option<Vec<(Field<'t>, String)>> {
        let mut names = distribute(&self.names(), written.has_host, &to.repository)?;
        let tag = to.tag.as_ref().filter(|_| written.tag.is_some());
        let with_digest = |tag: &str, was: &str| match (&to.digest, was.contains('@')) {
            (Some(digest), true) => format!("{tag}@{digest}"),
            _ => tag.to_owned(),
        };
        let mut changes = Vec::new();
        let own_tag = self.tag.filter(|field| !field.text().is_empty());
        match (own_tag, tag) {
            (Some(field), Some(tag)) => changes.push((field, with_digest(tag.as_str(), field.text()))),
            (None, _) if written.name.len() < text.len() => {
                // Tag or digest stand in the last field of the name, if not in one of their own.
                let last = self.name.last().filter(|last| last.text().contains([':', '@']));
                if let (Some(last), Some(name)) = (last, names.last_mut()) {
                    let suffix = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
                    *name = with_digest(&format!("{name}{suffix}"), last.text());
                }
            }
            _ => {}
        }
        if let (Some(field), Some(digest)) = (self.digest, &to.digest) {
            let digest = digest.to_string();
            let text = digest.strip_prefix(field.algorithm()).unwrap_or(&digest);
            changes.push((field, text.to_owned()));
        }
        changes.extend(self.name.iter().copied().zip(names));
        Some(changes)
    }

    /// The fields of the name, without tag and digest.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.name.iter().map(Field::text).collect();
        if let Some(last) = names.last_mut() {
            let start = last.rfind('/').map_or(0, |slash| slash + 1);
            let end = last[start..].find([':', '@']).map_or(last.len(), |length| start + length);
            // Of a registry's port the ':' is not that of a tag.
            if self.name.len() > 1 || start > 0 {
                *last = &last[..end];
            }
        }
        names
    }
}

impl Field<'_> {
    /// What is left out in a field that is named after the algorithm.
    fn algorithm(&self) -> &'static str {
        if self.key.value == "sha" && self.text().parse::<Digest>().is_err() { "sha256:" } else { "" }
    }
}

/// The host and path of `to` over fields that hold `names` now: a host alone stays alone, the last fields keep their
/// number of components, and the first of the others takes the rest.
fn distribute(names: &[&str], has_host: bool, to: &Repository) -> Option<Vec<String>> {
    let whole = to.to_string();
    let components: Vec<&str> = whole.split('/').collect();
    let is_host_alone = has_host && names.len() > 1 && !names.first()?.contains('/');
    let (mut values, rest, names) = match (is_host_alone, names) {
        (true, [_, names @ ..]) => (vec![components.first()?.to_string()], components.get(1..)?, names),
        _ => (Vec::new(), components.as_slice(), names),
    };
    let kept: usize = names.iter().skip(1).map(|name| name.split('/').count()).sum();
    // One field at the end may become shorter; of several it is not clear which.
    let kept = if names.len() == 2 { kept.min(rest.len().saturating_sub(1)) } else { kept };
    let first = rest.len().checked_sub(kept).filter(|first| *first > 0)?;
    values.push(rest[..first].join("/"));
    let mut rest = &rest[first..];
    for (index, name) in names.iter().enumerate().skip(1) {
        let count = if index + 1 == names.len() { rest.len() } else { name.split('/').count() };
        values.push(rest[..count].join("/"));
        rest = &rest[count..];
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_spread_over_the_fields_it_had() {
        let spread = |names: &[&str], to: &str| distribute(names, names[0].contains('.'), &to.parse().unwrap());
        for (names, to, fields) in [
            (&["quay.io/a/b"][..], "d.io/x/y", &["d.io/x/y"][..]),
            (&["a/b"], "d.io/x", &["d.io/x"]),
            (&["quay.io", "a/b"], "d.io:5000/x/y/z", &["d.io:5000", "x/y/z"]),
            (&["quay.io", "a/b"], "d.io/x", &["d.io", "x"]),
            (&["quay.io/a", "b"], "d.io/x/y", &["d.io/x", "y"]),
            (&["quay.io/a", "b/c"], "d.io/x", &["d.io", "x"]),
            (&["quay.io", "a", "b"], "d.io/x/y/z", &["d.io", "x/y", "z"]),
            (&["a", "b"], "d.io/x/y", &["d.io/x", "y"]),
        ] {
            assert_eq!(spread(names, to).unwrap(), fields, "{names:?}");
        }
        assert_eq!(spread(&["quay.io", "a", "b"], "d.io/x"), None);
    }
}
