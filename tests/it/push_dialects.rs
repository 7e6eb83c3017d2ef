//! How registries that people have take a push: in what portions, into which repositories, and under which tags.
//!
//! Each is a profile of the scriptable registry, which says where its habits are recorded.

mod behind_nginx;
mod missing;
mod portions;

use std::sync::Arc;
use std::time::Duration;

use scriptable_registry::{Action, Answer, Gate, Image, Index, Kind, Matcher, Mounts, Registry, Tags, profiles};

use crate::support::{Migration, assert_same, large, small, two_registries};

const MIB: u64 = 1 << 20;

/// `team/app:1.0` with one layer of this size, and its way to `moved/app`.
async fn image_of(size: u64, destination: &Registry) -> (Registry, Migration) {
    let source = Registry::open().await;
    source.put("team/app", "1.0", &Image::new("linux/amd64").layer_of(1, size));
    let migration = Migration::new().app_tags(&source, "1.0", destination);
    (source, migration)
}

const IMMUTABLE: [Tags; 4] =
    [Tags::ImmutableAsEcr, Tags::ImmutableAsHarbor, Tags::ImmutableAsQuay, Tags::ImmutableAsDockerHub];

#[tokio::test]
async fn an_immutable_tag_that_names_another_image_is_a_clear_failure() {
    for tags in IMMUTABLE {
        let destination = Registry::builder().tags(tags).start().await;
        let there = destination.put("moved/app", "1.0", &small(9));
        let (source, migration) = image_of(2_000, &destination).await;
        let outcome = migration.run().await;
        outcome.assert_failures(1, 1, 0);
        let to = format!("{}/moved/app:1.0", destination.host());
        outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &["immutable", &there, "another tag"]);
        assert_eq!(destination.digest("moved/app", "1.0"), Some(there));
    }
}

/// As Nexus says it where nothing may be written twice, and Azure of what is locked.
#[tokio::test]
async fn a_tag_that_may_not_be_updated_is_immutable() {
    for refusal in [
        Answer::error(400, "UNKNOWN", "Repository does not allow updating assets: docker-hosted"),
        Answer::error(405, "REGISTRY_DISALLOWED_OPERATION", "The operation is disallowed on this registry."),
    ] {
        let destination = Registry::open().await;
        let there = destination.put("moved/app", "1.0", &small(9));
        let (source, migration) = image_of(2_000, &destination).await;
        destination.on(Kind::ManifestPut.of("1.0"), refusal);
        let outcome = migration.run().await;
        outcome.assert_failures(1, 1, 0);
        let to = format!("{}/moved/app:1.0", destination.host());
        outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &["immutable", &there, "another tag"]);
    }
}

#[tokio::test]
async fn an_immutable_tag_keeps_no_other_tag_of_the_image_from_being_written() {
    let destination = Registry::builder().tags(Tags::ImmutableAsQuay).start().await;
    destination.put("moved/app", "v0", &small(9));
    let source = Registry::open().await;
    let tags = ["v0", "v1", "v2", "v3"];
    for tag in tags {
        source.put("team/app", tag, &large(1));
    }
    // The others wait for what the first of them brings.
    for tag in &tags[1..] {
        source.on(Kind::ManifestGet.of(tag), Action::Delay(Duration::from_millis(100)));
    }
    source.on(Kind::BlobGet, Action::Delay(Duration::from_millis(400)));
    let migration = Migration::new().app_tags(&source, "v0,v1,v2,v3", &destination);
    let outcome = migration.run().await;
    outcome.assert_failures(4, 1, 0);
    let to = format!("{}/moved/app:v0", destination.host());
    outcome.assert_failed(&source.reference("team/app", "v0"), &to, &["the tag v0 is immutable"]);
    for tag in &tags[1..] {
        assert_same((&source, "team/app", tag), (&destination, "moved/app", tag));
    }
}

