//! The default command: reads the configuration, runs the migration, reports.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::{Cli, LogFormat, exit, signals};
use crate::config::{self, ConfigError, Configuration};
use crate::event::Listener;
use crate::logging;
use crate::registry::Clients;
use crate::report::{PlanReport, Report};
use crate::rounds::Rounds;
use crate::transfer::{Engine, Forecast, Limits, Policy};

const DEFAULT_LOG: &str = "./image-migrator.log";

/// Why there was no migration, and the exit code that says so.
pub(super) struct Stopped {
    pub cause: anyhow::Error,
    pub code: u8,
}

pub(super) fn run(cli: Cli) -> Result<u8, Stopped> {
    let usage = |cause: anyhow::Error| Stopped { cause, code: exit::USAGE };
    let failed = |cause: anyhow::Error| Stopped { cause, code: exit::FAILED };
    start_log(cli.log.as_deref(), cli.log_format).map_err(usage)?;
    let configuration = config::load(&cli.inputs.sources(), &|name| std::env::var(name).ok()).map_err(refused)?;
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started").map_err(failed)?;
    let code = runtime.block_on(migrate(&cli, configuration)).map_err(failed)?;
    // Requests that were cancelled are not waited for.
    runtime.shutdown_background();
    Ok(code)
}

async fn migrate(cli: &Cli, configuration: Configuration) -> anyhow::Result<u8> {
    let Configuration { keyring, rules, invalid, warnings } = configuration;
    let limits = Limits::for_workers(cli.workers.into());
    let clients = Arc::new(Clients::new(Arc::new(keyring), limits.requests).context("HTTP cannot be set up")?);
    let cancel = CancellationToken::new();
    let interruption = signals::watch(cancel.clone()).context("signals cannot be watched")?;
    let report = Report::new(Box::new(io::stdout()), Box::new(io::stderr()));
    report.configuration(&warnings, &invalid);
    let policy = Policy { force: cli.force, no_clobber: cli.no_clobber };
    let rounds = |listener: &Arc<dyn Listener>| Rounds {
        rules: &rules,
        clients: clients.clone(),
        retries: cli.retries,
        listener: listener.clone(),
        cancel: cancel.clone(),
    };
    let ending = if cli.dry_run {
        let report = Arc::new(PlanReport::new(report));
        let listener: Arc<dyn Listener> = report.clone();
        let forecast = Forecast::new(clients.clone(), limits, policy, listener.clone(), cancel.clone());
        let ending = rounds(&listener).run(&forecast).await;
        report.finish(&ending, invalid.len());
        ending
    } else {
        let report = Arc::new(report);
        let listener: Arc<dyn Listener> = report.clone();
        let engine = Engine::new(clients.clone(), limits, policy, listener.clone(), cancel.clone());
        let ending = rounds(&listener).run(&engine).await;
        report.finish(&ending, invalid.len());
        ending
    };
    let all_well = ending.failed_images.is_empty() && ending.failed_rules.is_empty() && invalid.is_empty();
    Ok(interruption.exit_code().unwrap_or(if all_well { 0 } else { exit::FAILED }))
}

/// The configuration is not one; it is said in the log as well.
pub(super) fn refused(error: ConfigError) -> Stopped {
    tracing::error!(target: crate::report::PRINTED, "{error}");
    Stopped { cause: error.into(), code: exit::USAGE }
}

/// Opens the log. That the default file cannot be written is no reason to stop.
pub(super) fn start_log(given: Option<&Path>, format: LogFormat) -> anyhow::Result<()> {
    let path = given.unwrap_or(Path::new(DEFAULT_LOG));
    if path == Path::new("-") {
        logging::to_stderr(format.into());
        return Ok(());
    }
    let opened = logging::open(path).with_context(|| format!("the log file {} cannot be written", path.display()));
    match opened {
        Ok(file) => logging::to_file(file, format.into()),
        Err(error) if given.is_some() => return Err(error.context("--log")),
        Err(error) => {
            logging::to_console();
            tracing::warn!("{error:#}; there will be no log file");
        }
    }
    Ok(())
}

/// Says something on stderr.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
