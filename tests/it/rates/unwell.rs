//! A registry that fails, for reasons of its own, is not asked by everybody again and again.

use scriptable_registry::{Action, Answer, Kind, Matcher};

use super::{REQUESTS, logged, told, with_images};
use crate::support::{Migration, large, small, two_registries};

#[tokio::test]
async fn a_registry_that_is_unwell_is_asked_once_by_each_task() {
    let (source, _destination, migration) = with_images(300, small).await;
    source.on(Kind::ManifestGet, Answer::status(503));
    let outcome = migration.run().await;
    outcome.assert_failures(300, 300, 0);
    // And those of the bursts before that was known.
    assert!(source.count(Kind::ManifestGet) <= 300 + 2 * REQUESTS, "{}", source.count(Kind::ManifestGet));
}

#[tokio::test]
async fn where_every_upload_fails_that_is_found_out_once_and_told_now_and_then() {
    let (_source, destination, migration) = with_images(400, small).await;
    let full = Answer::error(500, "UNKNOWN", "no space left on device");
    destination.on(Matcher::any_of([Kind::UploadStart, Kind::Mount]), full);
    let outcome = migration.run().await;
    outcome.assert_failures(400, 400, 0);
    let asked = destination.count(Kind::UploadStart) + destination.count(Kind::Mount);
    // Two blobs each; and those that were repeated before it was known.
    assert!(asked <= 2 * 400 + 10 * REQUESTS, "{asked}");
    assert!(logged(&outcome, "trying again").len() <= 20, "{outcome}");
    assert!(told(&outcome, "the registry fails all such requests") > 0, "{outcome}");
}

#[tokio::test]
async fn a_repository_that_is_unwell_keeps_no_other_from_its_success() {
    for (status, late) in [(503, 1500), (500, 500)] {
        let (source, destination) = two_registries().await;
        for seed in 0..40 {
            source.put(&format!("team/app{}", seed % 2), &format!("v{seed}"), &large(seed));
        }
        destination.on(Kind::ManifestPut.within("moved/app0"), Answer::status(status));
        // These come when nobody has hope for the others any more, or while they are tried again.
        source.on(Kind::BlobGet.within("team/app1"), Action::Delay(std::time::Duration::from_millis(late)));
        let rule = |migration: Migration, name: &str| {
            migration.rule(format!("{}/team/{name}", source.host()), format!("{}/moved/{name}", destination.host()))
        };
        let outcome = rule(rule(Migration::new(), "app0"), "app1").run().await;
        outcome.assert_failures(40, 20, 0);
        assert_eq!(destination.tags("moved/app1").len(), 20, "{outcome}");
    }
}
