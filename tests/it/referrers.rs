//! What refers to an image travels with it, if that is wanted: signatures, SBOMs, attestations.

mod added;
mod answers;
mod deep;
mod list;
mod lost;
mod plan;
mod planned;

use scriptable_registry::{Action, Answer, Gate, Image, Index, Kind, Registry};
use serde_json::{Value, json};

use crate::support::{Migration, small};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const ARTIFACT: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry that lists referrers, or one that does not.
async fn registry(lists: bool) -> Registry {
    let builder = Registry::builder();
    if lists { builder.referrers().start().await } else { builder.start().await }
}

/// A manifest of some kind that refers to another; answers its digest and its entry in a list.
fn attach(registry: &Registry, kind: &str, subject: &str, text: &str) -> (String, Value) {
    let config = registry.put_blob("app", "{}");
    let layer = registry.put_blob("app", text.to_owned());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": ARTIFACT, "artifactType": kind,
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2 },
        "layers": [{ "mediaType": "text/plain", "digest": layer, "size": text.len() }],
        "subject": { "mediaType": ARTIFACT, "digest": subject, "size": 1 },
        "annotations": { "of": text },
    });
    let bytes = manifest.to_string();
    let size = bytes.len();
    let digest = registry.put_manifest("app", &of(&bytes), ARTIFACT, bytes);
    let entry = json!({ "mediaType": ARTIFACT, "digest": digest, "size": size, "artifactType": kind });
    (digest, entry)
}

fn of(bytes: &str) -> String {
    scriptable_registry::digest_of(bytes.as_bytes())
}

/// Puts the list of referrers under its tag.
fn list(registry: &Registry, subject: &str, entries: &[Value]) -> String {
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    registry.put_manifest("app", &tag(subject), INDEX, index.to_string())
}

fn tag(subject: &str) -> String {
    subject.replace(':', "-")
}

/// The digests that the list under the subject's tag has.
fn listed(registry: &Registry, subject: &str) -> Vec<String> {
    let Some(index) = registry.manifest("app", &tag(subject)) else { return Vec::new() };
    let index = index.json();
    let entries = index["manifests"].as_array().unwrap().iter();
    entries.map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
}

fn migration(source: &Registry, destination: &Registry) -> Migration {
    Migration::new().rule(source.reference("app", "1"), destination.reference("app", "1")).args(["--referrers"])
}

fn writes(registry: &Registry) -> u64 {
    [Kind::ManifestPut, Kind::UploadFinish].map(|kind| registry.count(kind)).iter().sum()
}

#[tokio::test]
async fn referrers_of_image_child_and_referrer_travel_along() {
    let (source, destination) = (registry(true).await, registry(true).await);
    let (one, two) = (small(1), small(2));
    let subject = source.put("app", "1", &Index::new().image(&one).image(&two));
    let child = source.put("other", "child", &one);
    let (sbom, _) = attach(&source, "text/sbom", &subject, "sbom");
    let (signature, _) = attach(&source, "text/signature", &sbom, "signature of the sbom");
    let (attestation, _) = attach(&source, "text/attestation", &child, "attestation of a child");
    let outcome = migration(&source, &destination).run().await;
    outcome.assert_success(1);
    for digest in [&subject, &sbom, &signature, &attestation] {
        assert_eq!(destination.missing("app", digest), Vec::<String>::new(), "{outcome}");
    }
    assert_eq!(destination.tags("app"), ["1"], "a registry that lists them needs no tag");
}

#[tokio::test]
async fn a_signature_that_came_later_is_brought_and_nothing_else() {
    let (source, destination) = (registry(true).await, registry(true).await);
    let subject = source.put("app", "1", &small(1));
    attach(&source, "text/sbom", &subject, "sbom");
    let migration = migration(&source, &destination);
    migration.run().await.assert_success(1);
    destination.clear_log();
    migration.run().await.assert_success(1);
    assert_eq!(writes(&destination), 0, "{:#?}", destination.requests());
    let (later, _) = attach(&source, "text/signature", &subject, "later");
    migration.run().await.assert_success(1);
    assert!(destination.manifest("app", &later).is_some());
    assert_eq!(destination.count(Kind::ManifestPut), 1);
}

