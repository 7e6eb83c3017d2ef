//! One side of a rule: which repository, and what of it.
//!
//! | written | means |
//! | --- | --- |
//! | `registry/ns/repo` | [`Selection::Whole`] |
//! | `registry/ns/repo:t1,t2` | [`Selection::Tags`] |
//! | `registry/ns/repo:/regex/`, `:!/regex/` | [`Selection::Expression`] |
//! | `registry/ns/repo@sha256:…`, `:tag@sha256:…` | [`Selection::Digest`] |

use std::collections::HashSet;

use crate::digest::{Digest, InvalidDigest};
use crate::foreign::end_of_login;
use crate::reference::{InvalidReference, Registry, Repository, Tag, looks_like_host};

/// A repository and what of it is meant.
#[derive(Debug, PartialEq)]
pub struct Name<'a> {
    pub repository: Repository,
    pub selection: Selection<'a>,
}

/// What stands behind the repository.
#[derive(Debug, PartialEq)]
pub enum Selection<'a> {
    Whole,
    /// At least one, in order.
    Tags(Vec<Tag>),
    Digest {
        tag: Option<Tag>,
        digest: Digest,
    },
    Expression(Expression<'a>),
}

/// A regular expression. Still as text: a destination may have none, so only a source's is compiled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expression<'a> {
    /// Whether it selects the tags that do not match.
    pub negated: bool,
    pub text: &'a str,
}

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("it is empty: expected registry/namespace/repository")]
    Empty,
    #[error("it begins with {0}: expected the registry's host first")]
    Scheme(String),
    #[error("it begins with a login, which belongs into username and password of auth.json")]
    Login,
    #[error("it ends with a slash")]
    TrailingSlash,
    #[error("it holds a space: none is allowed, also not between tags")]
    Space,
    #[error(
        "it holds a '*': a rule is one repository, and its tags are chosen by a regular expression, as in \
         registry/namespace/repository:/^v1/"
    )]
    Asterisk,
    #[error(
        "it names no registry: write {written_out:?} if Docker Hub is meant (a host without a dot needs an entry in \
         auth.json)"
    )]
    NoRegistry { written_out: String },
    #[error("it is no registry: a host without a dot needs an entry in auth.json")]
    NoHost,
    #[error("the path {path:?} must be lower-case: {lower:?}")]
    UpperCase { path: String, lower: String },
    #[error("the regular expression does not end with '/': expected registry/namespace/repository:/expression/")]
    OpenExpression,
    #[error("several tags cannot have one digest: expected tag@digest")]
    TagsWithDigest,
    #[error(transparent)]
    Reference(#[from] InvalidReference),
}

impl From<InvalidDigest> for InvalidName {
    fn from(invalid: InvalidDigest) -> Self {
        Self::Reference(invalid.into())
    }
}

impl<'a> Name<'a> {
    /// Reads `text`; `hosts` are hosts although they may look like namespaces.
    pub fn parse(text: &'a str, hosts: &HashSet<Registry>) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        refuse_url(text)?;
        // The expression first: it may hold anything, also what separates the other parts.
        let (name, expression) = split_expression(text)?;
        if name.contains(char::is_whitespace) {
            return Err(InvalidName::Space);
        }
        if name.contains('*') {
            return Err(InvalidName::Asterisk);
        }
        let (registry, rest) = split_registry(name, text, hosts)?;
        if let Some(expression) = expression {
            return Ok(Self { repository: repository(registry, rest)?, selection: Selection::Expression(expression) });
        }
        let (rest, digest) = split_at_first(rest, '@');
        let (path, tags) = split_at_first(rest, ':');
        if text.ends_with('/') && path.len() > 1 && tags.is_none() && digest.is_none() {
            return Err(InvalidName::TrailingSlash);
        }
        let repository = repository(registry, path)?;
        let tags = match tags {
            Some(list) => list.split(',').map(str::parse).collect::<Result<Vec<Tag>, _>>()?,
            None => Vec::new(),
        };
        let selection = match (digest, tags.as_slice()) {
            (None, []) => Selection::Whole,
            (None, _) => Selection::Tags(tags),
            (Some(digest), []) => Selection::Digest { tag: None, digest: digest.parse()? },
            (Some(digest), [tag]) => Selection::Digest { tag: Some(tag.clone()), digest: digest.parse()? },
            (Some(_), _) => return Err(InvalidName::TagsWithDigest),
        };
        Ok(Self { repository, selection })
    }
}

/// The repository `path` of `registry`; a path in capitals is told what to do.
pub fn repository(registry: Registry, path: &str) -> Result<Repository, InvalidName> {
    Repository::new(registry.clone(), path).map_err(|invalid| {
        let lower = path.to_ascii_lowercase();
        if lower != path && Repository::new(registry, &lower).is_ok() {
            InvalidName::UpperCase { path: path.to_owned(), lower }
        } else {
            invalid.into()
        }
    })
}

/// The registry `text`, where nothing says that it is one: by the same rule as in a name.
pub fn host(text: &str, hosts: &HashSet<Registry>) -> Result<Registry, InvalidName> {
    refuse_url(text)?;
    refuse_login(text)?;
    if is_host(text, hosts) { Ok(text.parse()?) } else { Err(InvalidName::NoHost) }
}

