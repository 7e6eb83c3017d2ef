//! `image-migrator rewrite`: replaces migrated references in files, or shows how.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::inputs::{DEFAULT_AUTH, RuleFlags};
use super::log::DEFAULT_LOG;
use super::{Stopped, count, exit, print, say};
use crate::config::{self, Target};
use crate::file::shown;
use crate::rewrite::{self, Changed, Choice, Moves, Outcomes, Rewrite};

/// Replaces references to migrated images in manifests, charts, compose files, Dockerfiles, CI files and text.
///
/// Without --write the changes are printed as a unified diff and no file is touched. References of a migrated
/// repository that no rule covers are listed on standard error and stay.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 done, or nothing to do; 1 --check found something, a rule is invalid, or a file cannot \
                        be read or written; 2 wrong usage or configuration: nothing was written."
)]
pub(super) struct RewriteFlags {
    /// Files, and directories with all below them; what .git holds, links and files that are not text are passed over
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    rules: RuleFlags,

    /// Which of several destinations of an image is meant
    #[arg(long, value_name = "REGISTRY[/NAMESPACE]")]
    to: Option<String>,

    /// Rewrite only what this report of a migration calls copied or up to date
    #[arg(long, value_name = "REPORT.json")]
    report: Option<PathBuf>,

    /// Also write the digest that each image has at its destination
    #[arg(long, requires = "report")]
    pin: bool,

    /// Change the files
    #[arg(long, conflicts_with = "check")]
    write: bool,

    /// Exit with 1 if anything would change
    #[arg(long)]
    check: bool,
}

pub(super) fn run(flags: RewriteFlags) -> Result<u8, Stopped> {
    let (moves, invalid) = moves(&flags).map_err(Stopped::usage)?;
    let except: Vec<PathBuf> = [Some(&flags.rules.images), flags.rules.config.as_ref(), flags.report.as_ref()]
        .into_iter()
        .flatten()
        .cloned()
        .chain([DEFAULT_AUTH, DEFAULT_LOG].map(PathBuf::from))
        .collect();
    let found = rewrite::collect(&flags.paths, &except)
        .map_err(|(path, error)| Stopped::usage(anyhow!("{} cannot be read: {error}", shown(&path))))?;
    let mut rewrite = rewrite::plan(&found.files, &moves);
    rewrite.unreadable.extend(found.unreadable);
    several(&rewrite).map_err(Stopped::usage)?;
    for rule in &invalid {
        say(&format!("INVALID {rule}"));
    }
    for stays in &rewrite.stays {
        say(&format!("LEFT {stays}"));
    }
    for (path, why) in &rewrite.skipped {
        say(&format!("warning: {} is not read: {why}", shown(path)));
    }
    for (path, error) in &rewrite.unreadable {
        say(&format!("error: {} cannot be read: {error}", shown(path)));
    }
    let changed: Vec<&Changed> = if flags.write {
        write(&rewrite)
    } else {
        show(&rewrite).map_err(Stopped::failed)?;
        rewrite.changed.iter().collect()
    };
    let is_written = changed.len() == rewrite.changed.len();
    summarize(&rewrite, &changed, found.files.len(), flags.write);
    let is_found = flags.check && !rewrite.changed.is_empty();
    let is_well = invalid.is_empty() && rewrite.unreadable.is_empty() && is_written && !is_found;
    Ok(if is_well { 0 } else { exit::FAILED })
}

fn moves(flags: &RewriteFlags) -> anyhow::Result<(Moves, Vec<config::InvalidRule>)> {
    // The hosts of auth.json are hosts in the rules; what it says of logging in is not looked at.
    let (rules, invalid) = config::load_rules(&flags.rules.sources(None)?)?;
    let to = flags.to.as_deref().map(|to| to.parse::<Target>().context("--to")).transpose()?;
    let read = |path| config::read_report(path, "--report names what a migration wrote");
    let report = flags.report.as_deref().map(|path| read(path).context("--report")).transpose()?;
    let outcomes = report.map(|report| Outcomes::new(report.images));
    let moves = Moves::new(rules, Choice { to, outcomes, pin: flags.pin }).context("--to")?;
    Ok((moves, invalid))
}

/// Fails where an image went to several places and `--to` chooses none of them.
fn several(rewrite: &Rewrite) -> anyhow::Result<()> {
    if rewrite.several.is_empty() {
        return Ok(());
    }
    let lines = rewrite.several.iter().map(|(name, places)| format!("\n  {name}: {}", rewrite::listed(places)));
    Err(anyhow!("--to must tell which destination is meant, since these went to several:{}", lines.collect::<String>()))
}

fn show(rewrite: &Rewrite) -> anyhow::Result<()> {
    rewrite.changed.iter().try_for_each(|file| print(&file.diff()))
}

/// Writes what is changed, and gives the files that could be written. One that cannot does not keep the others.
fn write(rewrite: &Rewrite) -> Vec<&Changed> {
    let written = |file: &&Changed| match file.write() {
        Ok(()) => {
            say(&format!("{}: {}", shown(&file.path), count(file.places, "change")));
            true
        }
        Err(error) => {
            say(&format!("error: {} cannot be written: {error}", shown(&file.path)));
            false
        }
    };
    rewrite.changed.iter().filter(written).collect()
}

fn summarize(rewrite: &Rewrite, changed: &[&Changed], files: usize, written: bool) {
    let verb = if written { "" } else { " to make" };
    let left = match rewrite.stays.len() {
        0 => String::new(),
        1 => "; 1 reference left as it is".to_owned(),
        number => format!("; {number} references left as they are"),
    };
    say(&format!(
        "{}{verb} in {} of {}{left}",
        count(changed.iter().map(|file| file.places).sum(), "change"),
        changed.len(),
        count(files, "file")
    ));
}
