//! Entries whose variables are not set: harmless where no rule needs them.

use std::collections::HashSet;
use std::fmt;

use crate::config::expand::Lack;
use crate::config::place::Place;
use crate::reference::{Registry, Repository};
use crate::registry::Prefixes;

/// The fields that may name variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Username,
    Password,
    IdentityToken,
}

/// A variable that an entry names and that is not set, or no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: the {field} of {entry:?} needs {}", described(.variable, *.lack))]
pub struct UnsetVariable {
    pub place: Place,
    pub entry: String,
    pub field: Field,
    /// `None` if it was not braced: what looks like a name may be a password.
    pub variable: Option<String>,
    pub lack: Lack,
}

fn described(variable: &Option<String>, lack: Lack) -> String {
    match variable {
        Some(name) => format!("the environment variable {name}, which {lack}"),
        None => format!("an environment variable that {lack}; a value that itself begins with $ is written with $$"),
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Username => "username",
            Self::Password => "password",
            Self::IdentityToken => "identityToken",
        })
    }
}

/// The entries of which something is not set.
#[derive(Debug, Default)]
pub struct UnsetEntries {
    variables: Vec<UnsetVariable>,
    /// The name of each such entry, and none for the others.
    entries: Prefixes<Option<String>>,
}

impl UnsetEntries {
    /// Adds an entry, of which `unset` is not set.
    pub(super) fn insert(&mut self, registry: &Registry, namespace: &str, unset: Vec<UnsetVariable>) {
        self.entries.insert(registry, namespace, unset.first().map(|variable| variable.entry.clone()));
        self.variables.extend(unset);
    }

    /// The variables which the credentials for some of `repositories` need, and the others.
    pub fn split_by_use<'a>(
        self,
        repositories: impl Iterator<Item = &'a Repository>,
    ) -> (Vec<UnsetVariable>, Vec<UnsetVariable>) {
        if self.variables.is_empty() {
            return Default::default();
        }
        let used: HashSet<String> =
            repositories.filter_map(|repository| self.entries.get(repository)?.clone()).collect();
        self.variables.into_iter().partition(|variable| used.contains(&variable.entry))
    }
}
