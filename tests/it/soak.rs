//! Many images between registries that break a few per cent of everything: all of them arrive.
//!
//! `IMAGE_MIGRATOR_SOAK=1000` moves so many, `IMAGE_MIGRATOR_SEED` draws other faults.

use std::sync::Mutex;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use scriptable_registry::{Hook, Image, Index, Matcher, Registry};
use serde_json::json;

use crate::support::fault::{EVERY_FAULT, Fault};
use crate::support::verdict::{Moved, judge};
use crate::support::{LARGE, Migration, PASSWORD, USER, number};

/// Images, if nobody wants more.
const IMAGES: u64 = 200;
const A_REPOSITORY: u64 = 10;
/// Per cent of the requests that go wrong.
const BROKEN: f64 = 0.04;

/// Breaks some of all requests, in any way that may pass.
fn break_some(registry: &Registry, seed: u64) -> Hook {
    let faults: Vec<Fault> = EVERY_FAULT.into_iter().filter(|fault| fault.may_pass()).collect();
    let actions: Vec<_> = faults.iter().map(|fault| (*fault, fault.action(registry))).collect();
    let random = Mutex::new(StdRng::seed_from_u64(seed));
    registry.on_each(Matcher::any(), move |request| {
        let mut random = random.lock().unwrap();
        let (fault, action) = actions.choose(&mut random).unwrap();
        (random.random_bool(BROKEN) && fault.befalls(request.kind)).then(|| action.clone())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_images_arrive_although_some_of_everything_goes_wrong() {
    let (count, seed) = (number("IMAGE_MIGRATOR_SOAK").unwrap_or(IMAGES), number("IMAGE_MIGRATOR_SEED").unwrap_or(1));
    let registry = || Registry::builder().bearer((USER, PASSWORD)).page_size(7).takes_incomplete_manifests().start();
    let (source, destination) = (registry().await, registry().await);
    let login = json!({ "username": USER, "password": PASSWORD });
    let mut migration = Migration::with_default_retries()
        .auth(&json!({ source.host(): login, destination.host(): login }))
        .args(["--retries", "10"]);
    let mut images = Vec::new();
    for number in 0..count {
        let (repository, tag) = (number / A_REPOSITORY, format!("v{}", number % A_REPOSITORY));
        let (from, to) = (format!("team/app{repository}"), format!("moved/app{repository}"));
        let image = |platform: &str, own: u64| {
            let image = Image::new(platform).layer_of(number % 5, 40_000).layer_of(10_000 + own, 2_000);
            if number % 20 == 0 { image.layer_of(20_000 + own, LARGE) } else { image }
        };
        let first = image("linux/amd64", number);
        match number % 3 {
            0 => source.put(&from, &tag, &Index::new().image(&first).image(&image("linux/arm64", 50_000 + number))),
            1 => source.put(&from, &tag, &first.docker()),
            _ => source.put(&from, &tag, &first),
        };
        if number % A_REPOSITORY == 0 {
            migration = migration.rule(format!("{}/{from}", source.host()), format!("{}/{to}", destination.host()));
        }
        images.push(Moved::new((&from, &tag), (&to, &tag)));
    }
    let broken = [break_some(&source, seed), break_some(&destination, seed + 1)];
    let began = Instant::now();
    let outcome = migration.run().await;
    let hits: u64 = broken.iter().map(Hook::hits).sum();
    let requests = source.count_all() + destination.count_all();
    let rounds = outcome.stdout.matches("Start to retry").count();
    println!(
        "{count} images, {requests} requests, {hits} of them broken, {rounds} retry rounds, {:?}",
        began.elapsed()
    );
    assert!(hits * 50 > requests, "hardly anything was broken: {hits} of {requests}");
    assert_eq!(judge(&source, &destination, &images, &outcome), Ok(true), "{outcome}");
}
