//! What a migration and a verification have in common: what goes along with a run, and what is left when it has ended.

use std::io::{self, IsTerminal as _};
use std::num::NonZeroU64;
use std::sync::Arc;

use anyhow::Context as _;

use super::log::LogFlags;
use super::outputs::{self, Outputs};
use super::signals::{self, Interruption};
use super::{Show, descriptors, exit};
use crate::config::{Configuration, InvalidRule, Rule};
use crate::event::Listener;
use crate::plan;
use crate::registry::Clients;
use crate::report::{Activity, Conclusion, Console, Progress, Recorder, Style, Teller, Telling, log_summary};
use crate::rounds::Rounds;
use crate::schema::Shard;
use crate::transfer::Limits;

/// What was typed of a run.
pub(super) struct Settings<'a> {
    pub shard: Option<Shard>,
    pub retries: u32,
    pub workers: u16,
    pub limit_rate: Option<NonZeroU64>,
    /// How progress is shown.
    pub progress: Show,
    pub activity: Activity,
    pub log: &'a LogFlags,
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
        let Configuration { keyring, rules, mut invalid, warnings } = configuration;
        if settings.shard.is_some_and(|shard| shard.index > 0) {
            // The first shard names and counts them.
            invalid.clear();
        }
        let limits = Limits::for_workers(settings.workers.into());
        let limits = descriptors::raise().map_or(limits, |files| descriptors::within(files, limits));
        let mut clients = Clients::new(Arc::new(keyring), limits.requests).context("HTTP cannot be set up")?;
        if let Some(rate) = settings.limit_rate {
            clients = clients.with_rate(rate);
        }
        let interruption = signals::watch(clients.end().clone()).context("signals cannot be watched")?;
        let teller = Teller::new(console.clone());
        teller.configuration(&warnings, &invalid);
        let progress = progress_style(settings.progress, settings.log)
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
        let rounds = Rounds {
            rules: &self.rules,
            invalid: &self.invalid,
            shard: self.settings.shard,
            clients: self.clients.clone(),
            retries: self.settings.retries,
            listener,
        };
        let ending = rounds.run(work).await;
        // Nothing may move on the console any more: the failures are about to be named.
        self.progress.iter().for_each(|progress| progress.stop());
        let Conclusion { summary, is_well } = teller.finish(&ending);
        // Whatever happens to the files.
        self.console.out(&summary);
        let is_dry_run = self.settings.activity == Activity::DryRun;
        let document = self.recorder.map(|recorder| recorder.document(&ending, self.settings.shard, is_dry_run));
        let written = self.settings.outputs.write(&ending, document.as_ref(), &self.console);
        let printed = outputs::printed(&self.console);
        // Whatever went wrong at the end, this is the last line.
        log_summary(&summary);
        self.interruption.exit_code().unwrap_or(if is_well && written && printed { 0 } else { exit::FAILED })
    }
}

/// How progress is shown, if it is: bars where they can be drawn and nothing else scrolls by.
fn progress_style(show: Show, log: &LogFlags) -> Option<Style> {
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
