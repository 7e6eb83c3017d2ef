//! From an image that a file names to where the rules bring it: what the planner would do, without asking a registry.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use super::outcomes::Outcomes;
use crate::config::{Filter, RecordedImage, Rule, Target, Which};
use crate::digest::Digest;
use crate::reference::{Identifier, Reference, Registry, Repository, Tag};

/// The rules, by what they bring where. Where there are several, they are in the order of the file.
#[derive(Debug)]
pub struct Moves {
    rules: Vec<Rule>,
    by_source: HashMap<Repository, Vec<usize>>,
    /// The first rule for each, and the first from another source: later ones tell nothing more.
    by_destination: HashMap<Repository, Vec<usize>>,
    /// Of images that are known without asking: by source where they go, by destination where they come from. There may
    /// be as many rules for a repository as it has tags.
    goes_to: HashMap<Reference, Vec<(usize, Reference)>>,
    comes_from: HashMap<Reference, Vec<(usize, Reference)>>,
    /// Rules for tags that are listed, by source and by destination.
    listed_from: HashMap<Repository, Vec<usize>>,
    listed_to: HashMap<Repository, Vec<usize>>,
    /// The paths of the sources.
    paths: HashSet<String>,
    hosts: HashSet<Registry>,
    choice: Choice,
}

/// What the operator chose beside the rules.
#[derive(Debug, Default)]
pub struct Choice {
    /// Which of several places.
    pub to: Option<Target>,
    /// What became of the images; without it the rules are believed.
    pub outcomes: Option<Outcomes>,
    /// Whether digests are added. Only with outcomes, which know them.
    pub pin: bool,
}

/// An image that a file names.
#[derive(Debug, Clone)]
pub struct Image {
    pub repository: Repository,
    pub version: Version,
}

/// Which image of a repository.
#[derive(Debug, Clone)]
pub enum Version {
    /// At least one of them.
    Known { tag: Option<Tag>, digest: Option<Digest> },
    /// It is put in elsewhere: by a chart, a template, a variable.
    Unknown,
}

/// Where an image is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub repository: Repository,
    /// The tag that names it there. `None` where none is needed or known.
    pub tag: Option<Tag>,
    /// The digest to write: the one there, where the file had one or one is wanted.
    pub digest: Option<Digest>,
}

/// What the rules say of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No rule names its repository, or it is where a rule brings it.
    Foreign,
    Moved(Destination),
    /// Its repository is migrated, but it must not be rewritten.
    Stays(Reason),
    /// It went to all of these.
    Several(BTreeSet<Repository>),
}

/// Why a reference to a migrated repository stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("no rule covers it")]
    NoRule,
    #[error("its tag is not written here, and no rule brings every tag")]
    UnknownTag,
    #[error("its tag is not written here, and nothing says that it is an image")]
    Unclear,
    #[error("{destination} is taken by {taken_by}")]
    Clash { destination: Reference, taken_by: String },
    #[error("{destination} may hold an image of {taken_by}, whose rule comes first; --report tells which")]
    MayClash { destination: Reference, taken_by: Repository },
    #[error(
        "the rules bring tags, and which of them has this digest is not known here; --report tells what was copied"
    )]
    OnlyTags,
    #[error("the report does not name it")]
    NotReported,
    #[error("the report calls it {0:?}")]
    NotCopied(String),
    #[error("the tag named {0} when it was copied")]
    OtherDigest(Digest),
    #[error("its tag may name another digest by now; --report tells what was copied")]
    Unconfirmed,
    #[error("the report has no digest for it")]
    NoDigest,
    #[error("what is around it is not YAML, so its other fields are not known")]
    NotYaml,
    #[error("it is rewritten, but not pinned: its version is not written here")]
    UnknownDigest,
    #[error("it is rewritten, but there is no field for its digest")]
    NotPinned,
    #[error("{0} does not fit into the fields that are here")]
    NoRoom(String),
    #[error("what it is made of is used elsewhere, too, or comes from there; {0} is where it is now")]
    Shared(String),
    #[error("it is written with escapes; {0} is where it is now")]
    Escaped(String),
}

