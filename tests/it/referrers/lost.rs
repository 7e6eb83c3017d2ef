//! What a source lists and does not have, or not so that anybody can read it.

use super::plan::dry_run;
use super::*;

#[tokio::test]
async fn a_referrer_that_cannot_be_had_fails_its_image_and_keeps_no_other_away() {
    let wrong = || Kind::BlobGet.of(&of("sbom"));
    for (lists, blob, answer, words) in [
        (true, None, Answer::status(404).into(), "404"),
        (false, None, Answer::status(404).into(), "404"),
        (false, None, Answer::status(500).into(), "500"),
        (false, Some(wrong()), Action::CorruptResponse, "sha256"),
    ] {
        let (source, destination) = (registry(true).await, registry(lists).await);
        let one = small(1);
        let subject = source.put("app", "1", &Index::new().image(&one).image(&small(2)));
        let child = source.put("other", "child", &one);
        let (lost, _) = attach(&source, "text/sbom", &subject, "sbom");
        let (kept, _) = attach(&source, "text/sbom", &subject, "another");
        let (of_kept, _) = attach(&source, "text/signature", &kept, "of the other");
        let (of_child, _) = attach(&source, "text/signature", &child, "of a child");
        let is_planned_to_fail = blob.is_none();
        source.on(blob.unwrap_or_else(|| Kind::ManifestGet.of(&lost)), answer);
        let planning = dry_run(&source, &destination);
        let plan = planning.run().await;
        let outcome = migration(&source, &destination).run().await;
        outcome.assert_failures(1, 1, 0);
        outcome.assert_line("FAILED ", &[&lost, "which refers to it", words]);
        if is_planned_to_fail {
            plan.assert_line("FAILED ", &[&lost, "which refers to it", words]);
            assert!(!plan.stderr.contains("--platform"), "{plan}");
            let moved = destination.count(Kind::UploadFinish);
            let load = format!(" to move in {moved} blobs");
            assert!(plan.stdout.contains(&load), "{load}: {plan}");
            let report: Value = serde_json::from_slice(&std::fs::read(planning.path("plan.json")).unwrap()).unwrap();
            assert_eq!(report["summary"]["blobsMoved"], moved, "{report}");
            assert_eq!(report["images"][0]["blobsPresent"], 0, "{report}");
        }
        for digest in [&kept, &of_kept, &of_child] {
            assert_eq!(destination.missing("app", digest), Vec::<String>::new(), "{outcome}");
        }
        if !lists {
            assert_eq!((listed(&destination, &subject), listed(&destination, &kept)), (vec![kept], vec![of_kept]));
        }
    }
}

#[tokio::test]
async fn what_a_destination_does_not_list_for_a_moment_keeps_no_other_away() {
    let (source, destination) = (registry(true).await, registry(true).await);
    let one = small(1);
    let subject = source.put("app", "1", &Index::new().image(&one));
    let child = source.put("other", "child", &one);
    attach(&source, "text/sbom", &subject, "sbom");
    let (of_child, _) = attach(&source, "text/signature", &child, "of a child");
    destination.on(Kind::Referrers.of(&subject), Answer::status(500));
    let outcome = migration(&source, &destination).run().await;
    outcome.assert_failures(1, 1, 0);
    assert_eq!(destination.missing("app", &of_child), Vec::<String>::new(), "{outcome}");
}

#[tokio::test]
async fn a_list_of_referrers_that_cannot_be_read_to_its_end_fails_its_image() {
    let long = json!({ "manifests": [], "annotations": { "of": "x".repeat(5 << 20) } }).to_string();
    for (link, second, words) in [
        ("<http://r.example.com/v2/app/referrers/x>; rel=next", Action::All(Vec::new()), "another host"),
        ("<http://[bad>; rel=next", Action::All(Vec::new()), "cannot be read"),
        ("</v2/app/referrers/x?page=2>; rel=next", Answer::status(404).into(), "404"),
        ("</v2/app/referrers/x?page=2>; rel=next", Answer::status(200).body("<html>").into(), "not a list"),
        ("</v2/app/referrers/x?page=2>; rel=next", Answer::status(200).body(long).into(), "8 MiB"),
        ("<?page=2>; rel=next", Action::All(Vec::new()), "100 pages"),
    ] {
        let (source, destination) = (registry(true).await, registry(true).await);
        let subject = source.put("app", "1", &small(1));
        attach(&source, "text/sbom", &subject, "sbom");
        source.on(Kind::Referrers.filter(|request| request.query == "page=2"), second);
        source.on(Kind::Referrers, Action::header("Link", link));
        let outcome = migration(&source, &destination).run().await;
        outcome.assert_failures(1, 1, 0);
        outcome.assert_line("FAILED ", &[words]);
    }
}

