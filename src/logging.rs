//! Where log lines go: to the log file those of the levels that are asked for, to the console warnings.

use std::collections::HashSet;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::hash::BuildHasher as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::field::{RecordFields, VisitOutput as _};
use tracing_subscriber::filter::{FilterFn, Targets, filter_fn};
use tracing_subscriber::fmt::format::{DefaultVisitor, JsonFields, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FormatFields, MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, registry};

use crate::file::shown;
use crate::report::{ALWAYS, Console, PRINTED, TOLD};
use crate::shared::lock;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Which log lines are written.
#[derive(Debug, Clone)]
pub struct Levels {
    log: Targets,
    console: Level,
}

impl Levels {
    /// Less than usual: warnings in the log, errors on the console.
    pub fn quiet() -> Self {
        Self { log: of(Targets::new().with_default(LevelFilter::WARN)), console: Level::ERROR }
    }

    /// The usual, and more for each `v`.
    pub fn verbose(v: u8) -> Self {
        let level = [LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE][usize::from(v.min(2))];
        Self { log: of(Targets::new().with_default(level)), console: Level::WARN }
    }

    /// What `RUST_LOG` says: `debug`, or `image_migrator::registry=trace,info`.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub fn parse(text: &str) -> Result<Self, impl fmt::Display + use<>> {
        text.parse::<Targets>().map(|log| Self { log: of(log), console: Level::WARN })
    }
}

/// What is promised to stand in the log stands there at any level.
fn of(targets: Targets) -> Targets {
    targets.with_target(PRINTED, LevelFilter::INFO).with_target(ALWAYS, LevelFilter::INFO)
}

/// Opens a log file to append to.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    // It names what an organisation runs: nobody else's business.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A log file that says on the console, once, when it takes no more lines.
pub struct LogFile {
    file: File,
    path: PathBuf,
    console: Console,
    told: Once,
}

impl LogFile {
    /// `path` is what `file` is called.
    pub fn new(file: File, path: &Path, console: Console) -> Self {
        Self { file, path: path.to_owned(), console, told: Once::new() }
    }
}

impl Write for &LogFile {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let written = (&self.file).write(text);
        if let Err(error) = &written {
            let path = shown(&self.path);
            let line = || format!("warning: the log file {path} cannot be written any more: {error}");
            self.told.call_once(|| self.console.err(&line()));
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.file).flush()
    }
}

/// Sends log lines to `file`; warnings also to the console, short.
pub fn to_file(file: LogFile, format: Format, levels: Levels, console: Console) {
    // The file's layer comes first: fields formatted for the console would be reused in the file.
    let file = lines(Arc::new(file), format, levels.log, |_| true);
    registry().with(file).with(short(console, levels.console)).init();
}

/// Sends log lines to stderr, but for those that are printed there anyway. Beside JSON nothing is printed.
pub fn to_stderr(format: Format, levels: Levels, console: Console) {
    let wanted = match format {
        Format::Text => |metadata: &Metadata<'_>| !is_printed(metadata),
        Format::Json => |_: &Metadata<'_>| true,
    };
    registry().with(lines(move || console.clone(), format, levels.log, wanted)).init();
}

/// Sends warnings to the console, and no log lines anywhere.
pub fn to_console(levels: Levels, console: Console) {
    registry().with(short(console, levels.console)).init();
}

fn lines<S, W>(
    writer: W,
    format: Format,
    levels: Targets,
    wanted: fn(&Metadata<'_>) -> bool,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let wanted = filter_fn(move |metadata: &Metadata<'_>| {
        is_ours(metadata) && wanted(metadata) && levels.would_enable(metadata.target(), metadata.level())
    });
    let base = layer().with_writer(writer).with_ansi(false).with_target(false).with_timer(Clock);
    match format {
        Format::Text => base.fmt_fields(Unsaid { left_out: &[] }).with_filter(wanted).boxed(),
        Format::Json => base
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .fmt_fields(JsonFields::new())
            .with_filter(wanted)
            .boxed(),
    }
}

