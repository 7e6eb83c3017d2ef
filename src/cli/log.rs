//! The log of a command: where it goes, what is in it, and that what stops the command stands there, too.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{ArgAction, Args, ValueEnum};

use super::Stopped;
use super::outputs::Outputs;
use crate::file::shown;
use crate::logging::{self, Format, Levels};
use crate::report::Console;

pub(super) const DEFAULT_LOG: &str = "./image-migrator.log";

/// Where the log goes and what is in it.
#[derive(Debug, Args)]
pub(super) struct LogFlags {
    /// Log file, appended to; - is stderr [default: ./image-migrator.log]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// How log lines are written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,

    /// More in the log; twice: much more
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,

    /// Less: only warnings in the log, and no warnings on stderr
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

impl LogFlags {
    /// The log file. `None` if standard error takes its place.
    pub fn file(&self) -> Option<&Path> {
        let path = self.log.as_deref().unwrap_or(Path::new(DEFAULT_LOG));
        Some(path).filter(|path| path.as_os_str() != "-")
    }

    /// Runs a command that leaves `outputs` behind, if they are possible, and gives its exit code. What stops it is told in
    /// the log and once on the console.
    pub fn accompany(
        &self,
        outputs: anyhow::Result<Outputs>,
        run: impl FnOnce(&Outputs, Console) -> Result<u8, Stopped>,
    ) -> u8 {
        let console = Console::of_process(self.is_of_programs());
        // If the outputs are refused, that may be because the log file is one that is read: it is not opened.
        let started = if outputs.is_ok() || self.file().is_none() { self.start(&console) } else { Ok(()) };
        let outputs = started.and(outputs).map_err(Stopped::usage);
        outputs.and_then(|outputs| run(&outputs, console.clone())).unwrap_or_else(|Stopped { cause, code }| {
            console.wrong(&format!("error: {cause:#}"));
            code
        })
    }

    /// Whether standard error is a log that programs read.
    fn is_of_programs(&self) -> bool {
        self.file().is_none() && Format::from(self.log_format) == Format::Json
    }

    /// The levels of the log, and a warning: what was typed counts more than what the environment says.
    fn levels(&self) -> (Levels, Option<String>) {
        let from_environment = std::env::var_os("RUST_LOG").filter(|text| !text.is_empty());
        match (self.quiet, self.verbose, from_environment) {
            (true, ..) => (Levels::quiet(), None),
            (_, 0, Some(text)) => match Levels::parse(&text.to_string_lossy()) {
                Ok(levels) => (levels, None),
                Err(error) => (Levels::verbose(0), Some(format!("warning: RUST_LOG={text:?} is not used: {error}"))),
            },
            (_, v, _) => (Levels::verbose(v), None),
        }
    }

    /// Opens the log. That the default file cannot be written is no reason to stop.
    fn start(&self, console: &Console) -> anyhow::Result<()> {
        let (levels, warning) = self.levels();
        let format = self.log_format.into();
        match self.file().map(|path| (path, logging::open(path))) {
            None => logging::to_stderr(format, levels, console.clone()),
            Some((path, Ok(file))) => {
                logging::to_file(logging::LogFile::new(file, path, console.clone()), format, levels, console.clone());
            }
            Some((path, Err(error))) => {
                let error = format!("the log file {} cannot be written: {error}", shown(path));
                if self.log.is_some() {
                    return Err(anyhow!(error).context("--log"));
                }
                // -q asks for less in the log file, and there is none.
                console.err(&format!("warning: {error}; there will be no log file"));
                logging::to_console(levels, console.clone());
            }
        }
        if let Some(warning) = &warning {
            console.err(warning);
        }
        Ok(())
    }
}
