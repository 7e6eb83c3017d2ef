//! What the flags promise, between two real registries: neither of them knows the API of referrers.

use std::fs;

use scriptable_registry::{Image, Index, Manifest as _, Registry};
use serde_json::{Value, json};

use super::{OPEN, assert_same, reads, writes};
use crate::support::docker_registry::{AccessLine, DockerRegistry, is_installed};
use crate::support::{Migration, large, skopeo, small};

/// The repository `app`.
fn app(registry: &DockerRegistry) -> String {
    format!("{}/team/app", registry.host())
}

/// A registry whose `team/app` has what `fill` puts into `app`, with all that refers to it.
async fn filled(fill: impl FnOnce(&Registry)) -> DockerRegistry {
    let seed = Registry::builder().referrers().start().await;
    fill(&seed);
    let registry = DockerRegistry::start(OPEN).await;
    let migration = Migration::new().rule(format!("{}/app", seed.host()), app(&registry)).args(["--referrers"]);
    let tags = seed.tags("app").len();
    migration.run().await.assert_success(tags);
    registry
}

/// From all of `team/app` to the same repository of another registry.
fn migration(source: &DockerRegistry, destination: &DockerRegistry) -> Migration {
    Migration::new().rule(app(source), app(destination))
}

/// What a registry was asked since it was asked so many times.
async fn since(registry: &DockerRegistry, before: usize) -> Vec<AccessLine> {
    registry.requests().await.split_off(before)
}

/// Runs a migration whose `images` are all there.
async fn assert_writes_nothing(destination: &DockerRegistry, again: &Migration, images: usize) {
    let before = destination.requests().await.len();
    again.run().await.assert_success(images);
    assert_eq!(writes(&since(destination, before).await), Vec::<&AccessLine>::new());
}

fn two_platforms() -> Index {
    Index::new().image(&small(1)).image(&Image::new("linux/arm64").layer_of(2, 2_000))
}

fn referrer(kind: &str, subject: &Image) -> Image {
    let artifact = Image::new("linux/amd64").artifact("application/vnd.oci.empty.v1+json").artifact_type(kind);
    artifact.subject(subject).layer(kind.to_owned())
}

#[tokio::test]
async fn what_refers_to_an_image_travels_and_is_listed_beside_what_the_destination_has() {
    if !is_installed(&["docker-registry", "skopeo"]) {
        return;
    }
    let image = small(1);
    let (sbom, signature) = (referrer("text/sbom", &image), referrer("text/signature", &image));
    let with = |own: &Image| {
        let (image, own) = (image.clone(), own.clone());
        move |seed: &Registry| {
            seed.put("app", "1", &image);
            seed.put("app", &own.digest(), &own);
        }
    };
    let source = filled(with(&sbom)).await;
    let destination = filled(with(&signature)).await;
    let one = || {
        let (from, to) = (format!("{}:1", app(&source)), format!("{}:1", app(&destination)));
        Migration::new().rule(from, to).args(["--referrers"])
    };
    one().run().await.assert_success(1);
    let tag = image.digest().replace(':', "-");
    let list: Value = serde_json::from_slice(&skopeo::raw(&destination, &format!("team/app:{tag}")).await).unwrap();
    let listed = list["manifests"].as_array().unwrap().iter().map(|entry| (&entry["digest"], &entry["artifactType"]));
    let expected = [(json!(signature.digest()), json!("text/signature")), (json!(sbom.digest()), json!("text/sbom"))];
    assert_eq!(listed.collect::<Vec<_>>(), expected.iter().map(|(digest, kind)| (digest, kind)).collect::<Vec<_>>());
    assert_eq!(skopeo::digest(&destination, &format!("team/app@{}", sbom.digest())).await, sbom.digest());

    assert_writes_nothing(&destination, &one(), 1).await;
}

#[tokio::test]
async fn no_clobber_keeps_what_a_tag_names() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let source = filled(|seed| {
        seed.put("app", "moved", &small(1));
        seed.put("app", "new", &small(2));
        seed.put("app", "same", &small(3));
    })
    .await;
    let destination = filled(|seed| {
        seed.put("app", "moved", &small(9));
        seed.put("app", "same", &small(3));
    })
    .await;
    let before = destination.requests().await.len();
    let outcome = migration(&source, &destination).args(["--no-clobber"]).run().await;
    outcome.assert_failures(3, 1, 0);
    let (from, to) = (format!("{}:moved", app(&source)), format!("{}:moved", app(&destination)));
    outcome.assert_failed(&from, &to, &["--no-clobber", &small(1).digest(), &small(9).digest()]);
    for (tag, image) in [("moved", small(9)), ("new", small(2)), ("same", small(3))] {
        assert_eq!(destination.tag("team/app", tag), Some(image.digest()), "{tag}\n{outcome}");
    }
    let put = since(&destination, before).await.into_iter().filter(|line| line.path.contains("/manifests/"));
    assert_eq!(put.filter(|line| line.method == "PUT").count(), 1, "{outcome}");

    migration(&source, &destination).run().await.assert_success(3);
    assert_eq!(destination.tag("team/app", "moved"), Some(small(1).digest()));
}

