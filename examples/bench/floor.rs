//! The floor: a run that knows all lists beforehand and only pipes. What is missing here, no tool can leave out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use image_migrator::Limits;
use image_migrator::digest::{Digest, Hasher};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Client, RequestBuilder, Response, StatusCode};
use tokio::task::JoinSet;

use crate::tool::PREFIX;
use crate::workload::Workload;

/// As much at once as this program does unless it is told otherwise.
pub fn limits() -> Limits {
    Limits::for_workers(7)
}

/// What the floor costs in requests: exactly what [`run`] sends.
#[derive(Clone, Copy, Debug)]
pub struct Least {
    pub source: usize,
    pub destination: usize,
    /// At either side of a run with nothing to do.
    pub again: (usize, usize),
}

impl Least {
    /// One challenge a registry and one tag list a repository are part of it.
    pub fn of(workload: &Workload) -> Self {
        let (repositories, blobs) = (workload.repositories.len(), workload.blobs.len());
        let links: usize = workload.repositories.iter().map(|repository| repository.blobs.len()).sum();
        Self {
            source: 1 + repositories + workload.manifests() + blobs,
            destination: 1 + repositories + 2 * blobs + (links - blobs) + workload.manifests(),
            again: (1 + repositories + workload.tags(), 1 + workload.tags()),
        }
    }
}

/// One blob, where it is wanted first, and where else.
struct Blob {
    digest: String,
    size: u64,
    home: String,
    elsewhere: Vec<String>,
}

/// Where from, where to, and whether the bytes are verified on the way.
struct Floor {
    http: Client,
    source: String,
    destination: String,
    hashing: bool,
}

/// Copies the workload described in a file from one registry to another.
pub fn run(workload: &Path, source: &str, destination: &str, hashing: bool) -> anyhow::Result<()> {
    let workload = serde_json::from_slice(&fs::read(workload)?)?;
    // No TLS is spoken, but reqwest wants somebody who could.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = Client::builder().no_proxy().http1_only().build()?;
    let (source, destination) = (format!("http://{source}/v2/"), format!("http://{destination}/v2/"));
    let floor = Arc::new(Floor { http, source, destination, hashing });
    tokio::runtime::Runtime::new()?.block_on(copy(floor, workload))
}

async fn copy(floor: Arc<Floor>, workload: Workload) -> anyhow::Result<()> {
    let Limits { workers, requests, tiny: at_once, streamed_from, .. } = limits();
    let blobs = blobs(&workload);
    let names = workload.repositories.iter().map(|repository| repository.name.clone());
    let lists = [String::new()].into_iter().chain(names.map(|name| format!("{name}/tags/list")));
    each(lists, requests, |list| floor.clone().list(list)).await?;

    let manifests = workload.repositories.iter().flat_map(|repository| {
        repository.manifests.iter().map(|manifest| {
            let reference = manifest.tag.as_ref().unwrap_or(&manifest.digest);
            (format!("{}/manifests/{reference}", repository.name), manifest.media_type.clone())
        })
    });
    let manifests = each(manifests, requests, |(path, media_type)| floor.clone().read(path, media_type)).await?;

    let mounts = blobs.iter().flat_map(|blob| {
        let query = format!("blobs/uploads/?mount={}&from={PREFIX}/{}", blob.digest, blob.home);
        blob.elsewhere.iter().map(move |name| format!("{PREFIX}/{name}/{query}")).collect::<Vec<_>>()
    });
    let mounts: Vec<String> = mounts.collect();
    let (large, tiny): (Vec<_>, Vec<_>) = blobs.into_iter().partition(|blob| blob.size >= streamed_from);
    let large = each(large.into_iter(), workers, |blob| floor.clone().bring(blob));
    let tiny = each(tiny.into_iter(), at_once, |blob| floor.clone().bring(blob));
    tokio::try_join!(large, tiny)?;
    each(mounts.into_iter(), requests, |mount| floor.clone().mount(mount)).await?;

    // An index can be written once its children are there.
    let (images, indexes): (Vec<_>, Vec<_>) =
        manifests.into_iter().partition(|manifest| manifest.media_type.contains("manifest"));
    for manifests in [images, indexes] {
        each(manifests.into_iter(), requests, |manifest| floor.clone().write(manifest)).await?;
    }
    Ok(())
}

/// The largest first: what takes longest should not begin last.
fn blobs(workload: &Workload) -> Vec<Blob> {
    let mut blobs: BTreeMap<&str, Blob> = BTreeMap::new();
    for repository in &workload.repositories {
        for digest in &repository.blobs {
            match blobs.get_mut(digest.as_str()) {
                Some(blob) => blob.elsewhere.push(repository.name.clone()),
                None => {
                    let size = workload.blobs.get(digest).copied().unwrap_or(0);
                    let (home, elsewhere) = (repository.name.clone(), Vec::new());
                    blobs.insert(digest, Blob { digest: digest.clone(), size, home, elsewhere });
                }
            }
        }
    }
    let mut blobs: Vec<Blob> = blobs.into_values().collect();
    blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
    blobs
}

