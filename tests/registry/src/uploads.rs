//! Uploads of blobs: mount, start, chunks, status, end.
//!
//! As in the distribution registry the Location of an upload carries a state that belongs to one offset. Once more bytes have come,
//! an older Location is refused; only the status hands out a new one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::BytesMut;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex as AsyncMutex;

use crate::builder::Mounts;
use crate::content::Content;
use crate::digest::{self, digest_of};
use crate::intake::{Broken, Intake};
use crate::limits;
use crate::query::{Query, encode};
use crate::reply::Reply;
use crate::request::{Kind, Request};
use crate::state::{Shared, lock};
use crate::tags::base;

/// With uploads discarded, blobs up to this size are kept all the same.
const SMALL: u64 = 64 * 1024;

/// All uploads that were started and not ended.
#[derive(Default)]
pub(crate) struct Uploads(Mutex<HashMap<String, Arc<Session>>>);

/// One upload. Its bytes have a lock of their own, held while a request's body is written.
struct Session {
    id: String,
    repository: String,
    written: AsyncMutex<Written>,
}

#[derive(Default)]
struct Written {
    /// The smallest chunk so far that was not the last one, and the last one.
    smallest: Option<u64>,
    last: Option<u64>,
    hasher: Sha256,
    bytes: BytesMut,
    size: u64,
}

impl Written {
    fn write(&mut self, piece: &[u8], discard: bool) {
        self.hasher.update(piece);
        self.size += piece.len() as u64;
        if !discard || self.size <= SMALL {
            self.bytes.extend_from_slice(piece);
        } else if !self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    fn note_chunk(&mut self, size: u64) {
        self.smallest = self.last.into_iter().chain(self.smallest).min();
        self.last = Some(size);
    }

    fn content(&mut self) -> Content {
        if self.bytes.len() as u64 == self.size {
            Content::Bytes(std::mem::take(&mut self.bytes).freeze())
        } else {
            Content::Forgotten { size: self.size }
        }
    }
}

impl Uploads {
    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        lock(&self.0)
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.sessions().len()
    }

    fn find(&self, repository: &str, id: &str) -> Option<Arc<Session>> {
        self.sessions().get(id).filter(|session| session.repository == repository).cloned()
    }
}

/// `POST`: mounts a blob, or starts an upload.
pub(crate) fn start(shared: &Shared, request: &Request, repository: &str) -> Reply {
    if shared.settings.strict && !request.headers.contains_key("content-length") {
        return Reply::status(411).body("Length Required");
    }
    if let (Kind::Mount, Some(digest)) = (request.kind, &request.reference) {
        match shared.settings.mounts {
            Mounts::Refused(status) => return Reply::error(status, "UNSUPPORTED", "mounts are not supported"),
            Mounts::Ignored => {}
            Mounts::Allowed | Mounts::AfterManifest => {
                let named = |from: &&str| {
                    shared.settings.mounts == Mounts::Allowed || shared.store().has_manifest_naming(from, digest)
                };
                let from = request.from.as_deref().filter(named);
                if from.is_some_and(|from| shared.store().mount(from, repository, digest)) {
                    return created(shared, request, repository, digest);
                }
            }
        }
    }
    let secret = shared.secret("upload");
    let parts = [&secret[..8], &secret[8..12], &secret[12..16], &secret[16..20], &secret[20..32]];
    let id = parts.join("-");
    let session = Session { id: id.clone(), repository: repository.to_owned(), written: AsyncMutex::default() };
    let session = Arc::new(session);
    shared.uploads.sessions().insert(id, Arc::clone(&session));
    let reply = progress(shared, request, &session, 0, 202).header("range", "0-0");
    match shared.settings.portions.announced_minimum {
        Some(minimum) => reply.header("oci-chunk-min-length", &minimum.to_string()),
        None => reply,
    }
}