/// The registry `text`, a host and nothing else.
pub fn registry(text: &str) -> Result<Registry, InvalidName> {
    refuse_url(text)?;
    refuse_login(text)?;
    Ok(text.parse()?)
}

/// The namespace `text` of a registry, and nothing else.
pub fn namespace(registry: Registry, text: &str) -> Result<Repository, InvalidName> {
    refuse_login(text)?;
    repository(registry, text)
}

/// Refuses a login before whatever follows: it would be repeated in the message that this is no name.
fn refuse_login(text: &str) -> Result<(), InvalidName> {
    if text.contains('@') { Err(InvalidName::Login) } else { Ok(()) }
}

/// Refuses URLs and logins, as they are copied from browsers and other tools. `:///x/` is no URL, but an expression
/// that begins with a slash.
fn refuse_url(text: &str) -> Result<(), InvalidName> {
    let is_scheme = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'-')
    };
    match text.split_once("://") {
        Some((word, rest)) if is_scheme(word) && !rest.starts_with('/') => {
            Err(InvalidName::Scheme(format!("{word}://")))
        }
        None if end_of_login(text).is_some() => Err(InvalidName::Login),
        _ => Ok(()),
    }
}

/// What stands before the expression, and the expression: all between the first `:/` or `:!/` and the last `/`.
fn split_expression(text: &str) -> Result<(&str, Option<Expression<'_>>), InvalidName> {
    let Some(colon) = [text.find(":/"), text.find(":!/")].into_iter().flatten().min() else {
        return Ok((text, None));
    };
    let (name, rest) = text.split_at(colon);
    let (negated, rest) = match rest.strip_prefix(":!/") {
        Some(rest) => (true, rest),
        None => (false, &rest[":/".len()..]),
    };
    let text = rest.strip_suffix('/').ok_or(InvalidName::OpenExpression)?;
    Ok((name, Some(Expression { negated, text })))
}

/// The registry that `name` begins with, and the rest. `text` is all that was written, for the message.
fn split_registry<'n>(
    name: &'n str,
    text: &str,
    hosts: &HashSet<Registry>,
) -> Result<(Registry, &'n str), InvalidName> {
    if let Some((host, rest)) = name.split_once('/') {
        if is_host(host, hosts) {
            return Ok((host.parse()?, rest));
        }
        return Err(InvalidName::NoRegistry { written_out: format!("docker.io/{text}") });
    }
    // One component: a host without a repository, or a short name of Docker Hub with a tag or digest.
    let host = name.split([':', '@']).next().unwrap_or(name);
    if is_host(host, hosts) || host.starts_with('[') || is_named(name, hosts) {
        return Err(InvalidReference::NoRepository(text.to_owned()).into());
    }
    Err(InvalidName::NoRegistry { written_out: format!("docker.io/library/{text}") })
}

/// Whether the first part of a name is a host, and no namespace of Docker Hub.
fn is_host(text: &str, hosts: &HashSet<Registry>) -> bool {
    looks_like_host(text) || is_named(text, hosts)
}

fn is_named(text: &str, hosts: &HashSet<Registry>) -> bool {
    text.parse().is_ok_and(|registry: Registry| hosts.contains(&registry))
}