#[tokio::test]
async fn force_brings_back_what_a_registry_lost_and_puts_every_manifest_again() {
    if !is_installed(&["docker-registry", "skopeo"]) {
        return;
    }
    let index = two_platforms();
    let source = filled(|seed| drop(seed.put("app", "1", &index))).await;
    let destination = filled(|seed| drop(seed.put("app", "1", &index))).await;
    let lost = &small(1).layers()[0];
    fs::remove_dir_all(destination.links("team/app").join("_layers").join(lost.replace(':', "/"))).unwrap();
    fs::remove_file(destination.content(lost)).unwrap();
    let migration = migration(&source, &destination).args(["--force"]);
    let before = destination.requests().await.len();
    migration.run().await.assert_success(1);
    skopeo::assert_complete(&destination, "team/app:1").await;
    let requests = since(&destination, before).await;
    let put = |part: &str| requests.iter().filter(|line| line.method == "PUT" && line.path.contains(part)).count();
    assert_eq!((put("/blobs/uploads/"), put("/manifests/")), (1, 3), "{requests:#?}");
}

/// As a disk that was full leaves it: the registry answers 500 whenever it is asked for the tag.
#[tokio::test]
async fn force_writes_a_tag_that_the_registry_cannot_tell() {
    if !is_installed(&["docker-registry", "skopeo"]) {
        return;
    }
    let source = filled(|seed| drop(seed.put("app", "1", &small(1)))).await;
    let destination = filled(|seed| drop(seed.put("app", "1", &small(1)))).await;
    fs::write(destination.links("team/app").join("_manifests/tags/1/current/link"), "").unwrap();
    migration(&source, &destination).run().await.assert_failures(1, 1, 0);
    let force = || migration(&source, &destination).args(["--force"]);
    let plan = force().args(["--dry-run"]).run().await;
    assert!(plan.code == Some(0) && plan.stdout.contains("1 to copy"), "{plan}");
    let outcome = force().run().await;
    outcome.assert_success(1);
    outcome.assert_line(" WARN it is not known", &["--force", "500"]);
    assert_eq!(destination.tag("team/app", "1"), Some(small(1).digest()));
    skopeo::assert_complete(&destination, "team/app:1").await;
}

#[tokio::test]
async fn a_platform_is_cut_out_once_and_is_what_verify_then_expects() {
    if !is_installed(&["docker-registry", "skopeo"]) {
        return;
    }
    let source = filled(|seed| {
        seed.put("app", "both", &two_platforms());
        seed.put("app", "other", &small(5));
    })
    .await;
    let destination = DockerRegistry::start(OPEN).await;
    let platform = ["--platform", "linux/arm64"];
    let migration = migration(&source, &destination);
    let verify = |arguments: &[&str]| {
        let rules = Migration::with_default_retries().rule(app(&source), app(&destination));
        rules.args(["verify", "--retries", "0"]).args(arguments.iter().copied())
    };
    let migration = migration.args(platform);
    migration.run().await.assert_success(2);
    let cut: Value = serde_json::from_slice(&skopeo::raw(&destination, "team/app:both").await).unwrap();
    let platforms = cut["manifests"].as_array().unwrap().iter().map(|child| child["platform"]["architecture"].clone());
    assert_eq!(platforms.collect::<Vec<_>>(), ["arm64"]);
    assert_eq!(destination.tag("team/app", "other"), None, "it is for another platform");
    let found = verify(&["--depth", "content", "--platform", "linux/arm64"]).run().await;
    assert!(
        found.code == Some(0) && found.stdout.starts_with("Images(2) verified, 1 equal, 1 skipped, 0 missing"),
        "{found}"
    );
    let found = verify(&[]).run().await;
    assert!(found.code == Some(1) && found.stdout.contains(" 0 equal, 1 missing, 1 differ,"), "{found}");

    assert_writes_nothing(&destination, &migration, 2).await;
}

#[tokio::test]
async fn the_plan_is_what_is_then_done_and_the_report_proves_it_without_the_source() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let source = filled(|seed| {
        seed.put("app", "both", &two_platforms());
        seed.put("app", "large", &large(3));
        seed.put("app", "there", &small(4));
    })
    .await;
    let destination = filled(|seed| drop(seed.put("app", "there", &small(4)))).await;
    let (asked, written) = (source.requests().await.len(), destination.requests().await.len());
    let plan = migration(&source, &destination).args(["--dry-run"]).run().await;
    let summary = "Images(3) planned, 2 to copy, 1 up to date, 0 images tasks failed, 0 tasks generate failed\n";
    assert!(plan.code == Some(0) && plan.stdout.ends_with(summary), "{plan}");
    assert!(plan.stdout.contains("to move in 6 blobs, 0 to mount\n"), "{plan}");
    assert_eq!(writes(&since(&destination, written).await), Vec::<&AccessLine>::new());
    assert_eq!(writes(&since(&source, asked).await), Vec::<&AccessLine>::new());

    let done = migration(&source, &destination).args(["--limit-rate", "50M", "--report", "done.json"]);
    done.run().await.assert_success(3);
    let sent = since(&destination, written).await;
    let sent = sent.iter().filter(|line| line.method == "PUT" && line.path.contains("/blobs/uploads/")).count();
    assert_eq!(sent, 6, "as planned");
    let asked = since(&source, asked).await;
    assert_eq!(reads(&asked).iter().filter(|line| line.path.contains("/blobs/")).count(), 6, "each is read once");

    let report = fs::read(done.path("done.json")).unwrap();
    drop(source);
    let against =
        Migration::with_default_retries().file("done.json", report).args(["verify", "--against", "done.json"]);
    let outcome = against.args(["--depth", "content"]).run().await;
    let tally = "Images(3) verified, 3 equal, 0 missing, 0 differ, 0 incomplete, 0 images tasks failed, 0 tasks \
                 generate failed";
    outcome.assert(0, &[tally]);
}

