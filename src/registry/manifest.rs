//! Manifests: asked for, read and verified, written (distribution-spec "Pulling manifests", "Pushing Manifests").

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use super::RepositoryClient;
use super::blob::is_no_head;
use super::error::{Error, ErrorKind, unless_encoded};
use super::exchange::{Call, Kind};
use super::http::Answer;
use super::media::{self, Defect, Manifest};
use crate::digest::Digest;
use crate::reference::Identifier;

/// How often a manifest is put whose answer does not come in time.
const PUTS: u32 = 2;
/// How often a manifest is read again whose bytes are not what the registry says they are.
const READS: usize = 3;

impl RepositoryClient {
    /// The digest of a manifest, if there is one: by HEAD where the registry answers that in full, else by reading it.
    pub async fn digest(&self, identifier: &Identifier) -> Result<Option<Digest>, Error> {
        let mut scope = self.scope(&Method::HEAD, None);
        let (call, answer) = self.read(&path(identifier), |url| read(Method::HEAD, url), &mut scope).await?;
        match answer.status {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::OK => match (answer.digest(), identifier) {
                (Some(found), Identifier::Tag(_)) => return Ok(Some(found)),
                (Some(found), Identifier::Digest(asked)) if found == **asked => return Ok(Some(found)),
                (None, Identifier::Digest(asked)) if is_manifest(&answer) => return Ok(Some((**asked).clone())),
                // The digest is left out, or this is somebody's web page.
                _ => {}
            },
            // JFrog says so of what is absent; whether it may be written will be seen.
            StatusCode::FORBIDDEN if self.push => return Ok(None),
            // Some registries and proxies do not know HEAD, and no HEAD says why something is forbidden.
            status if is_no_head(status) || status == StatusCode::FORBIDDEN => {}
            _ => return Err(self.error(&Method::HEAD, &call.url, answer.refusal())),
        }
        match self.manifest(identifier).await {
            Ok(manifest) => Ok(Some(manifest.digest)),
            Err(error) if error.is_not_found() => Ok(None),
            // What is to be replaced need not be readable.
            Err(Error { kind: ErrorKind::Malformed { .. } | ErrorKind::Unsupported { .. }, .. }) if self.push => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a manifest. Its digest is that of its bytes: by digest it is what was asked for, by tag it is what the
    /// registry says it is, or what the registry also has under that digest.
    pub async fn manifest(&self, identifier: &Identifier) -> Result<Manifest, Error> {
        let mut scope = self.scope(&Method::GET, None);
        let (call, mut answer) = self.read(&path(identifier), |url| read(Method::GET, url), &mut scope).await?;
        let url = &call.url;
        let mut tries = 0;
        loop {
            tries += 1;
            if answer.status != StatusCode::OK {
                return Err(self.error(&Method::GET, url, answer.refusal()));
            }
            let expected = identifier.digest().cloned().or_else(|| answer.digest());
            let found = match &expected {
                Some(expected) => expected.same_algorithm_of(&answer.body),
                None => Digest::of(&answer.body),
            };
            let wrong = expected.filter(|expected| *expected != found);
            let believed = match &wrong {
                None => true,
                // Its digest is that of its text without the signatures; why it is not copied is said when it is read.
                Some(_) if media::is_schema1(media_type(&answer)) => true,
                Some(_) => identifier.digest().is_none() && self.has_manifest(&found).await?,
            };
            if believed {
                return self.parse(url, &answer, found);
            }
            if let Some(expected) = wrong.filter(|_| tries == READS) {
                let kind = ErrorKind::WrongDigest { expected, found };
                return Err(self.error(&Method::GET, url, unless_encoded(&answer.headers, kind)));
            }
            tracing::warn!(%url, "the manifest's bytes are not what its digest says; it is read again");
            answer = self.call(&call).await?;
        }
    }

    /// Some registries name a wrong digest for a tag. If they know the manifest by the digest of its bytes, the header
    /// was wrong and not the bytes.
    async fn has_manifest(&self, digest: &Digest) -> Result<bool, Error> {
        let url = self.url(&path(&Identifier::from(digest.clone()))).await?;
        let answer = self.call(&read(Method::HEAD, url)).await?;
        Ok(answer.status == StatusCode::OK && is_manifest(&answer))
    }

    fn parse(&self, url: &Url, answer: &Answer, digest: Digest) -> Result<Manifest, Error> {
        Manifest::parse(answer.body.clone(), digest, media_type(answer)).map_err(|defect| {
            let kind = match defect {
                Defect::Malformed(reason) => ErrorKind::Malformed { reason: answer.misread(&reason) },
                Defect::Unsupported(reason) => ErrorKind::Unsupported { reason: answer.without_secrets(&reason) },
            };
            self.error(&Method::GET, url, kind)
        })
    }

    /// Writes a manifest under a tag or its digest, byte for byte. That it is there already is a success, whatever the
    /// registry says to its being put again.
    pub async fn put_manifest(&self, identifier: &Identifier, manifest: &Manifest) -> Result<(), Error> {
        let mut puts = 0;
        loop {
            puts += 1;
            let Err(error) = self.try_put_manifest(identifier, manifest).await else { return Ok(()) };
            let is_late = matches!(error.kind, ErrorKind::TimedOut { .. });
            match self.unless_put(identifier, manifest, error).await {
                Err(error) if is_late && puts < PUTS => {
                    tracing::warn!("{error}; it is not there yet, and is put again");
                }
                result => return result,
            }
        }
    }

    /// The failure of a PUT, unless the manifest is there all the same.
    async fn unless_put(&self, identifier: &Identifier, manifest: &Manifest, error: Error) -> Result<(), Error> {
        let may_be_there = match error.facts() {
            // An answer was lost, and perhaps those to the tries after it say that the tag is taken.
            ErrorKind::Broken { .. } | ErrorKind::TimedOut { .. } => true,
            ErrorKind::Status { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 400 | 403 | 405 | 409 | 412)
            }
            _ => false,
        };
        if !may_be_there || error.parts_are_missing() {
            return Err(error);
        }
        match (Box::pin(self.digest(identifier)).await, identifier, error.facts()) {
            (Ok(Some(found)), ..) if found == manifest.digest => {
                tracing::info!(%error, %identifier, "the manifest is there all the same");
                self.client.pace.was_done(&(Kind::ManifestWrite, Method::PUT));
                Ok(())
            }
            (Ok(Some(found)), Identifier::Tag(tag), ErrorKind::Status { status, message, .. })
                if tells_of_immutability(*status, message) =>
            {
                let (tag, message) = (tag.to_string(), message.clone());
                let kind = ErrorKind::ImmutableTag { tag, found: Box::new(found), status: *status, message };
                Err(Error { kind, ..error.clone() })
            }
            _ => Err(error),
        }
    }

    async fn try_put_manifest(&self, identifier: &Identifier, manifest: &Manifest) -> Result<(), Error> {
        let url = self.url(&path(identifier)).await?;
        let malformed = |reason: String| self.error(&Method::PUT, &url, ErrorKind::Malformed { reason });
        let media_type = HeaderValue::from_str(&manifest.media_type)
            .map_err(|_| malformed(format!("media type {:?} fits no header", manifest.media_type)))?;
        let call = Call {
            body: Some(manifest.bytes.clone()),
            ..Call::new(Kind::ManifestWrite, Method::PUT, url.clone()).header(CONTENT_TYPE, media_type)
        };
        let answer = self.call(&call).await?;
        if !answer.status.is_success() {
            return Err(self.error(&Method::PUT, &url, answer.refusal()));
        }
        match answer.digest() {
            Some(found) if found.same_algorithm_of(&manifest.bytes) != found => {
                let expected = manifest.digest.clone();
                Err(self.error(&Method::PUT, &url, ErrorKind::WrongDigest { expected, found }))
            }
            _ => Ok(()),
        }
    }
}

/// Where a manifest is within its repository.
fn path(identifier: &Identifier) -> String {
    format!("manifests/{identifier}")
}

/// Whether a manifest was refused because its tag may not be moved: each registry says it in its own way (ECR 400
/// TAG_INVALID, Harbor 412 PRECONDITION, Quay 409 TAG_IMMUTABLE, Docker Hub 403, Nexus 400, Azure 405).
fn tells_of_immutability(status: StatusCode, message: &str) -> bool {
    let text = message.to_ascii_lowercase();
    let says_so = [
        "immutable",
        "immutability",
        "already exists",
        "cannot be overwritten",
        "cannot update tag",
        "does not allow updating",
        "operation is disallowed",
    ];
    matches!(status.as_u16(), 400 | 403 | 405 | 409 | 412) && says_so.iter().any(|words| text.contains(words))
}

fn read(method: Method, url: Url) -> Call {
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(media::ACCEPT))]);
    Call { headers, limit: media::MAX_BYTES, ..Call::new(Kind::ManifestRead, method, url) }
}

