//! What refers to an image travels with it: signatures, SBOMs, attestations.
//!
//! Once an image is in its place, its referrers are looked for, and those of every manifest that it names or that was found
//! so, until nothing is new. The referrers of a manifest are what the source lists as such, by its API and by the index
//! under a tag made of the digest, and what stands under the tags that cosign makes of it. What is listed is put by its
//! digest, and where the destination keeps no list itself, it is joined to the one under the tag. A tag of cosign is copied
//! as an image is, but stays where the destination has added to it. A tag that the rules name is left to them. To what was
//! converted nothing is brought: what refers to it at the source is counted, and left.
//!
//! Each manifest is looked at once in a round for a destination repository, however many images have it.

mod digest_tags;
mod listing;
mod lost;
mod subjects;

use std::collections::HashSet;
use std::sync::Arc;

pub(super) use self::digest_tags::{DigestTags, SourceTags};
pub(super) use self::listing::{Keeper, Listing};
pub(super) use self::lost::Lost;
use self::subjects::check_number;
pub(super) use self::subjects::{Subject, Subjects};
use super::Engine;
use super::image::Image;
use crate::digest::Digest;
use crate::event::{Change, Event, Failure, Success};
use crate::plan::Task;
use crate::reference::{Identifier, Tag};
use crate::registry::{Error, Manifest, Referrer, ReferrersList, RepositoryClient};

/// What cosign adds to the tag of a subject.
const COSIGN: [&str; 3] = ["sig", "att", "sbom"];

impl Image {
    /// Brings what refers to the image that is in its place, or to a manifest of it, and to what refers to it in turn.
    pub(super) async fn bring_referrers(&self, root: &Digest, changes: &[Change]) -> Result<(), Failure> {
        let tags = self.engine.digest_tags.of(&self.source).await.map_err(|failure| {
            let reason = format!("the image is there; {}", failure.reason);
            Failure { reason: reason.into(), ..failure }
        })?;
        let made: HashSet<&Digest> = changes.iter().map(|change| &change.to).collect();
        let mut subjects = Subjects::of(root, self.source.repository());
        let mut lost = Lost::default();
        while let Some(subject) = subjects.next() {
            let children = subjects.unless_gone(&subject.digest, self.children_of(&subject).await);
            subjects.add(&lost.unless_lost(children)?.unwrap_or_default())?;
            // To what was made on the way nobody can have referred.
            if !made.contains(&subject.digest) {
                let brought = self.bring_referrers_of(&subject.digest, &tags).await?;
                subjects.add(&brought.subjects)?;
                lost.join(&brought.lost);
            }
        }
        if let Some(failure) = lost.failure() {
            return Err(failure.clone());
        }
        // A signature of what was is none of what it has become. Told when the image is done, so that it is told once.
        for (subject, referrers) in self.engine.digest_tags.left_behind(&self.source, changes, &tags).await? {
            self.engine.tell(Event::ReferrersLeft { source: self.task.source.clone(), subject, referrers });
        }
        Ok(())
    }

    async fn children_of(&self, subject: &Subject) -> Result<Vec<Subject>, Failure> {
        if !subject.is_index {
            return Ok(Vec::new());
        }
        let manifest = self.manifest_of(&subject.digest, None).await?;
        Ok(manifest.content.children().iter().map(Subject::from).collect())
    }

    /// Brings what refers directly to `subject`.
    async fn bring_referrers_of(&self, subject: &Digest, tags: &SourceTags) -> Result<Arc<Referring>, Failure> {
        let bring = async || {
            let mut brought = Referring::default();
            if let Some(found) = brought.lost.unless_lost(find_to_bring(&self.source, subject, tags).await)? {
                self.bring_tags(subject, &found.tags, &mut brought).await?;
                self.bring_listed(subject, &found, &mut brought).await?;
            }
            Ok(Arc::new(brought))
        };
        self.destination.referrers.get((subject.clone(), self.source.repository().clone()), bring).await
    }

