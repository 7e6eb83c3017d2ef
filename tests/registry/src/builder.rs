//! How a registry is to behave: every choice a test can make before it starts.

use std::time::Duration;

use crate::access::{Access, Accounts};
use crate::registry::Registry;

/// What a registry does with a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mounts {
    /// 201 if the blob is in the repository named by `from`, else 202 with an upload started.
    #[default]
    Allowed,
    /// Always 202 with an upload started.
    Ignored,
    /// Always an error of this status.
    Refused(u16),
    /// As allowed, but only what a manifest of the repository named by `from` names.
    AfterManifest,
}

/// What a registry does with a push to a repository that nobody has made. [`crate::Registry::create`] makes one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// It makes it.
    #[default]
    Made,
    /// Everything about it is 404 NAME_UNKNOWN.
    Unknown,
    /// What is to be made is a project, the first part of the name; without it everything is 401 with an empty challenge.
    NoProject,
}

/// What a registry says to a manifest that is put under a tag which is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tags {
    #[default]
    Movable,
    /// 400 TAG_INVALID, also if it is the same manifest.
    ImmutableAsEcr,
    /// 412 PRECONDITION.
    ImmutableAsHarbor,
    /// 409 TAG_IMMUTABLE.
    ImmutableAsQuay,
    /// 403 DENIED.
    ImmutableAsDockerHub,
}

/// In what portions a registry, and what stands before it, take a blob.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Portions {
    pub(crate) body_limit: Option<u64>,
    pub(crate) length_limit: Option<u64>,
    pub(crate) chunk_limit: Option<u64>,
    pub(crate) chunk_minimum: Option<u64>,
    pub(crate) announced_minimum: Option<u64>,
    pub(crate) chunks_created: bool,
    pub(crate) loses_chunks: bool,
}

/// The choices made.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) access: Access,
    pub(crate) service: String,
    pub(crate) token_lifetime: Duration,
    pub(crate) announced_lifetime: Option<Duration>,
    pub(crate) first_scope_only: bool,
    pub(crate) redirects: bool,
    pub(crate) redirect_heads: bool,
    pub(crate) page_size: Option<usize>,
    pub(crate) largest_page: usize,
    pub(crate) absolute_links: bool,
    pub(crate) relative_locations: bool,
    pub(crate) mounts: Mounts,
    pub(crate) strict: bool,
    pub(crate) check_accept: bool,
    pub(crate) check_parts: bool,
    pub(crate) referrers: bool,
    pub(crate) manifest_limit: usize,
    pub(crate) discard_uploads: bool,
    pub(crate) keep_log: bool,
    pub(crate) portions: Portions,
    pub(crate) missing: Missing,
    pub(crate) tags: Tags,
}

/// Describes a registry: `Registry::builder().bearer(("alice", "secret")).page_size(2).start().await`.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    settings: Settings,
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            settings: Settings {
                access: Access::Open,
                service: "scriptable-registry".to_owned(),
                token_lifetime: Duration::from_secs(300),
                announced_lifetime: None,
                first_scope_only: false,
                redirects: false,
                redirect_heads: false,
                page_size: None,
                largest_page: usize::MAX,
                absolute_links: false,
                relative_locations: false,
                mounts: Mounts::Allowed,
                strict: true,
                check_accept: false,
                check_parts: true,
                referrers: false,
                manifest_limit: 4 * 1024 * 1024,
                discard_uploads: false,
                keep_log: true,
                portions: Portions::default(),
                missing: Missing::Made,
                tags: Tags::Movable,
            },
        }
    }
}

impl Builder {
    /// Asks for a user and password with every request.
    pub fn basic(mut self, accounts: impl Into<Accounts>) -> Self {
        self.settings.access = Access::Basic(accounts.into());
        self
    }

    /// Asks for a token with every request, and runs a server that issues tokens, on a port of its own.
    pub fn bearer(mut self, accounts: impl Into<Accounts>) -> Self {
        self.settings.access = Access::Bearer(accounts.into());
        self
    }

