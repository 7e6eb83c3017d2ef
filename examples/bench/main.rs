//! This program and its peers at the same work between real registries, and the floor beneath them.
//! `cargo run --release --example bench -- --help`
//!
//! | file | holds |
//! | --- | --- |
//! | `machine` | what is measured on, and where there is room |
//! | `workload`, `content` | what is migrated |
//! | `storage`, `registry`, `access_log` | a `docker-registry`: its files, its process, what it was asked |
//! | `side` | what is at one side: in such files, or in memory |
//! | `relay` | a long way to it |
//! | `tool` | who migrates |
//! | `floor` | known lists, piped |
//! | `process` | what a command costs |
//! | `trace` | how many layers are on their way at a time |
//! | `comparison`, `table` | everyone in turn, and the outcome |
//! | `scale` | how the cost grows |

mod access_log;
mod comparison;
mod content;
mod floor;
mod machine;
mod process;
mod registry;
mod relay;
mod scale;
mod side;
mod storage;
mod table;
mod tool;
mod trace;
mod workload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use clap::{Parser, Subcommand};

use crate::comparison::{Settings, compare};
use crate::tool::{AS_COMMAND, Tool};
use crate::workload::Kind;

/// Measures first copies and runs with nothing to do, of this program and of crane, ocync, regsync, image-syncer and
/// skopeo where they are on PATH, at 7 parallel transfers between two docker-registry processes on loopback.
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,

    /// Two minutes in place of an hour: smaller workloads, one round
    #[arg(long)]
    quick: bool,

    /// What is migrated
    #[arg(long, value_delimiter = ',', default_value = "A,B,C,M")]
    workloads: Vec<Kind>,

    /// How often everyone is measured, in turn [default: 5; 1 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,

    /// Put both registries so far away, each way
    #[arg(long, value_name = "MILLISECONDS", num_args = 0..=1, default_missing_value = "25")]
    delay: Option<u64>,

    /// Registries in the memory of the benchmark in place of docker-registry: they leave the processor to those who are measured
    #[arg(long)]
    in_memory: bool,

    /// Measure how the cost grows with the number of images instead
    #[arg(long)]
    scale: bool,

    /// Measure no peers
    #[arg(long)]
    alone: bool,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Copy a known workload, as the floor does
    #[command(hide = true)]
    Floor {
        workload: PathBuf,
        source: String,
        destination: String,
        #[arg(long)]
        hash: bool,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    if std::env::var_os(AS_COMMAND).is_some() {
        return Ok(image_migrator::cli::run());
    }
    let arguments = Arguments::parse();
    match &arguments.role {
        Some(Role::Floor { workload, source, destination, hash }) => floor::run(workload, source, destination, *hash)?,
        None => bench(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Has an interruption leave no gigabytes behind. The registries and tools get the terminal's signal themselves.
fn clear_up_when_interrupted(folder: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            // Whatever cannot be removed, the run is over.
            let _ = std::fs::remove_dir_all(folder);
            std::process::exit(130);
        }
    });
    Ok(())
}

fn bench(arguments: &Arguments) -> anyhow::Result<()> {
    ensure!(!cfg!(debug_assertions), "measure what users run: cargo run --release --example bench");
    let folder = machine::folder()?;
    clear_up_when_interrupted(folder.path())?;
    println!("Machine: {}; data in {}", machine::describe(), folder.path().display());
    if arguments.scale {
        println!("\n## Growth: registries in the memory of the benchmark\n");
        return scale::run(folder.path(), arguments.quick);
    }
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 5 });
    let delay = arguments.delay.map(Duration::from_millis);
    let settings = Settings {
        quick: arguments.quick,
        rounds: rounds.into(),
        delay,
        in_memory: arguments.in_memory,
        folder: folder.path().to_owned(),
    };
    let (peers, missing) = if arguments.alone { Default::default() } else { Tool::peers() };
    if !missing.is_empty() {
        println!("Not on PATH, so not measured: {}", missing.join(", "));
    }
    for &kind in &arguments.workloads {
        let floors = [Tool::Floor { hashing: false }, Tool::Floor { hashing: true }];
        let tools = match kind {
            // It tells of nothing but this program's memory.
            Kind::M => vec![Tool::OURS, Tool::Ours { workers: 64 }],
            _ => floors.into_iter().chain([Tool::OURS]).chain(peers.iter().copied()).collect(),
        };
        let way = delay.map_or("loopback".to_owned(), |delay| format!("{} ms each way", delay.as_millis()));
        let place = if arguments.in_memory { "registries in memory" } else { "docker-registry" };
        println!("\n## {kind:?}: {}; {place}, {way}, rounds: {rounds}\n", kind.describe(arguments.quick));
        let (workload, results) = compare(kind, &tools, &settings)?;
        table::print(&workload, &results);
    }
    Ok(())
}
