//! Where the images of a cluster are to go, as it is typed.

use crate::config::{self, Target};
use crate::reference::{InvalidReference, looks_like_host};

/// Why a text names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    #[error("{0:?} does not begin with a registry: expected registry/namespace, such as swr.example.com/team")]
    NoRegistry(String),
    #[error("Docker Hub needs a namespace: docker.io/NAME")]
    NoNamespace,
    #[error(transparent)]
    Target(#[from] config::InvalidTarget),
    #[error(transparent)]
    Name(#[from] InvalidReference),
}

/// Reads what `-t` names: a target that is written out, with room for a name in it.
pub fn read(text: &str) -> Result<Target, NoTarget> {
    let target: Target = text.parse()?;
    if !looks_like_host(target.registry.as_str()) {
        return Err(NoTarget::NoRegistry(text.to_owned()));
    }
    if target.namespace.is_empty() && target.registry.is_docker_hub() {
        return Err(NoTarget::NoNamespace);
    }
    target.repository("name")?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_registry_and_a_namespace() {
        for text in ["swr.cn-north-4.myhuaweicloud.com/test", "localhost:5000/a/b", "1.dkr.ecr.eu-west-1.amazonaws.com"]
        {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        assert_eq!(read("q.io/a/").unwrap().to_string(), "q.io/a");
        assert_eq!(read("registry-1.docker.io/a").unwrap().to_string(), "docker.io/a");
        for text in ["", "test", "test/a", "https://q.io/a", "q.io/A", "q.io/a:1", "docker.io", "q.io//a", "q.io/a@b"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
