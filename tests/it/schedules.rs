//! Whole runs through faults that a seed has drawn: nothing incomplete is ever tagged, and the next run completes it.
//!
//! `IMAGE_MIGRATOR_SEED=123` runs one schedule again, `IMAGE_MIGRATOR_SEEDS=10000` runs so many.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use scriptable_registry::{Image, Index, Kind, Matcher, Mounts, Registry};
use serde_json::{Value, json};

use crate::support::fault::EVERY_FAULT;
use crate::support::verdict::{Moved, judge};
use crate::support::{LARGE, Migration, PASSWORD, USER, number};

/// Seeds that are run if nobody says otherwise, and how many at once.
const SEEDS: u64 = 200;
const AT_ONCE: usize = 30;

const AT_SOURCE: [Kind; 7] =
    [Kind::Ping, Kind::Token, Kind::TagList, Kind::ManifestHead, Kind::ManifestGet, Kind::BlobGet, Kind::RedirectedGet];
const AT_DESTINATION: [Kind; 10] = [
    Kind::Ping,
    Kind::Token,
    Kind::TagList,
    Kind::ManifestHead,
    Kind::ManifestPut,
    Kind::BlobHead,
    Kind::Mount,
    Kind::UploadStart,
    Kind::UploadChunk,
    Kind::UploadFinish,
];
const MOUNTS: [Mounts; 4] = [Mounts::Allowed, Mounts::Ignored, Mounts::Refused(405), Mounts::AfterManifest];

async fn registry(random: &mut StdRng) -> Registry {
    let mut builder = Registry::builder().mounts(*MOUNTS.choose(random).unwrap());
    if random.random_bool(0.5) {
        builder = builder.bearer((USER, PASSWORD));
    }
    if random.random_bool(0.3) {
        builder = builder.redirect_blobs();
    }
    if random.random_bool(0.3) {
        builder = builder.page_size(2);
    }
    if random.random_bool(0.3) {
        builder = builder.chunk_limit(100_000);
    }
    if random.random_bool(0.5) {
        builder = builder.takes_incomplete_manifests();
    }
    builder.start().await
}

/// An image whose layers are drawn from a few, so that many are shared.
fn image(random: &mut StdRng, platform: &str) -> Image {
    let layers = random.random_range(1..4);
    let image = (0..layers).fold(Image::new(platform), |image, _| match random.random_range(0..8u64) {
        seed @ 0..2 => image.layer_of(seed, LARGE),
        seed => image.layer_of(seed, 3_000),
    });
    if random.random_bool(0.4) { image.docker() } else { image }
}

/// Fills the source with a few repositories, and the destination with what may be there from before.
fn fill(random: &mut StdRng, source: &Registry, destination: &Registry) -> Vec<Moved> {
    let mut images = Vec::new();
    for repository in 0..random.random_range(1..4) {
        let (from, to) = (format!("team/app{repository}"), format!("moved/app{repository}"));
        for tag in 0..random.random_range(1..4) {
            let (tag, first) = (format!("v{tag}"), image(random, "linux/amd64"));
            match random.random_bool(0.3) {
                true => source.put(&from, &tag, &Index::new().image(&first).image(&image(random, "linux/arm64"))),
                false => source.put(&from, &tag, &first),
            };
            let mut moved = Moved::new((&from, &tag), (&to, &tag));
            match random.random_range(0..5) {
                0 => moved.before = Some(destination.put(&to, &tag, &image(random, "linux/amd64"))),
                1 => _ = destination.put(&to, &tag, &first),
                _ => {}
            }
            if let Some(there) = destination.digest(&to, &tag) {
                moved.before = Some(there);
            }
            images.push(moved);
        }
    }
    images
}

