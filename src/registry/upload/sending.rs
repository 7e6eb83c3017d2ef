//! The bytes of a blob on their way into an upload: whole, as one stream, or in chunks (distribution-spec "Pushing blobs").
//!
//! Whichever way it is, the content fails before its last byte if it is not what its digest says, so that nothing wrong
//! is ever committed.

mod committed;

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Body, Method, Request, StatusCode};
use tokio::time::Instant;
use url::Url;

use self::committed::ALL_LOOKS;
use super::body::{Content, Progress, pieces, watch};
use super::modes::{LARGEST_CHUNK, Mode, Modes};
use super::refusals::{Complaint, complaint, is_of_way};
use super::{Upload, received};
use crate::digest::Digest;
use crate::registry::RepositoryClient;
use crate::registry::error::{Error, ErrorKind, tells_of_room};
use crate::registry::exchange::{Call, Kind, RENEWALS, trace, with_authorization};
use crate::registry::http::{Answer, SHORT};
use crate::registry::pace::Turn;
use crate::registry::token::Need;
use crate::registry::tries::{TRIES, backoff};

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl RepositoryClient {
    /// Sends a small blob. Not repeated: after a failure the upload is gone.
    pub async fn finish_upload(&self, upload: Upload, digest: &Digest, content: Bytes) -> Result<(), Error> {
        let size = content.len() as u64;
        if self.client.modes.mode(size) != Some(Mode::Whole) {
            return self.stream_upload(upload, digest, size, pieces(content)).await;
        }
        let sending = Sending { to: self, digest, size };
        let url = upload.commit_url(digest);
        let call = Call {
            body: Some(content),
            repeat: false,
            ..Call::new(Kind::BlobWrite, Method::PUT, url.clone()).header(CONTENT_TYPE, OCTETS)
        };
        let result = match self.call(&call).await {
            Ok(answer) => sending.judge_whole(&url, &answer),
            Err(error) => {
                match error.status().filter(|_| is_of_way(error.facts()) && self.client.modes.takes_none_whole()) {
                    Some(status) => Err(Error { kind: ErrorKind::Portion { status }, ..error }),
                    None => Err(error),
                }
            }
        };
        sending.unless_committed(1, result).await
    }

    /// Sends the `size` bytes of `content` as they come. If `content` fails, so does the upload, uncommitted.
    pub async fn stream_upload(
        &self,
        upload: Upload,
        digest: &Digest,
        size: u64,
        content: BoxStream<'static, Result<Bytes, Error>>,
    ) -> Result<(), Error> {
        let sending = Sending { to: self, digest, size };
        match self.client.modes.mode(size) {
            Some(Mode::Whole) => sending.whole(upload, content).await,
            Some(Mode::Streamed) => sending.streamed(upload, content).await,
            // Boxed like all that is rare: every blob's flight carries the room for what it may have to do.
            Some(Mode::Chunks) => Box::pin(sending.chunked(upload, content)).await,
            None => {
                let reason = "it takes no blob of this size, neither whole nor in parts: see what limits the size of \
                              requests there, such as a proxy before it";
                Err(self.error(&Method::PUT, &upload.url, ErrorKind::Unsupported { reason: reason.to_owned() }))
            }
        }
    }

    /// Sends one chunk. After a failure it is asked what of it came in, and sent again if that was nothing.
    async fn send_chunk(&self, upload: &mut Upload, offset: u64, bytes: Bytes) -> Result<Answer, Error> {
        let end = offset + bytes.len() as u64;
        let mut pauses = backoff(TRIES);
        let mut renewals = 0;
        loop {
            let range = self.range(&upload.url, offset, end)?;
            let length = HeaderValue::from(bytes.len());
            let headers =
                HeaderMap::from_iter([(CONTENT_TYPE, OCTETS), (CONTENT_LENGTH, length), (CONTENT_RANGE, range)]);
            let (body, progress) = in_memory(&bytes);
            let error = match self.part(Method::PATCH, &upload.url, &headers, body, &progress).await {
                Ok(answer) if answer.status.is_success() => {
                    *upload = self.go_on(upload.clone(), &answer)?;
                    return Ok(answer);
                }
                Ok(answer) => match answer.refusal() {
                    kind if kind.is_transient() => self.error(&Method::PATCH, &upload.url, kind),
                    _ => return Ok(answer),
                },
                Err(error) if is_expiry(&error) && renewals < RENEWALS => {
                    renewals += 1;
                    continue;
                }
                Err(error) => error,
            };
            self.pause(&(Kind::BlobWrite, Method::PATCH), &upload.url, &error, &mut pauses).await?;
            let (answer, reached) = self.status(upload).await.ok_or_else(|| error.clone())?;
            *upload = self.go_on(upload.clone(), &answer)?;
            match reached {
                reached if reached == end => return Ok(answer),
                reached if reached == offset => {}
                // Not every registry counts in the same way: then it is safer to begin anew.
                _ => return Err(error),
            }
        }
    }

    /// Where in the blob the bytes from `start` to before `end` are.
    fn range(&self, url: &Url, start: u64, end: u64) -> Result<HeaderValue, Error> {
        HeaderValue::try_from(format!("{start}-{}", end - 1))
            .map_err(|error| self.error(&Method::PATCH, url, ErrorKind::Malformed { reason: error.to_string() }))
    }

    /// How many bytes an upload has, where the registry tells.
    async fn status(&self, upload: &Upload) -> Option<(Answer, u64)> {
        let answer = self.call(&Call::new(Kind::BlobWrite, Method::GET, upload.url.clone())).await.ok()?;
        let reached = received(&answer).filter(|_| answer.status.is_success())?;
        Some((answer, reached))
    }

    /// Waits before a part is sent again, for as long as the registry asks for; or says that it is not worth it.
    async fn pause(
        &self,
        turn: &Turn,
        url: &Url,
        error: &Error,
        pauses: &mut impl Iterator<Item = Duration>,
    ) -> Result<(), Error> {
        let error = self.judged(turn, error.clone());
        let Some(pause) = pauses.next().filter(|_| error.is_worth_repeating() && self.patience.spend()) else {
            return Err(error);
        };
        if error.is_overload() && !self.client.transport.end().is_cancelled() {
            // There is a hold on all requests of this kind, which has been told.
            return self.wait_turn(turn, url).await;
        }
        if self.wait_to_try(turn, &error, pause).await { Ok(()) } else { Err(error) }
    }

    /// Sends one request of an upload as it is, once. Any answer is given but one that a new token would change.
    async fn part(
        &self,
        method: Method,
        url: &Url,
        headers: &HeaderMap,
        body: Option<Body>,
        progress: &Progress,
    ) -> Result<Answer, Error> {
        let scope = self.scope(&method, None);
        let turn = (Kind::BlobWrite, method.clone());
        let base = self.base().await?;
        self.wait_turn(&turn, url).await?;
        let authorization = self.authorize(url, &scope, Need::Upload).await?;
        let ends = self.client.auth.end_of(&scope, authorization.as_ref());
        let mut request = Request::new(method.clone(), url.clone());
        *request.headers_mut() = with_authorization(headers, authorization.as_ref());
        *request.body_mut() = body;
        progress.begin();
        let begun = Instant::now();
        let sending = async { Answer::read(self.client.transport.send(request).await?, SHORT).await };
        let answer = tokio::select! {
            answer = sending => answer,
            after = progress.stalled() => Err(ErrorKind::TimedOut { after }),
        };
        progress.close();
        trace(&method, url, begun, answer.as_ref().map(|answer| answer.status));
        self.heed(&turn, url, begun, None, answer.as_ref());
        let answer = answer.map_err(|kind| self.error(&method, url, kind))?;
        if answer.is_challenge_of(base) && self.client.auth.renews(&scope, authorization.as_ref(), &answer) {
            let in_transit = ends.is_some_and(|end| end <= std::time::Instant::now());
            return Err(self.error(&method, url, ErrorKind::TokenExpired { in_transit }));
        }
        Ok(answer)
    }

    fn other_portions(&self, method: &Method, url: &Url, answer: &Answer) -> Error {
        self.error(method, url, ErrorKind::Portion { status: answer.status })
    }
}

