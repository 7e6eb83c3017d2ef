//! Manifests that are refused in words that may mean anything.

use std::sync::Arc;

use scriptable_registry::{Answer, Hook, Image, Index, Kind, Manifest, Matcher, Registry, Request};

use super::layer;
use crate::support::{GENERATE, HANDLE, Migration, RETRY_HANDLE, assert_same, large, small, summary, when};

/// Has manifests refused in these words where their repository lacks a blob.
fn refuse_without(destination: &Arc<Registry>, blob: String, words: Answer) -> Hook {
    let weak = Arc::downgrade(destination);
    destination.on_each(Kind::ManifestPut, move |request| {
        let is_there = weak.upgrade()?.has_blob(request.repository.as_deref()?, &blob);
        (!is_there).then(|| words.clone().into())
    })
}

/// As Quay says that a blob is missing.
fn invalid() -> Answer {
    Answer::error(400, "MANIFEST_INVALID", "manifest invalid")
}

/// One of many that share a layer.
fn sharing(seed: u64) -> Image {
    large(1).layer_of(seed + 10, 1_000)
}

#[tokio::test]
async fn a_shared_part_that_vanishes_is_sent_again_in_whatever_words_its_manifests_are_refused() {
    for words in [invalid(), Answer::status(400), Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown")] {
        let (source, destination) = (Registry::open().await, Arc::new(Registry::open().await));
        for seed in 0..12 {
            source.put("team/app", &format!("v{seed}"), &sharing(seed));
        }
        let lost = when(&destination, Kind::ManifestPut.once(), |registry| {
            assert!(registry.remove_blob("moved/app", &layer(1)));
        });
        refuse_without(&destination, layer(1), words);
        Migration::new().app(&source, &destination).run().await.assert_success(12);
        assert_eq!(lost.hits(), 1);
        assert_eq!(destination.requests_of(Kind::UploadFinish.of(&layer(1))).len(), 2);
        for seed in 0..12 {
            let tag = format!("v{seed}");
            assert_same((&source, "team/app", &tag), (&destination, "moved/app", &tag));
        }
    }
}

#[tokio::test]
async fn what_was_mounted_and_is_not_there_is_sent_in_whatever_words_its_manifest_is_refused() {
    for is_one_registry in [false, true] {
        let destination = Arc::new(Registry::open().await);
        let source = if is_one_registry { destination.clone() } else { Arc::new(Registry::open().await) };
        let granted = Answer::status(201).header("Location", "/v2/moved/app/blobs/somewhere");
        let lie = destination.on(Kind::Mount.filter(|mount: &Request| mount.from != mount.repository), granted);
        refuse_without(&destination, layer(1), invalid());
        let mut migration = Migration::new();
        for seed in 0..6 {
            source.put(&format!("team/app{seed}"), "1", &sharing(seed));
            let to = format!("{}/moved/app{seed}", destination.host());
            migration = migration.rule(source.reference(&format!("team/app{seed}"), "1"), to);
        }
        migration.run().await.assert_success(6);
        assert!(lie.hits() > 0);
        for seed in 0..6 {
            let [from, to] = ["team", "moved"].map(|group| format!("{group}/app{seed}"));
            assert_same((&source, &from, "1"), (&destination, &to, "1"));
        }
    }
}

