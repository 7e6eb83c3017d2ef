//! All that a tag names, looked at in one destination repository: each manifest and each blob once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;

use crate::digest::Digest;
use crate::event::{Defect, Event, Flight, Listener, Part, Wrong};
use crate::reference::Identifier;
use crate::registry::{Content, Descriptor, Error, ErrorKind, Manifest, RepositoryClient, Stored, patiently};
use crate::shared::{Keyed, lock};
use crate::transfer::{MAX_DEPTH, Shown, read_through, too_deep};

/// Parts of one manifest that are looked at at once.
const PARTS: usize = 16;

/// How many blobs are read at once, in all repositories.
pub(super) struct Readers {
    places: Semaphore,
    /// Blobs whose reading was begun.
    begun: AtomicU64,
}

impl Readers {
    /// So many at once.
    pub fn new(count: usize) -> Self {
        Self { places: Semaphore::new(count), begun: AtomicU64::new(0) }
    }
}

/// What a look at a manifest showed.
#[derive(Clone)]
enum Seen {
    Wrong(Wrong),
    /// It is readable. `bytes` is its real size, still to be compared with what its index says; `below` is what is wrong
    /// beneath it.
    Right {
        bytes: u64,
        below: Arc<[Defect]>,
    },
}

/// What was found in one repository.
pub(super) struct Tree {
    client: RepositoryClient,
    /// Given where the content of blobs is to be read.
    readers: Option<Arc<Readers>>,
    listener: Arc<dyn Listener>,
    manifests: Keyed<Digest, Seen, Error>,
    blobs: Keyed<(Digest, u64), Option<Wrong>, Error>,
}

impl Tree {
    pub fn new(client: RepositoryClient, readers: Option<Arc<Readers>>, listener: Arc<dyn Listener>) -> Self {
        Self { client, readers, listener, manifests: Keyed::default(), blobs: Keyed::default() }
    }