impl Moves {
    /// `Err` if a target was chosen to which no rule brings anything: with the places there are.
    pub fn new(rules: Vec<Rule>, choice: Choice) -> Result<Self, UnknownTarget> {
        let (mut by_source, mut by_destination) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        let (mut goes_to, mut comes_from) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        let (mut listed_from, mut listed_to) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        let (mut paths, mut hosts) = (HashSet::new(), HashSet::new());
        for (index, rule) in rules.iter().enumerate() {
            let (source, destination) = (&rule.images.source, &rule.images.destination);
            hosts.extend([source.registry().clone(), destination.registry().clone()]);
            paths.insert(source.path().to_owned());
            by_source.entry(source.clone()).or_default().push(index);
            let first: &mut Vec<usize> = by_destination.entry(destination.clone()).or_default();
            if first.len() < 2 && first.iter().all(|first| rules[*first].images.source != *source) {
                first.push(index);
            }
            if let Which::Listed(_) = rule.images.which {
                listed_from.entry(source.clone()).or_default().push(index);
                listed_to.entry(destination.clone()).or_default().push(index);
            }
            for (from, to) in rule.images.fixed() {
                goes_to.entry(from.clone()).or_default().push((index, to.clone()));
                comes_from.entry(to).or_default().push((index, from));
            }
        }
        if let Some(target) = choice.to.as_ref().filter(|to| !by_destination.keys().any(|place| to.holds(place))) {
            let places = by_destination.into_keys().collect();
            return Err(UnknownTarget { target: target.clone(), places });
        }
        Ok(Self { rules, by_source, by_destination, goes_to, comes_from, listed_from, listed_to, paths, hosts, choice })
    }

    /// Hosts, also those that look like a namespace of Docker Hub: whatever the rules take for one.
    pub fn hosts(&self) -> &HashSet<Registry> {
        &self.hosts
    }

    pub fn pins(&self) -> bool {
        self.choice.pin
    }

    /// Whether some rule brings images from or to `repository`.
    pub fn knows(&self, repository: &Repository) -> bool {
        self.by_source.contains_key(repository) || self.by_destination.contains_key(repository)
    }

    /// Whether `name` is the path of a repository that rules bring somewhere, on whatever host.
    pub fn knows_path(&self, name: &str) -> bool {
        self.paths.contains(name)
    }

    /// Where rules bring images of `source`, or some of them: first where the operator wants them from.
    pub fn places_of(&self, source: &Repository) -> impl Iterator<Item = &Repository> {
        let rules = self.by_source.get(source).map(Vec::as_slice).unwrap_or_default();
        let places = rules.iter().map(|index| &self.rules[*index].images.destination);
        let chosen = places.clone().filter(|place| self.is_chosen(place));
        chosen.chain(places.filter(|place| !self.is_chosen(place)))
    }

    /// Where `image` is now.
    pub fn find(&self, image: &Image) -> Found {
        if !self.by_source.contains_key(&image.repository) || self.is_destination(image) {
            return Found::Foreign;
        }
        match &image.version {
            Version::Unknown => self.find_any(&image.repository),
            Version::Known { tag, digest } => self.find_known(&image.repository, tag.as_ref(), digest.as_ref()),
        }
    }

    fn find_known(&self, repository: &Repository, tag: Option<&Tag>, digest: Option<&Digest>) -> Found {
        let by_digest = digest.map(|digest| repository.at_digest(digest.clone()));
        let by_tag = tag.map(|tag| repository.tagged(tag.clone()));
        let mut found = Err(Reason::NoRule);
        // A rule for the digest says more than one for the tag.
        for source in by_digest.iter().chain(&by_tag) {
            found = self.places(source).and_then(|places| self.confirmed(source, places, digest));
            if found != Err(Reason::NoRule) {
                break;
            }
        }
        let found = match (found, digest) {
            (Err(Reason::NoRule), Some(digest)) if tag.is_none() => self.reported(repository, digest),
            (found, _) => found,
        };
        match found {
            Ok(places) => self.choose(places, tag),
            Err(reason) => Found::Stays(reason),
        }
    }

    /// Where the rules bring `source`, without places that another source keeps.
    fn places(&self, source: &Reference) -> Result<Vec<Reference>, Reason> {
        let mut places: Vec<Reference> = Vec::new();
        let mut reason = Reason::NoRule;
        for (index, place) in self.brought(source) {
            match self.clash(index, source, &place) {
                Some(clash) => reason = clash,
                None if places.contains(&place) => {}
                None => places.push(place),
            }
        }
        if places.is_empty() { Err(reason) } else { Ok(places) }
    }

    /// Where the rules bring `source`, with the number of the rule.
    fn brought(&self, source: &Reference) -> Vec<(usize, Reference)> {
        let fixed = self.goes_to.get(source).into_iter().flatten().cloned();
        let listed = self.listed_from.get(&source.repository).into_iter().flatten().flat_map(|&index| {
            let places = self.rules[index].images.destinations(source);
            places.into_iter().map(move |place| (index, place))
        });
        let mut brought: Vec<_> = fixed.chain(listed).collect();
        brought.sort_by_key(|(index, _)| *index);
        brought
    }