/// Everything at the location of an upload.
pub(crate) async fn serve(
    shared: &Shared,
    request: &Request,
    body: &mut Intake,
    repository: &str,
    id: &str,
) -> Result<Reply, Broken> {
    let Some(session) = shared.uploads.find(repository, id) else {
        return Ok(Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"));
    };
    let mut written = session.written.lock().await;
    match request.kind {
        Kind::UploadStatus => return Ok(progress(shared, request, &session, written.size, 204)),
        Kind::UploadCancel => {
            shared.uploads.sessions().remove(id);
            return Ok(Reply::status(204));
        }
        _ => {}
    }
    if let Err(refusal) = check_place(shared, request, &session, written.size) {
        return Ok(refusal);
    }
    let portions = &shared.settings.portions;
    if portions.chunk_limit.is_some_and(|limit| chunk(request).is_some_and(|(first, last)| last - first >= limit)) {
        return Ok(Reply::status(416).body("chunk exceeds maximum permissible limit"));
    }
    let start = written.size;
    while let Some(piece) = body.next().await? {
        if portions.body_limit.is_some_and(|limit| body.received() > limit) {
            return Ok(limits::too_large());
        }
        written.write(&piece, shared.settings.discard_uploads);
    }
    if chunk(request).is_some_and(|(first, last)| written.size - start != (last - first).saturating_add(1)) {
        return Ok(Reply::error(400, "SIZE_INVALID", "provided length did not match content length"));
    }
    if request.kind == Kind::UploadFinish {
        return Ok(finish(shared, request, &session, &mut written));
    }
    let size = written.size - start;
    if chunk(request).is_some() {
        written.note_chunk(size);
    }
    if !portions.chunks_created {
        return Ok(progress(shared, request, &session, written.size, 202));
    }
    let first = written.smallest.unwrap_or(size).saturating_sub(1);
    Ok(progress(shared, request, &session, written.size, 201).header("range", &format!("0-{first}")))
}

/// Whether the Location is the newest one and a chunk begins where the last one ended.
fn check_place(shared: &Shared, request: &Request, session: &Session, size: u64) -> Result<(), Reply> {
    let query = Query::parse(&request.query);
    match query.get("_state") {
        _ if !shared.settings.strict => {}
        None => return Err(Reply::error(404, "BLOB_UPLOAD_INVALID", "blob upload invalid")),
        Some(sent) if sent != state(shared, &session.id, size) => {
            return Err(Reply::error(416, "RANGE_INVALID", "invalid content range"));
        }
        Some(_) => {}
    }
    match chunk(request) {
        Some((first, last)) if first != size || last < first => {
            let refusal = Reply::error(416, "RANGE_INVALID", "invalid content range");
            Err(place(shared, request, session, size, refusal))
        }
        _ => Ok(()),
    }
}

/// `Content-Range: <first>-<last>`, both inclusive.
fn chunk(request: &Request) -> Option<(u64, u64)> {
    let (first, last) = request.header("content-range")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn finish(shared: &Shared, request: &Request, session: &Session, written: &mut Written) -> Reply {
    let digest = digest::finish(written.hasher.clone());
    shared.uploads.sessions().remove(&session.id);
    if request.reference.as_deref() != Some(digest.as_str()) {
        return Reply::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
    }
    let portions = &shared.settings.portions;
    if let Some(minimum) = portions.chunk_minimum.filter(|minimum| written.smallest.is_some_and(|size| size < *minimum))
    {
        return Reply::error(400, "SIZE_INVALID", &format!("Layer parts must be at least {minimum} bytes in size"));
    }
    if let (true, Some(_), Some(last)) = (portions.loses_chunks, written.smallest, written.last) {
        written.bytes = written.bytes.split_off(written.bytes.len() - last as usize);
        written.size = last;
    }
    shared.store().put_blob(&session.repository, &digest, written.content());
    created(shared, request, &session.repository, &digest)
}

fn created(shared: &Shared, request: &Request, repository: &str, digest: &str) -> Reply {
    let path = format!("/v2/{repository}/blobs/{digest}");
    Reply::status(201).header("location", &located(shared, request, path)).header("docker-content-digest", digest)
}

fn progress(shared: &Shared, request: &Request, session: &Session, size: u64, status: u16) -> Reply {
    place(shared, request, session, size, Reply::status(status))
}

/// Where an upload stands and where it goes on.
fn place(shared: &Shared, request: &Request, session: &Session, size: u64, reply: Reply) -> Reply {
    let state = encode(&state(shared, &session.id, size));
    let path = format!("/v2/{}/blobs/uploads/{}?_state={state}", session.repository, session.id);
    reply
        .header("location", &located(shared, request, path))
        .header("range", &format!("0-{}", size.saturating_sub(1)))
        .header("docker-upload-uuid", &session.id)
}

fn located(shared: &Shared, request: &Request, path: String) -> String {
    if shared.settings.relative_locations { path } else { format!("{}{path}", base(shared, request)) }
}

/// Opaque, and right for one upload at one offset only.
fn state(shared: &Shared, id: &str, size: u64) -> String {
    URL_SAFE.encode(digest_of(format!("state {} {id} {size}", shared.salt).as_bytes()))
}
