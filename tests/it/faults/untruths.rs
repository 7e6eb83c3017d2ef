//! What a destination says that it has, and has not.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use scriptable_registry::{Action, Answer, Index, Kind, Manifest, Matcher, Mounts, Registry, Request};

use super::{assert_overcome, layer};
use crate::support::{
    GENERATE, HANDLE, LARGE, Migration, RETRY_HANDLE, assert_same, large, small, summary, two_registries, when,
};

#[tokio::test]
async fn a_mount_that_is_refused_is_no_failure() {
    let refusals = [400, 401, 403, 404, 405].map(Mounts::Refused);
    for mounts in [Mounts::Ignored, Mounts::AfterManifest].into_iter().chain(refusals) {
        let source = Registry::open().await;
        let destination = Registry::builder().mounts(mounts).start().await;
        source.put("team/app", "1.0", &large(1));
        source.put("team/other", "1.0", &large(1).layer("more"));
        let migration = Migration::new()
            .app_tags(&source, "1.0", &destination)
            .rule(source.reference("team/other", "1.0"), format!("{}/moved/other", destination.host()));
        assert_overcome(&source, &destination, &migration).await;
        let asked = destination.requests_of(Kind::Mount.of(&layer(1)));
        assert!(asked.iter().any(|mount| mount.from != mount.repository), "{mounts:?}: {asked:?}");
    }
}

/// The answer to a mount that was made.
fn granted() -> Answer {
    Answer::status(201).header("Location", "/v2/moved/app/blobs/somewhere")
}

/// Asserts that two images that share a layer arrive, in a repository each that is empty or has a tag already.
async fn assert_arrive_sharing(destination: &Registry, has_tags: bool) {
    let source = Registry::open().await;
    source.put("team/app", "1.0", &large(1).layer("app"));
    source.put("team/other", "1.0", &large(1).layer("other"));
    if has_tags {
        destination.put("moved/app", "old", &small(8));
        destination.put("moved/other", "old", &small(9));
    }
    let migration = Migration::new()
        .app_tags(&source, "1.0", destination)
        .rule(source.reference("team/other", "1.0"), format!("{}/moved/other", destination.host()));
    assert_overcome(&source, destination, &migration).await;
}

#[tokio::test]
async fn a_mount_that_is_granted_and_not_made_is_not_believed() {
    for has_tags in [false, true] {
        let source = Registry::open().await;
        // It would not tell that anything is missing.
        let destination = Registry::builder().takes_incomplete_manifests().start().await;
        source.put("team/app", "1.0", &large(1));
        if has_tags {
            destination.put("moved/app", "old", &small(9));
        }
        destination.on(Kind::Mount, granted());
        let migration = Migration::new().app_tags(&source, "1.0", &destination);
        migration.run().await.assert_success(1);
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
        assert!(destination.count(Kind::Mount) > 0);
    }
}

#[tokio::test]
async fn a_registry_where_no_mount_tells_what_is_there_is_asked_for_one_and_not_sent_what_it_has() {
    for (mounts, left_open) in [(Mounts::Ignored, 1), (Mounts::Refused(405), 0)] {
        let source = Registry::open().await;
        let destination = Registry::builder().mounts(mounts).start().await;
        let image = (2..6).fold(large(1), |image, seed| image.layer_of(seed, LARGE));
        source.put("team/app", "1.0", &image);
        destination.put("moved/app", "old", &small(9));
        for blob in image.build().blobs() {
            destination.put_blob("moved/app", source.blob("team/app", &blob).unwrap());
        }
        let migration = Migration::new().app_tags(&source, "1.0", &destination).args(["-w", "1"]);
        migration.run().await.assert_success(1);
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
        let seen = [Kind::Mount, Kind::UploadStart, Kind::UploadFinish].map(|kind| destination.count(kind));
        assert_eq!((seen, destination.open_uploads()), ([1, 0, 0], left_open), "{mounts:?}");
    }
}

