//! Files that tell what became of a run, and `image-migrator report merge`, which joins them.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};

use super::{Stopped, exit, say};
use crate::config::{InvalidReason, InvalidRule, Shown};
use crate::event::{Category, Ending};
use crate::file::{Access, Target, is_same, shown};
use crate::report::file::ReportFile;
use crate::report::record::{Document, Outcome, Rule};
use crate::report::{Console, failed, json, merge, merged};

/// What to do with reports.
#[derive(Debug, Args)]
pub(super) struct ReportFlags {
    #[command(subcommand)]
    command: ReportCommand,
}

#[derive(Debug, Subcommand)]
enum ReportCommand {
    /// Joins the reports of shards, or of a run and its repetitions, into one
    ///
    /// Prints the summary line of the whole, and what failed on stderr. An image counts once, as it was last, and
    /// so does a rule whose tags were to be listed; one that could not be used, or that clashed, stays failed. One file is
    /// enough, to make a page of a report: image-migrator report merge report.json -o report.html
    #[command(
        after_help = "Exit codes: 0 all images of all shards are there; 1 an image or a rule failed, a shard is \
                      missing, or a file could not be written; 2 wrong usage, or a file that is no report."
    )]
    Merge(MergeFlags),
}

#[derive(Debug, Args)]
struct MergeFlags {
    /// Reports that --report wrote as .json
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Where to write the whole: .json, .csv or .html; repeatable
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,
}

pub(super) fn run(flags: ReportFlags) -> Result<u8, Stopped> {
    let ReportCommand::Merge(MergeFlags { files, output }) = flags.command;
    let outputs = report_files(&output).context("-o, --output").map_err(Stopped::usage)?;
    let targets: Vec<&Path> = outputs.iter().map(|file| file.target.path()).collect();
    let inputs: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    distinct(&targets, None, &inputs).map_err(Stopped::usage)?;
    let read = files.iter().map(|file| read(file)).collect::<anyhow::Result<Vec<_>>>();
    let whole = merge::merge(read.map_err(Stopped::usage)?);
    for line in merged::failures(&whole) {
        say(&line);
    }
    let missing = merge::missing(&whole);
    if !missing.is_empty() {
        let shards = missing.iter().take(20).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let more = if missing.len() > 20 { ", ..." } else { "" };
        say(&format!("warning: {} of the shards not given: {shards}{more}", missing.len()));
    }
    let console = Console::of_process(false);
    console.out(&merged::summary(&whole));
    let written = outputs.iter().filter(|file| !wrote(&file.target, file.write(&whole), &console)).count() == 0;
    let written = printed(&console) && written;
    let all_well = whole.summary.failed == 0 && whole.summary.not_generated == 0 && missing.is_empty();
    Ok(if all_well && written { 0 } else { exit::FAILED })
}

fn read(file: &Path) -> anyhow::Result<Document> {
    let document = json::read(file)?;
    if document.images.iter().any(|image| image.result == Outcome::Planned) {
        return Err(anyhow!("{} is the report of a dry run: nothing of it was done", shown(file)));
    }
    Ok(document)
}

/// What a migration leaves behind besides its output.
pub(super) struct Files {
    reports: Vec<ReportFile>,
    failed: Option<Target>,
}

impl Files {
    /// Checks, before anything is done, that the files can be written. `inputs` are read, and neither they nor the log are
    /// to be replaced.
    pub fn check(
        reports: &[PathBuf],
        failed: Option<&Path>,
        log: Option<&Path>,
        inputs: &[&Path],
    ) -> anyhow::Result<Self> {
        let reports = report_files(reports).context("--report")?;
        let failed = failed.map(Target::new).transpose().context("--failed")?;
        let targets: Vec<&Path> = reports.iter().map(|file| &file.target).chain(&failed).map(Target::path).collect();
        distinct(&targets, log, inputs)?;
        Ok(Self { reports, failed })
    }

    /// Whether somebody has to remember what became of each image.
    pub fn want_records(&self) -> bool {
        !self.reports.is_empty()
    }

    /// Writes them. Says which could not be written; answers whether all could.
    pub fn write(
        &self,
        ending: &Ending,
        invalid: &[InvalidRule],
        document: Option<&Document>,
        console: &Console,
    ) -> bool {
        let mut written = true;
        for report in &self.reports {
            let Some(document) = document else { continue };
            written &= wrote(&report.target, report.write(document), console);
        }
        if let Some(target) = &self.failed {
            let invalid = invalid.iter().map(as_written).collect();
            let result = target.write(Access::Owner, |writer| failed::write(ending, invalid, writer));
            written &= wrote(target, result, console);
        }
        written
    }
}

/// That no file is written over what is read, over the log, or over another.
pub(super) fn distinct(targets: &[&Path], log: Option<&Path>, inputs: &[&Path]) -> anyhow::Result<()> {
    for path in targets.iter().copied().chain(log) {
        if inputs.iter().any(|input| is_same(input, path)) {
            return Err(anyhow!("{} is read and written: choose another file to write", shown(path)));
        }
    }
    for (index, path) in targets.iter().enumerate() {
        if log.is_some_and(|log| is_same(log, path)) {
            return Err(anyhow!("{} is the log file, too: choose another file", shown(path)));
        }
        if targets[..index].iter().any(|other| is_same(other, path)) {
            return Err(anyhow!("{} is named for two things", shown(path)));
        }
    }
    Ok(())
}

/// Whether all lines came to standard output. Says if they did not.
pub(super) fn printed(console: &Console) -> bool {
    let lost = console.lost();
    if let Some(error) = &lost {
        console.wrong(&format!("error: standard output cannot be written: {error}"));
    }
    lost.is_none()
}

/// Rules that could not be used, as reports have them.
pub(super) fn invalid(rules: &[InvalidRule]) -> Vec<Rule> {
    let record = |rule: &InvalidRule| {
        let Shown { source, destination, reason } = rule.shown();
        let (place, category) = (rule.place.to_string(), Category::Config);
        Rule { place, source, destination, full_destination: None, invalid: true, category, reason }
    };
    rules.iter().map(record).collect()
}

/// A rule that could not be used, as it was written.
fn as_written(rule: &InvalidRule) -> failed::Written {
    let has_destination = rule.reason != InvalidReason::NoDestinations;
    (rule.source.clone(), has_destination.then(|| rule.destination.clone()).into_iter().collect())
}

fn report_files(paths: &[PathBuf]) -> anyhow::Result<Vec<ReportFile>> {
    Ok(paths.iter().map(|path| ReportFile::new(path)).collect::<Result<_, _>>()?)
}

fn wrote(target: &Target, result: io::Result<()>, console: &Console) -> bool {
    if let Err(error) = &result {
        console.wrong(&format!("error: {} cannot be written: {error}", shown(target.path())));
    }
    result.is_ok()
}
