//! What is too large for one request is sent in others, and the way that worked is remembered.

use std::sync::Arc;
use std::time::Duration;

use scriptable_registry::{Action, Answer, Image, Kind, Matcher, Registry, Request, profiles};
use serde_json::json;

use super::{MIB, image_of};
use crate::support::{LARGE, Migration, Outcome, PASSWORD, USER, assert_same, large, when};

/// The chunks that a registry took, as their Content-Range tells them: the last run of them that begins at 0.
fn chunks(registry: &Registry) -> Vec<String> {
    let taken = registry.requests_of(Kind::UploadChunk.filter(|request| request.header("content-range").is_some()));
    let taken = taken.iter().filter(|request| request.succeeded());
    let ranges: Vec<String> = taken.filter_map(|request| Some(request.header("content-range")?.to_owned())).collect();
    let begin = ranges.iter().rposition(|range| range.starts_with("0-")).unwrap_or_default();
    ranges[begin..].to_vec()
}

fn ranges(sizes: &[u64]) -> Vec<String> {
    let mut at = 0;
    let range = |size: &u64| {
        at += size;
        format!("{}-{}", at - size, at - 1)
    };
    sizes.iter().map(range).collect()
}

fn refused(request: &Request) -> bool {
    request.status == Some(413)
}

/// A chunk after the first one.
fn later_chunk() -> Matcher {
    Kind::UploadChunk.filter(|request| request.header("content-range").is_some_and(|range| !range.starts_with("0-")))
}

/// The end of an upload in chunks.
fn last_request() -> Matcher {
    Kind::UploadFinish.filter(|request| request.header("content-length") == Some("0"))
}

/// The only layer of the image.
fn layer_of(source: &Registry) -> String {
    source.manifest("team/app", "1.0").unwrap().json()["layers"][0]["digest"].as_str().unwrap().to_owned()
}

/// Copies one layer of this size, which has to arrive.
async fn copy(size: u64, destination: &Registry) -> (Registry, Outcome) {
    let (source, migration) = image_of(size, destination).await;
    let outcome = migration.run().await;
    outcome.assert_success(1);
    assert_same((&source, "team/app", "1.0"), (destination, "moved/app", "1.0"));
    (source, outcome)
}

#[tokio::test]
async fn ghcr_gets_blobs_whole() {
    let destination = profiles::ghcr().start().await;
    copy(5 * MIB, &destination).await;
    assert_eq!(destination.count(Kind::UploadChunk), 0);
}

#[tokio::test]
async fn a_front_that_judges_stated_lengths_gets_a_stream() {
    let destination = profiles::length_checking_front(MIB).start().await;
    let (source, _) = copy(3 * MIB, &destination).await;
    let patches = destination.requests_of(Kind::UploadChunk);
    let [patch] = patches.as_slice() else { panic!("{patches:#?}") };
    assert!(patch.header("content-length").is_none() && patch.header("content-range").is_none());
    assert_eq!(source.count(Kind::BlobGet), 1 + 2);
}

#[tokio::test]
async fn a_length_of_nothing_beside_what_was_sent_in_parts_is_no_loss() {
    let destination = profiles::length_checking_front(MIB).start().await;
    destination.on(Kind::BlobHead, Action::header("content-length", "0"));
    copy(3 * MIB, &destination).await;
    assert_eq!(destination.count(Kind::UploadChunk), 1);
}

#[tokio::test]
async fn what_a_registry_lost_of_a_stream_is_sent_in_chunks() {
    let destination = profiles::length_checking_front(MIB).start().await;
    let lost = destination.on(Kind::BlobHead.once(), Action::header("content-length", "100"));
    let (_, outcome) = copy(3 * MIB, &destination).await;
    assert_eq!(lost.hits(), 1);
    assert!(!chunks(&destination).is_empty(), "{}", outcome.everything());
}

