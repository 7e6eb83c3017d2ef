//! `skopeo` as a witness of what a registry holds.

use sha2::{Digest, Sha256};
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
    let hash: [u8; 32] = Sha256::digest(raw(registry, reference).await).into();
    format!("sha256:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
