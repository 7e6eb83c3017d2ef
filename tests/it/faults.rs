//! What registries and networks do wrong, and that it stays with the image it concerns.

mod refused;
mod untruths;

use std::sync::Arc;
use std::time::Duration;

use scriptable_registry::{Action, Answer, Gate, Image, Index, Kind, Manifest, Matcher, Port, Registry, Request};
use serde_json::json;

use crate::support::{LARGE, Migration, Outcome, assert_same, large, small, two_registries, when};

/// Two registries and a migration of `team/app:1.0` and `team/other:1.0`, both large, without retry rounds.
async fn two_images() -> (Registry, Registry, Migration) {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    source.put("team/other", "1.0", &large(2));
    let migration = Migration::new()
        .app_tags(&source, "1.0", &destination)
        .rule(source.reference("team/other", "1.0"), format!("{}/moved/other", destination.host()));
    (source, destination, migration)
}

fn layer(seed: u64) -> String {
    large(seed).layers().remove(0)
}

/// Asserts that nothing but the first of the two images failed.
async fn assert_only_first_fails(source: &Registry, destination: &Registry, migration: &Migration, words: &[&str]) {
    let outcome = migration.run().await;
    outcome.assert_failures(2, 1, 0);
    let to = format!("{}/moved/app:1.0", destination.host());
    outcome.assert_failed(&source.reference("team/app", "1.0"), &to, words);
    assert!(destination.tags("moved/app").is_empty(), "a tag was written");
    assert_same((source, "team/other", "1.0"), (destination, "moved/other", "1.0"));
}

/// Asserts that both images arrive although something goes wrong on the way.
async fn assert_overcome(source: &Registry, destination: &Registry, migration: &Migration) {
    migration.run().await.assert_success(2);
    for name in ["app", "other"] {
        let (from, to) = (format!("team/{name}"), format!("moved/{name}"));
        assert_same((source, &from, "1.0"), (destination, &to, "1.0"));
    }
}

#[tokio::test]
async fn a_source_that_breaks_off_is_resumed_where_it_broke() {
    let (source, destination, migration) = two_images().await;
    source.on(Kind::BlobGet.of(&layer(1)).once(), Action::CutResponseAfter(100_000));
    assert_overcome(&source, &destination, &migration).await;
    let reads = source.requests_of(Kind::BlobGet.of(&layer(1)));
    assert_eq!(reads.len(), 2);
    let range = reads[1].header("range").expect("the rest is asked for");
    let from: u64 = range.trim_start_matches("bytes=").split('-').next().unwrap().parse().unwrap();
    assert!(from > 0 && from <= 100_000, "{range}");
    assert!(reads[1].sent <= LARGE - from);
}

#[tokio::test]
async fn a_source_that_breaks_off_again_and_again_is_resumed_each_time() {
    let (source, destination, migration) = two_images().await;
    let cut = source.on(Kind::BlobGet.of(&layer(1)).times(3), Action::CutResponseAfter(60_000));
    assert_overcome(&source, &destination, &migration).await;
    assert_eq!(cut.hits(), 3);
}

#[tokio::test]
async fn a_source_that_knows_no_ranges_is_read_from_its_beginning() {
    let (source, destination, migration) = two_images().await;
    source.on(Kind::BlobGet.of(&layer(1)).once(), Action::CutResponseAfter(100_000));
    let whole = source.blob("team/app", &layer(1)).unwrap();
    let from_its_beginning = source.on(Kind::BlobGet.of(&layer(1)).after(1), Answer::status(200).body(whole));
    assert_overcome(&source, &destination, &migration).await;
    assert_eq!(from_its_beginning.hits(), 1);
}

#[tokio::test]
async fn a_redirect_that_breaks_off_is_resumed_at_a_new_address() {
    let source = Registry::builder().redirect_blobs().start().await;
    let destination = Registry::open().await;
    source.put("team/app", "1.0", &large(1));
    source.put("team/other", "1.0", &large(2));
    let of_layer = |request: &Request| request.path.ends_with(&layer(1).replace(':', "%3A"));
    let cut = source.on(Kind::RedirectedGet.filter(of_layer).once(), Action::CutResponseAfter(100_000));
    let migration = Migration::new()
        .app_tags(&source, "1.0", &destination)
        .rule(source.reference("team/other", "1.0"), format!("{}/moved/other", destination.host()));
    assert_overcome(&source, &destination, &migration).await;
    assert_eq!(cut.hits(), 1);
    // The old address may be signed for a time that is over.
    assert_eq!(source.requests_of(Kind::BlobGet.of(&layer(1))).len(), 2);
    assert!(source.requests_of(Kind::RedirectedGet.filter(of_layer))[1].header("range").is_some());
}