#[tokio::test]
async fn behind_nginx_a_blob_is_sent_in_chunks_that_fit() {
    let destination = profiles::nginx(MIB).start().await;
    let (source, _) = copy(3 * MIB + 5, &destination).await;
    assert_eq!(chunks(&destination), ranges(&[MIB, MIB, MIB, 5]));
    // Whole, as a stream, in chunks: no chunk that was too large had the source read again.
    assert_eq!(source.count(Kind::BlobGet), 1 + 3);
}

#[tokio::test]
async fn the_way_that_worked_is_remembered_for_the_registry() {
    let destination = profiles::nginx(MIB).start().await;
    let source = Registry::open().await;
    for seed in 0..3 {
        source.put("team/app", &format!("v{seed}"), &Image::new("linux/amd64").layer_of(seed, 2 * MIB));
        source.put("team/app", &format!("small{seed}"), &large(seed));
    }
    Migration::new().app(&source, &destination).args(["-w", "1"]).run().await.assert_success(6);
    // Whole, as a stream, 4 MiB is more than the blob has, and 2 MiB.
    let refusals = destination.requests().into_iter().filter(refused).count();
    assert_eq!(refusals, 3);
    for seed in 0..3 {
        assert_same((&source, "team/app", &format!("v{seed}")), (&destination, "moved/app", &format!("v{seed}")));
        // What fits in one request goes in one.
        let layer = &large(seed).layers()[0];
        let sent = destination.requests_of(Kind::UploadFinish.of(layer));
        assert_eq!(sent.iter().map(|put| put.received).collect::<Vec<_>>(), [LARGE]);
    }
}

#[tokio::test]
async fn seven_workers_learn_it_together() {
    let destination = profiles::nginx(MIB).start().await;
    let source = Registry::open().await;
    for seed in 0..8 {
        source.put("team/app", &format!("v{seed}"), &Image::new("linux/amd64").layer_of(seed, 2 * MIB));
    }
    Migration::new().app(&source, &destination).run().await.assert_success(8);
    for seed in 0..8 {
        assert_same((&source, "team/app", &format!("v{seed}")), (&destination, "moved/app", &format!("v{seed}")));
    }
}

#[tokio::test]
async fn a_chunk_that_exceeds_the_registrys_own_limit_is_halved() {
    let destination = profiles::ghcr().chunk_limit(2 * MIB).body_limit(5 * MIB).start().await;
    copy(6 * MIB, &destination).await;
    assert_eq!(chunks(&destination), ranges(&[2 * MIB, 2 * MIB, 2 * MIB]));
}

#[tokio::test]
async fn ecr_gets_parts_of_more_than_five_mebibytes() {
    let destination = profiles::ecr().body_limit(9 * MIB).start().await;
    destination.create("moved/app");
    copy(10 * MIB, &destination).await;
    assert_eq!(chunks(&destination), ranges(&[8 * MIB, 2 * MIB]));
}

/// A registry that takes so much in one request, nothing without a length, and no part of less than 5 MiB; it says so to
/// each part that is smaller, be it the last.
async fn with_a_minimum_for_every_chunk(limit: u64) -> Registry {
    let destination = Registry::open().await;
    let length = |request: &Request| request.header("content-length").and_then(|length| length.parse::<u64>().ok());
    let is_large = move |request: &Request| length(request).is_some_and(|length| length > limit);
    destination.on(Kind::UploadFinish.filter(is_large), Answer::status(413));
    destination.on(Kind::UploadChunk.filter(move |request| length(request).is_none()), Answer::status(411));
    let is_small = move |request: &Request| length(request).is_some_and(|length| length < 5 * MIB);
    let refusal = Answer::error(416, "SIZE_INVALID", "the chunk is too small, the minimum is 5242880 bytes");
    destination.on(Kind::UploadChunk.filter(is_small), refusal);
    destination
}

#[tokio::test]
async fn what_is_left_and_too_small_for_a_chunk_comes_with_the_end() {
    let destination = with_a_minimum_for_every_chunk(2 * MIB).await;
    copy(9 * MIB, &destination).await;
    assert_eq!(chunks(&destination), ranges(&[8 * MIB]));
    let last = destination.requests_of(Kind::UploadFinish.filter(|put| put.header("content-range").is_some()));
    assert_eq!(last.iter().map(|put| put.received).collect::<Vec<_>>(), [MIB]);
}

