//! The default command: reads the configuration, runs the migration, reports.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::{Cli, exit, signals};
use crate::config::{self, Configuration, Files, Sources};
use crate::event::Listener;
use crate::logging;
use crate::migration::Migration;
use crate::registry::Clients;
use crate::report::Report;
use crate::transfer::Limits;

pub(super) const DEFAULT_AUTH: &str = "./auth.json";
pub(super) const DEFAULT_LOG: &str = "./image-migrator.log";

/// Why there was no migration, and the exit code that says so.
pub(super) struct Stopped {
    pub cause: anyhow::Error,
    pub code: u8,
}

pub(super) fn run(cli: Cli) -> Result<u8, Stopped> {
    let usage = |cause: anyhow::Error| Stopped { cause, code: exit::USAGE };
    let failed = |cause: anyhow::Error| Stopped { cause, code: exit::FAILED };
    start_log(&cli).map_err(usage)?;
    let configuration = config::load(&sources(&cli), &|name| std::env::var(name).ok())
        .inspect_err(|error| tracing::error!(target: crate::report::PRINTED, "{error}"))
        .map_err(|error| usage(error.into()))?;
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started").map_err(failed)?;
    let code = runtime.block_on(migrate(&cli, configuration)).map_err(failed)?;
    // Requests that were cancelled are not waited for.
    runtime.shutdown_background();
    Ok(code)
}

async fn migrate(cli: &Cli, configuration: Configuration) -> anyhow::Result<u8> {
    let Configuration { keyring, rules, invalid, warnings } = configuration;
    let limits = Limits::for_workers(cli.workers.into());
    let clients = Clients::new(Arc::new(keyring), limits.requests).context("HTTP cannot be set up")?;
    let cancel = CancellationToken::new();
    let interruption = signals::watch(cancel.clone()).context("signals cannot be watched")?;
    let report = Arc::new(Report::new(Box::new(io::stdout()), Box::new(io::stderr())));
    for warning in &warnings {
        report.warning(warning);
    }
    report.invalid(&invalid);
    let listener: Arc<dyn Listener> = report.clone();
    let migration =
        Migration { rules: &rules, clients: Arc::new(clients), limits, retries: cli.retries, listener, cancel };
    let ending = migration.run().await;
    report.finish(&ending, invalid.len());
    let all_well = ending.failed_images.is_empty() && ending.failed_rules.is_empty() && invalid.is_empty();
    Ok(interruption.exit_code().unwrap_or(if all_well { 0 } else { exit::FAILED }))
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

/// Opens the log. That the default file cannot be written is no reason to stop.
fn start_log(cli: &Cli) -> anyhow::Result<()> {
    let path = cli.log.as_deref().unwrap_or(Path::new(DEFAULT_LOG));
    if path == Path::new("-") {
        logging::to_stderr(cli.log_format.into());
        return Ok(());
    }
    let opened = logging::open(path).with_context(|| format!("the log file {} cannot be written", path.display()));
    match opened {
        Ok(file) => logging::to_file(file, cli.log_format.into()),
        Err(error) if cli.log.is_some() => return Err(error.context("--log")),
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
