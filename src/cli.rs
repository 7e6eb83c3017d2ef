//! The command line: flags to settings. What was meant is in `config`; this is what was typed.

mod completions;
mod config;
mod conversion;
mod descriptors;
mod inputs;
mod log;
mod migrate;
mod outputs;
mod report;
mod rewrite;
mod run;
mod signals;
mod verify;

use std::io::{self, Write as _};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bytesize::ByteSize;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use crate::report::unless_closed;

const EXIT_CODES: &str = "Exit codes: 0 all done; 1 an image or a rule failed, or a report or standard output could not be \
     written; 2 wrong usage or configuration; 129, 130, 143 interrupted.";

const EXAMPLES: &str = r#"  auth.json    {"docker.io": {"username": "me", "password": "${TOKEN}"}}
  images.json  {"docker.io/library/nginx:1.25,1.26": "registry.example.com/base/nginx"}

  image-migrator                                    migrate by ./auth.json and ./images.json
  image-migrator --dry-run                          see what would be done
  image-migrator --failed again.json                keep what failed ...
  image-migrator --images again.json                ... and run just that
  image-migrator verify                             compare both sides afterwards
  image-migrator config -t registry.example.com/x   write images.json from a cluster"#;

const EXIT_STATUS: &str = "  0         every task ended well, also if there was nothing to do
  1         an image failed, tasks were not generated, or a report or standard output not written
  2         wrong usage or configuration: no registry was asked
  130, 143  stopped by SIGINT or SIGTERM, after the summary; 129 by the end of the session";

/// Exit codes that scripts rely on.
mod exit {
    /// Something failed.
    pub const FAILED: u8 = 1;
    /// Wrong usage or configuration: nothing was done.
    pub const USAGE: u8 = 2;
}

/// Moves container images from one registry to another: two files, one command, every digest kept.
///
/// auth.json holds credentials by registry or registry/namespace, images.json the rules: source -> destination.
/// Blobs and manifests are streamed from registry to registry through memory; what is at the destination already is not
/// sent again, so an interrupted run is finished by running it again.
#[derive(Debug, Parser)]
#[command(
    name = "image-migrator",
    bin_name = "image-migrator",
    version,
    max_term_width = 100,
    // A migration's flag before the word of another command is a mistake.
    args_conflicts_with_subcommands = true,
    after_help = EXIT_CODES,
    after_long_help = format!("Examples:\n{EXAMPLES}\n\nExit codes:\n{EXIT_STATUS}")
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    inputs: inputs::Inputs,

    /// Also copy what refers to each image: signatures, SBOMs, attestations
    #[arg(long)]
    referrers: bool,

    /// Trust no tag: ask for every blob, send what is missing, put every manifest again
    #[arg(long, conflicts_with = "no_clobber")]
    force: bool,

    /// Never move a destination tag that names another digest: that image fails
    #[arg(long)]
    no_clobber: bool,

    /// Find out what would be done with each image and print it; write to no registry
    #[arg(long)]
    dry_run: bool,

    /// Ceiling for the bytes of blobs per second of the whole run: 50M, 800K; K, M, G are powers of 1000, Ki, Mi, Gi of 1024
    /// [default: none]
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    limit_rate: Option<NonZeroU64>,

    #[command(flatten)]
    run: run::RunFlags,

    /// What failed or was not reached, to be given back to --images (what a shard left: without --shard); {} when all is
    /// well
    #[arg(long, value_name = "FILE")]
    failed: Option<PathBuf>,
}

/// A number of bytes, which is not zero.
fn rate(text: &str) -> Result<NonZeroU64, String> {
    let invalid = || "expected a number of bytes such as 50M or 512Ki".to_owned();
    let bytes: ByteSize = text.parse().map_err(|_| invalid())?;
    // What does not fit is read as the largest number.
    if bytes.as_u64() == u64::MAX {
        return Err("that is more than can be counted".to_owned());
    }
    NonZeroU64::new(bytes.as_u64()).ok_or_else(|| "at least one byte a second".to_owned())
}

/// What else it does; without a word it migrates.
#[derive(Debug, Subcommand)]
enum Command {
    Config(config::ConfigFlags),
    Verify(verify::VerifyFlags),
    Completions(completions::CompletionsFlags),
    /// Joins reports that --report wrote
    Report(report::ReportFlags),
    Rewrite(rewrite::RewriteFlags),
}

/// Runs the command that was typed.
pub fn run() -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return ExitCode::from(tell(told)),
    };
    let ended = match cli.command.take() {
        Some(Command::Config(flags)) => config::run(flags),
        Some(Command::Verify(flags)) => Ok(verify::run(flags)),
        Some(Command::Completions(flags)) => completions::run(&flags).map(|()| 0).map_err(Stopped::failed),
        Some(Command::Report(flags)) => report::run(flags),
        Some(Command::Rewrite(flags)) => rewrite::run(flags),
        None => Ok(migrate::run(cli)),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("error: {:#}", error.cause));
            ExitCode::from(error.code)
        }
    }
}

/// Prints help, version or wrong usage, and gives the exit code.
fn tell(mut told: clap::Error) -> u8 {
    if told.use_stderr() {
        if let (ErrorKind::ArgumentConflict, Some(ContextValue::String(command))) =
            (told.kind(), told.get(ContextKind::InvalidSubcommand))
        {
            // It may well have such a flag.
            let tip = format!("the flags of '{command}' stand behind it").into();
            told.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
        }
        let _ = told.print();
        return exit::USAGE;
    }
    match unless_closed(told.print().and_then(|()| io::stdout().flush())) {
        None => 0,
        Some(error) => {
            say(&format!("error: {NOT_PRINTED}: {error}"));
            exit::FAILED
        }
    }
}

/// Why nothing was done, and the exit code that says so.
struct Stopped {
    cause: anyhow::Error,
    code: u8,
}

impl Stopped {
    fn usage(cause: impl Into<anyhow::Error>) -> Self {
        Self { cause: cause.into(), code: exit::USAGE }
    }

    fn failed(cause: impl Into<anyhow::Error>) -> Self {
        Self { cause: cause.into(), code: exit::FAILED }
    }
}

/// Longest until the tasks that are left have ended. They only wait, and are ended at once, but for a name that is looked up.
const LONGEST_END: Duration = Duration::from_secs(1);

/// Runs a task to its end.
fn block_on<T>(task: impl Future<Output = T>) -> Result<T, Stopped> {
    // Boxed, or each of tokio's schedulers would have a copy of the whole command.
    let task: Pin<Box<dyn Future<Output = T> + '_>> = Box::pin(task);
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started").map_err(Stopped::failed)?;
    let output = runtime.block_on(task);
    // Requests that were cancelled are not waited for; but their tasks are ended, and with them the programs that they run.
    runtime.shutdown_timeout(LONGEST_END);
    Ok(output)
}

/// Says something on stderr.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes to standard output what a person or a program asked for there.
fn print(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    unless_closed(written).map_or(Ok(()), |error| Err(error).context(NOT_PRINTED))
}

const NOT_PRINTED: &str = "standard output cannot be written";

/// `1 file`, `2 files`.
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
