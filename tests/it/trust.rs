//! How much the destination's tags are trusted: `--force` and `--no-clobber`.

use std::sync::Arc;

use scriptable_registry::{Action, Answer, Gate, Image, Index, Kind, Registry};

use crate::support::{Migration, large, small, two_registries, when};

fn migration(source: &Registry, destination: &Registry) -> Migration {
    Migration::new().rule(format!("{}/app", source.host()), format!("{}/app", destination.host()))
}

#[tokio::test]
async fn force_brings_back_what_a_damaged_destination_lost() {
    let (source, destination) = two_registries().await;
    let image = large(1);
    source.put("app", "1", &image);
    source.put("app", "2", &Index::new().image(&small(2)).image(&small(3)));
    let migration = migration(&source, &destination);
    migration.run().await.assert_success(2);
    let (manifests, blobs) = (destination.manifests("app"), destination.blobs("app"));
    for blob in &blobs[..2] {
        assert!(destination.remove_blob("app", blob));
    }
    destination.clear_log();
    migration.run().await.assert_success(2);
    assert_eq!(destination.count(Kind::UploadFinish), 0, "the tags are right, and nothing else is looked at");
    let forced = migration.args(["--force"]).run().await;
    forced.assert_success(2);
    assert_eq!(destination.count(Kind::UploadFinish), 2, "only what is missing is sent\n{forced}");
    assert_eq!(destination.count(Kind::ManifestPut), manifests.len() as u64, "every manifest is put again\n{forced}");
    for tag in ["1", "2"] {
        assert_eq!(destination.missing("app", tag), Vec::<String>::new());
    }
}

/// Some say so of whatever is answered without a body.
#[tokio::test]
async fn a_blob_is_not_called_damaged_for_the_size_that_a_head_has() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &large(1));
    destination.put("app", "1", &large(1));
    let head = destination.on(Kind::BlobHead, Action::header("content-length", "7"));
    let outcome = migration(&source, &destination).args(["--force"]).run().await;
    outcome.assert_success(1);
    assert_eq!(destination.count(Kind::UploadFinish), 2, "they are sent, since nothing is known\n{outcome}");
    // Nor for one that is of what something on the way makes of it.
    head.remove();
    destination
        .on(Kind::BlobHead, Action::header("content-length", "7").and(Action::header("content-encoding", "gzip")));
    destination.clear_log();
    let outcome = migration(&source, &destination).args(["--force"]).run().await;
    outcome.assert_success(1);
    assert_eq!((destination.count(Kind::BlobHead), destination.count(Kind::UploadFinish)), (2, 0), "{outcome}");
}

#[tokio::test]
async fn no_clobber_leaves_a_tag_that_names_something_else() {
    let (source, destination) = two_registries().await;
    let moved = source.put("app", "1", &small(1));
    source.put("app", "2", &small(2));
    source.put("app", "3", &small(3));
    destination.put("app", "2", &small(2));
    let kept = destination.put("app", "1", &small(9));
    let migration = Migration::with_default_retries()
        .rule(format!("{}/app", source.host()), format!("{}/app", destination.host()))
        .args(["--no-clobber"]);
    // It is not tried again: nothing would change.
    let outcome = migration.run().await;
    outcome.assert_failures(3, 1, 0);
    outcome.assert_line("FAILED ", &["app:1", "--no-clobber", &kept, &moved]);
    assert_eq!(destination.digest("app", "1"), Some(kept));
    assert!(destination.digest("app", "3").is_some());
}

#[tokio::test]
async fn a_tag_that_appears_during_the_run_keeps_no_other_tag_of_its_image_from_being_written() {
    let (source, destination) = (Registry::open().await, Arc::new(Registry::open().await));
    for tag in ["1", "2"] {
        source.put("app", tag, &small(1));
    }
    when(&destination, Kind::UploadFinish.once(), |registry| _ = registry.put("app", "1", &small(9)));
    let migration = migration(&source, &destination).args(["--no-clobber", "-w", "1"]);
    migration.run().await.assert_failures(2, 1, 0);
    assert_ne!(destination.digest("app", "1"), source.digest("app", "1"));
    assert_eq!(destination.digest("app", "2"), source.digest("app", "2"));
}

#[tokio::test]
async fn no_clobber_sees_a_tag_that_appears_during_the_run() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &Image::new("linux/amd64").layer_of(1, 1000));
    let gate = Gate::closed();
    destination.on(Kind::UploadFinish.once(), gate.clone());
    let migration = migration(&source, &destination).args(["--no-clobber"]);
    let mut running = migration.start().await;
    running.until(&destination, Kind::UploadFinish, 1).await;
    let kept = destination.put("app", "1", &small(9));
    gate.open();
    let outcome = running.finish().await;
    outcome.assert_failures(1, 1, 0).assert_line("FAILED ", &["--no-clobber", &kept]);
    assert_eq!(destination.digest("app", "1"), Some(kept));
}

/// Some registries forbid the look at what may be written, and some say so of what is absent.
#[tokio::test]
async fn no_clobber_writes_over_nothing_that_it_may_not_see() {
    let (source, destination) = two_registries().await;
    source.put("app", "1", &small(1));
    source.put("app", "2", &small(2));
    let kept = destination.put("app", "1", &small(9));
    destination.on(Kind::ManifestHead, Answer::status(403));
    destination.on(Kind::ManifestGet, Answer::status(403));
    let migration = migration(&source, &destination).args(["--no-clobber"]);
    let outcome = migration.run().await;
    outcome.assert_failures(2, 1, 0);
    outcome.assert_line("FAILED ", &["app:1", "403"]);
    assert_eq!(destination.digest("app", "1"), Some(kept));
    assert_eq!(destination.digest("app", "2"), source.digest("app", "2"), "the list says that it is absent");
}

#[tokio::test]
async fn force_and_no_clobber_contradict_each_other() {
    let outcome = Migration::new().args(["--force", "--no-clobber"]).run().await;
    outcome.assert_refused(&["--force", "--no-clobber"]);
}
