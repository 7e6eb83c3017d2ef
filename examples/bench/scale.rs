//! How the cost grows with the number of images: runs with nothing to do against registries in this process' memory.
//!
//! These take most of the time that passes; what counts are the processor time and the memory of the program alone.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use scriptable_registry::{Kind, Registry};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::process::{Cost, measure};
use crate::table::row;
use crate::tool::{AS_COMMAND, own_command};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const TAGS: [usize; 3] = [1_000, 10_000, 100_000];
const REPOSITORIES: [usize; 2] = [500, 5_000];

/// Prints a table of sizes and costs. `quick` leaves the largest out.
pub fn run(folder: &Path, quick: bool) -> anyhow::Result<()> {
    let runtime = Runtime::new().context("no runtime for the registries")?;
    row(["images", "wall s", "CPU s", "peak MiB", "CPU us an image"]);
    row(["---"; 5]);
    for tags in TAGS.into_iter().take(if quick { 2 } else { TAGS.len() }) {
        let cost = compare(&runtime, folder, 1, tags)?;
        print(&format!("{tags} tags in one repository"), tags, &cost);
    }
    for repositories in REPOSITORIES.into_iter().take(if quick { 1 } else { REPOSITORIES.len() }) {
        let cost = compare(&runtime, folder, repositories, 1)?;
        print(&format!("{repositories} repositories of one tag"), repositories, &cost);
    }
    Ok(())
}

fn print(what: &str, images: usize, cost: &Cost) {
    row([
        what.to_owned(),
        format!("{:.2}", cost.wall.as_secs_f64()),
        format!("{:.2}", cost.cpu.as_secs_f64()),
        format!("{:.1}", cost.peak as f64 / f64::from(1 << 20)),
        format!("{:.0}", cost.cpu.as_secs_f64() * 1e6 / images as f64),
    ]);
}

/// A run that finds every image at its destination.
fn compare(runtime: &Runtime, folder: &Path, repositories: usize, tags: usize) -> anyhow::Result<Cost> {
    let start = || runtime.block_on(Registry::builder().page_size(1_000).without_log().start());
    let (source, destination) = (start(), start());
    let mut rules = serde_json::Map::new();
    for number in 0..repositories {
        for tag in 0..tags {
            let manifest =
                json!({ "schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "annotations": { "n": tag } });
            for (registry, name) in [(&source, format!("app{number}")), (&destination, format!("mirror/app{number}"))] {
                registry.put_manifest(&name, &format!("v{tag}"), MANIFEST, manifest.to_string());
            }
        }
        let to = format!("{}/mirror/app{number}", destination.host());
        rules.insert(format!("{}/app{number}", source.host()), to.into());
    }
    fs::write(folder.join("auth.json"), json!({ source.host(): {}, destination.host(): {} }).to_string())?;
    fs::write(folder.join("images.json"), serde_json::Value::from(rules).to_string())?;
    let mut command = own_command(folder)?;
    command.args(["--auth", "auth.json"]).env(AS_COMMAND, "1");
    let cost = measure(vec![command], 1, &folder.join("output.log"))?;
    let compared = destination.count(Kind::ManifestHead);
    ensure!(cost.success && compared == (repositories * tags) as u64, "a run with nothing to do did something else");
    Ok(cost)
}
