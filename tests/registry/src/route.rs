//! From method, path and query to what is asked for.

use http::Method;

use crate::query::{Query, decode};
use crate::request::{Kind, Origin};

/// What a request is about, read from its first line alone.
#[derive(Debug, Default)]
pub(crate) struct Route {
    pub(crate) kind: Option<Kind>,
    pub(crate) repository: Option<String>,
    pub(crate) reference: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) upload: Option<String>,
}

impl Route {
    pub(crate) fn of(origin: Origin, method: &Method, path: &str, query: &Query) -> Self {
        match origin {
            Origin::Registry => Self::of_registry(method, path, query),
            Origin::TokenServer => Route { kind: Some(Kind::Token), ..Route::default() },
            Origin::BlobOrigin => Route {
                kind: match *method {
                    Method::GET => Some(Kind::RedirectedGet),
                    Method::HEAD => Some(Kind::RedirectedHead),
                    _ => None,
                },
                reference: path.rsplit('/').next().map(decode),
                ..Route::default()
            },
        }
    }

    fn of_registry(method: &Method, path: &str, query: &Query) -> Self {
        let parts: Vec<&str> = path.split('/').collect();
        let Some(rest) = parts.strip_prefix(&["", "v2"]) else { return Route::default() };
        let get = *method == Method::GET;
        let mut route = Route::default();
        let repository = match rest {
            [] | [""] => {
                route.kind = get.then_some(Kind::Ping);
                return route;
            }
            ["_catalog"] => {
                route.kind = get.then_some(Kind::Catalog);
                return route;
            }
            [repository @ .., "tags", "list"] => {
                route.kind = get.then_some(Kind::TagList);
                repository
            }
            [repository @ .., "manifests", reference] => {
                route.kind = match *method {
                    Method::GET => Some(Kind::ManifestGet),
                    Method::HEAD => Some(Kind::ManifestHead),
                    Method::PUT => Some(Kind::ManifestPut),
                    Method::DELETE => Some(Kind::ManifestDelete),
                    _ => None,
                };
                route.reference = Some(decode(reference));
                repository
            }
            [repository @ .., "blobs", "uploads", ""] => {
                route.reference = query.get("mount").map(str::to_owned);
                route.from = query.get("from").map(str::to_owned);
                let kind = if route.reference.is_some() { Kind::Mount } else { Kind::UploadStart };
                route.kind = (*method == Method::POST).then_some(kind);
                repository
            }
            [repository @ .., "blobs", "uploads", upload] => {
                route.kind = match *method {
                    Method::PATCH => Some(Kind::UploadChunk),
                    Method::GET => Some(Kind::UploadStatus),
                    Method::PUT => Some(Kind::UploadFinish),
                    Method::DELETE => Some(Kind::UploadCancel),
                    _ => None,
                };
                route.upload = Some((*upload).to_owned());
                route.reference = query.get("digest").map(str::to_owned);
                repository
            }
            // Without its trailing slash this is no address at all.
            [.., "blobs", "uploads"] => return route,
            [repository @ .., "blobs", digest] => {
                route.kind = match *method {
                    Method::GET => Some(Kind::BlobGet),
                    Method::HEAD => Some(Kind::BlobHead),
                    Method::DELETE => Some(Kind::BlobDelete),
                    _ => None,
                };
                route.reference = Some(decode(digest));
                repository
            }
            [repository @ .., "referrers", digest] => {
                route.kind = get.then_some(Kind::Referrers);
                route.reference = Some(decode(digest));
                repository
            }
            _ => return route,
        };
        route.repository = Some(repository.join("/"));
        route
    }
}

/// Whether a repository's name keeps to the grammar of the specification.
pub(crate) fn is_repository_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 255
        && name.split('/').all(|part| {
            part.bytes().all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-'))
                && part.bytes().next().is_some_and(plain)
                && part.bytes().last().is_some_and(plain)
        })
}

/// Whether a string can be a tag.
pub(crate) fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(method: Method, target: &str) -> Route {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Route::of(Origin::Registry, &method, path, &Query::parse(query))
    }

    #[test]
    fn repositories_may_be_named_like_endpoints() {
        let route = route(Method::GET, "/v2/manifests/blobs/uploads/manifests/list");
        assert_eq!(route.kind, Some(Kind::ManifestGet));
        assert_eq!(route.repository.as_deref(), Some("manifests/blobs/uploads"));
    }

    #[test]
    fn a_mount_is_told_from_an_upload() {
        let mount = route(Method::POST, "/v2/a/b/blobs/uploads/?mount=sha256%3Aff&from=c/d");
        assert_eq!(mount.kind, Some(Kind::Mount));
        assert_eq!(mount.reference.as_deref(), Some("sha256:ff"));
        assert_eq!(mount.from.as_deref(), Some("c/d"));
        assert_eq!(route(Method::POST, "/v2/a/b/blobs/uploads/").kind, Some(Kind::UploadStart));
        assert_eq!(route(Method::POST, "/v2/a/b/blobs/uploads").kind, None);
    }

    #[test]
    fn names_are_checked() {
        assert!(is_repository_name("a/b-c/d_e.f0"));
        for wrong in ["", "A", "a//b", "/a", "a/", "-a", "a_"] {
            assert!(!is_repository_name(wrong), "{wrong}");
        }
        assert!(is_tag("v1.0_x-y") && !is_tag("") && !is_tag(".x") && !is_tag("a b"));
    }
}
