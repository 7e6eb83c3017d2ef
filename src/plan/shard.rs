//! One machine's part of the work: source repositories, dealt in turn.
//!
//! Every machine expands its own rules and all that may clash, so that each sees every clash, and keeps the images of its
//! own repositories. These are taken from the rules and not from what registries answer, so that all machines agree
//! without a word between them. A repository is never split: its images share blobs.

use std::collections::{BTreeSet, HashSet};

use crate::config::Rule;
use crate::reference::Repository;
use crate::schema::Shard;

/// The source repositories of `rules` that are this shard's.
pub(super) fn own_repositories(shard: Shard, rules: &[Rule]) -> HashSet<Repository> {
    let sorted: BTreeSet<&Repository> = rules.iter().map(|rule| &rule.images.source).collect();
    let own = sorted.into_iter().zip((0..shard.count).cycle()).filter(|(_, turn)| *turn == shard.index);
    own.map(|(repository, _)| repository.clone()).collect()
}
