//! A reference as it is written in a file, and as it would be written for another place.
//!
//! Sources: `distribution/reference` (`normalize.go`) for hosts and Docker Hub's short forms.

use std::collections::HashSet;

use super::moves::{Destination, Image, Version};
use crate::digest::Digest;
use crate::reference::{Parts, Registry, Repository, Tag, looks_like_host};

/// Each begins a part that is filled in when the file is used: by Helm, a shell, Compose, printf, a person, or by who
/// looks for the newest version in a range.
const BLANKS: [char; 7] = ['$', '{', '%', '<', '>', '~', '^'];
/// The tag that is meant where none is written.
const LATEST: &str = "latest";

/// A reference: `[host/]path[:tag][@digest]`.
#[derive(Debug, PartialEq)]
pub struct Written<'a> {
    /// All before tag and digest.
    pub name: &'a str,
    /// Whether the name begins with a host.
    pub has_host: bool,
    pub repository: Repository,
    /// As written; not checked where `is_open`.
    pub tag: Option<&'a str>,
    pub digest: Option<Digest>,
    /// Whether a part of the tag or digest is filled in when the file is used.
    pub is_open: bool,
}

impl<'a> Written<'a> {
    /// Reads all of `text`; `hosts` are hosts although they may look like namespaces.
    pub fn parse(text: &'a str, hosts: &HashSet<Registry>) -> Option<Self> {
        let literal = text.find(BLANKS).map_or(text, |blank| &text[..blank]);
        let is_open = literal.len() < text.len();
        let Parts { name, tag, digest } = Parts::split(literal);
        // Without a tag or digest, what is filled in may be a part of the name; behind a space it is none of the reference.
        if is_open && (tag.is_none() && digest.is_none() || literal.contains(char::is_whitespace)) {
            return None;
        }
        let (has_host, repository) = repository(name, hosts)?;
        if is_open {
            return Some(Self { name, has_host, repository, tag: None, digest: None, is_open });
        }
        if tag.is_some_and(|tag| tag.parse::<Tag>().is_err()) {
            return None;
        }
        let digest = match digest {
            Some(digest) => Some(digest.parse().ok()?),
            None => None,
        };
        Some(Self { name, has_host, repository, tag, digest, is_open })
    }

    /// Whether it is a whole reference by itself, so that it needs no context to be known for one.
    pub fn is_full(&self) -> bool {
        self.has_host && !self.is_open && (self.tag.is_some() || self.digest.is_some())
    }

    /// The image that a runtime would take it for.
    pub fn image(&self) -> Image {
        let tag = match (self.tag, &self.digest) {
            (None, None) => LATEST.parse().ok(),
            (tag, _) => tag.and_then(|tag| tag.parse().ok()),
        };
        let version = if self.is_open { Version::Unknown } else { Version::Known { tag, digest: self.digest.clone() } };
        Image { repository: self.repository.clone(), version }
    }

    /// `text`, of which this was read, for another place.
    pub fn moved(&self, text: &str, to: &Destination) -> String {
        if self.is_open {
            return format!("{}{}", to.repository, &text[self.name.len()..]);
        }
        let mut moved = to.repository.to_string();
        // A digest alone needs no tag; no tag at all means one that may have another name there.
        let bare = self.tag.is_none() && (self.digest.is_some() || to.digest.is_some());
        let tag = to.tag.as_ref().map(Tag::as_str).filter(|tag| !bare && (self.tag.is_some() || *tag != LATEST));
        if let Some(tag) = tag {
            moved.push(':');
            moved.push_str(tag);
        }
        if let Some(digest) = &to.digest {
            moved.push('@');
            moved.push_str(&digest.to_string());
        }
        moved
    }
}

/// The repository that `name` means, and whether its host is written.
fn repository(name: &str, hosts: &HashSet<Registry>) -> Option<(bool, Repository)> {
    let is_host = |host: &str| {
        looks_like_host(host) || (!host.is_empty() && host.parse().is_ok_and(|host: Registry| hosts.contains(&host)))
    };
    match name.split_once('/').filter(|(host, _)| is_host(host)) {
        Some((host, path)) => Some((true, Repository::new(host.parse().ok()?, path).ok()?)),
        None => Some((false, Repository::new("docker.io".parse().ok()?, name).ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Written<'_>> {
        let hosts = HashSet::from(["registry".parse().unwrap()]);
        Written::parse(text, &hosts)
    }

    #[test]
    fn references_are_read_as_a_runtime_reads_them() {
        let digest = Digest::of(b"");
        for (text, repository, tag) in [
            ("nginx", "docker.io/library/nginx", None),
            ("bitnami/redis:7", "docker.io/bitnami/redis", Some("7")),
            ("index.docker.io/library/nginx:1", "docker.io/library/nginx", Some("1")),
            ("registry/a:1", "registry/a", Some("1")),
            ("localhost:5000/a/b:1", "localhost:5000/a/b", Some("1")),
            ("LOCALHOST/a:1", "localhost/a", Some("1")),
            (&format!("quay.io/a/b@{digest}"), "quay.io/a/b", None),
        ] {
            let written = parse(text).unwrap();
            assert_eq!((written.repository.to_string().as_str(), written.tag), (repository, tag), "{text}");
        }
        for text in
            ["", "/a", "a/", "UPPER", "a b", "https://quay.io/a:1", "a:", "a@sha256:1", "quay.io", "a:b:c", "-a"]
        {
            assert!(parse(text).is_none_or(|written| !written.is_full()), "{text}");
        }
    }

    #[test]
    fn what_is_put_in_later_leaves_the_name_known_or_nothing() {
        for text in
            ["a/b:{{ .Values.tag }}", "a/b:v${TAG}", "a/b:$TAG", "a/b:%s", "a/b@${DIGEST}", "a/b:1@$D", "a/b:~1.2"]
        {
            let written = parse(text).unwrap();
            assert!(written.is_open && written.name == "a/b", "{text}");
        }
        for text in ["{{ .image }}", "$REGISTRY/a:1", "a/b{{ .suffix }}:1", "a/$B:1", "a/b:1 $X"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_moved_reference_keeps_its_form() {
        let digest = Digest::of(b"");
        let to = |tag: Option<&str>, digest: Option<&Digest>| Destination {
            repository: "d.io/x".parse().unwrap(),
            tag: tag.map(|tag| tag.parse().unwrap()),
            digest: digest.cloned(),
        };
        let moved = |text: &str, to: &Destination| parse(text).unwrap().moved(text, to);
        assert_eq!(moved("nginx", &to(Some("latest"), None)), "d.io/x");
        assert_eq!(moved("nginx", &to(Some("1"), None)), "d.io/x:1");
        assert_eq!(moved("nginx:latest", &to(Some("latest"), None)), "d.io/x:latest");
        assert_eq!(moved("nginx:1", &to(Some("1"), Some(&digest))), format!("d.io/x:1@{digest}"));
        assert_eq!(moved(&format!("nginx@{digest}"), &to(Some("1"), Some(&digest))), format!("d.io/x@{digest}"));
        assert_eq!(moved("nginx", &to(Some("latest"), Some(&digest))), format!("d.io/x@{digest}"));
        assert_eq!(moved("nginx:{{ .tag }}", &to(None, None)), "d.io/x:{{ .tag }}");
    }
}
