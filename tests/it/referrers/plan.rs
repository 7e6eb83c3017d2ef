//! What a dry run says of that which refers to an image is what a migration then does.

use std::time::Duration;

use scriptable_registry::{Action, Answer, Image, Index, Kind, Registry};
use serde_json::Value;

use super::{attach, list, migration, of, registry, tag, writes};
use crate::support::{Migration, Outcome, assert_only_read, small};

/// A dry run of the same migration.
pub(super) fn dry_run(source: &Registry, destination: &Registry) -> Migration {
    migration(source, destination).args(["--dry-run", "--report", "plan.json"])
}

fn lines<'a>(outcome: &'a Outcome, destination: &str) -> Vec<&'a str> {
    let marker = format!(" -> {destination}: ");
    outcome.stdout.lines().filter_map(|line| Some(line.split_once(&marker)?.1)).collect()
}

fn summary(migration: &Migration, report: &str) -> [u64; 2] {
    let report: Value = serde_json::from_slice(&std::fs::read(migration.path(report)).unwrap()).unwrap();
    ["blobsMoved", "bytesMoved"].map(|name| report["images"][0][name].as_u64().unwrap())
}

#[tokio::test]
async fn what_would_travel_with_an_image_is_planned_as_it_then_travels() {
    for lists in [true, false] {
        let (source, destination) = (registry(true).await, registry(lists).await);
        let one = small(1);
        let subject = source.put("app", "1", &Index::new().image(&one).image(&small(2)));
        let child = source.put("other", "child", &one);
        let (sbom, _) = attach(&source, "text/sbom", &subject, "sbom");
        let (of_sbom, _) = attach(&source, "text/signature", &sbom, "signature of the sbom");
        let (of_child, _) = attach(&source, "text/attestation", &child, "attestation of a child");
        let cosign = format!("{}.sig", tag(&subject));
        source.put("app", &cosign, &small(3));

        let plan = dry_run(&source, &destination);
        let outcome = plan.run().await;
        assert_only_read(&[&source, &destination]);
        let planned = summary(&plan, "plan.json");
        let told = lines(&outcome, &destination.reference("app", "1"));
        let size = format!("{:.1} KiB", planned[1] as f64 / 1024.0);
        assert_eq!(told, [format!("copy {} blobs {size}, with 4 referrers", planned[0])], "{outcome}");
        let load = format!("{}: {size} to move in {} blobs, 0 to mount", destination.host(), planned[0]);
        assert!(outcome.stdout.contains(&load), "{outcome}");
        for referrer in [&sbom, &of_sbom, &of_child, &cosign] {
            let named = outcome.log.as_ref().unwrap().lines().filter(|line| line.contains("referrer would be copied"));
            assert_eq!(named.filter(|line| line.contains(&format!("referrer=\"{referrer}\""))).count(), 1, "{outcome}");
        }

        let run = migration(&source, &destination).args(["--report", "report.json"]);
        run.run().await.assert_success(1);
        assert_eq!(summary(&run, "report.json"), planned, "what was planned is what was moved");

        // Nothing more is planned once it is there, and later only what is new.
        let again = plan.run().await;
        assert_eq!(lines(&again, &destination.reference("app", "1")), ["up to date"], "{again}");
        attach(&source, "text/signature", &subject, "later");
        let later = plan.run().await;
        let expected = ["up to date, copy 1 blobs 5 B, with 1 referrer"];
        assert_eq!(lines(&later, &destination.reference("app", "1")), expected, "{later}");
        destination.clear_log();
        migration(&source, &destination).run().await.assert_success(1);
        assert_eq!(destination.count(Kind::UploadFinish), 1, "{:#?}", destination.requests());
    }
}

#[tokio::test]
async fn what_two_images_share_is_planned_for_the_first_alone() {
    let (source, destination) = (registry(true).await, registry(true).await);
    let subject = source.put("app", "1", &small(1));
    source.retag("app", "1", "2");
    attach(&source, "text/sbom", &subject, "sbom");
    let outcome = dry_run(&source, &destination)
        .rule(source.reference("app", "2"), destination.reference("app", "2"))
        .run()
        .await;
    assert!(lines(&outcome, &destination.reference("app", "1"))[0].ends_with("with 1 referrer"), "{outcome}");
    assert_eq!(lines(&outcome, &destination.reference("app", "2")), ["copy manifests only"], "{outcome}");
}

