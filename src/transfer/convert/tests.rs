//! What is placed, word for word, and what was read to know it.

mod format;
mod identity;
mod platform;

use std::future::ready;
use std::sync::Mutex;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::registry::{Descriptor, Error, ErrorKind};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const LAYER: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A registry that remembers what it was asked for.
#[derive(Default)]
struct Shelf {
    manifests: HashMap<Digest, Manifest>,
    blobs: HashMap<Digest, Bytes>,
    read: Mutex<Vec<Digest>>,
}

impl Shelf {
    fn put(&mut self, media_type: &str, json: &str) -> Manifest {
        let manifest = manifest(media_type, json);
        self.manifests.insert(manifest.digest.clone(), manifest.clone());
        manifest
    }

    fn put_config(&mut self, json: &str) -> Digest {
        let bytes = Bytes::copy_from_slice(json.as_bytes());
        let digest = Digest::of(&bytes);
        self.blobs.insert(digest.clone(), bytes);
        digest
    }

    /// An image for a platform, with one layer.
    fn image(&mut self, format: Format, os: &str, architecture: &str) -> Manifest {
        let config = format!(r#"{{"architecture":"{architecture}","os":"{os}"}}"#);
        let (digest, size) = (self.put_config(&config), config.len());
        self.put(
            match format {
                Format::Oci => OCI_IMAGE,
                Format::Docker => DOCKER_IMAGE,
            },
            &image(format, &digest, size),
        )
    }

    fn reads(&self) -> Vec<Digest> {
        self.read.lock().unwrap().clone()
    }

    fn find<T: Clone>(&self, digest: &Digest, all: &HashMap<Digest, T>) -> Result<T, Error> {
        self.read.lock().unwrap().push(digest.clone());
        let nothing = || Error {
            registry: "r.example.com".parse().unwrap(),
            asked: None,
            kind: ErrorKind::Malformed { reason: format!("{digest} is not there") },
        };
        all.get(digest).cloned().ok_or_else(nothing)
    }
}

impl Source for Shelf {
    fn manifest<'a>(&'a self, child: &'a Descriptor) -> BoxFuture<'a, Result<Manifest, Error>> {
        ready(self.find(&child.digest, &self.manifests)).boxed()
    }

    fn config<'a>(&'a self, config: &'a Descriptor) -> BoxFuture<'a, Result<Bytes, Error>> {
        ready(self.find(&config.digest, &self.blobs)).boxed()
    }
}

fn manifest(media_type: &str, json: &str) -> Manifest {
    let bytes = Bytes::copy_from_slice(json.as_bytes());
    let digest = Digest::of(&bytes);
    Manifest::parse(bytes, digest, media_type).unwrap()
}

fn image(format: Format, config: &Digest, size: usize) -> String {
    let (own, config_type, layer_type) = match format {
        Format::Oci => {
            (OCI_IMAGE, "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip")
        }
        Format::Docker => (
            DOCKER_IMAGE,
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
    };
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{own}","config":{{"mediaType":"{config_type}","digest":"{config}","size":{size}}},"layers":[{{"mediaType":"{layer_type}","digest":"{LAYER}","size":1}}]}}"#
    )
}

fn descriptor(of: &Manifest, more: &str) -> String {
    format!(r#"{{"mediaType":"{}","digest":"{}","size":{}{more}}}"#, of.media_type, of.digest, of.bytes.len())
}

fn on(os: &str, architecture: &str) -> String {
    format!(r#","platform":{{"architecture":"{architecture}","os":"{os}"}}"#)
}

fn attests(image: &Manifest) -> String {
    format!(
        r#","annotations":{{"vnd.docker.reference.digest":"{}","vnd.docker.reference.type":"attestation-manifest"}},"platform":{{"architecture":"unknown","os":"unknown"}}"#,
        image.digest
    )
}

fn index(media_type: &str, children: &[String]) -> String {
    format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{}]}}"#, children.join(","))
}

fn platforms(names: &[&str]) -> Conversion {
    Conversion { platforms: names.iter().map(|name| name.parse().unwrap()).collect(), format: None }
}

fn format(format: Format) -> Conversion {
    Conversion { platforms: Vec::new(), format: Some(format) }
}

async fn placed(conversion: &Conversion, root: &Manifest, shelf: &Shelf) -> Tree {
    match conversion.apply(root.clone(), shelf).await.unwrap() {
        Target::Place(tree) => tree,
        Target::Skip(platform) => panic!("skipped: {platform}"),
    }
}

async fn refused(conversion: &Conversion, root: &Manifest, shelf: &Shelf) -> String {
    conversion.apply(root.clone(), shelf).await.unwrap_err().to_string()
}

fn text(manifest: &Manifest) -> &str {
    std::str::from_utf8(&manifest.bytes).unwrap()
}

/// Asserts that a tree names nothing of its own that it does not hold.
fn assert_whole(tree: &Tree, shelf: &Shelf) {
    let all = std::iter::once(&tree.root).chain(tree.parts.values());
    for manifest in all {
        assert_eq!(Digest::of(&manifest.bytes), manifest.digest);
        if let Content::Index { manifests, .. } = &manifest.content {
            for child in manifests {
                let found = tree.parts.get(&child.digest).or_else(|| shelf.manifests.get(&child.digest)).unwrap();
                assert_eq!(found.bytes.len() as u64, child.size);
                assert_eq!(found.media_type, child.media_type);
            }
        }
    }
}
