//! Between two real registries, with a witness: every digest is the same on both sides, and a second run moves nothing.

mod digests;
mod flags;

use futures_util::StreamExt;
use scriptable_registry::{Image, Index, Registry};
use serde_json::{Value, json};

use crate::support::docker_registry::{AccessLine, DockerRegistry, Options, PASSWORD, USER, is_installed};
use crate::support::{Migration, skopeo, small};

const OPEN: Options = Options { password: false, tls: false };
const PASSWORDS: Options = Options { password: true, tls: false };
const TLS: Options = Options { password: true, tls: true };

const REPOSITORIES: u64 = 20;
const TAGS: u64 = 10;

/// Requests that change something at a registry.
fn writes(requests: &[AccessLine]) -> Vec<&AccessLine> {
    requests.iter().filter(|request| !matches!(request.method.as_str(), "GET" | "HEAD")).collect()
}

/// Requests that read a blob or a manifest.
fn reads(requests: &[AccessLine]) -> Vec<&AccessLine> {
    let content = |request: &&AccessLine| request.path.contains("/blobs/") || request.path.contains("/manifests/");
    requests.iter().filter(|request| request.method == "GET").filter(content).collect()
}

/// A registry with 20 repositories of 10 tags, of which every third is for two platforms; layers are shared within and
/// between repositories.
async fn seed(options: Options) -> DockerRegistry {
    let seed = Registry::open().await;
    let registry = DockerRegistry::start(options).await;
    let image = |repository: u64, tag: u64, platform: &str| {
        let variant = if platform == "linux/arm64" { 500_000 } else { 0 };
        Image::new(platform)
            .layer_of(1, 150_000)
            .layer_of(1_000 + repository, 20_000)
            .layer_of(10_000 + variant + repository * 100 + tag, 2_000)
    };
    let mut migration = Migration::new().auth(&auth(&[&registry], true));
    for repository in 0..REPOSITORIES {
        let name = format!("team{}/app{repository}", repository % 3);
        for tag in 0..TAGS {
            let (amd, arm) = (image(repository, tag, "linux/amd64"), image(repository, tag, "linux/arm64"));
            let version = format!("v{tag}");
            match (repository * TAGS + tag) % 3 {
                0 => seed.put(&name, &version, &Index::new().image(&amd).image(&arm)),
                1 => seed.put(&name, &version, &amd.docker()),
                _ => seed.put(&name, &version, &amd),
            };
        }
        migration = migration.rule(format!("{}/{name}", seed.host()), format!("{}/{name}", registry.host()));
    }
    migration.run().await.assert_success((REPOSITORIES * TAGS) as usize);
    registry
}

/// An entry for each registry, with its password if it has one.
fn auth(registries: &[&DockerRegistry], insecure: bool) -> Value {
    let entry = |registry: &&DockerRegistry| {
        (registry.host(), json!({ "username": USER, "password": PASSWORD, "insecure": insecure }))
    };
    registries.iter().map(entry).collect::<serde_json::Map<_, _>>().into()
}

fn names() -> impl Iterator<Item = (String, String)> {
    (0..REPOSITORIES).map(|index| {
        let name = format!("app{index}");
        (format!("team{}/{name}", index % 3), format!("moved/team{}/{name}", index % 3))
    })
}

