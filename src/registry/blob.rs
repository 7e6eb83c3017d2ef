//! Blobs: whether they are there, and their bytes, whole or as a stream (distribution-spec "Pulling blobs").

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::RepositoryClient;
use super::error::{Error, ErrorKind, is_transient, unless_encoded};
use super::exchange::{Call, Kind, TIME_LIMIT, with_authorization};
use super::http::is_redirect;
use super::token::Need;
use crate::digest::Digest;
use crate::shared::lock;

/// A transfer in which no byte arrives for this long is broken.
pub(super) const STALL: Duration = Duration::from_secs(60);
/// So is one in which fewer bytes than these arrive in that time: a byte a minute is no transfer.
const TRICKLE: u64 = 4 << 10;

/// What a registry says that it has of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    Absent,
    Sized(u64),
    /// It is there, of whatever size.
    Unsized,
    /// It does not say.
    Untold,
}

impl RepositoryClient {
    /// Whether the repository holds the blob, and not something of another size in its place.
    pub async fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let found = match self.stored(digest).await? {
            // What is not known to be there is sent.
            Stored::Absent | Stored::Untold => return Ok(false),
            Stored::Unsized => return Ok(true),
            Stored::Sized(found) => found,
        };
        if found != size && lock(&self.client.damaged).insert(digest.clone()) {
            let repository = &self.repository;
            tracing::warn!(%repository, %digest, size, found, "the blob there has another size, and is not used");
        }
        Ok(found == size)
    }

    /// Sees to it, after a blob was sent, that it is there in place of what the registry had under its digest, if that was
    /// of another size. distribution takes what is sent, and keeps what it has.
    pub async fn check_replaced(&self, digest: &Digest, size: u64) -> Result<(), Error> {
        if !lock(&self.client.damaged).contains(digest) {
            return Ok(());
        }
        if self.has_blob(digest, size).await? {
            return Ok(());
        }
        // Some say a wrong size, and give what is right.
        match self.read_blob(digest, size, 0).await {
            Err(Error { kind: ErrorKind::WrongSize { found, .. }, .. }) => {
                let kind = ErrorKind::KeptDamaged { digest: digest.clone(), expected: size, found };
                Err(self.error(&Method::GET, &self.blob_url(digest).await?, kind))
            }
            _ => Ok(()),
        }
    }

    /// What the registry says that it has of a blob.
    pub async fn stored(&self, digest: &Digest) -> Result<Stored, Error> {
        let url = self.blob_url(digest).await?;
        let answer = self.call(&Call::new(Kind::BlobRead, Method::HEAD, url.clone())).await?;
        Ok(match answer.status {
            StatusCode::NOT_FOUND => Stored::Absent,
            StatusCode::FORBIDDEN if self.push => Stored::Untold,
            status if is_no_head(status) => Stored::Untold,
            StatusCode::OK if !answer.headers.contains_key(CONTENT_ENCODING) => {
                let length = answer.header(CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
                length.map_or(Stored::Unsized, Stored::Sized)
            }
            status if status.is_success() => Stored::Unsized,
            status if is_redirect(status) => self.behind_redirect(&url).await,
            _ => return Err(self.error(&Method::HEAD, &url, answer.refusal())),
        })
    }

    /// What a redirect says: that the blob is there, or nothing, since the registry redirects all requests to a login. It is
    /// the same for all blobs of a registry, so the first redirect is followed. A client that only reads finds out by
    /// reading.
    async fn behind_redirect(&self, url: &Url) -> Stored {
        if !self.push {
            return Stored::Unsized;
        }
        let look = || Box::pin(self.leads_to_blob(url));
        match self.client.redirects_to_blobs.get_or_try_init(look).await {
            Ok(true) => Stored::Unsized,
            Ok(false) => Stored::Untold,
            Err(of_this_one) => of_this_one,
        }
    }

    /// Follows the redirect of a blob for one byte. A failure is what is said of this blob alone: behind the next redirect
    /// it is looked again.
    async fn leads_to_blob(&self, url: &Url) -> Result<bool, Stored> {
        let unknown = |error: Error| {
            tracing::debug!(%error, "where a redirect leads is not known yet");
            // The registry's word stands.
            Stored::Unsized
        };
        let base = self.base().await.map_err(unknown)?;
        let authorization =
            self.authorize(url, &self.scope(&Method::GET, None), Need::Request).await.map_err(unknown)?;
        let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-0"))]);
        let headers = with_authorization(&headers, authorization.as_ref());
        let transport = self.client.transport.of_streams();
        let followed = self.follow(&transport, base, Method::GET, url, headers);
        // The storage cannot be reached from here, and a push does not need it: the registry's word stands.
        let Ok(Ok(response)) = tokio::time::timeout(TIME_LIMIT, followed).await else { return Ok(true) };
        if is_transient(response.status()) {
            let host = response.url().host_str().unwrap_or_default().to_owned();
            let kind = ErrorKind::RefusedElsewhere { host, status: response.status() };
            return Err(unknown(self.error(&Method::GET, url, kind)));
        }
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(Stored::Absent),
            _ if asks_for_a_login(&response) => {
                let registry = &self.client.registry;
                tracing::info!(%registry, "redirects lead to a login and not to blobs: all blobs are sent");
                Ok(false)
            }
            // A storage may refuse an account that may only push: the registry's word stands.
            _ => Ok(true),
        }
    }

    /// Reads a small blob whole and verifies it.
    pub async fn small_blob(&self, digest: &Digest, size: u64) -> Result<Bytes, Error> {
        let url = self.blob_url(digest).await?;
        if let Some(throttle) = &self.client.throttle {
            throttle.take(size).await;
        }
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
        Err(self.error(&Method::GET, &url, unless_encoded(&answer.headers, kind)))
    }

    /// Opens the blob of `size` bytes at `offset`. If the registry cannot start there and sends all, the start is passed
    /// over. If it says at once that it has more or fewer bytes, nothing is read.
    pub async fn read_blob(&self, digest: &Digest, size: u64, offset: u64) -> Result<BlobReader, Error> {
        let url = self.blob_url(digest).await?;
        let response = match offset {
            0 => self.open(&url, &HeaderMap::new()).await?,
            _ => self.open_rest(&url, size, offset).await?,
        };
        let start = start_of(&response).filter(|start| *start == offset || *start == 0);
        let Some(start) = start else { return Err(self.no_range(&url)) };
        let skip = offset - start;
        match response.content_length().map(|length| start.saturating_add(length)) {
            Some(found) if found != size => {
                let kind = ErrorKind::WrongSize { expected: size, found };
                Err(self.error(&Method::GET, &url, unless_encoded(response.headers(), kind)))
            }
            _ => Ok(BlobReader {
                repository: self.clone(),
                digest: digest.clone(),
                size,
                url,
                response,
                waiting: Bytes::new(),
                skip,
                wait: Wait::default(),
            }),
        }
    }

    /// Opens the rest of a blob; or all of it, where the answer to that is of no use.
    async fn open_rest(&self, url: &Url, size: u64, offset: u64) -> Result<Response, Error> {
        let range = HeaderValue::try_from(format!("bytes={offset}-")).map_err(|_| self.no_range(url))?;
        let is_rest =
            |response: &Response| response.content_length().is_none_or(|length| length == size.saturating_sub(offset));
        let is_of_use = |response: &Response| match start_of(response) {
            Some(0) => true,
            start => start == Some(offset) && is_rest(response),
        };
        match self.open(url, &HeaderMap::from_iter([(RANGE, range)])).await {
            Ok(response) if is_of_use(&response) => Ok(response),
            Err(error) if error.status() != Some(StatusCode::RANGE_NOT_SATISFIABLE) => Err(error),
            _ => self.open(url, &HeaderMap::new()).await,
        }
    }

    fn no_range(&self, url: &Url) -> Error {
        let reason = "it is not the part of the blob that was asked for".to_owned();
        self.error(&Method::GET, url, ErrorKind::Malformed { reason })
    }

    pub(super) async fn blob_url(&self, digest: &Digest) -> Result<Url, Error> {
        self.url(&format!("blobs/{digest}")).await
    }
}

