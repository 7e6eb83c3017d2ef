//! What the manifests of the sources name, each read once in a run. Only what a plan needs of it is kept.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use crate::digest::Digest;
use crate::reference::Repository;
use crate::registry::{Content, Descriptor, Error, Manifest, RepositoryClient};
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
        self.known.get(key, async || Ok(Arc::new(self.read(image.manifest(source, digest).await?)))).await
    }

    fn read(&self, manifest: Manifest) -> Node {
        let (blobs, children) = match manifest.content {
            Content::Blobs(blobs) => (blobs, Vec::new()),
            Content::Index { manifests, blobs } => (blobs, manifests),
        };
        let mut seen = HashSet::new();
        Node {
            bytes: manifest.bytes.len() as u64,
            blobs: blobs.into_iter().filter(|blob| !blob.is_foreign).map(|blob| self.blob(blob)).collect(),
            children: children
                .into_iter()
                .filter(|child| seen.insert(child.digest.clone()))
                .map(|child| Child { is_index: child.is_index(), digest: child.digest, size: child.size })
                .collect(),
        }
    }

    fn blob(&self, Descriptor { digest, size, .. }: Descriptor) -> Arc<Blob> {
        let blob = Blob { digest, size };
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
