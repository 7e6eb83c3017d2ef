//! `--platform` and `--format`: what is placed is what was asked for, and a second run finds it done.

use std::collections::BTreeMap;
use std::sync::Arc;

use scriptable_registry::{Action, Answer, Image, Index, Kind, Manifest, Registry};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::docker_registry::{DockerRegistry, Options, is_installed};
use crate::support::{Migration, Outcome, assert_same, requests, skopeo, small, two_registries};

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn amd() -> Image {
    Image::new("linux/amd64").layer_of(1, 300_000).layer("shared")
}

fn arm() -> Image {
    Image::new("linux/arm64/v8").layer_of(2, 2_000).layer("shared")
}

fn windows() -> Image {
    Image::new("windows/amd64").layer("windows").foreign_layer("https://example.com/windows.tar.gz")
}

fn all() -> Index {
    Index::new().image(&amd()).image(&windows()).image(&arm()).annotation("kept", "as it is")
}

fn migration(source: &Registry, destination: &Registry, flags: &[&str]) -> Migration {
    Migration::new()
        .rule(format!("{}/app", source.host()), format!("{}/app", destination.host()))
        .args(flags.iter().copied())
}

/// The line of totals.
fn totals(outcome: &Outcome) -> &str {
    outcome.stderr.lines().last().unwrap_or_default()
}

fn platforms(index: &Value) -> Vec<String> {
    let name = |child: &Value| {
        let platform = &child["platform"];
        format!("{}/{}", platform["os"].as_str().unwrap(), platform["architecture"].as_str().unwrap())
    };
    index["manifests"].as_array().unwrap().iter().map(name).collect()
}

/// Refuses manifests of one media type, as registries do each in its own words.
fn refuse(registry: &Registry, media_type: &'static str, answer: Answer) -> scriptable_registry::Hook {
    registry.on_each(Kind::ManifestPut, move |request| {
        (request.headers.get("content-type")? == media_type).then(|| Action::from(answer.clone()))
    })
}

/// Runs again, and asserts that nothing was written and no blob was read.
async fn assert_is_done(migration: &Migration, source: &Registry, destination: &Registry, images: usize) {
    source.clear_log();
    destination.clear_log();
    let outcome = migration.run().await;
    outcome.assert_success(images);
    assert!(totals(&outcome).contains(&format!(" 0 copied, {images} up to date, ")), "{outcome}");
    let reads = [Kind::Ping, Kind::TagList, Kind::ManifestHead, Kind::ManifestGet];
    for request in source.requests().iter().chain(&destination.requests()) {
        assert!(reads.contains(&request.kind), "{request:#?}\n{outcome}");
    }
}

#[tokio::test]
async fn what_is_put_by_its_digest_moves_no_tag_whatever_else_is_there() {
    let (source, destination) = two_registries().await;
    let from = source.put("app", "1", &all());
    // As it was before it was converted.
    destination.put("app", "before", &all());
    let migration = Migration::new()
        .rule(format!("{}/app@{from}", source.host()), format!("{}/app", destination.host()))
        .args(["--platform", "linux/arm64", "--no-clobber"]);
    migration.run().await.assert_success(1);
    assert_eq!(destination.digest("app", "before"), Some(from));
    assert_eq!(destination.manifests("app").len(), 5, "an index of one image is new");
    assert_is_done(&migration, &source, &destination, 1).await;
}

#[tokio::test]
async fn an_index_is_cut_to_the_platforms_asked_for() {
    let (source, destination) = two_registries().await;
    let from = source.put("app", "1", &all());
    // The rest of it need not even be there.
    source.remove_manifest("app", &windows().digest());
    let migration = migration(&source, &destination, &["--platform", "linux/arm64,linux/amd64"]);
    source.clear_log();
    let outcome = migration.run().await;
    outcome.assert_success(1);
    let placed = destination.manifest("app", "1").unwrap();
    assert_eq!(platforms(&placed.json()), ["linux/amd64", "linux/arm64"]);
    assert_eq!(placed.json()["annotations"], json!({ "kept": "as it is" }));
    assert_eq!((placed.media_type.as_str(), destination.missing("app", "1")), (OCI_INDEX, vec![]));
    assert_eq!(source.count(Kind::ManifestGet), 3, "each manifest is read once");
    let log = outcome.log.as_deref().unwrap();
    let line = log.lines().find(|line| line.contains("manifest converted")).unwrap();
    assert!([&from, &placed.digest, &windows().digest()].iter().all(|digest| line.contains(*digest)), "{line}");
    let line = log.lines().find(|line| line.contains("image copied")).unwrap();
    assert!([&from, &placed.digest].iter().all(|digest| line.contains(*digest)), "{line}");
    assert_is_done(&migration, &source, &destination, 1).await;
    assert_eq!(requests(&source), BTreeMap::from([(Kind::TagList, 1), (Kind::ManifestGet, 1)]));
}

