//! Which registries answer a mount of a blob from the repository itself truthfully.
//!
//! `POST ?mount=D&from=<the same repository>` is 201 if the blob is there and 202 with an upload if not: existence and
//! the start of an upload in one request. It is no promise of the specification, so it is believed only of registries
//! that were found to have told the truth once, and given up at the first odd answer.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::reference::Registry;

#[derive(Default)]
pub(super) struct SelfMounts(Mutex<HashMap<Registry, bool>>);

impl SelfMounts {
    /// Whether it is worth asking.
    pub fn may_tell(&self, registry: &Registry) -> bool {
        self.lock().get(registry) != Some(&false)
    }

    /// Whether an upload in answer to it means that the blob is absent.
    pub fn tells(&self, registry: &Registry) -> bool {
        self.lock().get(registry) == Some(&true)
    }

    /// A mount was granted, and the blob is there.
    pub fn told_truth(&self, registry: &Registry) {
        self.lock().entry(registry.clone()).or_insert(true);
    }

    pub fn is_not_to_be_believed(&self, registry: &Registry) {
        self.lock().insert(registry.clone(), false);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Registry, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
