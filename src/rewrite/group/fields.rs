//! The fields of one image: what name they make, and how another one is spread over them.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{Anchors, DIGEST, IMAGE, REGISTRY, REPOSITORY, TAG};
use crate::digest::Digest;
use crate::reference::{Registry, Repository};
use crate::rewrite::moves::{Destination, Found, Image, Reason, Version};
use crate::rewrite::scan::Scan;
use crate::rewrite::tree::{Mapping, Scalar, Style, as_value};
use crate::rewrite::written::Written;

/// A field that is there. Its value may be empty.
#[derive(Clone, Copy)]
pub struct Field<'t> {
    pub key: &'t Scalar,
    pub value: &'t Scalar,
    /// Whether others in the file use the same value.
    pub is_shared: bool,
}

impl<'t> Field<'t> {
    pub fn text(&self) -> &'t str {
        if self.value.is_empty() { "" } else { self.value.value.trim_end_matches('/') }
    }

    /// The `sha256:` that a field named `sha` leaves out.
    fn algorithm(&self) -> &'static str {
        if self.key.value == "sha" && self.text().parse::<Digest>().is_err() { "sha256:" } else { "" }
    }

    /// Where to write a value that is missing: behind the colon, if nothing else stands there.
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
            // A chart that puts no slash behind it needs the one that is there.
            let slashes = if self.text().is_empty() { "" } else { &self.value.value[self.text().len()..] };
            self.value.write(scan, &format!("{text}{slashes}"));
        } else if let Some(place) = self.gap(scan.text) {
            scan.replace(place..place, format!(" {}", as_value(text)));
        }
    }
}

/// A part of an image's name.
#[derive(Clone)]
pub struct Part<'t> {
    pub text: Cow<'t, str>,
    /// Where it can be written. `None` if it comes from elsewhere and a field can be added.
    pub field: Option<Field<'t>>,
}

/// The fields of an image.
pub struct Group<'t> {
    /// What makes the name, joined by slashes; none is empty.
    pub name: Vec<Part<'t>>,
    pub tag: Option<Field<'t>>,
    pub digest: Option<Field<'t>>,
}

impl<'t> Group<'t> {
    /// Rewrites the group, which is in `merged`: others may include that by `<<`. Returns whether the rules know the image.
    pub fn rewrite(&self, scan: &mut Scan, merged: (&Mapping, &Anchors)) -> bool {
        let Some(text) = self.text() else { return false };
        let Some(written) = Written::parse(&text, scan.moves.hosts()) else { return false };
        let image = match &written {
            Written { tag: None, digest: None, .. } => {
                Image { repository: written.repository.clone(), version: Version::Unknown }
            }
            _ => written.image(),
        };
        let offset = self.offset();
        if !scan.moves.knows(&image.repository) {
            return false;
        }
        if let Some(destination) = scan.find(offset, &text, written.name, &image) {
            self.write(scan, offset, &text, &written, &destination, merged);
        }
        true
    }

    /// The same without `registry`, if the name behind it `has_host` already. If both are fields of the group itself, it
    /// is not known which counts, so the name is not changed.
    pub fn without_registry(
        &self,
        registry: Field<'t>,
        is_own: bool,
        has_host: impl Fn(&Part) -> bool,
    ) -> Option<Self> {
        let [first, rest @ ..] = self.name.as_slice() else { return None };
        let is_registry = first.field.is_some_and(|field| std::ptr::eq(field.key, registry.key));
        rest.first().filter(|name| is_registry && has_host(name))?;
        let mut name = rest.to_vec();
        for field in name.iter_mut().filter_map(|part| part.field.as_mut()) {
            field.is_shared |= is_own && REPOSITORY.contains(&field.key.value.as_str());
        }
        Some(Self { name, tag: self.tag, digest: self.digest })
    }

    /// Whether one of the fields of its name is a whole image by itself.
    pub fn holds_image(&self, hosts: &HashSet<Registry>) -> bool {
        self.name.iter().any(|part| Written::parse(&part.text, hosts).is_some_and(|written| written.is_full()))
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

    pub fn keys(&self) -> Vec<&'t str> {
        self.fields().map(|field| field.key.value.as_str()).collect()
    }