#[tokio::test]
async fn an_error_that_is_longer_than_its_blob_is_overcome() {
    let account = ("mover", "s3cret");
    let image = Image::new("").artifact("application/vnd.cncf.helm.config.v1+json").layer("a chart");
    let config = image.config_digest();
    for revoked in [false, true] {
        let source = Arc::new(Registry::builder().bearer(account).start().await);
        let destination = Registry::open().await;
        source.put("team/app", "1.0", &image);
        assert_eq!(source.blob_size("team/app", &config), Some(2));
        let get = Kind::BlobGet.of(&config).once();
        let hook = match revoked {
            true => when(&source, get, Registry::revoke_tokens),
            false => source.on(get, Answer::status(503).body("not now ".repeat(5_000))),
        };
        let migration = Migration::new()
            .auth(&json!({ source.host(): { "username": account.0, "password": account.1 } }))
            .app_tags(&source, "1.0", &destination);
        migration.run().await.assert_success(1);
        assert_eq!(hook.hits(), 1);
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
    }
}

/// reqwest has the system end a connection that takes nothing for 30 s, unless it is told otherwise.
#[tokio::test]
async fn a_destination_that_takes_nothing_for_half_a_minute_is_waited_for() {
    let (source, destination) = two_registries().await;
    // More than there is room for on the way.
    let image = Image::new("linux/amd64").layer_of(1, 16 << 20);
    source.put("team/app", "1.0", &image);
    destination.on(Kind::UploadFinish.of(&image.layers()[0]).once(), Action::Delay(Duration::from_secs(35)));
    Migration::new().app_tags(&source, "1.0", &destination).run().await.assert_success(1);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
    assert_eq!(destination.count(Kind::UploadFinish), 2, "the layer and the configuration, once each");
}

#[tokio::test]
async fn a_damaged_blob_fails_its_image_alone() {
    let (source, destination, migration) = two_images().await;
    source.damage_blob("team/app", &layer(1));
    assert_only_first_fails(&source, &destination, &migration, &["digest"]).await;
    assert!(!destination.has_blob("moved/app", &layer(1)), "damage was committed");
    // Nor was it left to the destination to find out: the last part was held back.
    let sent = destination.requests_of(Kind::UploadFinish.of(&layer(1)));
    assert!(!sent.is_empty() && sent.iter().all(|request| request.received < LARGE));
    assert_eq!(destination.count(Kind::ManifestPut), 1);
}

#[tokio::test]
async fn a_blob_damaged_on_its_way_is_read_again() {
    let (source, destination, migration) = two_images().await;
    let damaged = source.on(Kind::BlobGet.of(&layer(1)).once(), Action::CorruptResponse);
    assert_overcome(&source, &destination, &migration).await;
    assert_eq!(damaged.hits(), 1);
}

#[tokio::test]
async fn a_manifest_damaged_on_its_way_is_read_again() {
    let (source, destination, migration) = two_images().await;
    let damaged = source.on(Kind::ManifestGet.once(), Action::CorruptResponse);
    assert_overcome(&source, &destination, &migration).await;
    assert_eq!(damaged.hits(), 1);
}

#[tokio::test]
async fn a_source_that_announces_another_size_than_said_fails_its_image_alone_and_is_asked_once_more() {
    for said in [LARGE / 2, LARGE - 1, LARGE + 1, LARGE * 2] {
        let (source, destination, migration) = two_images().await;
        let mut manifest = source.manifest("team/app", "1.0").unwrap().json();
        manifest["layers"][0]["size"] = said.into();
        let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
        source.put_manifest("team/app", "1.0", &media_type, manifest.to_string());
        let words = [&*format!("{LARGE} bytes"), &format!("expected {said}")];
        assert_only_first_fails(&source, &destination, &migration, &words).await;
        assert_eq!(source.requests_of(Kind::BlobGet.of(&layer(1))).len(), 2);
        assert_eq!(destination.requests_of(Kind::UploadFinish.of(&layer(1))).len(), 0);
    }
}