/// A blob on its way into a repository.
struct Sending<'a> {
    to: &'a RepositoryClient,
    digest: &'a Digest,
    size: u64,
}

impl Sending<'_> {
    async fn whole(&self, upload: Upload, content: Content) -> Result<(), Error> {
        let url = upload.commit_url(self.digest);
        let (content, progress) = watch(content, self.size);
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, OCTETS), (CONTENT_LENGTH, HeaderValue::from(self.size))]);
        let sent = self.to.part(Method::PUT, &url, &headers, Some(Body::wrap_stream(content)), &progress).await;
        let result = sent.map_err(|error| self.judge_expiry(error)).and_then(|answer| self.judge_whole(&url, &answer));
        let (looks, result) = match result {
            result if progress.has_ended() => (ALL_LOOKS, result),
            // It may say so if it has the blob already.
            Ok(()) => {
                let reason = "it said that it has the blob before it was sent all of it".to_owned();
                (ALL_LOOKS, Err(self.to.error(&Method::PUT, &url, ErrorKind::Broken { reason })))
            }
            result => (0, result),
        };
        self.unless_committed(looks, result).await
    }

    /// What an answer to a whole blob comes to.
    fn judge_whole(&self, url: &Url, answer: &Answer) -> Result<(), Error> {
        if complaint(answer.status, &answer.refusal().to_string()) == Some(Complaint::TooLarge) {
            self.to.client.modes.refused_whole(self.size);
            return Err(self.to.other_portions(&Method::PUT, url, answer));
        }
        if !answer.status.is_success() && is_of_way(&answer.refusal()) && self.to.client.modes.takes_none_whole() {
            return Err(self.to.other_portions(&Method::PUT, url, answer));
        }
        self.check_committed(url, answer)?;
        self.to.client.modes.took(self.size);
        Ok(())
    }

    /// What stands before a registry may pass a blob on when it has all of it. Where the token has ended by then, it would
    /// end each time: only chunks are faster.
    fn judge_expiry(&self, error: Error) -> Error {
        match error.kind {
            ErrorKind::TokenExpired { in_transit: true } if self.to.client.modes.takes_too_long(self.size) => {
                Error { kind: ErrorKind::Portion { status: StatusCode::UNAUTHORIZED }, ..error }
            }
            _ => error,
        }
    }

    async fn streamed(&self, upload: Upload, content: Content) -> Result<(), Error> {
        let (content, progress) = watch(content, self.size);
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, OCTETS)]);
        let body = Some(Body::wrap_stream(content));
        let sent = self.to.part(Method::PATCH, &upload.url, &headers, body, &progress).await;
        let answer = sent.map_err(|error| self.judge_expiry(error))?;
        if is_of_patch(&answer) {
            self.to.client.modes.refused_stream();
            return Err(self.to.other_portions(&Method::PATCH, &upload.url, &answer));
        }
        if !answer.status.is_success() {
            let error = self.to.error(&Method::PATCH, &upload.url, answer.refusal());
            return Err(self.to.judged(&(Kind::BlobWrite, Method::PATCH), error));
        }
        let upload = self.to.go_on(upload, &answer)?;
        self.commit(upload, Bytes::new()).await?;
        self.check_stored(Modes::refused_stream).await
    }

    async fn chunked(&self, mut upload: Upload, content: Content) -> Result<(), Error> {
        let Self { to, size, .. } = *self;
        let modes = &to.client.modes;
        if upload.chunk_at_least > LARGEST_CHUNK {
            let reason = format!("it wants chunks of {} bytes, which is more than is held", upload.chunk_at_least);
            return Err(to.error(&Method::PATCH, &upload.url, ErrorKind::Unsupported { reason }));
        }
        let mut content = Parts { content, rest: Bytes::new() };
        let mut part = Bytes::new();
        let (mut sent, mut smallest) = (0, u64::MAX);
        while sent < size {
            let length = modes.chunk(upload.chunk_at_least).min(size - sent);
            content.fill(&mut part, length as usize).await?;
            if (part.len() as u64) < length {
                let found = sent + part.len() as u64;
                return Err(to.error(&Method::PATCH, &upload.url, ErrorKind::WrongSize { expected: size, found }));
            }
            let answer = to.send_chunk(&mut upload, sent, part.slice(..length as usize)).await?;
            if answer.status.is_success() {
                to.patience.refill();
                modes.took(length);
                part.advance(length as usize);
                sent += length;
                if sent < size {
                    smallest = smallest.min(length);
                }
                continue;
            }
            // The upload itself is as it was: the same bytes are sent in another portion.
            let complaint = complaint(answer.status, &answer.refusal().to_string());
            if complaint == Some(Complaint::TooSmall) && length == size - sent {
                // There is no more to make it larger. As the body of the last request it is no chunk.
                break;
            }
            let other_size = complaint.is_some_and(|complaint| modes.refused_chunk(length, complaint));
            if !other_size || length <= upload.chunk_at_least {
                if sent == 0 && is_of_patch(&answer) && modes.takes_no_chunk_of(size) {
                    return Err(to.other_portions(&Method::PATCH, &upload.url, &answer));
                }
                return Err(to.error(&Method::PATCH, &upload.url, answer.refusal()));
            }
        }
        match self.commit(upload, part).await {
            Ok(()) => self.check_stored(Modes::loses_chunks).await,
            Err(Error { kind: ErrorKind::Status { status, message, .. }, asked, registry })
                if complaint(status, &message) == Some(Complaint::TooSmall)
                    && smallest < size
                    && modes.refused_chunk(smallest, Complaint::TooSmall) =>
            {
                // ECR counts its parts only at the end.
                Err(Error { kind: ErrorKind::Portion { status }, asked, registry })
            }
            Err(error) => Err(error),
        }
    }

    /// Ends an upload that has all bytes but for the last ones, if any are left.
    async fn commit(&self, upload: Upload, rest: Bytes) -> Result<(), Error> {
        let url = upload.commit_url(self.digest);
        let length = rest.len() as u64;
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, OCTETS), (CONTENT_LENGTH, length.into())]);
        if (1..self.size).contains(&length) {
            headers.insert(CONTENT_RANGE, self.to.range(&url, self.size - length, self.size)?);
        }
        let (mut pauses, mut renewals) = (backoff(TRIES), 0);
        let result = loop {
            let (body, progress) = match length {
                0 => (None, Progress::ended()),
                _ => in_memory(&rest),
            };
            let answer = self.to.part(Method::PUT, &url, &headers, body, &progress).await;
            match answer.and_then(|answer| self.check_committed(&url, &answer)) {
                Err(error) if is_expiry(&error) && renewals < RENEWALS => renewals += 1,
                // The rest is there: it is only asked too much at once.
                Err(error) if error.is_overload() => {
                    let turn = (Kind::BlobWrite, Method::PUT);
                    if let Err(error) = self.to.pause(&turn, &url, &error, &mut pauses).await {
                        break Err(error);
                    }
                }
                result => break result,
            }
        };
        self.unless_committed(ALL_LOOKS, result).await
    }

    fn check_committed(&self, url: &Url, answer: &Answer) -> Result<(), Error> {
        let kind = match answer.digest() {
            _ if !answer.status.is_success() => answer.refusal(),
            // distribution names by SHA-256 what it took by any digest, after it checked that one.
            Some(found) if found != *self.digest && found.is_comparable(self.digest) => {
                ErrorKind::WrongDigest { expected: self.digest.clone(), found }
            }
            _ => return Ok(()),
        };
        Err(self.to.error(&Method::PUT, url, kind))
    }
}

