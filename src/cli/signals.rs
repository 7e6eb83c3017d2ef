//! SIGINT, SIGTERM and SIGHUP (on Windows Ctrl-C and Ctrl-Break): the first ends the run in order, a later one at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Which signal came, as the exit code that tells of it; 0 is none.
#[derive(Clone, Default)]
pub(super) struct Interruption(Arc<AtomicU8>);

impl Interruption {
    pub fn exit_code(&self) -> Option<u8> {
        Some(self.0.load(Relaxed)).filter(|&code| code != 0)
    }
}

/// Cancels `cancel` at the first signal. Must be called within the runtime.
pub(super) fn watch(cancel: CancellationToken) -> std::io::Result<Interruption> {
    let interruption = Interruption::default();
    let mut signals = Signals::new()?;
    let seen = interruption.clone();
    tokio::spawn(async move {
        let code = signals.next().await;
        seen.0.store(code, Relaxed);
        tracing::warn!("interrupted; a second SIGINT or SIGTERM, after a second or more, ends at once");
        cancel.cancel();
        let _ = tokio::time::timeout(ONE_REQUEST, async {
            loop {
                signals.next().await;
            }
        })
        .await;
        // A session that ends may signal it more than once: that is not a second request to stop.
        loop {
            match signals.next().await {
                HANG_UP => {}
                code => std::process::exit(code.into()),
            }
        }
    });
    Ok(interruption)
}

/// Signals within this time are one request to stop: `timeout` signals the process and then its whole group, and so does
/// who stops a job of several processes.
const ONE_REQUEST: Duration = Duration::from_secs(1);

/// The exit code that tells of a session that ended.
const HANG_UP: u8 = 129;

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// None where it goes on after the end of its session, as under `nohup`.
    hang_up: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hang_up = heeds_hang_up().then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hang_up })
    }

    /// The exit code of the next signal.
    async fn next(&mut self) -> u8 {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
            _ = hang_up => HANG_UP,
        }
    }
}

/// Whether the end of the session ends the run. It does not where the signal was ignored when this process began, as
/// under `nohup`. Linux tells which signals are ignored; elsewhere this one is left alone.
#[cfg(unix)]
fn heeds_hang_up() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| !ignores_hang_up(&status))
}

#[cfg(unix)]
fn ignores_hang_up(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The first bit is that of signal 1.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_none_or(|mask| mask & 1 == 1)
}

#[cfg(windows)]
struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
    terminate: tokio::signal::windows::CtrlBreak,
}

#[cfg(windows)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::windows::{ctrl_break, ctrl_c};
        Ok(Self { interrupt: ctrl_c()?, terminate: ctrl_break()? })
    }

    /// The exit code of the next signal.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::ignores_hang_up;

    #[test]
    fn that_a_hang_up_is_ignored_is_known_from_the_first_bit() {
        assert!(!ignores_hang_up("Name:\tx\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n"));
        assert!(ignores_hang_up("SigIgn:\t0000000000001001\n"));
        assert!(ignores_hang_up("Name:\tx\n"), "where it is not told it is left alone");
    }
}