#[tokio::test]
async fn an_index_that_the_source_lists_and_has_lost_is_not_missed_where_it_is_there() {
    let (source, destination) = (registry(true).await, registry(true).await);
    let subject = source.put("app", "1", &small(1));
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "artifactType": "text/reports", "manifests": [],
        "subject": { "mediaType": ARTIFACT, "digest": subject, "size": 1 },
    });
    let index = source.put_manifest("app", &of(&index.to_string()), INDEX, index.to_string());
    migration(&source, &destination).run().await.assert_success(1);
    source.on(Kind::ManifestGet.of(&index), Answer::error(404, "MANIFEST_UNKNOWN", "gone"));
    let (later, _) = attach(&source, "text/sbom", &subject, "later");
    for run in [dry_run(&source, &destination), migration(&source, &destination)] {
        let outcome = run.run().await;
        assert_eq!(outcome.code, Some(0), "{outcome}");
        outcome.assert_line(" WARN ", &["lost an index", &index]);
    }
    assert_eq!(destination.missing("app", &later), Vec::<String>::new());
    // Where it is not, it is missed.
    assert!(destination.remove_manifest("app", &index));
    let outcome = migration(&source, &destination).run().await;
    outcome.assert_failures(1, 1, 0);
    outcome.assert_line("FAILED ", &[&index, "which refers to it", "404"]);
}

#[tokio::test]
async fn what_a_source_lists_and_nobody_can_read_is_told() {
    let (source, destination) = (registry(false).await, registry(true).await);
    let subject = source.put("app", "1", &small(1));
    let (_, mut entry) = attach(&source, "text/sbom", &subject, "sbom");
    entry["size"] = json!(-1);
    list(&source, &subject, &[entry]);
    let outcome = migration(&source, &destination).run().await;
    outcome.assert_success(1);
    outcome.assert_line(" WARN ", &[&tag(&subject), "is not seen"]);

    let (source, destination) = (registry(true).await, registry(true).await);
    let subject = source.put("app", "1", &small(1));
    let entry = json!({ "mediaType": ARTIFACT, "digest": "blake3:00", "size": 1 });
    let answer = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
    source.on(Kind::Referrers.of(&subject), Answer::status(200).body(answer.to_string()));
    let outcome = migration(&source, &destination).run().await;
    outcome.assert_success(1);
    outcome.assert_line(" WARN ", &["1 entries", "are not seen"]);
}

#[tokio::test]
async fn what_a_lost_referrer_shares_with_another_is_planned_with_the_other() {
    let (source, destination) = (registry(false).await, registry(true).await);
    let subject = source.put("app", "1", &small(1));
    let part = |n: u64| {
        let image = Image::new("linux/amd64").layer_of(n, 1000);
        let digest = source.put("app", &format!("part-{n}"), &image);
        let size = source.manifest("app", &digest).unwrap().bytes.len();
        json!({ "mediaType": ARTIFACT, "digest": digest, "size": size })
    };
    let (both, broken) = (part(7), part(8));
    let entries = [json!([both, broken]), json!([both])].map(|parts| {
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX, "artifactType": "text/reports", "manifests": parts,
            "subject": { "mediaType": ARTIFACT, "digest": subject, "size": 1 },
        });
        let size = index.to_string().len();
        let digest = source.put_manifest("app", &of(&index.to_string()), INDEX, index.to_string());
        json!({ "mediaType": INDEX, "digest": digest, "size": size })
    });
    list(&source, &subject, &entries);
    source.on(Kind::ManifestGet.of(broken["digest"].as_str().unwrap()), Answer::status(404));
    let plan = dry_run(&source, &destination).run().await;
    let outcome = migration(&source, &destination).run().await;
    for outcome in [&plan, &outcome] {
        outcome.assert_line("FAILED ", &[broken["digest"].as_str().unwrap(), "404"]);
    }
    let load = format!(" to move in {} blobs", destination.count(Kind::UploadFinish));
    assert!(plan.stdout.contains(&load), "{load}: {plan}");
}

#[tokio::test]
async fn what_stays_behind_is_told_when_nothing_is_lost() {
    let (source, destination) = (registry(true).await, registry(true).await);
    let arm = Image::new("linux/arm64").layer_of(2, 1000);
    let riscv = Image::new("linux/riscv64").layer_of(3, 1000);
    let subject = source.put("app", "1", &Index::new().image(&small(1)).image(&arm).image(&riscv));
    let child = source.put("other", "child", &arm);
    attach(&source, "text/signature", &subject, "of the whole index");
    let (lost, _) = attach(&source, "text/sbom", &child, "of a child");
    let missing = source.on(Kind::ManifestGet.of(&lost).times(2), Answer::status(404));
    for is_lost in [true, false] {
        for run in [dry_run(&source, &destination), migration(&source, &destination)] {
            let outcome = run.args(["--platform", "linux/arm64,linux/riscv64"]).run().await;
            assert_eq!(outcome.code, Some(i32::from(is_lost)), "{outcome}");
            assert_eq!(outcome.stderr.contains("left what refers"), !is_lost, "{outcome}");
        }
    }
    assert_eq!(missing.hits(), 2);
}
