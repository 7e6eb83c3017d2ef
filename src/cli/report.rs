//! `image-migrator report merge`: joins the files that `--report` wrote.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};

use super::outputs::{self, distinct, printed, report_files};
use super::{Stopped, exit, say};
use crate::file::shown;
use crate::report::record::Document;
use crate::report::{Console, json, merge, merged_failures, merged_summary};
use crate::schema::Outcome;

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
    for line in merged_failures(&whole) {
        say(&line);
    }
    let missing = merge::missing(&whole);
    if !missing.is_empty() {
        let shards = missing.iter().take(20).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let more = if missing.len() > 20 { ", ..." } else { "" };
        say(&format!("warning: {} of the shards not given: {shards}{more}", missing.len()));
    }
    let console = Console::of_process(false);
    console.out(&merged_summary(&whole));
    let written = outputs::write(&outputs, &whole, &console);
    let printed = printed(&console);
    let all_well = whole.summary.failed == 0 && whole.summary.not_generated == 0 && missing.is_empty();
    Ok(if all_well && written && printed { 0 } else { exit::FAILED })
}

fn read(file: &Path) -> anyhow::Result<Document> {
    let document = json::read(file)?;
    // Earlier versions did not mark them.
    if document.dry_run || document.images.iter().any(|image| image.result == Outcome::Planned) {
        return Err(anyhow!("{} is the report of a dry run: nothing of it was done", shown(file)));
    }
    Ok(document)
}
