//! `image-migrator verify`: compares both sides of every image and changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::conversion::ConversionFlags;
use super::inputs::Inputs;
use super::log::LogFlags;
use super::outputs::Outputs;
use super::run::{Run, Settings};
use super::{Show, Stopped, block_on};
use crate::config::{self, ConfigError, Configuration, Sources};
use crate::report::{Activity, Console, VerificationTeller};
use crate::schema::Shard;
use crate::verify::{Depth, Standard, Verification};

/// Compares every image that the rules name with its source, and prints what differs; changes nothing.
///
/// Each line of output is one image that is missing, differs, is incomplete, or could not be compared (failed); the last
/// line counts them. It needs no right but to pull.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 all equal; 1 something differs or could not be compared, or a report or standard \
                        output could not be written; 2 wrong usage or configuration; 129, 130, 143 interrupted."
)]
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

    /// Blobs that are read at once; the limit of small requests grows with it, and 1 also means one of those at a time at
    /// each registry
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

pub(super) fn run(flags: VerifyFlags) -> u8 {
    let mut inputs = flags.inputs.files();
    inputs.extend(flags.against.as_deref());
    let outputs = Outputs::check(&flags.report, None, flags.log.file(), &inputs);
    flags.log.accompany(outputs, |outputs, console| {
        let sources = flags.inputs.sources(&flags.conversion).map_err(Stopped::usage)?;
        let (configuration, standard) = load(&flags, &sources).map_err(Stopped::usage)?;
        block_on(verify(&flags, configuration, standard, console, outputs))?.map_err(Stopped::failed)
    })
}

fn load(flags: &VerifyFlags, sources: &Sources) -> Result<(Configuration, Standard), ConfigError> {
    let environment = |name: &str| std::env::var_os(name);
    match &flags.against {
        None => Ok((config::load(sources, &environment)?, Standard::Sources)),
        Some(report) => {
            let (configuration, digests) = config::load_recorded(report, &sources.files, &environment)?;
            Ok((configuration, Standard::Recorded(digests)))
        }
    }
}

async fn verify(
    flags: &VerifyFlags,
    configuration: Configuration,
    standard: Standard,
    console: Console,
    outputs: &Outputs,
) -> anyhow::Result<u8> {
    let depth = Depth::from(flags.depth);
    let settings = Settings {
        shard: flags.shard,
        retries: flags.retries,
        workers: flags.workers,
        limit_rate: None,
        progress: flags.progress,
        activity: Activity::Verification { of_content: depth == Depth::Content },
        log: &flags.log,
        outputs,
    };
    let (run, teller) = Run::begin(configuration, settings, console)?;
    let conversion = flags.conversion.conversion();
    let verification =
        |run: &Run, listener| Verification::new(run.clients.clone(), run.limits, standard, conversion, depth, listener);
    Ok(run.carry_out(Arc::new(VerificationTeller::new(teller)), verification).await)
}
