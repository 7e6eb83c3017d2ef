//! What is known is not asked, what is there is not sent, and no more is under way at once than was said.

use std::collections::BTreeMap;

use scriptable_registry::{Action, Answer, Gate, Image, Index, Kind, Manifest, Mounts, Registry};
use serde_json::json;

use crate::support::{LARGE, Migration, large, requests, small, two_registries};

#[tokio::test]
async fn a_second_run_costs_two_heads_a_tag() {
    let (source, destination) = two_registries().await;
    let base = large(1);
    for tag in 0..4 {
        source.put("team/app", &format!("v{tag}"), &base.clone().layer_of(tag, 2_000));
    }
    source.put("team/index", "1", &Index::new().image(&small(1)).image(&small(2)));
    let migration = Migration::new()
        .app(&source, &destination)
        .rule(source.reference("team/index", "1"), format!("{}/moved/index", destination.host()));
    migration.run().await.assert_success(5);
    source.clear_log();
    destination.clear_log();
    migration.run().await.assert_success(5);
    assert_eq!(requests(&source), BTreeMap::from([(Kind::TagList, 1), (Kind::ManifestHead, 5)]));
    assert_eq!(requests(&destination), BTreeMap::from([(Kind::ManifestHead, 5)]));
}

#[tokio::test]
async fn a_second_run_sends_nothing_where_heads_tell_little() {
    let without_digest = Action::remove_header("docker-content-digest");
    for action in [without_digest, Answer::status(405).into()] {
        let (source, destination) = two_registries().await;
        source.put("team/app", "1", &large(1));
        source.put("team/app", "2", &small(2));
        source.put("team/app", "index", &Index::new().image(&small(3)).image(&small(4)));
        for registry in [&source, &destination] {
            registry.on(Kind::ManifestHead, action.clone());
        }
        let migration = Migration::new().app(&source, &destination);
        migration.run().await.assert_success(3);
        destination.clear_log();
        source.clear_log();
        migration.run().await.assert_success(3);
        let read = [Kind::Ping, Kind::TagList, Kind::ManifestHead, Kind::ManifestGet];
        for request in source.requests().iter().chain(&destination.requests()) {
            assert!(read.contains(&request.kind), "{request:#?}");
        }
    }
}

#[tokio::test]
async fn what_goes_by_digest_is_asked_for_once() {
    for flags in
        [&[][..], &["--no-clobber"], &["--dry-run"], &["--format", "docker"], &["--format", "docker", "--dry-run"]]
    {
        let (source, destination) = two_registries().await;
        let digest = source.put("team/app", "1", &small(1).oci());
        destination.put("moved/app", "other", &small(2));
        let rule = source.reference("team/app", &digest);
        let migration = Migration::new().rule(rule, format!("{}/moved/app", destination.host()));
        let outcome = migration.args(flags.iter().copied()).run().await;
        assert_eq!(outcome.code, Some(0), "{outcome}");
        assert_eq!(destination.count(Kind::ManifestHead), 1, "{flags:?}");
    }
}

#[tokio::test]
async fn children_that_a_round_brought_are_not_brought_again_by_the_next() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1", &Index::new().image(&small(1)).image(&small(2)));
    destination.on(Kind::ManifestPut.of("1").once(), Answer::status(400));
    let outcome = Migration::with_default_retries()
        .rule(source.reference("team/app", "1"), format!("{}/moved/app", destination.host()))
        .args(["--retries", "1"])
        .run()
        .await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(destination.count(Kind::ManifestPut), 4, "two children, and twice the tag");
}

#[tokio::test]
async fn beside_new_repositories_a_list_alone_tells_what_is_there() {
    let (source, destination) = two_registries().await;
    let mut migration = Migration::new().args(["--workers", "1"]);
    for repository in 0..12 {
        let name = format!("app{repository}");
        source.put(&format!("team/{name}"), "1", &large(repository));
        let rule = source.reference(&format!("team/{name}"), "1");
        migration = migration.rule(rule, format!("{}/moved/{name}", destination.host()));
    }
    migration.run().await.assert_success(12);
    assert_eq!(destination.count(Kind::TagList), 12);
    // Of those that are begun before the first of them is known to be new.
    assert!(destination.count(Kind::ManifestHead) <= 4, "{:?}", requests(&destination));
    destination.clear_log();
    migration.run().await.assert_success(12);
    assert_eq!(requests(&destination), BTreeMap::from([(Kind::ManifestHead, 12)]));
}