/// Has a few things go wrong on either side, and says which.
fn break_it(random: &mut StdRng, source: &Registry, destination: &Registry) -> Vec<String> {
    let count = random.random_range(1..7);
    let mut schedule = Vec::new();
    while schedule.len() < count {
        let at_source = random.random_bool(0.5);
        let kinds: &[Kind] = if at_source { &AT_SOURCE } else { &AT_DESTINATION };
        let (kind, fault) = (*kinds.choose(random).unwrap(), *EVERY_FAULT.choose(random).unwrap());
        if !fault.befalls(kind) {
            continue;
        }
        let (after, times) = (random.random_range(0..8), random.random_range(1..6));
        let registry = if at_source { source } else { destination };
        registry.on(Matcher::from(kind).after(after).times(times), fault.action(registry));
        schedule.push(format!("{kind:?} of source {at_source}: {fault:?} {times} times after {after}"));
    }
    schedule
}

/// Whether all that the report says was moved and mounted was so for one of its images, failed or not.
fn adds_up(migration: &Migration) -> Result<(), String> {
    let text = std::fs::read(migration.path("report.json")).map_err(|error| error.to_string())?;
    let report: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let images = report["images"].as_array().ok_or("no images")?;
    for name in ["blobsMoved", "bytesMoved", "blobsMounted"] {
        let sum: u64 = images.iter().filter_map(|image| image[name].as_u64()).sum();
        let total = &report["summary"][name];
        if *total != sum {
            return Err(format!("{name} of the images are {sum}, in all they are {total}"));
        }
    }
    Ok(())
}

/// Runs one schedule; what is wrong with what came of it is the error. Says whether the first run succeeded.
async fn run(seed: u64) -> Result<bool, String> {
    let random = &mut StdRng::seed_from_u64(seed);
    let source = Arc::new(registry(random).await);
    let destination = if random.random_bool(0.2) { source.clone() } else { Arc::new(registry(random).await) };
    let images = fill(random, &source, &destination);
    let login = json!({ "username": USER, "password": PASSWORD });
    let workers = [1, 2, 7].choose(random).unwrap().to_string();
    let mut migration = Migration::with_default_retries()
        .auth(&json!({ source.host(): login, destination.host(): login }))
        .args(["--report", "report.json", "--workers", &workers, "--retries", &random.random_range(0..4).to_string()]);
    if random.random_bool(0.2) {
        migration = migration.args(["--force"]);
    }
    for repository in source.repositories().into_iter().filter(|repository| repository.starts_with("team/")) {
        let to = repository.replace("team/", "moved/");
        migration = migration.rule(format!("{}/{repository}", source.host()), format!("{}/{to}", destination.host()));
    }
    let schedule = break_it(random, &source, &destination);
    let wrong = |reason: String| format!("seed {seed} ({workers} workers, {schedule:#?}): {reason}");
    let first = migration.run().await;
    let well = judge(&source, &destination, &images, &first).map_err(|reason| wrong(format!("{reason}\n{first}")))?;
    adds_up(&migration).map_err(|reason| wrong(format!("{reason}\n{first}")))?;
    source.clear_hooks();
    destination.clear_hooks();
    let second = migration.run().await;
    adds_up(&migration).map_err(|reason| wrong(format!("{reason}\n{second}")))?;
    match judge(&source, &destination, &images, &second) {
        Ok(true) => Ok(well),
        judged => Err(wrong(format!("the second run has not completed it: {judged:?}\n{second}"))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_in_a_run_the_next_completes_it_and_nothing_incomplete_is_tagged() {
    let seeds = match number("IMAGE_MIGRATOR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("IMAGE_MIGRATOR_SEEDS").unwrap_or(SEEDS),
    };
    let count = seeds.end - seeds.start;
    let bad = Arc::new(Mutex::new(Vec::new()));
    let runs = futures_util::stream::iter(seeds).map(run).buffer_unordered(AT_ONCE);
    let well = runs.filter_map(async |result| result.map_err(|wrong| bad.lock().unwrap().push(wrong)).ok());
    let well: Vec<bool> = well.collect().await;
    let bad = bad.lock().unwrap();
    println!("{count} schedules: {} overcome at once", well.iter().filter(|well| **well).count());
    assert!(bad.is_empty(), "{} of {count} went wrong:\n{}", bad.len(), bad.join("\n\n"));
}
