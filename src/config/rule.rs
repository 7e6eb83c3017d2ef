//! A rule of images.json: one source, one destination, checked.
//!
//! | destination | for a source of | means |
//! | --- | --- | --- |
//! | `registry/ns/repo` | anything | the same tags; a digest alone stays without a tag |
//! | `registry/ns/repo:t1,t2` | as many tags | those tags, in order |
//! | `registry/ns/repo:t` | one tag, or one digest | that tag |
//! | `registry/ns/repo@sha256:…`, `:tag@sha256:…` | that digest | that digest, under that tag |
//! | `""` | anything | the default registry and namespace, then as the first line |

mod reason;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

use super::images::Written;
use super::name::{self, Expression, Name, Selection};
use super::place::Place;
use crate::digest::Digest;
use crate::foreign::{end_of_login, without_login};
use crate::reference::{Identifier, Reference, Registry, Repository, Tag};

pub use reason::{InvalidReason, MissingDefault};

/// A rule that can be used.
#[derive(Debug, Clone)]
pub struct Rule {
    pub place: Place,
    /// As written.
    pub source: String,
    /// As written; may be empty.
    pub destination: String,
    pub images: Images,
}

/// A rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidRule {
    pub place: Place,
    pub source: String,
    pub destination: String,
    pub reason: InvalidReason,
}

/// The images that a rule means: all of one repository, to another one.
#[derive(Debug, Clone)]
pub struct Images {
    pub source: Repository,
    pub destination: Repository,
    pub which: Which,
}

/// Which images of a repository are meant.
#[derive(Debug, Clone)]
pub enum Which {
    /// Known without asking, in the order in which they are written.
    Fixed(Vec<Pair>),
    /// The tags that the filter accepts of those that are listed; they keep their names.
    Listed(Filter),
}

/// What an image is called in its source and in its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub source: Identifier,
    pub destination: Identifier,
}

/// Which of a repository's tags are meant.
#[derive(Debug, Clone)]
pub enum Filter {
    All,
    /// Those in which the expression is found.
    Matching(Arc<Regex>),
    /// Those in which it is not.
    NotMatching(Arc<Regex>),
}

impl Filter {
    pub fn accepts(&self, tag: &Tag) -> bool {
        match self {
            Self::All => true,
            Self::Matching(expression) => expression.is_match(tag.as_str().as_bytes()),
            Self::NotMatching(expression) => !expression.is_match(tag.as_str().as_bytes()),
        }
    }
}

impl Images {
    /// The images that are known without asking, each with where it goes.
    pub fn fixed(&self) -> impl Iterator<Item = (Reference, Reference)> {
        let pairs = match &self.which {
            Which::Fixed(pairs) => pairs.as_slice(),
            Which::Listed(_) => &[],
        };
        pairs.iter().map(|Pair { source, destination }| (self.source.at(source), self.destination.at(destination)))
    }

    /// Where this rule brings `source`: nowhere if it does not mean it.
    pub fn destinations(&self, source: &Reference) -> Vec<Reference> {
        let names: Vec<&Identifier> = match (&self.which, &source.identifier) {
            _ if self.source != source.repository => Vec::new(),
            (Which::Fixed(pairs), name) => {
                pairs.iter().filter(|pair| pair.source == *name).map(|pair| &pair.destination).collect()
            }
            (Which::Listed(filter), name @ Identifier::Tag(tag)) if filter.accepts(tag) => vec![name],
            (Which::Listed(_), _) => Vec::new(),
        };
        names.into_iter().map(|name| self.destination.at(name)).collect()
    }
}

impl Rule {
    /// Its destination, written so that it needs no default registry and namespace.
    pub fn full_destination(&self) -> String {
        if self.destination.is_empty() { self.images.destination.to_string() } else { self.destination.clone() }
    }

