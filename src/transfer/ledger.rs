//! What is learnt of one image on its way, kept for the reports.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use super::board::Came;
use crate::digest::Digest;
use crate::event::{BlobCounts, Facts};
use crate::platform::Platform;
use crate::registry::Manifest;
use crate::shared::lock;

/// The facts of one image in one round, gathered while its parts are in work side by side.
#[derive(Default)]
pub(super) struct Ledger {
    facts: Mutex<Facts>,
    /// What became of each blob that the image waited for, and its bytes. They are counted when that is asked for.
    blobs: Mutex<HashMap<Digest, (Came, u64)>>,
    /// Whether the image was put in its place, in this round or an earlier one.
    is_written: AtomicBool,
}

impl Ledger {
    /// Of an image that an earlier round has put in its place, where there was something else before, or nothing.
    pub fn of_written(digest_before: Option<Digest>) -> Self {
        let facts = Mutex::new(Facts { digest_before, ..Facts::default() });
        Self { facts, is_written: AtomicBool::new(true), ..Self::default() }
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
        let mut blobs = BlobCounts::default();
        for (came, bytes) in lock(&self.blobs).values() {
            match came {
                Came::Moved => {
                    blobs.moved += 1;
                    blobs.bytes_moved = blobs.bytes_moved.saturating_add(*bytes);
                }
                Came::Mounted => blobs.mounted += 1,
                Came::Present => blobs.present += 1,
            }
        }
        Facts { blobs, ..self.lock().clone() }
    }

    /// What the source names.
    pub fn source(&self, digest: &Digest) {
        self.lock().source_digest = Some(digest.clone());
    }

    /// What the source names, if that is known.
    pub fn source_digest(&self) -> Option<Digest> {
        self.lock().source_digest.clone()
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
        let platforms = manifest.content.children().iter().filter_map(|child| child.platform.clone());
        self.kind(&manifest.media_type, platforms.collect());
    }

    /// What the manifest is that the tag is to name, and for which platforms it names others.
    pub fn kind(&self, media_type: &str, platforms: Vec<Platform>) {
        let mut facts = self.lock();
        facts.media_type = Some(media_type.to_owned());
        facts.platforms = platforms;
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

    /// A blob of so many bytes is where the image needs it. What was brought for one part of it is there for the others.
    pub fn blob(&self, digest: &Digest, bytes: u64, came: Came) {
        let mut blobs = lock(&self.blobs);
        match blobs.get_mut(digest) {
            Some((Came::Moved | Came::Mounted, _)) if came == Came::Present => {}
            Some(known) => *known = (came, bytes),
            None => {
                blobs.insert(digest.clone(), (came, bytes));
            }
        }
    }

    /// Adds what was learnt of something that belongs to the image.
    pub fn add(&self, other: &Self) {
        for (digest, (came, bytes)) in &*lock(&other.blobs) {
            self.blob(digest, *bytes, *came);
        }
        self.skipped_layers(&other.lock().layers_skipped);
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_counted_once_by_what_was_done_for_them() {
        let (ledger, of_signature) = (Ledger::default(), Ledger::default());
        let blob = |ledger: &Ledger, n: u8, came| ledger.blob(&Digest::of(&[n]), 10_u64.pow(u32::from(n)), came);
        for n in [1, 2] {
            blob(&ledger, n, Came::Moved);
        }
        // Another part of the image names it, too.
        blob(&ledger, 2, Came::Present);
        for (n, came) in [(3, Came::Mounted), (4, Came::Mounted), (5, Came::Present), (6, Came::Present)] {
            blob(&ledger, n, came);
        }
        // It was there, and then was not, and was brought.
        blob(&ledger, 7, Came::Present);
        blob(&ledger, 7, Came::Moved);
        // It was linked, and turned out not to be there.
        blob(&ledger, 9, Came::Mounted);
        blob(&ledger, 9, Came::Moved);
        blob(&of_signature, 8, Came::Moved);
        blob(&of_signature, 1, Came::Present);
        of_signature.skipped_layers(&[Digest::of(b"elsewhere")]);
        ledger.add(&of_signature);
        let Facts { blobs, layers_skipped, .. } = ledger.facts();
        assert_eq!((blobs.moved, blobs.mounted, blobs.present), (5, 2, 2));
        assert_eq!(blobs.bytes_moved, 1_110_000_110);
        assert_eq!(layers_skipped, [Digest::of(b"elsewhere")]);
    }

    #[test]
    fn what_the_tag_named_before_is_what_it_named_before_the_image_was_put_there() {
        let [former, image] = [b"former", b"image."].map(|bytes| Digest::of(bytes));
        let first = Ledger::default();
        first.before(Some(&former));
        first.written(&image);
        let later = Ledger::of_written(first.facts().digest_before);
        for ledger in [&first, &later] {
            ledger.before(Some(&image));
            assert!(ledger.is_written());
            assert_eq!(ledger.facts().digest_before.as_ref(), Some(&former));
        }
        assert_eq!(first.facts().digest, Some(image));
    }
}