#[tokio::test]
async fn a_child_that_vanishes_is_put_again_though_it_is_called_unknown() {
    let (source, destination) = (Registry::open().await, Arc::new(Registry::open().await));
    let index = Index::new().image(&large(1)).image(&small(2));
    source.put("team/app", "1.0", &index);
    let child = index.build().children[1].digest.clone();
    let gone = child.clone();
    let vanished = when(&destination, Kind::ManifestPut.of("1.0").once(), move |registry| {
        assert!(registry.remove_manifest("moved/app", &gone));
    });
    let weak = Arc::downgrade(&destination);
    destination.on_each(Kind::ManifestPut.of("1.0"), move |_| {
        let is_there = weak.upgrade()?.manifest("moved/app", &child).is_some();
        (!is_there).then(|| Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown").into())
    });
    Migration::new().app_tags(&source, "1.0", &destination).run().await.assert_success(1);
    assert_eq!(vanished.hits(), 1);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
}

#[tokio::test]
async fn what_vanishes_again_and_again_is_sent_by_the_next_round_and_no_format_is_advised() {
    let (source, destination) = (Registry::open().await, Arc::new(Registry::open().await));
    source.put("team/app", "1.0", &large(1));
    let lost = when(&destination, Kind::ManifestPut.times(4), |registry| {
        assert!(registry.remove_blob("moved/app", &layer(1)), "it was not sent again");
    });
    refuse_without(&destination, layer(1), invalid());
    let migration = Migration::with_default_retries().args(["--retries", "1"]).app_tags(&source, "1.0", &destination);
    let outcome = migration.run().await;
    outcome.assert(0, &[GENERATE, HANDLE, RETRY_HANDLE, &summary(1, 0, 0)]);
    assert_eq!(lost.hits(), 4);
    assert!(!outcome.log.as_ref().unwrap().contains("--format"), "{outcome}");
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
}

#[tokio::test]
async fn where_no_head_is_answered_nothing_is_taken_for_missing() {
    let child = large(1).digest();
    for (status, refused) in [(403, "1.0"), (405, "1.0"), (403, &child), (405, &child)] {
        let (source, destination) = (Registry::open().await, Registry::open().await);
        source.put("team/app", "1.0", &Index::new().image(&large(1)));
        destination.on(Matcher::any_of([Kind::BlobHead, Kind::ManifestHead]), Answer::status(status));
        let refusal = destination.on(Kind::ManifestPut.of(refused), invalid());
        let outcome = Migration::new().app_tags(&source, "1.0", &destination).run().await;
        outcome.assert_failures(1, 1, 0);
        assert!(outcome.stderr.contains("--format docker"), "{outcome}");
        let sent = destination.requests_of(Kind::UploadFinish.of(&layer(1))).len();
        assert_eq!((refusal.hits(), sent), (1, 1), "{status} {refused}: {outcome}");
    }
}

#[tokio::test]
async fn manifests_that_are_refused_for_what_they_are_are_not_all_looked_into() {
    let (source, destination) = (Registry::open().await, Registry::open().await);
    for seed in 0..40 {
        source.put("team/app", &format!("v{seed}"), &small(seed).oci());
    }
    destination.on(Kind::ManifestPut, invalid());
    let migration = Migration::with_default_retries().args(["--retries", "2"]).app(&source, &destination);
    let outcome = migration.run().await;
    outcome.assert(1, &[GENERATE, HANDLE, RETRY_HANDLE, RETRY_HANDLE, &summary(40, 40, 0)]);
    assert!(outcome.lines("FAILED").iter().all(|line| line.contains("--format docker")), "{outcome}");
    // Three of them, of two blobs each; and each is put once a round.
    let asked = [Kind::BlobHead, Kind::ManifestPut, Kind::UploadFinish].map(|kind| destination.count(kind));
    assert_eq!(asked, [6, 120, 80]);
}

#[tokio::test]
async fn a_manifest_that_is_too_large_for_its_destination_is_put_once() {
    let (source, destination) = (Registry::open().await, Registry::open().await);
    for seed in 0..2 {
        source.put(&format!("team/app{seed}"), "1.0", &small(seed));
    }
    destination.on(Kind::ManifestPut.within("moved/app0"), Answer::status(413));
    let rule = |seed| (format!("{}/team/app{seed}", source.host()), format!("{}/moved/app{seed}", destination.host()));
    let ([one, other], migration) = ([rule(0), rule(1)], Migration::with_default_retries());
    let outcome = migration.rule(one.0, one.1).rule(other.0, other.1).run().await;
    outcome.assert(1, &[GENERATE, HANDLE, &summary(2, 1, 0)]);
    let to = format!("{}/moved/app0:1.0", destination.host());
    outcome.assert_failed(&source.reference("team/app0", "1.0"), &to, &["413", "limits the size of requests"]);
    assert_eq!(destination.requests_of(Kind::ManifestPut.within("moved/app0")).len(), 1);
}
