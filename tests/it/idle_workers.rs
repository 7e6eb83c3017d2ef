//! No worker is idle while there is work.

use scriptable_registry::{Gate, Kind};

use crate::support::{Migration, large, two_registries};

#[tokio::test]
async fn images_that_all_wait_for_one_layer_do_not_keep_others_from_beginning() {
    // As many as are in progress at once with two workers.
    const WINDOW: u64 = 40;
    let (source, destination) = two_registries().await;
    let base = large(1);
    for n in 0..WINDOW {
        source.put("a/app", &format!("v{n}"), &base.clone().layer_of(1_000 + n, 100));
    }
    for n in 0..3 {
        source.put("z/app", &format!("v{n}"), &large(10 + n));
    }
    let gate = Gate::closed();
    source.on(Kind::BlobGet.of(&base.layers()[0]), gate.clone());
    let rule = |path: &str| (format!("{}/{path}", source.host()), format!("{}/{path}", destination.host()));
    let [(from, to), (other, place)] = ["a/app", "z/app"].map(rule);
    let migration = Migration::new().rule(from, to).rule(other, place).args(["--workers", "2"]);
    let mut running = migration.start().await;
    running.until(&destination, Kind::ManifestPut, 3).await;
    assert_eq!(destination.tags("z/app").len(), 3, "the others are there before the layer is");
    gate.open();
    running.finish().await.assert_success(WINDOW as usize + 3);
}
