//! Standard output and standard error, shared by all who write lines, so that no line tears another or a moving display.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use crate::shared::lock;
use indicatif::{MultiProgress, ProgressDrawTarget};

/// Where lines go. Clones are the same console.
#[derive(Clone)]
pub struct Console {
    stdout: Stream,
    stderr: Stream,
    /// What moves at the end of standard error; hidden unless it is asked for.
    pub(super) bars: MultiProgress,
}

type Stream = Arc<Mutex<Box<dyn Write + Send>>>;

impl Console {
    pub fn new(stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Self {
        Self {
            stdout: Arc::new(Mutex::new(stdout)),
            stderr: Arc::new(Mutex::new(stderr)),
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
        }
    }

    /// The console of this process.
    pub fn of_process() -> Self {
        Self::new(Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Writes a line that scripts read.
    pub fn out(&self, line: &str) {
        self.write(&self.stdout, format!("{line}\n").as_bytes());
    }

    /// Writes a line that people read.
    pub fn err(&self, line: &str) {
        self.write(&self.stderr, format!("{line}\n").as_bytes());
    }

    // A closed pipe is no reason to stop a migration.
    fn write(&self, stream: &Stream, text: &[u8]) {
        self.bars.suspend(|| {
            let mut stream = lock(stream);
            let _ = stream.write_all(text).and_then(|()| stream.flush());
        });
    }
}

/// For log lines: each is written by one call.
impl Write for Console {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        Console::write(self, &self.stderr, text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
