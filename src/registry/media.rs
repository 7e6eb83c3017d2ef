//! Media types, and a typed view of what a manifest names beside the bytes as they came.
//!
//! The view is only read. What is pushed are the bytes, so the digest at the destination is the digest at the
//! source. Sources: OCI image-spec `manifest.md`, `image-index.md`, `descriptor.md`; Docker image manifest V2.
//! `format` holds which media types of the two families mean the same.

mod format;

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;

use crate::digest::Digest;
use crate::foreign::one_line;
use crate::platform::Platform;

pub use self::format::Format;

pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// What is asked for. Schema 1 is named too: without it some registries convert or hide what they have, and the
/// operator would not learn why the image cannot be copied.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.artifact.manifest.v1+json, application/vnd.docker.distribution.manifest.v1+prettyjws, \
     application/vnd.docker.distribution.manifest.v1+json";

/// Most bytes of a manifest that are read. The specification asks registries for 4 MiB; some allow more.
pub(super) const MAX_BYTES: usize = 8 << 20;

/// Two names of 127 characters and what joins them.
const LONGEST_MEDIA_TYPE: usize = 255;

/// A manifest or an index.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub media_type: String,
    pub bytes: Bytes,
    pub digest: Digest,
    pub content: Content,
}

/// What a manifest names.
#[derive(Debug, Clone)]
pub enum Content {
    /// Config and layers, or the blobs of an artifact.
    Blobs(Vec<Descriptor>),
    /// Other manifests; rarely blobs beside them.
    Index { manifests: Vec<Descriptor>, blobs: Vec<Descriptor> },
}

impl Content {
    /// The manifests that an index names.
    pub fn children(&self) -> &[Descriptor] {
        match self {
            Self::Blobs(_) => &[],
            Self::Index { manifests, .. } => manifests,
        }
    }

    /// The blobs that are named directly.
    pub fn blobs(&self) -> &[Descriptor] {
        let (Self::Blobs(blobs) | Self::Index { blobs, .. }) = self;
        blobs
    }
}

/// Names some content, with its size in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawDescriptor")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    /// Whether it is to be fetched from elsewhere: a non-distributable layer. Registries do not hold it.
    pub is_foreign: bool,
    /// What a manifest of an index runs on.
    pub platform: Option<Platform>,
}

impl Manifest {
    /// The manifest that this one refers to (OCI image-spec `manifest.md`, "subject").
    pub fn subject(&self) -> Option<Digest> {
        #[derive(Deserialize)]
        struct Referring {
            subject: Option<RawDescriptor>,
        }
        serde_json::from_slice::<Referring>(&self.bytes).ok()?.subject?.digest.parse().ok()
    }
}

/// Why bytes are no manifest that can be copied.
#[derive(Debug, PartialEq, Eq)]
pub enum Defect {
    Malformed(String),
    Unsupported(String),
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Malformed(reason) | Self::Unsupported(reason)) = self;
        f.write_str(reason)
    }
}

impl Manifest {
    /// Reads `bytes`, which have `digest`, and came as `content_type`.
    pub fn parse(bytes: Bytes, digest: Digest, content_type: &str) -> Result<Self, Defect> {
        let raw: Raw = serde_json::from_slice(&bytes)
            .map_err(|error| Defect::Malformed(format!("this is not a manifest: {}", one_line(&error.to_string()))))?;
        let media_type = raw.media_type(content_type)?;
        let content = raw.content(&media_type)?;
        Ok(Self { media_type, bytes, digest, content })
    }

    /// The configuration, if this is an image and nothing else that is kept like one.
    pub fn image_config(&self) -> Option<&Descriptor> {
        match &self.content {
            Content::Blobs(blobs) => blobs.iter().find(|blob| is_image_config(&blob.media_type)),
            Content::Index { .. } => None,
        }
    }
}

impl Descriptor {
    /// Whether it names an index.
    pub fn is_index(&self) -> bool {
        is_index(&self.media_type)
    }

    /// Whether an index names a blob with it.
    pub fn is_blob(&self) -> bool {
        is_blob(&self.media_type)
    }
}

/// Every field that some kind of manifest has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: u32,
    media_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    blobs: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    urls: Vec<String>,
    /// Only for show and for choosing: whatever else stands here is no reason to refuse the index.
    platform: Option<serde_json::Value>,
}

impl Raw {
    /// The type by header and body, which must not contradict each other (image-spec `manifest.md`, `mediaType`).
    fn media_type(&self, content_type: &str) -> Result<String, Defect> {
        let header = content_type.split(';').next().unwrap_or_default().trim();
        let inside = self.media_type.as_deref().unwrap_or_default();
        check_media_type(inside).map_err(Defect::Malformed)?;
        match (is_manifest(header) || is_schema1(header), inside) {
            (true, "") => Ok(header.to_owned()),
            (true, inside) if inside == header => Ok(header.to_owned()),
            (true, inside) => Err(Defect::Malformed(format!("it came as {header:?} but says that it is {inside:?}"))),
            (false, "") => Ok(self.guess().to_owned()),
            (false, inside) => Ok(inside.to_owned()),
        }
    }

