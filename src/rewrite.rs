//! Replaces references to migrated images in manifests, charts, compose files, Dockerfiles, CI files and text.
//!
//! ```text
//! rules, report ──> moves ───────────────────┐
//! files ──> tree ──> yaml, group, kustomize ─┼──> scan ──> edits ──> diff, or the files
//!      └──> dockerfile, lines, prose ────────┘
//! ```
//!
//! What is not a reference stays byte for byte: files are not written anew, places in them are replaced. No registry is
//! asked, so only what the rules say for certain is rewritten; the rest is named.

mod anchors;
mod arguments;
mod content;
mod dockerfile;
mod files;
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzz/targets/rewrite.rs"]
pub(crate) mod fuzz;
mod group;
mod kustomize;
mod lines;
mod moves;
mod outcomes;
mod records;
mod scan;
mod template;
mod tree;
mod variable;
mod written;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Place, Positions};
use crate::file::{self, Access, shown};
use crate::foreign::harmless;
use crate::reference::Repository;
use content::Content;
use kustomize::Kustomizations;
use scan::{Findings, Scan};

pub use files::collect;
pub use moves::{Choice, Moves, Reason, listed};
pub use outcomes::Outcomes;

/// What is to be changed in files, and what is not.
#[derive(Debug, Default)]
pub struct Rewrite {
    /// In the order of the files.
    pub changed: Vec<Changed>,
    /// References to migrated repositories that stay.
    pub stays: Vec<Stays>,
    /// Where images went of which the rules know several places, by their names in the files.
    pub several: BTreeMap<String, BTreeSet<Repository>>,
    /// Files that could not be read.
    pub unreadable: Vec<(PathBuf, io::Error)>,
    /// Files that are not read, and why.
    pub skipped: Vec<(PathBuf, &'static str)>,
}

/// A file that is to be changed.
#[derive(Debug)]
pub struct Changed {
    pub path: PathBuf,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
    /// How many places are replaced.
    pub places: usize,
}

/// A reference to a migrated repository that stays as it is.
#[derive(Debug)]
pub struct Stays {
    pub place: Place,
    pub name: String,
    pub reason: Reason,
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, reason) = (harmless(&self.name), harmless(&self.reason.to_string()));
        write!(f, "{}: {name}: {reason}", self.place)
    }
}

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Yaml,
    Dockerfile,
    Prose,
}

impl Format {
    fn of(path: &Path) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let is_dockerfile = |kind: &str| {
            let is_first =
                name.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '_']));
            is_first || name.ends_with(&format!(".{kind}"))
        };
        // Of templates and examples the kind stands before the last ending: values.yaml.gotmpl, compose.yml.example.
        let mut endings = name.split('.').skip(1);
        if kustomize::is_kustomization(path)
            || endings.any(|ending| matches!(ending, "yaml" | "yml" | "json" | "tpl" | "gotmpl"))
        {
            Self::Yaml
        } else if ["dockerfile", "containerfile"].into_iter().any(is_dockerfile) {
            Self::Dockerfile
        } else {
            Self::Prose
        }
    }
}

/// Finds what is to be changed in `files`. Changes nothing.
pub fn plan(files: &[PathBuf], moves: &Moves) -> Rewrite {
    let mut rewrite = Rewrite::default();
    let mut kustomizations = Kustomizations::new(files, moves);
    for path in files {
        match content::read(path) {
            Ok(Content::Text { text, .. }) if records::is_record(&text) => {}
            Ok(Content::Text { bytes, start, text }) => {
                let findings = findings(path, &text, moves, &mut kustomizations);
                rewrite.add(path, bytes, start, &text, findings);
            }
            Ok(Content::Skipped(Some(why))) => rewrite.skipped.push((path.clone(), why)),
            Ok(Content::Skipped(None)) => {}
            Err(error) => rewrite.unreadable.push((path.clone(), error)),
        }
    }
    rewrite
}

/// What there is in a file.
fn findings(path: &Path, text: &str, moves: &Moves, kustomizations: &mut Kustomizations) -> Findings {
    let bases = kustomize::is_kustomization(path).then(|| kustomizations.bases(path, text));
    scan_file(path, text, moves, bases.as_ref())
}

fn scan_file(path: &Path, text: &str, moves: &Moves, bases: Option<&kustomize::Bases>) -> Findings {
    let mut scan = Scan::new(moves, text);
    match Format::of(path) {
        Format::Yaml => {
            yaml::read(&mut scan, &yaml::Setting { services: yaml::Services::of(path), bases });
        }
        Format::Dockerfile => dockerfile::read(&mut scan),
        Format::Prose => scan.prose(0..text.len()),
    }
    scan.found
}

impl Rewrite {
    fn add(&mut self, path: &Path, before: Vec<u8>, start: usize, text: &str, findings: Findings) {
        for (name, places) in findings.several {
            self.several.entry(name).or_default().extend(places);
        }
        let (file, positions): (Arc<str>, _) = (shown(path).into(), Positions::of(text));
        for (offset, (name, reason)) in findings.stays {
            let (line, column) = positions.locate(text, offset);
            self.stays.push(Stays { place: Place { file: file.clone(), line, column }, name, reason });
        }
        if !findings.edits.is_empty() {
            let after = content::apply(&before, start, &findings.edits);
            self.changed.push(Changed { path: path.to_owned(), before, after, places: findings.edits.len() });
        }
    }
}

impl Changed {
    /// What changes, as `patch` and `git apply` read it; but for paths with `..`, which both refuse.
    pub fn diff(&self) -> Vec<u8> {
        let name = shown(&self.path);
        let name = name.trim_start_matches('/');
        let lines = |content| <[u8]>::split_inclusive(content, |byte| *byte == b'\n').collect::<Vec<_>>();
        let (before, after) = (lines(&self.before), lines(&self.after));
        let lines = similar::TextDiff::configure().newline_terminated(true).diff_slices(&before, &after);
        // Where else would `patch` take the name to end?
        let end = if name.contains(' ') { "\t" } else { "" };
        let mut diff = format!("--- a/{name}{end}\n+++ b/{name}{end}\n").into_bytes();
        // Hunk by hunk, since only so bytes stay what they are. Writing to memory cannot fail.
        lines.unified_diff().iter_hunks().for_each(|hunk| _ = hunk.to_writer(&mut diff));
        diff
    }

    /// Puts the new content in the place of the file. Of a link it is what it leads to.
    pub fn write(&self) -> io::Result<()> {
        let path = self.path.canonicalize()?;
        if std::fs::read(&path)? != self.before {
            return Err(io::Error::other("it was changed by somebody else meanwhile"));
        }
        let old = std::fs::metadata(&path)?;
        if old.permissions().readonly() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is read-only"));
        }
        file::replace(&path, Access::As(old), |writer| writer.write_all(&self.after))
    }
}

#[cfg(test)]
mod tests;
