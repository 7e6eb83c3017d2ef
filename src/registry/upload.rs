//! Uploads of blobs, and mounts in place of them (distribution-spec "Pushing Blobs", "Mounting Blobs").
//!
//! A blob is sent in one PUT, which is what costs the fewest requests and what most registries take. Where that is too
//! large for the registry, or for a proxy before it, there are other ways.
//!
//! | file | holds |
//! | --- | --- |
//! | `sending` | the bytes: whole, as one stream, in chunks |
//! | `modes` | which of these a registry was found to take |
//! | `refusals` | what it says when it does not |
//! | `body` | who is waited for meanwhile |

mod body;
mod modes;
mod refusals;
mod sending;

use std::borrow::Cow;
use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION, RANGE};
use reqwest::{Method, Request, StatusCode};
use url::Url;

pub(super) use self::modes::Modes;
use super::RepositoryClient;
use super::advice;
use super::error::{Error, ErrorKind};
use super::exchange::{Call, Kind, with_authorization};
use super::http::{Answer, over_tls};
use super::reach::{self, authority};
use super::token::Need;
use crate::digest::Digest;
use crate::reference::Repository;

/// Longest wait for the answer to a courtesy.
const CANCEL: Duration = Duration::from_secs(3);

/// An upload that a registry has opened: where its bytes go.
#[derive(Debug, Clone)]
pub struct Upload {
    pub(super) url: Url,
    /// The least that a chunk may have, but for the last one.
    pub(super) chunk_at_least: u64,
}

/// What came of an attempt to mount.
#[derive(Debug)]
pub enum Started {
    /// The blob is in the repository.
    Mounted,
    /// It is not, and the registry has opened an upload in place.
    Upload(Upload),
}

impl RepositoryClient {
    /// Opens an upload.
    pub async fn start_upload(&self) -> Result<Upload, Error> {
        let url = self.url("blobs/uploads/").await?;
        let told = |error: Error| Error { kind: advice::told(&self.repository, error.kind), ..error };
        let call = Call::new(Kind::BlobWrite, Method::POST, url.clone());
        // GitLab's token server refuses who wants to push to what is not there. A page of something before it says nothing.
        let is_of_token = |error: &Error| error.is_denial() && error.names_a_code();
        let answer = self.call(&call).await.map_err(|error| if is_of_token(&error) { told(error) } else { error })?;
        if !answer.status.is_success() {
            return Err(told(self.error(&Method::POST, &url, answer.refusal())));
        }
        self.upload(&url, &answer)
    }

    /// Gives up an upload that is not needed. Few accounts may, and registries forget uploads by themselves, so it does
    /// not matter what comes of it.
    pub async fn cancel_upload(&self, upload: Upload) {
        let cancel = async {
            let scope = self.scope(&Method::DELETE, None);
            let authorization = self.authorize(&upload.url, &scope, Need::Request).await.ok()?;
            let mut request = Request::new(Method::DELETE, upload.url);
            *request.headers_mut() = with_authorization(&HeaderMap::new(), authorization.as_ref());
            self.client.transport.send(request).await.ok()
        };
        let _ = tokio::time::timeout(CANCEL, cancel).await;
    }

    /// Asks the registry to take the blob from another of its repositories; or, where `from` is this repository,
    /// whether the blob is in it, opening an upload if not.
    pub async fn mount(&self, digest: &Digest, from: &Repository) -> Result<Started, Error> {
        let mut url = self.url("blobs/uploads/").await?;
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from.path());
        let mut scope = self.scope(&Method::POST, Some(from).filter(|from| **from != self.repository));
        let answer = self.call_within(&Call::new(Kind::BlobWrite, Method::POST, url.clone()), &mut scope).await?;
        match answer.status {
            StatusCode::CREATED => Ok(Started::Mounted),
            status if status.is_success() && leads_to_blob(&answer, digest) => Ok(Started::Mounted),
            status if status.is_success() => Ok(Started::Upload(self.upload(&url, &answer)?)),
            _ => Err(self.error(&Method::POST, &url, answer.refusal())),
        }
    }

    /// Where the bytes go, by the `Location` of `answer`: relative or absolute, with a query that must survive.
    fn upload(&self, url: &Url, answer: &Answer) -> Result<Upload, Error> {
        let at_least = answer.header("oci-chunk-min-length").and_then(|text| text.trim().parse().ok());
        location(answer)
            .map(|url| Upload { url, chunk_at_least: at_least.unwrap_or_default() })
            .map_err(|reason| self.error(&Method::POST, url, ErrorKind::Malformed { reason }))
    }

    /// Where an upload goes on after some of its bytes came in. Its state may be in the address, so the old one may be
    /// refused; but not every registry names a new one.
    fn go_on(&self, upload: Upload, answer: &Answer) -> Result<Upload, Error> {
        if !answer.headers.contains_key(LOCATION) {
            return Ok(upload);
        }
        let place = location(answer);
        let url = place.map_err(|reason| self.error(&Method::PATCH, &upload.url, ErrorKind::Malformed { reason }))?;
        Ok(Upload { url, ..upload })
    }
}

/// Whether the answer to a mount leads to the blob itself, and not to an upload: with whatever number, it is there.
fn leads_to_blob(answer: &Answer, digest: &Digest) -> bool {
    let Some(text) = answer.header(LOCATION.as_str()) else { return false };
    let path = text.split(['?', '#']).next().unwrap_or_default().trim().replace("%3A", ":").replace("%3a", ":");
    path.ends_with(&format!("/blobs/{digest}"))
}

