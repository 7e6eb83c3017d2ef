//! What is known of one destination repository while a round works on it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OnceCell, OwnedMutexGuard};

use super::manifests::Manifests;
use super::puts::Puts;
use super::referrers::Referring;
use crate::digest::Digest;
use crate::event::Failure;
use crate::reference::{Identifier, Registry, Repository, Tag};
use crate::registry::{Error, Manifest, RepositoryClient, Upload};
use crate::shared::{Keyed, lock};

/// As many HEADs are worth a page of a tag list.
const TAGS_A_PAGE: usize = 100;

/// How long the images of a new repository wait for the first of them.
const FIRST: Duration = Duration::from_secs(1);

/// One repository that is written to, shared by all its images of a round.
pub(super) struct Destination {
    pub client: RepositoryClient,
    /// Images of this round that are to come here.
    images: usize,
    tags: OnceCell<Tags>,
    /// Nothing here is believed to be whole.
    pub force: bool,
    /// It opened an upload in an earlier round.
    known_open: bool,
    others_are_new: Arc<AtomicBool>,
    /// Whether it opens uploads, asked where its tags do not tell.
    opens: OnceCell<Opens>,
    opening: tokio::sync::Mutex<()>,
    /// The upload by which that was found out, until a blob is sent into it.
    first_upload: Mutex<Option<Upload>>,
    has_blobs: AtomicBool,
    pub manifests: Manifests,
    /// What refers to a manifest, when that is here; in the same way.
    pub referrers: Keyed<(Digest, Repository), Arc<Referring>, Failure>,
    /// By manifest, held while the list of what refers to it is changed: images of several sources may add to one list.
    lists: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    /// By manifest, the layers that it names, or that are named below it, and that are left where they are. Few have any.
    skipped: Mutex<HashMap<Digest, Vec<Digest>>>,
    /// Which manifests are put one after the other.
    pub puts: Puts,
}

/// What the run knows of a repository before the round begins to work on it.
#[derive(Default)]
pub(super) struct Known {
    /// It opened an upload in an earlier round.
    pub is_open: bool,
    /// An earlier round may have left blobs there.
    pub has_blobs: bool,
    /// Shared by all repositories of the registry: whether the one that was last looked at had no tags. Then the next
    /// probably has none either.
    pub others_are_new: Arc<AtomicBool>,
}

/// What a repository answered when it was asked to open an upload.
enum Opens {
    Yes,
    No(Error),
    /// The question failed for a reason that says nothing of the repository.
    Untold,
}

/// What is known of the tags.
enum Tags {
    /// The first one asked for was there, so that more probably are; each has to be asked for.
    SomeThere,
    /// The first one could not be asked for, as if the repository were not there or not for us.
    Refused(Error),
    /// There is no list, or none that is worth reading; each has to be asked for.
    Unlisted,
    Listed(HashSet<Tag>),
}

impl Destination {
    pub fn new(client: RepositoryClient, images: usize, force: bool, known: Known) -> Self {
        Self {
            client,
            images,
            force,
            known_open: known.is_open,
            others_are_new: known.others_are_new,
            tags: OnceCell::new(),
            opens: OnceCell::new(),
            opening: tokio::sync::Mutex::default(),
            first_upload: Mutex::default(),
            has_blobs: AtomicBool::new(known.has_blobs),
            manifests: Manifests::default(),
            referrers: Keyed::default(),
            lists: Mutex::default(),
            skipped: Mutex::default(),
            puts: Puts::default(),
        }
    }

    pub fn registry(&self) -> &Registry {
        self.client.repository().registry()
    }

    /// What is named here, if it is there.
    pub async fn digest(&self, identifier: &Identifier) -> Result<Option<Digest>, Error> {
        self.unless_forced(self.named(identifier).await)
    }

    /// What is named here at this moment, whatever the tags were when they were listed.
    pub async fn digest_now(&self, identifier: &Identifier) -> Result<Option<Digest>, Error> {
        self.unless_forced(self.client.digest(identifier).await)
    }

