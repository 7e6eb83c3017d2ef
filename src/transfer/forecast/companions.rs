//! What refers to an image and would travel with it, found as the engine finds it.

use std::collections::HashSet;
use std::sync::Arc;

use super::Look;
use super::nodes::Blob;
use crate::digest::Digest;
use crate::event::Failure;
use crate::plan::Task;
use crate::reference::{Identifier, Tag};
use crate::registry::Referrer;
use crate::transfer::expected::{ExpectedImage, named};
use crate::transfer::image::MAX_DEPTH;
use crate::transfer::referrers::{Circles, SourceTags, UnderTag, find, may_list, of_tag};
use crate::transfer::replaced::tell_loss;

/// Something that refers to an image, or to a manifest of it, and is not at the destination.
#[derive(Clone)]
pub(super) struct Companion {
    /// Its tag or digest.
    pub identifier: Identifier,
    pub artifact_type: String,
    pub blobs: Vec<Arc<Blob>>,
}

/// What refers directly to one manifest.
#[derive(Default)]
pub(super) struct Circle {
    /// Those of it that would travel.
    coming: Vec<Companion>,
    /// All that may be referred to in turn.
    referrers: Vec<Digest>,
}

/// What refers to an image.
#[derive(Default)]
pub(super) struct Companions {
    pub coming: Vec<Companion>,
    /// Manifests that are converted, with the number of things that refer to each and stay behind.
    pub left: Vec<(Digest, usize)>,
}

impl Look {
    pub(super) async fn companions(&self, wanted: &ExpectedImage) -> Result<Companions, Failure> {
        let tags = self.forecast.digest_tags.of(&self.source).await?;
        let left = self.forecast.digest_tags.left_behind(&self.source, &wanted.changes, &tags).await?;
        let mut companions = Companions { coming: Vec::new(), left };
        let mut circles = Circles::around(self.manifests_of(wanted).await?, &wanted.changes);
        while let Some(subject) = circles.next() {
            let key = (subject.clone(), self.source.repository().clone());
            let look = async || self.circle(&subject, &tags).await.map(Arc::new);
            let circle = self.ground.circles.get(key, look).await?;
            circles.add(&circle.referrers);
            companions.coming.extend(circle.coming.iter().cloned());
        }
        Ok(companions)
    }

    /// The digests of the image's manifests.
    async fn manifests_of(&self, wanted: &ExpectedImage) -> Result<Vec<Digest>, Failure> {
        let mut digests = vec![wanted.root.clone()];
        let mut seen = HashSet::from([wanted.root.clone()]);
        let mut open = vec![(wanted.root.clone(), 0)];
        while let Some((digest, depth)) = open.pop() {
            let node = self.forecast.nodes.get(&self.source, wanted, &digest).await;
            for child in node?.children.iter() {
                if !seen.insert(child.digest.clone()) {
                    continue;
                }
                digests.push(child.digest.clone());
                if child.is_index && depth < MAX_DEPTH {
                    open.push((child.digest.clone(), depth + 1));
                }
            }
        }
        Ok(digests)
    }

    async fn circle(&self, subject: &Digest, tags: &SourceTags) -> Result<Circle, Failure> {
        // What the image itself lacks is no part of what its referrers lack.
        let look = Self { walked: Arc::default(), ..self.clone() };
        let found = find(&self.source, subject, tags).await?;
        let mut coming = Vec::new();
        for tag in found.tags.iter().filter(|tag| !self.is_planned(tag)) {
            coming.extend(look.tagged(tag).await?);
        }
        if found.referrers.is_empty() {
            return Ok(Circle { coming, referrers: Vec::new() });
        }
        let (force, no_clobber) = (self.forecast.policy.force, self.forecast.policy.no_clobber);
        let (listed, by_api) = self.ground.listed(subject).await?;
        let is_listed = |referrer: &Referrer| listed.iter().flatten().any(|listed| listed.digest == referrer.digest);
        let is_longer = !by_api && !found.referrers.iter().all(is_listed);
        let tag = Tag::of_digest(subject);
        if is_longer && !self.is_planned(&tag) {
            let there = self.ground.digest(&Identifier::Tag(tag)).await?;
            may_list(&self.task, subject, UnderTag::of(there.as_ref(), listed.is_some()), no_clobber)?;
        }
        for referrer in &found.referrers {
            if is_listed(referrer) && !force {
                continue;
            }
            let (digest, artifact_type) = (referrer.digest.clone(), referrer.artifact_type.clone());
            let blobs = look.lacking(&ExpectedImage::unchanged(digest.clone()), digest.clone(), None, 1).await?;
            coming.push(Companion { identifier: digest.into(), artifact_type, blobs });
        }
        Ok(Circle { coming, referrers: found.referrers.into_iter().map(|referrer| referrer.digest).collect() })
    }

    /// A tag of cosign, if it would travel.
    async fn tagged(&self, tag: &Tag) -> Result<Option<Companion>, Failure> {
        let identifier = Identifier::Tag(tag.clone());
        let task = of_tag(&self.task, tag);
        let there = self.ground.digest(&identifier);
        let (root, there) = tokio::try_join!(named(&self.source, &identifier), there)?;
        if let Some(there) = there.as_ref().filter(|there| **there != root) {
            let wanted = self.source.manifest(&Identifier::from(root.clone())).await?;
            let (clients, destination) = (&self.forecast.clients, self.ground.client());
            if self.forecast.digest_tags.is_left(clients, &task, destination, there, &wanted).await {
                return Ok(None);
            }
        }
        if self.forecast.policy.is_done(&task, Some(&root), there.as_ref(), &root)? {
            return Ok(None);
        }
        let wanted = ExpectedImage::unchanged(root.clone());
        self.tell_loss(&task, there.as_ref(), &wanted).await?;
        let look = Self { task, ..self.clone() };
        let blobs = look.lacking(&wanted, root, None, 0).await?;
        Ok(Some(Companion { identifier, artifact_type: "cosign".to_owned(), blobs }))
    }

    /// Tells what goes when the destination of `task` is to have `wanted`.
    pub(super) async fn tell_loss(
        &self,
        task: &Task,
        there: Option<&Digest>,
        wanted: &ExpectedImage,
    ) -> Result<(), Failure> {
        if let Some(there) = there.filter(|there| self.forecast.policy.tells_loss(task, there, &wanted.root)) {
            let manifest = wanted.manifest(&self.source, &wanted.root).await?;
            tell_loss(self.ground.client(), &task.destination, there, &manifest).await;
        }
        Ok(())
    }

    /// Whether the rules bring this tag.
    fn is_planned(&self, tag: &Tag) -> bool {
        self.forecast.digest_tags.is_planned(&self.task.destination.repository.tagged(tag.clone()))
    }
}
