//! What a destination lists as referring to a manifest, and whether that list may be changed.

use std::collections::HashSet;

use crate::digest::Digest;
use crate::event::{Category, Failure};
use crate::plan::Task;
use crate::registry::{Error, Referrer, RepositoryClient};

/// Who keeps a list of what refers to a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transfer) enum Keeper {
    /// The registry: it lists what it is given.
    Registry,
    /// All who push, under the tag for that.
    Tag,
    /// There is none.
    Nobody,
}

/// What a destination lists as referring to a manifest.
pub(in crate::transfer) struct Listing {
    pub referrers: Vec<Referrer>,
    pub keeper: Keeper,
}

impl Listing {
    pub async fn of(subject: &Digest, destination: &RepositoryClient) -> Result<Self, Error> {
        if let Some(referrers) = destination.referrers(subject).await? {
            return Ok(Self { referrers, keeper: Keeper::Registry });
        }
        Ok(match destination.tagged_referrers(subject).await? {
            Some(list) => Self { referrers: list.referrers, keeper: Keeper::Tag },
            None => Self { referrers: Vec::new(), keeper: Keeper::Nobody },
        })
    }

    pub fn digests(&self) -> HashSet<&Digest> {
        digests(&self.referrers)
    }

    /// What is listed when `new` is there: it stands at the end, and but once.
    pub fn with(&self, mut new: Vec<Referrer>) -> Vec<Referrer> {
        let added = digests(&new);
        let mut all = self.referrers.clone();
        all.retain(|listed| !added.contains(&listed.digest));
        all.append(&mut new);
        all
    }

    /// Whether more may be listed under the tag, which names `there` where that is no list. That is somebody's image, and
    /// stays; but the subject itself is there by its digest, and GitLab says that the tag names it.
    pub fn may_grow(
        &self,
        task: &Task,
        subject: &Digest,
        there: Option<&Digest>,
        no_clobber: bool,
    ) -> Result<(), Failure> {
        let reason = match (self.keeper, there) {
            (Keeper::Tag, _) if no_clobber => {
                format!("more refers to {subject} than the destination lists under its tag; --no-clobber leaves it so")
            }
            (Keeper::Nobody, Some(there)) if no_clobber || there != subject => {
                format!(
                    "what refers to {subject} cannot be listed: the destination names {there} under the tag for that, \
                     which is no list and is left so; delete that tag, or copy without --referrers"
                )
            }
            _ => return Ok(()),
        };
        Err(Failure::for_good(Category::Refused, Some(task.destination.repository.registry()), reason))
    }
}

fn digests(referrers: &[Referrer]) -> HashSet<&Digest> {
    referrers.iter().map(|referrer| &referrer.digest).collect()
}
