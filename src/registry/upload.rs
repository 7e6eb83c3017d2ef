//! Uploads of blobs, and mounts in place of them (distribution-spec "Pushing Blobs", "Mounting Blobs").
//!
//! A blob is sent in one PUT, which is what costs the fewest requests and what most registries take.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::Stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Body, Method, Request, StatusCode};
use url::Url;

use super::RepositoryClient;
use super::auth::Verdict;
use super::blob::STALL;
use super::error::{Error, ErrorKind};
use super::exchange::{Call, Kind, with_authorization};
use super::http::{Answer, SHORT};
use super::token::Need;
use crate::digest::Digest;
use crate::reference::Repository;

/// Longest wait for the answer after the last byte: the registry may read the whole blob once more.
const COMMIT: Duration = Duration::from_secs(600);

/// An upload that a registry has opened: where its bytes go.
#[derive(Debug)]
pub struct Upload {
    url: Url,
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
        let answer = self.call(&Call::new(Kind::BlobWrite, Method::POST, url.clone())).await?;
        if !answer.status.is_success() {
            return Err(self.error(&Method::POST, &url, answer.refusal()));
        }
        self.upload(&url, &answer)
    }

    /// Asks the registry to take the blob from another of its repositories; or, where `from` is this repository,
    /// whether the blob is in it, opening an upload if not.
    pub async fn mount(&self, digest: &Digest, from: &Repository) -> Result<Started, Error> {
        let mut url = self.url("blobs/uploads/").await?;
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from.path());
        let scope = self.scope(&Method::POST, Some(from).filter(|from| **from != self.repository));
        let answer = self.call_within(&Call::new(Kind::BlobWrite, Method::POST, url.clone()), &scope).await?;
        match answer.status {
            StatusCode::CREATED => Ok(Started::Mounted),
            status if status.is_success() => Ok(Started::Upload(self.upload(&url, &answer)?)),
            _ => Err(self.error(&Method::POST, &url, answer.refusal())),
        }
    }

    /// Sends a small blob. Not repeated: after a failure the upload is gone.
    pub async fn finish_upload(&self, upload: Upload, digest: &Digest, content: Bytes) -> Result<(), Error> {
        let url = upload.commit_url(digest);
        let call = Call {
            body: Some(content),
            repeat: false,
            ..Call::new(Kind::BlobWrite, Method::PUT, url.clone()).header(CONTENT_TYPE, OCTETS)
        };
        let answer = self.call(&call).await?;
        self.check_committed(&url, digest, &answer)
    }

    /// Sends the `size` bytes of `content` as they come. If `content` fails, so does the upload, uncommitted.
    pub async fn stream_upload<S>(&self, upload: Upload, digest: &Digest, size: u64, content: S) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, Error>> + Send + 'static,
    {
        let url = upload.commit_url(digest);
        let scope = self.scope(&Method::PUT, None);
        let turn = (Kind::BlobWrite, Method::PUT);
        let base = self.client.base().await?;
        let authorization = self.authorize(&url, &scope, Need::Upload).await?;
        self.wait_turn(&turn, &url).await?;
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, OCTETS), (CONTENT_LENGTH, HeaderValue::from(size))]);
        let mut request = Request::new(Method::PUT, url.clone());
        *request.headers_mut() = with_authorization(&headers, authorization.as_ref());
        let (content, progress) = watch(content, size);
        *request.body_mut() = Some(Body::wrap_stream(content));

        let begun = tokio::time::Instant::now();
        let sending = async { Answer::read(self.client.transport.send(request).await?, SHORT).await };
        let answer = tokio::select! {
            answer = sending => answer,
            after = progress.stalled() => Err(ErrorKind::TimedOut { after }),
        };
        self.heed(&turn, begun, None, answer.as_ref());
        let answer = answer.map_err(|kind| self.error(&Method::PUT, &url, kind))?;
        if answer.is_challenge_of(base)
            && let Verdict::Again = self.client.auth.refused(&scope, authorization.as_ref(), &answer)
        {
            return Err(self.error(&Method::PUT, &url, ErrorKind::TokenExpired));
        }
        self.check_committed(&url, digest, &answer).map_err(|error| self.judged(&turn, error))
    }

    fn check_committed(&self, url: &Url, digest: &Digest, answer: &Answer) -> Result<(), Error> {
        let kind = match answer.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok()) {
            _ if !answer.status.is_success() => answer.refusal(),
            Some(found) if found != *digest => ErrorKind::WrongDigest { expected: digest.clone(), found },
            _ => return Ok(()),
        };
        Err(self.error(&Method::PUT, url, kind))
    }

    /// Where the bytes go, by the `Location` of `answer`: relative or absolute, with a query that must survive.
    fn upload(&self, url: &Url, answer: &Answer) -> Result<Upload, Error> {
        location(answer)
            .map(|url| Upload { url })
            .map_err(|reason| self.error(&Method::POST, url, ErrorKind::Malformed { reason }))
    }
}

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