#[tokio::test]
async fn an_immutable_tag_keeps_no_index_that_names_the_image_from_being_written() {
    let destination = Registry::builder().tags(Tags::ImmutableAsQuay).start().await;
    destination.put("moved/app", "amd64", &small(9));
    let source = Registry::open().await;
    source.put("team/app", "amd64", &large(1));
    source.put("team/app", "latest", &Index::new().image(&large(1)));
    // The index waits for what the tag of its child brings.
    source.on(Kind::ManifestGet.of("latest"), Action::Delay(Duration::from_millis(100)));
    source.on(Kind::BlobGet, Action::Delay(Duration::from_millis(400)));
    let rule = source.reference("team/app", "amd64,latest");
    let outcome = Migration::new().rule(rule, format!("{}/moved/app", destination.host())).run().await;
    outcome.assert_failures(2, 1, 0);
    let to = format!("{}/moved/app:amd64", destination.host());
    outcome.assert_failed(&source.reference("team/app", "amd64"), &to, &["the tag amd64 is immutable"]);
    assert_same((&source, "team/app", "latest"), (&destination, "moved/app", "latest"));
}

#[tokio::test]
async fn an_immutable_tag_that_names_the_image_already_is_a_success() {
    for tags in IMMUTABLE {
        let destination = Registry::builder().tags(tags).start().await;
        let (source, migration) = image_of(2_000, &destination).await;
        // It was written, but nobody heard of it; to the same again ECR says what it says to another.
        let lost = destination.on(Kind::ManifestPut.of("1.0").once(), Action::LoseAnswer);
        migration.run().await.assert_success(1);
        assert_eq!(lost.hits(), 1);
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
        destination.clear_log();
        migration.run().await.assert_success(1);
        assert_eq!(destination.count(Kind::ManifestPut), 0);
    }
}

#[tokio::test]
async fn a_manifest_whose_answers_are_all_lost_is_looked_for() {
    let destination = Registry::open().await;
    let (source, migration) = image_of(2_000, &destination).await;
    let lost = destination.on(Kind::ManifestPut.of("1.0"), Action::LoseAnswer);
    migration.run().await.assert_success(1);
    assert!(lost.hits() > 1);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_called_so() {
    let destination = profiles::harbor().start().await;
    destination.create("moved");
    let (source, migration) = image_of(2_000, &destination).await;
    let denied = "adding 2.0 KiB of storage resource, which when updated to current usage of 1.0 GiB will exceed the \
                  configured upper limit of 1.0 GiB.";
    let to = format!("{}/moved/app:1.0", destination.host());
    for kind in [Kind::ManifestPut, Kind::UploadFinish] {
        destination.on(kind, Answer::error(403, "DENIED", denied));
        let outcome = migration.run().await;
        outcome.assert_failures(1, 1, 0);
        outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &["upper limit", "free space there"]);
    }
}

#[tokio::test]
async fn a_blob_whose_answer_was_lost_is_looked_for_before_it_is_sent_again() {
    // GHCR takes a while until it shows what it has taken.
    for lag in [0, 2] {
        let destination = profiles::ghcr().start().await;
        let (source, migration) = image_of(300_000, &destination).await;
        let layer = large(1).layers().remove(0);
        let lost = destination.on(Kind::UploadFinish.of(&layer).once(), Action::LoseAnswer);
        destination.on(Kind::BlobHead.of(&layer).times(lag), Answer::status(404));
        migration.run().await.assert_success(1);
        assert_eq!(lost.hits(), 1);
        assert_eq!(destination.requests_of(Kind::UploadFinish.of(&layer)).len(), 1, "it was sent again");
        assert_eq!(source.requests_of(Kind::BlobGet.of(&layer)).len(), 1);
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
    }
}

#[tokio::test]
async fn what_another_upload_brought_meanwhile_is_not_sent_again() {
    // A registry that ends two uploads of one blob at a time; and one that a proxy does not wait for.
    for (status, lag) in [(409, 0), (504, 2), (502, 2), (524, 2)] {
        let destination = std::sync::Arc::new(Registry::open().await);
        let (source, migration) = image_of(300_000, &destination).await;
        let layer = large(1).layers().remove(0);
        let (whole, weak) = (source.blob("team/app", &layer).unwrap(), std::sync::Arc::downgrade(&destination));
        let refused = destination.on_each(Kind::UploadFinish.of(&layer).once(), move |_| {
            weak.upgrade()?.put_blob("moved/app", whole.clone());
            Some(Answer::status(status).and(Action::StallRequestAfter(u64::MAX)))
        });
        destination.on(Kind::BlobHead.of(&layer).times(lag), Answer::status(404));
        migration.run().await.assert_success(1);
        assert_eq!(refused.hits(), 1);
        assert_eq!(destination.requests_of(Kind::UploadFinish.of(&layer)).len(), 1, "{status}: it was sent again");
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
    }
}

