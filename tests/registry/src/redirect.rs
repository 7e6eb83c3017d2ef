//! The second origin: redirects of blob requests to it, and what it answers.

use http::Method;

use crate::digest::digest_of;
use crate::query::{Query, encode};
use crate::reply::Reply;
use crate::request::{Kind, Request};
use crate::state::Shared;

/// The redirect of a blob request, if the registry has a second origin for this kind.
pub(crate) fn redirect(shared: &Shared, request: &Request, digest: &str) -> Option<Reply> {
    let origin = shared.ports.blob_origin.as_ref()?.address();
    if request.kind == Kind::BlobHead && !shared.settings.redirect_heads {
        return None;
    }
    let repository = request.repository.as_deref().unwrap_or_default();
    let place = format!("/storage/{}/{}", encode(repository), encode(digest));
    let key = shared.redirect_key();
    let signature = sign(shared, &request.method, &place, key);
    let location = format!("http://{origin}{place}?X-Method={}&X-Key={key}&X-Signature={signature}", request.method);
    Some(Reply::status(307).header("location", &location))
}

fn sign(shared: &Shared, method: &Method, place: &str, key: u64) -> String {
    digest_of(format!("{} {method} {place} {key}", shared.salt).as_bytes()).split_off("sha256:".len())
}

/// Answers a request to the second origin, which accepts a signature or an Authorization header, never both.
pub(crate) fn serve(shared: &Shared, request: &Request) -> Reply {
    let refuse = |status, code: &str| {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
        Reply::status(status).header("content-type", "application/xml").body(body)
    };
    if request.headers.contains_key("authorization") {
        return refuse(400, "InvalidArgument: Only one auth mechanism allowed");
    }
    let query = Query::parse(&request.query);
    let key = query.get("X-Key").and_then(|key| key.parse().ok()).unwrap_or(u64::MAX);
    let signature = sign(shared, &request.method, &request.path, key);
    if query.get("X-Signature") != Some(&signature) {
        return refuse(403, "SignatureDoesNotMatch");
    }
    if key != shared.redirect_key() {
        return refuse(403, "AccessDenied: Request has expired");
    }
    let mut parts = request.path.rsplit('/').map(crate::query::decode);
    let (digest, repository) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match shared.store().blob(&repository, &digest).cloned() {
        Some(content) => crate::blobs::content_reply(request, content, &[]),
        None => refuse(404, "NoSuchKey"),
    }
}