#[tokio::test]
async fn a_repository_is_listed_once_for_all_its_rules() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    let from = format!("{}/team/app", source.host());
    let outcome = Migration::new()
        .rule(&from, format!("{}/a/app", destination.host()))
        .rule(format!("{from}:/1/"), format!("{}/b/app", destination.host()))
        .rule(format!("{from}:!/2/"), format!("{}/c/app", destination.host()))
        .run()
        .await;
    outcome.assert_success(3);
    assert_eq!(source.count(Kind::TagList), 1);
}

/// Copies four repositories of two tags each, which share a layer.
async fn copy_shared(destination: &Registry) -> (Registry, Image) {
    let source = Registry::open().await;
    let base = large(1);
    let mut migration = Migration::new();
    for repository in 0..4 {
        let name = format!("team/app{repository}");
        source.put(&name, "1", &base.clone().layer_of(repository + 10, 1_000));
        source.put(&name, "2", &base.clone().layer_of(repository + 20, 1_000));
        migration = migration
            .rule(format!("{}/{name}", source.host()), format!("{}/moved/app{repository}", destination.host()));
    }
    migration.run().await.assert_success(8);
    for repository in 0..4 {
        for tag in ["1", "2"] {
            assert_eq!(destination.missing(&format!("moved/app{repository}"), tag), Vec::<String>::new());
        }
    }
    (source, base)
}

#[tokio::test]
async fn a_shared_blob_is_read_once_sent_once_and_mounted_elsewhere() {
    let destination = Registry::open().await;
    let (source, base) = copy_shared(&destination).await;
    let shared = &base.layers()[0];
    assert_eq!(source.requests_of(Kind::BlobGet.of(shared)).len(), 1);
    assert_eq!(destination.requests_of(Kind::UploadFinish.of(shared)).len(), 1);
    let mounts = destination.requests_of(Kind::Mount.of(shared));
    assert_eq!(mounts.iter().filter(|mount| mount.status == Some(201)).count(), 3);
    // Each distinct blob is sent once: the shared layer, and for each of 8 images a layer and a configuration.
    assert_eq!(destination.count(Kind::UploadFinish), 17);
    assert_eq!(source.count(Kind::BlobGet), 17);
    assert_eq!(destination.count(Kind::ManifestPut), 8);
    assert_eq!(destination.open_uploads(), 0, "an upload was begun and left");
}

#[tokio::test]
async fn within_a_registry_no_blob_is_read_that_is_mounted() {
    let registry = Registry::open().await;
    registry.put("app", "1", &Index::new().image(&small(1)).image(&large(2)));
    Migration::new()
        .rule(registry.reference("app", "1"), registry.reference("moved/app", "1"))
        .run()
        .await
        .assert_success(1);
    assert_eq!((registry.count(Kind::BlobGet), registry.count(Kind::UploadFinish)), (0, 0));
    assert_eq!(registry.missing("moved/app", "1"), Vec::<String>::new());
}

