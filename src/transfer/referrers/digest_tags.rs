//! What is known of tags that are made of digests, at sources and at destinations.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use super::{Found, find};
use crate::digest::Digest;
use crate::event::{Change, Failure};
use crate::plan::Task;
use crate::reference::{Identifier, Reference, Repository, Tag};
use crate::registry::{Clients, Error, Manifest, RepositoryClient};
use crate::shared::{Keyed, lock};
use crate::transfer::replaced::difference;

/// Tags that are made of digests: those of signatures and of lists of referrers.
#[derive(Default)]
pub(in crate::transfer) struct DigestTags {
    /// Those that sources have.
    listed: Keyed<Repository, Arc<SourceTags>, Error>,
    /// How much refers to a manifest of a source that was converted, and so is left.
    left: Keyed<(Repository, Digest), usize, Error>,
    /// Those that the rules want at destinations, here or on another machine.
    planned: Mutex<HashSet<Reference>>,
    /// From where images come to each destination.
    sources: Mutex<HashMap<Repository, HashSet<Repository>>>,
}

/// Those tags of one source.
pub(in crate::transfer) enum SourceTags {
    Listed(HashSet<Tag>),
    /// There is no list: each is asked for.
    Unlisted,
}

impl SourceTags {
    pub(super) async fn have(&self, source: &RepositoryClient, tag: &Tag) -> Result<bool, Error> {
        match self {
            Self::Listed(tags) => Ok(tags.contains(tag)),
            Self::Unlisted => Ok(source.digest(&Identifier::Tag(tag.clone())).await?.is_some()),
        }
    }
}

impl DigestTags {
    /// Notes what a round brings by itself.
    pub fn plan(&self, tasks: &[Task]) {
        let (mut planned, mut sources) = (lock(&self.planned), lock(&self.sources));
        for Task { source, destination } in tasks {
            if destination.identifier.is_about_digest() {
                planned.insert(destination.clone());
            }
            sources.entry(destination.repository.clone()).or_default().insert(source.repository.clone());
        }
    }

    /// Notes what others bring.
    pub fn leave_to_others(&self, tags: &[Task]) {
        lock(&self.planned).extend(tags.iter().map(|task| task.destination.clone()));
    }

    pub fn is_planned(&self, tag: &Reference) -> bool {
        lock(&self.planned).contains(tag)
    }

    /// Listed once in a run, which is less than asking for each; of a repository that is there.
    pub async fn of(&self, source: &RepositoryClient) -> Result<Arc<SourceTags>, Failure> {
        let list = async || {
            let tags = match source.tags().await {
                // Where images have digests alone, distribution knows no repository when it is asked for tags.
                Err(error) if error.is_not_found() && error.has_code("NAME_UNKNOWN") => Vec::new(),
                // Not every account that may pull may list, and not every proxy lets a list through.
                Err(error) if matches!(error.status().map(|status| status.as_u16()), Some(403 | 404 | 405 | 501)) => {
                    tracing::info!("{error}; tags of signatures are asked for one by one");
                    return Ok(Arc::new(SourceTags::Unlisted));
                }
                tags => tags?,
            };
            Ok(Arc::new(SourceTags::Listed(tags.into_iter().filter(Tag::is_about_digest).collect())))
        };
        self.listed.get(source.repository().clone(), list).await.map_err(|error| {
            let failure = error.to_failure();
            let reason = format!("what refers to it is looked for in the list of tags: {}", failure.reason);
            Failure { reason: reason.into(), ..failure }
        })
    }

    /// Whether a tag of cosign stays as the destination of `task` has it: because all that the source has is there, beside
    /// what others have added; or because another source of this run has it so, which would have it moved back.
    pub async fn is_left(
        &self,
        clients: &Clients,
        task: &Task,
        destination: &RepositoryClient,
        there: &Digest,
        wanted: &Manifest,
    ) -> Result<bool, Error> {
        match difference(destination, there, wanted).await? {
            Some(difference) if difference.is_addition() => return Ok(true),
            Some(difference) if difference.lost > 0 => {}
            _ => return Ok(false),
        }
        let Some(other) = self.other_source(clients, task, there).await else { return Ok(false) };
        tracing::warn!(
            tag = %task.destination, source = %task.source, %there, wanted = %wanted.digest,
            "this tag stays as {other} has it, which comes to the same repository and was first"
        );
        Ok(true)
    }

    /// Another source of the same destination that has `digest` under this tag.
    async fn other_source(&self, clients: &Clients, task: &Task, digest: &Digest) -> Option<Repository> {
        let Identifier::Tag(tag) = &task.source.identifier else { return None };
        let mut sources: Vec<_> = lock(&self.sources).get(&task.destination.repository)?.iter().cloned().collect();
        sources.retain(|source| *source != task.source.repository);
        for source in sources {
            let client = clients.reader(&source);
            // Who cannot be asked now has it at another time.
            if let Ok(tags) = self.of(&client).await
                && tags.have(&client, tag).await.unwrap_or(false)
                && client.digest(&task.source.identifier).await.ok().flatten().as_ref() == Some(digest)
            {
                return Some(source);
            }
        }
        None
    }

    /// The manifests that were converted and have referrers, and how many. Each is asked for once in a run; `tags` are
    /// those of the source.
    pub async fn left_behind(
        &self,
        source: &RepositoryClient,
        changes: &[Change],
        tags: &SourceTags,
    ) -> Result<Vec<(Digest, usize)>, Failure> {
        let mut left = Vec::new();
        for subject in changes.iter().map(|change| &change.from) {
            let count = async || {
                let Found { referrers, tags, .. } = find(source, subject, tags).await?;
                Ok(referrers.len() + tags.len())
            };
            let counted = self.left.get((source.repository().clone(), subject.clone()), count).await?;
            left.push((subject.clone(), counted));
        }
        left.retain(|(_, referrers)| *referrers > 0);
        Ok(left)
    }
}