fn location(answer: &Answer) -> Result<Url, String> {
    let text = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let mut url = text
        .and_then(|text| answer.url.join(text).ok())
        .ok_or_else(|| "an upload was started without a usable Location".to_owned())?;
    if answer.url.scheme() == "https" && url.scheme() == "http" {
        // A proxy that ends TLS lets the registry behind it believe in http.
        if url.host() != answer.url.host() || url.set_scheme("https").is_err() {
            return Err(format!("its upload is to go over plain http to {}", url.host_str().unwrap_or_default()));
        }
    }
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!("its upload is to go to a {scheme} address")),
    }
}

impl Upload {
    fn commit_url(mut self, digest: &Digest) -> Url {
        self.url.query_pairs_mut().append_pair("digest", &digest.to_string());
        self.url
    }
}

/// What the body of an upload is doing.
#[derive(Debug, Clone, Copy)]
enum State {
    /// The source owes the next bytes; its reader has a time limit of its own.
    Waiting,
    /// The registry has yet to take what it was given, since then.
    Handed(Instant),
    /// All was given, since then.
    Ended(Instant),
}

struct Progress(Arc<Mutex<State>>);

impl Progress {
    /// Ends when the registry has taken nothing for too long. A time limit on the whole would end healthy uploads.
    async fn stalled(&self) -> Duration {
        loop {
            let state = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let (since, limit) = match state {
                State::Waiting => (Instant::now(), STALL),
                State::Handed(since) => (since, STALL),
                State::Ended(since) => (since, COMMIT),
            };
            if since.elapsed() >= limit {
                return limit;
            }
            tokio::time::sleep_until((since + limit).into()).await;
        }
    }
}

fn watch<S>(content: S, size: u64) -> (Watched<S>, Progress) {
    let state = Arc::new(Mutex::new(State::Handed(Instant::now())));
    (Watched { content: Box::pin(content), left: size, state: state.clone() }, Progress(state))
}

/// A body that notes who is being waited for.
struct Watched<S> {
    content: Pin<Box<S>>,
    /// Bytes still to come. The end is counted, since nobody asks for more once the declared length is reached.
    left: u64,
    state: Arc<Mutex<State>>,
}

impl<S: Stream<Item = Result<Bytes, Error>>> Stream for Watched<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let next = self.content.as_mut().poll_next(context);
        if let Poll::Ready(Some(Ok(bytes))) = &next {
            self.left = self.left.saturating_sub(bytes.len() as u64);
        }
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = match &next {
            Poll::Pending => State::Waiting,
            Poll::Ready(Some(_)) if self.left > 0 => State::Handed(Instant::now()),
            Poll::Ready(_) => State::Ended(Instant::now()),
        };
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload_url(answered: &str, text: &str) -> Result<String, String> {
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(text).unwrap())]);
        let url = answered.parse().unwrap();
        let answer = Answer { status: StatusCode::ACCEPTED, headers, url, body: Bytes::new() };
        location(&answer).map(|url| Upload { url }.commit_url(&Digest::of(b"")).to_string())
    }

    #[test]
    fn a_location_is_taken_as_it_is_given() {
        let digest = "digest=sha256%3Ae3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let registry = "https://r.example.com/v2/a/blobs/uploads/";
        for (text, expected) in [
            ("/v2/a/blobs/uploads/1", format!("https://r.example.com/v2/a/blobs/uploads/1?{digest}")),
            ("1?_state=a%2Bb%3D", format!("https://r.example.com/v2/a/blobs/uploads/1?_state=a%2Bb%3D&{digest}")),
            ("https://cdn.example.com/x?y", format!("https://cdn.example.com/x?y&{digest}")),
            ("http://r.example.com/v2/u", format!("https://r.example.com/v2/u?{digest}")),
        ] {
            assert_eq!(upload_url(registry, text).unwrap(), expected);
        }
        assert!(upload_url(registry, "http://cdn.example.com/x").is_err());
        assert!(upload_url(registry, "ftp://r.example.com/x").is_err());
        assert!(upload_url("http://r.example.com/v2/", "http://other.example.com/x").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_side_that_is_waited_for_can_stall() {
        let progress = |state| Progress(Arc::new(Mutex::new(state)));
        let brief = Duration::from_millis(1);
        assert!(tokio::time::timeout(brief, progress(State::Waiting).stalled()).await.is_err());
        assert!(tokio::time::timeout(brief, progress(State::Handed(Instant::now())).stalled()).await.is_err());
        let long_ago = Instant::now().checked_sub(STALL).unwrap();
        assert_eq!(progress(State::Handed(long_ago)).stalled().await, STALL);
        assert!(tokio::time::timeout(brief, progress(State::Ended(long_ago)).stalled()).await.is_err());
    }

    #[tokio::test]
    async fn a_registry_has_more_time_once_it_has_all_bytes() {
        let chunks = [Ok(Bytes::from_static(b"abc")), Ok(Bytes::from_static(b"de"))];
        let (mut content, progress) = watch(futures_util::stream::iter(chunks), 5);
        let mut next = async || {
            std::future::poll_fn(|context| Pin::new(&mut content).poll_next(context)).await;
            *progress.0.lock().unwrap()
        };
        assert!(matches!(next().await, State::Handed(_)));
        assert!(matches!(next().await, State::Ended(_)), "nobody asks for more than the declared length");
    }
}
