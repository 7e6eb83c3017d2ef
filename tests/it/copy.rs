//! Whatever a tag names arrives byte for byte, with all that belongs to it.

use scriptable_registry::{Action, Answer, Image, Index, Kind, Manifest, Matcher, Registry, digest_of};
use serde_json::{Value, json};

use crate::support::{LARGE, Migration, assert_same, large, small, two_registries};

const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// Copies everything in `team/app` and asserts that it arrived.
async fn assert_copied(source: &Registry) -> Registry {
    let destination = Registry::open().await;
    let migration = Migration::new().app(source, &destination);
    let tags = source.tags("team/app");
    assert!(!tags.is_empty());
    migration.run().await.assert_success(tags.len());
    for tag in &tags {
        assert_same((source, "team/app", tag), (&destination, "moved/app", tag));
    }
    assert_eq!(destination.open_uploads(), 0);
    destination
}

async fn assert_copies(manifest: &impl Manifest) -> Registry {
    let source = Registry::builder().check_accept().start().await;
    source.put("team/app", "1.0", manifest);
    assert_copied(&source).await
}

#[tokio::test]
async fn images_of_both_families() {
    assert_copies(&small(1)).await;
    assert_copies(&small(1).docker()).await;
    assert_copies(&large(2).layer_of(3, LARGE).layer("tiny")).await;
    assert_copies(&large(2).layer_of(3, LARGE).docker()).await;
}

#[tokio::test]
async fn images_without_layers_or_with_repeated_or_empty_ones() {
    assert_copies(&Image::new("linux/amd64")).await;
    assert_copies(&Image::new("linux/amd64").layer("same").layer("same").layer("other").layer("same")).await;
    assert_copies(&Image::new("linux/amd64").layer("")).await;
}

/// Asserts that an empty layer is copied, and that what should be one but has the digest of something else is refused.
async fn assert_empty_layers_are_verified(workers: &str) {
    let (source, destination) = two_registries().await;
    source.put("team/app", "right", &small(1).layer(""));
    let mut manifest = source.manifest("team/app", "right").unwrap().json();
    let wrong = digest_of(b"not nothing");
    manifest["layers"][1]["digest"] = json!(wrong);
    let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
    source.put_manifest("team/app", "wrong", &media_type, manifest.to_string());
    source.on(Kind::BlobGet.of(&wrong), Answer::status(200));
    // It is not left to the destination to find out: this one takes whatever comes.
    destination.on(Kind::UploadFinish.of(&wrong), Answer::status(201));
    destination.on(Kind::ManifestPut.of("wrong"), Answer::status(201));
    let to = format!("{}/moved/app", destination.host());
    let migration = Migration::new().rule(format!("{}/team/app", source.host()), &to).args(["-w", workers]);
    let outcome = migration.run().await;
    outcome.assert_failures(2, 1, 0);
    let words = ["digest", &*format!("expected {wrong}")];
    outcome.assert_failed(&source.reference("team/app", "wrong"), &format!("{to}:wrong"), &words);
    assert_eq!(destination.requests_of(Kind::ManifestPut.of("wrong")).len(), 0);
    assert_same((&source, "team/app", "right"), (&destination, "moved/app", "right"));
}

#[tokio::test]
async fn an_empty_layer_is_verified_like_any_other() {
    assert_empty_layers_are_verified("7").await;
}

#[tokio::test]
async fn an_empty_layer_is_verified_also_where_it_is_streamed() {
    assert_empty_layers_are_verified("1").await;
}

#[tokio::test]
async fn indexes_of_both_families() {
    let arm = |image: Image| image.annotation("of", "arm");
    let oci = Index::new().image(&small(1)).image(&arm(large(2)));
    assert_copies(&oci).await;
    let docker = Index::new().image(&small(1).docker()).image(&large(2).docker()).docker();
    assert_copies(&docker).await;
    assert_copies(&Index::new()).await;
}

#[tokio::test]
async fn indexes_of_indexes() {
    let inner = Index::new().image(&small(1)).image(&small(2));
    let deeper = Index::new().index(&inner).image(&small(3));
    assert_copies(&Index::new().index(&deeper).index(&inner).image(&small(1))).await;
}

#[tokio::test]
async fn artifacts_of_unknown_types() {
    assert_copies(&Image::new("").artifact("application/vnd.cncf.helm.config.v1+json").layer("a chart")).await;
    let unknown = Image::new("").artifact("application/vnd.nobody.knows+yaml").layer_as("application/x-thing", "it");
    assert_copies(&unknown.artifact_type("application/vnd.thing")).await;
    let subject = small(1);
    let source = Registry::open().await;
    source.put("team/app", "1.0", &subject);
    source.put("team/app", "signature", &Image::new("").artifact("application/vnd.sig").layer("s").subject(&subject));
    assert_copied(&source).await;
}

