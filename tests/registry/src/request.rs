//! A request as the log tells it, and the kinds of request there are.

use http::{HeaderMap, Method};

use crate::query::Query;
use crate::route::Route;

/// Which of the registry's listeners a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The registry itself.
    Registry,
    /// The server that issues bearer tokens.
    TokenServer,
    /// The storage that blob requests are redirected to.
    BlobOrigin,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// `GET /v2/`
    Ping,
    /// `GET /v2/_catalog`
    Catalog,
    /// `GET /v2/<name>/tags/list`
    TagList,
    /// `GET /v2/<name>/manifests/<reference>`
    ManifestGet,
    /// `HEAD /v2/<name>/manifests/<reference>`
    ManifestHead,
    /// `PUT /v2/<name>/manifests/<reference>`
    ManifestPut,
    /// `DELETE /v2/<name>/manifests/<reference>`
    ManifestDelete,
    /// `GET /v2/<name>/blobs/<digest>`
    BlobGet,
    /// `HEAD /v2/<name>/blobs/<digest>`
    BlobHead,
    /// `DELETE /v2/<name>/blobs/<digest>`
    BlobDelete,
    /// `POST /v2/<name>/blobs/uploads/?mount=<digest>`
    Mount,
    /// `POST /v2/<name>/blobs/uploads/`
    UploadStart,
    /// `PATCH` to the location of an upload
    UploadChunk,
    /// `GET` of the location of an upload
    UploadStatus,
    /// `PUT` to the location of an upload
    UploadFinish,
    /// `DELETE` of the location of an upload
    UploadCancel,
    /// `GET /v2/<name>/referrers/<digest>`
    Referrers,
    /// Any request to the token server
    Token,
    /// `GET` at the blob origin
    RedirectedGet,
    /// `HEAD` at the blob origin
    RedirectedHead,
    /// Anything else
    Other,
}

impl Kind {
    /// What a request to a registry asks for, read from its first line alone.
    pub fn of_request(method: &Method, path: &str, query: &str) -> Self {
        Route::of(Origin::Registry, method, path, &Query::parse(query)).kind.unwrap_or(Kind::Other)
    }

    pub(crate) const COUNT: usize = Kind::Other as usize + 1;
}

/// One request, and what became of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// Its place in the order of arrival over all origins, from 1.
    pub number: u64,
    /// Which listener it came to.
    pub origin: Origin,
    /// What it asks for.
    pub kind: Kind,
    /// Its method.
    pub method: Method,
    /// The path as it was sent.
    pub path: String,
    /// The query as it was sent, without the question mark.
    pub query: String,
    /// The repository named in the path.
    pub repository: Option<String>,
    /// What it is about: the tag or digest of a manifest, the digest of a blob, of a mount, or of an upload to be finished.
    pub reference: Option<String>,
    /// The repository that a mount is to be made from.
    pub from: Option<String>,
    /// The identifier of the upload named in the path.
    pub upload: Option<String>,
    /// Its headers.
    pub headers: HeaderMap,
    /// How many bytes of its body were read.
    pub received: u64,
    /// The status of the answer; `None` while there is none, and for ever if the connection was broken before.
    pub status: Option<u16>,
    /// How many bytes of the answer's body were sent.
    pub sent: u64,
}

impl Request {
    /// A header's value, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether it was answered with a status of 200 to 299.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}
