//! The default command: reads the configuration, runs the migration, reports.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::report::{self as files, Files as Outputs};
use super::{Cli, Show, exit, signals};
use crate::config::{self, Configuration, Files, Sources};
use crate::event::Listener;
use crate::logging::{self, Levels};
use crate::migration::Migration;
use crate::plan::Shard;
use crate::registry::Clients;
use crate::report::{Console, Progress, Recorder, Report, Style, record};
use crate::transfer::{Limits, Policy};

const DEFAULT_AUTH: &str = "./auth.json";
const DEFAULT_LOG: &str = "./image-migrator.log";

/// Why there was no migration, and the exit code that says so.
pub(super) struct Stopped {
    pub cause: anyhow::Error,
    pub code: u8,
}

pub(super) fn run(cli: Cli) -> Result<u8, Stopped> {
    let usage = |cause: anyhow::Error| Stopped { cause, code: exit::USAGE };
    let failed = |cause: anyhow::Error| Stopped { cause, code: exit::FAILED };
    let console = Console::of_process();
    let outputs = outputs(&cli).map_err(usage)?;
    start_log(&cli, &console).map_err(usage)?;
    let configuration = config::load(&sources(&cli), &|name| std::env::var(name).ok())
        .inspect_err(|error| tracing::error!(target: crate::report::PRINTED, "{error}"))
        .map_err(|error| usage(error.into()))?;
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started").map_err(failed)?;
    let code = runtime.block_on(migrate(&cli, configuration, console, &outputs)).map_err(failed)?;
    // Requests that were cancelled are not waited for.
    runtime.shutdown_background();
    Ok(code)
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
    let cancel = CancellationToken::new();
    let interruption = signals::watch(cancel.clone()).context("signals cannot be watched")?;
    let report = Arc::new(Report::new(console.clone()));
    for warning in &warnings {
        report.warning(warning);
    }
    report.invalid(&invalid);
    let progress = progress_style(cli).map(|style| Arc::new(Progress::start(console, style)));
    let recorder = outputs.want_records().then(|| Arc::new(Recorder::new(limits.streamed_from)));
    let mut listeners: Vec<Arc<dyn Listener>> = vec![report.clone()];
    listeners.extend(recorder.clone().map(|recorder| -> Arc<dyn Listener> { recorder }));
    listeners.extend(progress.clone().map(|progress| -> Arc<dyn Listener> { progress }));
    let listener: Arc<dyn Listener> = Arc::new(listeners);
    let policy = Policy {
        force: cli.force,
        no_clobber: cli.no_clobber,
        conversion: Arc::new(cli.conversion.conversion()),
        referrers: cli.referrers,
    };
    let migration = Migration {
        rules: &rules,
        shard: cli.shard,
        clients: Arc::new(clients),
        limits,
        policy,
        retries: cli.retries,
        listener,
        cancel,
    };
    let ending = migration.run().await;
    // Nothing moves any more when the failures are named.
    progress.inspect(|progress| progress.stop());
    report.finish(&ending, invalid.len());
    let document = recorder.map(|recorder| {
        let mut document = recorder.document(&ending, files::invalid(&invalid));
        let shard = |shard: Shard| record::Shard { index: shard.index(), count: shard.count() };
        document.shards = cli.shard.map(shard).into_iter().collect();
        document
    });
    let written = outputs.write(&ending, document.as_ref());
    let all_well = ending.failed_images.is_empty() && ending.failed_rules.is_empty() && invalid.is_empty();
    Ok(interruption.exit_code().unwrap_or(if all_well && written { 0 } else { exit::FAILED }))
}

/// The files that are written at the end.
fn outputs(cli: &Cli) -> anyhow::Result<Outputs> {
    let auth = cli.auth.as_deref().unwrap_or(Path::new(DEFAULT_AUTH));
    let inputs = match &cli.config {
        Some(path) => vec![path.as_path()],
        None => vec![auth, &cli.images],
    };
    Outputs::check(&cli.report, cli.failed.as_deref(), &inputs)
}

fn sources(cli: &Cli) -> Sources {
    let files = match &cli.config {
        Some(path) => Files::Combined(path.clone()),
        None => Files::Separate {
            auth: cli.auth.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_AUTH)),
            auth_required: cli.auth.is_some(),
            images: cli.images.clone(),
        },
    };
    let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    Sources { files, registry: given(&cli.registry), namespace: given(&cli.namespace) }
}

/// How progress is shown, if it is: bars where they can be drawn and nothing else scrolls by.
fn progress_style(cli: &Cli) -> Option<Style> {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let logs_there = cli.log.as_deref() == Some(Path::new("-"));
    match cli.progress {
        Show::None => None,
        Show::Bars => Some(Style::Bars),
        Show::Plain => Some(Style::Plain),
        Show::Auto if io::stderr().is_terminal() && !logs_there && !set("CI") && !is_dumb() => Some(Style::Bars),
        Show::Auto => Some(Style::Plain),
    }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
}

/// The levels of the log: what was typed counts more than what the environment says.
fn levels(cli: &Cli) -> Levels {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    match (cli.quiet, cli.verbose, from_environment) {
        (true, ..) => Levels::quiet(),
        (_, 0, Some(text)) => Levels::parse(&text).unwrap_or_else(|error| {
            say(&format!("warning: RUST_LOG={text:?} is not used: {error}"));
            Levels::verbose(0)
        }),
        (_, v, _) => Levels::verbose(v),
    }
}

/// Opens the log. That the default file cannot be written is no reason to stop.
fn start_log(cli: &Cli, console: &Console) -> anyhow::Result<()> {
    let (levels, console) = (levels(cli), console.clone());
    let path = cli.log.as_deref().unwrap_or(Path::new(DEFAULT_LOG));
    if path == Path::new("-") {
        logging::to_stderr(cli.log_format.into(), levels, console);
        return Ok(());
    }
    let opened = logging::open(path).with_context(|| format!("the log file {} cannot be written", path.display()));
    match opened {
        Ok(file) => logging::to_file(file, cli.log_format.into(), levels, console),
        Err(error) if cli.log.is_some() => return Err(error.context("--log")),
        Err(error) => {
            logging::to_console(levels, console);
            tracing::warn!("{error:#}; there will be no log file");
        }
    }
    Ok(())
}

/// Says something on stderr.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