#[tokio::test]
async fn a_manifest_is_not_written_anew() {
    let source = Registry::open().await;
    let config = source.put_blob("team/app", "{}");
    let layer = source.put_blob("team/app", "a layer");
    // Spaces, order, an unknown field, a repeated key and a line end: all of it belongs to the digest.
    let text = format!(
        "{{\"layers\":  [{{ \"size\": 7, \"digest\": \"{layer}\", \"mediaType\": \"application/vnd.x\"}}],\r\n\
         \t\"annotations\": {{\"ü\": \"\\u00fc\"}}, \"unknown\": 1e3, \"schemaVersion\": 2,\n\
         \"config\": {{\"mediaType\": \"application/vnd.oci.image.config.v1+json\", \"size\": 2, \"digest\": \"{config}\"}},\n\
         \"mediaType\": \"application/vnd.oci.image.manifest.v1+json\"}}\n\n"
    );
    let digest =
        source.put_manifest("team/app", "1.0", "application/vnd.oci.image.manifest.v1+json", text.clone().into_bytes());
    assert_eq!(digest, digest_of(text.as_bytes()));
    assert_copied(&source).await;
}

#[tokio::test]
async fn a_manifest_without_its_media_type_keeps_that_of_its_answer() {
    let source = Registry::open().await;
    let config = source.put_blob("team/app", "{}");
    let manifest = json!({
        "schemaVersion": 2,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": config },
        "layers": [],
    });
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    source.put_manifest("team/app", "1.0", media_type, manifest.to_string());
    assert_copied(&source).await;
}

#[tokio::test]
async fn layers_that_live_elsewhere_are_left_there_and_named() {
    for image in [
        small(1).foreign_layer("https://example.com/windows.tar.gz"),
        small(1).foreign_layer("https://example.com/windows.tar.gz").docker(),
    ] {
        let source = Registry::open().await;
        source.put("team/app", "1.0", &image);
        let destination = Registry::open().await;
        let outcome = Migration::new().app_tags(&source, "1.0", &destination).run().await;
        outcome.assert_success(1);
        let foreign = &image.layers()[1];
        assert_eq!(destination.digest("moved/app", "1.0"), source.digest("team/app", "1.0"));
        assert!(destination.has_blob("moved/app", &image.layers()[0]));
        assert_eq!(source.requests_of(Kind::BlobGet.of(foreign)).len(), 0);
        assert!(outcome.log.as_deref().unwrap().contains(foreign), "not named\n{outcome}");
    }
}

/// As distribution refuses, unless it is configured to allow such urls.
#[tokio::test]
async fn a_registry_that_takes_no_layers_from_elsewhere_is_said_to_be_one_and_asked_twice() {
    let (source, destination) = (Registry::open().await, Registry::open().await);
    source.put("team/app", "1", &small(1).foreign_layer("https://example.com/windows.tar.gz"));
    let unknown = r#"{"code":"UNKNOWN","message":"unknown error"}"#;
    let missing = r#"{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}"#;
    let refusal = format!(r#"{{"errors":[{unknown},{missing}]}}"#);
    destination.on(Kind::ManifestPut, Answer::status(500).body(refusal));
    let outcome = Migration::new().app(&source, &destination).run().await;
    outcome.assert_failures(1, 1, 0);
    outcome
        .assert_line("FAILED ", &["500", "MANIFEST_BLOB_UNKNOWN", "its own urls", "validation.manifests.urls.allow"]);
    assert_eq!(destination.count(Kind::ManifestPut), 2, "{outcome}");
    assert_eq!(destination.tags("moved/app"), Vec::<String>::new());
}

#[tokio::test]
async fn layers_that_are_left_are_named_for_every_image_that_has_them() {
    let (source, destination) = two_registries().await;
    let windows = Image::new("windows/amd64").layer("windows").foreign_layer("https://example.com/windows.tar.gz");
    source.put("team/app", "1.0", &windows);
    source.retag("team/app", "1.0", "latest");
    source.put("team/app", "index", &Index::new().image(&small(1)).image(&windows));
    let migration =
        Migration::new().app_tags(&source, "1.0,latest,index", &destination).args(["--report", "report.json"]);
    let outcome = migration.run().await;
    outcome.assert_success(3);
    let foreign = &windows.layers()[1];
    let report: Value = serde_json::from_slice(&std::fs::read(migration.path("report.json")).unwrap()).unwrap();
    for image in report["images"].as_array().unwrap() {
        assert_eq!(image["layersSkipped"], json!([foreign]), "{image}");
        let source = format!("source={}", image["source"].as_str().unwrap());
        let named = outcome.log.as_ref().unwrap().lines().filter(|line| line.contains("layer left out"));
        assert_eq!(named.filter(|line| line.contains(&source) && line.contains(foreign)).count(), 1, "{outcome}");
    }
    assert_eq!(report["summary"]["layersSkipped"], 3);
}

#[tokio::test]
async fn schema_one_is_refused_image_by_image() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    let old = json!({ "schemaVersion": 1, "name": "team/app", "tag": "old", "fsLayers": [], "history": [] });
    source.put_manifest("team/app", "old", SCHEMA_1, old.to_string());
    let to = format!("{}/moved/app", destination.host());
    let outcome = Migration::new().rule(format!("{}/team/app", source.host()), &to).run().await;
    outcome.assert_failures(2, 1, 0);
    outcome.assert_failed(&source.reference("team/app", "old"), &format!("{to}:old"), &["schema"]);
    assert_eq!(destination.tags("moved/app"), ["1.0"]);
}

