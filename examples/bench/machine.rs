//! This machine: what it is, and where it has room.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

/// Room that the largest workload takes at both sides, with some to spare for the kernel.
const ROOM: u64 = 6 << 30;

/// The machine in a few words.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores of {}, {} GiB of memory, Linux {}",
        model.map_or("an unknown processor", |(_, name)| name),
        memory("MemTotal:") >> 30,
        kernel.trim()
    )
}

/// A folder for the registries' data: in memory where there is room, so that no disk is measured.
pub fn folder() -> anyhow::Result<TempDir> {
    let in_memory = Path::new("/dev/shm");
    let free = statvfs(in_memory).map_or(0, |volume| volume.blocks_available() * volume.fragment_size());
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("image-migrator-bench-");
        builder
    };
    if free >= ROOM
        && memory("MemAvailable:") >= ROOM
        && let Ok(folder) = builder().tempdir_in(in_memory)
    {
        return Ok(folder);
    }
    builder().tempdir().context("no temporary folder")
}

/// Bytes, by a name of `/proc/meminfo`.
fn memory(name: &str) -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = info.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok());
    kilobytes.unwrap_or(0_u64) << 10
}
