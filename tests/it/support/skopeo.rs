//! `skopeo` as a witness of what a registry holds.

use scriptable_registry::digest_of;
use tokio::process::Command;

use super::docker_registry::{DockerRegistry, PASSWORD, USER};

/// The manifest behind a tag or a digest, byte for byte: `inspect(&registry, "team/app:1")`.
pub async fn raw(registry: &DockerRegistry, reference: &str) -> Vec<u8> {
    let image = format!("docker://{}/{reference}", registry.host());
    let credentials = format!("{USER}:{PASSWORD}");
    let arguments = ["inspect", "--raw", "--tls-verify=false", "--creds", &credentials, &image];
    let output = Command::new("skopeo").args(arguments).output().await.unwrap();
    assert!(output.status.success(), "skopeo cannot see {image}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The digest of those bytes.
pub async fn digest(registry: &DockerRegistry, reference: &str) -> String {
    digest_of(&raw(registry, reference).await)
}

/// Reads all that belongs to an image and checks it against its digests.
pub async fn assert_complete(registry: &DockerRegistry, reference: &str) {
    let image = format!("docker://{}/{reference}", registry.host());
    let folder = tempfile::tempdir().unwrap();
    let to = format!("dir:{}", folder.path().display());
    let arguments = ["--insecure-policy", "copy", "--all", "--src-tls-verify=false", &image, &to];
    let output = Command::new("skopeo").args(arguments).output().await.unwrap();
    assert!(output.status.success(), "skopeo cannot copy {image}: {}", String::from_utf8_lossy(&output.stderr));
}