#[tokio::test]
async fn a_blob_that_is_too_small_for_a_chunk_and_too_large_without_is_a_failure() {
    let destination = with_a_minimum_for_every_chunk(100_000).await;
    let (source, migration) = image_of(LARGE, &destination).await;
    let outcome = migration.run().await;
    outcome.assert_failures(1, 1, 0);
    let to = format!("{}/moved/app:1.0", destination.host());
    outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &["413"]);
    // As a stream, as one chunk.
    assert_eq!(destination.count(Kind::UploadChunk), 2);
}

#[tokio::test]
async fn chunks_are_no_smaller_than_the_registry_says() {
    let destination = Registry::builder().announced_chunk_minimum(6 * MIB).body_limit(8 * MIB).start().await;
    copy(9 * MIB, &destination).await;
    assert_eq!(chunks(&destination), ranges(&[6 * MIB, 3 * MIB]));
}

#[tokio::test]
async fn tiny_blobs_are_sent_again_from_memory() {
    let destination = profiles::length_checking_front(1_500).start().await;
    let (source, _) = copy(2_000, &destination).await;
    assert_eq!(source.count(Kind::BlobGet), 2, "layer and configuration, once each");
}

#[tokio::test]
async fn what_a_registry_lost_of_the_chunks_is_noticed() {
    let destination = profiles::jfrog().body_limit(2 * MIB).start().await;
    let (source, migration) = image_of(5 * MIB, &destination).await;
    let outcome = migration.run().await;
    outcome.assert_failures(1, 1, 0);
    let to = format!("{}/moved/app:1.0", destination.host());
    outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &["no blob of this size"]);
    assert!(outcome.log.as_deref().unwrap().contains(&format!("{MIB} bytes came, expected {}", 5 * MIB)), "{outcome}");
    assert!(destination.tags("moved/app").is_empty());
}

#[tokio::test]
async fn a_limit_that_nothing_fits_is_said_so() {
    let destination = profiles::nginx(10_000).start().await;
    let (source, migration) = image_of(LARGE, &destination).await;
    let outcome = migration.run().await;
    outcome.assert_failures(1, 1, 0);
    let to = format!("{}/moved/app:1.0", destination.host());
    outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &["413", "limits the size of requests"]);
}

#[tokio::test]
async fn an_upload_in_chunks_goes_on_where_it_was_interrupted() {
    let actions: [Action; 3] = [Action::LoseAnswer, Answer::status(503).into(), Action::Drop];
    for action in actions {
        let destination = profiles::nginx(MIB).start().await;
        let (source, migration) = image_of(4 * MIB, &destination).await;
        let hook = destination.on(later_chunk().once(), action);
        let outcome = migration.run().await;
        outcome.assert_success(1);
        assert_eq!(hook.hits(), 1);
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
        assert_eq!(source.count(Kind::BlobGet), 1 + 3, "it was begun anew: {}", outcome.everything());
    }
}

/// Not every registry counts in the same way.
#[tokio::test]
async fn an_upload_in_chunks_of_which_another_part_is_said_to_be_there_is_begun_anew() {
    let destination = profiles::nginx(MIB).start().await;
    let (source, migration) = image_of(4 * MIB, &destination).await;
    destination.on(later_chunk().once(), Answer::status(503));
    let told = destination.on(Kind::UploadStatus.once(), Answer::status(204).header("Range", "0-99"));
    migration.run().await.assert_success(1);
    assert_eq!((told.hits(), source.count(Kind::BlobGet)), (1, 1 + 4));
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
}

