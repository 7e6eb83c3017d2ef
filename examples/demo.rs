//! The main job on registries of its own: starts two in memory on loopback, fills the first, migrates with the real
//! command, and compares what came out. `cargo run --example demo`

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context as _, ensure};
use scriptable_registry::{Image, Index, Kind, Registry};
use serde_json::json;

/// Set where this program is to be the `image-migrator` command: its `main` is the same single line.
const AS_COMMAND: &str = "IMAGE_MIGRATOR_DEMO";

fn main() -> anyhow::Result<ExitCode> {
    if std::env::var_os(AS_COMMAND).is_some() {
        return Ok(image_migrator::cli::run());
    }
    tokio::runtime::Runtime::new()?.block_on(demo())?;
    Ok(ExitCode::SUCCESS)
}

async fn demo() -> anyhow::Result<()> {
    let (source, destination) = (Registry::open().await, Registry::open().await);
    fill(&source);
    println!("Two registries are up: {} with some images, {} empty.\n", source.host(), destination.host());

    let folder = tempfile::tempdir().context("no temporary folder")?;
    write_rules(folder.path(), &source, &destination)?;

    println!("\n$ image-migrator --auth auth.json --images images.json");
    let status = migrate(folder.path()).await?;
    ensure!(status.success(), "the migration failed");

    println!("\nThe same digests on both sides:");
    let mut images = 0;
    for repository in destination.repositories() {
        for tag in destination.tags(&repository) {
            let digest = destination.digest(&repository, &tag);
            let name = repository.strip_prefix("mirror/").unwrap_or(&repository);
            ensure!(digest == source.digest(&format!("shop/{name}"), &tag), "{repository}:{tag} differs");
            ensure!(destination.missing(&repository, &tag).is_empty(), "{repository}:{tag} is incomplete");
            println!("  {repository}:{tag}  {}", digest.unwrap_or_default());
            images += 1;
        }
    }
    ensure!(images == 8, "{images} images came instead of 8");
    println!(
        "\nBlobs read from the source: {}, sent: {}, linked within the destination: {}.",
        source.count(Kind::BlobGet),
        destination.count(Kind::UploadFinish),
        destination.count(Kind::Mount) + destination.count(Kind::UploadStart) - destination.count(Kind::UploadFinish),
    );

    source.clear_log();
    destination.clear_log();
    println!("\nOnce more: what is there is not sent again.\n\n$ image-migrator --auth auth.json --images images.json");
    let status = migrate(folder.path()).await?;
    ensure!(status.success() && destination.count(Kind::ManifestPut) == 0, "the second run changed something");
    println!("\nRequests of the second run: {} and {}.", source.count_all(), destination.count_all());
    Ok(())
}

/// A few images with a common base, one of them for two platforms, one known under two tags.
fn fill(registry: &Registry) {
    let base = |platform: &str| Image::new(platform).layer_of(1, 3 << 20).layer_of(2, 200 << 10);
    for (n, name) in ["shop/front", "shop/cart", "shop/pay"].into_iter().enumerate() {
        let n = n as u64;
        registry.put(name, "1.0", &base("linux/amd64").layer_of(10 + n, 90 << 10));
        registry.put(name, "1.1", &base("linux/amd64").layer_of(20 + n, 95 << 10).oci());
    }
    let arm = Image::new("linux/arm64").layer_of(3, 2 << 20).oci();
    registry.put("shop/all", "2.0", &Index::new().image(&base("linux/amd64").oci()).image(&arm));
    registry.retag("shop/all", "2.0", "latest");
}

fn write_rules(folder: &Path, source: &Registry, destination: &Registry) -> anyhow::Result<()> {
    let (from, to) = (source.host(), destination.host());
    let auth = json!({ &from: {}, &to: {} });
    let images = json!({
        format!("{from}/shop/front"): format!("{to}/mirror/front"),
        format!("{from}/shop/cart:1.0,1.1"): format!("{to}/mirror/cart"),
        format!("{from}/shop/pay:/^1\\./"): format!("{to}/mirror/pay"),
        format!("{from}/shop/all"): format!("{to}/mirror/all"),
    });
    for (name, content) in [("auth.json", auth), ("images.json", images)] {
        let text = serde_json::to_string_pretty(&content)?;
        println!("{name}:\n{text}");
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// Runs the command as a user would, in a process of its own.
async fn migrate(folder: &Path) -> anyhow::Result<ExitStatus> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--auth", "auth.json", "--images", "images.json"]).env(AS_COMMAND, "1").current_dir(folder);
    Ok(tokio::task::spawn_blocking(move || command.status()).await??)
}