    /// Why rule `index` may not have got `place`: an earlier rule keeps it. With a report nothing needs to be guessed.
    fn clash(&self, index: usize, source: &Reference, place: &Reference) -> Option<Reason> {
        let Identifier::Tag(tag) = &place.identifier else { return None };
        if self.choice.outcomes.is_some() {
            return None;
        }
        let fixed = self.comes_from.get(place).into_iter().flatten().find(|(_, from)| from != source);
        let fixed = fixed.filter(|(rule, _)| *rule < index);
        let earlier = self.listed_to.get(&place.repository).into_iter().flatten();
        let source_of = |rule: usize| &self.rules[rule].images.source;
        let listed = earlier
            .copied()
            .take_while(|rule| *rule < index)
            .find(|rule| *source_of(*rule) != source.repository && self.lists(*rule, tag));
        let destination = place.clone();
        match (fixed, listed) {
            (Some((rule, from)), listed) if listed.is_none_or(|listed| *rule < listed) => {
                Some(Reason::Clash { destination, taken_by: from.to_string() })
            }
            (_, Some(rule)) => Some(Reason::MayClash { destination, taken_by: source_of(rule).clone() }),
            _ => None,
        }
    }

    /// Whether `rule` brings `tag` if that is listed.
    fn lists(&self, rule: usize, tag: &Tag) -> bool {
        matches!(&self.rules[rule].images.which, Which::Listed(filter) if filter.accepts(tag))
    }

    /// Those of `places` at which the image is, by the report.
    fn confirmed(
        &self,
        source: &Reference,
        places: Vec<Reference>,
        digest: Option<&Digest>,
    ) -> Result<Vec<Confirmed>, Reason> {
        let Some(outcomes) = &self.choice.outcomes else {
            // What the tag named when the file was written may never have been copied.
            if digest.is_some() && matches!(source.identifier, Identifier::Tag(_)) {
                return Err(Reason::Unconfirmed);
            }
            return Ok(places
                .into_iter()
                .map(|place| Confirmed { reference: place, digest: digest.cloned() })
                .collect());
        };
        let mut confirmed = Vec::new();
        let mut reason = Reason::NotReported;
        for place in places {
            let Some(outcome) = outcomes.of(source, &place) else { continue };
            match self.digest(outcome, digest) {
                Ok(digest) => confirmed.push(Confirmed { reference: place, digest }),
                Err(why) => reason = why,
            }
        }
        if confirmed.is_empty() { Err(reason) } else { Ok(confirmed) }
    }

    /// The digest to write for an image that was copied and that had `written` in the file.
    fn digest(&self, outcome: &RecordedImage, written: Option<&Digest>) -> Result<Option<Digest>, Reason> {
        if !outcome.is_there() {
            return Err(Reason::NotCopied(outcome.result.clone()));
        }
        let there = outcome.destination_digest.as_ref();
        if let (Some(written), Some(source)) = (written, outcome.source_digest.as_ref().or(there))
            && written != source
            && Some(written) != there
        {
            return Err(Reason::OtherDigest(source.clone()));
        }
        match there.or(written) {
            None if self.choice.pin => Err(Reason::NoDigest),
            digest => Ok(digest.filter(|_| self.choice.pin || written.is_some()).cloned()),
        }
    }

