//! What a registry was asked, by its own log.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use scriptable_registry::Kind;
use url::Url;

/// The requests of one registry in one run.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    counts: BTreeMap<Kind, u64>,
    /// How often each blob was read, and the bytes of that.
    read: BTreeMap<String, (u64, u64)>,
    /// How often an upload of each blob was finished.
    written: BTreeMap<String, u64>,
}

impl Requests {
    /// Reads the log.
    pub fn of(log: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
        let mut requests = Self::default();
        for line in text.lines() {
            requests.add_line(line).with_context(|| format!("not the access log of a docker-registry: {line}"))?;
        }
        Ok(requests)
    }

    /// What a registry in memory has noted.
    pub fn in_memory(log: &[scriptable_registry::Request]) -> anyhow::Result<Self> {
        let mut requests = Self::default();
        for request in log {
            let target = format!("{}?{}", request.path, request.query);
            let added = requests.add(request.method.as_str(), &target, request.status.unwrap_or(0), request.sent);
            added.with_context(|| format!("not a request of the protocol: {} {target}", request.method))?;
        }
        Ok(requests)
    }

    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    pub fn all(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Bytes of blobs that were read.
    pub fn bytes_read(&self) -> u64 {
        self.read.values().map(|(_, bytes)| bytes).sum()
    }

    /// Bytes of blobs that were written, by the size of each.
    pub fn bytes_written(&self, sizes: &BTreeMap<String, u64>) -> u64 {
        self.written.iter().map(|(digest, times)| times * sizes.get(digest).copied().unwrap_or(0)).sum()
    }

    /// Blobs that were read more than once.
    pub fn read_again(&self) -> usize {
        self.read.values().filter(|(times, _)| *times > 1).count()
    }

    /// `127.0.0.1 - - [01/Jan/2025:00:00:00 +0000] "GET /v2/ HTTP/1.1" 200 2 "" "agent"`
    fn add_line(&mut self, line: &str) -> Option<()> {
        let mut parts = line.splitn(3, '"');
        let mut request = parts.nth(1)?.split(' ');
        let (method, target) = (request.next()?, request.next()?);
        let mut answer = parts.next()?.split_whitespace();
        let status: u16 = answer.next()?.parse().ok()?;
        self.add(method, target, status, answer.next()?.parse().unwrap_or(0))
    }

    fn add(&mut self, method: &str, target: &str, status: u16, bytes: u64) -> Option<()> {
        let url = Url::parse("http://registry").ok()?.join(target).ok()?;
        let kind = kind(method, &url, status)?;
        *self.counts.entry(kind).or_default() += 1;
        match kind {
            Kind::BlobGet if matches!(status, 200 | 206) => {
                let digest = url.path().rsplit('/').next()?;
                let (times, total) = self.read.entry(digest.to_owned()).or_default();
                *times += 1;
                *total += bytes;
            }
            Kind::UploadFinish if status == 201 => {
                let (_, digest) = url.query_pairs().find(|(name, _)| name == "digest")?;
                *self.written.entry(digest.into_owned()).or_default() += 1;
            }
            _ => {}
        }
        Some(())
    }
}

/// What was asked for. A mount that was not granted is an upload that was started.
fn kind(method: &str, url: &Url, status: u16) -> Option<Kind> {
    match Kind::of_request(&method.parse().ok()?, url.path(), url.query().unwrap_or_default()) {
        Kind::Mount if status != 201 => Some(Kind::UploadStart),
        kind => Some(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_and_bytes_counted() {
        let digest = |n: u8| format!("sha256:{}", format!("{n:02x}").repeat(32));
        let mut requests = Requests::default();
        let mut add = |request: &str, status: u16, bytes: u64| {
            let line =
                format!(r#"127.0.0.1 - - [01/Jan/2025:00:00:00 +0000] "{request} HTTP/1.1" {status} {bytes} "" "x""#);
            requests.add_line(&line).unwrap();
        };
        add("GET /v2/", 200, 2);
        add("GET /v2/a/b/tags/list?n=1000", 200, 90);
        add(&format!("GET /v2/a/b/blobs/{}", digest(1)), 200, 500);
        add(&format!("GET /v2/a/b/blobs/{}", digest(1)), 206, 100);
        add(&format!("GET /v2/a/b/blobs/{}", digest(2)), 404, 70);
        add(&format!("POST /v2/c/d/blobs/uploads/?mount={}&from=c%2Fd", digest(1)), 202, 0);
        add(&format!("POST /v2/c/e/blobs/uploads/?mount={}&from=c%2Fd", digest(1)), 201, 0);
        add(&format!("PUT /v2/c/d/blobs/uploads/1?_state=x&digest={}", digest(1).replace(':', "%3A")), 201, 0);
        add("PUT /v2/c/d/manifests/1", 201, 0);

        let one = [Kind::Ping, Kind::TagList, Kind::UploadStart, Kind::Mount, Kind::UploadFinish, Kind::ManifestPut];
        assert!(one.iter().all(|&kind| requests.count(kind) == 1), "{requests:?}");
        assert_eq!((requests.count(Kind::BlobGet), requests.all()), (3, 9));
        assert_eq!((requests.bytes_read(), requests.read_again()), (600, 1));
        assert_eq!(requests.bytes_written(&BTreeMap::from([(digest(1), 500), (digest(2), 7)])), 500);
    }
}
