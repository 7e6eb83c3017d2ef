//! An OCI registry in memory that a test can watch, break and look into.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use scriptable_registry::{Action, Answer, Image, Kind, Registry};
//!
//! let registry = Registry::builder().page_size(2).start().await;
//! let image = Image::new("linux/amd64").layer("hello").layer_of(1, 100_000);
//! let digest = registry.put("team/app", "1.0", &image);
//!
//! // The second blob breaks off, and the first two requests for a manifest come too soon.
//! registry.on(Kind::BlobGet.nth(2), Action::CutResponseAfter(1000));
//! registry.on(Kind::ManifestGet.times(2), Answer::status(429).header("Retry-After", "1"));
//!
//! // … now let something pull registry.reference("team/app", "1.0") …
//!
//! assert_eq!(registry.digest("team/app", "1.0"), Some(digest));
//! assert_eq!(registry.missing("team/app", "1.0"), Vec::<String>::new());
//! assert!(registry.peak(Kind::BlobGet) <= 3);
//! # });
//! ```
//!
//! - [`Registry::builder`] chooses how it behaves: access, redirects, paging, mounts, limits. [`profiles`] does so in the
//!   manner of registries that people have.
//! - [`Registry::put`] and its like seed it with [`Image`]s, [`Index`]es and anything else.
//! - [`Registry::on`] sets hooks: a [`Matcher`] selects requests, an [`Action`] says what is done to them.
//! - [`Registry::requests`], [`Registry::count`] and [`Registry::peak`] tell what it has seen.
//! - [`Registry::manifest`], [`Registry::missing`] and their like tell what it holds.
//! - [`Port`] is a free port for other servers of a test, or for none.
//!
//! Where the specification leaves a choice, it does what the distribution registry does.

// An answer that refuses is as large as any other, and as rare as in a test.
#![allow(clippy::result_large_err)]

mod access;
mod action;
mod blobs;
mod body;
mod builder;
mod content;
mod contents;
mod digest;
mod gate;
mod hook;
mod image;
mod intake;
mod limits;
mod log;
mod manifests;
mod port;
pub mod profiles;
mod query;
mod redirect;
mod registry;
mod reply;
mod request;
mod route;
mod server;
mod state;
mod store;
mod tags;
mod tokens;
mod uploads;

pub use access::Accounts;
pub use action::{Action, Answer};
pub use builder::{Builder, Missing, Mounts, Tags};
pub use digest::digest_of;
pub use gate::Gate;
pub use hook::{Hook, Matcher};
pub use image::{Built, Image, Index, Manifest};
pub use port::Port;
pub use registry::Registry;
pub use request::{Kind, Origin, Request};
pub use store::Stored;
