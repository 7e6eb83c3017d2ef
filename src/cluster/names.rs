//! What images are called at the target: their last path component where that is enough.
//!
//! Where repositories would meet, only those are told apart: by their parent path, then by their host, and if two
//! are the same even then by a hash. Never do two sources get one destination, and what the cluster runs from the
//! target already keeps its repository: of whose image that is a copy is not known.

use std::collections::{BTreeMap, BTreeSet};

use super::existing::Existing;
use super::images::Image;
use crate::config::Target;
use crate::digest::Digest;
use crate::reference::{Parts, Repository, Tag};

/// Where each image goes.
#[derive(Debug, Default)]
pub struct Plan {
    /// By source: one destination, or several if an earlier file had several.
    pub rules: BTreeMap<String, Vec<String>>,
    /// Those among them whose destinations stood in the earlier file.
    pub kept: usize,
    /// Those among them that the earlier file sends elsewhere than to the target.
    pub kept_elsewhere: usize,
    /// Images that are at the target already.
    pub left_out: BTreeSet<Image>,
    /// What a person should know of the names.
    pub notes: Vec<String>,
}

/// How much of a repository's name is needed to tell it from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Length {
    Last,
    WithParents,
    WithHost,
    WithHash,
}

impl Length {
    fn next(self) -> Self {
        match self {
            Self::Last => Self::WithParents,
            Self::WithParents => Self::WithHost,
            Self::WithHost | Self::WithHash => Self::WithHash,
        }
    }

    fn name(self, repository: &Repository) -> String {
        let path = repository.path();
        let joined = || path.replace('/', "-");
        match self {
            Self::Last => path.rsplit('/').next().unwrap_or(path).to_owned(),
            Self::WithParents => joined(),
            Self::WithHost => format!("{}-{}", host(repository), joined()),
            // Short, so that it fits whatever was too long.
            Self::WithHash => {
                let last: String = Self::Last.name(repository).chars().take(100).collect();
                format!("{}-{}", last.trim_end_matches(['-', '.', '_']), hash(&repository.to_string()))
            }
        }
    }
}