    /// Of a tag that a full disk left half written distribution never tells: it answers 500. A PUT mends it, and is what
    /// `--force` leads to in any case.
    fn unless_forced(&self, named: Result<Option<Digest>, Error>) -> Result<Option<Digest>, Error> {
        match named {
            Err(error) if self.force && error.is_of_server() => {
                tracing::warn!(%error, "it is not known what the destination names, which --force writes anyway");
                Ok(None)
            }
            named => named,
        }
    }

    /// What is named here, and whether it can be told.
    ///
    /// The first tag is asked for by itself. If it is there, this is probably a repeated run, in which a list would save
    /// nothing. If it is not, the list tells at once which others are not either, and whether there is anything. Beside
    /// new repositories the list comes first: it is what this would lead to.
    async fn named(&self, identifier: &Identifier) -> Result<Option<Digest>, Error> {
        let Identifier::Tag(tag) = identifier else { return self.client.digest(identifier).await };
        let mut asked = None;
        // Boxed, as what one image in many does.
        let tags = self.tags.get_or_init(|| Box::pin(self.look(identifier, &mut asked))).await;
        match (asked, tags) {
            (Some(digest), _) => digest,
            (None, Tags::Listed(tags)) if !tags.contains(tag) => Ok(None),
            // It is seen first whether the repository is open; if it is, each tag is asked for.
            (None, Tags::Refused(error)) if !self.known_open && self.opens.get().is_none() => Err(error.clone()),
            (None, _) => self.client.digest(identifier).await,
        }
    }

    /// What the tags are, as far as one question or two can tell. `asked` is what was answered of this one, if it was
    /// asked for.
    async fn look(&self, identifier: &Identifier, asked: &mut Option<Result<Option<Digest>, Error>>) -> Tags {
        let ask = async {
            match &*asked.insert(self.client.digest(identifier).await) {
                Ok(Some(_)) => Tags::SomeThere,
                Ok(None) => self.list().await,
                Err(error) if error.is_refused_repository() => Tags::Refused(error.clone()),
                // This tag's failure is not that of the others.
                Err(_) => Tags::Unlisted,
            }
        };
        let listed = if self.others_are_new.load(Relaxed) { self.list().await } else { Tags::Unlisted };
        let tags = match listed {
            Tags::Unlisted => ask.await,
            tags => tags,
        };
        self.others_are_new.store(matches!(&tags, Tags::Listed(tags) if tags.is_empty()), Relaxed);
        tags
    }

    /// Reads what is to come here, and makes sure that the repository takes it. The first image asks, and the others wait
    /// for the answer, so that little is read in vain. It asks when it has read: the question makes the repository in some
    /// registries. If what is read `is_mounted`, nobody asks, since the first mount will tell.
    pub async fn open_for<T>(
        &self,
        is_mounted: bool,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if is_mounted {
            self.check_not_refused()?;
        } else if self.may_be_closed() {
            // They do not wait for long: what keeps the first one may concern it alone.
            let _first = tokio::time::timeout(FIRST, self.opening.lock()).await;
            self.check_not_refused()?;
            if self.may_be_closed() {
                let value = read.await?;
                self.check_open(&self.client).await?;
                return Ok(value);
            }
        }
        read.await
    }

    fn may_be_closed(&self) -> bool {
        let seen = match self.tags.get() {
            Some(Tags::SomeThere) => true,
            Some(Tags::Listed(tags)) => !tags.is_empty(),
            _ => false,
        };
        !seen && !self.known_open && matches!(self.opens.get(), None | Some(Opens::No(_)))
    }

