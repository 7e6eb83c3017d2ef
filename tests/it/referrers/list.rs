//! The list under a tag that a destination without lists of its own gets.

use super::*;

/// As the registry of go-containerregistry lists them: with the type of the configuration, without annotations.
#[tokio::test]
async fn a_list_that_is_written_tells_of_a_referrer_what_its_manifest_says() {
    let of_configuration = "application/vnd.oci.empty.v1+json";
    // What has no type of its own is of that of its configuration.
    for (own, listed_as, told) in [("text/sbom", of_configuration, "text/sbom"), ("", "text/other", of_configuration)] {
        let (source, destination) = (registry(true).await, registry(false).await);
        let subject = source.put("app", "1", &small(1));
        let (sbom, mut entry) = attach(&source, own, &subject, "sbom");
        entry["artifactType"] = json!(listed_as);
        let answer = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
        source.on(Kind::Referrers.of(&subject), Answer::status(200).body(answer.to_string()));
        migration(&source, &destination).run().await.assert_success(1);
        assert_eq!(listed(&destination, &subject), [sbom]);
        let entry = &destination.manifest("app", &tag(&subject)).unwrap().json()["manifests"][0];
        assert_eq!(entry["artifactType"], told);
        assert_eq!(entry["annotations"], json!({ "of": "sbom" }));
    }
}

/// Puts a list that says more than its entries' manifests do.
fn own_list(registry: &Registry, subject: &str, entries: &[Value]) -> String {
    let entries = entries.iter().map(|entry| {
        let mut entry = entry.clone();
        entry["annotations"] = json!({ "says": "the list alone" });
        entry
    });
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "artifactType": "text/list",
        "manifests": entries.collect::<Vec<_>>(), "annotations": { "kept": "by hand" },
    });
    registry.put_manifest("app", &tag(subject), INDEX, index.to_string())
}

#[tokio::test]
async fn a_list_to_which_nothing_is_joined_is_the_one_of_the_source() {
    let (source, destination) = (registry(false).await, registry(false).await);
    let subject = source.put("app", "1", &small(1));
    let mut entries = Vec::new();
    for text in ["first", "later"] {
        entries.push(attach(&source, "text/sbom", &subject, text).1);
        let there = own_list(&source, &subject, &entries);
        for flags in [&[][..], &["--force"]] {
            migration(&source, &destination).args(flags.iter().copied()).run().await.assert_success(1);
            assert_eq!(destination.digest("app", &tag(&subject)), Some(there.clone()), "{text} {flags:?}");
        }
    }
    // It is what a rule for all tags wants there.
    let whole = Migration::new().rule(format!("{}/app", source.host()), format!("{}/app", destination.host()));
    whole.args(["--referrers", "--no-clobber"]).run().await.assert_success(2);
}

#[tokio::test]
async fn a_list_is_joined_where_the_destination_says_something_of_its_own() {
    let (source, destination) = (registry(false).await, registry(false).await);
    let subject = source.put("app", "1", &small(1));
    let (sbom, entry) = attach(&source, "text/sbom", &subject, "sbom");
    own_list(&source, &subject, std::slice::from_ref(&entry));
    migration(&source, &destination).run().await.assert_success(1);
    let mut noted = entry.clone();
    noted["annotations"] = json!({ "noted": "at the destination" });
    list(&destination, &subject, &[noted]);
    let (later, other) = attach(&source, "text/sbom", &subject, "later");
    own_list(&source, &subject, &[entry, other]);
    migration(&source, &destination).run().await.assert_success(1);
    assert_eq!(listed(&destination, &subject), [sbom, later]);
    let index = destination.manifest("app", &tag(&subject)).unwrap().json();
    assert_eq!(index["manifests"][0]["annotations"]["noted"], "at the destination");
    // Each once, also where all are brought again.
    migration(&source, &destination).args(["--force"]).run().await.assert_success(1);
    assert_eq!(listed(&destination, &subject).len(), 2);
}

/// As Harbor lists them.
#[tokio::test]
async fn a_list_that_says_wrong_sizes_is_written_with_the_right_ones() {
    let (source, destination) = (registry(false).await, registry(false).await);
    let subject = source.put("app", "1", &small(1));
    let (sbom, mut entry) = attach(&source, "text/sbom", &subject, "sbom");
    entry["size"] = json!(7);
    list(&source, &subject, &[entry]);
    migration(&source, &destination).run().await.assert_success(1);
    let entry = &destination.manifest("app", &tag(&subject)).unwrap().json()["manifests"][0];
    assert_eq!(entry["size"], destination.manifest("app", &sbom).unwrap().bytes.len());
}

/// A list under a tag is believed, like all that a destination names.
#[tokio::test]
async fn force_brings_back_a_referrer_that_was_deleted_while_its_list_names_it() {
    let (source, destination) = (registry(false).await, registry(false).await);
    let subject = source.put("app", "1", &small(1));
    let (sbom, entry) = attach(&source, "text/sbom", &subject, "sbom");
    let there = list(&source, &subject, &[entry]);
    for flags in [&[][..], &["--force"]] {
        migration(&source, &destination).args(flags.iter().copied()).run().await.assert_success(1);
        assert_eq!(destination.missing("app", &sbom), Vec::<String>::new(), "{flags:?}");
        assert!(destination.remove_manifest("app", &sbom));
    }
    assert_eq!(destination.digest("app", &tag(&subject)), Some(there));
}
