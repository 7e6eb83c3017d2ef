//! What others have added at the destination to signatures and lists is not taken away without a word.

use std::sync::Arc;

use super::*;
use crate::support::{Outcome, when};

/// Puts signatures under cosign's tag for `subject`, as cosign does: one layer each, told apart by its annotation.
fn sign(registry: &Registry, subject: &str, signatures: &[&str]) -> String {
    let config = registry.put_blob("app", "{}");
    let payload = registry.put_blob("app", "what is signed");
    let layer = |signature: &&str| {
        json!({
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": payload, "size": 14,
            "annotations": { "dev.cosignproject.cosign/signature": signature },
        })
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": ARTIFACT,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2 },
        "layers": signatures.iter().map(layer).collect::<Vec<_>>(),
    });
    registry.put_manifest("app", &sig(subject), ARTIFACT, manifest.to_string())
}

fn sig(subject: &str) -> String {
    format!("{}.sig", tag(subject))
}

/// A source with an image that has this signature, and a destination that has both; with the image's digest.
async fn copied_with(signature: &str) -> (Registry, Registry, String) {
    let (source, destination) = (registry(false).await, registry(false).await);
    let subject = source.put("app", "1", &small(1));
    sign(&source, &subject, &[signature]);
    migration(&source, &destination).run().await.assert_success(1);
    (source, destination, subject)
}

/// The dry run, then the migration itself.
async fn plan_and_run(migration: impl Fn() -> Migration) -> [Outcome; 2] {
    let plan = migration().args(["--dry-run"]).run().await;
    [plan, migration().run().await]
}

fn warnings(outcome: &Outcome) -> Vec<&str> {
    outcome.stderr.lines().filter(|line| line.contains(" WARN ")).collect()
}

#[tokio::test]
async fn a_signature_that_the_destination_added_stays() {
    for flags in [&[][..], &["--force"], &["--no-clobber"]] {
        let (source, destination, subject) = copied_with("theirs").await;
        let both = sign(&destination, &subject, &["theirs", "ours"]);
        let again = || migration(&source, &destination).args(flags.iter().copied());
        for outcome in plan_and_run(again).await {
            assert_eq!(outcome.code, Some(0), "{outcome}");
            assert_eq!(warnings(&outcome), [""; 0]);
            assert!(!outcome.stdout.contains("referrer"), "{outcome}");
        }
        assert_eq!(destination.digest("app", &sig(&subject)), Some(both), "{flags:?}");
    }
}

#[tokio::test]
async fn a_signature_that_the_destination_adds_while_a_run_goes_on_stays() {
    let (source, destination) = (registry(false).await, Arc::new(registry(false).await));
    let subject = source.put("app", "1", &small(1));
    sign(&source, &subject, &["theirs"]);
    // It has tags, which are listed, and not yet this image.
    destination.put("app", "other", &small(2));
    let signed = subject.clone();
    when(&destination, Kind::ManifestPut.of("1"), move |there| _ = sign(there, &signed, &["theirs", "ours"]));
    let outcome = migration(&source, &destination).run().await;
    outcome.assert_success(1);
    assert!(destination.count(Kind::TagList) > 0, "{outcome}");
    let layers = &destination.manifest("app", &sig(&subject)).unwrap().json()["layers"];
    assert_eq!(layers.as_array().unwrap().len(), 2, "{outcome}");
}

#[tokio::test]
async fn a_signature_of_which_the_source_names_a_wrong_digest_is_read_by_its_tag() {
    let (source, destination, subject) = copied_with("theirs").await;
    let wrong = format!("sha256:{}", "0".repeat(64));
    source.on(Kind::ManifestHead.of(&sig(&subject)), Action::header("docker-content-digest", &wrong));
    let again = || migration(&source, &destination);
    for outcome in plan_and_run(again).await {
        assert_eq!(outcome.code, Some(0), "{outcome}");
        assert!(!outcome.stdout.contains("referrer"), "{outcome}");
    }
    let both = sign(&source, &subject, &["theirs", "theirs again"]);
    let [plan, run] = plan_and_run(again).await;
    assert!(plan.stdout.contains("with 1 referrer"), "{plan}");
    run.assert_success(1);
    assert_eq!(destination.digest("app", &sig(&subject)), Some(both));
}