/// Whether the answer to a request for one byte of a blob asks for a login: by its status, or as a page for people.
fn asks_for_a_login(response: &Response) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match response.status() {
        StatusCode::UNAUTHORIZED => true,
        StatusCode::PARTIAL_CONTENT => false,
        status => status.is_success() && media_type.starts_with("text/"),
    }
}

/// Whether an answer to a HEAD may say that there are none here: what is asked for is seen by other means.
pub(super) fn is_no_head(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
}

/// At which byte of a blob an answer begins.
fn start_of(response: &Response) -> Option<u64> {
    match response.status() {
        StatusCode::OK => Some(0),
        StatusCode::PARTIAL_CONTENT => start_of_part(response.headers()),
        _ => None,
    }
}

/// At which byte a part begins, by `Content-Range: bytes 7-9/10`; some write the unit in their own way.
pub(super) fn start_of_part(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim();
    let (unit, range) = range.split_once([' ', '='])?;
    let (start, _) = range.split_once('-')?;
    unit.eq_ignore_ascii_case("bytes").then(|| start.trim().parse().ok())?
}

/// The bytes of a blob as they arrive. Neither counted nor verified here.
pub struct BlobReader {
    repository: RepositoryClient,
    digest: Digest,
    size: u64,
    url: Url,
    response: Response,
    /// Has arrived, and was not given yet.
    waiting: Bytes,
    skip: u64,
    wait: Wait,
}

