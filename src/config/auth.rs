//! auth.json: who logs in where, and how hosts are known by their certificates.
//!
//! A key is `registry` or `registry/namespace`; the first part is always a host, with or without a dot. An entry says
//! who logs in, in one of several ways, and things that belong to the host.

mod entry;
mod host;
mod problem;
mod unset;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::expand::Variables;
use super::json::Value;
use crate::reference::Registry;
use crate::registry::{self, Keyring};
use entry::Entry;
use host::Host;

pub(super) use entry::server;
pub use problem::{AuthError, AuthProblem};
pub use unset::{UnsetEntries, UnsetVariable};

const EXPECTED: &str = "an object of registries and their credentials";

/// What auth.json says.
#[derive(Default)]
pub struct Auth {
    pub keyring: Keyring,
    /// The hosts of its keys.
    pub hosts: HashSet<Registry>,
    pub unset: UnsetEntries,
    /// What a person should know of entries that can be used.
    pub warnings: Vec<String>,
    /// Whether a password or token stands in it, and not just the name of a variable.
    pub holds_secrets: bool,
}

/// The hosts of the keys of `root`; no file that it names is read.
pub fn hosts(root: Value) -> Result<HashSet<Registry>, AuthError> {
    let members = root.members(EXPECTED)?;
    members.iter().map(|member| Ok(Entry::read(member)?.key.0)).collect()
}

/// Reads the entries of `root`, and the files they name, relative to `folder`.
pub fn read(root: Value, folder: &Path, environment: Variables) -> Result<Auth, AuthError> {
    let mut auth = Auth::default();
    let mut keys = HashMap::new();
    let mut hosts: BTreeMap<Registry, Host> = BTreeMap::new();
    for member in root.members(EXPECTED)? {
        let entry = Entry::read(&member)?;
        let (registry, namespace) = &entry.key;
        if let Some((first, first_place)) = keys.insert(entry.key.clone(), (entry.name.clone(), member.place())) {
            return Err(member.place().at(AuthProblem::RepeatedKey { key: entry.name, first, first_place }).into());
        }
        hosts.entry(registry.clone()).or_default().add(&entry)?;
        auth.holds_secrets |= entry.holds_secret();
        // An entry with an unset variable logs nobody in. If a rule needs it, the run does not begin.
        let (known, unset) = match entry.expanded(environment) {
            Ok(known) => {
                if let (registry::Entry::Emptied(reason), Some(place)) = (&known, entry.login_place()) {
                    auth.warnings.push(format!("{place}: {reason}: it is used anonymously"));
                }
                (known, Vec::new())
            }
            Err(unset) => (registry::Entry::Anonymous, unset),
        };
        auth.keyring.insert(registry, namespace, known);
        auth.unset.insert(registry, namespace, unset);
    }
    for (registry, host) in hosts {
        if host.insecure.as_ref().is_some_and(|given| given.value) {
            auth.keyring.allow_insecure(registry.clone());
        }
        if let Some(tls) = host.tls(&registry, folder)? {
            auth.keyring.set_tls(registry.clone(), tls);
        }
        auth.hosts.insert(registry);
    }
    Ok(auth)
}

#[cfg(test)]
mod tests;
