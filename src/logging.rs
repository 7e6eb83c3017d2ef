//! Where log lines go: everything to the log file, warnings to the console as well.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{DefaultFields, JsonFields};
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, registry};

use crate::report::PRINTED;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
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

/// Sends log lines to `file`; warnings also to stderr, short.
pub fn to_file(file: File, format: Format) {
    // The file's layer comes first: fields formatted for the console would be reused in the file.
    registry().with(lines(Arc::new(file), format, |_| true)).with(console()).init();
}

/// Sends log lines to stderr, but for those that are printed there anyway.
pub fn to_stderr(format: Format) {
    registry().with(lines(io::stderr, format, |metadata| metadata.target() != PRINTED)).init();
}

/// Sends warnings to stderr, and no log lines anywhere.
pub fn to_console() {
    registry().with(console()).init();
}

fn lines<S, W>(writer: W, format: Format, wanted: fn(&Metadata<'_>) -> bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let wanted = filter_fn(move |metadata: &Metadata<'_>| {
        is_ours(metadata) && *metadata.level() <= Level::INFO && wanted(metadata)
    });
    let base = layer().with_writer(writer).with_ansi(false).with_target(false);
    match format {
        Format::Text => base.fmt_fields(DefaultFields::new()).with_filter(wanted).boxed(),
        Format::Json => base.json().flatten_event(true).fmt_fields(JsonFields::new()).with_filter(wanted).boxed(),
    }
}

fn console<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    let wanted = filter_fn(|metadata: &Metadata<'_>| {
        is_ours(metadata) && *metadata.level() <= Level::WARN && metadata.target() != PRINTED
    });
    layer().with_writer(io::stderr).with_ansi(false).with_target(false).without_time().with_filter(wanted)
}

/// Libraries may log what they send: only our own lines are known to hold no secrets.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target() == PRINTED || metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
}
