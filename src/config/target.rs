//! A registry, or a part of one: where images are to go, or which of several places is meant.

use std::fmt;
use std::str::FromStr;

use crate::reference::{InvalidReference, Registry, Repository};

/// `REGISTRY` or `REGISTRY/NAMESPACE`. The namespace may have several components; empty is all of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub registry: Registry,
    pub namespace: String,
}

/// Why a text names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// There may be a password in it: it is not shown.
    #[error("it has a scheme, a login or a digest: expected registry/namespace alone")]
    NotAlone,
    #[error(transparent)]
    Name(#[from] InvalidReference),
}

impl Target {
    /// The repository `name` in it.
    pub fn repository(&self, name: &str) -> Result<Repository, InvalidReference> {
        match self.namespace.as_str() {
            "" => Repository::new(self.registry.clone(), name),
            namespace => Repository::new(self.registry.clone(), &format!("{namespace}/{name}")),
        }
    }

    /// Whether `repository` is below it, or is it.
    pub fn holds(&self, repository: &Repository) -> bool {
        let below = |path: &str| {
            path.strip_prefix(&self.namespace).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        *repository.registry() == self.registry && (self.namespace.is_empty() || below(repository.path()))
    }
}

/// As people type it: with a slash at the end or without.
impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        if text.contains("://") || text.contains('@') {
            return Err(InvalidTarget::NotAlone);
        }
        let text = text.trim().trim_end_matches('/');
        let (registry, namespace) = text.split_once('/').unwrap_or((text, ""));
        let registry: Registry = registry.parse()?;
        if text.contains('/') {
            Repository::new(registry.clone(), namespace)?;
        }
        Ok(Self { registry, namespace: namespace.to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.registry.fmt(f)?;
        if self.namespace.is_empty() { Ok(()) } else { write!(f, "/{}", self.namespace) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_holds_what_is_below_it_and_nothing_beside_it() {
        let holds =
            |target: &str, repository: &str| target.parse::<Target>().unwrap().holds(&repository.parse().unwrap());
        assert!(holds("d.io", "d.io/a/b"));
        assert!(holds("d.io/a", "d.io/a/b"));
        assert!(holds("d.io/a/b", "d.io/a/b"));
        assert!(!holds("d.io/a", "d.io/ab/c"));
        assert!(!holds("d.io/a", "e.io/a/b"));
    }

    #[test]
    fn a_target_is_read_as_people_type_it() {
        let read = |text: &str| text.parse::<Target>().map(|target| target.to_string());
        for (text, target) in [("d.io", "d.io"), ("d.io/", "d.io"), ("d.io/a/b/", "d.io/a/b"), (" d.io/a\n", "d.io/a")]
        {
            assert_eq!(read(text), Ok(target.to_owned()));
        }
        for text in ["", "/", "d.io/A", "d.io//a", "d.io/a:1"] {
            assert!(matches!(read(text), Err(InvalidTarget::Name(_))), "{text}");
        }
        for text in ["https://d.io", "me:s3cr3t@registry/a", "me:s3cr3t@registry", "d.io/a@b"] {
            assert_eq!(read(text), Err(InvalidTarget::NotAlone), "{text}");
        }
    }
}