    /// The type of a manifest that nobody named: OCI makes the field optional.
    fn guess(&self) -> &'static str {
        match self {
            Self { schema_version: 1, .. } => DOCKER_SCHEMA1,
            Self { manifests: Some(_), .. } => OCI_INDEX,
            _ => OCI_MANIFEST,
        }
    }

    fn content(self, media_type: &str) -> Result<Content, Defect> {
        if is_schema1(media_type) || self.schema_version == 1 {
            return Err(Defect::Unsupported(
                "this is an image of the old Docker schema 1, whose digest no current registry keeps; push it anew to \
                 the source with a current client"
                    .to_owned(),
            ));
        }
        let names_blobs = self.config.is_some() || self.layers.is_some() || self.blobs.is_some();
        if is_index(media_type) != self.manifests.is_some() && is_manifest(media_type)
            || self.manifests.is_some() && names_blobs
        {
            // Clients that read it as an index pull other content than clients that read it as an image (CVE-2021-41190).
            return Err(Defect::Malformed(format!("what it names does not fit its type {media_type:?}")));
        }
        if let Some(manifests) = self.manifests {
            let (blobs, manifests) =
                descriptors(manifests)?.into_iter().partition(|descriptor| is_blob(&descriptor.media_type));
            return Ok(Content::Index { manifests, blobs });
        }
        if !names_blobs {
            return Err(Defect::Unsupported(format!(
                "a manifest of type {media_type:?} without config, layers or manifests cannot be copied"
            )));
        }
        let blobs = self.config.into_iter().chain(self.layers.unwrap_or_default());
        Ok(Content::Blobs(descriptors(blobs.chain(self.blobs.unwrap_or_default()))?))
    }
}

fn descriptors(raw: impl IntoIterator<Item = RawDescriptor>) -> Result<Vec<Descriptor>, Defect> {
    raw.into_iter().map(|raw| raw.try_into().map_err(Defect::Unsupported)).collect()
}

impl TryFrom<RawDescriptor> for Descriptor {
    type Error = String;

    fn try_from(raw: RawDescriptor) -> Result<Self, String> {
        check_media_type(&raw.media_type)?;
        let digest = raw.digest.parse().map_err(|error: crate::digest::InvalidDigest| {
            format!("the manifest names something that cannot be verified: {}", one_line(&error.to_string()))
        })?;
        if i64::try_from(raw.size).is_err() {
            // OCI image-spec `descriptor.md`: an int64.
            return Err(format!("the manifest says that {digest} has {} bytes, which nothing has", raw.size));
        }
        Ok(Self {
            media_type: raw.media_type,
            digest,
            size: raw.size,
            is_foreign: !raw.urls.is_empty(),
            platform: raw.platform.and_then(platform),
        })
    }
}

/// Media types stand in headers, messages and reports (RFC 6838, section 4.2, for their length).
fn check_media_type(text: &str) -> Result<(), String> {
    if text.len() <= LONGEST_MEDIA_TYPE && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Ok(());
    }
    Err(format!("the manifest names a media type that is none: {}", one_line(&format!("{text:?}"))))
}

fn platform(value: serde_json::Value) -> Option<Platform> {
    serde_json::from_value(value).ok().filter(|platform: &Platform| !platform.os.is_empty())
}

pub(super) fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | OCI_MANIFEST | OCI_ARTIFACT | DOCKER_LIST | DOCKER_MANIFEST)
}

pub(super) fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

pub(super) fn is_schema1(media_type: &str) -> bool {
    matches!(media_type, DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED)
}

/// Indexes may name blobs; whatever is not known as one is taken for a manifest.
fn is_blob(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.")
        || is_image_config(media_type)
}

fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(json: &str, content_type: &str) -> Result<Manifest, Defect> {
        let bytes = Bytes::copy_from_slice(json.as_bytes());
        let digest = Digest::of(&bytes);
        Manifest::parse(bytes, digest, content_type)
    }

    #[test]
    fn what_came_as_one_kind_and_says_that_it_is_another_is_no_manifest() {
        let of = |inside: &str| format!(r#"{{"schemaVersion":2,"mediaType":"{inside}","config":{}}}"#, descriptor(""));
        assert!(parse(&of(OCI_MANIFEST), OCI_MANIFEST).is_ok());
        for (inside, header) in [(DOCKER_MANIFEST, OCI_MANIFEST), (OCI_MANIFEST, DOCKER_MANIFEST)] {
            assert!(matches!(parse(&of(inside), header), Err(Defect::Malformed(_))), "{header}");
        }
    }

    fn descriptor(extra: &str) -> String {
        format!(r#"{{"mediaType":"m/x","digest":"{SOME}","size":1{extra}}}"#)
    }

    #[test]
    fn config_and_layers_are_named_and_the_bytes_kept() {
        let json = format!(
            r#"{{ "schemaVersion":2, "config":{}, "layers":[{},{}] }}"#,
            descriptor(""),
            descriptor(r#","urls":["https://example.com/x"]"#),
            descriptor(r#","data":"","annotations":{"a":"b"}"#)
        );
        let manifest = parse(&json, &format!("{OCI_MANIFEST}; charset=utf-8")).unwrap();
        assert_eq!(manifest.bytes, json.as_bytes());
        assert_eq!(manifest.media_type, OCI_MANIFEST);
        let Content::Blobs(blobs) = manifest.content else { panic!("no blobs") };
        assert_eq!(blobs.iter().map(|b| b.is_foreign).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn a_manifest_without_layers_is_one() {
        let json = format!(r#"{{"schemaVersion":2,"config":{}}}"#, descriptor(""));
        assert!(matches!(parse(&json, OCI_MANIFEST).unwrap().content, Content::Blobs(blobs) if blobs.len() == 1));
    }

    #[test]
    fn indexes_nest() {
        let json = format!(r#"{{"mediaType":"{DOCKER_LIST}","manifests":[{}]}}"#, descriptor(""));
        let index = parse(&json, "application/json").unwrap();
        assert_eq!(index.media_type, DOCKER_LIST);
        assert!(matches!(index.content, Content::Index { manifests, .. } if manifests.len() == 1));
    }

    #[test]
    fn a_platform_is_read_whatever_stands_beside_it() {
        let platforms = [r#"{"os":"linux","architecture":"arm64","variant":"v8","x":1}"#, r#"{"os":7}"#, "[]", "null"];
        let children = platforms.map(|platform| descriptor(&format!(r#","platform":{platform}"#))).join(",");
        let index = parse(&format!(r#"{{"mediaType":"{OCI_INDEX}","manifests":[{children}]}}"#), OCI_INDEX).unwrap();
        let Content::Index { manifests, .. } = index.content else { panic!("no index") };
        let read: Vec<_> = manifests.iter().map(|child| child.platform.as_ref().map(Platform::to_string)).collect();
        assert_eq!(read, [Some("linux/arm64/v8".to_owned()), None, None, None]);
    }

    #[test]
    fn the_type_is_found_where_nobody_names_it() {
        assert_eq!(parse(r#"{"manifests":[]}"#, "text/plain").unwrap().media_type, OCI_INDEX);
        assert_eq!(parse(r#"{"layers":[]}"#, "").unwrap().media_type, OCI_MANIFEST);
    }

    #[test]
    fn what_cannot_be_copied_faithfully_is_refused() {
        let unsupported = |json: &str, t: &str| matches!(parse(json, t), Err(Defect::Unsupported(_)));
        let malformed = |json: &str, t: &str| matches!(parse(json, t), Err(Defect::Malformed(_)));
        assert!(unsupported(r#"{"schemaVersion":1,"fsLayers":[]}"#, DOCKER_SCHEMA1_SIGNED));
        assert!(unsupported(r#"{"schemaVersion":1,"fsLayers":[]}"#, "application/json"));
        assert!(unsupported(r#"{"schemaVersion":2}"#, OCI_MANIFEST));
        assert!(unsupported(r#"{"layers":[{"digest":"blake3:00","size":1}]}"#, OCI_MANIFEST));
        assert!(unsupported(r#"{"layers":[{"digest":"sha256:../../x","size":1}]}"#, OCI_MANIFEST));
        assert!(malformed(&format!(r#"{{"layers":[{{"digest":"{SOME}","size":-1}}]}}"#), OCI_MANIFEST));
        assert!(unsupported(&format!(r#"{{"layers":[{{"digest":"{SOME}","size":{}}}]}}"#, 1_u64 << 63), OCI_MANIFEST));
        assert!(malformed(&format!(r#"{{"mediaType":"{OCI_INDEX}","manifests":[]}}"#), OCI_MANIFEST));
        assert!(malformed("<html>", OCI_MANIFEST));
        assert!(malformed(r#"{"layers":[],"manifests":[]}"#, "application/json"));
        assert!(malformed(r#"{"manifests":[]}"#, OCI_MANIFEST));
        assert!(malformed(r#"{"layers":[]}"#, OCI_INDEX));
    }
}