#[tokio::test]
async fn where_there_is_no_api_the_list_is_kept_under_its_tag_and_merged() {
    let (source, destination) = (registry(true).await, registry(false).await);
    let subject = source.put("app", "1", &small(1));
    let (sbom, _) = attach(&source, "text/sbom", &subject, "sbom");
    destination.put("app", "1", &small(1));
    let (own, entry) = attach(&destination, "text/signature", &subject, "made at the destination");
    list(&destination, &subject, &[entry]);
    let migration = migration(&source, &destination);
    migration.run().await.assert_success(1);
    assert_eq!(listed(&destination, &subject), [own, sbom.clone()]);
    let index = destination.manifest("app", &tag(&subject)).unwrap().json();
    let entry = &index["manifests"][1];
    assert_eq!(entry["artifactType"], "text/sbom");
    assert_eq!(entry["annotations"]["of"], "sbom");
    assert_eq!(entry["size"], destination.manifest("app", &sbom).unwrap().bytes.len());
    destination.clear_log();
    migration.run().await.assert_success(1);
    assert_eq!(writes(&destination), 0, "{:#?}", destination.requests());
}

#[tokio::test]
async fn a_list_under_a_tag_is_found_and_given_to_a_registry_with_the_api() {
    let (source, destination) = (registry(false).await, registry(true).await);
    let subject = source.put("app", "1", &small(1));
    let (sbom, mut entry) = attach(&source, "text/sbom", &subject, "sbom");
    // Harbor lists wrong sizes.
    entry["size"] = json!(7);
    list(&source, &subject, &[entry]);
    migration(&source, &destination).run().await.assert_success(1);
    assert_eq!(destination.missing("app", &sbom), Vec::<String>::new());
    assert_eq!(destination.tags("app"), ["1"]);
}

#[tokio::test]
async fn tags_of_cosign_travel_with_the_image_they_belong_to() {
    let (source, destination) = (registry(false).await, registry(false).await);
    let subject = source.put("app", "1", &small(1));
    let other = source.put("app", "2", &small(2));
    for suffix in ["sig", "att", "sbom"] {
        source.put("app", &format!("{}.{suffix}", tag(&subject)), &small(3));
    }
    source.put("app", &format!("{}.sig", tag(&other)), &small(4));
    migration(&source, &destination).run().await.assert_success(1);
    let mut expected: Vec<String> = ["sig", "att", "sbom"].map(|suffix| format!("{}.{suffix}", tag(&subject))).into();
    expected.push("1".to_owned());
    expected.sort();
    let mut tags = destination.tags("app");
    tags.sort();
    assert_eq!(tags, expected);
}

#[tokio::test]
async fn blobs_of_a_signature_count_to_its_image() {
    let (source, destination) = (registry(false).await, registry(false).await);
    let subject = source.put("app", "1", &small(1));
    source.put("app", &format!("{}.sig", tag(&subject)), &small(3));
    let migration = migration(&source, &destination).args(["--report", "report.json"]);
    migration.run().await.assert_success(1);
    let report: Value = serde_json::from_slice(&std::fs::read(migration.path("report.json")).unwrap()).unwrap();
    let of_image = |name: &str| report["images"][0][name].as_u64().unwrap();
    for name in ["blobsMoved", "bytesMoved"] {
        assert_eq!(of_image(name), report["summary"][name].as_u64().unwrap(), "{name}");
    }
}

#[tokio::test]
async fn what_refers_to_a_manifest_that_was_converted_is_named_and_left() {
    let (source, destination) = (registry(true).await, registry(true).await);
    let arm = Image::new("linux/arm64").layer_of(2, 1000);
    let subject = source.put("app", "1", &Index::new().image(&small(1)).image(&arm));
    let child = source.put("other", "child", &arm);
    let (left, _) = attach(&source, "text/signature", &subject, "of the whole index");
    let (kept, _) = attach(&source, "text/signature", &child, "of a child that stays");
    let outcome = migration(&source, &destination).args(["--platform", "linux/arm64"]).run().await;
    outcome.assert_success(1);
    assert!(destination.manifest("app", &left).is_none());
    assert!(destination.manifest("app", &kept).is_some());
    assert!(outcome.stderr.contains(&subject) && outcome.stderr.contains("left"), "{outcome}");
}

