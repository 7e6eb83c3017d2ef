//! Where the images of a cluster are to go: a registry and a namespace in it.

use std::fmt;
use std::str::FromStr;

use crate::reference::{InvalidReference, Registry, Repository};

/// What `-t` names. The namespace may have several components, or none where the registry needs none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub registry: Registry,
    pub namespace: String,
}

/// Why a text names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    #[error("{0:?} does not begin with a registry: expected registry/namespace, such as swr.example.com/team")]
    NoRegistry(String),
    #[error("{0:?} has a scheme: expected registry/namespace alone")]
    Scheme(String),
    #[error("Docker Hub needs a namespace: docker.io/NAME")]
    NoNamespace,
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

    /// Whether a repository is in it already.
    pub fn holds(&self, repository: &Repository) -> bool {
        let rest = || match self.namespace.as_str() {
            "" => Some(repository.path()),
            namespace => repository.path().strip_prefix(namespace)?.strip_prefix('/'),
        };
        *repository.registry() == self.registry && rest().is_some()
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        if text.contains("://") {
            return Err(InvalidTarget::Scheme(text.to_owned()));
        }
        let trimmed = text.trim().trim_end_matches('/');
        let (host, namespace) = trimmed.split_once('/').unwrap_or((trimmed, ""));
        if !host.contains(['.', ':']) && host != "localhost" {
            return Err(InvalidTarget::NoRegistry(text.to_owned()));
        }
        let target = Self { registry: host.parse()?, namespace: namespace.to_owned() };
        if target.namespace.is_empty() && target.registry.is_docker_hub() {
            return Err(InvalidTarget::NoNamespace);
        }
        target.repository("name")?;
        Ok(target)
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
    fn a_target_is_a_registry_and_a_namespace() {
        for text in ["swr.cn-north-4.myhuaweicloud.com/test", "localhost:5000/a/b", "1.dkr.ecr.eu-west-1.amazonaws.com"]
        {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert_eq!("q.io/a/".parse::<Target>().unwrap().to_string(), "q.io/a");
        assert_eq!("registry-1.docker.io/a".parse::<Target>().unwrap().to_string(), "docker.io/a");
        for text in ["", "test", "test/a", "https://q.io/a", "q.io/A", "q.io/a:1", "docker.io", "q.io//a", "q.io/a@b"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_there_already_is_known() {
        let target: Target = "q.io/a/b".parse().unwrap();
        for (text, expected) in [
            ("q.io/a/b/c", true),
            ("q.io/a/b/c/d", true),
            ("q.io/a/b", false),
            ("q.io/a/bc/d", false),
            ("x.io/a/b/c", false),
        ] {
            assert_eq!(target.holds(&text.parse().unwrap()), expected, "{text}");
        }
        let target: Target = "q.io".parse().unwrap();
        assert!(target.holds(&"q.io/a".parse().unwrap()));
    }
}