/// How long the reader has waited since the last bytes that were more than a trickle. Time in which nobody asks for bytes,
/// because the destination takes none, is not counted.
#[derive(Default)]
pub(super) struct Wait {
    waited: Duration,
    arrived: u64,
}

impl Wait {
    /// The next bytes of an answer; `None` at its end.
    pub async fn chunk(&mut self, response: &mut Response) -> Result<Option<Bytes>, ErrorKind> {
        let begun = Instant::now();
        let chunk = tokio::time::timeout(self.left(), response.chunk())
            .await
            .map_err(|_| ErrorKind::TimedOut { after: STALL })??;
        self.ended(begun.elapsed(), chunk.as_ref().map_or(0, Bytes::len));
        Ok(chunk)
    }

    /// How much longer the next bytes may take.
    fn left(&self) -> Duration {
        STALL.saturating_sub(self.waited)
    }

    fn ended(&mut self, after: Duration, bytes: usize) {
        self.waited += after;
        self.arrived += bytes as u64;
        if self.arrived >= TRICKLE {
            *self = Self::default();
        }
    }
}

impl BlobReader {
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The bytes of the whole blob.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Opens the same blob anew, at `offset`.
    pub async fn reopen(&mut self, offset: u64) -> Result<(), Error> {
        *self = self.repository.read_blob(&self.digest, self.size, offset).await?;
        Ok(())
    }

    /// The next bytes; `None` at the end of the answer.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(mut bytes) = self.arrived().await? else { return Ok(None) };
            let skipped = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= skipped as u64;
            let wanted = bytes.split_off(skipped);
            if !wanted.is_empty() {
                return Ok(Some(wanted));
            }
        }
    }

    /// What has arrived, as fast as the run may go.
    async fn arrived(&mut self) -> Result<Option<Bytes>, Error> {
        if self.waiting.is_empty() {
            let chunk = self.wait.chunk(&mut self.response).await;
            let Some(chunk) = chunk.map_err(|kind| self.error(kind))? else { return Ok(None) };
            self.waiting = chunk;
        }
        let Some(throttle) = &self.repository.client.throttle else {
            return Ok(Some(std::mem::take(&mut self.waiting)));
        };
        let piece = self.waiting.split_to(self.waiting.len().min(throttle.piece()));
        // No stall of the registry's: its time limit is over the arrival alone.
        throttle.take(piece.len() as u64).await;
        Ok(Some(piece))
    }

    /// An error at this place: for what the reader's user finds wrong with the bytes.
    pub fn error(&self, kind: ErrorKind) -> Error {
        let kind = match kind {
            ErrorKind::WrongDigest { .. } | ErrorKind::WrongSize { .. } => {
                unless_encoded(self.response.headers(), kind)
            }
            other => other,
        };
        self.repository.error(&Method::GET, &self.url, kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_begins_where_it_says_so() {
        let start = |range: &'static str| {
            start_of_part(&HeaderMap::from_iter([(CONTENT_RANGE, HeaderValue::from_static(range))]))
        };
        for range in ["bytes 7-9/10", " bytes 7-9/*", "Bytes 7-9/10", "bytes=7-9/10"] {
            assert_eq!(start(range), Some(7), "{range}");
        }
        assert_eq!((start("bytes 70-99/100"), start("bytes 0-9/10")), (Some(70), Some(0)));
        for range in ["7-9", "lines 7-9/10", "bytes */10", "bytes -7/10"] {
            assert_eq!(start(range), None, "{range}");
        }
        assert_eq!(start_of_part(&HeaderMap::new()), None, "what does not say so may be anything");
    }

    #[test]
    fn a_trickle_is_waited_for_no_longer_than_nothing() {
        let mut wait = Wait::default();
        for _ in 0..3 {
            wait.ended(STALL / 4, 1);
        }
        assert_eq!(wait.left(), STALL / 4);
        wait.ended(STALL, 1);
        assert_eq!(wait.left(), Duration::ZERO);

        wait.ended(Duration::ZERO, TRICKLE as usize);
        assert_eq!(wait.left(), STALL, "what flows may take its time");
    }
}