#[tokio::test]
async fn an_upload_in_chunks_whose_session_is_lost_is_begun_anew() {
    for answer in [
        Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"),
        Answer::error(400, "BLOB_UPLOAD_INVALID", "blob upload invalid"),
        Answer::error(416, "RANGE_INVALID", "invalid content range"),
    ] {
        for matcher in [later_chunk(), last_request()] {
            let destination = profiles::nginx(MIB).start().await;
            let (source, migration) = image_of(3 * MIB, &destination).await;
            let hook = destination.on(matcher.once(), answer.clone());
            migration.run().await.assert_success(1);
            assert_eq!(hook.hits(), 1);
            assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
        }
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_between_chunks_is_renewed_and_none_is_sent_twice() {
    for matcher in [later_chunk(), last_request()] {
        let destination = Arc::new(profiles::nginx(MIB).bearer((USER, PASSWORD)).start().await);
        let (source, migration) = image_of(3 * MIB, &destination).await;
        let revoked = when(&destination, matcher.once(), Registry::revoke_tokens);
        let login = json!({ "username": USER, "password": PASSWORD });
        migration.auth(&json!({ destination.host(): login })).run().await.assert_success(1);
        assert_eq!(revoked.hits(), 1);
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
        assert_eq!(chunks(&destination), ranges(&[MIB, MIB, MIB]));
        assert_eq!(source.count(Kind::BlobGet), 1 + 3, "it was begun anew");
        assert_eq!(destination.count(Kind::UploadStatus), 0, "who refuses a token has taken nothing");
    }
}

/// As behind an nginx that keeps a body until it has all of it.
async fn with_short_tokens() -> Registry {
    Registry::builder().bearer((USER, PASSWORD)).token_lifetime(Duration::from_secs(2)).start().await
}

fn large_blob() -> Matcher {
    Kind::UploadFinish.filter(|put| put.header("content-length").and_then(|text| text.parse().ok()) > Some(100_000_u64))
}

#[tokio::test]
async fn a_blob_that_takes_longer_than_a_token_lasts_is_sent_in_chunks() {
    let destination = with_short_tokens().await;
    let kept = destination.on(large_blob(), Action::Delay(Duration::from_secs(3)));
    let (source, migration) = image_of(5 * MIB, &destination).await;
    let login = json!({ "username": USER, "password": PASSWORD });
    migration.auth(&json!({ destination.host(): login })).run().await.assert_success(1);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
    assert_eq!(kept.hits(), 1);
    assert_eq!(chunks(&destination), ranges(&[4 * MIB, MIB]));
}

#[tokio::test]
async fn a_blob_that_took_longer_than_a_token_lasts_goes_whole_where_chunks_are_refused() {
    let destination = with_short_tokens().await;
    let kept = destination.on(large_blob().once(), Action::Delay(Duration::from_secs(3)));
    let refused = destination.on(Kind::UploadChunk, Answer::status(405));
    let (source, migration) = image_of(5 * MIB, &destination).await;
    let login = json!({ "username": USER, "password": PASSWORD });
    migration.auth(&json!({ destination.host(): login })).run().await.assert_success(1);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
    assert_eq!((kept.hits(), refused.hits(), destination.requests_of(large_blob()).len()), (1, 1, 2));
}

#[tokio::test]
async fn damage_is_not_committed_in_any_portion() {
    for destination in [profiles::nginx(MIB).start().await, profiles::length_checking_front(MIB).start().await] {
        let (source, migration) = image_of(3 * MIB, &destination).await;
        let layer = layer_of(&source);
        source.damage_blob("team/app", &layer);
        let outcome = migration.run().await;
        outcome.assert_failures(1, 1, 0);
        assert!(!destination.has_blob("moved/app", &layer));
        assert!(destination.tags("moved/app").is_empty());
        // The registry never had to find it out: no upload of it was ended.
        let ended = destination.requests_of(Matcher::from(Kind::UploadFinish).of(&layer));
        assert!(
            ended.iter().all(|request| refused(request) || request.received < 3 * MIB && request.status != Some(400))
        );
    }
}

#[tokio::test]
async fn a_stream_that_fails_is_not_committed() {
    let destination = profiles::length_checking_front(MIB).start().await;
    let failed = destination.on(Kind::UploadChunk.once(), Answer::status(502));
    copy(3 * MIB, &destination).await;
    assert_eq!(failed.hits(), 1);
    let commits = destination.requests_of(last_request());
    assert_eq!(commits.iter().map(|put| put.status).collect::<Vec<_>>(), [Some(201)]);
}

#[tokio::test]
async fn a_stream_for_which_there_is_no_room_is_not_sent_in_another_way() {
    let destination = profiles::length_checking_front(MIB).start().await;
    destination.on(Kind::UploadChunk, Answer::error(413, "DENIED", "storage limit reached"));
    let (source, migration) = image_of(3 * MIB, &destination).await;
    let outcome = migration.run().await;
    outcome.assert_failures(1, 1, 0);
    let to = format!("{}/moved/app:1.0", destination.host());
    outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &["storage limit reached", "free space there"]);
    let read = source.requests_of(Kind::BlobGet.of(&layer_of(&source)));
    assert_eq!((destination.count(Kind::UploadChunk), read.len()), (1, 2), "{outcome}");
}

#[tokio::test]
async fn what_has_all_bytes_is_not_sent_again_because_its_end_comes_too_fast() {
    let destination = profiles::length_checking_front(MIB).start().await;
    let refused = destination.on(last_request().times(2), Answer::status(429).header("retry-after", "1"));
    copy(3 * MIB, &destination).await;
    assert_eq!((refused.hits(), destination.count(Kind::UploadChunk)), (2, 1));
}

#[tokio::test]
async fn a_chunk_is_not_waited_for_longer_than_anything_else() {
    let destination = profiles::nginx(MIB).start().await;
    let chunk = Kind::UploadChunk.filter(|request| request.header("content-range").is_some());
    destination.on(chunk, Answer::status(503).header("retry-after", "7200"));
    let (source, migration) = image_of(3 * MIB, &destination).await;
    let outcome = migration.run().await;
    outcome.assert_failures(1, 1, 0);
    let to = format!("{}/moved/app:1.0", destination.host());
    outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &["503"]);
}

