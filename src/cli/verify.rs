//! `image-migrator verify`: compares both sides of every image and changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::inputs::Inputs;
use super::outputs::Outputs;
use super::run::{Run, RunFlags, Settings};
use super::{Stopped, block_on};
use crate::config::{self, ConfigError, Configuration, Sources};
use crate::report::{Activity, Console, VerificationTeller};
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
    #[arg(long, value_name = "REPORT.json", conflicts_with_all = ["images", "shard"])]
    against: Option<PathBuf>,

    #[command(flatten)]
    run: RunFlags,
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
    flags.run.accompany(None, &inputs, |outputs, console| {
        let sources = flags.inputs.sources().map_err(Stopped::usage)?;
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
    let activity = Activity::Verification { of_content: depth == Depth::Content };
    let settings = Settings { flags: &flags.run, limit_rate: None, activity, outputs };
    let (run, teller) = Run::begin(configuration, settings, console)?;
    let conversion = flags.inputs.conversion();
    let verification =
        |run: &Run, listener| Verification::new(run.clients.clone(), run.limits, standard, conversion, depth, listener);
    Ok(run.carry_out(Arc::new(VerificationTeller::new(teller)), verification).await)
}
