//! Why a manifest was refused: whether for what it is, or since not all that it names is there.

use super::Image;
use crate::registry::{Error, Manifest, Stored};
use crate::transfer::doubts::Lack;

impl Image {
    /// What the destination lacks that refused a manifest. Some say it; where its words may mean that, it is asked.
    pub(super) async fn lack(&self, error: &Error, manifest: &Manifest) -> Lack {
        if error.parts_are_missing() {
            return Lack::Parts;
        }
        if !error.may_be_of_missing_parts() {
            return Lack::Nothing;
        }
        self.engine.doubts.look(self.destination.registry(), &manifest.media_type, self.are_missing(manifest)).await
    }

    /// Whether any part of the manifest is certainly not there. Asked as a reader: to a writer what is forbidden counts as
    /// absent, and all would be sent again.
    async fn are_missing(&self, manifest: &Manifest) -> bool {
        let client = self.engine.clients.reader(self.destination.client.repository());
        for blob in manifest.content.blobs().iter().filter(|blob| !blob.is_foreign) {
            match client.stored(&blob.digest).await {
                Ok(Stored::Absent) => return true,
                Ok(Stored::Sized(found)) if found != blob.size => return true,
                // It is there, or whether it is was not said.
                _ => {}
            }
        }
        for child in manifest.content.children() {
            if let Ok(None) = client.digest(&child.digest.clone().into()).await {
                return true;
            }
        }
        false
    }
}