#[tokio::test]
async fn within_a_registry_that_mounts_the_mounts_tell_whether_a_repository_takes_anything() {
    let registry = Registry::open().await;
    let mut migration = Migration::new().args(["-w", "1"]);
    for repository in 0..12 {
        let name = format!("app{repository}");
        registry.put(&name, "1", &large(repository));
        migration = migration.rule(registry.reference(&name, "1"), format!("{}/moved/{name}", registry.host()));
    }
    migration.run().await.assert_success(12);
    // Before the first mount was granted four images were in progress.
    assert!(registry.count(Kind::UploadStart) <= 4);
    assert_eq!((registry.count(Kind::Mount), registry.open_uploads()), (12 * 2, 0));
    for repository in 0..12 {
        assert_eq!(registry.missing(&format!("moved/app{repository}"), "1"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn where_mounts_are_refused_a_shared_blob_is_sent_once_a_repository() {
    for mounts in [Mounts::Ignored, Mounts::Refused(405)] {
        let destination = Registry::builder().mounts(mounts).start().await;
        let (_, base) = copy_shared(&destination).await;
        let sent = destination.requests_of(Kind::UploadFinish.of(&base.layers()[0]));
        assert_eq!(sent.len(), 4, "{mounts:?}");
        assert_eq!(destination.open_uploads(), 0, "{mounts:?}");
    }
}

#[tokio::test]
async fn blobs_that_are_there_are_not_sent() {
    let (source, destination) = two_registries().await;
    // Of the tiniest, one may be sent into the upload that was opened to see whether the repository takes any.
    let image = large(1).layer_of(2, LARGE).layer_of(3, 20_000);
    source.put("team/app", "1.0", &image);
    for (seed, size) in [(1, LARGE), (2, LARGE), (3, 20_000)] {
        destination.put_synthetic_blob("moved/app", size, seed);
    }
    let migration = Migration::new().app_tags(&source, "1.0", &destination);
    migration.run().await.assert_success(1);
    let sent = destination.requests_of(Kind::UploadFinish);
    let sent: Vec<String> = sent.into_iter().filter_map(|request| request.reference).collect();
    assert_eq!(sent, [image.config_digest()]);
    assert_eq!(destination.missing("moved/app", "1.0"), Vec::<String>::new());
}

#[tokio::test]
async fn an_alias_costs_no_blob() {
    let (source, destination) = two_registries().await;
    let image = large(1);
    for tag in ["1", "1.0", "1.0.0", "latest"] {
        source.put("team/app", tag, &image);
    }
    let migration = Migration::new().app(&source, &destination);
    migration.run().await.assert_success(4);
    assert_eq!(source.count(Kind::BlobGet), 2);
    assert_eq!(source.count(Kind::ManifestGet) + source.count(Kind::ManifestHead), 4);
    assert_eq!(destination.count(Kind::UploadFinish), 2);
    assert_eq!(destination.count(Kind::ManifestPut), 4);
}

#[tokio::test]
async fn a_shared_child_is_read_and_put_once() {
    let (source, destination) = two_registries().await;
    let child = small(1);
    for (seed, tag) in ["1", "2", "3"].into_iter().enumerate() {
        source.put("team/app", tag, &Index::new().image(&child).image(&small(seed as u64 + 10)));
    }
    let migration = Migration::new().app(&source, &destination);
    migration.run().await.assert_success(3);
    assert_eq!(source.requests_of(Kind::ManifestGet.of(&child.digest())).len(), 1);
    assert_eq!(destination.requests_of(Kind::ManifestPut.of(&child.digest())).len(), 1);
}

#[tokio::test]
async fn a_first_copy_of_an_image_asks_little() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    let migration = Migration::new().app_tags(&source, "1.0", &destination);
    migration.run().await.assert_success(1);
    assert_eq!(requests(&source), BTreeMap::from([(Kind::ManifestGet, 1), (Kind::BlobGet, 2)]));
    // What is there; for each blob one question that is also the beginning of its upload, and the upload; the manifest.
    let seen = requests(&destination);
    assert!(seen.values().sum::<u64>() <= 2 + 2 * 2 + 1, "{seen:?}");
    assert_eq!((seen.get(&Kind::UploadFinish), seen.get(&Kind::ManifestPut)), (Some(&2), Some(&1)), "{seen:?}");
}

/// A configuration that is no tiny blob either: then all blobs are moved by workers.
fn all_large(seed: u8) -> Image {
    large(u64::from(seed)).layer_of(u64::from(seed) + 100, LARGE).config(vec![b'0' + seed; LARGE as usize])
}

/// Two registries, and in the first one so many images of which all blobs are moved by workers.
async fn large_images(images: u8) -> (Registry, Registry) {
    let (source, destination) = two_registries().await;
    for seed in 0..images {
        source.put("team/app", &format!("v{seed}"), &all_large(seed));
    }
    (source, destination)
}

#[tokio::test]
async fn no_more_blobs_are_in_flight_than_workers() {
    for workers in [1, 3] {
        let (source, destination) = two_registries().await;
        for seed in 0..6 {
            source.put(&format!("team/app{}", seed % 2), &format!("v{seed}"), &all_large(seed));
        }
        // Held until all workers hang on it, so that the bound is reached for certain.
        let gate = Gate::closed();
        source.on(Kind::BlobGet, gate.clone());
        let migration = Migration::new()
            .rule(format!("{}/team/app0", source.host()), format!("{}/moved/app0", destination.host()))
            .rule(format!("{}/team/app1", source.host()), format!("{}/moved/app1", destination.host()))
            .args(["--workers", &workers.to_string()]);
        let mut running = migration.start().await;
        running.until(&source, Kind::BlobGet, workers).await;
        gate.open();
        running.finish().await.assert_success(6);
        assert_eq!(source.count(Kind::BlobGet), 18);
        assert_eq!(source.peak(Kind::BlobGet), workers);
        assert!(destination.peak(Kind::UploadFinish) <= workers);
    }
}

#[tokio::test]
async fn destinations_are_met_while_sources_list_their_tags() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "v1", &small(1));
    let gate = Gate::closed();
    source.on(Kind::TagList, gate.clone());
    let migration =
        Migration::new().rule(format!("{}/team/app", source.host()), format!("{}/moved/app", destination.host()));
    let mut running = migration.start().await;
    running.until(&destination, Kind::Ping, 1).await;
    gate.open();
    running.finish().await.assert_success(1);
    assert_eq!(destination.count(Kind::Ping), 1);
}

#[tokio::test]
async fn sources_are_met_while_destinations_are_asked_what_they_have() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "v1", &small(1));
    let gate = Gate::closed();
    destination.on(Kind::ManifestHead, gate.clone());
    let migration = Migration::new().app_tags(&source, "v1", &destination);
    let mut running = migration.start().await;
    running.until(&source, Kind::Ping, 1).await;
    gate.open();
    running.finish().await.assert_success(1);
    assert_eq!(source.count(Kind::Ping), 1);
}