    /// Where the last part of its name stands.
    fn offset(&self) -> usize {
        self.name.iter().rev().find_map(|part| part.field).map_or(0, |field| field.value.raw.start)
    }

    fn write(
        &self,
        scan: &mut Scan,
        offset: usize,
        text: &str,
        written: &Written,
        to: &Destination,
        (mapping, anchors): (&Mapping, &Anchors),
    ) {
        let Some(changes) = self.changes(text, written, to) else {
            return scan.keeps(offset, text, Reason::NoRoom(to.repository.to_string()));
        };
        let versions = [self.tag, self.digest].map(|field| field.map(|field| field.key.value.as_str()));
        let keeps_version =
            changes.iter().all(|(field, _)| field.is_none_or(|field| !versions.contains(&Some(&field.key.value))));
        // A mapping that overrides all fields that would change stays as it is.
        let is_apart = |mapping: &Mapping| {
            changes.iter().all(|(field, _)| field.is_some_and(|field| mapping.get(&field.key.value).is_some()))
        };
        let suits = |mapping: &Mapping| self.suits(scan, mapping, written, to, keeps_version);
        if changes.iter().any(|(field, _)| field.is_some_and(|field| !field.can_change(scan.text)))
            || !anchors.merging(mapping, is_apart).all(suits)
        {
            return scan.keeps(offset, text, Reason::Shared(to.repository.to_string()));
        }
        for (field, text) in &changes {
            match field {
                Some(field) => field.write(scan, text),
                None => self.add_registry(scan, text),
            }
        }
        let has_room = self.digest.is_some() || written.digest.is_some();
        if scan.moves.pins() && to.digest.is_some() && !has_room {
            scan.stays(offset, text, Reason::NotPinned);
        }
    }

    /// Whether `mapping`, which takes over these fields and may override some, would still name the right image.
    fn suits(&self, scan: &Scan, mapping: &Mapping, written: &Written, to: &Destination, keeps_version: bool) -> bool {
        let has = |names: &[&str]| names.iter().any(|name| mapping.get(name).is_some());
        let given = |own: Option<Field>, names: &[&'static str]| {
            let own = own.and_then(|own| mapping.scalar(&own.key.value));
            own.or_else(|| names.iter().find_map(|name| mapping.scalar(name)))
        };
        let (tag, digest) = (given(self.tag, &TAG), given(self.digest, &DIGEST));
        let has_version = tag.is_some() || digest.is_some() || has(&TAG) || has(&DIGEST);
        let has_name = has(&REGISTRY) || has(&REPOSITORY) || has(&IMAGE);
        if !has_version && !has_name {
            return true;
        }
        let tag = tag.filter(|tag| !tag.is_empty() && !tag.value.contains('@'));
        let (Some(tag), None, None) = (tag, digest, &written.digest) else { return false };
        let text = format!("{}:{}", written.name, tag.value);
        let image = Written::parse(&text, scan.moves.hosts()).map(|written| written.image());
        let found = image.map(|image| scan.moves.find(&image));
        let Some(Found::Moved(found)) = found.filter(|_| keeps_version && !has_name) else { return false };
        let is_same_tag = found.tag.is_some_and(|found| found.as_str() == tag.value);
        found.repository == to.repository && is_same_tag && found.digest.is_none()
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
        let pinned_by = self.name.last().and_then(|last| pinned(&last.text));
        match (own_tag, tag) {
            (Some(field), _) if pinned_by.is_some() => {
                let digest = to.digest.as_ref()?;
                names.last_mut()?.push_str(&format!("@{}", digest.parts().0));
                changes.push((Some(field), field.text(), digest.hex()));
            }
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
        let (field, comma) = match key.style {
            Style::Quoted => (format!("\"registry\": \"{registry}\""), ","),
            _ => (format!("registry: {}", as_value(registry)), ""),
        };
        let separator = scan.new_line(place).map_or(", ".to_owned(), |line| format!("{comma}{line}"));
        scan.replace(place..place, format!("{field}{separator}"));
    }
}

/// The name and algorithm of `name@algorithm`, where the digest itself stands in a field for tags.
pub fn pinned(text: &str) -> Option<(&str, &str)> {
    text.split_once('@').filter(|(_, algorithm)| !algorithm.contains(':'))
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
