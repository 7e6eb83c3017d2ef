//! Images and indexes to seed a registry with, written down in one line each.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::content::Content;
use crate::digest::digest_of;
use crate::manifests::OCI_INDEX;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const OCI_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// Something that can be put into a registry under a tag: an [`Image`] or an [`Index`].
pub trait Manifest {
    /// Its bytes and all that belongs to it.
    fn build(&self) -> Built;

    /// Its digest.
    fn digest(&self) -> String {
        self.build().digest
    }
}

/// A manifest written out, with the blobs and the manifests that belong to it.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
    /// Their digest.
    pub digest: String,
    /// The manifests it lists.
    pub children: Vec<Built>,
    platform: Option<Value>,
    artifact_type: Option<String>,
    blobs: Vec<(String, Content)>,
}

impl Built {
    fn new(media_type: &str, manifest: &Value) -> Self {
        let bytes = Bytes::from(manifest.to_string());
        Built {
            media_type: media_type.to_owned(),
            digest: digest_of(&bytes),
            bytes,
            children: Vec::new(),
            platform: None,
            artifact_type: None,
            blobs: Vec::new(),
        }
    }

    /// The digests of its configuration and of those layers that are blobs of the registry, in their order.
    pub fn blobs(&self) -> Vec<String> {
        self.blobs.iter().map(|(digest, _)| digest.clone()).collect()
    }

    pub(crate) fn all_blobs(&self) -> impl Iterator<Item = (&String, &Content)> {
        let of_children = self.all_children().into_iter().flat_map(|child| &child.blobs);
        self.blobs.iter().chain(of_children).map(|(digest, content)| (digest, content))
    }

    pub(crate) fn all_children(&self) -> Vec<&Built> {
        self.children.iter().flat_map(|child| std::iter::once(child).chain(child.all_children())).collect()
    }

    fn descriptor(&self) -> Value {
        let mut descriptor = json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() });
        if let Some(platform) = &self.platform {
            descriptor["platform"] = platform.clone();
        }
        if let Some(artifact_type) = &self.artifact_type {
            descriptor["artifactType"] = json!(artifact_type);
        }
        descriptor
    }
}

/// What an image and an index have in common.
#[derive(Clone, Debug, Default)]
struct Common {
    docker: bool,
    artifact_type: Option<String>,
    subject: Option<Value>,
    annotations: BTreeMap<String, String>,
}

impl Common {
    fn add_to(&self, manifest: &mut Value) {
        if let Some(artifact_type) = &self.artifact_type {
            manifest["artifactType"] = json!(artifact_type);
        }
        if let Some(subject) = &self.subject {
            manifest["subject"] = subject.clone();
        }
        if !self.annotations.is_empty() {
            manifest["annotations"] = json!(self.annotations);
        }
    }
}

/// An image for one platform: `Image::new("linux/amd64").layer("some bytes").layer_of(1, 100_000).docker()`.
///
/// OCI media types unless told otherwise. The bytes depend on nothing but what is written down: equal words, equal digests.
#[derive(Clone, Debug)]
#[must_use]
pub struct Image {
    platform: Value,
    layers: Vec<Layer>,
    config: Option<Bytes>,
    artifact: Option<String>,
    common: Common,
}

#[derive(Clone, Debug)]
struct Layer {
    digest: String,
    content: Content,
    media_type: Option<String>,
    url: Option<String>,
}

impl Image {
    /// An image without layers for `os/architecture` or `os/architecture/variant`.
    pub fn new(platform: &str) -> Self {
        let mut parts = platform.splitn(3, '/');
        let mut part = || parts.next().unwrap_or_default();
        let mut platform = json!({ "os": part(), "architecture": part() });
        if let Some(variant) = parts.next() {
            platform["variant"] = json!(variant);
        }
        Image { platform, layers: Vec::new(), config: None, artifact: None, common: Common::default() }
    }

    /// With a layer of these bytes.
    pub fn layer(self, bytes: impl Into<Bytes>) -> Self {
        self.with(Content::Bytes(bytes.into()), None, None)
    }

    /// With a layer of that many pseudo-random bytes, which follow from the seed and take no memory.
    pub fn layer_of(self, seed: u64, size: u64) -> Self {
        self.with(Content::Synthetic { seed, size }, None, None)
    }

    /// With a layer of these bytes and a media type of its own.
    pub fn layer_as(self, media_type: &str, bytes: impl Into<Bytes>) -> Self {
        self.with(Content::Bytes(bytes.into()), Some(media_type), None)
    }

    /// With a layer that lives at a URL and not in the registry.
    pub fn foreign_layer(self, url: &str) -> Self {
        self.with(Content::Bytes(Bytes::from(url.to_owned())), None, Some(url))
    }

    fn with(mut self, content: Content, media_type: Option<&str>, url: Option<&str>) -> Self {
        let (media_type, url) = (media_type.map(str::to_owned), url.map(str::to_owned));
        self.layers.push(Layer { digest: content.digest(), content, media_type, url });
        self
    }