/// Whether a refusal of a PATCH may be of that way.
fn is_of_patch(answer: &Answer) -> bool {
    matches!(answer.status.as_u16(), 400 | 405 | 411 | 413 | 415 | 416 | 501)
        && !tells_of_room(&answer.refusal().to_string())
}

/// Whether a request is to be sent again with a new token.
fn is_expiry(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::TokenExpired { .. })
}

/// Bytes in memory as a body, and how far it has come.
fn in_memory(bytes: &Bytes) -> (Option<Body>, Progress) {
    let (body, progress) = watch(pieces(bytes.clone()), bytes.len() as u64);
    (Some(Body::wrap_stream(body)), progress)
}

/// A content in portions as large as they are asked for.
struct Parts {
    content: Content,
    /// What came with the last portion and is not of it.
    rest: Bytes,
}

impl Parts {
    /// Lengthens `part` to `length` bytes, if so many come. No more than these are held.
    async fn fill(&mut self, part: &mut Bytes, length: usize) -> Result<(), Error> {
        if part.len() >= length {
            return Ok(());
        }
        let mut filled = BytesMut::with_capacity(length);
        filled.extend_from_slice(part);
        while filled.len() < length {
            if self.rest.is_empty() {
                match self.content.next().await {
                    Some(next) => self.rest = next?,
                    None => break,
                }
            }
            let taken = self.rest.len().min(length - filled.len());
            filled.extend_from_slice(&self.rest.split_to(taken));
        }
        *part = filled.freeze();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn portions_are_as_large_as_asked_for() {
        let pieces = ["abc", "defgh", "", "ij"].map(|text| Ok(Bytes::from_static(text.as_bytes())));
        let mut parts = Parts { content: stream::iter(pieces).boxed(), rest: Bytes::new() };
        let mut part = Bytes::new();
        for (length, expected) in [(4, "abcd"), (2, "abcd"), (6, "abcdef"), (9, "abcdefghi"), (99, "abcdefghij")] {
            parts.fill(&mut part, length).await.unwrap();
            assert_eq!(part, expected);
        }
    }
}