#[tokio::test]
async fn what_is_left_of_a_manifest_is_counted_once_for_all_who_name_it() {
    for flags in [&[][..], &["--dry-run"]] {
        let (source, destination) = (registry(true).await, registry(true).await);
        let arm = Image::new("linux/arm64").layer_of(2, 1000);
        let subject = source.put("app", "1", &Index::new().image(&small(1)).image(&arm));
        attach(&source, "text/signature", &subject, "of the whole index");
        source.retag("app", "1", "2");
        let outcome = Migration::new()
            .rule(source.reference("app", "1,2"), format!("{}/app", destination.host()))
            .args(["--referrers", "--platform", "linux/amd64"])
            .args(flags.iter().copied())
            .run()
            .await;
        assert_eq!(outcome.code, Some(0), "{outcome}");
        assert_eq!(source.requests_of(Kind::Referrers.of(&subject)).len(), 1, "{flags:?}");
    }
}

#[tokio::test]
async fn what_was_converted_and_what_was_left_is_told_once_however_often_it_is_tried() {
    // The tag cannot be written at first, or what refers to a child.
    for of_tag in [true, false] {
        let (source, destination) = (registry(true).await, registry(true).await);
        let arm = Image::new("linux/arm64").layer_of(2, 1000);
        let subject = source.put("app", "1", &Index::new().image(&small(1)).image(&arm));
        let child = source.put("other", "child", &arm);
        attach(&source, "text/signature", &subject, "of the whole index");
        let (kept, _) = attach(&source, "text/signature", &child, "of a child that stays");
        let refused = if of_tag { "1" } else { &kept };
        destination.on(Kind::ManifestPut.of(refused).times(2), Answer::error(400, "MANIFEST_INVALID", "not now"));
        let migration = Migration::with_default_retries()
            .rule(source.reference("app", "1"), destination.reference("app", "1"))
            .args(["--referrers", "--platform", "linux/arm64"]);
        let outcome = migration.run().await;
        assert_eq!(outcome.code, Some(0), "{outcome}");
        assert_eq!(outcome.stdout.matches("Start to retry images tasks").count(), 2, "{outcome}");
        let log = outcome.log.as_ref().unwrap();
        for told in ["manifest converted", "left what refers to"] {
            assert_eq!(log.matches(told).count(), 1, "{told}\n{outcome}");
        }
    }
}

/// As distribution answers, which knows of no repository that has no tag, whatever else it holds.
#[tokio::test]
async fn what_refers_to_an_image_without_a_tag_travels_where_no_repository_is_known_without_tags() {
    // The other says nothing of tags: there may be signatures under some, which are asked for one by one.
    for (code, is_known) in [("NAME_UNKNOWN", true), ("UNSUPPORTED", false)] {
        let (source, destination) = (registry(true).await, registry(true).await);
        let subject = source.put("app", "1", &small(1));
        let (sbom, _) = attach(&source, "text/sbom", &subject, "sbom");
        source.on(Kind::TagList, Answer::error(404, code, "no list of tags"));
        let from = format!("{}/app@{subject}", source.host());
        let migration = Migration::new().rule(&from, destination.reference("app", "1")).args(["--referrers"]);
        let outcome = migration.run().await;
        outcome.assert_success(1);
        assert_eq!(destination.missing("app", &sbom), Vec::<String>::new());
        let asked = source.requests_of(Kind::ManifestHead.of(&format!("{}.sig", tag(&subject))));
        assert_eq!(asked.len(), usize::from(!is_known), "{code}");
    }
}