    /// Brings the tags of cosign that are not the rules'.
    async fn bring_tags(&self, subject: &Digest, tags: &[Tag], brought: &mut Referring) -> Result<(), Failure> {
        let tags: Vec<&Tag> = tags.iter().filter(|tag| !self.is_planned(tag)).collect();
        if tags.is_empty() {
            return Ok(());
        }
        // What several sources have is brought by one after the other.
        let _list = self.destination.list_of(subject).await;
        for tag in tags {
            let named = self.bring_tag(tag).await.map_err(|failure| of_referrer(tag, subject, failure));
            let named = brought.lost.unless_lost(named)?.flatten();
            brought.subjects.extend(named.map(|digest| Subject { digest, is_index: false }));
        }
        Ok(())
    }

    /// Brings a tag of the same repository, as it is. Answers what it names, unless the destination's own stays there.
    async fn bring_tag(&self, tag: &Tag) -> Result<Option<Digest>, Failure> {
        let task = of_tag(&self.task, tag);
        let image = Self { task, ledger: Arc::default(), parts: Arc::default(), ..self.clone() };
        let copied = image.copy_as_it_is().await;
        self.ledger.add(&image.ledger);
        if copied? == Success::Copied {
            self.tell_referrer(&Identifier::Tag(tag.clone()), "cosign");
        }
        Ok(image.ledger.source_digest())
    }

    /// Whether a tag of cosign stays as it is at the destination. With --force, what the source has of it is there then.
    pub(super) async fn is_left(&self, there: &Digest, wanted: &Digest) -> Result<bool, Failure> {
        let Engine { clients, digest_tags, policy, .. } = &*self.engine;
        let wanted = self.read(Some(wanted)).await?;
        let is_left = digest_tags.is_left(clients, &self.task, &self.destination.client, there, &wanted).await?;
        if is_left && policy.force {
            self.bring_parts(&wanted, 0).await?;
        }
        Ok(is_left)
    }

    /// Brings manifests by digest, and sees to it that the destination lists them as referrers of `subject`.
    async fn bring_listed(&self, subject: &Digest, found: &Found, brought: &mut Referring) -> Result<(), Failure> {
        if found.referrers.is_empty() {
            return Ok(());
        }
        // What several sources have is added by one after the other.
        let _list = self.destination.list_of(subject).await;
        let there = Listing::of(subject, &self.destination.client).await;
        let Some(there) = brought.lost.unless_lost(there)? else { return Ok(()) };
        let listed = there.digests();
        let mut new = Vec::new();
        for referrer in &found.referrers {
            if self.engine.policy.force || !listed.contains(&referrer.digest) {
                let manifest = self.bring_referrer(subject, referrer).await;
                let manifest = manifest.map_err(|failure| of_referrer(&referrer.digest, subject, failure));
                let Some(manifest) = brought.lost.unless_lost(manifest)? else { continue };
                let referrer = referrer.clone().told_by(&manifest);
                self.tell_referrer(&Identifier::from(referrer.digest.clone()), &referrer.artifact_type);
                new.push(referrer);
            }
            brought.subjects.push(referrer.into());
        }
        let all = there.with(new);
        if there.keeper != Keeper::Registry && all != there.referrers {
            let listed = self.list(subject, &all, &there, found).await;
            brought.lost.unless_lost(listed)?;
        }
        Ok(())
    }

    /// Writes the list of what refers to `subject`, which is `all`, in place of the one that is `there`.
    async fn list(&self, subject: &Digest, all: &[Referrer], there: &Listing, found: &Found) -> Result<(), Failure> {
        let tag = Tag::of_digest(subject);
        if self.is_planned(&tag) {
            if !found.is_under_tag {
                let source = &self.task.source;
                tracing::warn!(
                    %source, %subject,
                    "its list of referrers is copied as the rules say, and lacks some that are there now: the destination \
                     has no list of its own; rules that name the tags of images alone have the lists joined"
                );
            }
            return Ok(());
        }
        let other = match there.keeper {
            Keeper::Nobody => self.named_there(&Identifier::Tag(tag)).await?,
            Keeper::Tag | Keeper::Registry => None,
        };
        there.may_grow(&self.task, subject, other.as_ref(), self.engine.policy.no_clobber)?;
        let (place, joined) = self.destination.client.list_of_referrers(subject, all).await?;
        // Where there is nothing to join it is the source's own, with its digest and all that it says beside the entries.
        let own = found.under_tag.as_ref().filter(|own| own.serves_for(&joined, &there.referrers));
        Ok(self.put(&place, own.map_or(&joined, |own| &own.manifest)).await?)
    }

