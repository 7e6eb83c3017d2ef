//! How many layers this program has on their way at a time, by its own log.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::floor;

/// Parts into which a run is divided.
const PARTS: usize = 10;

/// The mean number of layers on their way, in each tenth of the time of a run.
pub type Trace = [f64; PARTS];

/// From when to when a layer was on its way.
type Flight = (Duration, Duration);

/// Reads the log, in JSON. None of a run without layers.
pub fn of(log: &Path) -> anyhow::Result<Option<Trace>> {
    let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    let lines = text.lines().map(read).collect::<Option<Vec<_>>>();
    let lines = lines.with_context(|| format!("{} is not a log of this program in JSON", log.display()))?;
    let Some((first, _)) = lines.first() else { return Ok(None) };
    let flights: Vec<Flight> = lines
        .iter()
        .filter_map(|(end, took)| {
            let end = end.saturating_sub(*first);
            took.map(|took| (end.saturating_sub(took), end))
        })
        .collect();
    let end = lines.last().map_or(Duration::ZERO, |(end, _)| end.saturating_sub(*first));
    Ok((!flights.is_empty() && !end.is_zero()).then(|| means(&flights, end)))
}

/// When the line was written, since the epoch; and how long the layer took which it says was moved.
fn read(line: &str) -> Option<(Duration, Option<Duration>)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let time = humantime::parse_rfc3339(line["timestamp"].as_str()?).ok()?;
    // Smaller blobs are not streamed, so no worker is needed for them.
    let is_layer = line["message"] == "blob moved" && line["bytes"].as_u64() >= Some(floor::limits().streamed_from);
    let took = line["seconds"].as_f64().filter(|_| is_layer).map(Duration::from_secs_f64);
    Some((time.duration_since(std::time::UNIX_EPOCH).ok()?, took))
}

fn means(flights: &[Flight], end: Duration) -> Trace {
    let part = end / PARTS as u32;
    std::array::from_fn(|number| {
        let (from, to) = (part * number as u32, part * (number as u32 + 1));
        let within = |(begun, ended): &Flight| (*ended).min(to).saturating_sub((*begun).max(from));
        flights.iter().map(within).sum::<Duration>().as_secs_f64() / part.as_secs_f64()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_count_for_as_long_as_they_were_on_their_way() {
        let seconds = Duration::from_secs;
        let trace =
            means(&[(seconds(0), seconds(10)), (seconds(2), seconds(5)), (seconds(8), seconds(9))], seconds(10));
        assert_eq!(trace, [1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 2.0, 1.0]);
    }

    #[test]
    fn lines_are_read_as_they_are_written() {
        let line = |message: &str, bytes: u64| {
            format!(r#"{{"timestamp":"1970-01-01T00:00:05.5Z","message":"{message}","bytes":{bytes},"seconds":1.5}}"#)
        };
        let at = Duration::from_millis(5_500);
        assert_eq!(read(&line("blob moved", 1 << 20)), Some((at, Some(Duration::from_millis(1_500)))));
        assert_eq!(read(&line("blob moved", 100)), Some((at, None)));
        assert_eq!(read(&line("blob mounted", 1 << 20)), Some((at, None)));
        assert_eq!(read("2026"), None);
    }
}