#[tokio::test]
async fn an_index_that_is_as_it_is_wanted_keeps_its_digest() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &all());
    let flags = ["--platform", "linux/amd64", "--platform", "linux/arm64,windows/amd64", "--format", "oci"];
    let migration = migration(&source, &destination, &flags);
    migration.run().await.assert_success(1);
    assert_same((&source, "app", "1"), (&destination, "app", "1"));
    assert_is_done(&migration, &source, &destination, 1).await;
}

#[tokio::test]
async fn attestations_stay_with_what_they_are_about() {
    let (source, destination) = two_registries().await;
    source.put("app", "images", &all());
    let attestation = |of: &Image| {
        let layer = format!("a statement about {}", of.digest());
        let of_nothing = Image::new("unknown/unknown").layer_as("application/vnd.in-toto+json", layer);
        source.put("app", "attestation", &of_nothing);
        source.remove_manifest("app", "attestation");
        source.put_manifest("app", &of_nothing.digest(), OCI_IMAGE, of_nothing.build().bytes);
        json!({
            "mediaType": OCI_IMAGE, "digest": of_nothing.digest(), "size": of_nothing.build().bytes.len(),
            "annotations": { "vnd.docker.reference.digest": of.digest(), "vnd.docker.reference.type": "attestation-manifest" },
            "platform": { "os": "unknown", "architecture": "unknown" },
        })
    };
    let mut index = source.manifest("app", "images").unwrap().json();
    let children = index["manifests"].as_array_mut().unwrap();
    children.extend([attestation(&amd()), attestation(&arm())]);
    let (of_amd, of_arm) = (children[3].clone(), children[4].clone());
    source.remove_manifest("app", "images");
    source.put_manifest("app", "1", OCI_INDEX, index.to_string());
    migration(&source, &destination, &["--platform", "linux/arm64"]).run().await.assert_success(1);
    let placed = destination.manifest("app", "1").unwrap().json();
    assert_eq!(placed["manifests"].as_array().unwrap()[1..], [of_arm]);
    assert_eq!(destination.missing("app", "1"), Vec::<String>::new());
    // Docker's lists have no place for them: they are left out, and named.
    let outcome = migration(&source, &destination, &["--format", "docker"]).run().await;
    outcome.assert_success(1);
    assert_eq!(platforms(&destination.manifest("app", "1").unwrap().json()).len(), 3);
    assert!(outcome.log.as_deref().unwrap().contains(of_amd["digest"].as_str().unwrap()), "{outcome}");
}

#[tokio::test]
async fn an_image_for_another_platform_is_skipped_and_an_artifact_is_copied() {
    let (source, destination) = two_registries().await;
    let chart = Image::new("").artifact("application/vnd.cncf.helm.config.v1+json").layer("a chart");
    source.put("app", "arm", &arm().docker());
    source.put("app", "amd", &amd());
    source.put("app", "chart", &chart);
    source.put("app", "index", &all());
    let migration = migration(&source, &destination, &["--platform", "linux/amd64"]);
    let outcome = migration.run().await;
    outcome.assert_success(4);
    assert!(totals(&outcome).contains(" 3 copied, 0 up to date, 1 skipped;"), "{outcome}");
    let log = outcome.log.as_deref().unwrap();
    let line = log.lines().find(|line| line.contains("image skipped")).unwrap();
    assert!(line.contains("app:arm") && line.contains("linux/arm64/v8"), "{line}");
    assert_eq!(destination.tags("app"), ["amd", "chart", "index"]);
    for tag in ["amd", "chart"] {
        assert_same((&source, "app", tag), (&destination, "app", tag));
    }
    let read = source.requests_of(Kind::BlobGet.of(&arm().config_digest()));
    assert_eq!((read.len(), source.requests_of(Kind::BlobGet.of(&arm().layers()[0])).len()), (1, 0));
}

