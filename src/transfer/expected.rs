//! What a destination is to have for a source, for dry runs and verifications. The engine reads the manifests anyway, and
//! applies the same [`Conversion`] itself.

use std::collections::HashMap;
use std::sync::Arc;

use super::convert::{Conversion, Target};
use crate::digest::Digest;
use crate::event::{Change, Failure};
use crate::platform::Platform;
use crate::reference::Identifier;
use crate::registry::{Error, ErrorKind, Manifest, RepositoryClient};

/// What a destination is to have.
pub enum Expected {
    Image(ExpectedImage),
    /// Nothing: the image is for this platform alone, which is not wanted.
    Nothing(Platform),
}

/// An image as it is to be at the destination.
#[derive(Debug, Clone)]
pub struct ExpectedImage {
    /// What the source names.
    pub source: Digest,
    /// What the destination is to name.
    pub root: Digest,
    /// Manifests that were read or made already. The source has the others.
    parts: Arc<HashMap<Digest, Manifest>>,
    /// What was made of which.
    pub changes: Arc<[Change]>,
}

impl ExpectedImage {
    /// What the source has under `root`, as it is.
    pub fn unchanged(root: Digest) -> Self {
        Self { source: root.clone(), root, parts: Arc::default(), changes: Arc::default() }
    }

    /// The image as its bytes are, where the destination seems to name another: some sources say wrongly what a tag names,
    /// or say it by another algorithm. What counts its reads is believed, as in a migration.
    pub async fn confirmed(
        self,
        there: Option<&Digest>,
        source: &RepositoryClient,
        identifier: &Identifier,
    ) -> Result<Self, Error> {
        let is_certain = self.read_root().is_some() || identifier.digest().is_some() || source.counts_pulls();
        if is_certain || there.is_none_or(|there| *there == self.root) {
            return Ok(self);
        }
        match source.manifest(identifier).await {
            Ok(root) => {
                let digest = root.digest.clone();
                let parts = Arc::new(HashMap::from([(digest.clone(), root)]));
                Ok(Self { parts, ..Self::unchanged(digest) })
            }
            // It differs, whatever it is.
            Err(Error { kind: ErrorKind::Malformed { .. } | ErrorKind::Unsupported { .. }, .. }) => Ok(self),
            Err(error) => Err(error),
        }
    }

    /// What the destination is to name, by the algorithm by which it names what is `there`.
    pub fn root_like(&self, there: Option<&Digest>) -> Digest {
        match (there, self.read_root()) {
            (Some(there), Some(root)) => there.same_algorithm_of(&root.bytes),
            _ => self.root.clone(),
        }
    }

    /// The root, if it was read or made already.
    pub fn read_root(&self) -> Option<&Manifest> {
        self.parts.get(&self.root)
    }

    /// The manifest that the destination is to have under `digest`, which is the root or named by what that names.
    pub async fn manifest(&self, source: &RepositoryClient, digest: &Digest) -> Result<Manifest, Error> {
        match self.parts.get(digest) {
            Some(manifest) => Ok(manifest.clone()),
            None => source.manifest(&Identifier::from(digest.clone())).await,
        }
    }
}

/// What the destination is to have for what `identifier` names at the source. Where nothing is converted, two digests
/// tell that, and no manifest is read. What the source names is told to `learn` as soon as it is known: what follows may
/// fail.
pub async fn expected(
    conversion: &Conversion,
    source: &RepositoryClient,
    identifier: &Identifier,
    learn: impl Fn(&Digest),
) -> Result<Expected, Failure> {
    if !conversion.changes_images() {
        let root = named(source, identifier).await?;
        learn(&root);
        return Ok(Expected::Image(ExpectedImage::unchanged(root)));
    }
    let root = source.manifest(identifier).await?;
    let digest = root.digest.clone();
    learn(&digest);
    let target = conversion.apply(root, source).await;
    Ok(match target.map_err(|refusal| refusal.to_failure(source.repository().registry()))? {
        Target::Place(tree) => {
            let root = tree.root.digest.clone();
            let mut parts = tree.parts;
            parts.insert(root.clone(), tree.root);
            let (parts, changes) = (Arc::new(parts), tree.changes.into());
            Expected::Image(ExpectedImage { source: digest, root, parts, changes })
        }
        Target::Skip(platform) => Expected::Nothing(platform),
    })
}

pub(super) async fn named(source: &RepositoryClient, identifier: &Identifier) -> Result<Digest, Error> {
    if let Some(digest) = identifier.digest() {
        return Ok(digest.clone());
    }
    match source.digest(identifier).await? {
        Some(digest) => Ok(digest),
        // It is not there. The answer to a HEAD has no words, and the operator should read the registry's own.
        None => Ok(source.manifest(identifier).await?.digest),
    }
}
