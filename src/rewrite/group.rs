//! An image in several fields, as charts have it: `registry`, `repository`, `tag`, `digest`.
//!
//! Each field keeps its share of the name. A registry that comes from elsewhere in the chart is written out in a field
//! of the group's own, since others may rely on what is elsewhere.
//!
//! Beside the usual names those of some widely used charts are known: Istio's `hub`, cert-manager's `imageNamespace`,
//! Airflow's `defaultAirflowRepository` with a tag of the same prefix.

mod fields;

use std::collections::HashSet;

use super::anchors::Anchors;
use super::scan::Scan;
use super::tree::{Mapping, Node};
use super::written::Written;
use crate::reference::{Parts, Registry};
use fields::{Field, Group, Part, pinned};

const REGISTRY: [&str; 2] = ["registry", "imageRegistry"];
pub const REPOSITORY: [&str; 3] = ["repository", "imageRepository", "repo"];
const IMAGE: [&str; 2] = ["image", "imageName"];
const TAG: [&str; 2] = ["tag", "imageTag"];
/// What stands behind a prefix that other fields share.
const PREFIXED: [&str; 2] = ["Repository", "Image"];
const DIGEST: [&str; 3] = ["digest", "imageDigest", "sha"];

/// What the fields of a group may refer to.
pub struct Surroundings<'t> {
    pub anchors: Anchors<'t>,
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
    /// The scope inside `mapping`, if `self` is the scope around it.
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
pub fn read<'t>(
    scan: &mut Scan,
    parent: Option<&str>,
    mapping: &'t Mapping,
    surroundings: &Surroundings<'t>,
) -> Vec<&'t str> {
    let hosts = scan.moves.hosts();
    let (groups, prefixed) = (surroundings.groups(parent, mapping, hosts), surroundings.prefixed(mapping));
    let merged = (mapping, &surroundings.anchors);
    // A field that holds a whole image is read alone if it makes no image together with the fields around it.
    let likeliest = groups.first().filter(|group| !group.holds_image(hosts));
    let found = groups.iter().find(|group| group.rewrite(scan, merged)).or(likeliest);
    let mut keys = found.map(Group::keys).unwrap_or_default();
    for group in prefixed {
        // With a registry beside it a name is none of Docker Hub.
        let is_part = group.name.len() > 1 && !group.holds_image(hosts);
        if group.rewrite(scan, merged) || is_part {
            keys.extend(group.keys());
        }
    }
    keys
}

impl<'t> Surroundings<'t> {
    /// The groups that `mapping` may be, the likeliest first.
    fn groups(&self, parent: Option<&str>, mapping: &'t Mapping, hosts: &HashSet<Registry>) -> Vec<Group<'t>> {
        let field = |names: &[&str]| self.field(mapping, names);
        let (repository, image) = (field(&REPOSITORY), field(&IMAGE));
        let own =
            field(&REGISTRY).or_else(|| self.merged(mapping, &REGISTRY).filter(|_| repository.or(image).is_some()));
        // An image with a slash is taken whole by charts that have a hub.
        let hub = || self.hub(mapping).filter(|_| image.is_some_and(|image| !image.text().contains('/')));
        let registry = self.overriding().or(own).or_else(hub);
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
                let name = pinned(image.text()).map_or(image.text(), |(name, _)| name);
                registry.is_some() || (tag.is_some() && !has_version_in(name))
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
        let has_host = |part: &Part| {
            let name = part.text.split('@').next().unwrap_or_default();
            Written::parse(name, hosts).is_none_or(|written| written.has_host)
        };
        let group = |name: &[Option<Field<'t>>], tag| {
            let fields = name.iter().flatten().filter(|field| !field.text().is_empty()).copied();
            let mut name: Vec<Part> =
                fields.map(|field| Part { text: field.text().into(), field: Some(field) }).collect();
            match self.registry(mapping, registry) {
                Some(part) if name.first().is_some_and(|first| !has_host(first)) => name.insert(0, part),
                _ => {}
            }
            if let Some(registry) = registry.filter(|registry| !registry.text().is_empty()) {
                name.insert(0, Part { text: registry.text().into(), field: Some(registry) });
            }
            Group { name, tag, digest }
        };
        let mut groups = match (repository, image.or(named)) {
            (None, last) => vec![group(&[last], tag)],
            (repository, None) => vec![group(&[repository], tag)],
            (repository, last) => {
                vec![group(&[repository], tag), group(&[repository, last], tag.or_else(|| field(&["version"])))]
            }
        };
        // A name that has a host of its own may be all of it.
        let is_own = own.is_some_and(|own| !own.text().is_empty());
        let whole: Vec<Group> =
            groups.iter().filter_map(|group| group.without_registry(registry?, is_own, has_host)).collect();
        groups.extend(whole);
        groups
    }

    /// The groups of fields whose names have something in common: `xRepository` or `xImage`, `xRegistry`, `xTag`,
    /// `xDigest`.
    fn prefixed(&self, mapping: &'t Mapping) -> Vec<Group<'t>> {
        let group = |key: &str| {
            let (prefix, kind) = PREFIXED.iter().find_map(|kind| Some((key.strip_suffix(kind)?, *kind)))?;
            let field = |name: &str| self.field(mapping, &[&format!("{prefix}{name}")]);
            let either = |name: &str| field(&format!("{kind}{name}")).or_else(|| field(name));
            let (name, tag, digest) = (field(kind)?, either("Tag"), either("Digest"));
            // An address to log in at is no part of a name.
            let is_part = |field: &Field| !field.text().is_empty() && !field.text().contains("://");
            // The other name may be a part of this one, or that of an image elsewhere.
            let other = PREFIXED.iter().filter(|other| **other != kind).find_map(|other| field(other).filter(is_part));
            let shared = || field("Registry").map(|it| Field { is_shared: it.is_shared || other.is_some(), ..it });
            let registry = field(&format!("{kind}Registry")).or_else(shared).filter(is_part);
            let is_whole = kind == "Image" && has_version_in(name.text());
            let part = |field: Field<'t>| Part { text: field.text().into(), field: Some(field) };
            let is_group = registry.is_some() || ((tag.is_some() || digest.is_some()) && !is_whole);
            let name = registry.into_iter().chain([name]).map(part).collect();
            (is_group && prefix != "image").then_some(Group { name, tag, digest })
        };
        mapping.entries().filter_map(|(key, _)| group(&key?.value)).collect()
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
                Node::Alias(anchor) => Some(Field { key, value: self.anchors.scalar(*anchor)?, is_shared: true }),
                _ => None,
            }
        })
    }

    /// The field that `mapping` takes over by `<<`.
    fn merged(&self, mapping: &'t Mapping, names: &[&str]) -> Option<Field<'t>> {
        let field = self.anchors.merged(mapping).find_map(|merged| self.field(merged, names))?;
        Some(Field { is_shared: true, ..field })
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

/// Whether there is a tag or digest in the field for a name.
pub fn has_version_in(name: &str) -> bool {
    let Parts { tag, digest, .. } = Parts::split(name);
    tag.is_some() || digest.is_some()
}

#[cfg(test)]
mod tests;
