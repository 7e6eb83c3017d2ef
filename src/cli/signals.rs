//! SIGINT and SIGTERM (on Windows Ctrl-C and Ctrl-Break): the first ends the run in order, the second at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

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
        tracing::warn!("interrupted; a second signal ends at once");
        cancel.cancel();
        let code = signals.next().await;
        std::process::exit(code.into());
    });
    Ok(interruption)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The exit code of the next signal.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
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
