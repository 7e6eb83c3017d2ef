//! The names of images: registry, repository, tag, and the references made of them.
//!
//! Grammar and nothing else: no file, no network. Sources: distribution-spec "Pulling manifests" for paths and
//! tags, the `distribution/reference` grammar for hosts and for Docker Hub's short forms.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::digest::{Digest, InvalidDigest};

/// Longest path of a repository; registries set their own limits below it.
const MAX_PATH: usize = 255;
/// Longest tag (distribution-spec "Pulling manifests").
const MAX_TAG: usize = 128;
/// How Docker Hub is written here.
const DOCKER_HUB: &str = "docker.io";
/// The other names under which Docker Hub is known.
const DOCKER_HUB_ALIASES: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// Why a text is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    #[error(
        "invalid registry {0:?}: expected a host name or an address in full, with :port if it is not the usual one"
    )]
    Registry(String),
    #[error("invalid registry {written:?}: URLs have {meant:?} in its place; write that if it is meant")]
    OtherSpelling { written: String, meant: String },
    #[error("{0:?} names no repository: expected registry/namespace/repository")]
    NoRepository(String),
    #[error(
        "invalid repository path {0:?}: expected lower-case letters and digits, joined by single '.', '_', '__' or '-' \
         and '/', at most 255 characters"
    )]
    Path(String),
    #[error("invalid tag {0:?}: expected at most 128 letters, digits, '_', '.', '-', the first a letter, digit or '_'")]
    Tag(String),
    #[error("{0:?} names no single image: expected registry/repository:tag or registry/repository@sha256:...")]
    NoImage(String),
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

/// A registry's host, with its port if one was given. Docker Hub's names are one: `docker.io`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registry(Arc<str>);

impl Registry {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_docker_hub(&self) -> bool {
        &*self.0 == DOCKER_HUB
    }

    /// The host without its port. An IPv6 address keeps its brackets.
    pub fn host(&self) -> &str {
        host_and_port(&self.0).0
    }

    /// Whether the host is this machine: `localhost` or a loopback address.
    pub fn is_loopback(&self) -> bool {
        let host = self.host().trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Registry {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let invalid = || InvalidReference::Registry(text.to_owned());
        let (host, port) = host_and_port(text);
        if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with(['+', '0'])) {
            return Err(invalid());
        }
        if !host.starts_with('[') && !host.split('.').all(is_host_label) {
            return Err(invalid());
        }
        // `1.2` is the address 1.0.0.2, `[0::1]` is `[::1]`, and `1.2.3.4.5` nothing at all (URL Standard, "host parsing"):
        // one registry has one name.
        let kept = url::Host::parse(host).map_err(|_| invalid())?.to_string();
        if !kept.eq_ignore_ascii_case(host) {
            return Err(InvalidReference::OtherSpelling {
                written: text.to_owned(),
                meant: text.replacen(host, &kept, 1),
            });
        }
        let name = text.to_ascii_lowercase();
        if DOCKER_HUB_ALIASES.contains(&name.as_str()) {
            return Ok(Self(DOCKER_HUB.into()));
        }
        Ok(Self(name.into()))
    }
}

/// The host, with the brackets of an IPv6 address, and what follows it as its port.
fn host_and_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

/// Whether the first part of a name is a host by its looks; if not, it is a namespace of Docker Hub.
pub fn looks_like_host(first: &str) -> bool {
    first.contains(['.', ':']) || first.eq_ignore_ascii_case("localhost")
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A repository: a registry and a path in it. Cheap to clone, since every task holds two.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(Arc<(Registry, Box<str>)>);

impl Repository {
    /// The repository `path` of `registry`. On Docker Hub a path of one component is in `library/`.
    pub fn new(registry: Registry, path: &str) -> Result<Self, InvalidReference> {
        if path.is_empty() {
            return Err(InvalidReference::NoRepository(registry.to_string()));
        }
        let whole: Box<str> = if registry.is_docker_hub() && !path.contains('/') {
            format!("library/{path}").into()
        } else {
            path.into()
        };
        if whole.len() > MAX_PATH || !path.split('/').all(is_path_component) {
            return Err(InvalidReference::Path(path.to_owned()));
        }
        Ok(Self(Arc::new((registry, whole))))
    }

    pub fn registry(&self) -> &Registry {
        &self.0.0
    }

    /// This repository where its registry has no port if that is the usual one of https: `h` and `h:443` are one.
    pub fn without_usual_port(&self) -> Self {
        let shorter = self.registry().as_str().strip_suffix(":443").and_then(|host| host.parse().ok());
        shorter.and_then(|registry| Self::new(registry, self.path()).ok()).unwrap_or_else(|| self.clone())
    }

    /// The path in the registry, without its host: `namespace/repository`.
    pub fn path(&self) -> &str {
        &self.0.1
    }

    /// The path without its first component. A path of one component stays whole.
    pub fn below_first(&self) -> &str {
        self.path().split_once('/').map_or(self.path(), |(_, below)| below)
    }

    pub fn tagged(&self, tag: Tag) -> Reference {
        Reference { repository: self.clone(), identifier: Identifier::Tag(tag) }
    }

    pub fn at(&self, identifier: &Identifier) -> Reference {
        Reference { repository: self.clone(), identifier: identifier.clone() }
    }

    pub fn at_digest(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), identifier: digest.into() }
    }
}

