//! `--format`: media types of the other family.

use super::*;

#[tokio::test]
async fn an_oci_index_becomes_a_docker_list() {
    let mut shelf = Shelf::default();
    let amd = shelf.image(Format::Oci, "linux", "amd64");
    let arm = shelf.image(Format::Oci, "linux", "arm64");
    let docker = shelf.image(Format::Docker, "windows", "amd64");
    let children = [
        descriptor(&amd, &format!(r#","annotations":{{"a":"b"}}{}"#, on("linux", "amd64"))),
        descriptor(&arm, ""),
        descriptor(&docker, &on("windows", "amd64")),
        descriptor(&amd, &attests(&amd)),
        descriptor(&docker, &attests(&docker)),
    ];
    let source = index(OCI_INDEX, &children).replace("\"manifests\"", "\"annotations\":{\"x\":\"y\"},\"manifests\"");
    let root = manifest(OCI_INDEX, &source);
    let tree = placed(&format(Format::Docker), &root, &shelf).await;
    let (docker_amd, docker_arm) =
        (shelf.image(Format::Docker, "linux", "amd64"), shelf.image(Format::Docker, "linux", "arm64"));
    let expected = [
        descriptor(&docker_amd, &on("linux", "amd64")),
        // Docker's lists name the platform of every image.
        descriptor(&docker_arm, r#","platform":{"os":"linux","architecture":"arm64"}"#),
        descriptor(&docker, &on("windows", "amd64")),
    ];
    assert_eq!(text(&tree.root), index(DOCKER_LIST, &expected));
    assert_eq!(tree.root.media_type, DOCKER_LIST);
    assert_eq!(tree.parts[&docker_amd.digest].bytes, docker_amd.bytes);
    assert_eq!(tree.changes.len(), 3, "{:?}", tree.changes);
    assert_eq!(tree.changes[2].lost, ["annotations", "manifests.annotations"]);
    assert_eq!(tree.changes[2].dropped.len(), 2, "the attestations, of whatever type");
    assert_whole(&tree, &shelf);
}

#[tokio::test]
async fn a_docker_list_becomes_an_oci_index_whose_attestations_follow() {
    let mut shelf = Shelf::default();
    let amd = shelf.image(Format::Docker, "linux", "amd64");
    let oci_amd = shelf.image(Format::Oci, "linux", "amd64");
    let attestation = shelf.put(
        OCI_IMAGE,
        &image(Format::Oci, &oci_amd.digest, 1)
            .replace("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.in-toto+json"),
    );
    let children = [descriptor(&amd, &on("linux", "amd64")), descriptor(&attestation, &attests(&amd))];
    let root = manifest(DOCKER_LIST, &index(DOCKER_LIST, &children));
    let tree = placed(&format(Format::Oci), &root, &shelf).await;
    let expected = [descriptor(&oci_amd, &on("linux", "amd64")), descriptor(&attestation, &attests(&oci_amd))];
    assert_eq!(text(&tree.root), index(OCI_INDEX, &expected));
    assert_whole(&tree, &shelf);
    // Cut and converted at once, and back again.
    let back = Conversion { format: Some(Format::Docker), ..platforms(&["linux/amd64"]) };
    shelf.manifests.extend(tree.parts.clone());
    let tree = placed(&back, &tree.root, &shelf).await;
    assert_eq!(text(&tree.root), index(DOCKER_LIST, &children[..1]));
}

#[tokio::test]
async fn every_kind_of_layer_is_renamed() {
    let shelf = Shelf::default();
    let layer =
        |media_type: &str, more: &str| format!(r#"{{"mediaType":"{media_type}","size":1,"digest":"{LAYER}"{more}}}"#);
    let urls = r#","urls":["https://example.com/x"]"#;
    let manifest_of = |own: &str, layers: &[String]| {
        let config_type = match own {
            OCI_IMAGE => "application/vnd.oci.image.config.v1+json",
            _ => "application/vnd.docker.container.image.v1+json",
        };
        let config = layer(config_type, "");
        format!(r#"{{"schemaVersion":2,"mediaType":"{own}","config":{config},"layers":[{}]}}"#, layers.join(","))
    };
    let oci = manifest_of(
        OCI_IMAGE,
        &[
            layer("application/vnd.oci.image.layer.v1.tar", ""),
            layer("application/vnd.oci.image.layer.v1.tar+gzip", r#","annotations":{"a":"b"},"data":"eA==""#),
            layer("application/vnd.oci.image.layer.nondistributable.v1.tar", urls),
            layer("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", urls),
            layer("application/vnd.docker.image.rootfs.diff.tar.gzip", ""),
        ],
    );
    let docker = manifest_of(
        DOCKER_IMAGE,
        &[
            layer("application/vnd.docker.image.rootfs.diff.tar", ""),
            layer("application/vnd.docker.image.rootfs.diff.tar.gzip", ""),
            layer("application/vnd.docker.image.rootfs.foreign.diff.tar", urls),
            layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", urls),
            layer("application/vnd.docker.image.rootfs.diff.tar.gzip", ""),
        ],
    );
    let tree = placed(&format(Format::Docker), &manifest(OCI_IMAGE, &oci), &shelf).await;
    assert_eq!(text(&tree.root), docker);
    assert_eq!(tree.changes[0].lost, ["layers.annotations", "layers.data"]);
    let tree = placed(&format(Format::Oci), &manifest(DOCKER_IMAGE, &docker), &shelf).await;
    let plain = oci.replace(r#","annotations":{"a":"b"},"data":"eA==""#, "");
    let plain = plain
        .replace("application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.oci.image.layer.v1.tar+gzip");
    assert_eq!(text(&tree.root), plain);
    // A manifest of the wanted family with layers of the other is put right.
    let mixed = placed(&format(Format::Oci), &manifest(OCI_IMAGE, &oci), &shelf).await;
    assert!(!text(&mixed.root).contains("docker") && text(&mixed.root).contains(r#""data":"eA==""#));
    // OCI has a place for everything.
    let zstd = docker.replace("rootfs.diff.tar.gzip", "rootfs.diff.tar.zstd");
    let tree = placed(&format(Format::Oci), &manifest(DOCKER_IMAGE, &zstd), &shelf).await;
    assert!(text(&tree.root).contains("application/vnd.oci.image.layer.v1.tar+zstd"));
}

#[tokio::test]
async fn a_manifest_that_leaves_its_type_to_the_header_and_its_version_out_says_them_to_docker() {
    let mut shelf = Shelf::default();
    let oci = shelf.image(Format::Oci, "linux", "amd64");
    let silent = text(&oci).replace(&format!(r#""schemaVersion":2,"mediaType":"{OCI_IMAGE}","#), "");
    let silent = manifest(OCI_IMAGE, &silent);
    let tree = placed(&format(Format::Docker), &silent, &shelf).await;
    let docker = shelf.image(Format::Docker, "linux", "amd64");
    let own = format!(r#""schemaVersion":2,"mediaType":"{DOCKER_IMAGE}""#);
    let moved = text(&docker).replace(&format!("{own},"), "").replace("]}", &format!("],{own}}}"));
    assert_eq!(text(&tree.root), moved);
}

#[tokio::test]
async fn what_docker_has_no_name_for_is_refused_by_name() {
    let mut shelf = Shelf::default();
    let plain = shelf.image(Format::Oci, "linux", "amd64");
    let changed = |from: &str, to: &str| text(&plain).replace(from, to);
    let (front, artifact) = (r#"{"schemaVersion":2,"#, "application/vnd.oci.image.manifest.v1+json");
    for (json, words) in [
        (changed("tar+gzip", "tar+zstd"), &[LAYER, "application/vnd.oci.image.layer.v1.tar+zstd"][..]),
        (changed("tar+gzip", "tar+gzip+encrypted"), &["tar+gzip+encrypted"]),
        (changed("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.in-toto+json"), &["in-toto"]),
        (changed("application/vnd.oci.image.config.v1+json", "application/vnd.oci.empty.v1+json"), &["oci.empty.v1"]),
        (changed(front, &format!(r#"{front}"subject":{{"digest":"{LAYER}"}},"#)), &["subject"]),
        (changed(front, &format!(r#"{front}"artifactType":"application/vnd.x","#)), &["application/vnd.x"]),
    ] {
        let root = manifest(artifact, &json);
        let reason = refused(&format(Format::Docker), &root, &shelf).await;
        assert!(reason.contains(&root.digest.to_string()) && reason.contains("--format docker"), "{reason}");
        assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
        let child = shelf.put(artifact, &json);
        let index = manifest(OCI_INDEX, &index(OCI_INDEX, &[descriptor(&child, &on("linux", "amd64"))]));
        assert!(refused(&format(Format::Docker), &index, &shelf).await.contains(&root.digest.to_string()));
        assert_eq!(placed(&format(Format::Oci), &root, &shelf).await.root.bytes, root.bytes);
    }
    let layer = format!(r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{LAYER}","size":1}}"#);
    let odd = manifest(OCI_INDEX, &index(OCI_INDEX, &[layer]));
    assert!(refused(&format(Format::Docker), &odd, &shelf).await.contains("image.layer"));
}

#[tokio::test]
async fn a_child_that_is_not_there_is_the_sources_failure() {
    let mut shelf = Shelf::default();
    let amd = shelf.image(Format::Oci, "linux", "amd64");
    let gone = format!(r#"{{"mediaType":"{OCI_IMAGE}","digest":"{LAYER}","size":1{}}}"#, on("linux", "arm64"));
    let root = manifest(OCI_INDEX, &index(OCI_INDEX, &[descriptor(&amd, &on("linux", "amd64")), gone]));
    assert!(refused(&format(Format::Docker), &root, &shelf).await.contains(LAYER));
    let cut = Conversion { format: Some(Format::Docker), ..platforms(&["linux/amd64"]) };
    assert_eq!(placed(&cut, &root, &shelf).await.changes.len(), 2);
}

#[tokio::test]
async fn what_is_named_more_than_once_is_read_and_told_once() {
    let mut shelf = Shelf::default();
    let amd = shelf.image(Format::Oci, "linux", "amd64");
    let twice = |manifest: &Manifest| index(OCI_INDEX, &[descriptor(manifest, ""), descriptor(manifest, "")]);
    let inner = shelf.put(OCI_INDEX, &twice(&amd));
    let root = manifest(OCI_INDEX, &twice(&inner));
    let tree = placed(&format(Format::Docker), &root, &shelf).await;
    assert_whole(&tree, &shelf);
    let changed: Vec<_> = tree.changes.iter().map(|change| &change.from).collect();
    assert_eq!(changed, [&amd.digest, &inner.digest, &root.digest]);
    let reads = shelf.reads();
    assert_eq!(reads.len(), 3, "two manifests and a configuration, {reads:?}");
}
