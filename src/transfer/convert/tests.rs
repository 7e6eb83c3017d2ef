//! What is placed, word for word, and what was read to know it.

use std::sync::Mutex;

use super::*;
use crate::registry::ErrorKind;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const LAYER: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A registry that remembers what it was asked for.
#[derive(Default)]
struct Shelf {
    manifests: HashMap<Digest, Manifest>,
    blobs: HashMap<Digest, Bytes>,
    read: Mutex<Vec<Digest>>,
}

impl Shelf {
    fn put(&mut self, media_type: &str, json: &str) -> Manifest {
        let manifest = manifest(media_type, json);
        self.manifests.insert(manifest.digest.clone(), manifest.clone());
        manifest
    }

    fn put_config(&mut self, json: &str) -> Digest {
        let bytes = Bytes::copy_from_slice(json.as_bytes());
        let digest = Digest::of(&bytes);
        self.blobs.insert(digest.clone(), bytes);
        digest
    }

    /// An image for a platform, with one layer.
    fn image(&mut self, format: Format, os: &str, architecture: &str) -> Manifest {
        let config = format!(r#"{{"architecture":"{architecture}","os":"{os}"}}"#);
        let (digest, size) = (self.put_config(&config), config.len());
        self.put(
            match format {
                Format::Oci => OCI_IMAGE,
                Format::Docker => DOCKER_IMAGE,
            },
            &image(format, &digest, size),
        )
    }

    fn reads(&self) -> Vec<Digest> {
        self.read.lock().unwrap().clone()
    }

    fn find<T: Clone>(&self, digest: &Digest, all: &HashMap<Digest, T>) -> Result<T, Error> {
        self.read.lock().unwrap().push(digest.clone());
        let nothing = || Error {
            registry: "r.example.com".parse().unwrap(),
            request: format!("GET {digest}"),
            kind: ErrorKind::Malformed { reason: "not there".to_owned() },
        };
        all.get(digest).cloned().ok_or_else(nothing)
    }
}

impl Source for Shelf {
    async fn manifest(&self, child: &Descriptor) -> Result<Manifest, Error> {
        self.find(&child.digest, &self.manifests)
    }

    async fn config(&self, config: &Descriptor) -> Result<Bytes, Error> {
        self.find(&config.digest, &self.blobs)
    }
}

fn manifest(media_type: &str, json: &str) -> Manifest {
    let bytes = Bytes::copy_from_slice(json.as_bytes());
    let digest = Digest::of(&bytes);
    Manifest::parse(bytes, digest, media_type).unwrap()
}

fn image(format: Format, config: &Digest, size: usize) -> String {
    let (own, config_type, layer_type) = match format {
        Format::Oci => {
            (OCI_IMAGE, "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip")
        }
        Format::Docker => (
            DOCKER_IMAGE,
            "application/vnd.docker.container.image.v1+json",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
    };
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{own}","config":{{"mediaType":"{config_type}","digest":"{config}","size":{size}}},"layers":[{{"mediaType":"{layer_type}","digest":"{LAYER}","size":1}}]}}"#
    )
}

fn descriptor(of: &Manifest, more: &str) -> String {
    format!(r#"{{"mediaType":"{}","digest":"{}","size":{}{more}}}"#, of.media_type, of.digest, of.bytes.len())
}

fn on(os: &str, architecture: &str) -> String {
    format!(r#","platform":{{"architecture":"{architecture}","os":"{os}"}}"#)
}

fn attests(image: &Manifest) -> String {
    format!(
        r#","annotations":{{"vnd.docker.reference.digest":"{}","vnd.docker.reference.type":"attestation-manifest"}},"platform":{{"architecture":"unknown","os":"unknown"}}"#,
        image.digest
    )
}

fn index(media_type: &str, children: &[String]) -> String {
    format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{}]}}"#, children.join(","))
}

fn platforms(names: &[&str]) -> Conversion {
    Conversion { platforms: names.iter().map(|name| name.parse().unwrap()).collect(), format: None }
}

fn format(format: Format) -> Conversion {
    Conversion { platforms: Vec::new(), format: Some(format) }
}

async fn placed(conversion: &Conversion, root: &Manifest, shelf: &Shelf) -> Tree {
    match conversion.apply(root.clone(), shelf).await.unwrap() {
        Target::Place(tree) => tree,
        Target::Skip(platform) => panic!("skipped: {platform}"),
    }
}

async fn refused(conversion: &Conversion, root: &Manifest, shelf: &Shelf) -> String {
    conversion.apply(root.clone(), shelf).await.unwrap_err().to_string()
}

fn text(manifest: &Manifest) -> &str {
    std::str::from_utf8(&manifest.bytes).unwrap()
}

/// Asserts that a tree names nothing of its own that it does not hold.
fn assert_whole(tree: &Tree, shelf: &Shelf) {
    let all = std::iter::once(&tree.root).chain(tree.parts.values());
    for manifest in all {
        assert_eq!(Digest::of(&manifest.bytes), manifest.digest);
        if let Content::Index { manifests, .. } = &manifest.content {
            for child in manifests {
                let found = tree.parts.get(&child.digest).or_else(|| shelf.manifests.get(&child.digest)).unwrap();
                assert_eq!(found.bytes.len() as u64, child.size);
                assert_eq!(found.media_type, child.media_type);
            }
        }
    }
}

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
    assert_eq!(shelf.reads(), []);
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
    assert_eq!((&*failure.reason, failure.is_final), (reason, true));
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
    assert_eq!(tree.changes[2].dropped.len(), 1, "the attestation");
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
async fn a_manifest_that_leaves_its_type_to_the_header_says_it_to_docker() {
    let mut shelf = Shelf::default();
    let oci = shelf.image(Format::Oci, "linux", "amd64");
    let silent = manifest(OCI_IMAGE, &text(&oci).replace(&format!(r#""mediaType":"{OCI_IMAGE}","#), ""));
    let tree = placed(&format(Format::Docker), &silent, &shelf).await;
    let docker = shelf.image(Format::Docker, "linux", "amd64");
    let own = format!(r#""mediaType":"{DOCKER_IMAGE}""#);
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
async fn indexes_without_end_are_refused() {
    let mut shelf = Shelf::default();
    let mut root = shelf.put(OCI_INDEX, &index(OCI_INDEX, &[]));
    for _ in 0..9 {
        root = shelf.put(OCI_INDEX, &index(OCI_INDEX, &[descriptor(&root, "")]));
    }
    assert!(refused(&platforms(&["linux/amd64"]), &root, &shelf).await.contains("deep"));
}
