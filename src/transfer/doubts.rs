//! Manifests that were refused in words that may mean either: that parts of them are missing, as Quay says it, or that
//! their like is not taken. Asking for the parts tells the two apart. Where it is the latter, that is soon left.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::reference::Registry;
use crate::shared::lock;

/// Looks in vain after which none is made for manifests of the type, until the registry takes one.
const IN_VAIN: u32 = 3;

/// What a registry lacks that refused a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    /// Something that the manifest names.
    Parts,
    /// Nothing now; but something was missing before, and may have come since the manifest was refused.
    NothingMore,
    /// As far as is known.
    Nothing,
}

/// By registry and type of manifest.
#[derive(Default)]
pub(super) struct Doubts(Mutex<HashMap<(Registry, String), Arc<Doubt>>>);

#[derive(Default)]
struct Doubt {
    /// Held by whoever looks: what one learns all may be spared.
    looking: tokio::sync::Mutex<()>,
    in_vain: AtomicU32,
    has_found: AtomicBool,
}

impl Doubts {
    /// Has `are_missing` find out whether parts of a refused manifest are missing, if that is worth the requests.
    pub async fn look(&self, registry: &Registry, media_type: &str, are_missing: impl Future<Output = bool>) -> Lack {
        let doubt = self.of(registry, media_type);
        let _looking = doubt.looking.lock().await;
        if doubt.in_vain.load(Relaxed) >= IN_VAIN {
            return Lack::Nothing;
        }
        if are_missing.await {
            doubt.has_found.store(true, Relaxed);
            return Lack::Parts;
        }
        doubt.in_vain.fetch_add(1, Relaxed);
        if doubt.has_found.load(Relaxed) { Lack::NothingMore } else { Lack::Nothing }
    }

    /// What was said to be missing was brought, and the manifest is refused all the same.
    pub fn in_vain(&self, registry: &Registry, media_type: &str) {
        self.of(registry, media_type).in_vain.fetch_add(1, Relaxed);
    }

    /// The registry takes manifests of this type.
    pub fn taken(&self, registry: &Registry, media_type: &str) {
        for ((of, what), doubt) in &*lock(&self.0) {
            if of == registry && what == media_type {
                doubt.in_vain.store(0, Relaxed);
            }
        }
    }

    fn of(&self, registry: &Registry, media_type: &str) -> Arc<Doubt> {
        lock(&self.0).entry((registry.clone(), media_type.to_owned())).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_looked_for_in_vain_is_soon_left_until_one_is_taken() {
        let (doubts, registry) = (Doubts::default(), "r.example.com".parse().unwrap());
        let look = |media_type, are_missing: bool| doubts.look(&registry, media_type, async move { are_missing });
        for _ in 0..IN_VAIN {
            assert_eq!(look("a", false).await, Lack::Nothing);
        }
        assert_eq!(look("a", true).await, Lack::Nothing, "nobody looks");
        assert_eq!(look("b", true).await, Lack::Parts, "of others nothing is known");
        assert_eq!(look("b", false).await, Lack::NothingMore);
        doubts.taken(&registry, "a");
        assert_eq!(look("a", true).await, Lack::Parts);
    }
}
