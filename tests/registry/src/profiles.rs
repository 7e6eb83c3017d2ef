//! Registries that people have, as far as this one can imitate them: each a sum of the builder's choices.
//!
//! Where each habit is recorded is said in the names of projects and numbers of issues.

use crate::builder::{Builder, Missing, Mounts, Tags};
use crate::registry::Registry;

const MIB: u64 = 1 << 20;

/// Amazon ECR: repositories are made before; PATCH is answered with 201 and a Range that stays behind
/// (aws/containers-roadmap#2831); parts have 5 MiB and more; tags may be immutable, also for the same digest
/// (aws/containers-roadmap#2179); mounts need the other repository's manifest (aws/containers-roadmap#2860).
pub fn ecr() -> Builder {
    Registry::builder()
        .missing(Missing::Unknown)
        .chunks_created()
        .chunk_minimum(5 * MIB)
        .mounts(Mounts::AfterManifest)
        .page_size(100)
        .tags(Tags::ImmutableAsEcr)
}

/// Harbor: a project that does not exist is 401 (goharbor/harbor#17097), immutable tags are 412.
pub fn harbor() -> Builder {
    Registry::builder().missing(Missing::NoProject).tags(Tags::ImmutableAsHarbor).relative_locations()
}

/// GHCR: chunks of at most 4 MiB (oras-project/rust-oci-client#37); what is larger has to come whole.
pub fn ghcr() -> Builder {
    Registry::builder().chunk_limit(4 * MIB).relative_locations().page_size(100)
}

/// Quay: immutable tags are 409; pages of 50 tags, whatever is asked for.
pub fn quay() -> Builder {
    Registry::builder().tags(Tags::ImmutableAsQuay).largest_page(50)
}

/// JFrog Artifactory: no mounts; of several chunks the last alone may be kept (wasmCloud/wasmCloud#3405).
pub fn jfrog() -> Builder {
    Registry::builder().mounts(Mounts::Refused(403)).loses_chunks()
}

/// A distribution registry behind nginx with this `client_max_body_size`.
pub fn nginx(limit: u64) -> Builder {
    Registry::builder().body_limit(limit)
}

/// A registry behind a front that judges requests by the length they state (Cloudflare, jonjohnsonjr/ttl.sh#104).
pub fn length_checking_front(limit: u64) -> Builder {
    Registry::builder().length_limit(limit)
}
