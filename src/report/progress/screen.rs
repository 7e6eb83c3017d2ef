//! A terminal whose size may change while something is drawn on it.
//!
//! indicatif fills each line with blanks up to the edge, which terminals take for one long line: when their width changes
//! they join or break what is drawn, and the next drawing wipes out what stood above. Here every line ends where its text
//! ends. Where a narrower terminal may have broken lines nobody knows in which row they began: the next drawing then begins
//! below, and the broken one stays.

use std::io;
use std::sync::{Mutex, MutexGuard};

use crate::shared::lock;
use console::Term;
use indicatif::TermLike;

#[derive(Debug)]
pub(super) struct Screen {
    term: Term,
    drawing: Mutex<Drawing>,
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
        Self { term: Term::buffered_stderr(), drawing: Mutex::default() }
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
            self.term.write_str("\n")?;
        }
        if drawing.left { Ok(()) } else { self.term.move_cursor_up(rows) }
    }

    fn move_cursor_down(&self, rows: usize) -> io::Result<()> {
        if self.drawing().left { Ok(()) } else { self.term.move_cursor_down(rows) }
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.term.move_cursor_right(columns)
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.term.move_cursor_left(columns)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.term.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut drawing = self.drawing();
        if text.bytes().all(|byte| byte == b' ') {
            // The filler.
            drawing.ended = true;
            return Ok(());
        }
        if std::mem::take(&mut drawing.ended) {
            self.term.write_str("\n")?;
        }
        self.term.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        let mut drawing = self.drawing();
        drawing.ended = false;
        if drawing.left { Ok(()) } else { self.term.clear_line() }
    }

    fn flush(&self) -> io::Result<()> {
        let mut drawing = self.drawing();
        drawing.left = false;
        drawing.width = self.width();
        self.term.flush()
    }
}
