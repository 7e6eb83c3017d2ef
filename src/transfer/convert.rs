//! What is to be placed: an image as it is, or what `--platform` and `--format` make of it.
//!
//! [`Conversion::apply`] answers that for one root manifest, and nothing else: it reads what it has to know, and writes
//! nothing. The same source and the same flags give the same bytes, always. What already is as it is wanted keeps its
//! bytes, and so its digest.
//!
//! | file | holds |
//! | --- | --- |
//! | `index` | indexes: what stays, and what is said of it |
//! | `image` | images: media types of one family for those of the other |
//! | `object` | JSON that is changed in one place and stays what it is in every other |
//! | `reading` | the source, and how much of it is read |
//! | `refusal` | why something cannot be placed |

mod image;
mod index;
mod object;
mod reading;
mod refusal;

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use self::object::Object;
use self::reading::Reading;
pub use self::reading::Source;
pub use self::refusal::Refusal;
use crate::digest::Digest;
use crate::event::Change;
use crate::plan::Task;
use crate::platform::Platform;
use crate::reference::Identifier;
use crate::registry::{Content, Format, Manifest};

/// What is to become of the images that are copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversion {
    /// Only these are kept; none named is all.
    pub platforms: Vec<Platform>,
    /// The media types that all manifests are to have; without it they keep theirs.
    pub format: Option<Format>,
}

/// What is to be done with an image.
#[derive(Debug)]
pub enum Target {
    Place(Tree),
    /// It is for this platform alone, which is not wanted.
    Skip(Platform),
}

/// An image as it is to be placed.
#[derive(Debug)]
pub struct Tree {
    /// What the tag is to name. Its digest is what is expected at the destination.
    pub root: Manifest,
    /// Manifests below the root that were made, which nothing else knows, or that were read, so that they are not read
    /// again. The source has the others.
    pub parts: HashMap<Digest, Manifest>,
    /// What was made of what, children before the indexes that name them. Empty if everything stays as it is.
    pub changes: Vec<Change>,
}

impl Conversion {
    /// Whether images may become others on their way. If not, the digest of an image tells all.
    pub fn changes_images(&self) -> bool {
        !self.platforms.is_empty() || self.format.is_some()
    }

    /// What the image is called at its destination, if that is known before it is converted: a digest may become another.
    pub fn known_place<'a>(&self, task: &'a Task) -> Option<&'a Identifier> {
        let place = &task.destination.identifier;
        (place.digest().is_none() || !self.changes_images()).then_some(place)
    }

    /// Says what is to be placed for the image whose root manifest this is.
    pub async fn apply(&self, root: Manifest, source: &dyn Source) -> Result<Target, Refusal> {
        if !self.changes_images() {
            return Ok(Target::Place(Part::same(root, false).into()));
        }
        let source = Reading::of(source);
        let part = match &root.content {
            Content::Index { .. } => {
                let part = self.index(root, &source, 0).await?;
                if part.is_nothing_wanted() {
                    return match part.unwanted.split_first() {
                        // An image of one platform in an index, beside what attests to it, as buildx makes them.
                        Some((only, others)) if others.iter().all(|other| other == only) => {
                            Ok(Target::Skip(only.clone()))
                        }
                        _ => Err(Refusal::no_platform(&self.platforms, part.unwanted)),
                    };
                }
                part
            }
            Content::Blobs(_) => {
                if !self.platforms.is_empty()
                    && let Some(platform) = source.platform_of(&root).await?
                    && self.is_unwanted(&platform)
                {
                    return Ok(Target::Skip(platform));
                }
                self.image(root)?
            }
        };
        Ok(Target::Place(part.into()))
    }

    fn is_unwanted(&self, platform: &Platform) -> bool {
        !self.platforms.is_empty() && !platform.is_one_of(&self.platforms)
    }
}

/// What was made of one manifest and all below it.
struct Part {
    manifest: Manifest,
    below: HashMap<Digest, Manifest>,
    changes: Vec<Change>,
    /// Whether something in it is for a platform that is wanted.
    is_wanted: bool,
    /// The platforms of what was left out.
    unwanted: Vec<Platform>,
}

impl Part {
    fn same(manifest: Manifest, is_wanted: bool) -> Self {
        Self { manifest, below: HashMap::new(), changes: Vec::new(), is_wanted, unwanted: Vec::new() }
    }

    /// Whether all in it that is for some platform was left out. What runs nowhere is no reason to keep it.
    fn is_nothing_wanted(&self) -> bool {
        !self.is_wanted && !self.unwanted.is_empty()
    }
}

impl From<Part> for Tree {
    fn from(mut part: Part) -> Self {
        // What is named more than once was made of one thing.
        let mut seen = HashSet::new();
        part.changes.retain(|change| seen.insert(change.from.clone()));
        Self { root: part.manifest, parts: part.below, changes: part.changes }
    }
}

/// The manifest that these fields are when they are written down.
fn written(json: &Object, media_type: &str, was: &Digest) -> Result<Manifest, Refusal> {
    let malformed = |error: &dyn std::fmt::Display| Refusal::malformed(was, error.to_string());
    let bytes = Bytes::from(serde_json::to_vec(json).map_err(|error| malformed(&error))?);
    let digest = Digest::of(&bytes);
    Manifest::parse(bytes, digest, media_type).map_err(|defect| malformed(&defect))
}

#[cfg(test)]
mod tests;