    /// Makes sure that a repository which may not exist yet can be pushed to. Some registries make none with the first
    /// push: one upload that is opened tells it for all images, before any blob is read. The first blob then uses that
    /// upload. `client` has the patience of the caller.
    pub async fn check_open(&self, client: &RepositoryClient) -> Result<(), Error> {
        if !self.may_be_closed() {
            return Ok(());
        }
        let ask = async || match client.start_upload().await {
            Ok(upload) => {
                *lock(&self.first_upload) = Some(upload);
                Opens::Yes
            }
            Err(error) if error.is_refused_repository() => Opens::No(error),
            // Its blobs will show whether that lasts.
            Err(error) => {
                tracing::debug!(%error, "it is not known whether the destination takes anything");
                Opens::Untold
            }
        };
        self.opens.get_or_init(ask).await;
        self.check_not_refused()
    }

    /// Fails if it is known to take nothing.
    pub fn check_not_refused(&self) -> Result<(), Error> {
        match self.opens.get() {
            Some(Opens::No(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Whether it is known to open uploads.
    pub fn is_open(&self) -> bool {
        self.known_open || matches!(self.opens.get(), Some(Opens::Yes))
    }

    /// The upload that was opened to see whether the repository takes any. The first caller gets it.
    pub fn take_first_upload(&self) -> Option<Upload> {
        lock(&self.first_upload).take()
    }

    async fn list(&self) -> Tags {
        match self.client.tags_within(1 + self.images / TAGS_A_PAGE).await {
            Ok(Some(tags)) => Tags::Listed(tags.into_iter().collect()),
            Ok(None) => Tags::Unlisted,
            Err(error) if error.is_not_found() && error.names_a_code() => Tags::Listed(HashSet::new()),
            // Not every account that may push may list, and not every proxy lets a list through.
            Err(error) => {
                tracing::debug!(%error, "the destination's tags cannot be listed");
                Tags::Unlisted
            }
        }
    }

    /// Whether the tags are known, and this is not among them.
    pub fn lists_without(&self, identifier: &Identifier) -> bool {
        match (self.tags.get(), identifier) {
            (Some(Tags::Listed(tags)), Identifier::Tag(tag)) => !tags.contains(tag),
            _ => false,
        }
    }

    /// Whether there is no tag, and so hardly a manifest.
    pub fn has_no_tags(&self) -> bool {
        matches!(self.tags.get(), Some(Tags::Listed(tags)) if tags.is_empty())
    }

    /// Whether it is likely that there are no blobs. An interrupted run may have left some where there is no tag yet;
    /// once one is found, others are expected.
    pub fn seems_empty(&self) -> bool {
        self.has_no_tags() && !self.has_blobs() && !self.force
    }

    /// Whether a blob was found, or may have been left by an earlier round.
    pub fn has_blobs(&self) -> bool {
        self.has_blobs.load(Relaxed)
    }

    /// Notes that a blob was here before this round.
    pub fn note_blob_found(&self) {
        self.has_blobs.store(true, Relaxed);
    }

    /// Whether it is likely that the images are here already.
    pub fn seems_done(&self) -> bool {
        matches!(self.tags.get(), Some(Tags::SomeThere))
    }

    /// Notes which layers a manifest names that are left where they are, after those below it. Answers them.
    pub fn skip_layers(&self, manifest: &Manifest) -> Vec<Digest> {
        let mut all = lock(&self.skipped);
        let own = manifest.content.blobs().iter().filter(|blob| blob.is_foreign).map(|blob| &blob.digest);
        let below = manifest.content.children().iter().filter_map(|child| all.get(&child.digest)).flatten();
        let mut skipped: Vec<Digest> = own.chain(below).cloned().collect();
        skipped.sort_unstable();
        skipped.dedup();
        if !skipped.is_empty() {
            all.insert(manifest.digest.clone(), skipped.clone());
        }
        skipped
    }

    /// The right to change the list of what refers to the manifest with this digest.
    pub async fn list_of(&self, subject: &Digest) -> OwnedMutexGuard<()> {
        let list = lock(&self.lists).entry(subject.clone()).or_default().clone();
        list.lock_owned().await
    }
}