/// Some registries make a repository for whoever asks to push to it.
#[tokio::test]
async fn nothing_is_asked_of_a_repository_whose_images_are_all_skipped() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &amd());
    source.put("app", "2", &Index::new().image(&amd()));
    let outcome = migration(&source, &destination, &["--platform", "linux/arm64"]).run().await;
    outcome.assert_success(2);
    assert!(totals(&outcome).contains(" 0 copied, 0 up to date, 2 skipped;"), "{outcome}");
    assert_eq!(destination.count(Kind::UploadStart) + destination.count(Kind::Mount), 0, "{outcome}");
}

#[tokio::test]
async fn an_index_without_the_platform_fails_once_and_lists_what_it_has() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &all());
    source.put("app", "2", &Index::new().image(&Image::new("linux/s390x")));
    let migration = Migration::with_default_retries()
        .rule(format!("{}/app", source.host()), format!("{}/app", destination.host()))
        .args(["--platform", "linux/s390x"]);
    let outcome = migration.run().await;
    outcome.assert_failures(2, 1, 0);
    let words = ["linux/s390x", "--platform", "linux/amd64, windows/amd64, linux/arm64/v8"];
    outcome.assert_failed(&source.reference("app", "1"), &destination.reference("app", "1"), &words);
    assert_eq!(destination.tags("app"), ["2"]);
}

/// A registry refuses what it does not take, the operator reads which flag helps, and it does.
async fn assert_advised(refused: &'static str, answer: Answer, flag: &str, image: &impl Manifest, types: [&str; 2]) {
    let (source, destination) = two_registries().await;
    source.put("app", "1", image);
    let hook = refuse(&destination, refused, answer);
    let outcome = migration(&source, &destination, &[]).run().await;
    outcome.assert_failures(1, 1, 0);
    let flag_named = format!("--format {flag}");
    outcome.assert_failed(&source.reference("app", "1"), &destination.reference("app", "1"), &[&flag_named, refused]);
    assert!(!outcome.stderr.contains("account"), "{outcome}");
    let converting = migration(&source, &destination, &["--format", flag]);
    converting.run().await.assert_success(1);
    let placed = destination.manifest("app", "1").unwrap();
    assert_eq!((placed.media_type.as_str(), &placed.json()["mediaType"]), (types[0], &json!(types[0])));
    for child in placed.json()["manifests"].as_array().into_iter().flatten() {
        assert_eq!(child["mediaType"], types[1]);
        let digest = child["digest"].as_str().unwrap();
        assert_eq!(destination.manifest("app", digest).unwrap().json()["mediaType"], types[1]);
    }
    assert_eq!(destination.missing("app", "1"), Vec::<String>::new());
    assert_is_done(&converting, &source, &destination, 1).await;
    // Another flag is another image: the tag moves.
    hook.remove();
    migration(&source, &destination, &[]).run().await.assert_success(1);
    assert_same((&source, "app", "1"), (&destination, "app", "1"));
}

#[tokio::test]
async fn a_registry_that_cannot_parse_oci_indexes_gets_docker_lists() {
    let swr = Answer::error(400, "MANIFEST_INVALID", "Invalid image, fail to parse 'manifest.json'");
    assert_advised(OCI_INDEX, swr, "docker", &all(), [DOCKER_LIST, DOCKER_IMAGE]).await;
}

#[tokio::test]
async fn a_registry_that_knows_no_class_for_oci_images_gets_dockers() {
    let aliyun = Answer::error(403, "DENIED", &format!("unknown manifest class for {OCI_IMAGE}"));
    assert_advised(OCI_IMAGE, aliyun, "docker", &amd(), [DOCKER_IMAGE, ""]).await;
}

#[tokio::test]
async fn a_registry_that_takes_no_docker_types_gets_oci() {
    let docker = Index::new().image(&amd().docker()).image(&windows().docker()).image(&arm().docker()).docker();
    assert_advised(DOCKER_LIST, Answer::status(415), "oci", &docker, [OCI_INDEX, OCI_IMAGE]).await;
}

