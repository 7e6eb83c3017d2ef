//! Manifests on their way into one repository, and which of them do not go side by side.
//!
//! Distribution writes the link of a manifest anew with each PUT of it, under whatever tag, and in place: an index that is
//! put at that moment is told that it names a manifest that is not there.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::lock;
use crate::digest::Digest;
use crate::registry::Manifest;

/// The manifests that are being put.
#[derive(Default)]
pub(super) struct Puts {
    under_way: Mutex<Vec<Arc<Put>>>,
    ended: Notify,
}

struct Put {
    digest: Digest,
    /// What it names.
    children: HashSet<Digest>,
}

/// The right to put a manifest, until it is dropped.
pub(super) struct Turn<'a> {
    puts: &'a Puts,
    put: Arc<Put>,
}

impl Puts {
    /// Waits until none is put that names this manifest, or that it names. Whoever has its turn waits for no other.
    pub async fn turn(&self, manifest: &Manifest) -> Turn<'_> {
        let children = manifest.content.children().iter().map(|child| child.digest.clone()).collect();
        let put = Arc::new(Put { digest: manifest.digest.clone(), children });
        loop {
            let ended = self.ended.notified();
            {
                let mut under_way = lock(&self.under_way);
                if !under_way.iter().any(|other| other.concerns(&put)) {
                    under_way.push(put.clone());
                    return Turn { puts: self, put };
                }
            }
            ended.await;
        }
    }
}

impl Put {
    fn concerns(&self, other: &Self) -> bool {
        self.children.contains(&other.digest) || other.children.contains(&self.digest)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.puts.under_way).retain(|put| !Arc::ptr_eq(put, &self.put));
        self.puts.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use bytes::Bytes;
    use futures_util::poll;

    use super::*;

    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

    fn manifest(media_type: &str, json: &serde_json::Value) -> Manifest {
        let bytes = Bytes::from(json.to_string());
        let digest = Digest::of(&bytes);
        Manifest::parse(bytes, digest, media_type).unwrap()
    }

    #[tokio::test]
    async fn a_manifest_is_not_put_beside_an_index_that_names_it_and_else_beside_all() {
        let blob = serde_json::json!({ "mediaType": "text/plain", "digest": Digest::of(b""), "size": 0 });
        let image = |layers: usize| {
            let json = serde_json::json!({ "schemaVersion": 2, "config": blob, "layers": vec![&blob; layers] });
            manifest(IMAGE, &json)
        };
        let [child, stranger] = [image(1), image(2)];
        let named = serde_json::json!({ "mediaType": IMAGE, "digest": child.digest, "size": child.bytes.len() });
        let index = manifest(INDEX, &serde_json::json!({ "schemaVersion": 2, "manifests": [named] }));

        let puts = Puts::default();
        for (first, second) in [(&index, &child), (&child, &index)] {
            let under_way = puts.turn(first).await;
            let mut waits = pin!(puts.turn(second));
            assert!(poll!(&mut waits).is_pending());
            let beside = [puts.turn(first).await, puts.turn(&stranger).await];
            drop(under_way);
            assert!(poll!(&mut waits).is_pending(), "it is put under another tag, too");
            drop(beside);
            waits.await;
        }
        assert!(lock(&puts.under_way).is_empty());
    }
}