/// Copies two images that share a layer which only the second one's source has, in such an order that the second waits
/// for the first one's copy.
async fn copy_shared_with_bad_source(damaged: bool, to: [&str; 2]) -> (Registry, Outcome) {
    let (bad, good) = two_registries().await;
    let destination = Registry::open().await;
    bad.put("team/app", "bad", &large(1).layer("bad"));
    good.put("team/app", "good", &large(1).layer("good"));
    let found = if damaged { bad.damage_blob("team/app", &layer(1)) } else { bad.remove_blob("team/app", &layer(1)) };
    assert!(found);
    let (of_manifest, of_blob) = (Gate::closed(), Gate::closed());
    good.on(Kind::ManifestGet, of_manifest.clone());
    bad.on(Kind::BlobGet.of(&layer(1)), of_blob.clone());
    let migration = Migration::new()
        .rule(bad.reference("team/app", "bad"), format!("{}/{}", destination.host(), to[0]))
        .rule(good.reference("team/app", "good"), format!("{}/{}", destination.host(), to[1]));
    let mut running = migration.start().await;
    running.until(&bad, Kind::BlobGet, 3).await;
    of_manifest.open();
    // Its other blobs are asked for, so the shared one is waited for.
    running.until(&good, Kind::BlobGet, 2).await;
    of_blob.open();
    let outcome = running.finish().await;
    assert_same((&good, "team/app", "good"), (&destination, to[1], "good"));
    (destination, outcome)
}

#[tokio::test]
async fn a_source_that_lacks_a_shared_blob_does_not_fail_who_has_it_from_elsewhere() {
    for damaged in [false, true] {
        let (destination, outcome) = copy_shared_with_bad_source(damaged, ["moved/bad", "moved/good"]).await;
        outcome.assert_failures(2, 1, 0);
        outcome.assert_line("FAILED ", &["/team/app:bad -> ", if damaged { "digest" } else { "404" }]);
        assert!(destination.tags("moved/bad").is_empty());
    }
}