#[tokio::test]
async fn a_plan_says_what_would_be_left_and_what_would_fail() {
    let (source, destination) = (registry(true).await, registry(false).await);
    let arm = Image::new("linux/arm64").layer_of(2, 1000);
    let subject = source.put("app", "1", &Index::new().image(&small(1)).image(&arm));
    attach(&source, "text/signature", &subject, "of the whole index");
    let outcome = dry_run(&source, &destination).args(["--platform", "linux/arm64"]).run().await;
    assert!(!lines(&outcome, &destination.reference("app", "1"))[0].contains("referrer"), "{outcome}");
    assert!(outcome.stderr.contains(&subject) && outcome.stderr.contains("left"), "{outcome}");

    destination.put("app", "1", &Index::new().image(&small(1)).image(&arm));
    let (_, entry) = attach(&destination, "text/sbom", &subject, "made at the destination");
    list(&destination, &subject, &[entry]);
    let outcome = dry_run(&source, &destination).args(["--no-clobber"]).run().await;
    outcome.assert_line("FAILED ", &["--no-clobber", &subject]);
    assert_eq!(writes(&destination), 0);
}

#[tokio::test]
async fn what_cannot_be_had_for_a_moment_is_planned_in_another_round_with_all_else() {
    let (source, destination) = (registry(true).await, registry(true).await);
    let subject = source.put("app", "1", &small(1));
    let (sbom, _) = attach(&source, "text/sbom", &subject, "sbom");
    attach(&source, "text/sbom", &subject, "another");
    let run = |flags: &[&str]| {
        Migration::with_default_retries()
            .rule(source.reference("app", "1"), destination.reference("app", "1"))
            .args(["--referrers"])
            .args(flags.iter().copied())
    };
    let lost = source.on(Kind::ManifestGet.of(&sbom).once(), Answer::status(404));
    let plan = run(&["--dry-run"]).run().await;
    assert_eq!((plan.code, lost.hits()), (Some(0), 1), "{plan}");
    let told = lines(&plan, &destination.reference("app", "1"));
    assert!(told.len() == 1 && told[0].ends_with("with 2 referrers"), "{plan}");
    assert_eq!(plan.log.as_ref().unwrap().matches("referrer would be copied").count(), 2, "{plan}");
    assert_eq!(run(&[]).run().await.code, Some(0));
    let moved = format!(" to move in {} blobs", destination.count(Kind::UploadFinish));
    assert!(plan.stdout.contains(&moved), "{moved}: {plan}");
}

#[tokio::test]
async fn what_the_destination_does_not_tell_of_one_referrer_keeps_the_image_and_no_other_out_of_the_plan() {
    for status in [422, 500] {
        let (source, destination) = (registry(true).await, registry(true).await);
        destination.put("app", "other", &small(9));
        let subject = source.put("app", "1", &small(1));
        let (lost, _) = attach(&source, "text/sbom", &subject, "sbom");
        let (kept, _) = attach(&source, "text/sbom", &subject, "another");
        let told = destination.on(Kind::BlobHead.of(&of("sbom")), Answer::status(status));
        // What both referrers name is told late.
        destination.on(Kind::BlobHead.of(&of("{}")), Action::Delay(Duration::from_millis(300)));
        let plan = dry_run(&source, &destination).run().await;
        assert!(told.hits() > 0);
        plan.assert_line("FAILED ", &[&subject, &lost, "which refers to it", &status.to_string()]);
        let log = plan.log.as_ref().unwrap();
        let named = |referrer: &str| {
            log.lines().filter(|line| line.contains("referrer would be copied") && line.contains(referrer)).count()
        };
        assert_eq!([&lost, &kept].map(|referrer| named(referrer)), [0, 1], "{plan}");
        // Those of the image, the other referrer's own, and what both referrers name.
        assert!(plan.stdout.contains(" to move in 4 blobs"), "{plan}");
    }
}
