//! A terminal whose size may change while something is drawn on it.
//!
//! indicatif fills each line with blanks up to the edge, which terminals take for one long line: when their width changes
//! they join or break what is drawn, and the next drawing wipes out what stood above. Here every line ends where its text
//! ends. Where a narrower terminal may have broken lines nobody knows in which row they began: the next drawing then begins
//! below, and the broken one stays.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use console::Term;
use indicatif::TermLike;

use crate::shared::lock;

#[derive(Debug)]
pub(super) struct Screen {
    term: Term,
    drawing: Mutex<Drawing>,
    /// Whether the terminal was closed. Then nothing is drawn any more: indicatif panics where it cannot draw.
    is_gone: AtomicBool,
}

#[derive(Debug, Default)]
struct Drawing {
    /// Whether the line that was written last is complete.
    ended: bool,
    /// Columns of the terminal when it was drawn on last.
    width: u16,
    /// Whether the last drawing is left where it is, since it may be broken.
    left: bool,
}

impl Screen {
    pub fn new() -> Self {
        Self::of(Term::buffered_stderr())
    }

    fn of(term: Term) -> Self {
        Self { term, drawing: Mutex::default(), is_gone: AtomicBool::new(false) }
    }

    fn draw(&self, draw: impl FnOnce(&Term) -> io::Result<()>) -> io::Result<()> {
        if !self.is_gone.load(Relaxed) && draw(&self.term).is_err() {
            self.is_gone.store(true, Relaxed);
        }
        Ok(())
    }

    fn drawing(&self) -> MutexGuard<'_, Drawing> {
        lock(&self.drawing)
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.term.size().1
    }

    fn height(&self) -> u16 {
        self.term.size().0
    }

    fn move_cursor_up(&self, rows: usize) -> io::Result<()> {
        let mut drawing = self.drawing();
        if rows > 0 && !drawing.left && self.width() < drawing.width {
            drawing.left = true;
            drawing.ended = false;
            self.draw(|term| term.write_str("\n"))?;
        }
        if drawing.left { Ok(()) } else { self.draw(|term| term.move_cursor_up(rows)) }
    }

    fn move_cursor_down(&self, rows: usize) -> io::Result<()> {
        if self.drawing().left { Ok(()) } else { self.draw(|term| term.move_cursor_down(rows)) }
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.draw(|term| term.move_cursor_right(columns))
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.draw(|term| term.move_cursor_left(columns))
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.draw(|term| term.write_line(text))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut drawing = self.drawing();
        if text.bytes().all(|byte| byte == b' ') {
            // The filler.
            drawing.ended = true;
            return Ok(());
        }
        if std::mem::take(&mut drawing.ended) {
            self.draw(|term| term.write_str("\n"))?;
        }
        self.draw(|term| term.write_str(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        let mut drawing = self.drawing();
        drawing.ended = false;
        if drawing.left { Ok(()) } else { self.draw(|term| term.clear_line()) }
    }

    fn flush(&self) -> io::Result<()> {
        let mut drawing = self.drawing();
        drawing.left = false;
        drawing.width = self.width();
        self.draw(|term| term.flush())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_drawn_on_a_terminal_that_was_closed() {
        let (reader, writer) = io::pipe().unwrap();
        let (input, other) = io::pipe().unwrap();
        drop((reader, other));
        let screen = Screen::of(Term::read_write_pair(input, writer));
        for _ in 0..2 {
            assert!(screen.write_line("a").is_ok() && screen.write_str("b").is_ok());
            assert!(screen.clear_line().is_ok() && screen.move_cursor_up(1).is_ok() && screen.flush().is_ok());
        }
        assert!(screen.is_gone.load(Relaxed));
    }
}