#[tokio::test]
async fn a_blob_that_one_source_lacks_is_had_from_another_that_is_named_meanwhile() {
    for damaged in [false, true] {
        let (destination, outcome) = copy_shared_with_bad_source(damaged, ["moved/app", "moved/app"]).await;
        outcome.assert_success(2);
        assert_eq!(destination.missing("moved/app", "bad"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_damaged_manifest_fails_its_image_alone() {
    let (source, destination, migration) = two_images().await;
    source.on(Kind::ManifestGet.within("team/app"), Action::CorruptResponse);
    assert_only_first_fails(&source, &destination, &migration, &["digest"]).await;
    assert_eq!(destination.requests_of(Kind::ManifestPut.within("moved/app")).len(), 0);
}

#[tokio::test]
async fn a_manifest_that_is_none_fails_its_image_alone() {
    let (source, destination, migration) = two_images().await;
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    for (text, word) in [
        ("not json", "this is not a manifest"),
        ("{}", "without config, layers or manifests"),
        ("[]", "this is not a manifest"),
        (r#"{"schemaVersion": 2, "layers": [{}]}"#, "missing field"),
    ] {
        source.put_manifest("team/app", "1.0", media_type, text);
        assert_only_first_fails(&source, &destination, &migration, &[word]).await;
        destination.remove_manifest("moved/other", "1.0");
    }
}

#[tokio::test]
async fn a_manifest_that_can_be_read_in_two_ways_fails_its_image_alone() {
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let index = "application/vnd.oci.image.index.v1+json";
    for (own, sent) in [(manifest, manifest), (index, index), ("", manifest), ("", index), ("", "application/json")] {
        let (source, destination, migration) = two_images().await;
        // All that it names is there, whichever way it is read.
        source.put("team/app", "index", &Index::new().image(&small(3)));
        let mut both = source.manifest("team/app", "1.0").unwrap().json();
        both["manifests"] = source.manifest("team/app", "index").unwrap().json()["manifests"].clone();
        both["mediaType"] = own.into();
        if own.is_empty() {
            both.as_object_mut().unwrap().remove("mediaType");
        }
        source.put_manifest("team/app", "1.0", sent, both.to_string());
        assert_only_first_fails(&source, &destination, &migration, &["does not fit its type"]).await;
        assert_eq!(destination.requests_of(Kind::ManifestPut.within("moved/app")).len(), 0);
    }
}

#[tokio::test]
async fn a_destination_that_drops_an_upload_gets_it_again() {
    for action in [Action::Drop, Action::CutRequestAfter(100_000), Answer::status(500).into(), Action::LoseAnswer] {
        let (source, destination, migration) = two_images().await;
        let dropped = destination.on(Kind::UploadFinish.of(&layer(1)).once(), action);
        assert_overcome(&source, &destination, &migration).await;
        assert_eq!(dropped.hits(), 1);
    }
}

#[tokio::test]
async fn an_upload_that_the_destination_forgot_is_begun_anew() {
    let unknown = Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    // Or it is in the way of another one of the same blob.
    for answer in [unknown, Answer::status(409), Answer::status(423), Answer::status(425)] {
        let (source, destination, migration) = two_images().await;
        let forgotten = destination.on(Kind::UploadFinish.of(&layer(1)).times(2), answer);
        assert_overcome(&source, &destination, &migration).await;
        assert_eq!(forgotten.hits(), 2);
    }
}

#[tokio::test]
async fn what_passes_by_itself_is_asked_again() {
    for answer in [
        Answer::status(500),
        Answer::status(503).header("Retry-After", "1"),
        Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", "1"),
    ] {
        let (source, destination, migration) = two_images().await;
        let hooks = [
            source.on(Kind::ManifestGet.times(2), answer.clone()),
            source.on(Kind::BlobGet.times(2), answer.clone()),
            destination.on(Kind::ManifestHead.times(2), answer.clone()),
            destination.on(Kind::ManifestPut.times(2), answer),
        ];
        assert_overcome(&source, &destination, &migration).await;
        assert_eq!(hooks.map(|hook| hook.hits()), [2; 4]);
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_manifest_is_no_failure() {
    let (source, destination, migration) = two_images().await;
    let lost = destination.on(Kind::ManifestPut.once(), Action::LoseAnswer);
    assert_overcome(&source, &destination, &migration).await;
    assert_eq!(lost.hits(), 1);
}

#[tokio::test]
async fn a_destination_that_takes_no_blob_gets_no_manifest() {
    let (source, destination, migration) = two_images().await;
    let denied = Answer::error(403, "DENIED", "no space left for you");
    destination.on(Matcher::any_of([Kind::Mount, Kind::UploadStart]).within("moved/app"), denied);
    assert_only_first_fails(&source, &destination, &migration, &["403", "no space left for you"]).await;
    assert_eq!(destination.requests_of(Kind::ManifestPut.within("moved/app")).len(), 0);
}

#[tokio::test]
async fn an_index_is_not_put_before_all_its_children() {
    let (source, destination) = two_registries().await;
    let index = Index::new().image(&large(1)).image(&large(2));
    source.put("team/app", "1.0", &index);
    let child = &index.build().children[1];
    let refused = Answer::error(400, "MANIFEST_INVALID", "not today");
    destination.on(Kind::ManifestPut.of(&child.digest), refused);
    let migration = Migration::new().app_tags(&source, "1.0", &destination);
    migration.run().await.assert_failures(1, 1, 0);
    assert!(destination.requests_of(Kind::ManifestPut.of("1.0")).is_empty());
    destination.clear_hooks();
    migration.run().await.assert_success(1);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
}

#[tokio::test]
async fn a_tag_is_written_last_and_once() {
    let (source, destination) = two_registries().await;
    let index = Index::new().image(&large(1)).index(&Index::new().image(&small(2)).image(&small(3)));
    source.put("team/app", "1.0", &index);
    let migration = Migration::new().app_tags(&source, "1.0", &destination);
    migration.run().await.assert_success(1);
    let written = destination.requests_of(Matcher::any_of([Kind::ManifestPut, Kind::UploadFinish, Kind::Mount]));
    let tags = written.iter().filter(|request| request.reference.as_deref() == Some("1.0"));
    assert_eq!(tags.count(), 1);
    assert_eq!(written.last().unwrap().reference.as_deref(), Some("1.0"));
    let puts: Vec<&str> = written
        .iter()
        .filter(|request| request.kind == Kind::ManifestPut)
        .filter_map(|request| request.reference.as_deref())
        .collect();
    assert!(puts.iter().collect::<std::collections::BTreeSet<_>>().len() == puts.len(), "put twice: {puts:?}");
}

#[tokio::test]
async fn a_failed_task_does_not_stop_the_others() {
    let (source, destination) = two_registries().await;
    for seed in 0..20 {
        source.put("team/app", &format!("v{seed}"), &small(seed));
        if seed % 2 == 0 {
            source.damage_blob("team/app", &small(seed).layers()[0]);
        }
    }
    let migration = Migration::new().app(&source, &destination);
    migration.run().await.assert_failures(20, 10, 0);
    assert_eq!(destination.tags("moved/app").len(), 10);
}

#[tokio::test]
async fn a_registry_that_nobody_reaches_fails_its_images_alone() {
    let (source, destination, migration) = two_images().await;
    let port = Port::hold();
    let nowhere = port.address().to_string();
    let outcome = migration
        .rule(format!("{nowhere}/team/app:1.0"), format!("{}/moved/nowhere", destination.host()))
        .rule(format!("{nowhere}/team/app"), format!("{}/moved/nowhere", destination.host()))
        .run()
        .await;
    outcome.assert_failures(3, 1, 1);
    let to = format!("{}/moved/nowhere:1.0", destination.host());
    outcome.assert_failed(&format!("{nowhere}/team/app:1.0"), &to, &[&nowhere, "connect"]);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
}

#[tokio::test]
async fn a_repository_that_fails_does_not_stop_others_of_its_registry() {
    let (source, destination, migration) = two_images().await;
    destination.on(Matcher::any().within("moved/app"), Answer::status(500));
    assert_only_first_fails(&source, &destination, &migration, &["500", "moved/app"]).await;
}

#[tokio::test]
async fn a_repository_that_takes_nothing_does_not_stop_others_that_share_its_blobs() {
    let (source, destination, migration) = two_images().await;
    source.put("team/other", "1.0", &large(1).layer("other"));
    let (of_manifest, of_upload) = (Gate::closed(), Gate::closed());
    source.on(Kind::ManifestGet.within("team/other"), of_manifest.clone());
    destination.on(Kind::UploadFinish.within("moved/app"), Answer::status(500).and(of_upload.clone()));
    let mut running = migration.start().await;
    running.until(&destination, Kind::UploadFinish, 2).await;
    of_manifest.open();
    // Its other blobs are asked for, so the shared one is waited for.
    running.until(&source, Kind::BlobGet, 4).await;
    of_upload.open();
    let outcome = running.finish().await;
    outcome.assert_failures(2, 1, 0);
    let to = format!("{}/moved/app:1.0", destination.host());
    outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &["500", "moved/app"]);
    assert_same((&source, "team/other", "1.0"), (&destination, "moved/other", "1.0"));
}

#[tokio::test]
async fn a_destination_tag_that_cannot_be_asked_for_fails_its_image_alone() {
    let (source, destination) = two_registries().await;
    for tag in 0..6 {
        source.put("team/app", &tag.to_string(), &small(tag));
    }
    // The first to be asked for, whichever that is.
    let first = std::sync::OnceLock::new();
    destination.on_each(Kind::ManifestHead, move |request| {
        let first = first.get_or_init(|| request.reference.clone());
        (*first == request.reference).then(|| Answer::status(401).into())
    });
    let outcome = Migration::new().app(&source, &destination).run().await;
    outcome.assert_failures(6, 1, 0);
    assert_eq!(destination.tags("moved/app").len(), 5, "{outcome}");
}

#[tokio::test]
async fn what_one_source_lacks_of_an_image_another_may_have() {
    let (whole, lacking) = two_registries().await;
    let destination = Registry::open().await;
    let image = small(1);
    whole.put("team/app", "1", &image);
    lacking.put("team/app", "1", &image);
    assert!(lacking.remove_blob("team/app", &image.layers()[0]));
    let outcome = Migration::new()
        .rule(lacking.reference("team/app", "1"), format!("{}/moved/app:a", destination.host()))
        .rule(whole.reference("team/app", "1"), format!("{}/moved/app:b", destination.host()))
        .run()
        .await;
    // Whether the first fails or finds the layer there depends on who is first; the second has everything.
    assert!(destination.tags("moved/app").contains(&"b".to_owned()), "{outcome}");
    assert!(destination.missing("moved/app", "b").is_empty());
}

#[tokio::test]
async fn a_long_page_in_place_of_an_answer_is_an_error_that_passes() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1", &small(1));
    let page = format!("<html>{}</html>", "busy ".repeat(40_000));
    let busy = source.on(Kind::ManifestGet.once(), Answer::status(503).body(page));
    let migration = Migration::new().app_tags(&source, "1", &destination);
    migration.run().await.assert_success(1);
    assert_eq!(busy.hits(), 1);
}