/// Runs of lower-case letters and digits, separated by one `.`, one `_`, two `_`, or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut bytes = component.bytes();
    if !bytes.next().is_some_and(alphanumeric) || !component.bytes().next_back().is_some_and(alphanumeric) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

impl FromStr for Repository {
    type Err = InvalidReference;

    /// Reads `registry/path`; the first component is always the registry.
    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let (registry, path) = text.split_once('/').ok_or_else(|| InvalidReference::NoRepository(text.to_owned()))?;
        Self::new(registry.parse()?, path)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry(), self.path())
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A tag of a repository.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

impl Tag {
    /// The tag that stands for a digest (distribution-spec "Referrers Tag Schema"). A tag has no colon, and no room for all
    /// of SHA-512.
    pub fn of_digest(digest: &Digest) -> Self {
        let (algorithm, bytes) = digest.parts();
        Self(format!("{algorithm}-{}", hex::encode(&bytes[..bytes.len().min(32)])).into())
    }

    /// Whether it may stand for a digest, or for something about it: a signature is `sha256-….sig`.
    pub fn is_about_digest(&self) -> bool {
        ["sha256-", "sha512-"].iter().any(|algorithm| self.0.starts_with(algorithm))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let valid = text.len() <= MAX_TAG
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|b| word(b) || b == b'.' || b == b'-');
        if valid { Ok(Self(text.into())) } else { Err(InvalidReference::Tag(text.to_owned())) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What names a manifest within its repository (the spec's `<reference>`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identifier {
    Tag(Tag),
    /// Boxed, so that the common reference stays small: a plan holds two for every image.
    Digest(Box<Digest>),
}

impl From<Digest> for Identifier {
    fn from(digest: Digest) -> Self {
        Self::Digest(Box::new(digest))
    }
}

impl Identifier {
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Tag(_) => None,
            Self::Digest(digest) => Some(digest),
        }
    }

    /// Whether it is a tag that may stand for a digest, or for something about it.
    pub fn is_about_digest(&self) -> bool {
        matches!(self, Self::Tag(tag) if tag.is_about_digest())
    }
}

impl fmt::Display for Identifier {
    /// As it stands in a URL: without the `:` or `@` that separates it in a reference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// The parts of `name[:tag][@digest]` as they are written; none is checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    pub name: &'a str,
    pub tag: Option<&'a str>,
    pub digest: Option<&'a str>,
}

impl<'a> Parts<'a> {
    pub fn split(text: &'a str) -> Self {
        let (before_digest, digest) = match text.split_once('@') {
            Some((before, digest)) => (before, Some(digest)),
            None => (text, None),
        };
        // A ':' before the last '/' belongs to a port.
        let (name, tag) = match before_digest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (before_digest, None),
        };
        Self { name, tag, digest }
    }
}

/// One image: `registry/path:tag` or `registry/path@digest`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    pub repository: Repository,
    pub identifier: Identifier,
}

impl FromStr for Reference {
    type Err = InvalidReference;

    /// Reads what [`Display`](fmt::Display) writes, so the first component is always the registry.
    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let Parts { name, tag, digest } = Parts::split(text);
        let repository: Repository = name.parse()?;
        let identifier = match (tag, digest) {
            (Some(tag), None) => Identifier::Tag(tag.parse()?),
            (None, Some(digest)) => digest.parse::<Digest>()?.into(),
            _ => return Err(InvalidReference::NoImage(text.to_owned())),
        };
        Ok(Self { repository, identifier })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match self.identifier {
            Identifier::Tag(_) => ':',
            Identifier::Digest(_) => '@',
        };
        write!(f, "{}{separator}{}", self.repository, self.identifier)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
