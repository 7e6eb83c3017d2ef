//! The two families of media types, and what means the same in both.

use std::fmt;

use super::{DOCKER_CONFIG, DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};

/// A family of media types. Some registries take only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Docker image manifest version 2, schema 2.
    Docker,
    /// OCI image-spec.
    Oci,
}

/// Media types of manifests, Docker's and OCI's.
const MANIFESTS: [(&str, &str); 2] = [(DOCKER_LIST, OCI_INDEX), (DOCKER_MANIFEST, OCI_MANIFEST)];

/// Media types of blobs: the bytes are the same in both families. Docker never specified layers compressed with
/// Zstandard, and its older clients cannot read them: the name for them is containerd's, and is only read.
const BLOBS: [(&str, &str); 5] = [
    (DOCKER_CONFIG, OCI_CONFIG),
    ("application/vnd.docker.image.rootfs.diff.tar", "application/vnd.oci.image.layer.v1.tar"),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.oci.image.layer.v1.tar+gzip"),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar"),
    (
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ),
];
const DOCKER_ZSTD: (&str, &str) =
    ("application/vnd.docker.image.rootfs.diff.tar.zstd", "application/vnd.oci.image.layer.v1.tar+zstd");

/// OCI lets a registry hold layers of this kind; in Docker's format they live elsewhere, or are no such layers.
const HELD_NONDISTRIBUTABLE: [(&str, &str); 2] = [
    ("application/vnd.docker.image.rootfs.diff.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar"),
    (
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ),
];

impl Format {
    /// The family of a manifest's or an index's media type.
    pub fn of_manifest(media_type: &str) -> Option<Self> {
        MANIFESTS.iter().find_map(|(docker, oci)| match media_type {
            _ if media_type == *docker => Some(Self::Docker),
            _ if media_type == *oci => Some(Self::Oci),
            _ => None,
        })
    }

    /// The family that this one is not.
    pub fn other(self) -> Self {
        match self {
            Self::Docker => Self::Oci,
            Self::Oci => Self::Docker,
        }
    }

    /// What this family calls a manifest or an index of that type.
    pub fn manifest(self, media_type: &str) -> Option<&'static str> {
        self.translate(&MANIFESTS, media_type)
    }

    /// What this family calls a configuration or a layer of that type, if it has a name for it; `is_foreign` if it is
    /// to be fetched from elsewhere.
    pub fn blob(self, media_type: &str, is_foreign: bool) -> Option<&'static str> {
        match self {
            Self::Docker if !is_foreign => {
                self.translate(&HELD_NONDISTRIBUTABLE, media_type).or_else(|| self.translate(&BLOBS, media_type))
            }
            Self::Oci if media_type == DOCKER_ZSTD.0 => Some(DOCKER_ZSTD.1),
            _ => self.translate(&BLOBS, media_type),
        }
    }

    fn translate(self, table: &[(&'static str, &'static str)], media_type: &str) -> Option<&'static str> {
        let (docker, oci) = table.iter().find(|(docker, oci)| media_type == *docker || media_type == *oci)?;
        Some(match self {
            Self::Docker => docker,
            Self::Oci => oci,
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Oci => "oci",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_has_a_name_in_both_families() {
        for (docker, oci) in MANIFESTS {
            assert_eq!(Format::Docker.manifest(oci), Some(docker));
            assert_eq!(Format::Oci.manifest(docker), Some(oci));
            assert_eq!(
                (Format::of_manifest(docker), Format::of_manifest(oci)),
                (Some(Format::Docker), Some(Format::Oci))
            );
        }
        for (docker, oci) in BLOBS {
            let is_foreign = docker.contains("foreign");
            assert_eq!(Format::Docker.blob(oci, is_foreign), Some(docker));
            assert_eq!(Format::Oci.blob(docker, is_foreign), Some(oci));
            assert_eq!(Format::Oci.blob(oci, is_foreign), Some(oci));
        }
    }

    #[test]
    fn docker_has_no_name_for_everything() {
        let (docker, oci) = DOCKER_ZSTD;
        assert_eq!((Format::Docker.blob(oci, false), Format::Docker.blob(docker, false)), (None, None));
        assert_eq!(Format::Oci.blob(docker, false), Some(oci));
        assert_eq!(Format::Docker.blob("application/vnd.oci.empty.v1+json", false), None);
    }

    #[test]
    fn a_layer_that_the_registry_holds_is_no_foreign_one_to_docker() {
        let held = Format::Docker.blob("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", false);
        assert_eq!(held, Some("application/vnd.docker.image.rootfs.diff.tar.gzip"));
    }
}