#[tokio::test]
async fn a_flag_that_would_not_help_is_not_named() {
    let (source, destination) = two_registries().await;
    source.put("app", "chart", &Image::new("").artifact("application/vnd.cncf.helm.config.v1+json").layer("a chart"));
    source.put("app", "docker", &amd().docker());
    destination.on(Kind::ManifestPut, Answer::error(403, "DENIED", "unknown manifest class"));
    let chart = migration(&source, &destination, &[]).run().await;
    chart.assert_failures(2, 2, 0);
    let failed = chart.lines("FAILED");
    assert_eq!(failed.iter().map(|line| line.contains("--format oci")).collect::<Vec<_>>(), [false, true], "{chart}");
    let docker = migration(&source, &destination, &["--format", "oci"]).run().await;
    assert!(!docker.stderr.contains("--format"), "{docker}");
    destination.clear_hooks();
    destination.on(Kind::ManifestPut, Answer::error(403, "DENIED", "no write access"));
    assert!(!migration(&source, &destination, &[]).run().await.stderr.contains("--format"));
}

#[tokio::test]
async fn what_cannot_be_converted_fails_with_its_name_and_the_others_go_on() {
    let (source, destination) = two_registries().await;
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    let image = Image::new("linux/amd64").layer_as(zstd, "zstd");
    source.put("app", "zstd", &Index::new().image(&image).image(&arm()));
    source.put("app", "chart", &Image::new("").artifact("application/vnd.cncf.helm.config.v1+json").layer("a chart"));
    source.put("app", "fine", &amd());
    let outcome = migration(&source, &destination, &["--format", "docker"]).run().await;
    outcome.assert_failures(3, 2, 0);
    let failed = |tag: &str, words: &[&str]| {
        outcome.assert_failed(&source.reference("app", tag), &destination.reference("app", tag), words);
    };
    failed("zstd", &[&image.digest(), &image.layers()[0], zstd]);
    failed("chart", &["application/vnd.cncf.helm.config.v1+json", "artifact"]);
    assert_eq!(destination.tags("app"), ["fine"]);
    assert_eq!(source.requests_of(Kind::BlobGet.of(&image.layers()[0])).len(), 0, "known before anything is moved");
}

#[tokio::test]
async fn no_clobber_compares_what_would_be_placed() {
    let (source, destination) = two_registries().await;
    let from = source.put("app", "1", &all());
    let flags = ["--platform", "linux/amd64"];
    migration(&source, &destination, &flags).run().await.assert_success(1);
    let there = destination.digest("app", "1").unwrap();
    migration(&source, &destination, &[&flags[..], &["--no-clobber"]].concat()).run().await.assert_success(1);
    let outcome = migration(&source, &destination, &["--no-clobber", "--platform", "linux/arm64"]).run().await;
    outcome.assert_failures(1, 1, 0);
    outcome.assert_line("FAILED ", &[&there, &from, "--no-clobber"]);
    assert_eq!(destination.digest("app", "1"), Some(there));
}

#[tokio::test]
async fn force_puts_every_converted_manifest_again() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &all());
    let flags = ["--format", "docker", "-w", "1"];
    migration(&source, &destination, &flags).run().await.assert_success(1);
    let whole = destination.digest("app", "1");
    assert!(destination.remove_blob("app", &arm().layers()[0]));
    destination.clear_log();
    migration(&source, &destination, &[&flags[..], &["--force"]].concat()).run().await.assert_success(1);
    assert_eq!((destination.count(Kind::ManifestPut), destination.count(Kind::UploadFinish)), (4, 1));
    assert_eq!((destination.missing("app", "1"), destination.digest("app", "1")), (vec![], whole));
}

#[tokio::test]
async fn a_digest_that_is_wanted_and_would_change_is_no_rule() {
    let (source, destination) = two_registries().await;
    let digest = source.put("app", "1", &all());
    let migration = || Migration::new().rule(source.reference("app", &digest), destination.reference("app", &digest));
    for flags in [&["--format", "docker"][..], &["--platform", "linux/amd64"]] {
        let outcome = migration().args(flags.iter().copied()).run().await;
        outcome.assert_failures(0, 0, 1);
        outcome.assert_line("INVALID ", &["change digests", "leave that of the destination out"]);
    }
    migration().run().await.assert_success(1);
    assert!(destination.manifest("app", &digest).is_some());
}

