//! What is learnt of one image on its way, kept for those who report.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use super::board::Came;
use crate::digest::Digest;
use crate::event::{BlobCounts, Facts};
use crate::platform::Platform;
use crate::registry::{Content, Manifest};
use crate::shared::lock;

/// The facts of one image in one round, gathered while its parts are in work side by side.
#[derive(Default)]
pub(super) struct Ledger {
    facts: Mutex<Facts>,
    /// Whether the image was put in its place, in this round or an earlier one.
    is_written: AtomicBool,
}

impl Ledger {
    /// Of an image that an earlier round has put in its place, where there was something else before, or nothing.
    pub fn of_written(digest_before: Option<Digest>) -> Self {
        let facts = Mutex::new(Facts { digest_before, ..Facts::default() });
        Self { facts, is_written: AtomicBool::new(true) }
    }

    /// The image is in its place, since it was put there.
    pub fn written(&self, digest: &Digest) {
        self.placed(digest);
        self.is_written.store(true, Relaxed);
    }

    pub fn is_written(&self) -> bool {
        self.is_written.load(Relaxed)
    }

    pub fn facts(&self) -> Facts {
        self.lock().clone()
    }

    /// What the source names.
    pub fn source(&self, digest: &Digest) {
        self.lock().source_digest = Some(digest.clone());
    }

    /// What the destination named when it was asked. That was before, unless the image was put there since.
    pub fn before(&self, digest: Option<&Digest>) {
        if !self.is_written() {
            self.lock().digest_before = digest.cloned();
        }
    }

    /// What the destination names now.
    pub fn placed(&self, digest: &Digest) {
        self.lock().digest = Some(digest.clone());
    }

    /// The manifest that the tag is to name.
    pub fn root(&self, manifest: &Manifest) {
        let mut facts = self.lock();
        facts.media_type = Some(manifest.media_type.clone());
        if let Content::Index { manifests, .. } = &manifest.content {
            facts.platforms = manifests.iter().filter_map(|child| child.platform.clone()).collect();
        }
    }

    /// The image is for this platform alone, which is not wanted.
    pub fn skipped(&self, platform: Platform) {
        self.lock().platforms = vec![platform];
    }

    /// Layers that are left where they are.
    pub fn skipped_layers(&self, digests: &[Digest]) {
        self.lock().layers_skipped.extend_from_slice(digests);
    }

    /// The bytes of all manifests and blobs, if all manifests were read.
    pub fn size(&self, bytes: Option<u64>) {
        self.lock().size = bytes;
    }

    /// A blob of so many bytes is where the image needs it.
    pub fn blob(&self, came: Came, bytes: u64) {
        let BlobCounts { moved, bytes_moved, mounted, present } = &mut self.lock().blobs;
        match came {
            Came::Moved => {
                *moved += 1;
                *bytes_moved = bytes_moved.saturating_add(bytes);
            }
            Came::Mounted => *mounted += 1,
            Came::Present => *present += 1,
        }
    }

    /// These blobs are where what belongs to the image needs them.
    pub fn blobs(&self, more: &BlobCounts) {
        let BlobCounts { moved, bytes_moved, mounted, present } = &mut self.lock().blobs;
        *moved += more.moved;
        *bytes_moved = bytes_moved.saturating_add(more.bytes_moved);
        *mounted += more.mounted;
        *present += more.present;
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }
}