#[tokio::test]
async fn without_credentials_the_first_request_is_the_first_contact() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "v1", &small(1));
    let pings = || (source.count(Kind::Ping), destination.count(Kind::Ping));
    Migration::new().app_tags(&source, "v1", &destination).run().await.assert_success(1);
    assert_eq!(pings(), (1, 0), "the source is met while the destination is asked what it has");
    assert_eq!((source.count(Kind::ManifestGet), destination.count(Kind::ManifestHead)), (1, 1));
    Migration::new().app(&source, &destination).run().await.assert_success(1);
    assert_eq!(pings(), (1, 1), "the destination is met while the source lists its tags");
    assert_eq!((source.count(Kind::TagList), destination.count(Kind::TagList)), (1, 1));
}

#[tokio::test]
async fn a_first_request_that_is_refused_tells_nothing_of_the_registry() {
    for refusal in [Answer::status(500), Answer::status(403), Answer::status(429), Answer::status(302)] {
        let (source, destination) = two_registries().await;
        source.put("team/app", "v1", &small(1));
        source.on(Kind::TagList.nth(1), refusal);
        Migration::new().app(&source, &destination).run().await.assert_success(1);
        assert_eq!(source.count(Kind::TagList), 2);
    }
}

#[tokio::test]
async fn only_one_request_is_tried_as_the_first_contact() {
    const REPOSITORIES: u64 = 20;
    let (source, destination) = two_registries().await;
    source.on(Kind::TagList, Answer::status(403));
    let mut migration = Migration::new();
    for number in 0..REPOSITORIES {
        let to = format!("{}/moved/app{number}", destination.host());
        migration = migration.rule(format!("{}/team/app{number}", source.host()), to);
    }
    migration.run().await.assert_failures(0, 0, REPOSITORIES as usize);
    assert_eq!((source.count(Kind::Ping), source.count(Kind::TagList)), (1, REPOSITORIES + 1));
}

/// A registry may hide from nobody in particular what it shows to whom it knows, without a word of credentials.
#[tokio::test]
async fn what_is_open_to_nobody_does_not_keep_credentials_from_being_shown() {
    let (source, destination) = two_registries().await;
    let unknown = |kind: Kind| kind.filter(|request| request.header("authorization").is_none());
    source.on(unknown(Kind::Ping), Answer::status(401).header("WWW-Authenticate", "Basic realm=\"r\""));
    for kind in [Kind::TagList, Kind::ManifestHead, Kind::ManifestGet, Kind::BlobGet] {
        source.on(unknown(kind).within("team/private"), Answer::error(404, "NAME_UNKNOWN", "there is none"));
    }
    source.put("team/private", "v1", &small(1));
    source.put("team/public", "v1", &small(1));
    let migration = Migration::new()
        .rule(format!("{}/team/public:/none/", source.host()), format!("{}/moved/public", destination.host()))
        .rule(format!("{}/team/private", source.host()), format!("{}/moved/private", destination.host()))
        .auth(&json!({
            format!("{}/team/private", source.host()): { "username": "mover", "password": "s3cret" },
        }));
    migration.run().await.assert_success(1);
    assert_eq!(destination.tags("moved/private"), ["v1"]);
}

/// Copies two images with two workers. `hold` has the destination keep its answers to uploads behind a gate, which is opened
/// when the next blobs are being read.
async fn handed_on(hold: impl FnOnce(&Registry, Gate)) -> (Registry, Registry) {
    let (source, destination) = large_images(2).await;
    let gate = Gate::closed();
    hold(&destination, gate.clone());
    let migration = Migration::new().app(&source, &destination).args(["--workers", "2"]);
    let mut running = migration.start().await;
    running.until(&destination, Kind::UploadFinish, 2).await;
    running.until(&source, Kind::BlobGet, 4).await;
    gate.open();
    running.finish().await.assert_success(2);
    assert!(source.peak(Kind::BlobGet) <= 2);
    assert_eq!(destination.peak(Kind::UploadFinish), 2);
    (source, destination)
}