fn short<S: Subscriber + for<'a> LookupSpan<'a>>(console: Console, level: Level) -> impl Layer<S> {
    let wanted: FilterFn<_> = filter_fn(move |metadata: &Metadata<'_>| {
        is_ours(metadata) && *metadata.level() <= level && !is_printed(metadata) && metadata.target() != ALWAYS
    });
    let once = SaidOnce { console, told: Arc::default() };
    let base = layer().with_writer(move || once.clone()).with_ansi(false).with_target(false);
    base.without_time().fmt_fields(Unsaid { left_out: &["category", "offset", "pause"] }).with_filter(wanted)
}

/// The console, to which no warning is said twice: what fails again, in another try or round, fails in the same words.
#[derive(Clone)]
struct SaidOnce {
    console: Console,
    /// The lines that were said, as numbers.
    told: Arc<Mutex<HashSet<u64>>>,
}

impl Write for SaidOnce {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut told = lock(&self.told);
        let number = told.hasher().hash_one(line);
        if told.insert(number) { self.console.write(line) } else { Ok(line.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.console.flush()
    }
}

/// Fields as text, but for what the message says already: which image a line is about, and why something failed.
struct Unsaid {
    /// Fields that only those look for who search a log.
    left_out: &'static [&'static str],
}

impl<'w> FormatFields<'w> for Unsaid {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut told =
            Told { fields: DefaultVisitor::new(writer, true), message: String::new(), left_out: self.left_out };
        fields.record(&mut told);
        told.fields.finish()
    }
}

struct Told<'w> {
    fields: DefaultVisitor<'w>,
    /// It is the first of the fields.
    message: String,
    left_out: &'static [&'static str],
}

impl Visit for Told<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let said = match field.name() {
            "message" => {
                self.message = format!("{value:?}");
                None
            }
            "source" => Some(format!("{value:?} -> ")),
            "destination" => Some(format!(" -> {value:?}")),
            "rule" => Some(format!("{value:?}: ")),
            "reason" => Some(format!(": {value:?}")),
            name if self.left_out.contains(&name) => return,
            _ => None,
        };
        if said.is_none_or(|said| !self.message.contains(&said)) {
            self.fields.record_debug(field, value);
        }
    }
}

/// Whether it is on stderr in a form of its own.
fn is_printed(metadata: &Metadata<'_>) -> bool {
    [PRINTED, TOLD].contains(&metadata.target())
}

/// Libraries may log what they send: only our own lines are known to hold no secrets.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target == PRINTED || target == ALWAYS || target.starts_with(env!("CARGO_CRATE_NAME"))
}

/// The time of day in UTC, to the millisecond.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", humantime::format_rfc3339_millis(SystemTime::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(levels: &Levels, target: &str, level: Level) -> bool {
        levels.log.would_enable(target, &level)
    }

    #[test]
    fn the_promised_lines_are_written_at_every_level() {
        for levels in [Levels::quiet(), Levels::verbose(0), Levels::parse("image_migrator=error").ok().unwrap()] {
            assert!(writes(&levels, PRINTED, Level::INFO) && writes(&levels, ALWAYS, Level::INFO), "{levels:?}");
        }
    }

    #[test]
    fn each_v_adds_a_level() {
        let most = |levels: &Levels| {
            [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN]
                .into_iter()
                .find(|level| writes(levels, "image_migrator::transfer", *level))
        };
        assert_eq!(most(&Levels::quiet()), Some(Level::WARN));
        let v = [0, 1, 2, 9].map(|v| most(&Levels::verbose(v)).unwrap());
        assert_eq!(v, [Level::INFO, Level::DEBUG, Level::TRACE, Level::TRACE]);
    }

    #[test]
    fn rust_log_names_levels_and_modules() {
        let levels = Levels::parse("info,image_migrator::registry=trace").ok().unwrap();
        assert!(writes(&levels, "image_migrator::registry::http", Level::TRACE));
        assert!(!writes(&levels, "image_migrator::transfer", Level::DEBUG));
        assert!(Levels::parse("image_migrator=loud").is_err());
    }
}
