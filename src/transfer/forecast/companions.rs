//! What refers to an image and would travel with it, found as the engine finds it.

use std::sync::Arc;

use super::Look;
use super::nodes::{Blob, Child};
use crate::digest::Digest;
use crate::event::Failure;
use crate::plan::Task;
use crate::reference::{Identifier, Tag};
use crate::transfer::expected::{ExpectedImage, named};
use crate::transfer::referrers::{Keeper, SourceTags, Subject, Subjects, find, of_tag};
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
    subjects: Vec<Subject>,
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
        let mut subjects = Subjects::of(&wanted.root, self.source.repository());
        while let Some(subject) = subjects.next() {
            subjects.add_children(&subject.digest, self.children_of(wanted, &subject).await)?;
            if wanted.changes.iter().any(|change| change.to == subject.digest) {
                continue;
            }
            let key = (subject.digest.clone(), self.source.repository().clone());
            let look = async || self.circle(&subject.digest, &tags).await.map(Arc::new);
            let circle = self.ground.circles.get(key, look).await?;
            subjects.add(&circle.subjects)?;
            companions.coming.extend(circle.coming.iter().cloned());
        }
        Ok(companions)
    }

    async fn children_of(&self, wanted: &ExpectedImage, subject: &Subject) -> Result<Vec<Subject>, Failure> {
        if !subject.is_index {
            return Ok(Vec::new());
        }
        let node = self.forecast.nodes.get(&self.source, wanted, &subject.digest).await?;
        let child = |child: &Child| Subject { digest: child.digest.clone(), is_index: child.is_index };
        Ok(node.children.iter().map(child).collect())
    }

    async fn circle(&self, subject: &Digest, tags: &SourceTags) -> Result<Circle, Failure> {
        // What the image itself lacks is no part of what its referrers lack.
        let look = Self { walked: Arc::default(), ..self.clone() };
        let found = find(&self.source, subject, tags).await?;
        let mut circle = Circle::default();
        for tag in found.tags.iter().filter(|tag| !self.is_planned(tag)) {
            if let Some((named, companion)) = look.tagged(tag).await? {
                circle.subjects.push(Subject { digest: named, is_index: false });
                circle.coming.extend(companion);
            }
        }
        if found.referrers.is_empty() {
            return Ok(circle);
        }
        let (force, no_clobber) = (self.forecast.policy.force, self.forecast.policy.no_clobber);
        let there = self.ground.listing(subject).await?;
        let is_longer = !found.referrers.iter().all(|referrer| there.has(&referrer.digest));
        let tag = Tag::of_digest(subject);
        if is_longer && there.keeper != Keeper::Registry && !self.is_planned(&tag) {
            let other = self.ground.digest(&Identifier::Tag(tag)).await?;
            there.may_grow(&self.task, subject, other.as_ref(), no_clobber)?;
        }
        for referrer in &found.referrers {
            let digest = &referrer.digest;
            if force || !there.has(digest) {
                let wanted = ExpectedImage::unchanged(digest.clone());
                let blobs = look.lacking(&wanted, digest.clone(), None, 1).await?;
                let (identifier, artifact_type) = (digest.clone().into(), referrer.artifact_type.clone());
                circle.coming.push(Companion { identifier, artifact_type, blobs });
            }
            circle.subjects.push(referrer.into());
        }
        Ok(circle)
    }

    /// What a tag of cosign names, unless the destination's own stays there; and the tag, if it would travel.
    async fn tagged(&self, tag: &Tag) -> Result<Option<(Digest, Option<Companion>)>, Failure> {
        let identifier = Identifier::Tag(tag.clone());
        let task = of_tag(&self.task, tag);
        let there = self.ground.digest(&identifier);
        let (root, there) = tokio::try_join!(named(&self.source, &identifier), there)?;
        let wanted = ExpectedImage::unchanged(root);
        let wanted = wanted.confirmed(there.as_ref(), &self.source, &identifier).await?;
        let (root, digest) = (wanted.root.clone(), wanted.root_like(there.as_ref()));
        if let Some(there) = there.as_ref().filter(|there| **there != digest) {
            let wanted = wanted.manifest(&self.source, &root).await?;
            let (clients, destination) = (&self.forecast.clients, self.ground.client());
            if self.forecast.digest_tags.is_left(clients, &task, destination, there, &wanted).await? {
                return Ok(None);
            }
        }
        if self.forecast.policy.is_done(&task, Some(&root), there.as_ref(), &digest)? {
            return Ok(Some((root, None)));
        }
        self.tell_loss(&task, there.as_ref(), &wanted).await?;
        let look = Self { task, ..self.clone() };
        let blobs = look.lacking(&wanted, root.clone(), None, 0).await?;
        Ok(Some((root, Some(Companion { identifier, artifact_type: "cosign".to_owned(), blobs }))))
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
