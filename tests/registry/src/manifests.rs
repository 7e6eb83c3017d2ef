//! Manifests: `GET`, `HEAD`, `PUT`, `DELETE`, and the referrers that follow from them.

use serde_json::{Value, json};

use crate::builder::Tags;
use crate::digest::{digest_of, is_digest};
use crate::intake::{Broken, Intake};
use crate::query::Query;
use crate::reply::Reply;
use crate::request::{Kind, Request};
use crate::route::is_tag;
use crate::state::Shared;
use crate::store::Stored;

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) async fn serve(
    shared: &Shared,
    request: &Request,
    body: &mut Intake,
    repository: &str,
    reference: &str,
) -> Result<Reply, Broken> {
    if !is_digest(reference) && !is_tag(reference) {
        let code = if reference.contains(':') { "DIGEST_INVALID" } else { "TAG_INVALID" };
        return Ok(Reply::error(400, code, "invalid reference"));
    }
    Ok(match request.kind {
        Kind::ManifestPut => match body.whole(shared.settings.manifest_limit).await? {
            Some(bytes) => put(shared, request, bytes, repository, reference),
            None => Reply::error(413, "SIZE_INVALID", "manifest too large"),
        },
        Kind::ManifestDelete => match shared.store().remove_manifest(repository, reference) {
            true => Reply::status(202),
            false => unknown(&format!("unknown reference {reference}")),
        },
        _ => get(shared, request, repository, reference),
    })
}

fn unknown(message: &str) -> Reply {
    Reply::error(404, "MANIFEST_UNKNOWN", message)
}

fn get(shared: &Shared, request: &Request, repository: &str, reference: &str) -> Reply {
    let stored = shared.store().manifest(repository, reference).cloned();
    let Some(Stored { media_type, bytes, digest }) = stored else {
        return unknown("manifest unknown");
    };
    if shared.settings.check_accept && !accepts(request, &media_type) {
        return unknown(&format!("{media_type} found, but accept header does not support it"));
    }
    let etag = format!("\"{digest}\"");
    if request.header("if-none-match").is_some_and(|asked| asked == etag) {
        return Reply::status(304).header("etag", &etag);
    }
    Reply::status(200)
        .header("content-type", &media_type)
        .header("docker-content-digest", &digest)
        .header("etag", &etag)
        .body(bytes)
}

fn accepts(request: &Request, media_type: &str) -> bool {
    let lines = request.headers.get_all("accept").iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|entry| entry.split(';').next().unwrap_or_default().trim() == media_type)
}

fn put(shared: &Shared, request: &Request, bytes: bytes::Bytes, repository: &str, reference: &str) -> Reply {
    let invalid = |message: &str| Reply::error(400, "MANIFEST_INVALID", message);
    let Ok(manifest @ Value::Object(_)) = serde_json::from_slice::<Value>(&bytes) else {
        return invalid("manifest is not a JSON object");
    };
    let Some(media_type) = request.header("content-type").map(str::to_owned) else {
        return invalid("no Content-Type");
    };
    let own = manifest["mediaType"].as_str();
    if shared.settings.strict && own.is_some_and(|own| own != media_type) {
        return invalid("mediaType and Content-Type differ");
    }
    if is_digest(reference) && digest_of(&bytes) != reference {
        return Reply::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
    }
    let mut store = shared.store();
    let lacking = store.lacking(repository, &manifest);
    if shared.settings.check_parts && !lacking.is_empty() {
        let details = lacking.iter().map(|digest| json!({ "digest": digest }));
        return Reply::errors(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", details);
    }
    let there = store.manifest(repository, reference).filter(|_| !is_digest(reference)).map(|stored| &stored.digest);
    if let Some(refusal) = there.and_then(|there| refuse_to_move(shared, reference, *there == digest_of(&bytes))) {
        return refusal;
    }
    let digest = store.put_manifest(repository, reference, &media_type, bytes);
    let reply = Reply::status(201)
        .header("location", &format!("/v2/{repository}/manifests/{digest}"))
        .header("docker-content-digest", &digest);
    match manifest["subject"]["digest"].as_str() {
        Some(subject) if shared.settings.referrers && is_digest(subject) => reply.header("oci-subject", subject),
        _ => reply,
    }
}

/// What is said to a manifest for a tag that is there.
fn refuse_to_move(shared: &Shared, tag: &str, is_same: bool) -> Option<Reply> {
    let (status, code, message) = match shared.settings.tags {
        Tags::Movable => return None,
        Tags::ImmutableAsEcr => {
            let text = format!(
                "The image tag '{tag}' already exists and cannot be overwritten because the repository is immutable."
            );
            return Some(Reply::error(400, "TAG_INVALID", &text));
        }
        Tags::ImmutableAsHarbor => {
            (412, "PRECONDITION", "Failed to process request due to immutable tag configuration")
        }
        Tags::ImmutableAsQuay => (409, "TAG_IMMUTABLE", "Tag is immutable"),
        Tags::ImmutableAsDockerHub => (403, "DENIED", "Requested tag is immutable"),
    };
    (!is_same).then(|| Reply::error(status, code, message))
}

/// `GET /v2/<name>/referrers/<digest>`: an index of the manifests whose subject that is.
pub(crate) fn referrers(shared: &Shared, request: &Request, repository: &str, subject: &str) -> Reply {
    if !shared.settings.referrers {
        return Reply::status(404).body("404 page not found\n");
    }
    let query = Query::parse(&request.query);
    let wanted = query.get("artifactType");
    let store = shared.store();
    let manifests = store.repositories.get(repository).into_iter().flat_map(|repository| repository.manifests.values());
    let found = manifests.filter_map(|stored| descriptor(stored, subject));
    let found = found.filter(|entry| wanted.is_none_or(|wanted| entry["artifactType"] == wanted)).collect::<Vec<_>>();
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found });
    let reply = Reply::status(200).json(&index).header("content-type", OCI_INDEX);
    if wanted.is_some() { reply.header("oci-filters-applied", "artifactType") } else { reply }
}

fn descriptor(stored: &Stored, subject: &str) -> Option<Value> {
    let manifest = stored.json();
    let refers = manifest["subject"]["digest"] == subject;
    let own_type = manifest.get("artifactType").or_else(|| manifest["config"].get("mediaType")).cloned();
    refers.then(|| {
        let mut entry = json!({
            "mediaType": stored.media_type, "digest": stored.digest, "size": stored.bytes.len(), "artifactType": own_type,
        });
        if let Some(annotations) = manifest.get("annotations") {
            entry["annotations"] = annotations.clone();
        }
        entry
    })
}
