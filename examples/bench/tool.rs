//! Who migrates: this program, its peers, and the floor. Each is run as its users run it, at 7 parallel transfers.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::workload::Workload;

/// Set where this program is to be the `image-migrator` command: its `main` is the same single line.
pub const AS_COMMAND: &str = "IMAGE_MIGRATOR_BENCH";
/// Where the destination's repositories are.
pub const PREFIX: &str = "mirror";
/// Where this program's log is, in its folder.
pub const OWN_LOG: &str = "image-migrator.log";
/// Parallel transfers.
const PARALLEL: usize = 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Known lists, piped.
    Floor {
        hashing: bool,
    },
    Ours {
        workers: usize,
    },
    Crane,
    Ocync,
    Regsync,
    ImageSyncer,
    Skopeo,
}

/// What a tool is to do.
pub struct Job<'a> {
    pub workload: &'a Workload,
    /// `127.0.0.1:<port>`
    pub source: String,
    pub destination: String,
    /// For configuration and what the tool keeps between two runs.
    pub folder: &'a Path,
}

impl Tool {
    pub const OURS: Self = Self::Ours { workers: PARALLEL };
    const PEERS: [Self; 5] = [Self::Ocync, Self::Crane, Self::Regsync, Self::ImageSyncer, Self::Skopeo];

    /// Those peers that are on PATH, and the names of those that are not.
    pub fn peers() -> (Vec<Self>, Vec<String>) {
        let (found, missing): (Vec<_>, Vec<_>) = Self::PEERS.into_iter().partition(|tool| is_on_path(&tool.name()));
        (found, missing.into_iter().map(Self::name).collect())
    }

    pub fn name(self) -> String {
        match self {
            Self::Floor { hashing: false } => "floor",
            Self::Floor { hashing: true } => "hashing floor",
            Self::Ours { workers: PARALLEL } => "image-migrator",
            Self::Ours { workers } => return format!("image-migrator -w {workers}"),
            Self::Crane => "crane",
            Self::Ocync => "ocync",
            Self::Regsync => "regsync",
            Self::ImageSyncer => "image-syncer",
            Self::Skopeo => "skopeo",
        }
        .to_owned()
    }

    pub fn is_floor(self) -> bool {
        matches!(self, Self::Floor { .. })
    }

    pub fn is_peer(self) -> bool {
        Self::PEERS.contains(&self)
    }

    /// The commands that do the job, and how many of them run at once.
    pub fn commands(self, job: &Job) -> anyhow::Result<(Vec<Command>, usize)> {
        let Job { workload, source, destination, folder } = job;
        let names = || workload.repositories.iter().map(|repository| repository.name.as_str());
        let from = |name: &str| format!("{source}/{name}");
        let to = |name: &str| format!("{destination}/{PREFIX}/{name}");
        let rules = || names().map(|name| (from(name), json!(to(name)))).collect::<serde_json::Map<_, _>>();
        let write = |name: &str, content: Value| {
            let path = folder.join(name);
            fs::write(&path, content.to_string()).with_context(|| format!("cannot write {}", path.display()))
        };
        let command = |arguments: &[&str]| {
            let mut command = Command::new(self.name());
            command.args(arguments).current_dir(folder);
            command
        };
        let one = |command: Command| (vec![command], 1);
        Ok(match self {
            Self::Floor { hashing } => {
                write("workload.json", serde_json::to_value(workload)?)?;
                let mut command = own_command(folder)?;
                command.args(["floor", "workload.json", source, destination]).args(hashing.then_some("--hash"));
                one(command)
            }
            Self::Ours { workers } => {
                write("auth.json", json!({ source: {}, destination: {} }))?;
                write("images.json", rules().into())?;
                let mut command = own_command(folder)?;
                command.args(["--auth", "auth.json", "--workers", &workers.to_string()]).env(AS_COMMAND, "1");
                command.args(["--log", OWN_LOG, "--log-format", "json"]);
                one(command)
            }
            Self::Crane => {
                let copy =
                    |name| command(&["copy", "--all-tags", "--jobs", &PARALLEL.to_string(), &from(name), &to(name)]);
                (names().map(copy).collect(), 1)
            }
            Self::Ocync => {
                // Its other kinds of authentication ask a registry over TLS first.
                let registry = |host: &str| {
                    let url = format!("http://{host}");
                    json!({ "url": url, "auth_type": "static_token", "token": "none" })
                };
                let mapping = |name| json!({ "from": name, "to": format!("{PREFIX}/{name}") });
                let config = json!({
                    "global": { "max_concurrent_transfers": PARALLEL, "cache_dir": folder.join("cache") },
                    "registries": { "source": registry(source), "target": registry(destination) },
                    "defaults": { "source": "source", "targets": "target", "tags": { "glob": "*" } },
                    "mappings": names().map(mapping).collect::<Vec<_>>(),
                });
                // JSON is YAML.
                write("ocync.yaml", config)?;
                one(command(&["sync", "--config", "ocync.yaml"]))
            }
            Self::Regsync => {
                let registry = |host: &str| json!({ "registry": host, "tls": "disabled" });
                let entry = |name| json!({ "source": from(name), "target": to(name), "type": "repository" });
                let config = json!({
                    "version": 1,
                    "creds": [registry(source), registry(destination)],
                    "defaults": { "parallel": PARALLEL },
                    "sync": names().map(entry).collect::<Vec<_>>(),
                });
                write("regsync.yaml", config)?;
                one(command(&["once", "--config", "regsync.yaml"]))
            }
            Self::ImageSyncer => {
                write("auth.json", json!({ source: { "insecure": true }, destination: { "insecure": true } }))?;
                write("images.json", rules().into())?;
                let parallel = PARALLEL.to_string();
                one(command(&["--auth", "auth.json", "--images", "images.json", "--proc", &parallel, "--retries", "3"]))
            }
            Self::Skopeo => {
                let sync = |name: &str| {
                    // The last part of the name is skopeo's to add.
                    let (parent, _) = name.rsplit_once('/').unwrap_or(("", name));
                    let place = to(parent);
                    let mut command = command(&["sync", "--all", "--src", "docker", "--dest", "docker"]);
                    command.args(["--src-tls-verify=false", "--dest-tls-verify=false", &from(name), &place]);
                    command
                };
                (names().map(sync).collect(), PARALLEL)
            }
        })
    }
}

/// This very program, in another of its roles.
pub fn own_command(folder: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program does not know where it is")?);
    command.current_dir(folder);
    Ok(command)
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(OsStr::new(program)).is_file())
}
