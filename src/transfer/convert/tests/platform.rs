//! `--platform`: what stays, and what goes.

use super::*;
use crate::event::Retry;

#[tokio::test]
async fn an_index_is_cut_and_the_rest_of_it_kept() {
    let shelf = Shelf::default();
    let child = |digit: &str, platform: &str| {
        let digest = digit.repeat(64);
        format!(r#"{{"size": 7, "x":1.0, "digest":"sha256:{digest}","mediaType":"{OCI_IMAGE}","platform":{platform}}}"#)
    };
    let amd = child("1", r#"{"os":"linux","architecture":"amd64","os.version":"7"}"#);
    let arm = child("2", r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#);
    let s390 = child("3", r#"{"os":"linux","architecture":"s390x"}"#);
    let source = format!(
        "{{ \"annotations\": {{\"b\":\"\\u00fc\", \"a\": \"1\"}}, \"unknown\": 1e3,\n \"manifests\": [ {amd}, {s390}, {arm} ],\
         \"schemaVersion\": 2, \"subject\": {{\"digest\":\"{LAYER}\"}}}}"
    );
    let root = manifest(OCI_INDEX, &source);
    let tree = placed(&platforms(&["linux/arm64", "linux/amd64"]), &root, &shelf).await;
    let kept = |text: &str| text.replace(", ", ",").replace(": ", ":");
    let expected = format!(
        "{{\"annotations\":{{\"b\":\"\\u00fc\", \"a\": \"1\"}},\"unknown\":1e3,\"manifests\":[{},{}],\"schemaVersion\":2,\
         \"subject\":{{\"digest\":\"{LAYER}\"}}}}",
        kept(&amd),
        kept(&arm)
    );
    assert_eq!(text(&tree.root), expected);
    assert_eq!(tree.root.media_type, OCI_INDEX);
    let [change] = &tree.changes[..] else { panic!("{:?}", tree.changes) };
    assert_eq!((&change.from, &change.to), (&root.digest, &tree.root.digest));
    let dropped: Vec<String> = change.dropped.iter().map(ToString::to_string).collect();
    assert_eq!(dropped, [format!("linux/s390x sha256:{}", "3".repeat(64))]);
    assert_eq!(shelf.reads(), [], "no child has to be there, nor to be read");
}

#[tokio::test]
async fn what_is_as_it_is_wanted_keeps_its_bytes() {
    let mut shelf = Shelf::default();
    let amd = shelf.image(Format::Oci, "linux", "amd64");
    let arm = shelf.image(Format::Oci, "linux", "arm64");
    let children = [descriptor(&amd, &on("linux", "amd64")), descriptor(&arm, &on("linux", "arm64"))];
    let root = manifest(OCI_INDEX, &format!(" {}\n", index(OCI_INDEX, &children)));
    for conversion in
        [Conversion::default(), platforms(&["linux/amd64", "linux/arm64/v8", "windows/amd64"]), format(Format::Oci)]
    {
        let tree = placed(&conversion, &root, &shelf).await;
        assert_eq!(tree.root.bytes, root.bytes);
        assert_eq!(tree.changes, []);
    }
    let docker = shelf.image(Format::Docker, "linux", "amd64");
    assert_eq!(placed(&format(Format::Docker), &docker, &shelf).await.root.bytes, docker.bytes);
}

#[tokio::test]
async fn attestations_go_with_what_they_are_about() {
    let mut shelf = Shelf::default();
    let amd = shelf.image(Format::Oci, "linux", "amd64");
    let arm = shelf.image(Format::Oci, "linux", "arm64");
    let children = [
        descriptor(&amd, &on("linux", "amd64")),
        descriptor(&arm, &on("linux", "arm64")),
        format!(r#"{{"mediaType":"{OCI_IMAGE}","digest":"{LAYER}","size":1{}}}"#, attests(&amd)),
        format!(r#"{{"mediaType":"{OCI_IMAGE}","digest":"{LAYER}","size":2{}}}"#, attests(&arm)),
    ];
    let root = manifest(OCI_INDEX, &index(OCI_INDEX, &children));
    let tree = placed(&platforms(&["linux/arm64"]), &root, &shelf).await;
    assert_eq!(text(&tree.root), index(OCI_INDEX, &[children[1].clone(), children[3].clone()]));
    // One image for two platforms, of which one is not wanted: it is there still, and so is what is said of it.
    let children = [children[0].clone(), descriptor(&amd, &on("linux", "386")), children[2].clone()];
    let root = manifest(OCI_INDEX, &index(OCI_INDEX, &children));
    let tree = placed(&platforms(&["linux/386"]), &root, &shelf).await;
    assert_eq!(text(&tree.root), index(OCI_INDEX, &children[1..]));
    assert_eq!(shelf.reads(), []);
}

#[tokio::test]
async fn an_attestation_of_what_was_never_there_is_no_reason_for_another_digest() {
    let mut shelf = Shelf::default();
    let amd = shelf.image(Format::Oci, "linux", "amd64");
    let arm = shelf.image(Format::Oci, "linux", "arm64");
    let children = [descriptor(&amd, &on("linux", "amd64")), descriptor(&arm, &attests(&arm))];
    let root = manifest(OCI_INDEX, &index(OCI_INDEX, &children));
    assert_eq!(placed(&platforms(&["linux/amd64"]), &root, &shelf).await.root.bytes, root.bytes);
}

#[tokio::test]
async fn nothing_left_is_a_refusal_that_lists_what_there_is() {
    let mut shelf = Shelf::default();
    let amd = shelf.image(Format::Oci, "linux", "amd64");
    let children = [
        descriptor(&amd, &on("linux", "amd64")),
        descriptor(&amd, &on("linux", "arm\\u001b")),
        descriptor(&amd, &on("linux", "amd64")),
        descriptor(&amd, &attests(&amd)),
    ];
    let root = manifest(OCI_INDEX, &index(OCI_INDEX, &children));
    let refusal = platforms(&["windows/amd64", "linux/s390x"]).apply(root, &shelf).await.unwrap_err();
    let failure = refusal.to_failure(&"r.example.com".parse().unwrap());
    let reason = "nothing in it is for windows/amd64, linux/s390x (--platform); it has linux/amd64, linux/arm";
    assert_eq!((&*failure.reason, failure.retry), (reason, Retry::Never));
    assert_eq!(failure.category, crate::event::Category::NotFound);
}

#[tokio::test]
async fn indexes_within_indexes_are_cut_too() {
    let mut shelf = Shelf::default();
    let amd = shelf.image(Format::Oci, "linux", "amd64");
    let arm = shelf.image(Format::Oci, "linux", "arm64");
    let (of_amd, of_arm) = (descriptor(&amd, &on("linux", "amd64")), descriptor(&arm, &on("linux", "arm64")));
    let both = shelf.put(OCI_INDEX, &index(OCI_INDEX, &[of_amd.clone(), of_arm.clone()]));
    let only_arm = shelf.put(OCI_INDEX, &index(OCI_INDEX, std::slice::from_ref(&of_arm)));
    let root = manifest(OCI_INDEX, &index(OCI_INDEX, &[descriptor(&both, ""), descriptor(&only_arm, "")]));
    let tree = placed(&platforms(&["linux/amd64"]), &root, &shelf).await;
    let inner = manifest(OCI_INDEX, &index(OCI_INDEX, &[of_amd]));
    assert_eq!(text(&tree.root), index(OCI_INDEX, &[descriptor(&inner, "")]));
    assert_eq!(tree.changes.iter().map(|change| &change.to).collect::<Vec<_>>(), [&inner.digest, &tree.root.digest]);
    assert_whole(&tree, &shelf);
    // Whatever the root says of the platform of an index.
    let named = manifest(OCI_INDEX, &index(OCI_INDEX, &[descriptor(&both, &on("linux", "amd64"))]));
    let tree = placed(&platforms(&["linux/amd64"]), &named, &shelf).await;
    assert_eq!(text(&tree.root), index(OCI_INDEX, &[descriptor(&inner, &on("linux", "amd64"))]));
    let reason = refused(&platforms(&["linux/s390x"]), &root, &shelf).await;
    assert!(reason.ends_with("it has linux/amd64, linux/arm64"), "{reason}");
}

#[tokio::test]
async fn a_child_whose_platform_is_not_named_is_looked_into() {
    let mut shelf = Shelf::default();
    let amd = shelf.image(Format::Oci, "linux", "amd64");
    let arm = shelf.image(Format::Oci, "linux", "arm64");
    let chart = shelf.put(OCI_IMAGE, &image(Format::Oci, &amd.digest, 1).replace("image.config", "chart.config"));
    let children = [descriptor(&amd, ""), descriptor(&arm, &on("unknown", "unknown")), descriptor(&chart, "")];
    let root = manifest(OCI_INDEX, &index(OCI_INDEX, &children));
    let tree = placed(&platforms(&["linux/arm64"]), &root, &shelf).await;
    assert_eq!(text(&tree.root), index(OCI_INDEX, &children[1..]), "what runs nowhere stays");
    assert!(tree.parts.contains_key(&arm.digest), "nobody reads it again");
}

#[tokio::test]
async fn a_single_image_for_another_platform_is_skipped_and_an_artifact_is_not() {
    let mut shelf = Shelf::default();
    let arm = shelf.image(Format::Docker, "linux", "arm64");
    let wanted = platforms(&["linux/amd64"]);
    let Target::Skip(platform) = wanted.apply(arm.clone(), &shelf).await.unwrap() else { panic!("not skipped") };
    assert_eq!(platform.to_string(), "linux/arm64");
    assert_eq!(placed(&platforms(&["linux/arm64"]), &arm, &shelf).await.root.bytes, arm.bytes);
    let config = shelf.put_config(r#"{"architecture":"unknown","os":"unknown"}"#);
    let attestation = manifest(OCI_IMAGE, &image(Format::Oci, &config, 1));
    let chart = manifest(OCI_IMAGE, &image(Format::Oci, &config, 1).replace("image.config", "chart.config"));
    for artifact in [attestation, chart] {
        assert_eq!(placed(&wanted, &artifact, &shelf).await.root.bytes, artifact.bytes);
    }
    let huge = manifest(OCI_IMAGE, &image(Format::Oci, &config, 5 << 20));
    assert!(refused(&wanted, &huge, &shelf).await.contains("configuration"));
}

#[tokio::test]
async fn indexes_without_end_are_refused() {
    let mut shelf = Shelf::default();
    let mut root = shelf.put(OCI_INDEX, &index(OCI_INDEX, &[]));
    for _ in 0..9 {
        root = shelf.put(OCI_INDEX, &index(OCI_INDEX, &[descriptor(&root, "")]));
    }
    assert!(refused(&platforms(&["linux/amd64"]), &root, &shelf).await.contains("deep"));
}

#[tokio::test]
async fn indexes_that_name_each_other_over_and_over_come_to_an_end() {
    let mut shelf = Shelf::default();
    let amd = shelf.image(Format::Oci, "linux", "amd64");
    let mut root = shelf.put(OCI_INDEX, &index(OCI_INDEX, &[descriptor(&amd, &on("linux", "amd64"))]));
    for _ in 0..6 {
        root = shelf.put(OCI_INDEX, &index(OCI_INDEX, &vec![descriptor(&root, ""); 50]));
    }
    assert!(refused(&platforms(&["linux/amd64"]), &root, &shelf).await.contains("bytes of manifests"));
    assert!(shelf.reads().len() < 10_000);
}

#[tokio::test]
async fn an_index_that_tells_a_wrong_size_is_not_put_right() {
    let mut shelf = Shelf::default();
    let amd = shelf.image(Format::Oci, "linux", "amd64");
    let lie = descriptor(&amd, &on("linux", "amd64")).replace(&format!(r#""size":{}"#, amd.bytes.len()), r#""size":7"#);
    let root = manifest(OCI_INDEX, &index(OCI_INDEX, &[lie]));
    assert!(refused(&format(Format::Docker), &root, &shelf).await.contains("says 7"));
}

#[tokio::test]
async fn the_bytes_that_an_index_holds_of_a_child_go_when_that_is_changed() {
    let mut shelf = Shelf::default();
    let (amd, arm) = (shelf.image(Format::Oci, "linux", "amd64"), shelf.image(Format::Oci, "linux", "arm64"));
    let held = r#","data":"e30=""#;
    let of = |manifest, os, architecture| descriptor(manifest, &format!("{}{held}", on(os, architecture)));
    let inner = shelf.put(OCI_INDEX, &index(OCI_INDEX, &[of(&amd, "linux", "amd64"), of(&arm, "linux", "arm64")]));
    let root = manifest(OCI_INDEX, &index(OCI_INDEX, &[descriptor(&inner, held), of(&arm, "linux", "arm64")]));
    let tree = placed(&platforms(&["linux/arm64"]), &root, &shelf).await;
    let [inner, image] = tree.root.content.children() else { panic!("{:?}", tree.root) };
    assert!(inner.is_index() && text(&tree.root).matches(held).count() == 1, "{}", text(&tree.root));
    assert_eq!(image.digest, arm.digest);
    assert!(text(&tree.parts[&inner.digest]).contains(held), "a child that stays keeps them");
}

#[tokio::test]
async fn an_image_of_one_platform_is_skipped_also_in_an_index() {
    let mut shelf = Shelf::default();
    let amd = shelf.image(Format::Oci, "linux", "amd64");
    let attestation = shelf.put(OCI_IMAGE, &image(Format::Oci, &Digest::of(b"{}"), 2));
    // What runs nowhere is no reason to keep it.
    let chart = shelf.put(OCI_IMAGE, &image(Format::Oci, &amd.digest, 1).replace("image.config", "chart.config"));
    for beside in [descriptor(&attestation, &attests(&amd)), descriptor(&chart, "")] {
        let root = manifest(OCI_INDEX, &index(OCI_INDEX, &[descriptor(&amd, &on("linux", "amd64")), beside]));
        let target = platforms(&["linux/arm64"]).apply(root, &shelf).await.unwrap();
        assert!(matches!(target, Target::Skip(platform) if platform.to_string() == "linux/amd64"));
    }
}
