//! Indexes: what stays, what is made of it, and the index that names it then.

use std::collections::{HashMap, HashSet};

use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::value::RawValue;

use super::image::{docker_has_it, retype};
use super::object::Object;
use super::reading::Reading;
use super::{Conversion, Part, Refusal, written};
use crate::digest::Digest;
use crate::event::{Change, Dropped};
use crate::platform::Platform;
use crate::registry::{Content, Descriptor, Format, Manifest};
use crate::transfer::image::{CHILDREN, MAX_DEPTH, too_deep};

/// What BuildKit says an attestation is about: it stands beside the images of an index as if it were one.
const ATTESTS: &str = "vnd.docker.reference.digest";

/// All that Docker's format has (Docker manifest list).
const DOCKER_LIST: [&str; 3] = ["schemaVersion", "mediaType", "manifests"];
const DOCKER_CHILD: [&str; 5] = ["mediaType", "size", "digest", "urls", "platform"];

/// What an index names.
struct Child {
    json: Object,
    descriptor: Descriptor,
    /// The image that this is an attestation of.
    attests: Option<Digest>,
}

/// What becomes of a child.
enum Fate {
    /// It stays, and did not have to be read.
    Stays {
        is_wanted: bool,
    },
    /// It was read, and stays as it is or as what was made of it.
    Read {
        part: Box<Part>,
        platform: Option<Platform>,
    },
    Goes(Vec<Platform>),
}

type Boxed<'a, T> = BoxFuture<'a, Result<T, Refusal>>;