pub(super) fn location(answer: &Answer) -> Result<Url, String> {
    let text = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let url = text
        .and_then(|text| answer.url.join(&with_scheme(text, &answer.url)).ok())
        .ok_or_else(|| "where the upload goes on is no usable Location".to_owned())?;
    let url = over_tls(&answer.url, url);
    reach::check(&answer.url, &url).map_err(|reason| format!("its upload is to go {reason}"))?;
    Ok(url)
}

/// How many bytes an upload has, by the answer to the question. `Range: 0-0` is nothing, or one byte, which no chunk is.
pub(super) fn received(answer: &Answer) -> Option<u64> {
    let range = answer.header(RANGE.as_str())?;
    let last: u64 = range.trim().trim_start_matches("bytes=").strip_prefix("0-")?.parse().ok()?;
    if last == 0 { Some(0) } else { last.checked_add(1) }
}

/// Some name the host without a scheme, which would be taken for a folder.
fn with_scheme<'a>(text: &'a str, answered: &Url) -> Cow<'a, str> {
    match text.strip_prefix(authority(answered)).is_some_and(|rest| rest.starts_with('/')) {
        true => format!("{}://{text}", answered.scheme()).into(),
        false => text.into(),
    }
}

impl Upload {
    pub(super) fn commit_url(mut self, digest: &Digest) -> Url {
        self.url.query_pairs_mut().append_pair("digest", &digest.to_string());
        self.url
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use futures_util::stream;
    use reqwest::header::HeaderValue;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::registry::{Clients, Keyring};

    fn upload_url(answered: &str, text: &str) -> Result<String, String> {
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(text).unwrap())]);
        let url = answered.parse().unwrap();
        let answer =
            Answer { status: StatusCode::ACCEPTED, headers, url, body: Bytes::new(), sent: Default::default() };
        location(&answer).map(|url| Upload { url, chunk_at_least: 0 }.commit_url(&Digest::of(b"")).to_string())
    }

    #[test]
    fn a_location_is_taken_as_it_is_given() {
        let digest = "digest=sha256%3Ae3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let registry = "https://r.example.com/v2/a/blobs/uploads/";
        for (text, expected) in [
            ("/v2/a/blobs/uploads/1", format!("https://r.example.com/v2/a/blobs/uploads/1?{digest}")),
            ("1?_state=a%2Bb%3D", format!("https://r.example.com/v2/a/blobs/uploads/1?_state=a%2Bb%3D&{digest}")),
            ("https://cdn.example.com/x?y", format!("https://cdn.example.com/x?y&{digest}")),
            ("r.example.com/v2/u", format!("https://r.example.com/v2/u?{digest}")),
            ("http://r.example.com/v2/u", format!("https://r.example.com/v2/u?{digest}")),
        ] {
            assert_eq!(upload_url(registry, text).unwrap(), expected);
        }
        assert!(upload_url(registry, "http://cdn.example.com/x").is_err());
        assert!(upload_url(registry, "ftp://r.example.com/x").is_err());
        assert!(upload_url(registry, "https://localhost:5000/x").is_err());
        assert!(upload_url(registry, "https://169.254.169.254/x").is_err());
        assert!(upload_url("http://r.example.com/v2/", "http://other.example.com/x").is_ok());
    }

    #[test]
    fn how_much_an_upload_has_is_what_can_be_counted() {
        let received = |range: &str| {
            let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_str(range).unwrap())]);
            let url = "https://r.example.com/v2/".parse().unwrap();
            received(&Answer {
                status: StatusCode::NO_CONTENT,
                headers,
                url,
                body: Bytes::new(),
                sent: Default::default(),
            })
        };
        for (range, bytes) in [("0-1048575", Some(1 << 20)), ("bytes=0-9", Some(10)), ("0-0", Some(0)), ("5-9", None)] {
            assert_eq!(received(range), bytes, "{range}");
        }
        assert_eq!(received("0-18446744073709551615"), None, "one more is no number");
    }

    /// Answers each request by its head alone, an upload with a refusal; and reads on, as proxies do for a while.
    async fn refuse(mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) if byte != 0x16 => head.push(byte),
                // TLS, which is not spoken here.
                _ => break,
            }
        }
        let is_upload = head.starts_with(b"PUT ");
        let status = if is_upload { "500 Oh" } else { "200 OK\r\nconnection: close" };
        stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
        if is_upload {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_refused_before_its_end_is_sent_no_further() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(refuse(stream));
            }
        });
        let clients = Clients::new(Arc::new(Keyring::default()), 1).unwrap();
        let client = clients.writer(&format!("{address}/a").parse().unwrap());
        let url = format!("http://{address}/v2/a/blobs/uploads/1").parse().unwrap();
        let is_read = Arc::new(());
        let reader = is_read.clone();
        let content = Box::pin(stream::repeat_with(move || {
            let _reader = &reader;
            Ok(Bytes::from_static(&[0; 1024]))
        }));
        let upload = Upload { url, chunk_at_least: 0 };
        let error = client.stream_upload(upload, &Digest::of(b""), 1 << 40, content).await.unwrap_err();
        assert_eq!(error.status(), Some(StatusCode::INTERNAL_SERVER_ERROR));
        let dropped = async {
            while Arc::strong_count(&is_read) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), dropped).await.expect("the source is read no more");
    }
}