#[tokio::test]
async fn a_signature_that_cannot_be_read_for_a_moment_is_not_replaced() {
    let (source, destination, subject) = copied_with("theirs").await;
    let both = sign(&destination, &subject, &["theirs", "ours"]);
    destination.on(Kind::ManifestGet.of(&both), Answer::status(500));
    let outcome = migration(&source, &destination).run().await;
    outcome.assert_failures(1, 1, 0);
    outcome.assert_line("FAILED ", &[&sig(&subject), "500"]);
    assert_eq!(destination.digest("app", &sig(&subject)), Some(both));
}

#[tokio::test]
async fn force_mends_what_a_signature_needs_that_stays() {
    let (source, destination, subject) = copied_with("theirs").await;
    let both = sign(&destination, &subject, &["theirs", "ours"]);
    assert!(destination.remove_blob("app", &of("what is signed")));
    migration(&source, &destination).args(["--force"]).run().await.assert_success(1);
    assert_eq!(destination.digest("app", &sig(&subject)), Some(both.clone()));
    assert_eq!(destination.missing("app", &both), Vec::<String>::new());
}

#[tokio::test]
async fn a_signature_that_goes_when_the_source_signs_anew_is_told() {
    let (source, destination, subject) = copied_with("first").await;
    // Another one beside the first takes nothing away.
    let second = sign(&source, &subject, &["first", "second"]);
    let outcome = migration(&source, &destination).run().await;
    assert_eq!((warnings(&outcome), destination.digest("app", &sig(&subject))), (vec![], Some(second)), "{outcome}");

    let ours = sign(&destination, &subject, &["first", "ours"]);
    let third = sign(&source, &subject, &["third"]);
    for outcome in plan_and_run(|| migration(&source, &destination)).await {
        assert_eq!(outcome.code, Some(0), "{outcome}");
        let [warning] = warnings(&outcome)[..] else { panic!("{outcome}") };
        for word in [&ours, &third, &sig(&subject), "takes away 2"] {
            assert!(warning.contains(word), "{word}\n{outcome}");
        }
    }
    assert_eq!(destination.digest("app", &sig(&subject)), Some(third));
}

#[tokio::test]
async fn of_two_sources_with_signatures_of_one_image_the_first_keeps_the_tag() {
    let (one, two, destination) = (registry(false).await, registry(false).await, registry(false).await);
    let subject = one.put("app", "1", &small(1));
    two.put("app", "1", &small(1));
    let signed = [sign(&one, &subject, &["one"]), sign(&two, &subject, &["two"])];
    let migration = Migration::new()
        .rule(one.reference("app", "1"), destination.reference("app", "1"))
        .rule(two.reference("app", "1"), destination.reference("app", "2"))
        .args(["--referrers"]);
    let mut kept = None;
    for round in 0..3 {
        let outcome = migration.run().await;
        outcome.assert_success(2);
        let [warning] = warnings(&outcome)[..] else { panic!("{outcome}") };
        assert!([&one, &two].iter().all(|source| warning.contains(&format!("{}/app", source.host()))), "{outcome}");
        let named = destination.digest("app", &sig(&subject));
        assert!(signed.iter().any(|digest| Some(digest) == named.as_ref()), "{outcome}");
        assert_eq!(kept.get_or_insert(named.clone()), &named, "round {round}");
    }
    let puts = destination.requests_of(Kind::ManifestPut.of(&sig(&subject)));
    assert_eq!(puts.len(), 1, "{puts:#?}");
}

#[tokio::test]
async fn an_entry_of_a_list_that_goes_as_the_rules_say_is_told() {
    for flags in [&["--referrers"][..], &[]] {
        let (source, destination) = (registry(false).await, registry(false).await);
        let subject = source.put("app", "1", &small(1));
        let (_, theirs) = attach(&source, "text/sbom", &subject, "theirs");
        let listed_there = list(&source, &subject, std::slice::from_ref(&theirs));
        let whole = || {
            Migration::new()
                .rule(format!("{}/app", source.host()), format!("{}/app", destination.host()))
                .args(flags.iter().copied())
        };
        whole().run().await.assert_success(2);
        let (_, ours) = attach(&destination, "text/signature", &subject, "ours");
        let joined = list(&destination, &subject, &[theirs, ours]);
        for outcome in plan_and_run(whole).await {
            assert_eq!(outcome.code, Some(0), "{outcome}");
            let [warning] = warnings(&outcome)[..] else { panic!("{outcome}") };
            for word in [&joined, &listed_there, &tag(&subject), "takes away 1"] {
                assert!(warning.contains(word), "{word}\n{outcome}");
            }
        }
        assert_eq!(destination.digest("app", &tag(&subject)), Some(listed_there));
    }
}
