//! The results as tables for people, in Markdown.

use std::time::Duration;

use scriptable_registry::Kind;

use crate::access_log::Requests;
use crate::comparison::{Results, Run};
use crate::floor::Least;
use crate::tool::Tool;
use crate::workload::Workload;

/// All tables of one workload.
pub fn print(workload: &Workload, results: &[Results]) {
    let least = Least::of(workload);
    println!(
        "{} repositories, {} tags, {} manifests, {} distinct blobs of {} MB",
        workload.repositories.len(),
        workload.tags(),
        workload.manifests(),
        workload.blobs.len(),
        workload.bytes() / 1_000_000
    );
    println!(
        "Least requests: {} + {} = {} for the first copy, {} + {} = {} for a run with nothing to do\n",
        least.source,
        least.destination,
        least.source + least.destination,
        least.again.0,
        least.again.1,
        least.again.0 + least.again.1
    );
    first(workload, results);
    again(results);
    kinds(results);
    traces(results);
    ratios(&least, results);
}

fn first(workload: &Workload, results: &[Results]) {
    println!("First copy\n");
    row(["tool", "wall s", "CPU s", "peak MiB", "requests", "MB read", "MB written", "blobs read twice", "wrong"]);
    row(["---"; 9]);
    for result in results {
        let cells = costs(result, &result.first);
        let read = median(&result.first, |run| run.source.bytes_read() / 1_000_000);
        let written = median(&result.first, |run| run.destination.bytes_written(&workload.blobs) / 1_000_000);
        let twice = result.first.iter().map(|run| run.source.read_again()).max().unwrap_or(0);
        let wrong = result.wrong.iter().max().copied().unwrap_or(0);
        let counts = [read.to_string(), written.to_string(), twice.to_string(), wrong.to_string()];
        row(cells.into_iter().chain(counts));
    }
    println!();
}

fn again(results: &[Results]) {
    println!("Run with nothing to do\n");
    row(["tool", "wall s", "CPU s", "peak MiB", "requests"]);
    row(["---"; 5]);
    for result in results.iter().filter(|result| !result.again.is_empty()) {
        row(costs(result, &result.again));
    }
    println!();
}

/// What both tables begin with.
fn costs(result: &Results, runs: &[Run]) -> [String; 5] {
    let name = result.tool.name();
    let (source, destination) = (median(runs, |run| run.source.all()), median(runs, |run| run.destination.all()));
    [
        if result.succeeded() { name } else { format!("{name} (FAILED)") },
        spread(runs, |run| run.cost.wall),
        spread(runs, |run| run.cost.cpu),
        format!("{:.0}", median(runs, |run| run.cost.peak) as f64 / f64::from(1 << 20)),
        format!("{source} + {destination}"),
    ]
}

type Column = (&'static str, fn(&Run) -> &Requests, Kind);

const COLUMNS: [Column; 12] = [
    ("tag lists", |run| &run.source, Kind::TagList),
    ("manifest HEAD", |run| &run.source, Kind::ManifestHead),
    ("manifest GET", |run| &run.source, Kind::ManifestGet),
    ("blob GET", |run| &run.source, Kind::BlobGet),
    ("tag lists", |run| &run.destination, Kind::TagList),
    ("manifest HEAD", |run| &run.destination, Kind::ManifestHead),
    ("blob HEAD", |run| &run.destination, Kind::BlobHead),
    ("mounts", |run| &run.destination, Kind::Mount),
    ("POST", |run| &run.destination, Kind::UploadStart),
    ("PATCH", |run| &run.destination, Kind::UploadChunk),
    ("PUT", |run| &run.destination, Kind::UploadFinish),
    ("manifest PUT", |run| &run.destination, Kind::ManifestPut),
];

fn kinds(results: &[Results]) {
    println!("Requests of the first copy by kind (first four columns: source)\n");
    row(["tool"].into_iter().chain(COLUMNS.map(|(name, ..)| name)));
    row(["---"; COLUMNS.len() + 1]);
    for result in results {
        let counts = COLUMNS.map(|(_, side, kind)| median(&result.first, |run| side(run).count(kind)).to_string());
        row([result.tool.name()].into_iter().chain(counts));
    }
    println!();
}

/// Whether workers were idle. Of the first round, since a mean over several would hide it.
fn traces(results: &[Results]) {
    let traces = results.iter().filter_map(|result| Some((result.tool.name(), result.first.first()?.trace?)));
    let traces: Vec<_> = traces.collect();
    if traces.is_empty() {
        return;
    }
    println!("Layers on their way at once, in each tenth of the first copy\n");
    row(["tool".to_owned()].into_iter().chain((1..=10).map(|part| part.to_string())));
    row(["---"; 11]);
    for (name, trace) in traces {
        row([name].into_iter().chain(trace.map(|mean| format!("{mean:.1}"))));
    }
    println!();
}

/// What this program is measured by: ratios of medians.
fn ratios(least: &Least, results: &[Results]) {
    let Some(ours) = results.iter().find(|result| result.tool == Tool::OURS) else { return };
    let all = |run: &Run| run.source.all() + run.destination.all();
    let (first, again) = (median(&ours.first, all), median(&ours.again, all));
    println!("This program against the others (medians)\n");
    row(["against", "wall", "CPU", "requests", "wall, nothing to do", "requests, nothing to do"]);
    row(["---"; 6]);
    row([
        "least requests".to_owned(),
        String::new(),
        String::new(),
        ratio(first as f64, (least.source + least.destination) as f64),
        String::new(),
        ratio(again as f64, (least.again.0 + least.again.1) as f64),
    ]);
    // A tool that failed may have been fast because of that.
    let others = results.iter().filter(|result| result.tool.is_floor() || result.tool.is_peer());
    for result in others.filter(|result| result.succeeded()) {
        let of = |ours: &[Run], theirs: &[Run], value: fn(&Run) -> Duration| {
            ratio(median(ours, value).as_secs_f64(), median(theirs, value).as_secs_f64())
        };
        row([
            result.tool.name(),
            of(&ours.first, &result.first, |run| run.cost.wall),
            of(&ours.first, &result.first, |run| run.cost.cpu),
            ratio(first as f64, median(&result.first, all) as f64),
            of(&ours.again, &result.again, |run| run.cost.wall),
            ratio(again as f64, median(&result.again, all) as f64),
        ]);
    }
    println!();
}

fn ratio(ours: f64, theirs: f64) -> String {
    if theirs > 0.0 { format!("{:.3}", ours / theirs) } else { String::new() }
}

pub fn row<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) {
    let cells: Vec<_> = cells.into_iter().map(|cell| cell.as_ref().to_owned()).collect();
    println!("| {} |", cells.join(" | "));
}

/// The median, with the least and the most where there are several.
fn spread(runs: &[Run], value: fn(&Run) -> Duration) -> String {
    let seconds = |duration: Duration| format!("{:.2}", duration.as_secs_f64());
    let (least, most) = (runs.iter().map(value).min(), runs.iter().map(value).max());
    match (least, most) {
        (Some(least), Some(most)) if runs.len() > 1 => {
            format!("{} ({} to {})", seconds(median(runs, value)), seconds(least), seconds(most))
        }
        _ => seconds(median(runs, value)),
    }
}

/// The one in the middle; of an even number the lower.
fn median<T: Ord + Default>(runs: &[Run], value: impl Fn(&Run) -> T) -> T {
    let mut values: Vec<T> = runs.iter().map(value).collect();
    values.sort_unstable();
    let middle = values.len().saturating_sub(1) / 2;
    values.into_iter().nth(middle).unwrap_or_default()
}
