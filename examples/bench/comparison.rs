//! Everyone at the same work, in turn: a first copy into an empty registry, and once more with nothing to do.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use image_migrator::digest::Digest;
use tokio::runtime::Runtime;

use crate::access_log::Requests;
use crate::process::{Cost, measure};
use crate::registry::Registry;
use crate::relay::Relay;
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

/// Fills the source, has every tool migrate in every round, and clears up.
pub fn compare(kind: Kind, tools: &[Tool], settings: &Settings) -> anyhow::Result<(Workload, Vec<Results>)> {
    let source = Storage::new(settings.folder.join("source"));
    let destination = Storage::new(settings.folder.join("destination"));
    source.clear()?;
    eprintln!("{kind:?}: building the workload ...");
    let workload = Workload::build(kind, settings.quick, &source)?;
    let sides = Sides { source: &source, destination: &destination, workload: &workload, settings };
    let mut results: Vec<Results> =
        tools.iter().map(|&tool| Results { tool, first: Vec::new(), wrong: Vec::new(), again: Vec::new() }).collect();
    let runtime = Runtime::new().context("no runtime for the relays")?;
    for round in 1..=settings.rounds {
        // A tool that failed once is not measured again.
        for result in results.iter_mut().filter(|result| result.succeeded()) {
            let tool = result.tool;
            let tell = |what: &str, run: &Run| {
                eprintln!("{kind:?} round {round}: {} {what} {:.2} s", tool.name(), run.cost.wall.as_secs_f64());
            };
            let folder = settings.folder.join("tool");
            destination.clear()?;
            Storage::new(folder.clone()).clear()?;
            fs::create_dir_all(&folder)?;

            let first = sides.run(tool, &folder, &runtime)?;
            tell("first copy", &first);
            result.first.push(first);
            result.wrong.push(wrong(&workload, &destination));
            // A floor compares nothing.
            if result.succeeded() && !tool.is_floor() {
                let again = sides.run(tool, &folder, &runtime)?;
                tell("nothing to do", &again);
                result.again.push(again);
            }
        }
    }
    destination.clear()?;
    source.clear()?;
    Ok((workload, results))
}

struct Sides<'a> {
    source: &'a Storage,
    destination: &'a Storage,
    workload: &'a Workload,
    settings: &'a Settings,
}

impl Sides<'_> {
    /// Starts both registries, has the tool do its work, and reads what they were asked.
    fn run(&self, tool: Tool, folder: &Path, runtime: &Runtime) -> anyhow::Result<Run> {
        let start = |storage, name: &str| Registry::start(storage, &self.settings.folder.join(name));
        let (source, destination) = (start(self.source, "at-source")?, start(self.destination, "at-destination")?);
        let relay = |registry: SocketAddr| {
            self.settings.delay.map(|delay| runtime.block_on(Relay::start(registry, delay))).transpose()
        };
        let relays = (relay(source.address())?, relay(destination.address())?);
        let seen = |registry: &Registry, relay: &Option<Relay>| {
            relay.as_ref().map_or(registry.address(), Relay::address).to_string()
        };
        let job = Job {
            workload: self.workload,
            source: seen(&source, &relays.0),
            destination: seen(&destination, &relays.1),
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
}

/// How much at the destination is not what it is at the source: read back from its storage, every byte.
fn wrong(workload: &Workload, destination: &Storage) -> usize {
    let digest = |text: &str| text.parse::<Digest>().ok();
    let mut wrong = 0;
    for repository in &workload.repositories {
        let name = format!("{PREFIX}/{}", repository.name);
        let tags = repository.tags().filter(|(tag, named)| destination.digest_of(&name, tag) != digest(named));
        let manifests = repository.manifests.iter();
        let manifests = manifests.filter(|manifest| {
            !digest(&manifest.digest).is_some_and(|digest| destination.has_manifest(&name, &digest))
        });
        let blobs = repository.blobs.iter().filter(|blob| {
            let size = workload.blobs.get(*blob).copied().unwrap_or(0);
            !digest(blob).is_some_and(|digest| destination.has_blob(&name, &digest, size))
        });
        wrong += tags.count() + manifests.count() + blobs.count();
    }
    wrong
        + workload.blobs.keys().filter(|blob| !digest(blob).is_some_and(|digest| destination.is_sound(&digest))).count()
}