#[tokio::test]
async fn failures_of_chunks_do_not_add_up_while_others_are_taken() {
    let destination = profiles::nginx(100_000).start().await;
    // Those that are too large come first: 2 MiB, 1 MiB, ... 128 KiB.
    let small = || Kind::UploadChunk.filter(|patch| patch.header("content-length") == Some("65536"));
    let failed: Vec<_> = (0..8).map(|n| destination.on(small().nth(2 * n + 1), Answer::status(500))).collect();
    let (source, _) = copy(MIB, &destination).await;
    assert_eq!(failed.iter().map(|hook| hook.hits()).sum::<u64>(), 8);
    assert_eq!(source.count(Kind::BlobGet), 1 + 3, "it was begun anew");
}

#[tokio::test]
async fn a_registry_that_takes_one_chunk_and_no_other_is_given_up() {
    let destination = profiles::nginx(MIB).start().await;
    let refused = destination.on(later_chunk(), Answer::status(429));
    let (_source, migration) = image_of(2 * MIB, &destination).await;
    let outcome = migration.run().await;
    outcome.assert_failures(1, 1, 0);
    outcome.assert_line("FAILED ", &["429"]);
    assert!(refused.hits() > 0, "{outcome}");
}

/// As container-registry 0.3 and other small ones, which know only how docker sends a blob.
#[tokio::test]
async fn a_registry_that_takes_bytes_only_by_patch_is_sent_them_so_after_one_refusal() {
    let has_bytes = |request: &Request| request.header("content-length").is_some_and(|length| length != "0");
    for refusal in [Answer::status(500).body("feature not supported: a last chunk"), Answer::status(405)] {
        let destination = Registry::open().await;
        let refused = destination.on(Kind::UploadFinish.filter(has_bytes), refusal);
        let (source, migration) = image_of(3 * MIB, &destination).await;
        let outcome = migration.args(["--workers", "1"]).run().await;
        outcome.assert_success(1);
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
        assert_eq!(refused.hits(), 1, "{outcome}");
        assert_eq!(destination.count(Kind::UploadChunk), 2, "{outcome}");
    }
}
