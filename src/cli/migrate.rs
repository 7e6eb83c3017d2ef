//! The default command: reads the configuration, runs the migration, reports.

use std::sync::Arc;

use super::outputs::Outputs;
use super::run::{Run, Settings};
use super::{Cli, Stopped, block_on};
use crate::config::{self, Configuration};
use crate::report::{Activity, Console, PlanTeller};
use crate::transfer::{Engine, Forecast, Policy};

pub(super) fn run(cli: Cli) -> u8 {
    cli.run.accompany(cli.failed.as_deref(), &cli.inputs.files(), |outputs, console| {
        let sources = cli.inputs.sources().map_err(Stopped::usage)?;
        let mut configuration = config::load(&sources, &|name| std::env::var_os(name)).map_err(Stopped::usage)?;
        configuration.warnings.extend(config::before_copying(&configuration.rules));
        block_on(migrate(&cli, configuration, console, outputs))?.map_err(Stopped::failed)
    })
}

async fn migrate(cli: &Cli, configuration: Configuration, console: Console, outputs: &Outputs) -> anyhow::Result<u8> {
    let activity = if cli.dry_run { Activity::DryRun } else { Activity::Migration };
    let settings = Settings { flags: &cli.run, limit_rate: cli.limit_rate, activity, outputs };
    let (run, teller) = Run::begin(configuration, settings, console)?;
    let policy = Policy {
        force: cli.force,
        no_clobber: cli.no_clobber,
        conversion: Arc::new(cli.inputs.conversion()),
        referrers: cli.referrers,
    };
    if cli.dry_run {
        let teller = Arc::new(PlanTeller::new(teller));
        let forecast = |run: &Run, listener| Forecast::new(run.clients.clone(), run.limits, policy, listener);
        return Ok(run.carry_out(teller, forecast).await);
    }
    let engine = |run: &Run, listener| Engine::new(run.clients.clone(), run.limits, policy, listener);
    Ok(run.carry_out(Arc::new(teller), engine).await)
}
