//! What a command costs: time, processor, memory.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// Between two looks at the memory of a process.
const LOOK: Duration = Duration::from_millis(2);

/// What one or several commands took.
#[derive(Clone, Debug)]
pub struct Cost {
    pub wall: Duration,
    /// User and system time of all of them and of what they started.
    pub cpu: Duration,
    /// Most bytes resident in one of the processes.
    pub peak: u64,
    /// Whether each of them said that all is well.
    pub success: bool,
}

/// Runs the commands, at most `at_once` at the same time; what they print goes to `log`. No other child of this process
/// may end meanwhile, since its time would be counted.
pub fn measure(commands: Vec<Command>, at_once: usize, log: &Path) -> anyhow::Result<Cost> {
    let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let waiting = Mutex::new(commands.into_iter());
    let next = || waiting.lock().ok()?.next();
    let (peak, success) = (AtomicU64::new(0), AtomicBool::new(true));
    let (began, before) = (Instant::now(), children()?);
    thread::scope(|scope| {
        let runner = || {
            while let Some(mut command) = next() {
                let program = command.get_program().display().to_string();
                command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
                let child = command.spawn().with_context(|| format!("{program} cannot be run"))?;
                if !wait(child, &peak)?.success() {
                    success.store(false, SeqCst);
                }
            }
            anyhow::Ok(())
        };
        let runners: Vec<_> = (0..at_once).map(|_| scope.spawn(runner)).collect();
        runners.into_iter().try_for_each(|runner| runner.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked")))
    })?;
    let wall = began.elapsed();
    Ok(Cost { wall, cpu: children()?.saturating_sub(before), peak: peak.into_inner(), success: success.into_inner() })
}

/// Waits for the end of a process and looks at its memory meanwhile. The peak that `wait4` tells is not its own: it
/// includes what the parent had when it forked.
fn wait(mut child: Child, peak: &AtomicU64) -> anyhow::Result<ExitStatus> {
    let status_file = format!("/proc/{}/status", child.id());
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(SeqCst) {
                peak.fetch_max(high_water(&status_file).unwrap_or(0), SeqCst);
                thread::sleep(LOOK);
            }
        });
        let status = child.wait();
        ended.store(true, SeqCst);
        Ok(status?)
    })
}

fn high_water(status_file: &str) -> Option<u64> {
    let status = fs::read_to_string(status_file).ok()?;
    let kilobytes: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?.parse().ok()?;
    Some(kilobytes << 10)
}

/// Processor time of all children that have ended.
fn children() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("the processor time of children is not known")?;
    let duration = |time: TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs()) + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    Ok(duration(usage.user_time()) + duration(usage.system_time()))
}