    /// What is wrong with the manifest of this digest and all that it names. Boxed, because children may be indexes and
    /// have children.
    pub fn defects(
        self: Arc<Self>,
        digest: Digest,
        size: Option<u64>,
        depth: usize,
    ) -> BoxFuture<'static, Result<Arc<[Defect]>, Error>> {
        Box::pin(async move {
            let wrong = match self.manifests.get(digest.clone(), async || self.look(&digest, depth).await).await? {
                Seen::Wrong(wrong) => wrong,
                Seen::Right { bytes, .. } if size.is_some_and(|size| size != bytes) => Wrong::Size(bytes),
                Seen::Right { below, .. } => return Ok(below),
            };
            Ok([Defect { part: Part::Manifest, digest, size, wrong }].into())
        })
    }

    async fn look(self: &Arc<Self>, digest: &Digest, depth: usize) -> Result<Seen, Error> {
        let wrong = match self.client.manifest(&Identifier::from(digest.clone())).await {
            Ok(Manifest { content: Content::Index { .. }, .. }) if depth == MAX_DEPTH => {
                Wrong::Unreadable(too_deep().into())
            }
            Ok(manifest) => {
                let below = self.look_below(&manifest.content, depth).await?.into();
                return Ok(Seen::Right { bytes: manifest.bytes.len() as u64, below });
            }
            Err(error) if error.is_not_found() => Wrong::Missing,
            Err(error) => match error.kind {
                ErrorKind::WrongDigest { found, .. } => Wrong::Content(found),
                ErrorKind::Malformed { reason } | ErrorKind::Unsupported { reason } => Wrong::Unreadable(reason.into()),
                _ => return Err(error),
            },
        };
        Ok(Seen::Wrong(wrong))
    }

    async fn look_below(self: &Arc<Self>, content: &Content, depth: usize) -> Result<Vec<Defect>, Error> {
        let children = distinct(content.children()).into_iter();
        let children = children.map(|child| self.clone().defects(child.digest, Some(child.size), depth + 1));
        let below: Vec<_> = stream::iter(children).buffered(PARTS).try_collect().await?;
        let mut blobs = distinct(content.blobs());
        blobs.retain(|blob| !blob.is_foreign);
        self.announce(&blobs);
        let blobs = blobs.into_iter().map(|blob| self.blob(blob));
        let wrong: Vec<_> = stream::iter(blobs).buffered(PARTS).try_collect().await?;
        let mut all: Vec<_> = below.iter().flat_map(|defects| defects.iter().cloned()).collect();
        all.extend(wrong.into_iter().flatten());
        // Indexes may name the same ones in more than one way.
        let mut seen = HashSet::new();
        all.retain(|defect| seen.insert(defect.clone()));
        Ok(all)
    }

    /// Tells of the blobs that will be looked at and were not known of before.
    fn announce(&self, blobs: &[Descriptor]) {
        for Descriptor { digest, size, .. } in blobs {
            if self.blobs.announce((digest.clone(), *size)) {
                self.listener.hear(&Event::BlobWanted { bytes: *size });
            }
        }
    }

    /// What is wrong with a blob.
    async fn blob(&self, Descriptor { digest, size, .. }: Descriptor) -> Result<Option<Defect>, Error> {
        let wrong = self.blobs.get((digest.clone(), size), async || {
            let wrong = match &self.readers {
                Some(readers) => self.read(readers, &digest, size).await?,
                None => self.measure(&digest, size).await?,
            };
            let (repository, digest) = (self.client.repository().clone(), digest.clone());
            self.listener.hear(&Event::BlobVerified { repository, digest, bytes: size });
            Ok(wrong)
        });
        Ok(wrong.await?.map(|wrong| Defect { part: Part::Blob, digest, size: Some(size), wrong }))
    }

    /// Whether the blob is there and has its size, asked by HEAD. A wrong size is believed where a GET says it as well: some
    /// proxies answer a HEAD with the length of nothing.
    async fn measure(&self, digest: &Digest, size: u64) -> Result<Option<Wrong>, Error> {
        match self.client.stored(digest).await? {
            Stored::Absent => return Ok(Some(Wrong::Missing)),
            Stored::Untold => {}
            Stored::Sized(found) if found != size => {}
            Stored::Sized(_) | Stored::Unsized => return Ok(None),
        }
        let opened = patiently(|| async {
            match self.client.read_blob(digest, size, 0).await {
                Ok(_) => Ok(None),
                Err(error) => wrong(error).map(Some),
            }
        });
        opened.await
    }

    /// Reads the blob. What is found wrong is read once more, since it may have gone wrong on the way.
    async fn read(&self, readers: &Readers, digest: &Digest, size: u64) -> Result<Option<Wrong>, Error> {
        let seen = Mutex::new(None);
        let attempt = || async {
            let _place = readers.places.acquire().await;
            let flight = Flight {
                number: readers.begun.fetch_add(1, Relaxed),
                source: self.client.repository().clone(),
                destination: None,
                digest: digest.clone(),
                bytes: size,
                passed: Arc::default(),
            };
            let shown = Shown::start(&self.listener, flight);
            let Err(error) = read_through(&self.client, digest, size, &shown.passed).await else { return Ok(None) };
            let wrong = wrong(error.clone())?;
            let is_certain = wrong == Wrong::Missing || lock(&seen).replace(wrong.clone()).as_ref() == Some(&wrong);
            if is_certain { Ok(Some(wrong)) } else { Err(error) }
        };
        patiently(attempt).await
    }
}

/// What an error says of the blob that was asked for, if it says anything of it.
fn wrong(error: Error) -> Result<Wrong, Error> {
    match error.kind {
        ErrorKind::WrongSize { found, .. } => Ok(Wrong::Size(found)),
        ErrorKind::WrongDigest { found, .. } => Ok(Wrong::Content(found)),
        _ if error.is_not_found() => Ok(Wrong::Missing),
        _ => Err(error),
    }
}

fn distinct(descriptors: &[Descriptor]) -> Vec<Descriptor> {
    let mut seen = HashSet::new();
    descriptors.iter().filter(|descriptor| seen.insert((&descriptor.digest, descriptor.size))).cloned().collect()
}
