//! `image-migrator verify`: compares both sides of every image and changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::conversion::ConversionFlags;
use super::inputs::Inputs;
use super::migrate::{heard_by, others, progress_style, recorded, refused, start_log};
use super::report::{self as files, Files as Outputs};
use super::{LogFlags, Show, Stopped, block_on, exit, signals};
use crate::config::{self, Configuration};
use crate::plan::Shard;
use crate::registry::Clients;
use crate::report::{Console, Progress, Recorder, Report, VerificationReport, Work};
use crate::rounds::Rounds;
use crate::transfer::Limits;
use crate::verify::{Depth, Standard, Verification};

/// Compares every image that the rules name with its source, and prints what differs; changes nothing.
///
/// Each line of output is one image that is missing, differs, is incomplete, or could not be compared (failed); the last
/// line counts them. It needs no right but to pull.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 all equal; 1 something differs or could not be compared; 2 wrong usage or \
                        configuration; 129, 130, 143 interrupted.")]
pub(super) struct VerifyFlags {
    #[command(flatten)]
    inputs: Inputs,

    /// How closely the destination is looked at
    #[arg(long, value_name = "DEPTH", default_value = "tag")]
    depth: DepthFlag,

    /// Compare with what this report of a migration recorded: its images are looked at in place of those that the rules
    /// name, and no source is asked
    #[arg(long, value_name = "REPORT.json", conflicts_with = "images")]
    against: Option<PathBuf>,

    #[command(flatten)]
    log: LogFlags,

    /// How progress is shown on stderr: bars on a terminal, else a plain line now and then
    #[arg(long, value_name = "HOW", default_value = "auto")]
    progress: Show,

    #[command(flatten)]
    conversion: ConversionFlags,

    /// This machine's part of the work, counted from zero: 0/4, 1/4, 2/4, 3/4 together look at everything once
    #[arg(long, value_name = "INDEX/COUNT", conflicts_with = "against")]
    shard: Option<Shard>,

    /// What was found of each image: .json or .csv for machines, .html a page for people; repeatable
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,

    /// Rounds in which what could not be compared is looked at again
    #[arg(short, long, value_name = "N", default_value_t = 3)]
    retries: u32,

    /// Blobs that are read at once; small requests grow with it, and 1 also means one of those at a time at each registry
    #[arg(short, long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DepthFlag {
    /// The digest that the tag names
    Tag,
    /// And every manifest under it, and that every blob is there with its size
    Tree,
    /// And every byte of the blobs
    Content,
}

impl From<DepthFlag> for Depth {
    fn from(depth: DepthFlag) -> Self {
        match depth {
            DepthFlag::Tag => Self::Tag,
            DepthFlag::Tree => Self::Tree,
            DepthFlag::Content => Self::Content,
        }
    }
}

pub(super) fn run(flags: VerifyFlags) -> Result<u8, Stopped> {
    let console = Console::of_process(flags.log.is_of_programs());
    let mut inputs = flags.inputs.files();
    inputs.extend(flags.against.as_deref());
    let outputs = Outputs::check(&flags.report, None, flags.log.file(), &inputs).map_err(Stopped::usage)?;
    start_log(&flags.log, &console).map_err(Stopped::usage)?;
    let environment = |name: &str| std::env::var(name).ok();
    let sources = flags.inputs.sources(&flags.conversion);
    let (configuration, standard) = match &flags.against {
        None => (config::load(&sources, &environment).map_err(refused)?, Standard::Sources),
        Some(report) => {
            let loaded = config::load_recorded(report, &sources.files, &environment);
            let (configuration, digests) = loaded.map_err(refused)?;
            (configuration, Standard::Recorded(digests))
        }
    };
    block_on(verify(&flags, configuration, standard, console, &outputs))?.map_err(Stopped::failed)
}

async fn verify(
    flags: &VerifyFlags,
    configuration: Configuration,
    standard: Standard,
    console: Console,
    outputs: &Outputs,
) -> anyhow::Result<u8> {
    let Configuration { keyring, rules, mut invalid, warnings } = configuration;
    if flags.shard.is_some_and(|shard| !shard.is_first()) {
        // The first shard names and counts them.
        invalid.clear();
    }
    let limits = Limits::for_workers(flags.workers.into());
    let clients = Arc::new(Clients::new(Arc::new(keyring), limits.requests).context("HTTP cannot be set up")?);
    let cancel = CancellationToken::new();
    let interruption = signals::watch(cancel.clone()).context("signals cannot be watched")?;
    let report = Report::new(console.clone());
    report.configuration(&warnings, &invalid);
    let (depth, conversion) = (Depth::from(flags.depth), flags.conversion.conversion());
    let work = Work::Verification { of_content: depth == Depth::Content };
    let style = progress_style(flags.progress, &flags.log);
    let progress = style.map(|style| Arc::new(Progress::start(console.clone(), style, work)));
    let report = Arc::new(VerificationReport::new(report));
    let recorder = outputs.want_records().then(|| Arc::new(Recorder::new(limits.streamed_from)));
    let listener = heard_by(report.clone(), others(&recorder, &progress));
    let verification =
        Verification::new(clients.clone(), limits, standard, conversion, depth, listener.clone(), cancel.clone());
    let rounds = Rounds { rules: &rules, shard: flags.shard, clients, retries: flags.retries, listener, cancel };
    let ending = rounds.run(&verification).await;
    progress.iter().for_each(|progress| progress.stop());
    let document = recorder.map(|recorder| recorder.document(&ending, files::invalid(&invalid), recorded(flags.shard)));
    let all_equal = report.finish(&ending, invalid.len());
    let written = outputs.write(&ending, &invalid, document.as_ref(), &console);
    let written = files::printed(&console) && written;
    Ok(interruption.exit_code().unwrap_or(if all_equal && written { 0 } else { exit::FAILED }))
}
