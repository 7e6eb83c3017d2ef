//! Blobs: `GET`, `HEAD` and `DELETE`, with ranges and conditions.

use std::ops::Range;

use crate::content::Content;
use crate::digest::is_digest;
use crate::redirect;
use crate::reply::Reply;
use crate::request::{Kind, Request};
use crate::state::Shared;

pub(crate) fn serve(shared: &Shared, request: &Request, repository: &str, digest: &str) -> Reply {
    if !is_digest(digest) {
        return Reply::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
    }
    if request.kind == Kind::BlobDelete {
        return match shared.store().remove_blob(repository, digest) {
            true => Reply::status(202),
            false => unknown(),
        };
    }
    let content = shared.store().blob(repository, digest).cloned();
    let Some(content) = content else { return unknown() };
    if let Some(redirect) = redirect::redirect(shared, request, digest) {
        return redirect;
    }
    let etag = format!("\"{digest}\"");
    if request.header("if-none-match").is_some_and(|asked| asked == etag) {
        return Reply::status(304).header("etag", &etag);
    }
    content_reply(request, content, &[("docker-content-digest", digest), ("etag", &etag)])
}

fn unknown() -> Reply {
    Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry")
}

/// Answers with a content, or the part of it that was asked for.
pub(crate) fn content_reply(request: &Request, content: Content, headers: &[(&str, &str)]) -> Reply {
    let size = content.len();
    let get = request.method == http::Method::GET;
    if get && size > 0 && matches!(content, Content::Forgotten { .. }) {
        return Reply::status(410).body("this registry forgets uploads");
    }
    let range = request.header("range").filter(|_| get).map(|asked| parse_range(asked, size));
    let reply = match range {
        Some(Asked::Part(part)) => Reply::status(206)
            .header("content-range", &format!("bytes {}-{}/{size}", part.start, part.end - 1))
            .content(content, part),
        Some(Asked::Outside) => {
            return Reply::status(416).header("content-range", &format!("bytes */{size}"));
        }
        Some(Asked::Nonsense) | None => Reply::status(200).content(content, 0..size),
    };
    let reply = reply.header("content-type", "application/octet-stream").header("accept-ranges", "bytes");
    headers.iter().fold(reply, |reply, (name, value)| reply.header(name, value))
}

/// What a Range header comes to.
#[derive(Debug, PartialEq)]
enum Asked {
    Part(Range<u64>),
    Outside,
    /// Not understood, and so ignored, as the HTTP specification has it.
    Nonsense,
}

fn parse_range(text: &str, size: u64) -> Asked {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::Nonsense;
    };
    let part = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..size.min(last.saturating_add(1)),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(suffix)) if first.is_empty() => size.saturating_sub(suffix)..size,
        _ => return Asked::Nonsense,
    };
    if part.start < part.end { Asked::Part(part) } else { Asked::Outside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_understood() {
        for (text, asked) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=3-", Asked::Part(3..10)),
            ("bytes=3-99", Asked::Part(3..10)),
            ("bytes=-4", Asked::Part(6..10)),
            ("bytes=10-", Asked::Outside),
            ("bytes=4-3", Asked::Nonsense),
            ("bytes=0-1,3-4", Asked::Nonsense),
            ("lines=1-2", Asked::Nonsense),
        ] {
            assert_eq!(parse_range(text, 10), asked, "{text}");
        }
    }
}
