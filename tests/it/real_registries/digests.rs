//! Layers named by SHA-512, which distribution takes in its own way: it names what it took by SHA-256, and says of a mount
//! that it was made, but links the blob under that other digest alone.

use scriptable_registry::digest_of;
use serde_json::json;
use sha2::{Digest as _, Sha512};

use super::OPEN;
use crate::support::docker_registry::{DockerRegistry, is_installed};
use crate::support::{Migration, http_client};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

fn sha512_of(bytes: &[u8]) -> String {
    let hex: String = Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha512:{hex}")
}

async fn push_blob(registry: &DockerRegistry, repository: &str, digest: &str, bytes: &[u8]) {
    let client = http_client();
    let start = format!("http://{}/v2/{repository}/blobs/uploads/", registry.host());
    let answer = client.post(start).header("content-length", 0).send().await.unwrap();
    let place = answer.headers()["location"].to_str().unwrap().to_owned();
    let answer = client.put(format!("{place}&digest={digest}")).body(bytes.to_vec()).send().await.unwrap();
    assert_eq!(answer.status(), 201, "{digest}");
}

/// An image with a layer that is named by SHA-512, under the tag 1 of a repository.
async fn push(registry: &DockerRegistry, repository: &str) {
    let (config, layer) = (br#"{"architecture":"amd64","os":"linux"}"#.as_slice(), b"a layer".repeat(100));
    let (by_sha256, by_sha512) = (digest_of(config), sha512_of(&layer));
    push_blob(registry, repository, &by_sha256, config).await;
    push_blob(registry, repository, &by_sha512, &layer).await;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": { "mediaType": CONFIG, "digest": by_sha256, "size": config.len() },
        "layers": [{ "mediaType": LAYER, "digest": by_sha512, "size": layer.len() }],
    });
    let place = format!("http://{}/v2/{repository}/manifests/1", registry.host());
    let put = http_client().put(place).header("content-type", MANIFEST).body(manifest.to_string());
    assert_eq!(put.send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn a_layer_that_is_named_by_sha512_arrives_at_the_first_try() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let (source, destination) = (DockerRegistry::start(OPEN).await, DockerRegistry::start(OPEN).await);
    push(&source, "team/a").await;
    let from = format!("{}/team/a", source.host());
    // To another registry, twice there, and to another repository of its own.
    let places = [format!("{}/x/a", destination.host()), format!("{}/x/b", destination.host())];
    let own = format!("{}/team/b", source.host());
    let rules = places.iter().fold(Migration::new(), |migration, place| migration.rule(&from, place));
    let outcome = rules.rule(&from, &own).args(["--workers", "1"]).run().await;
    outcome.assert_success(3);
    assert_eq!(outcome.lines(" WARN"), Vec::<&str>::new(), "{outcome}");
    for (registry, repository) in [(&destination, "x/a"), (&destination, "x/b"), (&source, "team/b")] {
        assert_eq!(registry.tag(repository, "1"), source.tag("team/a", "1"));
    }
    let verify = places.iter().fold(Migration::with_default_retries(), |migration, place| migration.rule(&from, place));
    let verified = verify.args(["verify", "--depth", "content"]).run().await;
    assert!(verified.stdout.contains("verified, 2 equal, 0 missing"), "{verified}");
}
