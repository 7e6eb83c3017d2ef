//! An image in several fields, as charts have it: `registry`, `repository`, `tag`, `digest`.
//!
//! Each field keeps its share of the name. A registry that comes from elsewhere in the chart is written out in a field
//! of the group's own, since others may rely on what is elsewhere.
//!
//! Beside the usual names those of some widely used charts are known: Istio's `hub`, cert-manager's `imageNamespace`,
//! Airflow's `defaultAirflowRepository` with a tag of the same prefix.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::mapping::{Destination, Image, Reason, Version};
use super::scan::Scan;
use super::tree::{Mapping, Node, Scalar, Style};
use super::written::Written;
use crate::digest::Digest;
use crate::reference::{Registry, Repository};

const REGISTRY: [&str; 2] = ["registry", "imageRegistry"];
pub const REPOSITORY: [&str; 3] = ["repository", "imageRepository", "repo"];
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

impl<'t> Field<'t> {
    fn text(&self) -> &'t str {
        if self.value.is_empty() { "" } else { self.value.value.trim_end_matches('/') }
    }

    /// What is left out in a field that is named after the algorithm.
    fn algorithm(&self) -> &'static str {
        if self.key.value == "sha" && self.text().parse::<Digest>().is_err() { "sha256:" } else { "" }
    }

    /// Where a value begins of which nothing at all is there: behind the colon, if nothing else stands there.
    fn gap(&self, text: &str) -> Option<usize> {
        let blanks = [' ', '\t'];
        let behind = text.get(self.key.raw.end..)?.trim_start_matches(blanks).strip_prefix(':')?;
        let next = behind.trim_start_matches(blanks).chars().next();
        next.is_none_or(|next| ['\r', '\n', '#', ',', '}'].contains(&next)).then(|| text.len() - behind.len())
    }

    fn is_there(&self) -> bool {
        self.value.style == Style::Quoted || !self.value.raw.is_empty()
    }

    fn can_change(&self, text: &str) -> bool {
        !self.is_shared && if self.is_there() { self.value.content().is_some() } else { self.gap(text).is_some() }
    }

    fn write(&self, scan: &mut Scan, text: &str) {
        if self.is_there() {
            self.value.write(scan, text);
        } else if let Some(place) = self.gap(scan.text) {
            scan.replace(place..place, format!(" {text}"));
        }
    }
}

/// A part of an image's name.
struct Part<'t> {
    text: Cow<'t, str>,
    /// Where it can be written. `None` if it comes from elsewhere and a field can be added.
    field: Option<Field<'t>>,
}

/// The fields of an image.
struct Group<'t> {
    /// What makes the name, joined by slashes; none is empty.
    name: Vec<Part<'t>>,
    tag: Option<Field<'t>>,
    digest: Option<Field<'t>>,
}

/// What the fields of a group may refer to.
pub struct Surroundings<'t> {
    /// Scalars by their anchors.
    pub anchors: HashMap<usize, &'t Scalar>,
    pub scope: Scope<'t>,
}

/// What the values of a chart have for all its parts.
#[derive(Clone, Copy, Default)]
pub struct Scope<'t> {
    global: Option<&'t Mapping>,
    /// What has `imageNamespace`.
    namespaced: Option<&'t Mapping>,
}

impl<'t> Scope<'t> {
    /// That of what is inside `mapping`, which has this one.
    pub fn inside(self, mapping: &'t Mapping) -> Self {
        let global = match mapping.get("global") {
            Some(Node::Mapping(global)) => Some(global),
            _ => self.global,
        };
        let namespaced = mapping.scalar("imageNamespace").map(|_| mapping).or(self.namespaced);
        Self { global, namespaced }
    }

    /// What comes before the names of all images, in the order of `imageRegistry/imageNamespace`.
    fn prefix(&self) -> Option<String> {
        let given = |name| self.namespaced?.scalar(name).filter(|value| !value.is_empty());
        Some(format!("{}/{}", given("imageRegistry")?.value, given("imageNamespace")?.value))
    }
}

