//! Why a manifest was refused: for what it is, or since not all that it names is there; and how that is told.

use super::Image;
use crate::event::Failure;
use crate::registry::{Content, Error, Format, Manifest, Stored};
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

    /// Why a manifest is not taken whose missing parts were brought again and again.
    pub(super) fn looked_for_in_vain(&self, error: &Error, manifest: &Manifest, depth: usize) -> Failure {
        if error.parts_are_missing() {
            return self.refused(error, manifest, depth);
        }
        // So its words mean something else.
        self.engine.doubts.in_vain(self.destination.registry(), &manifest.media_type);
        error.to_failure()
    }

    /// Why the destination did not take a manifest. If that may be for its media type, the other family may do; if it is
    /// for layers that are elsewhere, nothing does.
    pub(super) fn refused(&self, error: &Error, manifest: &Manifest, depth: usize) -> Failure {
        let failure = error.to_failure();
        let is_elsewhere = manifest.content.blobs().iter().find(|blob| blob.is_foreign);
        if let Some(layer) = is_elsewhere.filter(|_| error.parts_are_missing()) {
            let reason = format!(
                "{}; all is there but what is to be fetched from its own urls, as layer {} is: have the registry allow \
                 them (distribution: validation.manifests.urls.allow)",
                failure.reason, layer.digest
            );
            return Failure { reason: reason.into(), ..failure };
        }
        let Some(other) = Format::of_manifest(&manifest.media_type).map(Format::other) else { return failure };
        // Beside the images of an index they are left out of Docker's lists; alone they cannot become Docker's.
        let is_artifact = matches!(manifest.content, Content::Blobs(_)) && manifest.image_config().is_none();
        let is_hopeless = other == Format::Docker && is_artifact && depth == 0;
        if self.conversion.format.is_some() || is_hopeless || !error.may_be_of_media_type() {
            return failure;
        }
        let reason = format!(
            "{}; if the registry takes no manifests of type {}, --format {other} converts them, which changes their digests",
            failure.reason, manifest.media_type
        );
        Failure { reason: reason.into(), ..failure }
    }
}