    /// Where the report says that `digest` went under some tag; without one it cannot be said.
    fn reported(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Confirmed>, Reason> {
        let outcomes = self.choice.outcomes.iter().flat_map(|outcomes| outcomes.from(repository));
        let same = outcomes.filter(|outcome| outcome.source_digest.as_ref() == Some(digest));
        let meant = same
            .filter(|outcome| self.places(&outcome.source).is_ok_and(|places| places.contains(&outcome.destination)));
        let mut places: Vec<Confirmed> = Vec::new();
        for outcome in meant {
            let Ok(Some(digest)) = self.digest(outcome, Some(digest)) else { continue };
            let reference = outcome.destination.repository.at_digest(digest.clone());
            places.push(Confirmed { reference, digest: Some(digest) });
        }
        match places.is_empty() {
            false => Ok(places),
            true if self.choice.outcomes.is_none() && self.brings_tags(repository) => Err(Reason::OnlyTags),
            true => Err(Reason::NoRule),
        }
    }

    /// Whether some rule brings tags of `repository`: by its digest an image may be one of these.
    fn brings_tags(&self, repository: &Repository) -> bool {
        let rules = self.by_source.get(repository).into_iter().flatten();
        rules.map(|index| &self.rules[*index].images.which).any(|which| match which {
            Which::Listed(_) => true,
            Which::Fixed(pairs) => pairs.iter().any(|pair| matches!(pair.source, Identifier::Tag(_))),
        })
    }

    /// Where every tag of `repository` is.
    fn find_any(&self, repository: &Repository) -> Found {
        let mut places = BTreeSet::new();
        let mut reason = Reason::UnknownTag;
        for &index in self.listed_from.get(repository).into_iter().flatten() {
            let images = &self.rules[index].images;
            let Which::Listed(Filter::All) = images.which else { continue };
            let destination = &images.destination;
            match self.obstacle(index, repository, destination) {
                Some(obstacle) => reason = obstacle,
                None => _ = places.insert(destination.clone()),
            }
        }
        match self.chosen(&places) {
            Some(place) => Found::Moved(Destination { repository: place.clone(), tag: None, digest: None }),
            None if places.is_empty() => Found::Stays(reason),
            None => Found::Several(places),
        }
    }

    /// Why not every tag of `source` may be at `destination`.
    fn obstacle(&self, index: usize, source: &Repository, destination: &Repository) -> Option<Reason> {
        if let Some(outcomes) = &self.choice.outcomes {
            let mut of_pair = outcomes.from(source).filter(|one| one.destination.repository == *destination).peekable();
            if of_pair.peek().is_none() {
                return Some(Reason::NotReported);
            }
            return of_pair.find(|one| !one.is_there()).map(|one| Reason::NotCopied(one.result.clone()));
        }
        let mut first = self.by_destination.get(destination).into_iter().flatten();
        first.any(|&first| first < index && self.rules[first].images.source != *source).then_some(Reason::UnknownTag)
    }

    fn choose(&self, places: Vec<Confirmed>, tag: Option<&Tag>) -> Found {
        let repositories: BTreeSet<Repository> =
            places.iter().map(|place| place.reference.repository.clone()).collect();
        let Some(repository) = self.chosen(&repositories) else { return Found::Several(repositories) };
        let here = || places.iter().filter(|place| place.reference.repository == *repository);
        // Under several tags it is one image: the tag it has in the file is the one that is looked for.
        let same =
            here().find(|place| matches!((&place.reference.identifier, tag), (Identifier::Tag(a), Some(b)) if a == b));
        let Some(place) = same.or_else(|| here().next()) else { return Found::Several(repositories.clone()) };
        let (tag, digest) = match &place.reference.identifier {
            Identifier::Tag(name) => (Some(name.clone()), place.digest.clone()),
            Identifier::Digest(digest) => (None, place.digest.clone().or_else(|| Some((**digest).clone()))),
        };
        Found::Moved(Destination { repository: repository.clone(), tag, digest })
    }

    /// The one of `places` that is meant, if it is one.
    fn chosen<'p>(&self, places: &'p BTreeSet<Repository>) -> Option<&'p Repository> {
        let mut meant: Vec<&Repository> = places.iter().collect();
        if meant.len() > 1 {
            meant.retain(|place| self.is_chosen(place));
        }
        meant.pop().filter(|_| meant.is_empty())
    }

    fn is_chosen(&self, place: &Repository) -> bool {
        self.choice.to.as_ref().is_some_and(|to| to.holds(place))
    }

    /// Whether some rule brings something there: what was rewritten is not rewritten again.
    fn is_destination(&self, image: &Image) -> bool {
        let Version::Known { tag: Some(tag), .. } = &image.version else {
            return self.by_destination.contains_key(&image.repository);
        };
        let mut listed = self.listed_to.get(&image.repository).into_iter().flatten();
        self.comes_from.contains_key(&image.repository.tagged(tag.clone())) || listed.any(|&rule| self.lists(rule, tag))
    }
}

/// A destination, and the digest to write there.
#[derive(Debug, PartialEq, Eq)]
struct Confirmed {
    reference: Reference,
    digest: Option<Digest>,
}

/// A target that no rule has.
#[derive(Debug, thiserror::Error)]
#[error("no rule brings anything to {target}; they bring images to {}", listed(.places))]
pub struct UnknownTarget {
    target: Target,
    places: BTreeSet<Repository>,
}

/// The first of many, and how many there are beside them.
pub fn listed<T: fmt::Display>(items: &BTreeSet<T>) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = items.iter().take(SHOWN).map(T::to_string).collect();
    let more = items.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests;
