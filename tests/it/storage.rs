//! Bytes that a registry has elsewhere: redirects to its storage.

use scriptable_registry::{Answer, Kind, Port};

use crate::support::{GENERATE, HANDLE, Migration, RETRY_HANDLE, assert_same, large, small, summary, two_registries};

#[tokio::test]
async fn a_storage_that_cannot_be_reached_is_named_and_not_asked_for_by_everybody() {
    const IMAGES: u64 = 30;
    let (source, destination) = two_registries().await;
    for seed in 0..IMAGES {
        source.put("team/app", &format!("v{seed}"), &small(seed));
    }
    let nobody = Port::hold().address();
    source.on(Kind::BlobGet, Answer::status(307).header("Location", &format!("http://{nobody}/x?signature=s3cret")));
    let outcome = Migration::new().app(&source, &destination).run().await;
    outcome.assert_failures(IMAGES as usize, IMAGES as usize, 0);
    let words = format!("{nobody}, where it leads: cannot connect: ");
    assert!(outcome.lines("FAILED").iter().all(|line| line.contains(&words)), "{outcome}");
    assert!(!outcome.everything().contains("s3cret"), "{outcome}");
    // Each blob was asked for once. The registry, which is well, was not looked for.
    assert!(source.count(Kind::BlobGet) <= 2 * IMAGES, "{}", source.count(Kind::BlobGet));
    assert_eq!(source.count(Kind::Ping), 1);
}

#[tokio::test]
async fn a_storage_that_is_reached_in_the_next_round_is_asked_again() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    let nobody = format!("http://{}/x", Port::hold().address());
    let hook = source.on(Kind::BlobGet, Answer::status(307).header("Location", &nobody));
    let migration = Migration::with_default_retries().app_tags(&source, "1.0", &destination);
    let mut running = migration.start().await;
    running.until(&source, Kind::BlobGet, 2).await;
    hook.remove();
    running.finish().await.assert(0, &[GENERATE, HANDLE, RETRY_HANDLE, &summary(1, 0, 0)]);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
}