    /// Writes a referrer with all that it names, also where it is already: a registry with a list of referrers adds those
    /// that are written.
    async fn bring_referrer(&self, subject: &Digest, referrer: &Referrer) -> Result<Arc<Manifest>, Failure> {
        let by_digest = Identifier::from(referrer.digest.clone());
        let manifest = self.engine.pulls.read(&self.source, &referrer.digest).await?;
        let subject_of = manifest.subject();
        if subject_of.as_ref() != Some(subject) {
            tracing::warn!(digest = %referrer.digest, %subject, "it is listed as a referrer, but refers to something else");
        }
        self.commit(&manifest, &by_digest, 1).await.map_err(|unsettled| unsettled.failure)?;
        self.tell_skipped(&manifest);
        Ok(manifest)
    }

    /// Whether the rules name this tag: then it is brought as they say, and by nobody else.
    fn is_planned(&self, tag: &Tag) -> bool {
        self.engine.digest_tags.is_planned(&self.task.destination.repository.tagged(tag.clone()))
    }

    fn tell_referrer(&self, identifier: &Identifier, artifact_type: &str) {
        self.engine.tell(Event::ReferrerCopied {
            source: self.task.source.clone(),
            repository: self.task.destination.repository.clone(),
            referrer: identifier.to_string(),
            artifact_type: artifact_type.to_owned(),
        });
    }
}

/// What refers directly to `subject`, unless so much is not brought; `tags` are those of the source that are made of
/// digests.
pub(super) async fn find_to_bring(
    source: &RepositoryClient,
    subject: &Digest,
    tags: &SourceTags,
) -> Result<Found, Failure> {
    let found = find(source, subject, tags).await?;
    check_number(found.referrers.len(), source.repository())?;
    Ok(found)
}

async fn find(source: &RepositoryClient, subject: &Digest, tags: &SourceTags) -> Result<Found, Error> {
    let by_api = source.referrers(subject).await?.unwrap_or_default();
    let own_tag = Tag::of_digest(subject);
    let under_tag = match tags {
        SourceTags::Listed(tags) if !tags.contains(&own_tag) => None,
        _ => source.tagged_referrers(subject).await?,
    };
    let by_tag = under_tag.as_ref().map(|list| list.referrers.as_slice()).unwrap_or_default();
    let tagged: HashSet<&Digest> = by_tag.iter().map(|referrer| &referrer.digest).collect();
    let is_under_tag = by_api.iter().all(|referrer| tagged.contains(&referrer.digest));
    let mut seen = HashSet::new();
    let all = by_api.into_iter().chain(by_tag.iter().cloned());
    let referrers = all.filter(|referrer| referrer.digest != *subject && seen.insert(referrer.digest.clone()));
    let referrers: Vec<Referrer> = referrers.collect();
    let mut cosign = Vec::new();
    for tag in COSIGN.iter().filter_map(|suffix| format!("{own_tag}.{suffix}").parse().ok()) {
        if tags.have(source, &tag).await? {
            cosign.push(tag);
        }
    }
    Ok(Found { referrers, under_tag, is_under_tag, tags: cosign })
}

/// A tag beside that of the image, on its way between the same repositories.
pub(super) fn of_tag(Task { source, destination }: &Task, tag: &Tag) -> Task {
    Task { source: source.repository.tagged(tag.clone()), destination: destination.repository.tagged(tag.clone()) }
}

/// What refers to one manifest.
pub(super) struct Found {
    /// By digest, from a list.
    pub referrers: Vec<Referrer>,
    /// The list under the tag for that.
    pub under_tag: Option<ReferrersList>,
    /// Whether it has them all.
    pub is_under_tag: bool,
    /// Under tags of cosign.
    pub tags: Vec<Tag>,
}

/// What refers to a manifest, as far as it was brought.
#[derive(Default)]
pub(super) struct Referring {
    /// To these others may refer in turn.
    subjects: Vec<Subject>,
    /// What of it cannot be had.
    lost: Lost,
}

/// What refers to a manifest could not be brought, which is there itself.
pub(super) fn of_referrer(referrer: &impl std::fmt::Display, subject: &Digest, failure: Failure) -> Failure {
    let reason = format!("{subject} is there, but not {referrer}, which refers to it: {}", failure.reason);
    Failure { reason: reason.into(), ..failure }
}
