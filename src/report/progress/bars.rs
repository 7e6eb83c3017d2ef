//! Progress in place: a line for the whole, and one for each blob that takes its time.

use std::time::Duration;

use bytesize::ByteSize;
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::screen::Screen;
use super::tally::{Share, View};
use crate::event::Flight;
use crate::report::console::Console;

/// Blobs that are through sooner get no line: it would only flicker.
const WORTH_A_LINE: Duration = Duration::from_millis(400);
/// Lines for blobs, at most; the terminal has other uses.
const LINES: usize = 12;
/// Smaller blobs get no line either: they are single requests.
const LARGE: u64 = 1 << 20;
const WIDTH: usize = 12;

pub(super) struct Bars {
    console: Console,
    terminal: Term,
    overall: ProgressBar,
    flights: Vec<(u64, ProgressBar)>,
}

impl Bars {
    pub fn new(console: &Console) -> Self {
        console.bars.set_draw_target(ProgressDrawTarget::term_like(Box::new(Screen::new())));
        let overall = console.bars.add(line());
        Self { console: console.clone(), terminal: Term::stderr(), overall, flights: Vec::new() }
    }

    pub fn draw(&mut self, view: &View) {
        // One column stays free for the cursor.
        let width = usize::from(self.terminal.size().1).saturating_sub(1);
        let cut = |text: String| text.chars().take(width).collect::<String>();
        let worth =
            view.flights.iter().filter(|(_, flight, age)| *age >= WORTH_A_LINE && flight.bytes >= LARGE).take(LINES);
        let shown: Vec<&(u64, Flight, Duration)> = worth.collect();
        let bars = &self.console.bars;
        self.flights.retain(|(number, bar)| {
            let stays = shown.iter().any(|(other, ..)| other == number);
            if !stays {
                bars.remove(bar);
            }
            stays
        });
        for (number, flight, age) in shown {
            let text = cut(describe(flight, *age));
            match self.flights.iter().find(|(other, _)| other == number) {
                Some((_, bar)) => bar.set_message(text),
                None => {
                    // Above the line of the whole, which stays the last.
                    let bar = bars.insert_before(&self.overall, line());
                    bar.set_message(text);
                    self.flights.push((*number, bar));
                }
            }
        }
        self.overall.set_message(cut(format!("{} {}", gauge(view.whole), view.overall)));
    }

    /// Leaves nothing behind.
    pub fn clear(self) {
        let _ = self.console.bars.clear();
        self.console.bars.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// One line of text.
fn line() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

/// What matters most stands first, since narrow terminals cut the end.
fn describe(flight: &Flight, age: Duration) -> String {
    let passed = flight.passed.load(std::sync::atomic::Ordering::Relaxed);
    let size = |bytes| ByteSize(bytes).display().iec().to_string();
    let rate = (passed as f64 / age.as_secs_f64().max(0.001)) as u64;
    let short: String = flight.digest.hex().chars().take(12).collect();
    format!(
        "{} {:>9}/{} {}/s {short} {}",
        gauge(Share { there: passed.min(flight.bytes), known: flight.bytes }),
        size(passed),
        size(flight.bytes),
        size(rate),
        flight.source.path()
    )
}

/// `[=====>      ]`
fn gauge(share: Share) -> String {
    let filled = (u128::from(share.there.min(share.known)) * WIDTH as u128).checked_div(u128::from(share.known));
    let filled = filled.unwrap_or_default() as usize;
    let head = if filled < WIDTH && share.known > 0 { ">" } else { "" };
    let rest = WIDTH - filled - head.len();
    format!("[{}{head}{}]", "=".repeat(filled), " ".repeat(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_has_one_width() {
        let gauge = |there, known| gauge(Share { there, known });
        assert_eq!(gauge(0, 0), "[            ]");
        assert_eq!(gauge(0, 10), "[>           ]");
        assert_eq!(gauge(5, 10), "[======>     ]");
        assert_eq!(gauge(10, 10), "[============]");
        assert_eq!(gauge(u64::MAX, u64::MAX), "[============]");
    }
}
