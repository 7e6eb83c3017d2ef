//! What the manifests of the sources name, each read once in a run. Only what a plan needs of it is kept.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use crate::digest::Digest;
use crate::reference::Repository;
use crate::registry::{Descriptor, Error, Manifest, RepositoryClient};
use crate::shared::{Keyed, lock};
use crate::transfer::expected::ExpectedImage;

/// A blob, once for all manifests that name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Blob {
    pub digest: Digest,
    pub size: u64,
}

/// A manifest or an index.
pub(super) struct Node {
    /// Its own size.
    pub bytes: u64,
    pub blobs: Box<[Arc<Blob>]>,
    pub children: Box<[Child]>,
}

/// A manifest as the index that names it describes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Child {
    pub digest: Digest,
    pub size: u64,
    pub is_index: bool,
}

impl Child {
    fn new(child: &Descriptor) -> Self {
        Self { digest: child.digest.clone(), size: child.size, is_index: child.is_index() }
    }
}

/// The manifests that were read, by where they come from, since what one source lacks another may have.
#[derive(Default)]
pub(super) struct Nodes {
    known: Keyed<(Repository, Digest), Arc<Node>, Error>,
    blobs: Mutex<HashSet<Arc<Blob>>>,
}

impl Nodes {
    pub async fn get(
        &self,
        source: &RepositoryClient,
        image: &ExpectedImage,
        digest: &Digest,
    ) -> Result<Arc<Node>, Error> {
        let key = (source.repository().clone(), digest.clone());
        self.known.get(key, async || Ok(Arc::new(self.read(&image.manifest(source, digest).await?)))).await
    }

    fn read(&self, manifest: &Manifest) -> Node {
        let (content, mut seen) = (&manifest.content, HashSet::new());
        let is_own = |blob: &&Descriptor| !blob.is_foreign;
        let is_new = |child: &&Descriptor| seen.insert(child.digest.clone());
        Node {
            bytes: manifest.bytes.len() as u64,
            blobs: content.blobs().iter().filter(is_own).map(|blob| self.blob(blob)).collect(),
            children: content.children().iter().filter(is_new).map(Child::new).collect(),
        }
    }

    fn blob(&self, Descriptor { digest, size, .. }: &Descriptor) -> Arc<Blob> {
        let blob = Blob { digest: digest.clone(), size: *size };
        let mut blobs = lock(&self.blobs);
        match blobs.get(&blob) {
            Some(known) => known.clone(),
            None => {
                let new = Arc::new(blob);
                blobs.insert(new.clone());
                new
            }
        }
    }
}