/// A manifest that was read.
struct Read {
    path: String,
    media_type: String,
    bytes: Bytes,
}

impl Floor {
    async fn list(self: Arc<Self>, path: String) -> anyhow::Result<()> {
        let read = async |url: String| anyhow::Ok(self.http.get(url).send().await?.bytes().await?);
        let mirrored = if path.is_empty() { String::new() } else { format!("{PREFIX}/{path}") };
        let there = read(format!("{}{path}", self.source));
        let here = read(format!("{}{mirrored}", self.destination));
        tokio::try_join!(there, here).map(drop)
    }

    async fn read(self: Arc<Self>, path: String, media_type: String) -> anyhow::Result<Read> {
        let request = self.http.get(format!("{}{path}", self.source)).header(ACCEPT, &media_type);
        let bytes = expect(request, StatusCode::OK).await?.bytes().await?;
        Ok(Read { path, media_type, bytes })
    }

    async fn write(self: Arc<Self>, manifest: Read) -> anyhow::Result<()> {
        let url = format!("{}{PREFIX}/{}", self.destination, manifest.path);
        let request = self.http.put(url).header(CONTENT_TYPE, manifest.media_type).body(manifest.bytes);
        finish(request).await
    }

    async fn mount(self: Arc<Self>, path: String) -> anyhow::Result<()> {
        finish(self.http.post(format!("{}{path}", self.destination)).header(CONTENT_LENGTH, 0)).await
    }

    async fn bring(self: Arc<Self>, blob: Blob) -> anyhow::Result<()> {
        let Blob { digest, size, home, .. } = blob;
        let start = self.http.post(format!("{}{PREFIX}/{home}/blobs/uploads/", self.destination));
        let read = self.http.get(format!("{}{home}/blobs/{digest}", self.source));
        let (started, content) = tokio::try_join!(
            async {
                let started = expect(start.header(CONTENT_LENGTH, 0), StatusCode::ACCEPTED).await?;
                let location =
                    started.headers().get(LOCATION).context("an upload without Location")?.to_str()?.to_owned();
                // Read to its end, so that the connection can be used again.
                started.bytes().await?;
                anyhow::Ok(location)
            },
            expect(read, StatusCode::OK)
        )?;
        let content = content.bytes_stream().map_err(anyhow::Error::from);
        let body = if self.hashing {
            Body::wrap_stream(hashed(content.boxed(), digest.parse()?))
        } else {
            Body::wrap_stream(content)
        };
        let separator = if started.contains('?') { '&' } else { '?' };
        let send = self.http.put(format!("{started}{separator}digest={digest}"));
        finish(send.header(CONTENT_LENGTH, size).header(CONTENT_TYPE, "application/octet-stream").body(body)).await
    }
}

type Content = futures_util::stream::BoxStream<'static, anyhow::Result<Bytes>>;

/// The same content, or an error at its end if the digest is another.
fn hashed(content: Content, digest: Digest) -> Content {
    let state = (content, Some(Hasher::like(&digest)), digest);
    futures_util::stream::try_unfold(state, |(mut content, mut hasher, digest)| async move {
        if let Some(bytes) = content.try_next().await? {
            if let Some(hasher) = &mut hasher {
                hasher.update(&bytes);
            }
            return Ok(Some((bytes, (content, hasher, digest))));
        }
        let found = hasher.map(Hasher::finish);
        ensure!(found.as_ref() == Some(&digest), "wrong bytes");
        Ok(None)
    })
    .boxed()
}

async fn expect(request: RequestBuilder, status: StatusCode) -> anyhow::Result<Response> {
    let response = request.send().await?;
    ensure!(response.status() == status, "{} was answered with {}", response.url(), response.status());
    Ok(response)
}

async fn finish(request: RequestBuilder) -> anyhow::Result<()> {
    expect(request, StatusCode::CREATED).await?.bytes().await?;
    Ok(())
}

/// Does something for each, in tasks of their own, at most `at_once` of them at the same time.
async fn each<I, T, F>(items: impl Iterator<Item = I>, at_once: usize, task: impl Fn(I) -> F) -> anyhow::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let mut items = items;
    let mut running = JoinSet::new();
    let mut results = Vec::new();
    loop {
        while running.len() < at_once
            && let Some(item) = items.next()
        {
            running.spawn(task(item));
        }
        match running.join_next().await {
            Some(result) => results.push(result??),
            None => return Ok(results),
        }
    }
}
