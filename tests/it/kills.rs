//! `kill -9` at random moments, between real registries: no tag ever names what is not whole, and in the end all is equal.
//!
//! `IMAGE_MIGRATOR_KILLS=50` kills so often; each time that a migration came to its end, another one is begun.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use scriptable_registry::{Image, Index, Registry};

use crate::support::docker_registry::{DockerRegistry, Options, is_installed};
use crate::support::run::until_seen;
use crate::support::{Migration, http_client, number};

/// Kills, if nobody wants more.
const KILLS: u64 = 8;
const REPOSITORIES: u64 = 3;
const TAGS: u64 = 4;
/// Bytes per second, so that a migration takes longer than its longest life.
const RATE: &str = "12M";
/// Milliseconds.
const LONGEST_LIFE: u64 = 1_300;

const MEDIA_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A real registry with images for two platforms, of several layers each, some of them shared.
async fn seeded() -> DockerRegistry {
    let (seed, registry) = (Registry::open().await, DockerRegistry::start(Options::default()).await);
    let mut migration = Migration::new();
    for repository in 0..REPOSITORIES {
        let name = format!("team/app{repository}");
        for tag in 0..TAGS {
            let number = repository * 100 + tag;
            let image = |platform: &str, own: u64| {
                let shared = Image::new(platform).layer_of(1, 750_000).layer_of(1_000 + repository, 500_000);
                shared.layer_of(own, 600_000).layer_of(own + 50_000, 2_000)
            };
            let index = Index::new().image(&image("linux/amd64", number + 10_000));
            seed.put(&name, &format!("v{tag}"), &index.image(&image("linux/arm64", number + 20_000)));
        }
        migration = migration.rule(format!("{}/{name}", seed.host()), format!("{}/{name}", registry.host()));
    }
    migration.run().await.assert_success((REPOSITORIES * TAGS) as usize);
    registry
}

/// Asks a registry for what a reference stands for.
struct Asker(reqwest::Client);

impl Asker {
    async fn manifest(&self, host: &str, repository: &str, reference: &str) -> serde_json::Value {
        let url = format!("http://{host}/v2/{repository}/manifests/{reference}");
        let answer = self.0.get(&url).header("accept", MEDIA_TYPES).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{url}");
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// Asserts that a registry has all that a reference stands for.
    async fn assert_whole(&self, host: &str, repository: &str, reference: &str) {
        let manifest = self.manifest(host, repository, reference).await;
        let named = |list: &serde_json::Value| list.as_array().cloned().unwrap_or_default();
        for child in named(&manifest["manifests"]) {
            Box::pin(self.assert_whole(host, repository, child["digest"].as_str().unwrap())).await;
        }
        for blob in named(&manifest["layers"]).iter().chain(manifest.get("config")) {
            let url = format!("http://{host}/v2/{repository}/blobs/{}", blob["digest"].as_str().unwrap());
            let answer = self.0.head(&url).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{repository}:{reference} names what is not there: {url}");
            let length = answer.headers()["content-length"].to_str().unwrap().parse().ok();
            assert_eq!(length, blob["size"].as_u64(), "{url}");
        }
    }
}

fn images() -> impl Iterator<Item = (String, String, String)> {
    (0..REPOSITORIES).flat_map(|repository| {
        (0..TAGS).map(move |tag| (format!("team/app{repository}"), format!("moved/app{repository}"), format!("v{tag}")))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_killed_again_and_again_tags_nothing_incomplete_and_is_completed_by_the_next() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let random = &mut StdRng::seed_from_u64(number("IMAGE_MIGRATOR_SEED").unwrap_or(1));
    let (source, asker) = (seeded().await, Asker(http_client()));
    let all = (REPOSITORIES * TAGS) as usize;
    let wanted = number("IMAGE_MIGRATOR_KILLS").unwrap_or(KILLS);
    let (mut kills, mut finished, mut partly) = (0, 0, 0);
    while kills < wanted {
        let destination = DockerRegistry::start(Options::default()).await;
        let mut migration = Migration::new();
        for repository in 0..REPOSITORIES {
            let (from, to) = (format!("team/app{repository}"), format!("moved/app{repository}"));
            migration = migration.rule(format!("{}/{from}", source.host()), format!("{}/{to}", destination.host()));
        }
        let limited = migration.args(["--limit-rate", RATE]);
        loop {
            let running = limited.start().await;
            // It ends by itself if it lives that long.
            let life = match kills % 2 {
                0 => random.random_range(30..LONGEST_LIFE),
                // Images arrive late in a life: of every other one it is waited for the first.
                _ => {
                    let is_any_there = || images().any(|(_, to, tag)| destination.tag(&to, &tag).is_some());
                    until_seen("a tag", async || is_any_there().then_some(())).await;
                    random.random_range(0..LONGEST_LIFE / 20)
                }
            };
            tokio::time::sleep(Duration::from_millis(life)).await;
            running.signal("KILL");
            let outcome = running.finish().await;
            let mut tags = 0;
            for (from, to, tag) in images() {
                let Some(digest) = destination.tag(&to, &tag) else { continue };
                tags += 1;
                assert_eq!(Some(digest), source.tag(&from, &tag), "{to}:{tag}");
                asker.assert_whole(&destination.host(), &to, &tag).await;
            }
            if outcome.code.is_some() {
                outcome.assert_success(all);
                break;
            }
            kills += 1;
            partly += u64::from(tags > 0 && tags < all);
            if kills == wanted {
                break;
            }
        }
        limited.run().await.assert_success(all);
        for (from, to, tag) in images() {
            assert_eq!(destination.tag(&to, &tag), source.tag(&from, &tag), "{to}:{tag}");
            asker.assert_whole(&destination.host(), &to, &tag).await;
        }
        finished += 1;
    }
    assert!(partly > 0 || kills < 4, "no kill fell between two images: nothing was tried");
    println!("{kills} kills, {partly} of them with some images tagged and some not; {finished} migrations completed");
}
