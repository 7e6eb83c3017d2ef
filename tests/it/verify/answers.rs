//! Registries whose answers do not say what they have.

use sha2::{Digest as _, Sha512};

use super::*;

#[tokio::test]
async fn what_a_source_says_wrongly_of_a_tag_or_by_another_algorithm_is_no_difference() {
    let image = small(1);
    let digits: String = Sha512::digest(image.build().bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    for named in [format!("sha256:{}", "0".repeat(64)), format!("sha512:{digits}")] {
        let (source, destination) = migrated(&[("1", &image)]).await;
        let reads = Matcher::any_of([Kind::ManifestHead, Kind::ManifestGet]);
        source.on(reads.of("1"), Action::header("docker-content-digest", &named));
        let outcome = verify(&source, &destination, &["--depth", "tree"]).run().await;
        assert_lines(&outcome, 0, &[tally([1, 1, 0, 0, 0, 0])]);
        let plan = Migration::new()
            .rule(format!("{}/app", source.host()), format!("{}/app", destination.host()))
            .args(["--dry-run"])
            .run()
            .await;
        assert!(plan.stdout.contains(": up to date\n"), "{plan}");

        let found = destination.put("app", "1", &small(2));
        let outcome = verify(&source, &destination, &[]).run().await;
        let expected = format!("it names {found}, expected {}", image.digest());
        let differs = format!("{}: {expected}", line("differs", &source, &destination, "1"));
        assert_lines(&outcome, 1, &[differs, tally([1, 0, 0, 1, 0, 0])]);
    }
}

#[tokio::test]
async fn a_head_with_the_length_of_nothing_is_not_believed() {
    let image = large(1);
    let (source, destination) = migrated(&[("1", &image)]).await;
    destination.on(Kind::BlobHead, Action::header("Content-Length", "0"));
    let outcome = verify(&source, &destination, &["--depth", "tree"]).run().await;
    assert_lines(&outcome, 0, &[tally([1, 1, 0, 0, 0, 0])]);
}

#[tokio::test]
async fn where_no_head_is_answered_blobs_are_asked_for() {
    for status in [405, 501] {
        let (source, destination) = migrated(&[("1", &large(1)), ("2", &large(2))]).await;
        destination.remove_blob("app", &large(2).layers()[0]);
        destination.on(Kind::BlobHead, Answer::status(status));
        let outcome = verify(&source, &destination, &["--depth", "tree"]).run().await;
        let missing = format!("blob {} of {LARGE} bytes is missing", large(2).layers()[0]);
        let line = format!("{}: {missing}", line("incomplete", &source, &destination, "2"));
        assert_lines(&outcome, 1, &[line, tally([2, 1, 0, 0, 1, 0])]);
    }
}

#[tokio::test]
async fn bytes_that_go_wrong_on_the_way_are_no_damage() {
    let image = large(1);
    let (source, destination) = migrated(&[("1", &image)]).await;
    let hook = destination.on(Kind::BlobGet.of(&image.layers()[0]).once(), Action::CorruptResponse);
    let outcome = verify(&source, &destination, &["--depth", "content"]).run().await;
    assert_lines(&outcome, 0, &[tally([1, 1, 0, 0, 0, 0])]);
    assert_eq!(hook.hits(), 1);
}