/// Asserts by the witness that an image is the same on both sides, with its children.
async fn assert_same(source: &DockerRegistry, from: &str, destination: &DockerRegistry, to: &str, tag: &str) {
    let manifest = skopeo::raw(source, &format!("{from}:{tag}")).await;
    assert_eq!(manifest, skopeo::raw(destination, &format!("{to}:{tag}")).await, "{from}:{tag}");
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    for child in manifest["manifests"].as_array().into_iter().flatten() {
        let digest = child["digest"].as_str().unwrap();
        assert_eq!(skopeo::digest(destination, &format!("{to}@{digest}")).await, digest);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_images_arrive_and_a_second_run_moves_nothing() {
    if !is_installed(&["docker-registry", "skopeo"]) {
        return;
    }
    let source = seed(OPEN).await;
    let destination = DockerRegistry::start(PASSWORDS).await;
    let mut migration = Migration::new().auth(&auth(&[&destination], false));
    for (from, to) in names() {
        migration = migration.rule(format!("{}/{from}", source.host()), format!("{}/{to}", destination.host()));
    }
    let before = source.requests().await.len();
    migration.run().await.assert_success(200);
    let (source, destination) = (&source, &destination);
    for (from, to) in names() {
        for tag in (0..TAGS).map(|tag| format!("v{tag}")) {
            assert!(source.tag(&from, &tag).is_some(), "{from}:{tag}");
            assert_eq!(destination.tag(&to, &tag), source.tag(&from, &tag), "{to}:{tag}");
        }
    }
    // The witness takes long to ask, and sees of each repository one image.
    let images = names().zip(0..).map(|((from, to), index)| (from, to, format!("v{}", index % TAGS)));
    let checks = images.map(async |(from, to, tag)| assert_same(source, &from, destination, &to, &tag).await);
    futures_util::stream::iter(checks).buffer_unordered(4).collect::<()>().await;
    let first = source.requests().await.len() - before;

    let (at_source, at_destination) = (source.requests().await.len(), destination.requests().await.len());
    migration.run().await.assert_success(200);
    let (at_source, at_destination) =
        (source.requests().await.split_off(at_source), destination.requests().await.split_off(at_destination));
    assert_eq!(writes(&at_destination), Vec::<&AccessLine>::new());
    assert_eq!(reads(&at_source), Vec::<&AccessLine>::new());
    let heads = |requests: &[AccessLine]| {
        requests.iter().filter(|request| request.method == "HEAD" && request.status == 200).count()
    };
    assert_eq!((heads(&at_source), heads(&at_destination)), (200, 200));
    assert!(first > at_source.len());
}

/// Copies one image from an open registry to one with these options.
async fn copy_to(options: Options, prepare: impl FnOnce(Migration, &DockerRegistry) -> Migration) {
    if !is_installed(&["docker-registry", "skopeo"]) {
        return;
    }
    let scripted = Registry::open().await;
    let digest = scripted.put("team/app", "1.0", &Index::new().image(&small(1)).image(&small(2)));
    let destination = DockerRegistry::start(options).await;
    let migration =
        Migration::new().rule(scripted.reference("team/app", "1.0"), format!("{}/moved/app", destination.host()));
    prepare(migration, &destination).run().await.assert_success(1);
    assert_eq!(skopeo::digest(&destination, "moved/app:1.0").await, digest);
}

#[tokio::test]
async fn a_registry_with_passwords() {
    copy_to(PASSWORDS, |migration, registry| migration.auth(&auth(&[registry], false))).await;
    copy_to(PASSWORDS, |migration, registry| migration.auth(&auth(&[registry], true))).await;
}

#[tokio::test]
async fn a_registry_with_a_certificate_nobody_vouches_for_that_is_called_insecure() {
    copy_to(TLS, |migration, registry| migration.auth(&auth(&[registry], true))).await;
}

#[tokio::test]
async fn a_registry_with_a_certificate_that_the_machine_trusts() {
    copy_to(TLS, |migration, registry| {
        migration.auth(&auth(&[registry], false)).env("SSL_CERT_FILE", registry.certificate())
    })
    .await;
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_is_refused() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let registry = DockerRegistry::start(TLS).await;
    let scripted = Registry::open().await;
    scripted.put("team/app", "1.0", &small(1));
    let to = format!("{}/moved/app", registry.host());
    let migration = Migration::new().rule(scripted.reference("team/app", "1.0"), &to).auth(&auth(&[&registry], false));
    let outcome = migration.run().await;
    outcome.assert_failures(1, 1, 0);
    let to = format!("{to}:1.0");
    outcome.assert_failed(&scripted.reference("team/app", "1.0"), &to, &["certificate", "insecure"]);
    assert!(writes(&registry.requests().await).is_empty());
}

#[tokio::test]
async fn a_wrong_password_is_refused_by_a_real_registry() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let registry = DockerRegistry::start(PASSWORDS).await;
    let scripted = Registry::open().await;
    scripted.put("team/app", "1.0", &small(1));
    let outcome = Migration::with_default_retries()
        .rule(scripted.reference("team/app", "1.0"), format!("{}/moved/app", registry.host()))
        .auth(&json!({ registry.host(): { "username": USER, "password": "wr0ng" } }))
        .run()
        .await;
    outcome.assert_failures(1, 1, 0);
    assert!(outcome.stderr.contains("rejected"), "{outcome}");
}