/// Rewrites the images in the fields of `mapping`, which is the value of `parent`, if there is one. Returns the keys
/// of their fields.
pub fn scan<'t>(
    scan: &mut Scan,
    parent: Option<&str>,
    mapping: &'t Mapping,
    surroundings: &Surroundings<'t>,
) -> Vec<&'t str> {
    let groups = surroundings.groups(parent, mapping, scan.mapping.hosts());
    let found = groups.iter().find(|group| group.rewrite(scan)).or(groups.first());
    let mut keys = found.map(Group::keys).unwrap_or_default();
    for group in surroundings.prefixed(mapping) {
        group.rewrite(scan);
        keys.extend(group.keys());
    }
    keys
}

impl<'t> Surroundings<'t> {
    /// The groups that `mapping` may be, the likeliest first.
    fn groups(&self, parent: Option<&str>, mapping: &'t Mapping, hosts: &HashSet<Registry>) -> Vec<Group<'t>> {
        let field = |names: &[&str]| self.field(mapping, names);
        let (registry, repository, image) = (field(&REGISTRY), field(&REPOSITORY), field(&IMAGE));
        // An image with a slash is taken whole by charts that have a hub.
        let hub = || self.hub(mapping).filter(|_| image.is_some_and(|image| !image.text().contains('/')));
        let registry = self.overriding().or(registry).or_else(hub);
        let (tag, digest) = (field(&TAG), field(&DIGEST));
        let is_image = parent.is_some_and(|parent| parent.to_ascii_lowercase().contains("image"));
        let named = field(&["name"]).filter(|_| is_image);
        let prefix = self.scope.prefix();
        let has_version = tag.is_some() || digest.is_some();
        let is_group = match (repository, image, named) {
            // Of an action of GitHub it is a repository of source code.
            _ if parent == Some("with") && registry.is_none() => false,
            (Some(_), ..) => has_version || registry.is_some() || is_image || image.is_some(),
            (None, Some(image), _) => {
                let has_own_tag = image.text().rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
                registry.is_some() || (tag.is_some() && !has_own_tag)
            }
            (None, None, Some(_)) => has_version || registry.is_some() || prefix.is_some(),
            (None, None, None) => false,
        };
        if !is_group {
            return Vec::new();
        }
        let is_empty = |field: Option<Field>| field.is_none_or(|field| field.text().is_empty());
        if let (Some(named), Some(prefix)) = (named, prefix)
            && is_empty(repository)
            && is_empty(registry)
        {
            // A whole repository goes before all else.
            let field = repository.unwrap_or(Field { is_shared: true, ..named });
            let name = Part { text: format!("{prefix}/{}", named.text()).into(), field: Some(field) };
            return vec![Group { name: vec![name], tag, digest }];
        }
        let group = |name: &[Option<Field<'t>>], tag| {
            let fields = name.iter().flatten().filter(|field| !field.text().is_empty()).copied();
            let mut name: Vec<Part> =
                fields.map(|field| Part { text: field.text().into(), field: Some(field) }).collect();
            let has_host = |part: &Part| Written::parse(&part.text, hosts).is_none_or(|written| written.has_host);
            match self.registry(mapping, registry) {
                Some(part) if name.first().is_some_and(|first| !has_host(first)) => name.insert(0, part),
                _ => {}
            }
            if let Some(registry) = registry.filter(|registry| !registry.text().is_empty()) {
                name.insert(0, Part { text: registry.text().into(), field: Some(registry) });
            }
            Group { name, tag, digest }
        };
        match (repository, image.or(named)) {
            (None, last) => vec![group(&[last], tag)],
            (repository, None) => vec![group(&[repository], tag)],
            (repository, last) => {
                vec![group(&[repository], tag), group(&[repository, last], tag.or_else(|| field(&["version"])))]
            }
        }
    }

    /// The groups of fields whose names have something in common: `xRepository`, `xTag`, `xDigest`.
    fn prefixed(&self, mapping: &'t Mapping) -> Vec<Group<'t>> {
        let names = mapping.entries().filter_map(|(key, _)| key?.value.strip_suffix("Repository"));
        let group = |prefix: &str| {
            let field = |name: &str| self.field(mapping, &[&format!("{prefix}{name}")]);
            let (repository, tag, digest) = (field("Repository")?, field("Tag"), field("Digest"));
            let part = Part { text: repository.text().into(), field: Some(repository) };
            (tag.is_some() || digest.is_some()).then(|| Group { name: vec![part], tag, digest })
        };
        names.filter(|prefix| *prefix != "image").filter_map(group).collect()
    }

    /// What Istio's charts put before an image: their own `hub`, or one for all.
    fn hub(&self, mapping: &'t Mapping) -> Option<Field<'t>> {
        let for_all = || Some(Field { is_shared: true, ..self.field(self.scope.global?, &["hub"])? });
        self.field(mapping, &["hub"]).or_else(for_all)
    }

    fn field(&self, mapping: &'t Mapping, names: &[&str]) -> Option<Field<'t>> {
        names.iter().find_map(|name| {
            let (key, value) = mapping.entry(name)?;
            match value {
                Node::Scalar(value) => Some(Field { key, value, is_shared: value.is_anchored() }),
                Node::Alias(anchor) => Some(Field { key, value: self.anchors.get(anchor)?, is_shared: true }),
                _ => None,
            }
        })
    }

    /// The registry that a chart takes for all its images, whatever they say.
    fn overriding(&self) -> Option<Field<'t>> {
        match self.scope.global?.entry("imageRegistry")? {
            (key, Node::Scalar(value)) if !value.is_empty() => Some(Field { key, value, is_shared: true }),
            _ => None,
        }
    }

    /// The registry that a chart takes where `own`, the field for it, says none.
    fn registry(&self, mapping: &'t Mapping, own: Option<Field<'t>>) -> Option<Part<'t>> {
        if own.is_some_and(|own| !own.text().is_empty()) {
            return None;
        }
        let given = |mapping: &'t Mapping, name| {
            mapping.scalar(name).filter(|registry| !registry.is_empty()).map(|registry| registry.value.as_str())
        };
        let of_images = self.scope.global.and_then(|global| match (own, global.get("image")) {
            (Some(own), _) if own.key.value == "hub" => given(global, "hub"),
            (_, Some(Node::Mapping(image))) => given(image, "registry"),
            _ => None,
        });
        match (given(mapping, "defaultRegistry").or(of_images), own) {
            (Some(text), own) => Some(Part { text: text.into(), field: own }),
            // A field for a registry is there to be filled: without it the chart may put a host of its own there.
            (None, Some(own)) => Some(Part { text: "docker.io".into(), field: Some(own) }),
            (None, None) => None,
        }
    }
}

impl<'t> Group<'t> {
    /// Rewrites it. Whether it is an image that the rules know.
    fn rewrite(&self, scan: &mut Scan) -> bool {
        let Some(text) = self.text() else { return false };
        let Some(written) = Written::parse(&text, scan.mapping.hosts()) else { return false };
        let image = match &written {
            Written { tag: None, digest: None, .. } => {
                Image { repository: written.repository.clone(), version: Version::Unknown }
            }
            _ => written.image(),
        };
        let offset = self.offset();
        if !scan.mapping.knows(&image.repository) {
            return false;
        }
        if let Some(destination) = scan.find(offset, &text, written.name, &image) {
            self.write(scan, offset, &text, &written, &destination);
        }
        true
    }

