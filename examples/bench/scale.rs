//! How the cost grows with the number of images: runs against registries in this process' memory, with nothing to do, and
//! first copies in which no two images share a layer.
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
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Layers of an image in a first copy.
const LAYERS: usize = 3;
const TAGS: [usize; 3] = [1_000, 10_000, 100_000];
const REPOSITORIES: [usize; 2] = [500, 5_000];

/// Prints a table of sizes and costs. `quick` leaves the largest out.
pub fn run(folder: &Path, quick: bool) -> anyhow::Result<()> {
    let runtime = Runtime::new().context("no runtime for the registries")?;
    row(["images", "wall s", "CPU s", "peak MiB", "CPU us an image"]);
    row(["---"; 5]);
    let is_measured = |images: &usize| !quick || *images < 100_000;
    for tags in TAGS.into_iter().filter(is_measured) {
        let run = Run { repositories: 1, tags, is_first: false };
        print(&format!("{tags} tags in one repository, nothing to do"), tags, &run.measure(&runtime, folder)?);
    }
    for repositories in REPOSITORIES {
        let run = Run { repositories, tags: 1, is_first: false };
        let what = format!("{repositories} repositories of one tag, nothing to do");
        print(&what, repositories, &run.measure(&runtime, folder)?);
    }
    for tags in TAGS.into_iter().filter(is_measured) {
        let run = Run { repositories: 1, tags, is_first: true };
        let what = format!("{tags} tags in one repository, {LAYERS} layers of its own each, first copy");
        print(&what, tags, &run.measure(&runtime, folder)?);
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

/// Images of equal shape, from one registry to another.
struct Run {
    repositories: usize,
    tags: usize,
    /// Whether the destination is empty and images have blobs; else it has all that the source has.
    is_first: bool,
}

impl Run {
    fn measure(&self, runtime: &Runtime, folder: &Path) -> anyhow::Result<Cost> {
        let start = || runtime.block_on(Registry::builder().page_size(1_000).without_log().start());
        let (source, destination) = (start(), start());
        let mut rules = serde_json::Map::new();
        for number in 0..self.repositories {
            let (from, to) = (format!("app{number}"), format!("mirror/app{number}"));
            for tag in 0..self.tags {
                self.put(tag, (&source, &from), (&destination, &to));
            }
            rules.insert(format!("{}/{from}", source.host()), format!("{}/{to}", destination.host()).into());
        }
        fs::write(folder.join("auth.json"), json!({ source.host(): {}, destination.host(): {} }).to_string())?;
        fs::write(folder.join("images.json"), serde_json::Value::from(rules).to_string())?;
        let mut command = own_command(folder)?;
        command.args(["--auth", "auth.json"]).env(AS_COMMAND, "1");
        let cost = measure(vec![command], 1, &folder.join("output.log"))?;
        let images = (self.repositories * self.tags) as u64;
        let (compared, copied) = (destination.count(Kind::ManifestHead), destination.count(Kind::ManifestPut));
        let is_as_meant = if self.is_first { copied == images } else { compared == images && copied == 0 };
        ensure!(
            cost.success && is_as_meant,
            "the run did something else than was meant: {compared} compared, {copied} copied"
        );
        Ok(cost)
    }

    /// Puts an image at the source, and at the destination as well unless it is to be copied.
    fn put(&self, tag: usize, (source, from): (&Registry, &str), (destination, to): (&Registry, &str)) {
        let name = format!("v{tag}");
        if self.is_first {
            let layers: Vec<_> =
                (0..LAYERS).map(|layer| put_layer(source, from, &format!("layer {layer} of {tag}"))).collect();
            let config = put_layer(source, from, "{}");
            let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
            source.put_manifest(from, &name, MANIFEST, manifest.to_string());
        } else {
            let manifest =
                json!({ "schemaVersion": 2, "mediaType": MANIFEST, "layers": [], "annotations": { "n": tag } });
            source.put_manifest(from, &name, MANIFEST, manifest.to_string());
            destination.put_manifest(to, &name, MANIFEST, manifest.to_string());
        }
    }
}

/// Puts a small blob. Answers its descriptor.
fn put_layer(source: &Registry, repository: &str, content: &str) -> serde_json::Value {
    let digest = source.put_blob(repository, content.to_owned());
    json!({ "mediaType": LAYER, "digest": digest, "size": content.len() })
}
