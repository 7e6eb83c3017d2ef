//! A real registry behind a real nginx that takes bodies of one mebibyte.

use scriptable_registry::{Image, Registry};

use super::MIB;
use crate::support::docker_registry::{DockerRegistry, Options, is_installed};
use crate::support::nginx::Nginx;
use crate::support::{Migration, skopeo};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_nginx_that_limits_bodies_gets_them_in_parts() {
    if !is_installed(&["docker-registry", "skopeo", "nginx"]) {
        return;
    }
    let registry = DockerRegistry::start(Options::default()).await;
    let nginx = Nginx::start(&registry.host(), "1m").await;
    let source = Registry::open().await;
    let image =
        |seed| Image::new("linux/amd64").layer_of(seed, 5 * MIB + 3).layer_of(seed + 100, 900_000).layer("tiny");
    let digests = [1, 2, 3].map(|seed| source.put("team/app", &format!("v{seed}"), &image(seed)));
    let migration = Migration::new().rule(format!("{}/team/app", source.host()), format!("{}/moved/app", nginx.host()));
    migration.run().await.assert_success(3);
    for (tag, digest) in ["v1", "v2", "v3"].into_iter().zip(digests) {
        assert_eq!(skopeo::digest(&registry, &format!("moved/app:{tag}")).await, digest);
        skopeo::assert_complete(&registry, &format!("moved/app:{tag}")).await;
    }
    assert!(nginx.refusals() > 0, "the limit was never met");
}
