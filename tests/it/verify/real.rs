//! Against a real registry whose files were damaged by hand.

use std::fs;

use scriptable_registry::{Image, Index, Manifest as _, Registry};

use super::tally;
use crate::support::docker_registry::{DockerRegistry, Options, is_installed};
use crate::support::{LARGE, Migration, large, small};

fn flip_a_byte(file: &std::path::Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] = !bytes[middle];
    fs::write(file, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_damage_to_the_files_of_a_registry_is_found_and_named() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let source = Registry::open().await;
    let destination = DockerRegistry::start(Options { password: false, tls: false }).await;
    let index = Index::new().image(&small(1)).image(&large(2));
    let altered = Index::new().image(&small(11)).image(&large(12));
    let (gone, corrupt, truncated, emptied) = (large(3), large(4), large(5), large(6));
    source.put("app", "child-altered", &altered);
    source.put("app", "child-missing", &index);
    for (tag, image) in [("corrupt", &corrupt), ("emptied", &emptied), ("gone", &gone), ("truncated", &truncated)] {
        source.put("app", tag, image);
    }
    for (tag, seed) in [("missing", 20), ("moved", 21), ("whole", 22)] {
        source.put("app", tag, &small(seed));
    }
    let rules = || {
        Migration::with_default_retries()
            .rule(format!("{}/app", source.host()), format!("{}/team/app", destination.host()))
    };
    rules().args(["--retries", "0"]).run().await.assert_success(9);
    let verify = |depth: &str| rules().args(["verify", "--retries", "0", "--depth", depth]);
    for depth in ["tag", "tree", "content"] {
        verify(depth).run().await.assert(0, &[&tally([9, 9, 0, 0, 0, 0])]);
    }

    let links = destination.links("team/app");
    let tag = |tag: &str| links.join("_manifests/tags").join(tag);
    fs::remove_dir_all(tag("missing")).unwrap();
    fs::copy(tag("whole").join("current/link"), tag("moved").join("current/link")).unwrap();
    let child = &index.build().children[1];
    let revision = child.digest.replace(':', "/");
    fs::remove_dir_all(links.join("_manifests/revisions").join(revision)).unwrap();
    // Still JSON, still as long, but not what its digest says.
    let altered = altered.build().children.remove(1);
    let file = destination.content(&altered.digest);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen(&format!(":{LARGE}"), ":300001", 1)).unwrap();
    let layer = |image: &Image| image.layers().remove(0);
    fs::remove_file(destination.content(&layer(&gone))).unwrap();
    flip_a_byte(&destination.content(&layer(&corrupt)));
    for (image, bytes) in [(&truncated, LARGE - 1), (&emptied, 0)] {
        let file = fs::OpenOptions::new().write(true).open(destination.content(&layer(image))).unwrap();
        file.set_len(bytes).unwrap();
    }

    let line = |kind: &str, tag: &str| {
        format!("{kind} {} -> {}/team/app:{tag}", source.reference("app", tag), destination.host())
    };
    let incomplete = |tag: &str, what: String| format!("{}: {what}", line("incomplete", tag));
    let blob = |image: &Image, what: &str| format!("blob {} of {LARGE} bytes {what}", layer(image));
    let content = |digest: &str| scriptable_registry::digest_of(&fs::read(destination.content(digest)).unwrap());
    let found = |digest: &str| format!("is damaged, its content has digest {}", content(digest));
    let names = |tag: &str| source.digest("app", tag).unwrap();
    let moved = format!("{}: it names {}, expected {}", line("differs", "moved"), names("whole"), names("moved"));

    let tags = verify("tag").run().await;
    tags.assert(1, &[&line("missing", "missing"), &moved, &tally([9, 7, 1, 1, 0, 0])]);

    let changed = format!("manifest {} of {} bytes {}", altered.digest, altered.bytes.len(), found(&altered.digest));
    let missing = format!("manifest {} of {} bytes is missing", child.digest, child.bytes.len());
    let content = verify("content").run().await;
    content.assert(
        1,
        &[
            &incomplete("child-altered", changed.clone()),
            &incomplete("child-missing", missing.clone()),
            &incomplete("corrupt", blob(&corrupt, &found(&layer(&corrupt)))),
            &incomplete("emptied", blob(&emptied, "has 0 bytes")),
            &incomplete("gone", blob(&gone, "is missing")),
            &line("missing", "missing"),
            &moved,
            &incomplete("truncated", blob(&truncated, "has 299999 bytes")),
            &tally([9, 1, 1, 1, 6, 0]),
        ],
    );
    let tree = verify("tree").run().await;
    tree.assert(
        1,
        &[
            &incomplete("child-altered", changed),
            &incomplete("child-missing", missing),
            &incomplete("emptied", blob(&emptied, "has 0 bytes")),
            &incomplete("gone", blob(&gone, "is missing")),
            &line("missing", "missing"),
            &moved,
            &incomplete("truncated", blob(&truncated, "has 299999 bytes")),
            &tally([9, 2, 1, 1, 5, 0]),
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn force_names_what_a_registry_keeps_damaged_and_heals_what_it_lost() {
    if !is_installed(&["docker-registry"]) {
        return;
    }
    let source = Registry::open().await;
    let destination = DockerRegistry::start(Options { password: false, tls: false }).await;
    let images = [large(1), large(2), small(3)];
    for (tag, image) in ["1", "2", "3"].iter().zip(&images) {
        source.put("app", tag, image);
    }
    let rule = || {
        Migration::with_default_retries()
            .rule(format!("{}/app", source.host()), format!("{}/team/app", destination.host()))
    };
    rule().run().await.assert_success(3);
    let files = images.each_ref().map(|image| destination.content(&image.layers()[0]));
    for file in &files[..2] {
        fs::OpenOptions::new().write(true).open(file).unwrap().set_len(10).unwrap();
    }
    for _ in 0..2 {
        let outcome = rule().args(["--force", "--retries", "0"]).run().await;
        outcome.assert_failures(3, 2, 0);
        for (tag, image) in [("1", &images[0]), ("2", &images[1])] {
            let to = format!("{}/team/app:{tag}", destination.host());
            let words = ["keeps 10 bytes", &image.layers()[0], "delete that blob", "--force"];
            outcome.assert_failed(&source.reference("app", tag), &to, &words);
        }
    }
    files[..2].iter().for_each(|file| fs::remove_file(file).unwrap());
    rule().args(["--force", "--retries", "0"]).run().await.assert_success(3);
    let verify = rule().args(["verify", "--depth", "content"]);
    verify.run().await.assert(0, &[&tally([3, 3, 0, 0, 0, 0])]);
}