impl Conversion {
    /// An index of what is wanted.
    pub(super) fn index<'a>(&'a self, index: Manifest, source: &'a Reading<'a>, depth: usize) -> Boxed<'a, Part> {
        Box::pin(async move {
            if depth == MAX_DEPTH {
                return Err(Refusal::malformed(&index.digest, too_deep()));
            }
            let becomes_docker =
                self.format == Some(Format::Docker) && Format::of_manifest(&index.media_type) != self.format;
            if becomes_docker {
                docker_has_it(&index)?;
            }
            let json: Object = serde_json::from_slice(&index.bytes)
                .map_err(|error| Refusal::malformed(&index.digest, error.to_string()))?;
            let children = children(&json, &index.digest)?;
            if becomes_docker && let Some(blob) = children.iter().find(|child| child.descriptor.is_blob()) {
                let Descriptor { digest: named, media_type, .. } = &blob.descriptor;
                let reason = format!("names {named} of type {media_type:?}, and Docker's lists name only manifests");
                return Err(Refusal::Format { format: Format::Docker, digest: index.digest.clone(), reason });
            }
            let images = |child: &Child| child.attests.is_none();
            let mut fates = self.fates(&children, images, source, depth).await?;
            let (mut gone, mut stays) = (HashSet::new(), HashSet::new());
            for (child, fate) in children.iter().zip(&fates) {
                let place = if matches!(fate, Some(Fate::Goes(_))) { &mut gone } else { &mut stays };
                place.insert(&child.descriptor.digest);
            }
            let attestations = |child: &Child| {
                let in_docker = Format::of_manifest(&child.descriptor.media_type) == Some(Format::Docker);
                let docker_takes = self.format != Some(Format::Docker) || in_docker && !becomes_docker;
                let stays = |about: &Digest| !gone.contains(about) || stays.contains(about);
                child.attests.as_ref().is_some_and(stays) && docker_takes
            };
            for (fate, late) in fates.iter_mut().zip(self.fates(&children, attestations, source, depth).await?) {
                *fate = fate.take().or(late);
            }
            let fates = fates.into_iter().map(|fate| fate.unwrap_or(Fate::Goes(Vec::new())));
            self.joined(&index, json, children.into_iter().zip(fates))
        })
    }

    /// What becomes of those children that are `chosen`, in the places where they stand.
    async fn fates(
        &self,
        children: &[Child],
        chosen: impl Fn(&Child) -> bool + Send,
        source: &Reading<'_>,
        depth: usize,
    ) -> Result<Vec<Option<Fate>>, Refusal> {
        let fates: Vec<Boxed<'_, Option<Fate>>> = children
            .iter()
            .map(|child| -> Boxed<'_, Option<Fate>> {
                let is_chosen = chosen(child);
                Box::pin(
                    async move { if is_chosen { self.fate(child, source, depth).await.map(Some) } else { Ok(None) } },
                )
            })
            .collect();
        stream::iter(fates).buffered(CHILDREN).try_collect().await
    }

    async fn fate(&self, child: &Child, source: &Reading<'_>, depth: usize) -> Result<Fate, Refusal> {
        let Child { descriptor, attests, .. } = child;
        if descriptor.is_blob() {
            return Ok(Fate::Stays { is_wanted: false });
        }
        let mut platform = descriptor.platform.clone().filter(|platform| !platform.is_unknown() && attests.is_none());
        if let Some(platform) = platform.take_if(|platform| self.is_unwanted(platform)) {
            return Ok(Fate::Goes(vec![platform]));
        }
        // What its index says of it saves reading it, where that is enough.
        let is_clear = match (attests, self.format) {
            (Some(_), format) => format.is_none() || Format::of_manifest(&descriptor.media_type) == format,
            (None, format) => format.is_none() && platform.is_some() && !descriptor.is_index(),
        };
        if is_clear {
            return Ok(Fate::Stays { is_wanted: platform.is_some() });
        }
        let manifest = source.manifest(descriptor).await?;
        if let Content::Index { .. } = manifest.content {
            let part = self.index(manifest, source, depth + 1).await?;
            return Ok(match part.is_nothing_wanted() {
                true => Fate::Goes(part.unwanted),
                false => Fate::Read { part: Box::new(part), platform },
            });
        }
        // Docker's lists name the platform of every image.
        let must_know = !self.platforms.is_empty() || self.format == Some(Format::Docker);
        if must_know && platform.is_none() && attests.is_none() {
            platform = source.platform_of(&manifest).await?;
        }
        if let Some(platform) = platform.take_if(|platform| self.is_unwanted(platform)) {
            return Ok(Fate::Goes(vec![platform]));
        }
        let part = Part { is_wanted: platform.is_some(), ..self.image(manifest)? };
        Ok(Fate::Read { part: Box::new(part), platform })
    }

    /// The index of what stays.
    fn joined(
        &self,
        index: &Manifest,
        mut json: Object,
        children: impl Iterator<Item = (Child, Fate)>,
    ) -> Result<Part, Refusal> {
        let malformed = |error: serde_json::Error| Refusal::malformed(&index.digest, error.to_string());
        let media_type = self.format.and_then(|format| format.manifest(&index.media_type)).unwrap_or(&index.media_type);
        let retyped = self.format.filter(|_| media_type != index.media_type);
        let mut whole = Part::same(index.clone(), false);
        let (mut named, mut dropped, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_changed = retyped.is_some();
        let mut made = HashMap::new();
        for (mut child, fate) in children {
            let Descriptor { digest, platform, .. } = child.descriptor;
            let found = match fate {
                Fate::Goes(unwanted) => {
                    whole.unwanted.extend(unwanted);
                    dropped.push(Dropped { digest, platform });
                    continue;
                }
                Fate::Stays { is_wanted } => {
                    whole.is_wanted |= is_wanted;
                    None
                }
                Fate::Read { part, platform } => {
                    let Part { manifest, below, changes, is_wanted, unwanted } = *part;
                    whole.is_wanted |= is_wanted;
                    whole.unwanted.extend(unwanted);
                    whole.changes.extend(changes);
                    whole.below.extend(below);
                    if manifest.digest != digest {
                        is_changed = true;
                        child.json.set("mediaType", &manifest.media_type).map_err(malformed)?;
                        child.json.set("digest", &manifest.digest.to_string()).map_err(malformed)?;
                        child.json.set("size", &manifest.bytes.len()).map_err(malformed)?;
                        // The bytes that it had (image-spec "Embedded Content").
                        child.json.remove("data");
                        made.insert(digest, manifest.digest.clone());
                    }
                    whole.below.insert(manifest.digest.clone(), manifest);
                    platform
                }
            };
            if retyped == Some(Format::Docker) {
                lost.extend(child.json.keep(&DOCKER_CHILD).into_iter().map(|name| format!("manifests.{name}")));
                if let Some(found) = found.filter(|_| platform.is_none()) {
                    child.json.set("platform", &found).map_err(malformed)?;
                }
            }
            named.push((child.json, child.attests));
        }
        if !is_changed && dropped.is_empty() {
            return Ok(whole);
        }
        for (json, attests) in &mut named {
            let about = attests.as_ref().and_then(|about| made.get(about));
            if let (Some(about), Some(mut annotations)) = (about, json.get::<Object>("annotations")) {
                annotations.set(ATTESTS, &about.to_string()).map_err(malformed)?;
                json.set("annotations", &annotations).map_err(malformed)?;
            }
        }
        let named: Vec<Object> = named.into_iter().map(|(json, _)| json).collect();
        json.set("manifests", &named).map_err(malformed)?;
        if let Some(format) = retyped {
            lost.extend(retype(&mut json, media_type, format, &DOCKER_LIST).map_err(malformed)?);
        }
        whole.manifest = written(&json, media_type, &index.digest)?;
        whole.changes.push(Change::new(&index.digest, &whole.manifest.digest, dropped, lost));
        Ok(whole)
    }
}

fn children(index: &Object, digest: &Digest) -> Result<Vec<Child>, Refusal> {
    let read = |text: Box<RawValue>| {
        let json: Object = serde_json::from_str(text.get())?;
        let attests = json.get::<Object>("annotations").and_then(|annotations| annotations.get::<String>(ATTESTS));
        let attests = attests.and_then(|digest| digest.parse().ok());
        Ok(Child { descriptor: serde_json::from_str(text.get())?, json, attests })
    };
    let named: Vec<Box<RawValue>> = index.get("manifests").unwrap_or_default();
    let read = named.into_iter().map(read).collect::<Result<_, serde_json::Error>>();
    read.map_err(|error| Refusal::malformed(digest, error.to_string()))
}
