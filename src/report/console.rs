//! Standard output and standard error, shared by all who write lines, so that no line tears another or a moving display.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

use crate::shared::lock;
use indicatif::{MultiProgress, ProgressDrawTarget};

/// Where lines go. Clones are the same console.
#[derive(Clone)]
pub struct Console {
    stdout: Stream,
    stderr: Stream,
    /// Why a line did not come to standard output, if one did not.
    lost: Arc<OnceLock<io::Error>>,
    /// Whether standard error is a log that programs read. Then lines for people are lines of that log.
    is_log: bool,
    /// What moves at the end of standard error; hidden unless it is asked for.
    pub(super) bars: MultiProgress,
}

type Stream = Arc<Mutex<Box<dyn Write + Send>>>;

impl Console {
    pub fn new(stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Self {
        Self {
            stdout: Arc::new(Mutex::new(stdout)),
            stderr: Arc::new(Mutex::new(stderr)),
            lost: Arc::default(),
            is_log: false,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
        }
    }

    /// The console of this process. `is_log` if its standard error is a log that programs read.
    pub fn of_process(is_log: bool) -> Self {
        Self { is_log, ..Self::new(Box::new(io::stdout()), Box::new(io::stderr())) }
    }

    /// Writes a line that scripts read.
    pub fn out(&self, line: &str) {
        if let Some(error) = unless_closed(self.write(&self.stdout, format!("{line}\n").as_bytes())) {
            // The first is told.
            let _ = self.lost.set(error);
        }
    }

    /// Why not all lines came to standard output, if they did not. They are no reason to stop a migration.
    pub fn lost(&self) -> Option<&io::Error> {
        self.lost.get()
    }

    /// Writes a line that people read.
    pub fn err(&self, line: &str) {
        if self.is_log {
            return super::log::remark(line);
        }
        // There is nowhere else to say it.
        let _ = self.write(&self.stderr, format!("{line}\n").as_bytes());
    }

    /// Writes a line that people read, and that is in the log already.
    pub fn err_logged(&self, line: &str) {
        if !self.is_log {
            self.err(line);
        }
    }

    /// Writes a line that people read, and has it in the log: of what is wrong with the run as a whole.
    pub fn wrong(&self, line: &str) {
        super::log::wrong(line);
        self.err_logged(line);
    }

    fn write(&self, stream: &Stream, text: &[u8]) -> io::Result<()> {
        self.bars.suspend(|| {
            let mut stream = lock(stream);
            stream.write_all(text).and_then(|()| stream.flush())
        })
    }
}

/// Why something did not come to standard output. That its reader closed a pipe is no error.
pub fn unless_closed(written: io::Result<()>) -> Option<io::Error> {
    written.err().filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
}

/// For log lines: each is written by one call.
impl Write for Console {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let _ = Console::write(self, &self.stderr, text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails so.
    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn that_lines_for_scripts_are_lost_is_known_unless_nobody_reads_them() {
        let lost = |kind| {
            let console = Console::new(Box::new(Broken(kind)), Box::new(Broken(kind)));
            console.err("a line");
            assert!(console.lost().is_none());
            console.out("a line");
            console.lost().map(io::Error::kind)
        };
        assert_eq!(lost(io::ErrorKind::StorageFull), Some(io::ErrorKind::StorageFull));
        assert_eq!(lost(io::ErrorKind::BrokenPipe), None);
    }
}
