//! Anchors of a document: where they stand, and where aliases repeat what stands there.

use std::collections::{HashMap, HashSet};

use super::tree::{Mapping, Node, Scalar, Tree};
use super::yaml::{expects_image, lists_images};

#[derive(Default)]
pub struct Anchors<'t> {
    scalars: HashMap<usize, Anchored<'t>>,
    mappings: HashMap<usize, &'t Mapping>,
    /// The mappings that merge one with an anchor, by that.
    merging: HashMap<usize, Vec<&'t Mapping>>,
}

struct Anchored<'t> {
    scalar: &'t Scalar,
    /// Whether an image is expected here, or this is a template block (`x-…`, `.…`) that only aliases use.
    is_image: bool,
    /// Whether aliases repeat it where no image is expected.
    is_elsewhere: bool,
}

/// Where a node stands.
#[derive(Clone, Copy, Default)]
struct Position<'t> {
    /// The mapping with its own key, and the key in it.
    mapping: Option<(Option<&'t str>, &'t Mapping)>,
    key: &'t str,
    is_listed: bool,
    /// Whether it is there for aliases: under `x-…` of Compose, or `.…` of GitLab.
    is_template: bool,
}

impl<'t> Position<'t> {
    fn expects_image(&self, scalar: &Scalar) -> bool {
        let Some((parent, mapping)) = self.mapping else { return false };
        if self.is_listed {
            self.key == "images" || lists_images(parent, self.key)
        } else {
            expects_image(parent, self.key, scalar, mapping)
        }
    }

    fn at(self, parent: Option<&'t str>, mapping: &'t Mapping, key: Option<&'t Scalar>) -> Self {
        let key = key.map_or("", |key| key.value.as_str());
        let is_template = self.is_template || key.starts_with("x-") || key.starts_with('.');
        Self { mapping: Some((parent, mapping)), key, is_listed: false, is_template }
    }
}

impl<'t> Anchors<'t> {
    pub fn of(tree: &'t Tree) -> Self {
        let mut anchors = Self::default();
        let mut aliases = Vec::new();
        let mut nodes: Vec<(Position, &Node)> = tree.roots.iter().map(|root| (Position::default(), root)).collect();
        while let Some((place, node)) = nodes.pop() {
            match node {
                Node::Scalar(scalar) if scalar.is_anchored() => {
                    let is_image = place.is_template || place.expects_image(scalar);
                    anchors.scalars.insert(scalar.anchor, Anchored { scalar, is_image, is_elsewhere: false });
                }
                Node::Scalar(_) => {}
                Node::Alias(anchor) => aliases.push((place, *anchor)),
                Node::Sequence(items) => {
                    nodes.extend(items.iter().map(|item| (Position { is_listed: true, ..place }, item)));
                }
                Node::Mapping(mapping) => {
                    anchors.mappings.insert(mapping.anchor, mapping);
                    let parent = Some(place.key).filter(|_| place.mapping.is_some() && !place.is_listed);
                    nodes.extend(mapping.entries().map(|(key, value)| (place.at(parent, mapping, key), value)));
                }
            }
        }
        for (place, anchor) in aliases {
            if let (Some((_, mapping)), "<<") = (place.mapping, place.key) {
                anchors.merging.entry(anchor).or_default().push(mapping);
            } else if let Some(anchored) = anchors.scalars.get_mut(&anchor) {
                anchored.is_elsewhere |= !place.expects_image(anchored.scalar);
            }
        }
        anchors
    }

    pub fn scalar(&self, anchor: usize) -> Option<&'t Scalar> {
        self.scalars.get(&anchor).map(|anchored| anchored.scalar)
    }

    /// What `mapping` takes over by `<<`, itself or through others: what counts first comes first.
    pub fn merged(&self, mapping: &Mapping) -> impl Iterator<Item = &'t Mapping> {
        let taken = |mapping: &Mapping| {
            let aliases = match mapping.get("<<") {
                Some(Node::Sequence(items)) => items.as_slice(),
                alias => alias.map(std::slice::from_ref).unwrap_or_default(),
            };
            let anchors = aliases.iter().rev().filter_map(|alias| match alias {
                Node::Alias(anchor) => self.mappings.get(anchor).copied(),
                _ => None,
            });
            anchors.collect()
        };
        reached(taken(mapping), taken)
    }

    /// Whether `scalar` can be rewritten wherever it is repeated. What may be a mere name counts as no image.
    pub fn is_image(&self, scalar: &Scalar) -> bool {
        self.scalars.get(&scalar.anchor).is_none_or(|anchored| {
            let has = |marks: &[char]| scalar.value.contains(marks);
            if anchored.is_image {
                !anchored.is_elsewhere || has(&['/', ':', '@'])
            } else {
                !anchored.is_elsewhere && has(&[':', '@'])
            }
        })
    }

    /// The mappings that include `mapping` by `<<`, themselves or through others, but for those that `is_apart` from it
    /// and what includes it only through these.
    pub fn merging(&self, mapping: &Mapping, is_apart: impl Fn(&Mapping) -> bool) -> impl Iterator<Item = &'t Mapping> {
        let including = move |mapping: &Mapping| {
            let all = self.merging.get(&mapping.anchor).into_iter().flatten().copied();
            all.filter(|one| !is_apart(one)).collect()
        };
        reached(including(mapping), including)
    }
}

/// `next` and what these lead to, each once.
fn reached<'t>(
    mut next: Vec<&'t Mapping>,
    leads_to: impl Fn(&Mapping) -> Vec<&'t Mapping>,
) -> impl Iterator<Item = &'t Mapping> {
    let mut seen = HashSet::new();
    std::iter::from_fn(move || {
        loop {
            let one = next.pop()?;
            if seen.insert(std::ptr::from_ref(one)) {
                next.extend(leads_to(one));
                return Some(one);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::rewrite::tests::{assert_changes, rules};

    #[test]
    fn an_anchor_is_no_image_where_it_is_a_name() {
        let shared =
            "nginx: what it is made of is used elsewhere, too, or comes from there; d.io/web/nginx is where it is now";
        for text in [
            "metadata: {name: &app nginx}\ncontainers: [{name: *app, image: *app}]\n",
            "metadata: {name: &app nginx}\ncontainers: [{image: *app}]\n",
            "containers: [{image: &app nginx, name: *app}]\n",
        ] {
            assert_eq!(assert_changes("a.yaml", &rules(), text), [shared], "{text}");
        }
        for text in [
            "containers: [{image: &app ⟦nginx:1→d.io/web/nginx:1⟧, env: [{name: X, value: *app}]}]\n",
            "vars: {web: &web ⟦nginx:1→d.io/web/nginx:1⟧}\na: {image: *web}\n",
            ".web: &web ⟦nginx→d.io/web/nginx⟧\na: {image: *web}\n",
            "name: &app ⟦quay.io/a/b:1→d.io/m/b:1⟧\na: {image: *app}\nb: *app\n",
        ] {
            assert_changes("a.yaml", &rules(), text);
        }
    }
}