    /// What a person should know although the rule can be used.
    pub fn warning(&self) -> Option<String> {
        self.images.fixed().any(|(_, destination)| destination.identifier.digest().is_some()).then(|| {
            format!(
                "{self}: it is put by digest without a tag, and registries may collect what has none; a tag at the \
                 destination keeps it"
            )
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} -> {:?}", self.place, self.source, self.destination)
    }
}

impl fmt::Display for InvalidRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown { source, destination, reason } = self.shown();
        write!(f, "{}: {source:?} -> {destination:?}: {reason}", self.place)
    }
}

impl InvalidRule {
    /// What of it is shown: there may be a password in its texts, which are no names of images.
    pub fn shown(&self) -> Shown {
        let has_login = [&self.source, &self.destination].iter().any(|text| end_of_login(text).is_some());
        let reason = self.reason.to_string();
        Shown {
            source: without_login(&self.source),
            destination: without_login(&self.destination),
            reason: if has_login { without_login(&reason) } else { reason },
        }
    }
}

/// What is shown of a rule that cannot be used.
#[derive(Debug)]
pub struct Shown {
    pub source: String,
    pub destination: String,
    pub reason: String,
}

/// Checks rules: what all rules of a run have in common.
pub struct Checker<'a> {
    hosts: &'a HashSet<Registry>,
    default: Result<DefaultNamespace, InvalidReason>,
    converts: bool,
    /// Compiled expressions, shared: a file may repeat one in each of its rules.
    expressions: HashMap<String, Arc<Regex>>,
}

/// Where an empty destination goes.
struct DefaultNamespace {
    registry: Registry,
    namespace: String,
}

impl<'a> Checker<'a> {
    /// `hosts` are hosts although they may look like namespaces; `registry` and `namespace` are the defaults. If the run
    /// `converts` manifests, these have other digests then.
    pub fn new(hosts: &'a HashSet<Registry>, registry: Option<&str>, namespace: Option<&str>, converts: bool) -> Self {
        let default = DefaultNamespace::parse(hosts, registry, namespace);
        Self { hosts, default, converts, expressions: HashMap::new() }
    }

    pub fn check(&mut self, written: Written) -> Result<Rule, Box<InvalidRule>> {
        let Written { place, source, destination } = written;
        let images = match &destination {
            Some(destination) => self.images(&source, destination),
            None => Err(InvalidReason::NoDestinations),
        };
        let destination = destination.unwrap_or_default();
        match images {
            Ok(images) => Ok(Rule { place, source, destination, images }),
            Err(reason) => Err(Box::new(InvalidRule { place, source, destination, reason })),
        }
    }

    fn images(&mut self, source: &str, destination: &str) -> Result<Images, InvalidReason> {
        let from = Name::parse(source, self.hosts).map_err(InvalidReason::Source)?;
        let to = match destination {
            "" => Name { repository: self.default_for(&from.repository)?, selection: Selection::Whole },
            text => Name::parse(text, self.hosts).map_err(InvalidReason::Destination)?,
        };
        if self.converts && matches!(to.selection, Selection::Digest { .. }) {
            return Err(InvalidReason::DigestMayChange);
        }
        let filter = match from.selection {
            Selection::Tags(tags) => return fixed(from.repository, tags, to),
            Selection::Digest { tag, digest } => return fixed_digest(from.repository, tag, digest, to),
            Selection::Whole => Filter::All,
            Selection::Expression(Expression { negated: false, text }) => Filter::Matching(self.compile(text)?),
            Selection::Expression(Expression { negated: true, text }) => Filter::NotMatching(self.compile(text)?),
        };
        match to.selection {
            Selection::Whole => {
                let which = Which::Listed(filter);
                Ok(Images { source: from.repository, destination: to.repository, which })
            }
            Selection::Tags(_) => Err(InvalidReason::TagForMany),
            Selection::Digest { .. } => Err(InvalidReason::DigestOfUnknown),
            Selection::Expression(_) => Err(InvalidReason::DestinationExpression),
        }
    }

