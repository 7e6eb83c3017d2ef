//! images.json from the workloads of a Kubernetes cluster.
//!
//! ```text
//! kubeconfig ──> access ──> reading ──> findings ──> images ──> names ──> output
//!                client     pages       as written   normal     targets   images.json
//! ```
//!
//! A cluster is only read. All pods are read, although what made them is read too: injected sidecars, ephemeral
//! containers and images that operators change stand nowhere else. What the templates of their makers say already adds
//! nothing. kube is used here and nowhere else; flags and printing are the command line's.

pub mod access;
mod api;
mod existing;
mod files;
mod findings;
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzz/targets/cluster.rs"]
pub(crate) mod fuzz;
mod images;
mod kinds;
mod names;
mod objects;
mod output;
mod reading;
mod registries;
mod target;

use std::collections::{BTreeMap, BTreeSet};

pub use access::{Patience, Wanted};
pub use existing::Existing;
pub use files::write_keeping;
pub use findings::{Findings, Use};
pub use images::Image;
#[cfg(test)]
pub use kinds::Kind;
pub use names::Plan;
pub use reading::read;
pub use registries::{Login, login};
pub use target::read as read_target;

use crate::config::Target;
use crate::foreign::harmless;
use crate::reference::Registry;

/// What becomes of the images of a cluster.
pub struct Inventory<'a> {
    pub plan: Plan,
    /// The registries of the sources, with how many images each has.
    pub registries: BTreeMap<Registry, usize>,
    /// What a person should know, a line each: what cannot be pulled, and names that had to be told apart.
    pub warnings: Vec<String>,
    /// By source: as it is written, and where.
    uses: BTreeMap<String, Vec<(String, &'a BTreeSet<Use>)>>,
    target: Option<&'a Target>,
}

impl<'a> Inventory<'a> {
    /// Brings what was found into normal form and decides where it goes.
    pub fn of(findings: &'a Findings, target: Option<&'a Target>, existing: &Existing) -> Self {
        let mut images = BTreeSet::new();
        let mut uses: BTreeMap<String, Vec<(String, &BTreeSet<Use>)>> = BTreeMap::new();
        let mut unusable = Vec::new();
        for (text, users) in &findings.images {
            let image = match Image::parse(text) {
                Ok(image) if users.pulled => image,
                Ok(_) => {
                    let reason = "imagePullPolicy is Never: it is on the nodes, and need not be in any registry";
                    unusable.push(warning(text, &users.uses, reason));
                    continue;
                }
                Err(reason) => {
                    unusable.push(warning(text, &users.uses, &reason.to_string()));
                    continue;
                }
            };
            uses.entry(image.to_string()).or_default().push((text.clone(), &users.uses));
            images.insert(image);
        }
        let mut plan = names::plan(&images, target, existing);
        let mut registries = BTreeMap::new();
        for image in images.iter().filter(|image| plan.rules.contains_key(&image.to_string())) {
            *registries.entry(image.repository.registry().clone()).or_default() += 1;
        }
        let loopback = registries.keys().filter(|registry| registry.is_loopback()).map(|registry| {
            format!("{registry} is each node's own address for a registry; it has to mean the same here")
        });
        let warnings = unusable.into_iter().chain(loopback).chain(std::mem::take(&mut plan.notes)).collect();
        Self { plan, registries, warnings, uses, target }
    }

    /// images.json.
    pub fn images(&self) -> String {
        output::images(&self.plan)
    }

    /// Who uses each image, as JSON.
    pub fn usage(&self) -> String {
        output::usage(&self.plan, &self.uses)
    }

    /// An auth.json without secrets.
    pub fn auth_skeleton(&self) -> String {
        registries::skeleton(self.registries.keys(), self.target)
    }
}

fn warning(image: &str, uses: &BTreeSet<Use>, reason: &str) -> String {
    let users = match (uses.first(), uses.len()) {
        (Some(first), 1) => format!(" ({first})"),
        (Some(first), more) => format!(" ({first} and {} more)", more - 1),
        (None, _) => String::new(),
    };
    // Of an owner an API server takes any kind and name.
    let users = harmless(&users);
    format!("{image:?}{users} is left out: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_cannot_move_what_is_shown() {
        let owner = serde_json::json!([
            { "apiVersion": "x/v1", "kind": "\u{1b}[2J", "name": "\u{202e}", "controller": true }
        ]);
        let pod = serde_json::json!({
            "metadata": { "name": "p", "namespace": "n", "ownerReferences": owner },
            "spec": { "containers": [{ "name": "c", "image": "UPPER" }] }
        });
        let mut findings = Findings::default();
        findings.take(Kind::Pod, &serde_json::from_value(pod).unwrap(), &[]);
        let warnings = Inventory::of(&findings, None, &Existing::default()).warnings;
        assert!(warnings[0].starts_with("\"UPPER\" (n/\u{fffd}[2J/\u{fffd}/c) is left out: "), "{warnings:?}");
    }
}
