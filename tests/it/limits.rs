//! Memory does not grow with layers, images or tags.

use scriptable_registry::{Gate, Image, Kind, Registry};

use crate::support::{Migration, Outcome, small};

/// 48 MiB. Of this some 15 are the program itself, as it is built for tests.
const CEILING: u64 = 48 * 1024;
/// With 64 workers, built in the same way.
const CEILING_OF_64: u64 = 62 * 1024;

/// Runs it until the last of `puts` manifests is put, and asserts the most memory it has had by then.
async fn assert_frugal(source: &Registry, destination: &Registry, migration: &Migration, puts: u64) {
    assert_below(CEILING, source, destination, migration, puts).await;
}

async fn assert_below(ceiling: u64, source: &Registry, destination: &Registry, migration: &Migration, puts: u64) {
    let gate = Gate::closed();
    destination.on(Kind::ManifestPut.nth(puts), gate.clone());
    let mut running = migration.start().await;
    running.until(destination, Kind::ManifestPut, puts).await;
    let peak = running.peak_memory();
    gate.open();
    running.finish().await.assert_success(source.tags("team/app").len());
    assert!(peak < ceiling, "{peak} KiB");
}

async fn registries() -> (Registry, Registry) {
    let source = Registry::builder().start().await;
    (source, Registry::builder().discard_uploads().start().await)
}

#[tokio::test]
async fn large_layers_take_no_more_memory() {
    const MIB: u64 = 1024 * 1024;
    let (source, destination) = registries().await;
    let image = (0..8).fold(Image::new("linux/amd64"), |image, seed| image.layer_of(seed, 8 * MIB));
    source.put("team/app", "1.0", &image.layer_of(8, 64 * MIB));
    let migration = Migration::new().app(&source, &destination);
    assert_frugal(&source, &destination, &migration, 1).await;
    assert_eq!(destination.missing("moved/app", "1.0"), Vec::<String>::new());
}

#[tokio::test]
async fn many_workers_take_little_memory() {
    let (source, destination) = registries().await;
    let image = (0..64).fold(Image::new("linux/amd64"), |image, seed| image.layer_of(seed, 2 << 20));
    source.put("team/app", "1.0", &image);
    let migration = Migration::new().app(&source, &destination).args(["--workers", "64"]);
    assert_below(CEILING_OF_64, &source, &destination, &migration, 1).await;
}

#[tokio::test]
async fn many_images_take_little_memory() {
    const TAGS: u64 = 400;
    let (source, destination) = registries().await;
    for seed in 0..TAGS {
        source.put("team/app", &format!("v{seed}"), &small(seed).layer_of(seed + TAGS, 100_000));
    }
    let migration = Migration::new().app(&source, &destination);
    assert_frugal(&source, &destination, &migration, TAGS).await;
}

#[tokio::test]
async fn a_manifest_that_is_too_large_is_refused() {
    let (source, destination) = registries().await;
    source.put("team/app", "1.0", &small(1));
    let text = format!(r#"{{"schemaVersion": 2, "filler": "{}"}}"#, "x".repeat(40 << 20));
    source.put_manifest("team/app", "huge", "application/vnd.oci.image.manifest.v1+json", text);
    let migration = Migration::new().app(&source, &destination);
    let gate = Gate::closed();
    destination.on(Kind::ManifestPut, gate.clone());
    let mut running = migration.start().await;
    running.until(&destination, Kind::ManifestPut, 1).await;
    running.until(&source, Kind::ManifestGet, 2).await;
    gate.open();
    let outcome = running.finish().await;
    outcome.assert_failures(2, 1, 0);
    let to = format!("{}/moved/app:huge", destination.host());
    outcome.assert_failed(&source.reference("team/app", "huge"), &to, &["larger than 8388608 bytes"]);
    // Beside what is read, what there is room for on the way: some 10 MiB.
    let sent: Vec<u64> = source.requests_of(Kind::ManifestGet.of("huge")).iter().map(|request| request.sent).collect();
    assert!(sent.iter().all(|sent| *sent < 32 << 20), "{sent:?} bytes were sent");
}

/// Copies so many images from a shell that has run these commands before, with more workers than usual.
async fn copy_after(commands: &str, images: u64) -> Outcome {
    let (source, destination) = registries().await;
    for seed in 0..images {
        source.put("team/app", &format!("v{seed}"), &small(seed).layer_of(seed + 1000, 200_000));
    }
    let migration = Migration::new().app(&source, &destination).args(["--workers", "12"]);
    migration.launched_by(&format!("{commands}; exec \"$0\" \"$@\"")).run().await
}

#[tokio::test]
async fn where_few_files_may_be_open_less_is_done_at_once() {
    for files in [64, 40] {
        let outcome = copy_after(&format!("ulimit -n {files}"), 200).await;
        outcome.assert_success(200);
        outcome.assert_line(" WARN this process may open", &[&files.to_string(), "raise `ulimit -n`"]);
        assert!(!outcome.stderr.contains("cannot connect"), "{outcome}");
    }
    // What may be raised is raised.
    let outcome = copy_after("ulimit -S -n 40", 200).await;
    outcome.assert_success(200);
    assert!(!outcome.stderr.contains("ulimit"), "{outcome}");
}

#[tokio::test]
async fn that_too_few_files_may_be_open_is_not_said_of_a_registry() {
    let outcome = copy_after("ulimit -n 11", 2).await;
    let told = outcome.everything();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let failed = outcome.lines("FAILED");
    assert!(!failed.is_empty() && failed.iter().all(|line| line.contains("raise `ulimit -n`")), "{outcome}");
    assert!(!told.contains("check the name") && !told.contains("it can be reached"), "{outcome}");
}