#[tokio::test]
async fn a_success_before_all_was_sent_is_not_believed() {
    let destination = Registry::builder().takes_incomplete_manifests().start().await;
    let (source, migration) = image_of(24 * MIB, &destination).await;
    let put = Kind::UploadFinish.filter(|put| put.header("content-length").is_some_and(|length| length.len() > 7));
    let early = destination.on(put.once(), Answer::status(201));
    migration.run().await.assert_success(1);
    assert_eq!(early.hits(), 1);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
}

#[tokio::test]
async fn a_redirect_to_a_login_is_no_blob() {
    let page = Answer::status(200).header("Content-Type", "text/html; charset=utf-8").body("<html>sign in</html>");
    for login in [page, Answer::status(401), Answer::status(404)] {
        let destination = Registry::builder().mounts(Mounts::Ignored).takes_incomplete_manifests().start().await;
        destination.put("moved/app", "other", &small(9));
        let place = format!("http://{}/login", destination.host());
        for kind in [Kind::BlobHead, Kind::BlobGet] {
            destination.on(kind, Answer::status(302).header("location", &place));
        }
        let asked = destination.on(Matcher::any().filter(|request| request.path == "/login"), login);
        let (source, migration) = image_of(2 * MIB, &destination).await;
        migration.run().await.assert_success(1);
        assert!(asked.hits() > 0);
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
    }
}

/// Copies an image of which the destination has all blobs, and says so by redirects to its storage.
async fn copy_what_is_behind_redirects(destination: &Registry) {
    let image = (0..4).fold(Image::new("linux/amd64"), |image, seed| image.layer_of(seed, MIB));
    destination.put("moved/app", "other", &image);
    let source = Registry::open().await;
    let digest = source.put("team/app", "1.0", &image);
    destination.remove_manifest("moved/app", &digest);
    destination.put("moved/app", "another", &small(9));
    Migration::new().app_tags(&source, "1.0", destination).args(["-w", "1"]).run().await.assert_success(1);
    assert_eq!((destination.count(Kind::BlobHead), destination.count(Kind::UploadFinish)), (5, 0));
}

#[tokio::test]
async fn a_redirect_that_led_to_a_blob_is_not_followed_again() {
    let destination = Registry::builder().mounts(Mounts::Ignored).redirect_blob_heads().start().await;
    copy_what_is_behind_redirects(&destination).await;
    assert_eq!(destination.count(Kind::RedirectedGet), 1);
}

#[tokio::test]
async fn a_storage_that_is_unwell_once_does_not_make_blobs_absent() {
    for status in [429, 500, 503] {
        let destination = Registry::builder().mounts(Mounts::Ignored).redirect_blob_heads().start().await;
        let unwell = destination.on(Kind::RedirectedGet.once(), Answer::status(status));
        copy_what_is_behind_redirects(&destination).await;
        assert_eq!((unwell.hits(), destination.count(Kind::RedirectedGet)), (1, 2), "{status}");
    }
}

#[tokio::test]
async fn a_storage_that_is_not_for_us_to_read_does_not_make_blobs_absent() {
    let destination = Registry::builder().mounts(Mounts::Ignored).redirect_blob_heads().start().await;
    destination.on(Kind::RedirectedGet, Answer::status(403).body("<Error>AccessDenied</Error>"));
    copy_what_is_behind_redirects(&destination).await;
    assert_eq!(destination.count(Kind::RedirectedGet), 1);
}

#[tokio::test]
async fn one_blob_that_the_storage_lacks_is_sent_and_no_other() {
    let destination = Registry::builder().mounts(Mounts::Ignored).redirect_blob_heads().start().await;
    let lacks = destination.on(Kind::RedirectedGet.once(), Answer::status(404));
    let image = (0..4).fold(Image::new("linux/amd64"), |image, seed| image.layer_of(seed, MIB));
    destination.put("moved/app", "other", &image);
    let source = Registry::open().await;
    let digest = source.put("team/app", "1.0", &image);
    destination.remove_manifest("moved/app", &digest);
    destination.put("moved/app", "another", &small(9));
    Migration::new().app_tags(&source, "1.0", &destination).args(["-w", "1"]).run().await.assert_success(1);
    assert_eq!((lacks.hits(), destination.count(Kind::RedirectedGet)), (1, 2));
    assert_eq!(destination.count(Kind::UploadFinish), 1);
}

