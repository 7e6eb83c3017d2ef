//! The command line: flags to settings. What was meant is in `config`; this is what was typed.

mod config;
mod migrate;
mod rewrite;
mod signals;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::logging;

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
    after_help = "Exit codes: 0 all done; 1 an image or a rule failed; 2 wrong usage or configuration; 130, 143 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    /// Credentials: {"registry[/namespace]": {"username": "...", "password": "..."}}
    /// [default: ./auth.json; without it every registry is asked anonymously]
    #[arg(long, value_name = "FILE")]
    auth: Option<PathBuf>,

    /// Rules: {"source": "destination" | ["destination", ...] | ""}; - is stdin
    #[arg(long, value_name = "FILE", default_value = "./images.json")]
    images: PathBuf,

    /// One file in place of the two: {"auth": {...}, "images": {...}}
    #[arg(long, value_name = "FILE", conflicts_with_all = ["auth", "images"])]
    config: Option<PathBuf>,

    /// Log file, appended to; - is stderr [default: ./image-migrator.log]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// How log lines are written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,

    /// Namespace for images whose destination is ""; may have several components
    #[arg(long, value_name = "NAME", env = "DEFAULT_NAMESPACE", hide_env_values = true)]
    namespace: Option<String>,

    /// Registry for images whose destination is ""
    #[arg(long, value_name = "HOST", env = "DEFAULT_REGISTRY", hide_env_values = true)]
    registry: Option<String>,

    /// Rounds in which failed tasks are run again
    #[arg(short, long, value_name = "N", default_value_t = 3)]
    retries: u32,

    /// Blobs in flight at once; 1 also means one small request at a time at each registry
    #[arg(short, long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
}

/// What else it does; without a word it migrates.
#[derive(Debug, Subcommand)]
enum Command {
    Config(config::ConfigFlags),
    Rewrite(rewrite::RewriteFlags),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl From<LogFormat> for logging::Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// Runs the command that was typed.
pub fn run() -> ExitCode {
    // clap prints help, version and wrong usage itself, and exits with 0 or 2.
    let mut cli = Cli::parse();
    let ended = match cli.command.take() {
        Some(Command::Config(flags)) => config::run(flags),
        Some(Command::Rewrite(flags)) => rewrite::run(flags),
        None => migrate::run(cli),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            migrate::say(&format!("error: {:#}", error.cause));
            ExitCode::from(error.code)
        }
    }
}

/// Writes to standard output what a person or a program asked for there.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
