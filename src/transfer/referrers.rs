//! What refers to an image travels with it: signatures, SBOMs, attestations.
//!
//! Found in three ways: by the registry's own list, by the index under a tag made of the subject's digest, and by the tags
//! that cosign makes of it. Each subject once in a round for a destination repository, however many images name it.

mod circles;
mod digest_tags;

use std::collections::HashSet;
use std::sync::Arc;

pub(super) use self::circles::{Circles, all_below, check_number};
pub(super) use self::digest_tags::{DigestTags, SourceTags};
use super::Engine;
use super::image::{Image, MAX_DEPTH};
use crate::digest::Digest;
use crate::event::{Category, Change, Event, Failure, Success};
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
        let mut circles = Circles::around(self.manifests_of(root).await?, changes);
        while let Some(subject) = circles.next() {
            circles.add(&self.bring_referrers_of(&subject, &tags).await?, self.source.repository())?;
        }
        if circles.are_cut {
            tracing::warn!(source = %self.task.source, "referrers of referrers, more than {MAX_DEPTH} deep, are left");
        }
        // A signature of what was is none of what it has become. Told when the image is done, so that it is told once.
        for (subject, referrers) in self.engine.digest_tags.left_behind(&self.source, changes, &tags).await? {
            self.engine.tell(Event::ReferrersLeft { source: self.task.source.clone(), subject, referrers });
        }
        Ok(())
    }

    /// The digests of a manifest and of all below it.
    async fn manifests_of(&self, root: &Digest) -> Result<Vec<Digest>, Failure> {
        let children_of = |digest: Digest| async move {
            let manifest = self.manifest_of(&digest, None).await?;
            Ok(manifest.content.children().iter().map(|child| (child.digest.clone(), child.is_index())).collect())
        };
        all_below(root, children_of).await
    }

    /// Brings what refers directly to `subject`, and answers what that is: what may be referred to in turn.
    async fn bring_referrers_of(&self, subject: &Digest, tags: &SourceTags) -> Result<Arc<[Digest]>, Failure> {
        let bring = async || {
            let found = find(&self.source, subject, tags).await?;
            check_number(found.referrers.len(), self.source.repository())?;
            let mut brought = self.bring_tags(subject, &found.tags).await?;
            if !found.referrers.is_empty() {
                self.bring_listed(subject, &found).await?;
            }
            for referrer in found.referrers {
                match referrer.is_index() {
                    true => brought.extend(self.manifests_of(&referrer.digest).await?),
                    false => brought.push(referrer.digest),
                }
            }
            Ok(brought.into())
        };
        self.destination.referrers.get((subject.clone(), self.source.repository().clone()), bring).await
    }

    /// Brings the tags of cosign that are not the rules', and answers what they name.
    async fn bring_tags(&self, subject: &Digest, tags: &[Tag]) -> Result<Vec<Digest>, Failure> {
        let tags: Vec<&Tag> = tags.iter().filter(|tag| !self.is_planned(tag)).collect();
        let mut named = Vec::new();
        if tags.is_empty() {
            return Ok(named);
        }
        // What several sources have is brought by one after the other.
        let _list = self.destination.list_of(subject).await;
        for tag in tags {
            named.extend(self.bring_tag(tag).await.map_err(|failure| of_referrer(tag, subject, failure))?);
        }
        Ok(named)
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
        let Engine { clients, digest_tags, pulls, policy, .. } = &*self.engine;
        let wanted = pulls.read(&self.source, wanted).await?;
        let is_left = digest_tags.is_left(clients, &self.task, &self.destination.client, there, &wanted).await?;
        if is_left && policy.force {
            self.bring_parts(&wanted, 0).await?;
        }
        Ok(is_left)
    }

    /// Brings manifests by digest, and sees to it that the destination lists them as referrers of `subject`.
    async fn bring_listed(
        &self,
        subject: &Digest,
        Found { referrers, under_tag, is_under_tag, .. }: &Found,
    ) -> Result<(), Failure> {
        let destination = &self.destination.client;
        // What several sources have is added by one after the other.
        let _list = self.destination.list_of(subject).await;
        let by_api = destination.referrers(subject).await?;
        let has_api = by_api.is_some();
        let found = match by_api {
            Some(listed) => Some(listed),
            None => destination.tagged_referrers(subject).await?.map(|list| list.referrers),
        };
        let listed = found.as_deref().unwrap_or_default();
        let mut all = listed.to_vec();
        for referrer in referrers {
            if !self.engine.policy.force && listed.iter().any(|listed| listed.digest == referrer.digest) {
                continue;
            }
            let brought = self.bring_referrer(subject, referrer).await;
            let manifest = brought.map_err(|failure| of_referrer(&referrer.digest, subject, failure))?;
            all.retain(|listed| listed.digest != referrer.digest);
            let referrer = referrer.clone().told_by(&manifest);
            self.tell_referrer(&Identifier::from(referrer.digest.clone()), &referrer.artifact_type);
            all.push(referrer);
        }
        // With the API the registry has put them on its list itself. Else what others listed stays listed.
        let tag = Tag::of_digest(subject);
        if has_api || all == listed {
            return Ok(());
        }
        if self.is_planned(&tag) {
            if !is_under_tag {
                let source = &self.task.source;
                tracing::warn!(
                    %source, %subject,
                    "its list of referrers is copied as the rules say, and lacks some that are there now: the destination \
                     has no list of its own; rules that name the tags of images alone have the lists joined"
                );
            }
            return Ok(());
        }
        let no_clobber = self.engine.policy.no_clobber;
        if found.is_none() || no_clobber {
            let there = self.named_there(&Identifier::Tag(tag)).await?;
            may_list(&self.task, subject, UnderTag::of(there.as_ref(), found.is_some()), no_clobber)?;
        }
        let (place, joined) = destination.list_of_referrers(subject, &all).await?;
        // Where there is nothing to join it is the source's own, with its digest and all that it says beside the entries.
        let own = under_tag.as_ref().filter(|own| own.serves_for(&joined, listed));
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

/// What refers directly to `subject`; `tags` are those of the source that are made of digests.
pub(super) async fn find(source: &RepositoryClient, subject: &Digest, tags: &SourceTags) -> Result<Found, Error> {
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

/// What the destination has under the tag for the list of what refers to a manifest.
pub(super) enum UnderTag<'a> {
    Nothing,
    List,
    /// Something else with this digest.
    Other(&'a Digest),
}

impl<'a> UnderTag<'a> {
    /// The tag names `there`, which can be read as a list or not.
    pub fn of(there: Option<&'a Digest>, is_list: bool) -> Self {
        match there {
            None => Self::Nothing,
            Some(_) if is_list => Self::List,
            Some(other) => Self::Other(other),
        }
    }
}

/// Whether the list of what refers to `subject` may be written under its tag. What is no list is somebody's image, and
/// stays; but the subject itself is there by its digest, and GitLab says that the tag names it.
pub(super) fn may_list(task: &Task, subject: &Digest, under: UnderTag<'_>, no_clobber: bool) -> Result<(), Failure> {
    let reason = match under {
        UnderTag::List if no_clobber => {
            format!("more refers to {subject} than the destination lists under its tag; --no-clobber leaves it so")
        }
        UnderTag::Other(there) if no_clobber || there != subject => {
            format!(
                "what refers to {subject} cannot be listed: the destination names {there} under the tag for that, which \
                 is no list and is left so; delete that tag, or copy without --referrers"
            )
        }
        _ => return Ok(()),
    };
    Err(Failure::for_good(Category::Refused, Some(task.destination.repository.registry()), reason))
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

/// What refers to a manifest could not be brought, which is there itself.
fn of_referrer(referrer: &impl std::fmt::Display, subject: &Digest, failure: Failure) -> Failure {
    let reason = format!("{subject} is there, but not {referrer}, which refers to it: {}", failure.reason);
    Failure { reason: reason.into(), ..failure }
}