#[tokio::test]
async fn what_a_registry_says_that_it_took_under_another_digest_has_failed() {
    let other = scriptable_registry::digest_of(b"something else");
    for kind in [Kind::ManifestPut, Kind::UploadFinish] {
        let destination = Registry::builder().takes_incomplete_manifests().start().await;
        let (source, migration) = image_of(300_000, &destination).await;
        // Once all of it has come.
        let took = Answer::status(201).header("docker-content-digest", &other);
        let lie = destination.on(kind, took.and(Action::StallRequestAfter(u64::MAX)));
        let outcome = migration.run().await;
        outcome.assert_failures(1, 1, 0);
        assert!(lie.hits() > 0);
        let to = format!("{}/moved/app:1.0", destination.host());
        outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &[&format!("has digest {other}, expected")]);
    }
}

/// By the name of its digest it would be found there, whatever a page for people is about.
#[tokio::test]
async fn a_page_for_people_is_no_manifest_that_is_there() {
    let destination = Registry::open().await;
    destination.put("moved/app", "other", &small(9));
    let page = Answer::status(200).header("Content-Type", "text/html").body("<html>sign in</html>");
    let pages = destination.on(Kind::ManifestHead, page);
    let source = Registry::open().await;
    let digest = source.put("team/app", "1.0", &small(1));
    let migration = Migration::new().app_tags(&source, &digest, &destination);
    migration.run().await.assert_success(1);
    assert!(pages.hits() > 0);
    assert_eq!(destination.missing("moved/app", &digest), Vec::<String>::new());
}

/// After a failure nobody knows what its session has.
#[tokio::test]
async fn a_small_blob_whose_upload_failed_is_sent_into_another_one() {
    for failure in [Action::Drop, Answer::status(500).into()] {
        let destination = Registry::open().await;
        let (source, migration) = image_of(2_000, &destination).await;
        let layer = small(1).layers().remove(0);
        let failed = destination.on(Kind::UploadFinish.of(&layer).once(), failure);
        migration.run().await.assert_success(1);
        assert_eq!(failed.hits(), 1);
        let sent = destination.requests_of(Kind::UploadFinish.of(&layer));
        let uploads: Vec<_> = sent.iter().map(|request| &request.upload).collect();
        assert!(uploads.len() == 2 && uploads[0] != uploads[1], "{uploads:?}");
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
    }
}

#[tokio::test]
async fn mounts_that_a_registry_fails_at_are_given_up_and_blobs_sent() {
    let registry = Registry::open().await;
    let mut migration = Migration::new().args(["-w", "1"]);
    let from_another = Kind::Mount.filter(|mount| mount.from != mount.repository);
    let failed = registry.on(from_another, Answer::status(500));
    for seed in 0..6 {
        registry.put(&format!("team/app{seed}"), "1.0", &large(seed));
        let to = format!("{}/moved/app{seed}", registry.host());
        migration = migration.rule(registry.reference(&format!("team/app{seed}"), "1.0"), to);
    }
    migration.run().await.assert_success(6);
    assert_same((&registry, "team/app5", "1.0"), (&registry, "moved/app5", "1.0"));
    // Five tries each.
    assert!((1..=3 * 5).contains(&failed.hits()), "{}", failed.hits());
}

#[tokio::test]
async fn a_storage_that_cannot_be_reached_is_no_reason_to_send_what_is_there() {
    let destination = Registry::builder().mounts(Mounts::Ignored).start().await;
    let there = Image::new("linux/amd64").layer_of(1, 2 * MIB).layer("more");
    destination.put("moved/app", "other", &there);
    let layer = there.layers().remove(0);
    let away = Answer::status(307).header("location", "http://127.0.0.1:1/blob");
    let led = destination.on(Kind::BlobHead.of(&layer), away);
    let (source, migration) = image_of(2 * MIB, &destination).await;
    migration.run().await.assert_success(1);
    assert!(led.hits() > 0);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
    assert_eq!(destination.requests_of(Kind::UploadFinish.of(&layer)).len(), 0);
}