#[tokio::test]
async fn an_image_without_a_tag_is_placed_under_its_new_digest() {
    let (source, destination) = two_registries().await;
    let digest = source.put("app", "1", &all());
    let migration = Migration::new()
        .rule(source.reference("app", &digest), format!("{}/app", destination.host()))
        .args(["--format", "docker"]);
    let outcome = migration.run().await;
    outcome.assert_success(1);
    let lists: Vec<String> = destination
        .manifests("app")
        .into_iter()
        .filter(|digest| destination.manifest("app", digest).unwrap().media_type == DOCKER_LIST)
        .collect();
    assert_eq!(lists.len(), 1);
    assert!(outcome.log.as_deref().unwrap().contains(&lists[0]), "{outcome}");
    source.clear_log();
    destination.clear_log();
    migration.run().await.assert_success(1);
    assert_eq!((destination.count(Kind::ManifestPut), source.count(Kind::BlobGet)), (0, 0));
}

#[tokio::test]
async fn tags_share_what_was_made_for_one_of_them() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &all());
    source.put("app", "2", &Index::new().image(&amd()).image(&small(7)));
    source.retag("app", "1", "latest");
    let migration = migration(&source, &destination, &["--format", "docker"]);
    migration.run().await.assert_success(3);
    assert_eq!(destination.digest("app", "1"), destination.digest("app", "latest"));
    let put = destination.requests_of(Kind::ManifestPut).len();
    assert_eq!(put, 4 + 3, "four images, and an index for each tag");
    assert_is_done(&migration, &source, &destination, 3).await;
}

#[tokio::test]
async fn what_is_no_platform_or_format_is_wrong_usage() {
    for (flags, word) in [
        (["--platform", "linux"], "OS/ARCH"),
        (["--platform", "linux/amd64,"], "OS/ARCH"),
        (["--platform", "linux/arm/v7/8"], "OS/ARCH"),
        (["--format", "dockers"], "docker"),
    ] {
        Migration::new().args(flags).run().await.assert_refused(&[word]);
    }
}

/// Has the witness pull one platform of an image, with all its blobs, and gives the manifest it pulled.
async fn pulled(registry: &DockerRegistry, reference: &str, architecture: &str) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let to = format!("dir:{}", directory.path().display());
    let from = format!("docker://{}/{reference}", registry.host());
    let platform = ["--override-os", "linux", "--override-arch", architecture];
    let copy = ["copy", "--src-tls-verify=false", &from, &to];
    let output = Command::new("skopeo")
        .args(["--insecure-policy", "--tmpdir", directory.path().to_str().unwrap()])
        .args(platform)
        .args(copy)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "skopeo cannot pull {from}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&std::fs::read(directory.path().join("manifest.json")).unwrap()).unwrap()
}

#[tokio::test]
async fn a_real_registry_holds_images_that_a_witness_can_pull() {
    if !is_installed(&["docker-registry", "skopeo"]) {
        return;
    }
    let source = Arc::new(Registry::open().await);
    let destination = DockerRegistry::start(Options::default()).await;
    let (docker, oci) = (Index::new().image(&amd().docker()).image(&arm().docker()).docker(), all());
    source.put("docker", "1", &docker);
    source.put("oci", "1", &oci);
    for (from, format, types) in
        [("oci", "docker", [DOCKER_LIST, DOCKER_IMAGE]), ("docker", "oci", [OCI_INDEX, OCI_IMAGE])]
    {
        let to = format!("{}/{from}/to/{format}", destination.host());
        let migration = Migration::new().rule(source.reference(from, "1"), &to).args([
            "--format",
            format,
            "--platform",
            "linux/amd64,linux/arm64",
        ]);
        migration.run().await.assert_success(1);
        let reference = format!("{from}/to/{format}:1");
        let raw = skopeo::raw(&destination, &reference).await;
        let index: Value = serde_json::from_slice(&raw).unwrap();
        assert_eq!((index["mediaType"].as_str(), platforms(&index).len()), (Some(types[0]), 2));
        for (image, architecture) in [(amd(), "amd64"), (arm(), "arm64")] {
            let manifest = pulled(&destination, &reference, architecture).await;
            assert_eq!(manifest["mediaType"], types[1]);
            assert_eq!(manifest["config"]["digest"], image.config_digest());
            let layers = manifest["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].as_str().unwrap());
            assert_eq!(layers.collect::<Vec<_>>(), image.layers());
        }
        // Nothing is written twice.
        let before = destination.requests().await.len();
        migration.run().await.assert_success(1);
        let again = destination.requests().await.split_off(before);
        assert!(again.iter().all(|request| matches!(request.method.as_str(), "GET" | "HEAD")), "{again:?}");
        assert_eq!(skopeo::raw(&destination, &reference).await, raw);
    }
}
