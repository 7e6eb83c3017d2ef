//! How far a run is: bars on a terminal, else a plain line now and then. Always on standard error.
//!
//! Events only change numbers. A thread of its own reads and shows them, so that showing costs the work nothing.

mod bars;
mod screen;
mod tally;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::bars::Bars;
use self::tally::Tally;
use super::console::Console;
use crate::event::{Event, Listener, Phase};
use crate::shared::lock;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One line for the whole and one for each large blob in flight, redrawn in place.
    Bars,
    /// A line every ten seconds, and at each phase.
    Plain,
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Images are copied.
    Migration,
    /// It is found out what that would mean.
    DryRun,
    /// Images are compared.
    Verification {
        /// Whether all bytes are read.
        of_content: bool,
    },
}

const REDRAWN: Duration = Duration::from_millis(200);
const PLAIN_LINES: Duration = Duration::from_secs(10);

/// Hears of a run and shows how far it is, until it is stopped.
pub struct Progress {
    tally: Arc<Mutex<Tally>>,
    style: Style,
    console: Console,
    shown: Mutex<Option<Shown>>,
}

struct Shown {
    /// Closed at the end: the thread sees that.
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Progress {
    pub fn start(console: Console, style: Style, activity: Activity) -> Self {
        let tally = Arc::new(Mutex::new(Tally::new(Instant::now(), activity)));
        let (stop, stopped) = sync_channel(0);
        let (shown, at) = (tally.clone(), console.clone());
        let thread = std::thread::Builder::new().name("progress".to_owned());
        let thread = match style {
            Style::Bars => thread.spawn(move || redraw(&shown, Bars::new(&at), &stopped)),
            Style::Plain => thread.spawn(move || write_lines(&shown, &at, &stopped)),
        };
        // Without a thread there is no progress to see, and no harm.
        let shown = Mutex::new(thread.ok().map(|thread| Shown { stop, thread }));
        Self { tally, style, console, shown }
    }

    /// Takes away what is shown.
    pub fn stop(&self) {
        let shown = lock(&self.shown).take();
        if let Some(Shown { stop, thread }) = shown {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Listener for Progress {
    fn hear(&self, event: &Event) {
        let mut tally = lock(&self.tally);
        tally.add(event);
        if let (Style::Plain, Event::Phase(Phase::Handle | Phase::RetryHandle)) = (self.style, event) {
            let line = tally.to_line();
            drop(tally);
            self.console.err(&line);
        }
    }
}

fn redraw(tally: &Mutex<Tally>, mut bars: Bars, stopped: &Receiver<()>) {
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(REDRAWN) {
        let view = {
            let mut tally = lock(tally);
            tally.sample(Instant::now());
            tally.view()
        };
        bars.draw(&view);
    }
    bars.clear();
}

fn write_lines(tally: &Mutex<Tally>, console: &Console, stopped: &Receiver<()>) {
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(PLAIN_LINES) {
        let line = {
            let mut tally = lock(tally);
            tally.sample(Instant::now());
            tally.to_line()
        };
        console.err(&line);
    }
}