#[tokio::test]
async fn a_registry_that_refuses_mounts_from_the_source_is_hardly_asked() {
    let registry = profiles::jfrog().start().await;
    let layers = (0..8).fold(Image::new("linux/amd64"), |image, seed| image.layer_of(seed, 2_000));
    registry.put("team/app", "1.0", &layers);
    let migration = Migration::new().app_tags(&registry, "1.0", &registry).args(["-w", "1"]);
    migration.run().await.assert_success(1);
    assert_same((&registry, "team/app", "1.0"), (&registry, "moved/app", "1.0"));
    let from_source = |mount: &scriptable_registry::Request| mount.from.as_deref() == Some("team/app");
    let asked = registry.requests_of(Kind::Mount).into_iter().filter(from_source).count();
    assert_eq!(asked, 3);
}

/// The body of a redirected request is on its way already, and whoever sees it there would be somebody else.
#[tokio::test]
async fn an_upload_that_is_led_elsewhere_is_not_sent_there_and_says_so() {
    for (status, kind) in [(307, Kind::UploadFinish), (308, Kind::ManifestPut)] {
        let (source, destination) = two_registries().await;
        let elsewhere = Registry::open().await;
        source.put("app", "1", &large(1));
        let place = format!("http://{}/v2/app/blobs/uploads/1?signature=s3cret", elsewhere.host());
        destination.on(kind, Answer::status(status).header("Location", &place));
        let migration = Migration::new().rule(source.reference("app", "1"), destination.reference("app", "1"));
        let outcome = migration.run().await;
        outcome.assert_failures(1, 1, 0);
        let code = status.to_string();
        let words = [code.as_str(), "it leads to 127.0.0.1, where this request is not sent on", "images.json"];
        outcome.assert_failed(&source.reference("app", "1"), &destination.reference("app", "1"), &words);
        assert!(!outcome.everything().contains("s3cret"), "{outcome}");
        assert_eq!(elsewhere.count_all(), 0);
    }
}

/// As `1.0-amd64` beside `1.0`: with each PUT distribution writes a manifest's link anew, and an index that is put meanwhile
/// is told that what it names is missing.
#[tokio::test]
async fn a_tag_of_its_own_is_not_put_while_an_index_that_names_the_image_is() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &Index::new().image(&small(1)));
    source.put("team/app", "1.0-amd64", &small(1));
    let gate = Gate::closed();
    source.on(Kind::ManifestGet.of("1.0-amd64"), gate.clone());
    destination.on(Kind::ManifestPut.of("1.0"), Action::Delay(Duration::from_millis(500)));
    destination.on_each(Kind::ManifestPut.of("1.0"), move |_| {
        gate.open();
        None
    });
    Migration::new().app(&source, &destination).run().await.assert_success(2);
    assert_eq!((destination.count(Kind::ManifestPut), destination.peak(Kind::ManifestPut)), (3, 1));
}

#[tokio::test]
async fn an_answer_to_a_mount_that_leads_to_the_blob_is_no_upload_whatever_its_number() {
    for status in [200, 202] {
        let registry = Arc::new(Registry::open().await);
        registry.put("team/app", "1.0", &large(1));
        let weak = Arc::downgrade(&registry);
        registry.on_each(Kind::Mount, move |mount| {
            let registry = weak.upgrade()?;
            let (to, digest) = (mount.repository.as_deref()?, mount.reference.as_deref()?);
            registry.put_blob(to, registry.blob(mount.from.as_deref()?, digest)?);
            let own = format!("/v2/{to}/blobs/{digest}");
            Some(Answer::status(status).header("Location", &own).into())
        });
        Migration::new().app_tags(&registry, "1.0", &registry).run().await.assert_success(1);
        assert_same((&registry, "team/app", "1.0"), (&registry, "moved/app", "1.0"));
        assert_eq!([Kind::BlobGet, Kind::UploadFinish].map(|kind| registry.count(kind)), [0, 0], "{status}");
    }
}
