//! The files of a `docker-registry`: written to fill the source, read to look into the destination, both without a
//! request that its log would show.
//!
//! Layout: `distribution/registry/storage/paths.go`. A blob is a file under its digest; repositories hold links to it.

use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use image_migrator::digest::{Digest, Hasher};

/// Where one registry keeps its data.
#[derive(Clone, Debug)]
pub struct Storage(PathBuf);

impl Storage {
    pub fn new(root: PathBuf) -> Self {
        Self(root)
    }

    /// The directory to be named in the registry's configuration.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// Keeps what is read. Gives its digest and size.
    pub fn add_blob(&self, mut content: impl Read) -> anyhow::Result<(Digest, u64)> {
        let unnamed = self.v2().join("unnamed");
        create_parent(&unnamed)?;
        let mut file = File::create(&unnamed).with_context(|| format!("cannot write {}", unnamed.display()))?;
        let mut hasher = Hasher::like(&Digest::of(b""));
        let mut size = 0;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = content.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            file.write_all(&buffer[..read]).context("a layer cannot be written: is there room for the workload?")?;
            size += read as u64;
        }
        let digest = hasher.finish();
        let data = self.data(&digest);
        create_parent(&data)?;
        fs::rename(&unnamed, &data)?;
        Ok((digest, size))
    }

    /// Makes a blob part of a repository.
    pub fn link_blob(&self, repository: &str, digest: &Digest) -> anyhow::Result<()> {
        self.write_link(self.blob_link(repository, digest), digest)
    }

    /// Makes a blob a manifest of a repository.
    pub fn link_manifest(&self, repository: &str, digest: &Digest) -> anyhow::Result<()> {
        self.write_link(self.manifest_link(repository, digest), digest)
    }

    pub fn tag(&self, repository: &str, tag: &str, digest: &Digest) -> anyhow::Result<()> {
        let index = self.repository(repository).join("_manifests/tags").join(tag).join("index");
        self.write_link(index.join(digest.hex()).join("link"), digest)?;
        self.write_link(self.tag_link(repository, tag), digest)
    }

    /// What a tag names, if it is there.
    pub fn digest_of(&self, repository: &str, tag: &str) -> Option<Digest> {
        fs::read_to_string(self.tag_link(repository, tag)).ok()?.trim().parse().ok()
    }

    /// Whether a repository has a manifest, and the bytes that belong to it.
    pub fn has_manifest(&self, repository: &str, digest: &Digest) -> bool {
        self.manifest_link(repository, digest).is_file()
            && fs::read(self.data(digest)).is_ok_and(|bytes| Digest::of(&bytes) == *digest)
    }

    /// Whether a repository has a blob of that size.
    pub fn has_blob(&self, repository: &str, digest: &Digest, size: u64) -> bool {
        let data = fs::metadata(self.data(digest));
        self.blob_link(repository, digest).is_file() && data.is_ok_and(|data| data.len() == size)
    }

    /// Whether the bytes kept under a digest are those that it names.
    pub fn is_sound(&self, digest: &Digest) -> bool {
        let Ok(mut file) = File::open(self.data(digest)) else { return false };
        let mut hasher = Hasher::like(digest);
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return hasher.finish() == *digest,
                Ok(read) => hasher.update(&buffer[..read]),
                Err(_) => return false,
            }
        }
    }

    /// The bytes that are kept under a digest.
    pub fn read(&self, digest: &Digest) -> anyhow::Result<Vec<u8>> {
        fs::read(self.data(digest)).with_context(|| format!("{digest} is not there"))
    }

    /// Forgets everything.
    pub fn clear(&self) -> anyhow::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.0.display()))
            }
            _ => Ok(()),
        }
    }

    fn v2(&self) -> PathBuf {
        self.0.join("docker/registry/v2")
    }

    fn data(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.v2().join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    fn repository(&self, repository: &str) -> PathBuf {
        self.v2().join("repositories").join(repository)
    }

    fn blob_link(&self, repository: &str, digest: &Digest) -> PathBuf {
        self.repository(repository).join("_layers/sha256").join(digest.hex()).join("link")
    }

    fn manifest_link(&self, repository: &str, digest: &Digest) -> PathBuf {
        self.repository(repository).join("_manifests/revisions/sha256").join(digest.hex()).join("link")
    }

    fn tag_link(&self, repository: &str, tag: &str) -> PathBuf {
        self.repository(repository).join("_manifests/tags").join(tag).join("current/link")
    }

    fn write_link(&self, link: PathBuf, digest: &Digest) -> anyhow::Result<()> {
        create_parent(&link)?;
        fs::write(&link, digest.to_string()).with_context(|| format!("cannot write {}", link.display()))
    }
}

fn create_parent(path: &Path) -> anyhow::Result<()> {
    let parent = path.parent().context("a path without a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))
}