    /// How long a token is valid, and said to be; 300 s otherwise.
    pub fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.token_lifetime = lifetime;
        self
    }

    /// How long a token is said to be valid, if that is not the truth.
    pub fn announced_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.settings.announced_lifetime = Some(lifetime);
        self
    }

    /// Issues tokens for the first scope of those asked for, and does not mention the others.
    pub fn first_scope_only(mut self) -> Self {
        self.settings.first_scope_only = true;
        self
    }

    /// The service named in challenges.
    pub fn service(mut self, name: &str) -> Self {
        self.settings.service = name.to_owned();
        self
    }

    /// Redirects the GET of blobs to a second origin, on a port of its own, with an address signed for one method.
    pub fn redirect_blobs(mut self) -> Self {
        self.settings.redirects = true;
        self
    }

    /// Redirects the HEAD of blobs as well as the GET.
    pub fn redirect_blob_heads(mut self) -> Self {
        self.settings.redirects = true;
        self.settings.redirect_heads = true;
        self
    }

    /// How many tags a page holds when the client does not say; all otherwise.
    pub fn page_size(mut self, tags: usize) -> Self {
        self.settings.page_size = Some(tags);
        self
    }

    /// The most tags a page holds, whatever the client says.
    pub fn largest_page(mut self, tags: usize) -> Self {
        self.settings.largest_page = tags;
        self
    }

    /// Writes the link to the next page as a whole URL, not as a path.
    pub fn absolute_links(mut self) -> Self {
        self.settings.absolute_links = true;
        self
    }

    /// Writes the Location of uploads as a path, not as a whole URL.
    pub fn relative_locations(mut self) -> Self {
        self.settings.relative_locations = true;
        self
    }

    /// What becomes of mounts.
    pub fn mounts(mut self, mounts: Mounts) -> Self {
        self.settings.mounts = mounts;
        self
    }

    /// Insists on what some registries insist on, which is the default: a POST has a Content-Length (411), an upload goes on at
    /// the newest Location (404, 416), and a manifest's own media type is that of its Content-Type (400).
    pub fn strict(mut self, strict: bool) -> Self {
        self.settings.strict = strict;
        self
    }

    /// Answers 404 to a GET or HEAD of a manifest whose media type the Accept header does not name.
    pub fn check_accept(mut self) -> Self {
        self.settings.check_accept = true;
        self
    }

    /// Takes a manifest whether or not what it names is there: whoever pushes has to see to it himself.
    pub fn takes_incomplete_manifests(mut self) -> Self {
        self.settings.check_parts = false;
        self
    }

    /// Answers the referrers API; as many registries do not, it is 404 otherwise.
    pub fn referrers(mut self) -> Self {
        self.settings.referrers = true;
        self
    }

    /// The largest manifest taken; a larger one is answered with 413. 4 MiB otherwise.
    pub fn manifest_limit(mut self, bytes: usize) -> Self {
        self.settings.manifest_limit = bytes;
        self
    }

    /// Hashes uploads and forgets their bytes, but for blobs of at most 64 KiB, such as configurations. A GET of what was
    /// forgotten is answered with 410.
    pub fn discard_uploads(mut self) -> Self {
        self.settings.discard_uploads = true;
        self
    }

    /// Counts requests without remembering them, for long measurements.
    pub fn without_log(mut self) -> Self {
        self.settings.keep_log = false;
        self
    }

    /// A proxy before it takes no body larger than this, whether its length is said or not: 413 with a page, as nginx does.
    pub fn body_limit(mut self, bytes: u64) -> Self {
        self.settings.portions.body_limit = Some(bytes);
        self
    }

    /// A proxy before it takes no body that is said to be larger than this: 413 with a page.
    pub fn length_limit(mut self, bytes: u64) -> Self {
        self.settings.portions.length_limit = Some(bytes);
        self
    }

    /// Takes no chunk with a Content-Range that is larger than this: 416 with a text, as GHCR does.
    pub fn chunk_limit(mut self, bytes: u64) -> Self {
        self.settings.portions.chunk_limit = Some(bytes);
        self
    }

    /// Ends no upload of which a chunk but the last was smaller than this: 400, as ECR does.
    pub fn chunk_minimum(mut self, bytes: u64) -> Self {
        self.settings.portions.chunk_minimum = Some(bytes);
        self
    }

    /// Says with each upload how small a chunk may be, in `OCI-Chunk-Min-Length`.
    pub fn announced_chunk_minimum(mut self, bytes: u64) -> Self {
        self.settings.portions.announced_minimum = Some(bytes);
        self
    }

    /// Answers a chunk with 201, and a Range that stays at the first one.
    pub fn chunks_created(mut self) -> Self {
        self.settings.portions.chunks_created = true;
        self
    }

    /// Keeps of several chunks the last alone, under the digest of the whole.
    pub fn loses_chunks(mut self) -> Self {
        self.settings.portions.loses_chunks = true;
        self
    }

    /// What becomes of a push to a repository that nobody has made.
    pub fn missing(mut self, missing: Missing) -> Self {
        self.settings.missing = missing;
        self
    }

    /// Whether tags can be moved.
    pub fn tags(mut self, tags: Tags) -> Self {
        self.settings.tags = tags;
        self
    }

    /// Starts it on the current runtime. It stops when the [`Registry`] is dropped.
    ///
    /// A test that blocks its thread meanwhile, waiting for a process say, needs a runtime of several threads.
    pub async fn start(self) -> Registry {
        Registry::start(self.settings).await
    }
}
