//! What refers to something that refers to an image.

use super::plan::dry_run;
use super::*;

fn cosign(digest: &str, suffix: &str) -> String {
    format!("{}.{suffix}", tag(digest))
}

/// The tags and digests of which the log says these words.
fn told(log: &str, words: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains(words));
    let mut told: Vec<String> =
        lines.filter_map(|line| Some(line.split_once("referrer=\"")?.1.split_once('"')?.0.to_owned())).collect();
    told.sort();
    told
}

/// As `cosign sign --attachment sbom` makes them.
#[tokio::test]
async fn what_refers_to_a_tag_of_cosign_travels_as_the_plan_says() {
    for lists in [true, false] {
        let (source, destination) = (registry(lists).await, registry(false).await);
        let subject = source.put("app", "1", &small(1));
        let sbom = source.put("app", &cosign(&subject, "sbom"), &small(2));
        let of_sbom = source.put("app", &cosign(&sbom, "sig"), &small(3));
        let attestation = source.put("app", &cosign(&subject, "att"), &small(4));
        let (of_attestation, entry) = attach(&source, "text/signature", &attestation, "of the attestation");
        if !lists {
            list(&source, &attestation, &[entry]);
        }
        let plan = dry_run(&source, &destination).run().await;
        let run = migration(&source, &destination).run().await;
        run.assert_success(1);
        let mut expected =
            vec![cosign(&subject, "sbom"), cosign(&sbom, "sig"), cosign(&subject, "att"), of_attestation.clone()];
        expected.sort();
        assert_eq!(told(plan.log.as_ref().unwrap(), "referrer would be copied"), expected, "{plan}");
        assert_eq!(told(run.log.as_ref().unwrap(), "referrer copied"), expected, "{run}");
        assert_eq!(destination.digest("app", &cosign(&sbom, "sig")), Some(of_sbom.clone()));
        assert_eq!(listed(&destination, &attestation), [of_attestation]);

        // Also when what it refers to is there already.
        let last = source.put("app", &cosign(&of_sbom, "sig"), &small(5));
        let plan = dry_run(&source, &destination).run().await;
        assert_eq!(told(plan.log.as_ref().unwrap(), "would be copied"), [cosign(&of_sbom, "sig")], "{plan}");
        migration(&source, &destination).run().await.assert_success(1);
        assert_eq!(destination.digest("app", &cosign(&of_sbom, "sig")), Some(last));
        destination.clear_log();
        migration(&source, &destination).run().await.assert_success(1);
        assert_eq!(writes(&destination), 0, "{:#?}", destination.requests());
    }
}

#[tokio::test]
async fn what_refers_to_a_child_of_an_index_that_refers_to_an_image_travels() {
    let (source, destination) = (registry(true).await, registry(true).await);
    let subject = source.put("app", "1", &small(1));
    let child = source.put("app", "child", &small(2));
    let size = source.manifest("app", "child").unwrap().bytes.len();
    source.remove_manifest("app", "child");
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "artifactType": "text/reports",
        "manifests": [{ "mediaType": ARTIFACT, "digest": child, "size": size }],
        "subject": { "mediaType": ARTIFACT, "digest": subject, "size": 1 },
    });
    let index = source.put_manifest("app", &of(&index.to_string()), INDEX, index.to_string());
    for text in ["at first", "when the index is there"] {
        let (signature, _) = attach(&source, "text/signature", &child, text);
        let plan = dry_run(&source, &destination).run().await;
        assert!(told(plan.log.as_ref().unwrap(), "would be copied").contains(&signature), "{plan}");
        migration(&source, &destination).run().await.assert_success(1);
        for digest in [&index, &signature] {
            assert_eq!(destination.missing("app", digest), Vec::<String>::new(), "{text}");
        }
    }
}

#[tokio::test]
async fn what_refers_to_an_image_travels_however_far_it_is_from_it() {
    let (source, destination) = (registry(true).await, registry(false).await);
    let mut subject = source.put("app", "1", &small(1));
    let mut chain = Vec::new();
    for n in 0..12 {
        subject = attach(&source, "text/signature", &subject, &n.to_string()).0;
        chain.push(subject.clone());
    }
    let plan = dry_run(&source, &destination).run().await;
    migration(&source, &destination).run().await.assert_success(1);
    for digest in &chain {
        assert_eq!(destination.missing("app", digest), Vec::<String>::new());
    }
    chain.sort();
    assert_eq!(told(plan.log.as_ref().unwrap(), "would be copied"), chain, "{plan}");
}

#[tokio::test]
async fn more_referrers_than_anybody_makes_are_refused_before_any_is_brought() {
    let (source, destination) = (registry(false).await, registry(false).await);
    let subject = source.put("app", "1", &small(1));
    let entry = |n: usize| json!({ "mediaType": ARTIFACT, "digest": of(&n.to_string()), "size": 7 });
    list(&source, &subject, &(0..=10_000).map(entry).collect::<Vec<_>>());
    for flags in [&["--dry-run"][..], &[]] {
        let migration = Migration::with_default_retries()
            .rule(source.reference("app", "1"), destination.reference("app", "1"))
            .args(["--referrers"]);
        let outcome = migration.args(flags.iter().copied()).run().await;
        assert_eq!(outcome.code, Some(1), "{outcome}");
        outcome.assert_line("FAILED ", &["more than 10000 manifests refer", "--referrers"]);
        assert!(!outcome.stdout.contains("Start to retry"), "{outcome}");
    }
    assert_eq!(destination.digest("app", "1"), Some(subject), "the image itself is there");
    assert_eq!(destination.count(Kind::ManifestPut), 1);
}

#[tokio::test]
async fn more_referrers_than_anybody_makes_are_left_like_others_where_their_subject_is_converted() {
    let (source, destination) = (registry(false).await, registry(false).await);
    let arm = Image::new("linux/arm64").layer_of(2, 1000);
    let subject = source.put("app", "1", &Index::new().image(&small(1)).image(&arm));
    let entry = |n: usize| json!({ "mediaType": ARTIFACT, "digest": of(&n.to_string()), "size": 7 });
    list(&source, &subject, &(0..=10_000).map(entry).collect::<Vec<_>>());
    let outcome = migration(&source, &destination).args(["--platform", "linux/arm64"]).run().await;
    outcome.assert_success(1);
    outcome.assert_line(" WARN ", &["left what refers", "10001"]);
}