    /// The reference that a chart makes of it.
    fn text(&self) -> Option<String> {
        let mut text = self.names_with_tag().join("/");
        if text.is_empty() {
            return None;
        }
        if let Some(tag) = self.tag.map(|tag| tag.text()).filter(|tag| !tag.is_empty()) {
            text.push_str(&format!(":{tag}"));
        }
        if let Some(field) = self.digest.filter(|field| !field.text().is_empty()) {
            text.push_str(&format!("@{}{}", field.algorithm(), field.text()));
        }
        Some(text)
    }

    fn fields(&self) -> impl Iterator<Item = Field<'t>> {
        let name = self.name.iter().filter_map(|part| part.field);
        name.chain(self.tag).chain(self.digest)
    }

    fn keys(&self) -> Vec<&'t str> {
        self.fields().map(|field| field.key.value.as_str()).collect()
    }

    /// Where the last part of its name stands.
    fn offset(&self) -> usize {
        self.name.iter().rev().find_map(|part| part.field).map_or(0, |field| field.value.raw.start)
    }

    fn write(&self, scan: &mut Scan, offset: usize, text: &str, written: &Written, to: &Destination) {
        let Some(changes) = self.changes(text, written, to) else {
            return scan.stays(offset, text, Reason::NoRoom(to.repository.to_string()));
        };
        if changes.iter().any(|(field, _)| field.is_some_and(|field| !field.can_change(scan.text))) {
            return scan.stays(offset, text, Reason::Shared(to.repository.to_string()));
        }
        for (field, text) in &changes {
            match field {
                Some(field) => field.write(scan, text),
                None => self.add_registry(scan, text),
            }
        }
        let has_room = self.digest.is_some() || written.digest.is_some();
        if scan.mapping.pins() && to.digest.is_some() && !has_room {
            scan.stays(offset, text, Reason::NotPinned);
        }
    }

    /// What to write in which field; none is a registry that has no field yet.
    fn changes(&self, text: &str, written: &Written, to: &Destination) -> Option<Vec<(Option<Field<'t>>, String)>> {
        let mut names = distribute(&self.names(), written.has_host, &to.repository)?;
        let tag = to.tag.as_ref().filter(|_| written.tag.is_some());
        let with_digest = |tag: &str, was: &str| match (&to.digest, was.contains('@')) {
            (Some(digest), true) => format!("{tag}@{digest}"),
            _ => tag.to_owned(),
        };
        let mut changes = Vec::new();
        let own_tag = self.tag.filter(|field| !field.text().is_empty());
        match (own_tag, tag) {
            (Some(field), Some(tag)) => {
                changes.push((Some(field), field.text(), with_digest(tag.as_str(), field.text())))
            }
            (None, _) if written.name.len() < text.len() => {
                // Tag or digest stand in the last field of the name, if not in one of their own.
                let last = self.name.last().filter(|last| last.text.contains([':', '@']));
                if let (Some(last), Some(name)) = (last, names.last_mut()) {
                    let suffix = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
                    *name = with_digest(&format!("{name}{suffix}"), &last.text);
                }
            }
            _ => {}
        }
        if let (Some(field), Some(digest)) = (self.digest, &to.digest) {
            let digest = digest.to_string();
            let text = digest.strip_prefix(field.algorithm()).unwrap_or(&digest);
            changes.push((Some(field), field.text(), text.to_owned()));
        }
        changes.extend(self.name.iter().zip(names).map(|(part, name)| (part.field, &*part.text, name)));
        Some(changes.into_iter().filter(|(_, was, is)| was != is).map(|(field, _, text)| (field, text)).collect())
    }

    fn names_with_tag(&self) -> Vec<&str> {
        self.name.iter().map(|part| &*part.text).collect()
    }

    /// The parts of the name, without tag and digest.
    fn names(&self) -> Vec<&str> {
        let mut names = self.names_with_tag();
        let is_alone = names.len() == 1;
        if let Some(last) = names.last_mut() {
            let start = last.rfind('/').map_or(0, |slash| slash + 1);
            let end = last[start..].find([':', '@']).map_or(last.len(), |length| start + length);
            // A ':' may also be that of a registry's port.
            if !is_alone || start > 0 {
                *last = &last[..end];
            }
        }
        names
    }

    /// Adds a field before the others.
    fn add_registry(&self, scan: &mut Scan, registry: &str) {
        let keys = self.name.iter().filter_map(|part| part.field).map(|field| field.key);
        let Some(key) = keys.min_by_key(|key| key.raw.start) else { return };
        let place = key.raw.start;
        let quote = if key.style == Style::Quoted { "\"" } else { "" };
        let field = format!("{quote}registry{quote}: {quote}{registry}{quote}");
        let comma = if quote.is_empty() { "" } else { "," };
        let separator = scan.new_line(place).map_or(", ".to_owned(), |line| format!("{comma}{line}"));
        scan.replace(place..place, format!("{field}{separator}"));
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
    let kept = if names.len() == 2 { kept.min(rest.len().saturating_sub(1)).max(1) } else { kept };
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