#[tokio::test]
async fn a_mount_from_another_repository_that_is_granted_and_not_made_is_not_believed() {
    for has_tags in [false, true] {
        let destination = Registry::open().await;
        let lie = destination.on(Kind::Mount, granted());
        assert_arrive_sharing(&destination, has_tags).await;
        assert!(lie.hits() > 0);
    }
}

#[tokio::test]
async fn a_mount_from_the_source_that_is_granted_and_not_made_is_not_believed() {
    for has_tags in [false, true] {
        let registry = Registry::open().await;
        registry.put("team/app", "1.0", &large(1));
        if has_tags {
            registry.put("moved/app", "old", &small(9));
        }
        let lie = registry.on(Kind::Mount, granted());
        let migration = Migration::new().app_tags(&registry, "1.0", &registry);
        migration.run().await.assert_success(1);
        assert!(lie.hits() > 0);
        assert_same((&registry, "team/app", "1.0"), (&registry, "moved/app", "1.0"));
    }
}

#[tokio::test]
async fn a_part_that_vanishes_before_its_manifest_is_put_is_sent_again() {
    for has_tags in [false, true] {
        let (source, destination) = (Registry::open().await, Arc::new(Registry::open().await));
        let image = large(1);
        source.put("team/app", "1.0", &image);
        if has_tags {
            destination.put("moved/app", "old", &small(9));
        }
        let [layer, config] = [layer(1), image.config_digest()];
        let (gone, put) = ([layer.clone(), config.clone()], Kind::ManifestPut.of("1.0").once());
        let hook = when(&destination, put, move |registry| {
            assert!(gone.iter().all(|digest| registry.remove_blob("moved/app", digest)));
        });
        let migration = Migration::new().app_tags(&source, "1.0", &destination);
        migration.run().await.assert_success(1);
        assert_eq!(hook.hits(), 1);
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
        let puts = destination.requests_of(Kind::ManifestPut.of("1.0"));
        assert_eq!(puts.iter().map(|put| put.status).collect::<Vec<_>>(), [Some(400), Some(201)]);
        for digest in [layer, config] {
            assert_eq!(destination.requests_of(Kind::UploadFinish.of(&digest)).len(), 2, "has tags: {has_tags}");
        }
    }
}