fn split_at_first(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn name(text: &str) -> Result<Name<'_>, InvalidName> {
        Name::parse(text, &HashSet::from(["registry".parse().unwrap(), "docker.io".parse().unwrap()]))
    }

    fn reason(text: &str) -> String {
        name(text).unwrap_err().to_string()
    }

    fn tags(list: &[&str]) -> Selection<'static> {
        Selection::Tags(list.iter().map(|tag| tag.parse().unwrap()).collect())
    }

    #[test]
    fn every_form_is_read() {
        let digest: Digest = DIGEST.parse().unwrap();
        let (tagged, untagged) = (format!("quay.io/a/b:1@{DIGEST}"), format!("quay.io/a/b@{DIGEST}"));
        for (text, selection) in [
            ("quay.io/a/b", Selection::Whole),
            ("quay.io/a/b:1", tags(&["1"])),
            ("quay.io/a/b:1,latest,1", tags(&["1", "latest", "1"])),
            ("quay.io/a/b:/^v1/", Selection::Expression(Expression { negated: false, text: "^v1" })),
            ("quay.io/a/b:!/a:/b@c, d/", Selection::Expression(Expression { negated: true, text: "a:/b@c, d" })),
            ("quay.io/a/b://", Selection::Expression(Expression { negated: false, text: "" })),
            ("quay.io/a/b:///x/", Selection::Expression(Expression { negated: false, text: "//x" })),
            (&untagged, Selection::Digest { tag: None, digest: digest.clone() }),
            (&tagged, Selection::Digest { tag: "1".parse().ok(), digest: digest.clone() }),
        ] {
            assert_eq!(name(text), Ok(Name { repository: "quay.io/a/b".parse().unwrap(), selection }));
        }
    }

    #[test]
    fn the_first_part_is_a_host_if_it_looks_like_one_or_has_credentials() {
        for (text, repository) in [
            ("quay.io/repo", "quay.io/repo"),
            ("myhost:5000/repo:1", "myhost:5000/repo"),
            ("localhost/repo", "localhost/repo"),
            ("[::1]:5000/repo:1", "[::1]:5000/repo"),
            ("registry/repo:1", "registry/repo"),
            ("Registry/repo:1", "registry/repo"),
            ("index.docker.io/nginx:1", "docker.io/library/nginx"),
            ("123.dkr.ecr.us-west-2.amazonaws.com/repo", "123.dkr.ecr.us-west-2.amazonaws.com/repo"),
        ] {
            assert_eq!(name(text).unwrap().repository.to_string(), repository);
        }
    }

    #[test]
    fn a_name_without_its_registry_is_shown_with_it() {
        for (text, full) in [
            ("nginx", "docker.io/library/nginx"),
            ("nginx:1.25", "docker.io/library/nginx:1.25"),
            ("nginx:/1.25/", "docker.io/library/nginx:/1.25/"),
            ("bitnami/redis", "docker.io/bitnami/redis"),
            ("bitnami/redis:7,8", "docker.io/bitnami/redis:7,8"),
        ] {
            assert_eq!(name(text), Err(InvalidName::NoRegistry { written_out: full.into() }));
        }
        assert_eq!(
            reason("nginx:1.25"),
            "it names no registry: write \"docker.io/library/nginx:1.25\" if Docker Hub is meant (a host without a dot \
             needs an entry in auth.json)"
        );
    }

    #[test]
    fn each_mistake_has_its_reason() {
        let several = format!("quay.io/a:1,2@{DIGEST}");
        let asterisk = "it holds a '*': a rule is one repository, and its tags are chosen by a regular expression, as in \
                        registry/namespace/repository:/^v1/";
        for (text, expected) in [
            ("", "it is empty: expected registry/namespace/repository"),
            ("https://quay.io/a/b", "it begins with https://: expected the registry's host first"),
            ("docker://quay.io/a/b", "it begins with docker://: expected the registry's host first"),
            ("HTTPS://quay.io/a", "it begins with HTTPS://: expected the registry's host first"),
            ("ftp://quay.io/a", "it begins with ftp://: expected the registry's host first"),
            ("oci-archive://quay.io/a", "it begins with oci-archive://: expected the registry's host first"),
            (
                "user:s3cr3t@quay.io/a/b:1",
                "it begins with a login, which belongs into username and password of auth.json",
            ),
            ("quay.io/a/b/", "it ends with a slash"),
            ("quay.io/a/b//", "it ends with a slash"),
            ("quay.io/a/b:1, 2", "it holds a space: none is allowed, also not between tags"),
            (" quay.io/a/b", "it holds a space: none is allowed, also not between tags"),
            ("quay.io/a/b:v1.*", asterisk),
            ("quay.io/a/*", asterisk),
            ("quay.io/a/*:/^v1/", asterisk),
            ("quay.io", "\"quay.io\" names no repository: expected registry/namespace/repository"),
            ("quay.io:443", "\"quay.io:443\" names no repository: expected registry/namespace/repository"),
            ("registry", "\"registry\" names no repository: expected registry/namespace/repository"),
            ("quay.io/", "\"quay.io\" names no repository: expected registry/namespace/repository"),
            ("quay.io/:1", "\"quay.io\" names no repository: expected registry/namespace/repository"),
            ("quay.io/Team/app:1", "the path \"Team/app\" must be lower-case: \"team/app\""),
            (
                "quay.io/a//b",
                "invalid repository path \"a//b\": expected lower-case letters and digits, joined by single '.', '_', \
                 '__' or '-' and '/', at most 255 characters",
            ),
            (
                "qu_ay.io/a",
                "invalid registry \"qu_ay.io\": expected a host name or an address in full, with :port if it is not the usual one",
            ),
            (
                "quay.io/a:",
                "invalid tag \"\": expected at most 128 letters, digits, '_', '.', '-', the first a letter, digit or '_'",
            ),
            (
                "quay.io/a:1,,2",
                "invalid tag \"\": expected at most 128 letters, digits, '_', '.', '-', the first a letter, digit or '_'",
            ),
            (
                "quay.io/a:-1",
                "invalid tag \"-1\": expected at most 128 letters, digits, '_', '.', '-', the first a letter, digit or \
                 '_'",
            ),
            (
                "quay.io/a@sha256:12",
                "invalid digest \"sha256:12\": expected sha256: and 64 lower-case hexadecimal digits",
            ),
            (&several, "several tags cannot have one digest: expected tag@digest"),
            (
                "quay.io/a:/v1",
                "the regular expression does not end with '/': expected registry/namespace/repository:/expression/",
            ),
            (
                "quay.io/a:/v1/i",
                "the regular expression does not end with '/': expected registry/namespace/repository:/expression/",
            ),
            (
                "quay.io/a:/",
                "the regular expression does not end with '/': expected registry/namespace/repository:/expression/",
            ),
        ] {
            assert_eq!(reason(text), expected, "{text}");
        }
    }
}
