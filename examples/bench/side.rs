//! One side of a migration: what a registry holds from run to run, and the registry that serves it in each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use image_migrator::digest::Digest;
use scriptable_registry::Registry as InMemory;
use tokio::runtime::Runtime;

use crate::access_log::Requests;
use crate::registry::Registry;
use crate::storage::Storage;
use crate::workload::{Kind, Workload};

pub enum Side {
    /// In files, served by a `docker-registry` that is started for each run.
    Files { storage: Storage, folder: PathBuf },
    /// In the memory of this program, served by a registry that takes next to no processor time.
    Memory(InMemory),
}

/// Serves one run.
pub enum Serving<'a> {
    Process(Registry),
    Memory(&'a InMemory),
}

/// Makes the sides of a comparison.
pub struct Sides<'a> {
    /// Where there is room for the data of two registries.
    pub folder: &'a Path,
    /// Where the registries in memory run, if they are to be there.
    pub in_memory: Option<&'a Runtime>,
}

impl Sides<'_> {
    /// A source that holds a workload.
    pub fn source(&self, kind: Kind, quick: bool) -> anyhow::Result<(Side, Workload)> {
        let storage = self.storage("source")?;
        let workload = Workload::build(kind, quick, &storage)?;
        let Some(runtime) = self.in_memory else { return Ok((self.files("source", storage), workload)) };
        let registry = in_memory(runtime);
        for repository in &workload.repositories {
            for blob in &repository.blobs {
                registry.put_blob(&repository.name, storage.read(&blob.parse()?)?);
            }
            for manifest in &repository.manifests {
                let reference = manifest.tag.as_deref().unwrap_or(&manifest.digest);
                let bytes = storage.read(&manifest.digest.parse()?)?;
                registry.put_manifest(&repository.name, reference, &manifest.media_type, bytes);
            }
        }
        storage.clear()?;
        Ok((Side::Memory(registry), workload))
    }

    /// An empty destination; whatever the last one had is gone.
    pub fn destination(&self) -> anyhow::Result<Side> {
        Ok(match self.in_memory {
            None => self.files("destination", self.storage("destination")?),
            Some(runtime) => Side::Memory(in_memory(runtime)),
        })
    }

    fn storage(&self, name: &str) -> anyhow::Result<Storage> {
        let storage = Storage::new(self.folder.join(name));
        storage.clear()?;
        Ok(storage)
    }

    fn files(&self, name: &str, storage: Storage) -> Side {
        Side::Files { storage, folder: self.folder.join(format!("at-{name}")) }
    }
}

fn in_memory(runtime: &Runtime) -> InMemory {
    // As lenient as `docker-registry`, for the peers' sake.
    runtime.block_on(InMemory::builder().page_size(1_000).strict(false).start())
}

impl Side {
    pub fn serve(&self) -> anyhow::Result<Serving<'_>> {
        Ok(match self {
            Self::Files { storage, folder } => Serving::Process(Registry::start(storage, folder)?),
            Self::Memory(registry) => {
                registry.clear_log();
                Serving::Memory(registry)
            }
        })
    }

    /// How much of a workload is not here as it is at the source: tags that name something else, manifests and blobs that
    /// are missing or damaged. Read back, every byte. Names here begin with `prefix`.
    pub fn wrong(&self, workload: &Workload, prefix: &str) -> usize {
        let mut wrong = 0;
        let mut holders = BTreeMap::new();
        for repository in &workload.repositories {
            let name = format!("{prefix}{}", repository.name);
            let size = |blob: &str| workload.blobs.get(blob).copied().unwrap_or(0);
            wrong += repository.tags().filter(|(tag, named)| !self.tag_names(&name, tag, named)).count();
            wrong += repository.manifests.iter().filter(|manifest| !self.has_manifest(&name, &manifest.digest)).count();
            wrong += repository.blobs.iter().filter(|blob| !self.has_blob(&name, blob, size(blob))).count();
            holders.extend(repository.blobs.iter().map(|blob| (blob.as_str(), name.clone())));
        }
        wrong + holders.iter().filter(|(blob, repository)| !self.is_sound(repository, blob)).count()
    }

    fn tag_names(&self, repository: &str, tag: &str, named: &str) -> bool {
        match self {
            Self::Files { storage, .. } => storage.digest_of(repository, tag) == named.parse().ok(),
            Self::Memory(registry) => registry.digest(repository, tag).as_deref() == Some(named),
        }
    }

    fn has_manifest(&self, repository: &str, digest: &str) -> bool {
        let Ok(parsed) = digest.parse::<Digest>() else { return false };
        match self {
            Self::Files { storage, .. } => storage.has_manifest(repository, &parsed),
            Self::Memory(registry) => {
                registry.manifest(repository, digest).is_some_and(|manifest| Digest::of(&manifest.bytes) == parsed)
            }
        }
    }

    fn has_blob(&self, repository: &str, digest: &str, size: u64) -> bool {
        match self {
            Self::Files { storage, .. } => {
                digest.parse().is_ok_and(|digest| storage.has_blob(repository, &digest, size))
            }
            Self::Memory(registry) => registry.blob_size(repository, digest) == Some(size),
        }
    }

    /// Whether the bytes kept under a digest are those that it names.
    fn is_sound(&self, repository: &str, digest: &str) -> bool {
        let Ok(parsed) = digest.parse::<Digest>() else { return false };
        match self {
            Self::Files { storage, .. } => storage.is_sound(&parsed),
            Self::Memory(registry) => {
                registry.blob(repository, digest).is_some_and(|bytes| Digest::of(&bytes) == parsed)
            }
        }
    }
}

impl Serving<'_> {
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        match self {
            Self::Process(registry) => Ok(registry.address()),
            Self::Memory(registry) => registry.host().parse().context("a registry in memory has no address"),
        }
    }

    /// Gives what was asked for in this run; a process ends.
    pub fn stop(self) -> anyhow::Result<Requests> {
        match self {
            Self::Process(registry) => registry.stop(),
            Self::Memory(registry) => Requests::in_memory(&registry.requests()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_all_of_its_workload_and_an_empty_destination_nothing() {
        let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
        for in_memory in [None, Some(&runtime)] {
            let sides = Sides { folder: folder.path(), in_memory };
            let (source, workload) = sides.source(Kind::C, true).unwrap();
            assert_eq!(source.wrong(&workload, ""), 0);
            let repositories = workload.repositories.iter();
            let parts: usize = repositories.map(|repository| repository.manifests.len() + repository.blobs.len()).sum();
            let all = workload.tags() + parts + workload.blobs.len();
            assert_eq!(sides.destination().unwrap().wrong(&workload, "mirror/"), all);
        }
    }
}