fn is_manifest(answer: &Answer) -> bool {
    media::is_manifest(media_type(answer))
}

/// What an answer says that it is, without parameters.
fn media_type(answer: &Answer) -> &str {
    let content_type = answer.header("content-type").unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::registry::exchange::LONGEST_WRITE;
    use crate::registry::{Clients, Keyring};

    /// Writes a manifest when it is put for the `taken`th time, and never says so.
    async fn serve(mut stream: TcpStream, puts: Arc<AtomicU32>, taken: u32, digest: Digest) {
        let mut asked = [0; 4096];
        let length = stream.read(&mut asked).await.unwrap_or_default();
        if asked.starts_with(b"PUT ") {
            puts.fetch_add(1, SeqCst);
            // The clock goes forward until nobody waits for the answer any more.
            tokio::time::pause();
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            tokio::time::resume();
            return;
        }
        let status = match asked[..length].starts_with(b"HEAD ") && puts.load(SeqCst) < taken {
            true => "404 Not Found",
            false => "200 OK",
        };
        let head = format!("HTTP/1.1 {status}\r\ndocker-content-digest: {digest}\r\ncontent-length: 0\r\n");
        let _ = stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await;
    }

    #[tokio::test]
    async fn a_manifest_whose_answer_does_not_come_is_looked_for_before_it_is_put_again() {
        for (taken, expected) in [(1, Some(1)), (2, Some(2)), (3, None)] {
            let bytes = Bytes::from_static(br#"{"schemaVersion": 2, "manifests": []}"#);
            let manifest = Manifest::parse(bytes.clone(), Digest::of(&bytes), media::OCI_INDEX).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (puts, digest) = (Arc::new(AtomicU32::new(0)), manifest.digest.clone());
            let counted = puts.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, counted.clone(), taken, digest.clone()));
                }
            });
            let clients = Clients::new(Arc::new(Keyring::default()), 1).unwrap();
            let client = clients.writer(&format!("{address}/a").parse().unwrap());
            let put = client.put_manifest(&Identifier::Tag("1".parse().unwrap()), &manifest).await;
            match expected {
                Some(times) => assert_eq!((put, puts.load(SeqCst)), (Ok(()), times)),
                None => {
                    let kind = ErrorKind::TimedOut { after: LONGEST_WRITE };
                    assert_eq!((put.unwrap_err().kind, puts.load(SeqCst)), (kind, PUTS));
                }
            }
        }
    }
}
