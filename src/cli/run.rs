//! What a migration and a verification have in common: what goes along with a run, and what is left when it has ended.

use std::io::{self, IsTerminal as _};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::log::LogFlags;
use super::outputs::{self, Outputs};
use super::signals::{self, Interruption};
use super::{Stopped, descriptors, exit};
use crate::config::{Configuration, Rule};
use crate::event::{InvalidRule, Listener};
use crate::plan;
use crate::registry::Clients;
use crate::report::{Activity, Conclusion, Console, Progress, Recorder, Style, Teller, Telling, log_summary};
use crate::rounds::{Rounds, invalid_rule};
use crate::schema::Shard;
use crate::transfer::Limits;

/// The flags of every run, whatever it does with images.
#[derive(Debug, Args)]
pub(super) struct RunFlags {
    /// Rounds in which failed tasks are run again
    #[arg(short, long, value_name = "N", default_value_t = 3)]
    retries: u32,

    /// Blobs in flight at once (a migration counts those below 128 KiB as small requests); the limit of small requests grows
    /// with it, and 1 also means one of those at a time at each registry
    // Also under the name that image-syncer's users have in their scripts.
    #[arg(short, long, alias = "proc", value_name = "N", default_value_t = 7)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,

    /// This machine's part of the work, counted from zero: 0/4, 1/4, 2/4, 3/4 together do everything once
    #[arg(long, value_name = "INDEX/COUNT")]
    shard: Option<Shard>,

    /// How progress is shown on stderr: bars on a terminal, else a plain line now and then
    #[arg(long, value_name = "HOW", default_value = "auto")]
    progress: Show,

    #[command(flatten)]
    log: LogFlags,

    /// What became of each image: .json or .csv for machines, .html a page for people; repeatable
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Show {
    /// Bars on a terminal, else plain lines
    Auto,
    /// A line for the whole and one for each large blob, redrawn in place
    Bars,
    /// A line every ten seconds
    Plain,
    /// Nothing
    None,
}

impl RunFlags {
    /// Runs a command that leaves these reports and `failed` behind, and gives its exit code. `inputs` are the files that it
    /// reads.
    pub fn accompany(
        &self,
        failed: Option<&Path>,
        inputs: &[&Path],
        run: impl FnOnce(&Outputs, Console) -> Result<u8, Stopped>,
    ) -> u8 {
        let outputs = Outputs::check(&self.report, failed, self.log.file(), inputs);
        self.log.accompany(outputs, run)
    }
}

/// What was typed of a run.
pub(super) struct Settings<'a> {
    pub flags: &'a RunFlags,
    pub limit_rate: Option<NonZeroU64>,
    pub activity: Activity,
    pub outputs: &'a Outputs,
}

/// What goes along with a run.
pub(super) struct Run<'a> {
    settings: Settings<'a>,
    console: Console,
    rules: Vec<Rule>,
    invalid: Vec<InvalidRule>,
    pub limits: Limits,
    pub clients: Arc<Clients>,
    interruption: Interruption,
    progress: Option<Arc<Progress>>,
    recorder: Option<Arc<Recorder>>,
}

impl<'a> Run<'a> {
    /// Makes all ready and tells what was found in the configuration. Must be called within the runtime.
    pub fn begin(
        configuration: Configuration,
        settings: Settings<'a>,
        console: Console,
    ) -> anyhow::Result<(Self, Teller)> {
        let Configuration { keyring, rules, invalid, warnings } = configuration;
        // The first shard names and counts them.
        let is_first = settings.flags.shard.is_none_or(|shard| shard.index == 0);
        let invalid: Vec<InvalidRule> = invalid.iter().filter(|_| is_first).map(invalid_rule).collect();
        let limits = Limits::for_workers(settings.flags.workers.into());
        let limits = descriptors::raise().map_or(limits, |files| descriptors::within(files, limits));
        let mut clients = Clients::new(Arc::new(keyring), limits.requests).context("HTTP cannot be set up")?;
        if let Some(rate) = settings.limit_rate {
            clients = clients.with_rate(rate);
        }
        let interruption = signals::watch(clients.end().clone()).context("signals cannot be watched")?;
        let teller = Teller::new(console.clone());
        teller.configuration(&warnings, &invalid);
        let progress = progress_style(settings.flags)
            .map(|style| Arc::new(Progress::start(console.clone(), style, settings.activity)));
        let recorder = settings.outputs.want_records().then(|| Arc::new(Recorder::new(limits.streamed_from)));
        let clients = Arc::new(clients);
        Ok((Self { settings, console, rules, invalid, limits, clients, interruption, progress, recorder }, teller))
    }

    /// Does the work in rounds, to its end; then tells how it ended, writes what is left behind, and gives the exit code.
    /// `teller` hears of what happens before the other listeners; all of them are behind the one that `work` is made with.
    pub async fn carry_out<W: plan::Work>(
        self,
        teller: Arc<impl Telling + 'static>,
        work: impl FnOnce(&Self, Arc<dyn Listener>) -> W,
    ) -> u8 {
        let listener = self.heard_by(teller.clone());
        let work = work(&self, listener.clone());
        self.run_rounds(&work, listener, &*teller).await
    }

    /// All listeners, the `first` before the others.
    fn heard_by(&self, first: Arc<dyn Listener>) -> Arc<dyn Listener> {
        let recorder = self.recorder.clone().map(|recorder| -> Arc<dyn Listener> { recorder });
        let progress = self.progress.clone().map(|progress| -> Arc<dyn Listener> { progress });
        Arc::new([first].into_iter().chain(recorder).chain(progress).collect::<Vec<_>>())
    }

    async fn run_rounds(self, work: &dyn plan::Work, listener: Arc<dyn Listener>, teller: &dyn Telling) -> u8 {
        let shard = self.settings.flags.shard;
        let rounds = Rounds {
            rules: &self.rules,
            invalid: self.invalid,
            shard,
            clients: self.clients.clone(),
            retries: self.settings.flags.retries,
            listener,
        };
        let ending = rounds.run(work).await;
        // Nothing may move on the console any more: the failures are about to be named.
        self.progress.iter().for_each(|progress| progress.stop());
        let Conclusion { summary, is_well } = teller.finish(&ending);
        // Whatever happens to the files.
        self.console.out(&summary);
        let is_dry_run = self.settings.activity == Activity::DryRun;
        let document = self.recorder.map(|recorder| recorder.document(&ending, shard, is_dry_run));
        let written = self.settings.outputs.write(&ending, document.as_ref(), &self.console);
        let printed = outputs::printed(&self.console);
        // Whatever went wrong at the end, this is the last line.
        log_summary(&summary);
        self.interruption.exit_code().unwrap_or(if is_well && written && printed { 0 } else { exit::FAILED })
    }
}

/// How progress is shown, if it is: bars where they can be drawn and nothing else scrolls by.
fn progress_style(flags: &RunFlags) -> Option<Style> {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match flags.progress {
        Show::None => None,
        Show::Bars => Some(Style::Bars),
        Show::Plain => Some(Style::Plain),
        Show::Auto if io::stderr().is_terminal() && flags.log.file().is_some() && !set("CI") && !is_dumb() => {
            Some(Style::Bars)
        }
        Show::Auto => Some(Style::Plain),
    }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
}
