//! What can be wrong in auth.json. Keys and names of fields are shown, values never.

use crate::config::json::JsonError;
use crate::config::name::InvalidName;
use crate::config::place::{At, Place};
use crate::reference::Registry;

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
    #[error("the key {key:?} stands twice: {first:?} at {first_place} is the same")]
    RepeatedKey { key: String, first: String, first_place: Place },
    #[error("unknown field {field:?} of {entry:?}: expected username, password or insecure")]
    UnknownField { entry: String, field: String },
    #[error("the field {field} of {entry:?} stands twice, first at {first}")]
    RepeatedField { entry: String, field: String, first: Place },
    #[error("{entry:?} has a username but no password")]
    NoPassword { entry: String },
    #[error("{entry:?} has a password but no username")]
    NoUsername { entry: String },
    #[error("insecure is {here} here but {} at {first}, and both concern the host {host}", !here)]
    Contradiction { host: Registry, here: bool, first: Place },
}