#[tokio::test]
async fn without_a_list_of_tags_signatures_are_asked_for_one_by_one() {
    for answer in [403, 404, 405] {
        let (source, destination) = (registry(false).await, registry(false).await);
        let subject = source.put("app", "1", &small(1));
        let (sbom, entry) = attach(&source, "text/sbom", &subject, "sbom");
        list(&source, &subject, &[entry]);
        let signature = format!("{}.sig", tag(&subject));
        source.put("app", &signature, &small(3));
        source.on(Kind::TagList, Answer::error(answer, "DENIED", "no lists for you"));
        for flags in [&["--dry-run"][..], &[]] {
            let outcome = migration(&source, &destination).args(flags.iter().copied()).run().await;
            assert_eq!(outcome.code, Some(0), "{outcome}");
        }
        assert_eq!(destination.missing("app", &signature), Vec::<String>::new());
        assert_eq!(listed(&destination, &subject), [sbom]);
    }
}

#[tokio::test]
async fn that_an_image_is_there_is_said_where_what_refers_to_it_cannot_be_looked_for() {
    let (source, destination) = (registry(false).await, registry(false).await);
    source.put("app", "1", &small(1));
    source.on(Kind::TagList, Answer::error(400, "UNKNOWN", "not now"));
    let outcome = migration(&source, &destination).run().await;
    outcome.assert_failures(1, 1, 0);
    outcome.assert_line("FAILED ", &["the image is there", "list of tags", "not now"]);
}

#[tokio::test]
async fn nothing_is_asked_for_that_is_not_wanted() {
    let (source, destination) = (registry(true).await, registry(true).await);
    let subject = source.put("app", "1", &small(1));
    let (sbom, _) = attach(&source, "text/sbom", &subject, "sbom");
    let plain = Migration::new().rule(source.reference("app", "1"), destination.reference("app", "1"));
    plain.run().await.assert_success(1);
    assert_eq!(source.count(Kind::Referrers) + destination.count(Kind::Referrers), 0);
    assert!(destination.manifest("app", &sbom).is_none());
}

#[tokio::test]
async fn a_tag_that_the_rules_name_is_brought_as_they_say_and_by_nobody_else() {
    let (source, destination) = (registry(false).await, registry(false).await);
    let subject = source.put("app", "1", &small(1));
    let (sbom, entry) = attach(&source, "text/sbom", &subject, "sbom");
    let listed_there = list(&source, &subject, &[entry]);
    source.put("app", &format!("{}.sig", tag(&subject)), &small(3));
    let migration = Migration::new()
        .rule(format!("{}/app", source.host()), format!("{}/app", destination.host()))
        .args(["--referrers"]);
    for _ in 0..2 {
        migration.run().await.assert_success(3);
        assert_eq!(destination.digest("app", &tag(&subject)), Some(listed_there.clone()), "the source's own list");
        assert_eq!(destination.missing("app", &sbom), Vec::<String>::new());
    }
    let puts = |tag: String| destination.requests_of(Kind::ManifestPut.of(&tag)).len();
    assert_eq!((puts(tag(&subject)), puts(format!("{}.sig", tag(&subject)))), (1, 1), "one writer for each tag");
}

#[tokio::test]
async fn no_clobber_leaves_a_list_of_referrers_that_others_keep() {
    let (source, destination) = (registry(true).await, registry(false).await);
    let subject = source.put("app", "1", &small(1));
    attach(&source, "text/sbom", &subject, "sbom");
    destination.put("app", "1", &small(1));
    let (_, entry) = attach(&destination, "text/signature", &subject, "made at the destination");
    let kept = list(&destination, &subject, &[entry]);
    let outcome = migration(&source, &destination).args(["--no-clobber"]).run().await;
    outcome.assert_failures(1, 1, 0);
    outcome.assert_line("FAILED ", &["--no-clobber", &subject]);
    assert_eq!(destination.digest("app", &tag(&subject)), Some(kept));
}

