//! The default command: reads the configuration, runs the migration, reports.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::report::{self as files, Files as Outputs};
use super::{Cli, LogFlags, Show, Stopped, block_on, exit, say, signals};
use crate::config::{self, ConfigError, Configuration};
use crate::event::Listener;
use crate::file::shown;
use crate::logging::{self, Format, Levels};
use crate::plan::Shard;
use crate::registry::Clients;
use crate::report::{Console, PlanReport, Progress, Recorder, Report, Style, Work, record};
use crate::rounds::Rounds;
use crate::transfer::{Engine, Forecast, Limits, Policy};

pub(super) const DEFAULT_LOG: &str = "./image-migrator.log";

pub(super) fn run(cli: Cli) -> Result<u8, Stopped> {
    let console = Console::of_process(cli.log.is_of_programs());
    let outputs = Outputs::check(&cli.report, cli.failed.as_deref(), cli.log.file(), &cli.inputs.files())
        .map_err(Stopped::usage)?;
    start_log(&cli.log, &console).map_err(Stopped::usage)?;
    let configuration =
        config::load(&cli.inputs.sources(&cli.conversion), &|name| std::env::var(name).ok()).map_err(refused)?;
    block_on(migrate(&cli, configuration, console, &outputs))?.map_err(Stopped::failed)
}

async fn migrate(cli: &Cli, configuration: Configuration, console: Console, outputs: &Outputs) -> anyhow::Result<u8> {
    let Configuration { keyring, rules, mut invalid, warnings } = configuration;
    if cli.shard.is_some_and(|shard| !shard.is_first()) {
        // The first shard names and counts them.
        invalid.clear();
    }
    let limits = Limits::for_workers(cli.workers.into());
    let mut clients = Clients::new(Arc::new(keyring), limits.requests).context("HTTP cannot be set up")?;
    if let Some(rate) = cli.limit_rate {
        clients = clients.with_rate(rate);
    }
    let clients = Arc::new(clients);
    let cancel = CancellationToken::new();
    let interruption = signals::watch(cancel.clone()).context("signals cannot be watched")?;
    let report = Report::new(console.clone());
    report.configuration(&warnings, &invalid);
    let progress = progress_style(cli.progress, &cli.log)
        .map(|style| Arc::new(Progress::start(console.clone(), style, Work::Migration)));
    let recorder = outputs.want_records().then(|| Arc::new(Recorder::new(limits.streamed_from)));
    let others = others(&recorder, &progress);
    let policy = Policy {
        force: cli.force,
        no_clobber: cli.no_clobber,
        conversion: Arc::new(cli.conversion.conversion()),
        referrers: cli.referrers,
    };
    let rounds = |listener: &Arc<dyn Listener>| Rounds {
        rules: &rules,
        shard: cli.shard,
        clients: clients.clone(),
        retries: cli.retries,
        listener: listener.clone(),
        cancel: cancel.clone(),
    };
    // Nothing moves any more when the failures are named.
    let stop = || progress.iter().for_each(|progress| progress.stop());
    let ending = if cli.dry_run {
        let report = Arc::new(PlanReport::new(report));
        let listener = heard_by(report.clone(), others);
        let forecast = Forecast::new(clients.clone(), limits, policy, listener.clone(), cancel.clone());
        let ending = rounds(&listener).run(&forecast).await;
        stop();
        report.finish(&ending, invalid.len());
        ending
    } else {
        let report = Arc::new(report);
        let listener = heard_by(report.clone(), others);
        let engine = Engine::new(clients.clone(), limits, policy, listener.clone(), cancel.clone());
        let ending = rounds(&listener).run(&engine).await;
        stop();
        report.finish(&ending, invalid.len());
        ending
    };
    let document = recorder.map(|recorder| recorder.document(&ending, files::invalid(&invalid), recorded(cli.shard)));
    let written = outputs.write(&ending, &invalid, document.as_ref(), &console);
    let written = files::printed(&console) && written;
    let all_well = ending.failed_images.is_empty() && ending.failed_rules.is_empty() && invalid.is_empty();
    Ok(interruption.exit_code().unwrap_or(if all_well && written { 0 } else { exit::FAILED }))
}

/// Those who listen beside the one that tells what happens.
pub(super) fn others(recorder: &Option<Arc<Recorder>>, progress: &Option<Arc<Progress>>) -> Vec<Arc<dyn Listener>> {
    let recorder = recorder.clone().map(|recorder| -> Arc<dyn Listener> { recorder });
    let progress = progress.clone().map(|progress| -> Arc<dyn Listener> { progress });
    recorder.into_iter().chain(progress).collect()
}

/// The first listener tells what happens, the others listen as well.
pub(super) fn heard_by(first: Arc<dyn Listener>, others: Vec<Arc<dyn Listener>>) -> Arc<dyn Listener> {
    Arc::new([vec![first], others].concat())
}

/// The shard as reports have it.
pub(super) fn recorded(shard: Option<Shard>) -> Option<record::Shard> {
    shard.map(|shard| record::Shard { index: shard.index(), count: shard.count() })
}

/// The configuration is not one; it is said in the log as well.
pub(super) fn refused(error: ConfigError) -> Stopped {
    tracing::error!(target: crate::report::PRINTED, "{error}");
    Stopped::usage(error)
}

/// How progress is shown, if it is: bars where they can be drawn and nothing else scrolls by.
pub(super) fn progress_style(show: Show, log: &LogFlags) -> Option<Style> {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match show {
        Show::None => None,
        Show::Bars => Some(Style::Bars),
        Show::Plain => Some(Style::Plain),
        Show::Auto if io::stderr().is_terminal() && log.file().is_some() && !set("CI") && !is_dumb() => {
            Some(Style::Bars)
        }
        Show::Auto => Some(Style::Plain),
    }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
}

impl LogFlags {
    /// The log file. `None` if standard error takes its place.
    pub fn file(&self) -> Option<&Path> {
        let path = self.log.as_deref().unwrap_or(Path::new(DEFAULT_LOG));
        Some(path).filter(|path| path.as_os_str() != "-")
    }

    /// Whether standard error is a log that programs read.
    pub fn is_of_programs(&self) -> bool {
        self.file().is_none() && Format::from(self.log_format) == Format::Json
    }

    /// The levels of the log: what was typed counts more than what the environment says.
    pub fn levels(&self) -> Levels {
        let from_environment = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
        match (self.quiet, self.verbose, from_environment) {
            (true, ..) => Levels::quiet(),
            (_, 0, Some(text)) => Levels::parse(&text).unwrap_or_else(|error| {
                say(&format!("warning: RUST_LOG={text:?} is not used: {error}"));
                Levels::verbose(0)
            }),
            (_, v, _) => Levels::verbose(v),
        }
    }
}

/// Opens the log. That the default file cannot be written is no reason to stop.
pub(super) fn start_log(flags: &LogFlags, console: &Console) -> anyhow::Result<()> {
    let (levels, console) = (flags.levels(), console.clone());
    let Some(path) = flags.file() else {
        logging::to_stderr(flags.log_format.into(), levels, console);
        return Ok(());
    };
    let opened = logging::open(path).with_context(|| format!("the log file {} cannot be written", shown(path)));
    match opened {
        Ok(file) => logging::to_file(
            logging::LogFile::new(file, path, console.clone()),
            flags.log_format.into(),
            levels,
            console,
        ),
        Err(error) if flags.log.is_some() => return Err(error.context("--log")),
        Err(error) => {
            // -q asks for less in the log, which is not there.
            console.err(&format!("warning: {error:#}; there will be no log file"));
            logging::to_console(levels, console);
        }
    }
    Ok(())
}
