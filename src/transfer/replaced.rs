//! What a tag of signatures, or of a list of referrers, names before it is moved. Others may have added to it at the
//! destination, as who signs an image there: that does not go unsaid, nor where it need not.

use std::collections::HashSet;

use serde_json::Value;

use crate::digest::Digest;
use crate::reference::{Identifier, Reference};
use crate::registry::{Error, Manifest, RepositoryClient};

/// How what a tag names at the destination differs from what it is to name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// So much of it is there alone, and goes when the tag moves.
    pub lost: usize,
    /// So much of it comes.
    pub gained: usize,
}

impl Difference {
    pub fn between(there: &Manifest, wanted: &Manifest) -> Self {
        let [there, wanted] = [there, wanted].map(parts);
        Self { lost: there.difference(&wanted).count(), gained: wanted.difference(&there).count() }
    }

    /// Whether all that is wanted is there, beside what others have added.
    pub fn is_addition(&self) -> bool {
        self.lost > 0 && self.gained == 0
    }
}

/// What `there` is at the destination compared with what is to be in its place; nothing if it cannot be read at all.
pub(super) async fn difference(
    destination: &RepositoryClient,
    there: &Digest,
    wanted: &Manifest,
) -> Result<Option<Difference>, Error> {
    match destination.manifest(&Identifier::from(there.clone())).await {
        Ok(there) => Ok(Some(Difference::between(&there, wanted))),
        Err(error) if error.is_transient() => Err(error),
        // What is replaced need not be readable.
        Err(error) => {
            tracing::debug!(%error, "what is replaced cannot be read");
            Ok(None)
        }
    }
}

/// Tells what goes when a tag is moved.
pub(super) async fn tell_loss(destination: &RepositoryClient, tag: &Reference, there: &Digest, wanted: &Manifest) {
    match difference(destination, there, wanted).await {
        Ok(Some(Difference { lost: lost @ 1.., .. })) => tracing::warn!(
            %tag, %there, wanted = %wanted.digest,
            "moving this tag to what the source has takes away {lost} of its entries, which the source has not"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(
            %tag, %there, wanted = %wanted.digest, %error,
            "this tag is moved, and what it named cannot be read: whether that takes anything away is not known"
        ),
    }
}

/// The layers of a signature, whole, since what is signed is in their annotations; and the entries of a list.
fn parts(manifest: &Manifest) -> HashSet<String> {
    let json: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
    let of = |name: &str| json.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let layers = ["layers", "blobs"].into_iter().flat_map(of).map(|layer| layer.to_string());
    let entries = manifest.content.children().iter().map(|child| child.digest.to_string());
    layers.chain(entries).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn signatures(of: &[&str]) -> Manifest {
        let descriptor = |signature: Option<&str>| json!({ "mediaType": "text/plain", "digest": Digest::of(b"x"), "size": 1, "annotations": { "is": signature } });
        let layers: Vec<Value> = of.iter().map(|signature| descriptor(Some(signature))).collect();
        let json = json!({ "schemaVersion": 2, "config": descriptor(None), "layers": layers });
        let bytes = Bytes::from(json.to_string());
        let digest = Digest::of(&bytes);
        Manifest::parse(bytes, digest, "application/vnd.oci.image.manifest.v1+json").unwrap()
    }

    #[test]
    fn signatures_of_one_text_are_told_apart() {
        let difference = |there: &[&str], wanted: &[&str]| {
            let difference = Difference::between(&signatures(there), &signatures(wanted));
            (difference.lost, difference.gained, difference.is_addition())
        };
        assert_eq!(difference(&["a", "ours"], &["a"]), (1, 0, true));
        assert_eq!(difference(&["a"], &["a", "b"]), (0, 1, false));
        assert_eq!(difference(&["a", "ours"], &["b"]), (2, 1, false));
        assert_eq!(difference(&["a"], &["a"]), (0, 0, false), "of the same signatures the source's is the right one");
    }
}
