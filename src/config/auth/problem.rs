//! What can be wrong in auth.json. Keys and names of fields are shown, values never.

use crate::config::json::JsonError;
use crate::config::name::InvalidName;
use crate::config::place::{At, Place};
use crate::reference::Registry;
use crate::registry::tls::PemDefect;

/// Why auth.json cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(transparent)]
    Entry(#[from] At<AuthProblem>),
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthProblem {
    #[error("the key {key:?} is not registry or registry/namespace: {reason}")]
    InvalidKey { key: String, reason: InvalidName },
    #[error(
        "this looks like Docker's config.json, whose logins are used without being named, from $DOCKER_CONFIG or ~/.docker"
    )]
    OfDocker,
    #[error("the key {key:?} stands twice: {first:?} at {first_place} is the same")]
    RepeatedKey { key: String, first: String, first_place: Place },
    #[error(
        "unknown field {field:?} of {entry:?}: expected username, password, identityToken, credHelper, anonymous, \
         insecure, ca, cert or key"
    )]
    UnknownField { entry: String, field: String },
    #[error("the field {field} of {entry:?} stands twice, first at {first}")]
    RepeatedField { entry: String, field: String, first: Place },
    #[error("{entry:?} has a username but no password")]
    NoPassword { entry: String },
    #[error("{entry:?} has a password but no username")]
    NoUsername { entry: String },
    #[error("{entry:?} has {field} and {other} (at {first}): one of them says who logs in")]
    Ambiguous { entry: String, field: &'static str, other: &'static str, first: Place },
    #[error("{name:?} is no credential helper: expected what stands behind docker-credential-, as in ecr-login")]
    InvalidHelper { name: String },
    /// With what is said here, and what is said first.
    #[error("{field} is {} here but {} at {first}, and both concern the host {host}", .values[0], .values[1])]
    Contradiction { host: Registry, field: &'static str, values: Box<[String; 2]>, first: Place },
    #[error("the host {host} has a {has} but no {lacks}: a client certificate needs both")]
    HalfIdentity { host: Registry, has: &'static str, lacks: &'static str },
    #[error("{field}: {reason}")]
    UnreadableFile { field: &'static str, reason: String },
    #[error("{field}: {file} is not what is needed: {defect}")]
    InvalidPem { field: &'static str, file: String, defect: PemDefect },
}
