//! The direction of the arrows: which module may know which, and where each large library stays.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use of the others. Only the command line sees all.
const MAY_USE: [(&str, &[&str]); 20] = [
    ("digest", &[]),
    ("platform", &[]),
    ("reference", &["digest"]),
    ("shared", &[]),
    ("schema", &[]),
    ("file", &["foreign"]),
    ("foreign", &[]),
    ("causes", &["foreign"]),
    ("event", &["digest", "platform", "reference"]),
    ("registry", &["causes", "digest", "event", "foreign", "platform", "reference", "shared"]),
    ("config", &["digest", "file", "foreign", "reference", "registry", "schema"]),
    ("cluster", &["causes", "config", "digest", "file", "foreign", "reference"]),
    ("rewrite", &["config", "digest", "file", "foreign", "reference"]),
    ("plan", &["config", "digest", "event", "reference", "registry", "schema"]),
    ("survey", &["event", "plan", "reference"]),
    ("transfer", &["digest", "event", "plan", "platform", "reference", "registry", "shared", "survey"]),
    ("verify", &["digest", "event", "plan", "reference", "registry", "shared", "survey", "transfer"]),
    ("rounds", &["config", "event", "plan", "registry", "schema"]),
    ("report", &["digest", "event", "file", "foreign", "platform", "reference", "schema", "shared"]),
    ("logging", &["file", "report", "shared"]),
];

/// Where a library is used, and nowhere else.
const STAYS_IN: [(&str, &[&str]); 7] = [
    ("clap", &["cli"]),
    ("reqwest", &["registry"]),
    ("kube", &["cluster"]),
    ("saphyr_parser", &["rewrite"]),
    ("similar", &["rewrite"]),
    ("indicatif", &["report"]),
    ("anyhow", &["cli"]),
];

/// Every source file, with the module it belongs to and its text without tests.
pub fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let place = entry.strip_prefix(&root).expect("below src").with_extension("");
            let module = place.iter().next().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&entry).expect("readable");
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
            if !place.ends_with("tests") {
                sources.push((module, place, code));
            }
        }
    }
    sources
}

/// The modules of ours that a text names: `crate::x`. Of `crate::{x, y}` it is an empty name, which nobody may use.
fn uses(code: &str) -> BTreeSet<&str> {
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let rests = code.flat_map(|line| line.split("crate::").skip(1));
    rests.map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap_or_default()).collect()
}

#[test]
fn data_flows_one_way() {
    for (module, place, code) in sources() {
        if ["cli", "lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let listed = MAY_USE.iter().find(|(name, _)| *name == module);
        let (_, allowed) = listed.unwrap_or_else(|| panic!("{module} is not listed"));
        for used in uses(&code).into_iter().filter(|used| *used != module) {
            assert!(allowed.contains(&used), "{} uses {used:?}", place.display());
        }
    }
}

#[test]
fn large_libraries_stay_where_they_belong() {
    for (module, place, code) in sources() {
        for (library, homes) in STAYS_IN {
            let uses = code.contains(&format!("{library}::"));
            assert!(!uses || homes.contains(&module.as_str()), "{} uses {library}", place.display());
        }
    }
}