#[tokio::test]
async fn each_form_of_a_rule_brings_its_images_under_the_names_asked_for() {
    if !is_installed(&["docker-registry", "skopeo"]) {
        return;
    }
    let tags = ["1.0", "1.1", "2.0", "2.0-rc1", "latest"];
    let image = |tag: &str| small(tags.iter().position(|known| *known == tag).unwrap() as u64);
    let source = filled(|seed| tags.iter().for_each(|tag| drop(seed.put("app", tag, &image(tag))))).await;
    let destination = DockerRegistry::start(OPEN).await;
    let (from, host) = (app(&source), destination.host());
    let digest = image("2.0").digest();
    let migration = Migration::new()
        .rule(format!("{from}:/^1\\./"), format!("{host}/found/app"))
        .rule(format!("{from}:!/rc|latest/"), format!("{host}/others/app"))
        .rule_to(
            format!("{from}:1.0,latest"),
            json!([format!("{host}/named/app:old,new"), format!("{host}/named/same")]),
        )
        .rule(format!("{from}:2.0@{digest}"), format!("{host}/fixed/app"))
        .rule(format!("{from}@{digest}"), format!("{host}/bare/app"))
        .rule(format!("{from}:latest"), "")
        .args(["--registry", &host, "--namespace", "default/place"]);
    migration.run().await.assert_success(12);
    for (repository, tag, of) in [
        ("found/app", "1.0", "1.0"),
        ("found/app", "1.1", "1.1"),
        ("others/app", "1.0", "1.0"),
        ("others/app", "1.1", "1.1"),
        ("others/app", "2.0", "2.0"),
        ("named/app", "old", "1.0"),
        ("named/app", "new", "latest"),
        ("named/same", "1.0", "1.0"),
        ("named/same", "latest", "latest"),
        ("fixed/app", "2.0", "2.0"),
        ("default/place/app", "latest", "latest"),
    ] {
        assert_eq!(destination.tag(repository, tag), Some(image(of).digest()), "{repository}:{tag}");
    }
    for (repository, tag) in [("found/app", "2.0"), ("others/app", "latest"), ("others/app", "2.0-rc1")] {
        assert_eq!(destination.tag(repository, tag), None, "{repository}:{tag}");
    }
    assert_eq!(skopeo::digest(&destination, &format!("bare/app@{digest}")).await, digest);
    assert!(!destination.links("bare/app").join("_manifests/tags").exists(), "a digest alone has no tag");
    assert_same(&source, "team/app", &destination, "others/app", "2.0").await;
}

#[tokio::test]
async fn within_a_registry_and_between_its_repositories_blobs_are_mounted() {
    if !is_installed(&["docker-registry", "skopeo"]) {
        return;
    }
    let source = filled(|seed| drop(seed.put("app", "1", &two_platforms()))).await;
    let before = source.requests().await.len();
    let within = Migration::new().rule(app(&source), format!("{}/copy/app", source.host()));
    within.run().await.assert_success(1);
    let requests = since(&source, before).await;
    let mounts: Vec<_> = writes(&requests).into_iter().filter(|line| line.path.contains("mount=")).collect();
    assert!(mounts.len() == 4 && mounts.iter().all(|line| line.status == 201), "{requests:#?}");
    assert_eq!(reads(&requests).iter().filter(|line| line.path.contains("/blobs/")).count(), 0, "{requests:#?}");
    skopeo::assert_complete(&source, "copy/app:1").await;

    let destination = DockerRegistry::start(OPEN).await;
    let to = |name: &str| json!(format!("{}/{name}/app", destination.host()));
    let before = source.requests().await.len();
    Migration::new().rule_to(app(&source), json!([to("one"), to("two")])).run().await.assert_success(2);
    let read = since(&source, before).await;
    assert_eq!(reads(&read).iter().filter(|line| line.path.contains("/blobs/")).count(), 4, "each crosses once");
    let requests = destination.requests().await;
    let sent = |method: &str, part: &str| {
        requests.iter().filter(|line| line.method == method && line.path.contains(part) && line.status == 201).count()
    };
    assert_eq!((sent("PUT", "/blobs/uploads/"), sent("POST", "mount=")), (4, 4), "{requests:#?}");
    for name in ["one", "two"] {
        skopeo::assert_complete(&destination, &format!("{name}/app:1")).await;
    }
}