/// As where a replica lags behind: what was sent is there.
#[tokio::test]
async fn what_was_sent_is_not_sent_again_because_a_registry_misses_it_for_a_moment() {
    let source = Registry::open().await;
    let destination = Registry::builder().mounts(Mounts::Ignored).start().await;
    source.put("team/app", "1.0", &large(1).layer_of(2, 300_000));
    let missing = Answer::error(404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
    let hook = destination.on(Kind::ManifestPut.times(2), missing);
    Migration::new().app_tags(&source, "1.0", &destination).run().await.assert_success(1);
    assert_eq!((hook.hits(), destination.count(Kind::UploadFinish)), (2, 3));
}

#[tokio::test]
async fn what_is_said_of_one_tag_in_a_retry_round_is_not_said_of_another() {
    let (source, destination) = two_registries().await;
    for (seed, tag) in ["a", "b", "c"].into_iter().enumerate() {
        source.put("team/app", tag, &small(seed as u64));
    }
    // Only one of them arrives in the first round.
    let late = |request: &Request| matches!(request.reference.as_deref(), Some("b" | "c"));
    source.on(Kind::ManifestGet.filter(late).times(2), Answer::error(404, "MANIFEST_UNKNOWN", "not yet"));
    destination.on(Kind::TagList, Answer::status(405));
    // The first question of the second, and every other of that tag.
    let (asked, first) = (AtomicU64::new(0), OnceLock::new());
    let refused = move |request: &Request| {
        late(request)
            && asked.fetch_add(1, Relaxed) >= 2
            && first.get_or_init(|| request.reference.clone()) == &request.reference
    };
    let refusal = Answer::error(400, "TAG_INVALID", "not this one");
    destination.on(Matcher::any_of([Kind::ManifestHead, Kind::ManifestGet]).filter(refused), refusal);
    let migration = Migration::with_default_retries().args(["--retries", "1"]).app_tags(&source, "a,b,c", &destination);
    migration.run().await.assert(1, &[GENERATE, HANDLE, RETRY_HANDLE, &summary(3, 1, 0)]);
}

#[tokio::test]
async fn that_parts_are_missing_once_is_no_word_on_mounts() {
    let (source, destination) = two_registries().await;
    let mut migration = Migration::new().args(["-w", "1"]);
    for n in 0..12 {
        source.put(&format!("team/app{n}"), "1", &large(1).layer_of(n + 10, 1_000));
        let to = format!("{}/moved/app{n}", destination.host());
        migration = migration.rule(source.reference(&format!("team/app{n}"), "1"), to);
    }
    let missing = Answer::error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
    destination.on(Kind::ManifestPut.once(), missing);
    migration.run().await.assert_success(12);
    let mounted = |mount: &Request| mount.status == Some(201) && mount.from != mount.repository;
    let mounts = destination.requests_of(Kind::Mount.of(&layer(1))).into_iter().filter(mounted).count();
    assert!(mounts >= 10, "{mounts}");
}

#[tokio::test]
async fn a_part_that_vanishes_between_two_tags_of_one_image_is_sent_again() {
    let (source, destination) = (Registry::open().await, Arc::new(Registry::open().await));
    source.put("team/app", "1", &large(1));
    source.put("team/app", "1.0", &large(1));
    let hook = when(&destination, Kind::ManifestPut.nth(2), |registry| {
        assert!(registry.remove_blob("moved/app", &layer(1)));
    });
    let migration = Migration::new().app_tags(&source, "1,1.0", &destination);
    migration.run().await.assert_success(2);
    assert_eq!(hook.hits(), 1);
    for tag in ["1", "1.0"] {
        assert_same((&source, "team/app", tag), (&destination, "moved/app", tag));
    }
}

#[tokio::test]
async fn a_child_that_vanishes_before_its_index_is_put_is_put_again() {
    for with_blobs in [false, true] {
        let (source, destination) = (Registry::open().await, Arc::new(Registry::open().await));
        let index = Index::new().image(&large(1)).index(&Index::new().image(&small(2)));
        source.put("team/app", "1.0", &index);
        let [image, inner] = index.build().children.try_into().unwrap();
        let children = [image.digest, inner.digest, small(2).digest()];
        let gone = children.clone();
        let hook = when(&destination, Kind::ManifestPut.of("1.0").once(), move |registry| {
            assert!(gone.iter().all(|digest| registry.remove_manifest("moved/app", digest)));
            assert!(!with_blobs || registry.remove_blob("moved/app", &layer(1)));
        });
        let migration = Migration::new().app_tags(&source, "1.0", &destination);
        migration.run().await.assert_success(1);
        assert_eq!(hook.hits(), 1);
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
        for child in children {
            let puts = destination.requests_of(Kind::ManifestPut.of(&child));
            assert_eq!(puts.iter().filter(|put| put.succeeded()).count(), 2, "{child}");
        }
    }
}

#[tokio::test]
async fn a_destination_that_tells_little_of_what_it_has_is_written_to() {
    let digest = "docker-content-digest";
    let actions: [(Matcher, Action); 7] = [
        (Kind::TagList.into(), Answer::error(403, "DENIED", "you may not list").into()),
        (Matcher::any_of([Kind::ManifestHead, Kind::BlobHead]), Answer::status(403).into()),
        (Matcher::any_of([Kind::ManifestHead, Kind::BlobHead]), Answer::status(405).into()),
        (Matcher::any_of([Kind::ManifestHead, Kind::BlobHead]), Answer::status(501).into()),
        (Matcher::any_of([Kind::ManifestHead, Kind::BlobHead]), Answer::status(400).into()),
        (Kind::ManifestHead.into(), Action::remove_header(digest)),
        (Matcher::any_of([Kind::ManifestHead, Kind::ManifestGet, Kind::ManifestPut]), Action::remove_header(digest)),
    ];
    for (matcher, action) in actions {
        for has_tags in [false, true] {
            let destination = Registry::open().await;
            destination.on(matcher.clone(), action.clone());
            assert_arrive_sharing(&destination, has_tags).await;
        }
    }
}
