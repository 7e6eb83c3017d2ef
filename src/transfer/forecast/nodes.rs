//! What the manifests of the sources name, each read once in a run. Only what a plan needs of it is kept.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::digest::Digest;
use crate::platform::Platform;
use crate::reference::Repository;
use crate::registry::{Descriptor, Error, Manifest, RepositoryClient};
use crate::shared::{Keyed, lock};
use crate::transfer::expected::ExpectedImage;
use crate::transfer::image::MAX_DEPTH;

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
    pub media_type: Box<str>,
    /// Those that it names its children for.
    pub platforms: Box<[Platform]>,
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

    /// A manifest, if it was read.
    pub fn known(&self, source: &Repository, digest: &Digest) -> Option<Arc<Node>> {
        self.known.peek(&(source.clone(), digest.clone()))
    }

    /// The bytes of a manifest and of all that it names, if all manifests were read. What several children share counts
    /// for each.
    pub fn size(&self, source: &Repository, digest: &Digest) -> Option<u64> {
        self.size_of(source, digest, 0, &mut HashMap::new())
    }

    /// The paths by which nested indexes lead to a manifest may be without number: `sizes` has those that are known.
    fn size_of(
        &self,
        source: &Repository,
        digest: &Digest,
        depth: usize,
        sizes: &mut HashMap<Digest, u64>,
    ) -> Option<u64> {
        if let Some(size) = sizes.get(digest) {
            return Some(*size);
        }
        // Other images may have had deeper ones read.
        let node = self.known(source, digest).filter(|_| depth <= MAX_DEPTH)?;
        let distinct: HashSet<&Blob> = node.blobs.iter().map(|blob| &**blob).collect();
        let mut size = distinct.iter().fold(node.bytes, |size, blob| size.saturating_add(blob.size));
        for child in &node.children {
            size = size.saturating_add(self.size_of(source, &child.digest, depth + 1, sizes)?);
        }
        sizes.insert(digest.clone(), size);
        Some(size)
    }

    fn read(&self, manifest: &Manifest) -> Node {
        let (content, mut seen) = (&manifest.content, HashSet::new());
        let is_own = |blob: &&Descriptor| !blob.is_foreign;
        let is_new = |child: &&Descriptor| seen.insert(child.digest.clone());
        Node {
            bytes: manifest.bytes.len() as u64,
            media_type: manifest.media_type.as_str().into(),
            platforms: content.children().iter().filter_map(|child| child.platform.clone()).collect(),
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
