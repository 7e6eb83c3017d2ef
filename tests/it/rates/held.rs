//! What is held back costs nothing until its time has come.

use scriptable_registry::Kind;

use super::{slow_down, with_images};
use crate::support::large;

#[tokio::test]
async fn while_uploads_are_left_alone_none_is_opened_and_nothing_is_read_for_one() {
    let (source, destination, migration) = with_images(4, large).await;
    // Longer than an upload may be silent.
    destination.on(Kind::UploadFinish.once(), slow_down(21));
    migration.args(["-w", "1"]).run().await.assert_success(4);
    let sent = destination.count(Kind::UploadFinish);
    assert_eq!((source.count(Kind::BlobGet), sent), (8 + 1, 8 + 1));
    // That which was refused.
    assert!(destination.open_uploads() <= 1, "{}", destination.open_uploads());
}

#[tokio::test]
async fn what_is_there_already_does_not_wait_until_uploads_may_be_sent() {
    let (source, destination, migration) = with_images(3, large).await;
    source.put("team/app", "first", &large(9));
    // As an interrupted run leaves it.
    for seed in 0..3 {
        destination.put("moved/app", &format!("v{seed}"), &large(seed));
        assert!(destination.remove_manifest("moved/app", &format!("v{seed}")));
        assert!(destination.has_blob("moved/app", &large(seed).layers()[0]));
    }
    destination.put("moved/app", "other", &large(20));
    destination.on(Kind::UploadFinish, slow_down(7200));
    let outcome = migration.args(["-w", "1"]).run().await;
    outcome.assert_failures(4, 1, 0);
    assert!(destination.count(Kind::UploadFinish) == 1, "{outcome}");
}
