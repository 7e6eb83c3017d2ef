//! What a destination is to have for a source: the one place that says what an image becomes on its way. It stays what
//! it is.

use crate::digest::Digest;
use crate::reference::Identifier;
use crate::registry::{Error, Manifest, RepositoryClient};

/// The digest that the destination is to name for what `identifier` names at the source.
pub async fn expected_digest(source: &RepositoryClient, identifier: &Identifier) -> Result<Digest, Error> {
    if let Some(digest) = identifier.digest() {
        return Ok(digest.clone());
    }
    match source.digest(identifier).await? {
        Some(digest) => Ok(digest),
        // It is not there. The answer to a HEAD has no words, and the operator should read the registry's own.
        None => Ok(source.manifest(identifier).await?.digest),
    }
}

/// The manifest that the destination is to have under `digest`, which is the expected one or named by what that names.
pub async fn expected_manifest(source: &RepositoryClient, digest: &Digest) -> Result<Manifest, Error> {
    source.manifest(&Identifier::Digest(digest.clone())).await
}
