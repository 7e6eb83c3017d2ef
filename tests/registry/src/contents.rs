//! Seeding a registry and looking into it, without a request.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::content::Content;
use crate::digest::digest_of;
use crate::image::Manifest;
use crate::registry::Registry;
use crate::store::{Repository, Stored};

/// Seeding: what the test wants to be there.
impl Registry {
    /// Puts an image or index with all that belongs to it, under a tag or its digest. Answers its digest.
    pub fn put(&self, repository: &str, reference: &str, manifest: &impl Manifest) -> String {
        let built = manifest.build();
        let mut store = self.shared.store();
        for (digest, content) in built.all_blobs() {
            store.put_blob(repository, digest, content.clone());
        }
        for child in built.all_children() {
            store.put_manifest(repository, &child.digest, &child.media_type, child.bytes.clone());
        }
        store.put_manifest(repository, reference, &built.media_type, built.bytes)
    }

    /// Puts any bytes as a manifest, under a tag or their digest, without asking for what they name. Answers the digest.
    pub fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: impl Into<Bytes>) -> String {
        self.shared.store().put_manifest(repository, reference, media_type, bytes.into())
    }

    /// Puts a blob. Answers its digest.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = digest_of(&bytes);
        self.shared.store().put_blob(repository, &digest, Content::Bytes(bytes));
        digest
    }

    /// Puts a blob of pseudo-random bytes that are made anew whenever they are read, and so take no memory. Answers its digest.
    pub fn put_synthetic_blob(&self, repository: &str, size: u64, seed: u64) -> String {
        let content = Content::Synthetic { seed, size };
        let digest = content.digest();
        self.shared.store().put_blob(repository, &digest, content);
        digest
    }

    /// Points a tag to the manifest that another tag or a digest stands for.
    ///
    /// # Panics
    /// If there is no such manifest.
    pub fn retag(&self, repository: &str, reference: &str, tag: &str) {
        let mut store = self.shared.store();
        let manifest = store.manifest(repository, reference);
        let digest = manifest.unwrap_or_else(|| panic!("{repository} has no {reference}")).digest.clone();
        store.repository(repository).tags.insert(tag.to_owned(), digest);
    }

    /// Removes a repository's link to a blob; says whether there was one.
    pub fn remove_blob(&self, repository: &str, digest: &str) -> bool {
        self.shared.store().remove_blob(repository, digest)
    }

    /// Removes a tag, or a manifest with its tags; says whether it was there.
    pub fn remove_manifest(&self, repository: &str, reference: &str) -> bool {
        self.shared.store().remove_manifest(repository, reference)
    }

    /// Alters the stored bytes of a blob under the same digest, in every repository that holds it; says whether it was there.
    pub fn damage_blob(&self, repository: &str, digest: &str) -> bool {
        self.shared.store().damage_blob(repository, digest)
    }
}

/// Looking: what is there.
impl Registry {
    /// The manifest behind a tag or a digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Stored> {
        self.shared.store().manifest(repository, reference).cloned()
    }

    /// The digest of the manifest behind a tag.
    pub fn digest(&self, repository: &str, reference: &str) -> Option<String> {
        self.manifest(repository, reference).map(|stored| stored.digest)
    }

    /// The bytes of a blob. None if the repository does not hold it, or if they were discarded.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        let content = self.shared.store().blob(repository, digest).cloned();
        content.and_then(|content| content.whole())
    }

    /// The size of a blob, also of one whose bytes were discarded.
    pub fn blob_size(&self, repository: &str, digest: &str) -> Option<u64> {
        self.shared.store().blob(repository, digest).map(Content::len)
    }

    /// Whether a repository holds a blob.
    pub fn has_blob(&self, repository: &str, digest: &str) -> bool {
        self.blob_size(repository, digest).is_some()
    }

    /// The tags of a repository, in lexical order.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        self.look(repository, |repository| repository.tags.keys().cloned().collect())
    }

    /// All repositories, in lexical order.
    pub fn repositories(&self) -> Vec<String> {
        self.shared.store().repositories.keys().cloned().collect()
    }

    /// The digests of all manifests in a repository.
    pub fn manifests(&self, repository: &str) -> Vec<String> {
        self.look(repository, |repository| repository.manifests.keys().cloned().collect())
    }

    /// The digests of all blobs in a repository.
    pub fn blobs(&self, repository: &str) -> Vec<String> {
        self.look(repository, |repository| repository.blobs.iter().cloned().collect())
    }

    /// Every digest that the manifest and all under it name and the repository lacks; the reference itself if that is not there.
    pub fn missing(&self, repository: &str, reference: &str) -> Vec<String> {
        let store = self.shared.store();
        let nothing = Repository::default();
        let missing: BTreeSet<String> = store.repositories.get(repository).unwrap_or(&nothing).missing(reference);
        missing.into_iter().collect()
    }

    fn look(&self, repository: &str, look: impl FnOnce(&Repository) -> Vec<String>) -> Vec<String> {
        self.shared.store().repositories.get(repository).map(look).unwrap_or_default()
    }
}
