//! What is migrated: images built from a few words, always the same, with all their digests known.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use clap::ValueEnum;
use image_migrator::digest::Digest;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::content::Layer;
use crate::storage::Storage;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Which workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum Kind {
    /// 20 repositories of 10 tags, 6 layers each with shared bases, a third for two platforms: 1.5 GB
    A,
    /// One image of 7 layers of 250 MB
    B,
    /// 1,000 tags of tiny images
    C,
    /// One image of 64 layers of 25 MB, for the memory of many workers
    M,
}

impl Kind {
    pub fn describe(self, quick: bool) -> &'static str {
        match (self, quick) {
            (Self::A, false) => {
                "20 repositories of 10 tags, 6 layers each with shared bases, a third for two platforms"
            }
            (Self::A, true) => "reduced: 8 repositories of 5 tags, 6 layers each, a third for two platforms",
            (Self::B, false) => "one image of 7 layers of 250 MB",
            (Self::B, true) => "reduced: one image of 7 layers of 50 MB",
            (Self::C, false) => "1,000 tags of tiny images",
            (Self::C, true) => "reduced: 200 tags of tiny images",
            (Self::M, false) => "one image of 64 layers of 25 MB",
            (Self::M, true) => "reduced: one image of 64 layers of 5 MB",
        }
    }
}

/// Everything that is known of a filled registry.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Workload {
    pub repositories: Vec<Repository>,
    /// The size of each distinct blob by its digest.
    pub blobs: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Repository {
    pub name: String,
    /// Children before the indexes that name them.
    pub manifests: Vec<Manifest>,
    /// The digests of its blobs.
    pub blobs: BTreeSet<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub digest: String,
    pub media_type: String,
    /// Those of an index's children are named by digest alone.
    pub tag: Option<String>,
}

impl Repository {
    /// Its tags with the digests that they name.
    pub fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        self.manifests.iter().filter_map(|manifest| Some((manifest.tag.as_deref()?, manifest.digest.as_str())))
    }
}

impl Workload {
    /// Builds the images in an empty storage.
    pub fn build(kind: Kind, quick: bool, storage: &Storage) -> anyhow::Result<Self> {
        let mut builder = Builder { storage, seed: 0, workload: Self::default() };
        match (kind, quick) {
            (Kind::A, false) => builder.many_repositories(20, 10)?,
            (Kind::A, true) => builder.many_repositories(8, 5)?,
            (Kind::B, false) => builder.one_image("big/one", 7, 250_000_000)?,
            (Kind::B, true) => builder.one_image("big/one", 7, 50_000_000)?,
            (Kind::C, false) => builder.tiny_images(1000)?,
            (Kind::C, true) => builder.tiny_images(200)?,
            (Kind::M, false) => builder.one_image("many/layers", 64, 25_000_000)?,
            (Kind::M, true) => builder.one_image("many/layers", 64, 5_000_000)?,
        }
        Ok(builder.workload)
    }

    pub fn bytes(&self) -> u64 {
        self.blobs.values().sum()
    }

    pub fn tags(&self) -> usize {
        self.repositories.iter().map(|repository| repository.tags().count()).sum()
    }

    pub fn manifests(&self) -> usize {
        self.repositories.iter().map(|repository| repository.manifests.len()).sum()
    }
}

/// A blob or manifest as others name it.
#[derive(Clone)]
struct Named {
    media_type: &'static str,
    digest: Digest,
    size: u64,
}

impl Named {
    fn descriptor(&self) -> serde_json::Value {
        json!({ "mediaType": self.media_type, "digest": self.digest.to_string(), "size": self.size })
    }
}

struct Builder<'a> {
    storage: &'a Storage,
    seed: u64,
    workload: Workload,
}