#[tokio::test]
async fn an_image_of_which_something_is_missing_is_not_tagged() {
    let (source, destination) = two_registries().await;
    let (broken, index) = (small(1), Index::new().image(&small(2)).image(&small(3)));
    source.put("team/app", "broken", &broken);
    source.put("team/app", "whole", &small(4));
    source.put("team/app", "index", &index);
    source.remove_blob("team/app", &broken.layers()[0]);
    source.remove_manifest("team/app", &small(3).digest());
    let to = format!("{}/moved/app", destination.host());
    let outcome = Migration::new().rule(source.reference("team/app", "broken,index,whole"), &to).run().await;
    outcome.assert_failures(3, 2, 0);
    outcome.assert_failed(&source.reference("team/app", "broken"), &format!("{to}:broken"), &["404"]);
    outcome.assert_failed(&source.reference("team/app", "index"), &format!("{to}:index"), &["404"]);
    assert_eq!(destination.tags("moved/app"), ["whole"]);
}

#[tokio::test]
async fn a_tag_that_names_something_else_is_moved() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    destination.put("moved/app", "1.0", &small(2));
    let migration = Migration::new().app_tags(&source, "1.0", &destination);
    migration.run().await.assert_success(1);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
}

#[tokio::test]
async fn what_is_there_already_is_not_refused_for_a_digest_that_the_source_tells_wrongly() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    destination.put("moved/app", "1.0", &small(1));
    let wrong = source.on(Kind::ManifestHead, Action::header("Docker-Content-Digest", &digest_of(b"another")));
    let migration = Migration::new().app_tags(&source, "1.0", &destination).args(["--no-clobber"]);
    migration.run().await.assert_success(1);
    assert_eq!((wrong.hits(), destination.count(Kind::ManifestPut)), (1, 0));
}

#[tokio::test]
async fn where_pulls_are_counted_a_tag_is_read_whose_digest_is_told_wrongly() {
    let (source, destination) = two_registries().await;
    let left = Action::header("ratelimit-remaining", "76;w=21600");
    source.on(Matcher::any(), Action::header("ratelimit-limit", "100;w=21600").and(left));
    let nothing = digest_of(b"nothing");
    source.on(Kind::ManifestHead, Action::header("docker-content-digest", &nothing));
    for seed in 0..3 {
        source.put("team/app", &format!("v{seed}"), &small(seed));
    }
    Migration::new().app(&source, &destination).args(["-w", "1"]).run().await.assert_success(3);
    for tag in ["v0", "v1", "v2"] {
        assert_same((&source, "team/app", tag), (&destination, "moved/app", tag));
    }
    assert!(source.count(Kind::ManifestHead) > 0, "its digest is asked for first");
    assert!(!source.requests_of(Kind::ManifestGet.of(&nothing)).is_empty());
}

#[tokio::test]
async fn uploads_go_where_the_registry_says() {
    let source = Registry::open().await;
    source.put("team/app", "1.0", &large(1));
    let destination = Registry::builder().relative_locations().start().await;
    let migration = Migration::new().app_tags(&source, "1.0", &destination);
    migration.run().await.assert_success(1);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
}