#[tokio::test]
async fn the_next_blob_is_read_while_the_destination_stores_the_last() {
    let hold = |destination: &Registry, gate| _ = destination.on(Kind::UploadFinish, Action::AnswerAfter(gate));
    let (source, _) = handed_on(hold).await;
    assert_eq!(source.count(Kind::BlobGet), 6);
}

#[tokio::test]
async fn a_blob_that_is_refused_when_its_place_has_gone_on_is_sent_again_in_its_turn() {
    let refusal = Answer::error(500, "UNKNOWN", "the disk hiccups");
    let refuse = |destination: &Registry, gate| {
        destination.on(Kind::UploadFinish.times(2), Action::AnswerAfter(gate).and(refusal));
    };
    let (source, destination) = handed_on(refuse).await;
    for tag in ["v0", "v1"] {
        assert_eq!(destination.missing("moved/app", tag), Vec::<String>::new());
    }
    assert_eq!((source.count(Kind::BlobGet), destination.count(Kind::UploadFinish)), (8, 8));
}

#[tokio::test]
async fn seven_blobs_are_in_flight_unless_said_otherwise() {
    // More than there are images: those of one image move side by side.
    let (source, destination) = large_images(6).await;
    let gate = Gate::closed();
    source.on(Kind::BlobGet, gate.clone());
    let migration = Migration::new().app(&source, &destination);
    let mut running = migration.start().await;
    running.until(&source, Kind::BlobGet, 7).await;
    gate.open();
    running.finish().await.assert_success(6);
    assert_eq!(source.peak(Kind::BlobGet), 7);
}

#[tokio::test]
async fn one_worker_asks_one_thing_at_a_time() {
    let (source, destination) = two_registries().await;
    let mut migration = Migration::new();
    for seed in 0..8 {
        let name = format!("team/app{}", seed % 3);
        source.put(&name, &format!("v{seed}"), &Index::new().image(&small(seed)).image(&large(seed + 100)));
    }
    for repository in 0..3 {
        let name = format!("app{repository}");
        migration =
            migration.rule(format!("{}/team/{name}", source.host()), format!("{}/moved/{name}", destination.host()));
    }
    migration.args(["-w", "1"]).run().await.assert_success(8);
    for registry in [&source, &destination] {
        let seen = requests(registry);
        for kind in seen.keys() {
            assert_eq!(registry.peak(*kind), 1, "{kind:?}");
        }
        // A blob and, beside it, one small request.
        assert!(registry.peak_all() <= 2, "{} at once", registry.peak_all());
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let (source, destination) = two_registries().await;
    for seed in 0..60 {
        source.put("team/app", &format!("v{seed}"), &small(seed));
    }
    // A blob and, beside it, one small request; and no more where hundreds follow each other.
    Migration::new().app(&source, &destination).args(["-w", "1"]).run().await.assert_success(60);
    assert!(source.count_all() > 180);
    for registry in [&source, &destination] {
        assert!(registry.connections() <= 5, "{} connections", registry.connections());
    }
}

#[tokio::test]
async fn a_tag_that_is_refused_is_no_reason_to_send_its_image_again() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    source.retag("team/app", "1.0", "stable");
    // The other tag's turn comes when the image is there.
    let gate = Gate::closed();
    source.on(Kind::ManifestGet.of("stable"), Action::WaitFor(gate.clone()));
    destination.on(Kind::ManifestPut.of("stable"), Answer::error(403, "DENIED", "stable is protected"));
    let migration = Migration::new().app(&source, &destination);
    let mut running = migration.start().await;
    running.until(&destination, Kind::ManifestPut, 1).await;
    gate.open();
    running.finish().await.assert_failures(2, 1, 0);
    assert_eq!(destination.requests_of(Kind::ManifestPut.of("stable")).len(), 1);
    assert_eq!(destination.count(Kind::UploadFinish), 2, "the layer and the configuration");
}

#[tokio::test]
async fn where_a_destination_cannot_be_listed_no_tag_is_written_again_that_is_there() {
    let page = Answer::status(404).body("404 page not found\n");
    for refusal in [Answer::error(403, "DENIED", "you may not list"), page] {
        let (source, destination) = two_registries().await;
        for seed in 0..6 {
            source.put("team/app", &format!("v{seed}"), &small(seed));
        }
        destination.put("moved/app", "v5", &small(5));
        destination.on(Kind::TagList, refusal);
        Migration::new().app(&source, &destination).run().await.assert_success(6);
        assert_eq!(destination.count(Kind::ManifestPut), 5);
    }
}