    /// The default registry and namespace, then the source's path without its first component if it has another.
    fn default_for(&self, source: &Repository) -> Result<Repository, InvalidReason> {
        let DefaultNamespace { registry, namespace } = self.default.as_ref().map_err(Clone::clone)?;
        let name = format!("{namespace}/{}", source.below_first());
        name::repository(registry.clone(), &name).map_err(InvalidReason::Destination)
    }

    fn compile(&mut self, text: &str) -> Result<Arc<Regex>, InvalidReason> {
        if let Some(expression) = self.expressions.get(text) {
            return Ok(expression.clone());
        }
        // Tags are ASCII, and a `\d` of all Unicode digits takes a thousand times the memory. An expression
        // that needs Unicode is compiled with it.
        let compiled = RegexBuilder::new(text).unicode(false).build().or_else(|_| Regex::new(text));
        let expression = Arc::new(compiled.map_err(|error| InvalidReason::expression(text, &error))?);
        self.expressions.insert(text.to_owned(), expression.clone());
        Ok(expression)
    }
}

impl DefaultNamespace {
    fn parse(
        hosts: &HashSet<Registry>,
        registry: Option<&str>,
        namespace: Option<&str>,
    ) -> Result<Self, InvalidReason> {
        let given = |value: Option<&str>| value.filter(|value| !value.is_empty()).map(str::to_owned);
        let (registry, namespace) = match (given(registry), given(namespace)) {
            (Some(registry), Some(namespace)) => (registry, namespace),
            (None, Some(_)) => return Err(InvalidReason::NoDefault(MissingDefault::Registry)),
            (Some(_), None) => return Err(InvalidReason::NoDefault(MissingDefault::Namespace)),
            (None, None) => return Err(InvalidReason::NoDefault(MissingDefault::Both)),
        };
        let registry = name::host(&registry, hosts).map_err(InvalidReason::DefaultRegistry)?;
        name::namespace(registry.clone(), &namespace).map_err(InvalidReason::DefaultNamespace)?;
        Ok(Self { registry, namespace })
    }
}

/// The tags `tags` of `source`, each under its own name or under that which stands at its place in `to`.
fn fixed(source: Repository, tags: Vec<Tag>, to: Name) -> Result<Images, InvalidReason> {
    let names = match to.selection {
        Selection::Whole => tags.clone(),
        Selection::Tags(names) if names.len() == tags.len() => names,
        Selection::Tags(names) => {
            return Err(InvalidReason::UnequalLists { at_source: tags.len(), at_destination: names.len() });
        }
        Selection::Digest { .. } => return Err(InvalidReason::DigestOfUnknown),
        Selection::Expression(_) => return Err(InvalidReason::DestinationExpression),
    };
    let pair = |(tag, name)| Pair { source: Identifier::Tag(tag), destination: Identifier::Tag(name) };
    let which = Which::Fixed(tags.into_iter().zip(names).map(pair).collect());
    Ok(Images { source, destination: to.repository, which })
}

/// The manifest `digest` of `source`, under the tag that the destination or else the source gives it.
fn fixed_digest(source: Repository, tag: Option<Tag>, digest: Digest, to: Name) -> Result<Images, InvalidReason> {
    let tag = match to.selection {
        Selection::Whole => tag,
        Selection::Tags(names) => match <[Tag; 1]>::try_from(names) {
            Ok([name]) => Some(name),
            Err(names) => return Err(InvalidReason::TagsForOne { tags: names.len() }),
        },
        Selection::Digest { tag, digest: same } if same == digest => tag,
        Selection::Digest { digest: other, .. } => {
            return Err(InvalidReason::OtherDigest { expected: digest, found: other });
        }
        Selection::Expression(_) => return Err(InvalidReason::DestinationExpression),
    };
    let name = tag.map_or_else(|| digest.clone().into(), Identifier::Tag);
    let which = Which::Fixed(vec![Pair { source: digest.into(), destination: name }]);
    Ok(Images { source, destination: to.repository, which })
}

#[cfg(test)]
mod tests;