    /// With a configuration of these bytes in place of one made up from the layers.
    pub fn config(mut self, bytes: impl Into<Bytes>) -> Self {
        self.config = Some(bytes.into());
        self
    }

    /// With Docker's media types.
    pub fn docker(mut self) -> Self {
        self.common.docker = true;
        self
    }

    /// With the OCI's media types, as without a word.
    pub fn oci(mut self) -> Self {
        self.common.docker = false;
        self
    }

    /// Not an image but something else kept like one, such as a chart, with this media type and `{}` as its configuration.
    pub fn artifact(mut self, config_media_type: &str) -> Self {
        self.artifact = Some(config_media_type.to_owned());
        self
    }

    /// With an artifact type.
    pub fn artifact_type(mut self, artifact_type: &str) -> Self {
        self.common.artifact_type = Some(artifact_type.to_owned());
        self
    }

    /// Refers to another manifest, as a signature does.
    pub fn subject(mut self, subject: &impl Manifest) -> Self {
        self.common.subject = Some(subject.build().descriptor());
        self
    }

    /// With an annotation.
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.common.annotations.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The digests of its layers, in order.
    pub fn layers(&self) -> Vec<String> {
        self.layers.iter().map(|layer| layer.digest.clone()).collect()
    }

    /// The digest of its configuration.
    pub fn config_digest(&self) -> String {
        digest_of(&self.config_bytes())
    }

    fn config_bytes(&self) -> Bytes {
        match (&self.config, &self.artifact) {
            (Some(config), _) => config.clone(),
            (None, Some(_)) => Bytes::from_static(b"{}"),
            (None, None) => {
                let mut config = self.platform.clone();
                config["config"] = json!({});
                config["rootfs"] = json!({ "type": "layers", "diff_ids": self.layers() });
                Bytes::from(config.to_string())
            }
        }
    }
}

impl Manifest for Image {
    fn build(&self) -> Built {
        let choose = |docker: &'static str, oci: &'static str| if self.common.docker { docker } else { oci };
        let config = self.config_bytes();
        let config_digest = digest_of(&config);
        let config_type = self.artifact.as_deref().unwrap_or(choose(DOCKER_CONFIG, OCI_CONFIG));
        let layers = self.layers.iter().map(|layer| {
            let usual = match layer.url {
                Some(_) => choose(DOCKER_FOREIGN, OCI_FOREIGN),
                None => choose(DOCKER_LAYER, OCI_LAYER),
            };
            let media_type = layer.media_type.as_deref().unwrap_or(usual);
            let mut descriptor =
                json!({ "mediaType": media_type, "digest": layer.digest, "size": layer.content.len() });
            if let Some(url) = &layer.url {
                descriptor["urls"] = json!([url]);
            }
            descriptor
        });
        let media_type = choose(DOCKER_MANIFEST, OCI_MANIFEST);
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": { "mediaType": config_type, "digest": config_digest, "size": config.len() },
            "layers": layers.collect::<Vec<_>>(),
        });
        self.common.add_to(&mut manifest);
        let own = self.layers.iter().filter(|layer| layer.url.is_none());
        let own = own.map(|layer| (layer.digest.clone(), layer.content.clone()));
        Built {
            platform: self.artifact.is_none().then(|| self.platform.clone()),
            artifact_type: self.common.artifact_type.clone(),
            blobs: std::iter::once((config_digest, Content::Bytes(config))).chain(own).collect(),
            ..Built::new(media_type, &manifest)
        }
    }
}

/// An index, or manifest list, of images and of other indexes: `Index::new().image(&amd64).image(&arm64)`.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Index {
    children: Vec<Built>,
    common: Common,
}

impl Index {
    /// An index of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// With an image.
    pub fn image(mut self, image: &Image) -> Self {
        self.children.push(image.build());
        self
    }

    /// With another index.
    pub fn index(mut self, index: &Index) -> Self {
        self.children.push(index.build());
        self
    }

    /// With Docker's media type.
    pub fn docker(mut self) -> Self {
        self.common.docker = true;
        self
    }

    /// With the OCI's media type, as without a word.
    pub fn oci(mut self) -> Self {
        self.common.docker = false;
        self
    }

    /// With an artifact type.
    pub fn artifact_type(mut self, artifact_type: &str) -> Self {
        self.common.artifact_type = Some(artifact_type.to_owned());
        self
    }

    /// Refers to another manifest.
    pub fn subject(mut self, subject: &impl Manifest) -> Self {
        self.common.subject = Some(subject.build().descriptor());
        self
    }

    /// With an annotation.
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.common.annotations.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl Manifest for Index {
    fn build(&self) -> Built {
        let media_type = if self.common.docker { DOCKER_INDEX } else { OCI_INDEX };
        let manifests: Vec<Value> = self.children.iter().map(Built::descriptor).collect();
        let mut index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
        self.common.add_to(&mut index);
        Built {
            children: self.children.clone(),
            artifact_type: self.common.artifact_type.clone(),
            ..Built::new(media_type, &index)
        }
    }
}