/// A host as part of a path component: without what may not stand there.
fn host(repository: &Repository) -> String {
    let words = repository.registry().as_str().split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

fn hash(text: &str) -> String {
    Digest::of(text.as_bytes()).hex().chars().take(8).collect()
}

/// Decides where the images go. Without a target they have no destination but that of the earlier file.
pub fn plan(images: &BTreeSet<Image>, target: Option<&Target>, existing: &Existing) -> Plan {
    let mut plan = Plan::default();
    let mut claims = Claims::default();
    let mut newcomers = Vec::new();
    for image in images {
        if target.is_some_and(|target| is_below(target, &image.repository)) {
            plan.left_out.insert(image.clone());
            continue;
        }
        let destinations = existing.destinations(image);
        if destinations.is_empty() {
            newcomers.push(image);
        } else if let Some(taken) = claims.claim_all(image, &destinations) {
            plan.notes.push(format!("{image} and {taken} went to one destination; {image} gets another one"));
            newcomers.push(image);
        } else {
            let is_at = |target: &Target, text: &str| {
                Parts::split(text).name.parse().is_ok_and(|destination| is_below(target, &destination))
            };
            let elsewhere = |text: &String| target.is_some_and(|target| !is_at(target, text));
            plan.kept += 1;
            plan.kept_elsewhere += usize::from(destinations.iter().all(elsewhere));
            plan.rules.insert(image.to_string(), destinations);
        }
    }
    claims.keep_unused(images, existing);
    match target {
        Some(target) => name_newcomers(&newcomers, target, existing, &mut claims, &mut plan),
        None => leave_open(&newcomers, &mut plan),
    }
    plan
}

/// Writes `""`, and tells which images would meet where the migrator puts those.
fn leave_open(newcomers: &[&Image], plan: &mut Plan) {
    let mut taken: BTreeMap<(String, Option<&Tag>), &Image> = BTreeMap::new();
    for image in newcomers {
        let rest = image.repository.below_first().to_owned();
        let tag = image.tag.as_ref();
        if let Some(other) =
            taken.get(&(rest.clone(), tag)).filter(|other| tag.is_some() || other.repository != image.repository)
        {
            plan.notes
                .push(format!("{other} and {image} meet at one destination if both stay \"\"; -t tells them apart"));
        } else {
            taken.insert((rest, tag), image);
        }
        plan.rules.insert(image.to_string(), vec![String::new()]);
    }
}

/// Whether the target has the repository already, under a name in it.
fn is_below(target: &Target, repository: &Repository) -> bool {
    target.holds(repository) && repository.path() != target.namespace
}

fn name_newcomers(newcomers: &[&Image], target: &Target, existing: &Existing, claims: &mut Claims, plan: &mut Plan) {
    let new: BTreeSet<&Repository> = newcomers
        .iter()
        .map(|image| &image.repository)
        .filter(|source| existing.repository(source, target).is_none())
        .collect();
    let in_use: BTreeSet<&Repository> = plan.left_out.iter().map(|image| &image.repository).collect();
    let repositories = tell_apart(&new, target, existing, &in_use, &mut plan.notes);
    // What has a tag alone keeps it; what is pinned gives way, since its digest still names it.
    let (tagged, pinned): (Vec<&Image>, Vec<&Image>) = newcomers.iter().partition(|image| image.digest.is_none());
    for image in tagged.into_iter().chain(pinned) {
        let repository = existing.repository(&image.repository, target).or_else(|| repositories.get(&image.repository));
        let Some(repository) = repository else {
            plan.notes.push(format!("{image} is left out: its name is too long for {target}"));
            continue;
        };
        let mut destination = repository.to_string();
        if let Some(taken) = claims.claim_all(image, std::slice::from_ref(&destination)) {
            destination = format!("{repository}:{}", distinct_tag(image));
            if claims.claim_all(image, std::slice::from_ref(&destination)).is_some() {
                plan.notes.push(format!("{image} is left out: {taken} has its place at {repository}"));
                continue;
            }
            plan.notes.push(format!("{image} goes to {destination}, since {taken} has its tag there"));
        }
        plan.rules.insert(image.to_string(), vec![destination]);
    }
}

/// A name at the target for each repository, no two the same, none that an earlier file gave to others, and none that
/// is `in_use`.
fn tell_apart(
    sources: &BTreeSet<&Repository>,
    target: &Target,
    existing: &Existing,
    in_use: &BTreeSet<&Repository>,
    notes: &mut Vec<String>,
) -> BTreeMap<Repository, Repository> {
    let mut lengths: BTreeMap<&Repository, Length> = sources.iter().map(|source| (*source, Length::Last)).collect();
    // Each turn makes at least one name longer, and there are four lengths.
    loop {
        let mut by_name: BTreeMap<String, Vec<&Repository>> = BTreeMap::new();
        for (source, length) in &lengths {
            by_name.entry(length.name(source)).or_default().push(source);
        }
        let mut longer: Vec<&Repository> = Vec::new();
        for (name, meeting) in &by_name {
            let destination = target.repository(name).ok();
            let is_taken = |source: &&&Repository| {
                destination.as_ref().is_none_or(|destination| {
                    in_use.contains(destination) || existing.is_held_against(destination, source)
                })
            };
            let taken: Vec<&Repository> = meeting.iter().filter(is_taken).copied().collect();
            let meeting = if taken.is_empty() && meeting.len() > 1 { meeting.clone() } else { taken };
            // A name that was lengthened must not push away one that was there by itself.
            let most = meeting.iter().filter_map(|source| lengths.get(source)).max().copied();
            longer.extend(meeting.into_iter().filter(|source| lengths.get(source).copied() == most));
        }
        longer.retain(|source| lengths.get(source).is_some_and(|length| *length != Length::WithHash));
        if longer.is_empty() {
            break;
        }
        for source in longer {
            lengths.entry(source).and_modify(|length| *length = length.next());
        }
    }
    let mut names = BTreeMap::new();
    for (source, length) in lengths {
        let Ok(destination) = target.repository(&length.name(source)) else { continue };
        let shortest = target.repository(&Length::Last.name(source)).ok().filter(|shortest| *shortest != destination);
        match shortest {
            Some(shortest) if in_use.contains(&shortest) => notes.push(format!(
                "{source} goes to {destination}: the cluster uses {shortest} already, and that may be another's"
            )),
            Some(_) => {
                notes.push(format!("{source} goes to {destination}: its last part alone would meet another repository"))
            }
            None => {}
        }
        names.insert(source.clone(), destination);
    }
    names
}

/// A tag for an image whose own tag is taken at its destination.
fn distinct_tag(image: &Image) -> String {
    let suffix: String = match &image.digest {
        Some(digest) => digest.hex().chars().take(12).collect(),
        None => hash(&image.to_string()),
    };
    match &image.tag {
        Some(tag) => {
            let kept: String = tag.as_str().chars().take(127 - suffix.len()).collect();
            format!("{kept}-{suffix}")
        }
        None => suffix,
    }
}

/// Which source has which tag of which repository.
#[derive(Default)]
struct Claims(BTreeMap<String, String>);

impl Claims {
    /// Keeps the tags to which the earlier file brought images that are not used any more: what was rewritten since may
    /// use them. The same tag of a repository under another digest takes the place of the one before it.
    fn keep_unused(&mut self, images: &BTreeSet<Image>, existing: &Existing) {
        let used: BTreeSet<(&Repository, Option<&Tag>)> =
            images.iter().map(|image| (&image.repository, image.tag.as_ref())).collect();
        for (source, destinations) in existing.fixed() {
            let Ok(image) = Image::parse(source) else { continue };
            if !used.contains(&(&image.repository, image.tag.as_ref())) {
                self.claim_all(&image, destinations);
            }
        }
    }

    /// Takes all of an image's destinations for it, or none and returns who has one of them.
    fn claim_all(&mut self, image: &Image, destinations: &[String]) -> Option<String> {
        let source = image.to_string();
        let places: Vec<String> = destinations.iter().map(|text| place(image, text)).collect();
        let taken = places.iter().find_map(|place| self.0.get(place).filter(|other| **other != source));
        if let Some(taken) = taken {
            return Some(taken.clone());
        }
        self.0.extend(places.into_iter().map(|place| (place, source.clone())));
        None
    }
}

/// The place that `destination` means for `image`, with the tag that is not written.
fn place(image: &Image, destination: &str) -> String {
    let Parts { name, tag, digest } = Parts::split(destination);
    let tag = tag.or_else(|| image.tag.as_ref().map(Tag::as_str));
    match (tag, &image.digest) {
        (Some(tag), _) => format!("{name}:{tag}"),
        (None, Some(digest)) => format!("{name}@{digest}"),
        (None, None) => format!("{name}@{}", digest.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
