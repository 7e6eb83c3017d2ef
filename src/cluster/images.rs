//! What a manifest calls an image, in Docker's normal form: as a container runtime reads it.
//!
//! Sources: `distribution/reference` (`normalize.go`) for hosts, Docker Hub's short forms and `latest`.

use std::fmt;

use crate::digest::{Digest, InvalidDigest};
use crate::reference::{InvalidReference, Parts, Registry, Repository, Tag, looks_like_host};

/// What the runtimes of nodes call images that no registry has: built or loaded on the node.
const NODE_LOCAL: [&str; 4] = ["localhost", "kind.local", "ko.local", "dev.local"];
/// What Istio replaces in a pod by the image of its proxy.
const ISTIO_PLACEHOLDER: &str = "auto";

/// An image that can be pulled: a repository with a tag, a digest, or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Image {
    pub repository: Repository,
    /// There is always one where there is no digest.
    pub tag: Option<Tag>,
    pub digest: Option<Digest>,
}

/// Why an image cannot be pulled from anywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("it is empty")]
    Empty,
    #[error("it is the ID of an image on a node and names no registry")]
    ImageId,
    #[error("Istio replaces it in the pods; their images are read there")]
    Placeholder,
    #[error("{0} is no registry: such images are built or loaded on the nodes")]
    NodeLocal(Registry),
    #[error("{0} is no host name of a registry")]
    NoHost(String),
    #[error(transparent)]
    Name(#[from] InvalidReference),
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

impl Image {
    /// Reads what stands in a manifest.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Unusable::Empty);
        }
        if text == ISTIO_PLACEHOLDER {
            return Err(Unusable::Placeholder);
        }
        if is_image_id(text) {
            return Err(Unusable::ImageId);
        }
        let Parts { name, tag, digest } = Parts::split(text);
        let digest = digest.map(str::parse).transpose()?;
        let tag = tag.map(str::parse).transpose()?;
        let repository = repository(name)?;
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".parse()?),
            (tag, _) => tag,
        };
        Ok(Self { repository, tag, digest })
    }
}

impl fmt::Display for Image {
    /// As a key of images.json.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn repository(name: &str) -> Result<Repository, Unusable> {
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if is_host(host) => (host, path),
        _ => ("docker.io", name),
    };
    let registry: Registry = host.parse()?;
    if NODE_LOCAL.contains(&registry.as_str()) {
        return Err(Unusable::NodeLocal(registry));
    }
    // Docker takes a host for one that has a capital; nothing else does.
    if !registry.as_str().contains(['.', ':']) {
        return Err(Unusable::NoHost(host.to_owned()));
    }
    Ok(Repository::new(registry, path)?)
}

/// Whether what stands before the first '/' is a host for Docker: with a capital it is no namespace of Docker Hub.
fn is_host(text: &str) -> bool {
    looks_like_host(text) || text.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_image_id(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn normal(text: &str) -> String {
        Image::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
    }

    #[test]
    fn short_names_are_those_of_docker_hub() {
        for (text, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.25", "docker.io/library/nginx:1.25"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("docker.io/nginx:1", "docker.io/library/nginx:1"),
            ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1"),
            ("registry-1.docker.io/a/b", "docker.io/a/b:latest"),
            ("registry.hub.docker.com/library/busybox", "docker.io/library/busybox:latest"),
            // Without a '/' it is no host, whatever it looks like.
            ("example.com", "docker.io/library/example.com:latest"),
            ("a/b/c:x", "docker.io/a/b/c:x"),
        ] {
            assert_eq!(normal(text), expected, "{text}");
        }
    }

    #[test]
    fn hosts_keep_their_ports() {
        for (text, expected) in [
            ("quay.io/x", "quay.io/x:latest"),
            ("registry.internal:5000/a/b", "registry.internal:5000/a/b:latest"),
            ("localhost:5000/a:1", "localhost:5000/a:1"),
            ("127.0.0.1:5000/a:1", "127.0.0.1:5000/a:1"),
            ("[::1]:5000/a:1", "[::1]:5000/a:1"),
            ("QUAY.io/a:V1", "quay.io/a:V1"),
            ("  quay.io/a:1 ", "quay.io/a:1"),
        ] {
            assert_eq!(normal(text), expected, "{text}");
        }
    }

    #[test]
    fn a_digest_needs_no_tag_and_keeps_the_one_it_has() {
        assert_eq!(normal(&format!("nginx@{DIGEST}")), format!("docker.io/library/nginx@{DIGEST}"));
        assert_eq!(normal(&format!("q.io:80/a:1@{DIGEST}")), format!("q.io:80/a:1@{DIGEST}"));
    }

    #[test]
    fn what_no_registry_has_is_recognised() {
        let id = &DIGEST["sha256:".len()..];
        for text in [DIGEST, id] {
            assert_eq!(Image::parse(text), Err(Unusable::ImageId), "{text}");
        }
        assert_eq!(Image::parse("  "), Err(Unusable::Empty));
        assert_eq!(Image::parse("auto"), Err(Unusable::Placeholder));
        for text in ["localhost/dev", "kind.local/a:1", "ko.local/a-b@".trim_end_matches('@'), "dev.local/a"] {
            assert!(matches!(Image::parse(text), Err(Unusable::NodeLocal(_))), "{text}");
        }
        assert_eq!(Image::parse("Harbor/a:1"), Err(Unusable::NoHost("Harbor".into())));
        for text in ["quay.io/", "Nginx", "quay.io/A", "a b", "nginx:", "nginx:a:b:", "a@sha256:12", "https://q.io/a"] {
            assert!(Image::parse(text).is_err(), "{text}");
        }
    }
}
