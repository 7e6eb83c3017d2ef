//! What the registry holds: blobs by digest, shared, and repositories that link to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use serde_json::Value;

use crate::content::Content;
use crate::digest::{digest_of, is_digest};

/// A manifest as the registry holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The Content-Type it was pushed with.
    pub media_type: String,
    /// Its bytes, as they came.
    pub bytes: Bytes,
    /// Its digest.
    pub digest: String,
}

impl Stored {
    /// The manifest as JSON, or null.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}

/// The links of one repository.
#[derive(Default)]
pub(crate) struct Repository {
    pub(crate) blobs: BTreeSet<String>,
    pub(crate) manifests: BTreeMap<String, Stored>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Repository {
    /// The manifest behind a tag or a digest.
    pub(crate) fn manifest(&self, reference: &str) -> Option<&Stored> {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        self.manifests.get(digest)
    }

    /// The digests that a manifest names directly and this repository lacks.
    fn lacking(&self, manifest: &Value) -> Vec<String> {
        named(manifest).into_iter().filter(|named| !self.holds(named)).map(|named| named.digest).collect()
    }

    /// The digests that the whole tree under a reference names and this repository lacks.
    pub(crate) fn missing(&self, reference: &str) -> BTreeSet<String> {
        let mut missing = BTreeSet::new();
        let mut visited = BTreeSet::new();
        let mut to_visit = vec![reference.to_owned()];
        while let Some(reference) = to_visit.pop() {
            let Some(manifest) = self.manifest(&reference) else {
                missing.insert(reference);
                continue;
            };
            if !visited.insert(manifest.digest.clone()) {
                continue;
            }
            for named in named(&manifest.json()) {
                if !self.holds(&named) {
                    missing.insert(named.digest);
                } else if self.manifests.contains_key(&named.digest) {
                    to_visit.push(named.digest);
                }
            }
        }
        missing
    }

    fn holds(&self, named: &Named) -> bool {
        let manifest = || self.manifests.contains_key(&named.digest);
        let blob = || self.blobs.contains(&named.digest);
        match named.role {
            Role::Blob => blob(),
            Role::Child => manifest() || blob(),
            Role::Manifest => manifest(),
        }
    }
}

/// A digest named by a manifest.
struct Named {
    digest: String,
    role: Role,
}

enum Role {
    Blob,
    Manifest,
    /// An entry of an index whose media type does not say that it is a manifest: build caches list blobs so.
    Child,
}

/// What a manifest or index cannot do without. Layers that live at a URL of their own are not asked for.
fn named(manifest: &Value) -> Vec<Named> {
    let list = |name: &str| manifest[name].as_array().into_iter().flatten();
    let foreign = |descriptor: &&Value| descriptor["urls"].as_array().is_some_and(|urls| !urls.is_empty());
    let config = manifest.get("config").filter(|config| config.is_object());
    let blobs = config.into_iter().chain(list("layers").filter(|layer| !foreign(layer)));
    let children = list("manifests").map(|child| {
        let media_type = child["mediaType"].as_str().unwrap_or_default();
        let manifest = media_type.contains("manifest") || media_type.contains("image.index");
        (child, if manifest { Role::Manifest } else { Role::Child })
    });
    let all = blobs.map(|blob| (blob, Role::Blob)).chain(children);
    all.filter_map(|(value, role)| Some(Named { digest: value["digest"].as_str()?.to_owned(), role })).collect()
}

/// Everything in the registry.
#[derive(Default)]
pub(crate) struct Store {
    contents: HashMap<String, Content>,
    pub(crate) repositories: BTreeMap<String, Repository>,
}

impl Store {
    pub(crate) fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    /// What a repository, known or not, lacks of a manifest to be put there.
    pub(crate) fn lacking(&self, repository: &str, manifest: &Value) -> Vec<String> {
        let nothing = Repository::default();
        self.repositories.get(repository).unwrap_or(&nothing).lacking(manifest)
    }

    /// Keeps a content under its digest and links a repository to it. What was there before, damaged or not, is replaced.
    pub(crate) fn put_blob(&mut self, repository: &str, digest: &str, content: Content) {
        // Bytes that were seeded are not given up for an upload that was not kept.
        if !matches!(content, Content::Forgotten { .. }) || !self.contents.contains_key(digest) {
            self.contents.insert(digest.to_owned(), content);
        }
        self.repository(repository).blobs.insert(digest.to_owned());
    }

    pub(crate) fn blob(&self, repository: &str, digest: &str) -> Option<&Content> {
        self.repositories.get(repository)?.blobs.get(digest).and_then(|digest| self.contents.get(digest))
    }

    /// Links a blob of one repository into another; says whether it was there.
    pub(crate) fn mount(&mut self, from: &str, to: &str, digest: &str) -> bool {
        let there = self.blob(from, digest).is_some();
        if there {
            self.repository(to).blobs.insert(digest.to_owned());
        }
        there
    }

    /// Whether a repository has a manifest that names a blob.
    pub(crate) fn has_manifest_naming(&self, repository: &str, digest: &str) -> bool {
        let manifests =
            self.repositories.get(repository).into_iter().flat_map(|repository| repository.manifests.values());
        manifests.flat_map(|stored| named(&stored.json())).any(|named| named.digest == digest)
    }

    pub(crate) fn remove_blob(&mut self, repository: &str, digest: &str) -> bool {
        self.repositories.get_mut(repository).is_some_and(|repository| repository.blobs.remove(digest))
    }

    pub(crate) fn damage_blob(&mut self, repository: &str, digest: &str) -> bool {
        let Some(damaged) = self.blob(repository, digest).map(Content::damaged) else { return false };
        self.contents.insert(digest.to_owned(), damaged);
        true
    }

    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> Option<&Stored> {
        self.repositories.get(repository)?.manifest(reference)
    }

    /// Stores a manifest and, unless the reference is a digest, points a tag to it.
    pub(crate) fn put_manifest(&mut self, repository: &str, reference: &str, media_type: &str, bytes: Bytes) -> String {
        let digest = digest_of(&bytes);
        let stored = Stored { media_type: media_type.to_owned(), bytes, digest: digest.clone() };
        let repository = self.repository(repository);
        repository.manifests.insert(digest.clone(), stored);
        if !is_digest(reference) {
            repository.tags.insert(reference.to_owned(), digest.clone());
        }
        digest
    }

    /// Removes a tag, or a manifest with all tags that point to it.
    pub(crate) fn remove_manifest(&mut self, repository: &str, reference: &str) -> bool {
        let Some(repository) = self.repositories.get_mut(repository) else { return false };
        if !is_digest(reference) {
            return repository.tags.remove(reference).is_some();
        }
        repository.tags.retain(|_, digest| digest != reference);
        repository.manifests.remove(reference).is_some()
    }
}
