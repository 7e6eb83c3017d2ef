//! What refers to an image and would travel with it, found as the engine finds it.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::Look;
use super::nodes::{Blob, Child};
use crate::digest::Digest;
use crate::event::Failure;
use crate::plan::Task;
use crate::reference::{Identifier, Tag};
use crate::transfer::expected::{ExpectedImage, named};
use crate::transfer::image::CHILDREN;
use crate::transfer::referrers::{
    Keeper, Listing, Lost, SourceTags, Subject, Subjects, find_to_bring, of_referrer, of_tag,
};
use crate::transfer::replaced::tell_loss;

/// Something that refers to an image, or to a manifest of it, and is not at the destination.
#[derive(Clone)]
pub(super) struct Companion {
    /// Its tag or digest.
    pub identifier: Identifier,
    /// To what it refers.
    pub subject: Digest,
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
    /// What of it cannot be had.
    lost: Lost,
}

/// What refers to an image.
#[derive(Default)]
pub(super) struct Companions {
    pub coming: Vec<Companion>,
    /// Manifests that are converted, with the number of things that refer to each and stay behind.
    pub left: Vec<(Digest, usize)>,
    /// What cannot be had.
    pub lost: Lost,
}

impl Look {
    pub(super) async fn companions(&self, wanted: &ExpectedImage) -> Result<Companions, Failure> {
        let tags = self.forecast.digest_tags.of(&self.source).await?;
        let left = self.forecast.digest_tags.left_behind(&self.source, &wanted.changes, &tags).await?;
        let mut companions = Companions { left, ..Companions::default() };
        let made: HashSet<&Digest> = wanted.changes.iter().map(|change| &change.to).collect();
        let mut subjects = Subjects::of(&wanted.root, self.source.repository());
        while let Some(subject) = subjects.next() {
            let children = subjects.unless_gone(&subject.digest, self.children_of(wanted, &subject).await);
            subjects.add(&companions.lost.unless_lost(children)?.unwrap_or_default())?;
            if made.contains(&subject.digest) {
                continue;
            }
            let key = (subject.digest.clone(), self.source.repository().clone());
            let look = async || self.circle(&subject.digest, &tags).await.map(Arc::new);
            let circle = self.ground.circles.get(key, look).await?;
            subjects.add(&circle.subjects)?;
            companions.coming.extend(circle.coming.iter().cloned());
            companions.lost.join(&circle.lost);
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
        let mut circle = Circle::default();
        let found = find_to_bring(&self.source, subject, tags).await;
        let Some(found) = circle.lost.unless_lost(found)? else { return Ok(circle) };
        for tag in found.tags.iter().filter(|tag| !self.is_planned(tag)) {
            let tagged = self.tagged(tag, subject).await.map_err(|failure| of_referrer(tag, subject, failure));
            if let Some((named, companion)) = circle.lost.unless_lost(tagged)?.flatten() {
                circle.subjects.push(Subject { digest: named, is_index: false });
                circle.coming.extend(companion);
            }
        }
        if found.referrers.is_empty() {
            return Ok(circle);
        }
        let Some(there) = circle.lost.unless_lost(self.ground.listing(subject).await)? else { return Ok(circle) };
        let listed = there.digests();
        if !found.referrers.iter().all(|referrer| listed.contains(&referrer.digest)) {
            circle.lost.unless_lost(self.may_list(subject, &there).await)?;
        }
        for referrer in &found.referrers {
            let digest = &referrer.digest;
            if self.forecast.policy.force || !listed.contains(digest) {
                let wanted = ExpectedImage::unchanged(digest.clone());
                let blobs = self.afresh().lacking(&wanted, digest.clone(), None, 1).await;
                let blobs = blobs.map_err(|failure| of_referrer(digest, subject, failure));
                let Some(blobs) = circle.lost.unless_lost(blobs)? else { continue };
                let (identifier, subject) = (digest.clone().into(), subject.clone());
                let artifact_type = referrer.artifact_type.clone();
                circle.coming.push(Companion { identifier, subject, artifact_type, blobs });
            }
            circle.subjects.push(referrer.into());
        }
        Ok(circle)
    }

    /// Finds out how the blobs of what refers to the image would come. As in a migration, what cannot be had keeps no other
    /// away: each has its part of `unclear`.
    pub(super) async fn ask_for_companions(
        &self,
        companions: &mut Companions,
        unclear: Vec<Vec<Arc<Blob>>>,
    ) -> Result<(), Failure> {
        let coming = std::mem::take(&mut companions.coming).into_iter().zip(unclear);
        let asked = stream::iter(coming).map(|(companion, unclear)| async { (companion, self.ask_for(unclear).await) });
        let mut asked = pin!(asked.buffered(CHILDREN));
        while let Some((companion, asked)) = asked.next().await {
            let Companion { identifier, subject, .. } = &companion;
            let asked = asked.map_err(|failure| of_referrer(identifier, subject, failure));
            if companions.lost.unless_lost(asked)?.is_some() {
                companions.coming.push(companion);
            }
        }
        Ok(())
    }

    /// To look at something that refers to the image. What the image lacks, or another of its referrers, is lacked by this
    /// one, too: the other may be lost.
    fn afresh(&self) -> Self {
        Self { walked: Arc::default(), ..self.clone() }
    }

    /// Whether more may be listed as referring to `subject`.
    async fn may_list(&self, subject: &Digest, there: &Listing) -> Result<(), Failure> {
        let tag = Tag::of_digest(subject);
        if there.keeper == Keeper::Registry || self.is_planned(&tag) {
            return Ok(());
        }
        let other = self.ground.digest(&Identifier::Tag(tag)).await?;
        there.may_grow(&self.task, subject, other.as_ref(), self.forecast.policy.no_clobber)
    }

    /// What a tag of cosign names, unless the destination's own stays there; and the tag, if it would travel.
    async fn tagged(&self, tag: &Tag, subject: &Digest) -> Result<Option<(Digest, Option<Companion>)>, Failure> {
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
        let look = Self { task, ..self.afresh() };
        let blobs = look.lacking(&wanted, root.clone(), None, 0).await?;
        let (subject, artifact_type) = (subject.clone(), "cosign".to_owned());
        Ok(Some((root, Some(Companion { identifier, subject, artifact_type, blobs }))))
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
