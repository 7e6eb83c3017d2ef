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

impl FromStr for Target {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
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
        for text in ["", "d.io/", "d.io/A", "https://d.io"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