#[tokio::test]
async fn an_image_under_the_tag_of_a_list_is_no_list_and_stays() {
    let of_docker = Index::new().docker().image(&small(3).docker());
    for (flags, is_index) in [([].as_slice(), false), (&["--no-clobber"], false), (&["--force"], false), (&[], true)] {
        let (source, destination) = (registry(true).await, registry(false).await);
        let subject = source.put("app", "1", &small(1));
        attach(&source, "text/sbom", &subject, "sbom");
        let foreign = match is_index {
            true => destination.put("app", &tag(&subject), &of_docker),
            false => destination.put("app", &tag(&subject), &small(2)),
        };
        let migration = migration(&source, &destination).args(flags.iter().copied());
        let outcome = plan::dry_run(&source, &destination).args(flags.iter().copied()).run().await;
        outcome.assert_line("FAILED ", &["is no list", &foreign]);
        let outcome = migration.run().await;
        outcome.assert_failures(1, 1, 0);
        outcome.assert_line("FAILED ", &["is no list", &foreign, &subject]);
        assert_eq!(destination.digest("app", &tag(&subject)), Some(foreign), "{outcome}");
    }
}

#[tokio::test]
async fn where_the_tag_of_a_list_names_the_image_itself_it_becomes_a_list_unless_that_is_forbidden() {
    for is_index in [false, true] {
        let put = |registry: &Registry, reference: &str| match is_index {
            true => registry.put("app", reference, &Index::new().image(&small(1))),
            false => registry.put("app", reference, &small(1)),
        };
        let (source, destination) = (registry(true).await, registry(false).await);
        let subject = put(&source, "1");
        let (sbom, _) = attach(&source, "text/sbom", &subject, "sbom");
        put(&destination, &tag(&subject));
        let outcome = migration(&source, &destination).args(["--no-clobber"]).run().await;
        outcome.assert_failures(1, 1, 0);
        assert_eq!(destination.digest("app", &tag(&subject)), Some(subject.clone()));
        migration(&source, &destination).run().await.assert_success(1);
        assert_eq!(listed(&destination, &subject), [sbom]);
    }
}

#[tokio::test]
async fn what_two_sources_have_of_one_image_is_listed_together() {
    let (one, two, destination) = (registry(true).await, registry(true).await, registry(false).await);
    let subject = one.put("app", "1", &small(1));
    two.put("app", "1", &small(1));
    let mut both = [attach(&one, "text/sbom", &subject, "a").0, attach(&two, "text/sbom", &subject, "b").0];
    both.sort();
    // The other reads the list before it is written, if nothing keeps it from that.
    let moment = Action::Delay(std::time::Duration::from_millis(700));
    destination.on(Kind::ManifestPut.of(&tag(&subject)), moment);
    let migration = Migration::new()
        .rule(one.reference("app", "1"), destination.reference("app", "1"))
        .rule(two.reference("app", "1"), destination.reference("app", "2"))
        .args(["--referrers"]);
    let outcome = migration.run().await;
    outcome.assert_success(2);
    let mut listed = listed(&destination, &subject);
    listed.sort();
    assert_eq!(listed, both, "{outcome}");
}

#[tokio::test]
async fn an_image_is_reported_as_copied_whichever_round_copied_it() {
    let (source, destination) = (registry(true).await, registry(true).await);
    let subject = source.put("app", "1", &small(1));
    let (sbom, _) = attach(&source, "text/sbom", &subject, "sbom");
    let before = destination.put("app", "1", &small(2));
    destination.on(Kind::ManifestPut.of(&sbom).times(2), Answer::error(400, "MANIFEST_INVALID", "not now"));
    let migration = Migration::with_default_retries()
        .rule(source.reference("app", "1"), destination.reference("app", "1"))
        .args(["--referrers", "--report", "report.json"]);
    let outcome = migration.run().await;
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let report: Value = serde_json::from_slice(&std::fs::read(migration.path("report.json")).unwrap()).unwrap();
    let image = &report["images"][0];
    assert_eq!((&image["result"], &image["attempts"]), (&json!("copied"), &json!(3)), "{image}");
    assert_eq!((&image["previousDigest"], &image["destinationDigest"]), (&json!(before), &json!(subject)), "{image}");
}