impl Builder<'_> {
    /// Six bases of three layers, which repositories share; a layer common to each repository; two layers of each image.
    fn many_repositories(&mut self, repositories: usize, tags: usize) -> anyhow::Result<()> {
        let mut bases = Vec::new();
        for _ in 0..6 {
            bases.push(self.layers(3, 5_000_000)?);
        }
        let mut images = 0;
        for number in 0..repositories {
            self.begin(format!("team{}/app{number}", number % 4));
            let common = self.layers(1, 4_000_000)?;
            let (base, other) = (&bases[number % 6], &bases[(number + 1) % 6]);
            for tag in 0..tags {
                images += 1;
                let own = self.layers(2, 2_500_000)?;
                let tag = format!("v{tag}");
                if images % 3 != 0 {
                    self.image("amd64", [base.as_slice(), &common, &own].concat(), Some(tag))?;
                    continue;
                }
                let first = self.image("amd64", [base.as_slice(), &common, &own].concat(), None)?;
                let own = self.layers(2, 2_500_000)?;
                let second = self.image("arm64", [other.as_slice(), &common, &own].concat(), None)?;
                self.index(&[("amd64", first), ("arm64", second)], tag)?;
            }
        }
        Ok(())
    }

    fn one_image(&mut self, name: &str, layers: usize, size: usize) -> anyhow::Result<()> {
        self.begin(name.to_owned());
        let mut all = Vec::new();
        for _ in 0..layers {
            all.push(self.layer(size)?);
        }
        self.image("amd64", all, Some("v1".to_owned())).map(drop)
    }

    /// A small base in all of them, and in every tenth a layer of its own.
    fn tiny_images(&mut self, tags: usize) -> anyhow::Result<()> {
        self.begin("tiny/app".to_owned());
        let base = self.layer(4000)?;
        for tag in 0..tags {
            let mut layers = vec![base.clone()];
            if tag % 10 == 0 {
                layers.push(self.layer(3000)?);
            }
            self.image("amd64", layers, Some(format!("t{tag}")))?;
        }
        Ok(())
    }

    fn begin(&mut self, name: String) {
        self.workload.repositories.push(Repository { name, manifests: Vec::new(), blobs: BTreeSet::new() });
    }

    /// Layers whose sizes spread around `size`, from half of it to one and a half.
    fn layers(&mut self, count: usize, size: usize) -> anyhow::Result<Vec<Named>> {
        let spread = |seed: u64| size / 2 + size / 10 * (seed * 7 % 11) as usize;
        (0..count).map(|_| self.layer(spread(self.seed))).collect()
    }

    fn layer(&mut self, size: usize) -> anyhow::Result<Named> {
        self.seed += 1;
        self.blob(LAYER, Layer::new(self.seed, size))
    }

    fn blob(&mut self, media_type: &'static str, content: impl std::io::Read) -> anyhow::Result<Named> {
        let (digest, size) = self.storage.add_blob(content)?;
        self.workload.blobs.insert(digest.to_string(), size);
        Ok(Named { media_type, digest, size })
    }

    fn image(&mut self, architecture: &str, layers: Vec<Named>, tag: Option<String>) -> anyhow::Result<Named> {
        self.seed += 1;
        let config = json!({ "architecture": architecture, "os": "linux", "config": {}, "id": self.seed,
            "rootfs": { "type": "layers", "diff_ids": [] } });
        let config = self.blob(CONFIG, config.to_string().as_bytes())?;
        let repository = self.workload.repositories.last_mut().context("an image without a repository")?;
        for blob in layers.iter().chain([&config]) {
            if repository.blobs.insert(blob.digest.to_string()) {
                self.storage.link_blob(&repository.name, &blob.digest)?;
            }
        }
        let layers: Vec<_> = layers.iter().map(Named::descriptor).collect();
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(), "layers": layers });
        self.manifest(MANIFEST, &manifest, tag)
    }

    fn index(&mut self, children: &[(&str, Named)], tag: String) -> anyhow::Result<Named> {
        let described = |(architecture, child): &(&str, Named)| {
            let mut descriptor = child.descriptor();
            descriptor["platform"] = json!({ "architecture": architecture, "os": "linux" });
            descriptor
        };
        let manifests: Vec<_> = children.iter().map(described).collect();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        self.manifest(INDEX, &index, Some(tag))
    }

    fn manifest(
        &mut self,
        media_type: &'static str,
        manifest: &serde_json::Value,
        tag: Option<String>,
    ) -> anyhow::Result<Named> {
        let (digest, size) = self.storage.add_blob(manifest.to_string().as_bytes())?;
        let repository = self.workload.repositories.last_mut().context("a manifest without a repository")?;
        self.storage.link_manifest(&repository.name, &digest)?;
        if let Some(tag) = &tag {
            self.storage.tag(&repository.name, tag, &digest)?;
        }
        repository.manifests.push(Manifest { digest: digest.to_string(), media_type: media_type.to_owned(), tag });
        Ok(Named { media_type, digest, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor::Least;

    #[test]
    fn a_workload_is_always_the_same_and_its_floor_is_counted_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| {
            let storage = Storage::new(folder.path().join(name));
            Workload::build(Kind::C, true, &storage).unwrap()
        });
        assert_eq!(serde_json::to_value(&one).unwrap(), serde_json::to_value(&other).unwrap());
        let least = Least::of(&one);
        // 200 tags; a base, 20 further layers and 200 configurations.
        assert_eq!(least.source, 1 + 1 + 200 + 221);
        assert_eq!(least.destination, 1 + 1 + 2 * 221 + 200);
        assert_eq!(least.again, (1 + 1 + 200, 1 + 200));
    }
}
