//! Everyone at the same work, in turn: a first copy into an empty registry, and once more with nothing to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Runtime;

use crate::access_log::Requests;
use crate::process::{Cost, measure};
use crate::relay::Relay;
use crate::side::{Serving, Side, Sides};
use crate::storage::Storage;
use crate::tool::{Job, OWN_LOG, PREFIX, Tool};
use crate::trace::{self, Trace};
use crate::workload::{Kind, Workload};

/// How it is to be compared.
pub struct Settings {
    pub quick: bool,
    pub rounds: usize,
    /// Each way, between everyone and both registries.
    pub delay: Option<Duration>,
    /// Registries in the memory of this program in place of `docker-registry`.
    pub in_memory: bool,
    /// Where there is room for the data of two registries.
    pub folder: PathBuf,
}

/// One run of a tool.
#[derive(Clone, Debug)]
pub struct Run {
    pub cost: Cost,
    pub source: Requests,
    pub destination: Requests,
    /// Of this program, where it moved layers.
    pub trace: Option<Trace>,
}

/// What a tool did in all rounds.
pub struct Results {
    pub tool: Tool,
    pub first: Vec<Run>,
    /// Of the first copies: tags that name something else, manifests and blobs that are missing or damaged.
    pub wrong: Vec<usize>,
    pub again: Vec<Run>,
}

impl Results {
    /// Whether the tool said every time that all is well.
    pub fn succeeded(&self) -> bool {
        self.first.iter().chain(&self.again).all(|run| run.cost.success)
    }
}

/// Fills the source and has every tool migrate in every round.
pub fn compare(kind: Kind, tools: &[Tool], settings: &Settings) -> anyhow::Result<(Workload, Vec<Results>)> {
    let runtime = Runtime::new().context("no runtime for the relays")?;
    let sides = Sides { folder: &settings.folder, in_memory: settings.in_memory.then_some(&runtime) };
    eprintln!("{kind:?}: building the workload ...");
    let (source, workload) = sides.source(kind, settings.quick)?;
    let stage = Stage { source: &source, workload: &workload, delay: settings.delay, runtime: &runtime };
    let mut results: Vec<Results> =
        tools.iter().map(|&tool| Results { tool, first: Vec::new(), wrong: Vec::new(), again: Vec::new() }).collect();
    for round in 1..=settings.rounds {
        // A tool that failed once is not measured again.
        for result in results.iter_mut().filter(|result| result.succeeded()) {
            let tool = result.tool;
            let tell = |what: &str, run: &Run| {
                eprintln!("{kind:?} round {round}: {} {what} {:.2} s", tool.name(), run.cost.wall.as_secs_f64());
            };
            let folder = settings.folder.join("tool");
            let destination = sides.destination()?;
            Storage::new(folder.clone()).clear()?;
            fs::create_dir_all(&folder)?;

            let first = stage.run(tool, &destination, &folder)?;
            tell("first copy", &first);
            result.first.push(first);
            result.wrong.push(destination.wrong(&workload, &format!("{PREFIX}/")));
            // A floor compares nothing.
            if result.succeeded() && !tool.is_floor() {
                let again = stage.run(tool, &destination, &folder)?;
                tell("nothing to do", &again);
                result.again.push(again);
            }
        }
    }
    Ok((workload, results))
}

/// What all runs have in common.
struct Stage<'a> {
    source: &'a Side,
    workload: &'a Workload,
    delay: Option<Duration>,
    runtime: &'a Runtime,
}

impl Stage<'_> {
    /// Has both sides served, the tool do its work, and reads what they were asked.
    fn run(&self, tool: Tool, destination: &Side, folder: &Path) -> anyhow::Result<Run> {
        let (source, destination) = (self.source.serve()?, destination.serve()?);
        let relays = (self.relay(&source)?, self.relay(&destination)?);
        let seen = |serving: &Serving, relay: &Option<Relay>| {
            Ok::<_, anyhow::Error>(relay.as_ref().map_or(serving.address()?, Relay::address).to_string())
        };
        let job = Job {
            workload: self.workload,
            source: seen(&source, &relays.0)?,
            destination: seen(&destination, &relays.1)?,
            folder,
        };
        let (commands, at_once) = tool.commands(&job)?;
        let log = folder.join("output.log");
        let cost = measure(commands, at_once, &log)?;
        if !cost.success {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(3).collect();
            eprintln!("{} failed: {}", tool.name(), last.into_iter().rev().collect::<Vec<_>>().join("\n  "));
        }
        let trace = if matches!(tool, Tool::Ours { .. }) { trace::of(&folder.join(OWN_LOG))? } else { None };
        Ok(Run { cost, source: source.stop()?, destination: destination.stop()?, trace })
    }

    fn relay(&self, to: &Serving) -> anyhow::Result<Option<Relay>> {
        let address = to.address()?;
        self.delay.map(|delay| self.runtime.block_on(Relay::start(address, delay))).transpose()
    }
}
