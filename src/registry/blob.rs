//! Blobs: whether they are there, and their bytes, whole or as a stream (distribution-spec "Pulling blobs").

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::RepositoryClient;
use super::error::{Error, ErrorKind};
use super::exchange::{Call, Kind};
use super::http::is_redirect;
use crate::digest::Digest;

/// A transfer in which no byte arrives for this long is broken.
pub(super) const STALL: Duration = Duration::from_secs(60);

impl RepositoryClient {
    /// Whether the repository holds the blob.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.blob_info(digest).await?.is_some())
    }

    /// What a HEAD tells of the blob, if the repository holds it.
    pub async fn blob_info(&self, digest: &Digest) -> Result<Option<BlobInfo>, Error> {
        let url = self.blob_url(digest).await?;
        let answer = self.call(&Call::new(Kind::BlobRead, Method::HEAD, url.clone())).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            // Not known, which means that it is sent.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::FORBIDDEN if self.push => Ok(None),
            // The length of a redirect is not that of the blob.
            status if is_redirect(status) => Ok(Some(BlobInfo { size: None })),
            status if status.is_success() => {
                let size = answer.header("content-length").and_then(|length| length.parse().ok());
                Ok(Some(BlobInfo { size }))
            }
            _ => Err(self.error(&Method::HEAD, &url, answer.refusal())),
        }
    }

    /// Reads a small blob whole and verifies it.
    pub async fn small_blob(&self, digest: &Digest, size: u64) -> Result<Bytes, Error> {
        let url = self.blob_url(digest).await?;
        let limit = usize::try_from(size).unwrap_or(usize::MAX);
        let call = Call { limit, ..Call::new(Kind::BlobRead, Method::GET, url.clone()) };
        let answer = self.call(&call).await?;
        if answer.status != StatusCode::OK {
            return Err(self.error(&Method::GET, &url, answer.refusal()));
        }
        let found = digest.same_algorithm_of(&answer.body);
        let kind = if answer.body.len() as u64 != size {
            ErrorKind::WrongSize { expected: size, found: answer.body.len() as u64 }
        } else if found != *digest {
            ErrorKind::WrongDigest { expected: digest.clone(), found }
        } else {
            return Ok(answer.body);
        };
        Err(self.error(&Method::GET, &url, kind))
    }

    /// Opens the blob of `size` bytes at `offset`. A registry that cannot start there sends all, of which the start is
    /// passed over. One that says at once that it has more or fewer bytes is not read.
    pub async fn read_blob(&self, digest: &Digest, size: u64, offset: u64) -> Result<BlobReader, Error> {
        let url = self.blob_url(digest).await?;
        let mut headers = HeaderMap::new();
        if offset > 0 {
            headers.insert(RANGE, HeaderValue::try_from(format!("bytes={offset}-")).map_err(|_| self.no_range(&url))?);
        }
        let response = self.open(&url, &headers).await?;
        let skip = match response.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(&response, offset) => 0,
            StatusCode::OK => offset,
            _ => return Err(self.no_range(&url)),
        };
        let start = offset - skip;
        match response.content_length() {
            Some(length) if start + length != size => {
                Err(self.error(&Method::GET, &url, ErrorKind::WrongSize { expected: size, found: start + length }))
            }
            _ => Ok(BlobReader { repository: self.clone(), url, response, skip }),
        }
    }

    fn no_range(&self, url: &Url) -> Error {
        let reason = "it is not the part of the blob that was asked for".to_owned();
        self.error(&Method::GET, url, ErrorKind::Malformed { reason })
    }

    async fn blob_url(&self, digest: &Digest) -> Result<Url, Error> {
        self.url(&format!("blobs/{digest}")).await
    }
}

fn starts_at(response: &Response, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.trim().starts_with(&format!("bytes {offset}-")))
}

/// What is known of a blob without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobInfo {
    /// Bytes, if the registry said it.
    pub size: Option<u64>,
}

/// The bytes of a blob as they arrive. Neither counted nor verified here.
pub struct BlobReader {
    repository: RepositoryClient,
    url: Url,
    response: Response,
    skip: u64,
}

impl BlobReader {
    /// The next bytes; `None` at the end of the answer.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let chunk = tokio::time::timeout(STALL, self.response.chunk())
                .await
                .map_err(|_| ErrorKind::TimedOut { after: STALL })
                .and_then(|chunk| Ok(chunk?))
                .map_err(|kind| self.error(kind))?;
            match chunk {
                Some(mut bytes) if self.skip > 0 => {
                    let skipped = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                    self.skip -= skipped as u64;
                    let rest = bytes.split_off(skipped);
                    if !rest.is_empty() {
                        return Ok(Some(rest));
                    }
                }
                chunk => return Ok(chunk),
            }
        }
    }

    /// An error at this place: for what the reader's user finds wrong with the bytes.
    pub fn error(&self, kind: ErrorKind) -> Error {
        self.repository.error(&Method::GET, &self.url, kind)
    }
}
