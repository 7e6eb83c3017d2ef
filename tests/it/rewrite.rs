//! `rewrite`: references in files follow the images. No registry is asked.

use std::process::Command;

use serde_json::json;

use crate::support::docker_registry::is_installed;
use crate::support::{Migration, small, two_registries};

const POD: &str = "spec:\n  containers:\n  - image: nginx:1.25 # the web\n  - image: quay.io/a/b:1\n";

/// `rewrite` with the rules that are added to it.
fn rewrite(arguments: &[&str]) -> Migration {
    Migration::with_default_retries().args(["rewrite"]).args(arguments.iter().copied())
}

fn read(run: &Migration, name: &str) -> String {
    std::fs::read_to_string(run.path(name)).unwrap()
}

#[tokio::test]
async fn a_diff_is_printed_and_nothing_is_changed() {
    let run = rewrite(&["pod.yaml"]).file("pod.yaml", POD).rule("docker.io/library/nginx", "d.io/web/nginx");
    let outcome = run.run().await;
    let diff = [
        "--- a/pod.yaml",
        "+++ b/pod.yaml",
        "@@ -1,4 +1,4 @@",
        " spec:",
        "   containers:",
        "-  - image: nginx:1.25 # the web",
        "+  - image: d.io/web/nginx:1.25 # the web",
        "   - image: quay.io/a/b:1",
    ];
    outcome.assert(0, &diff);
    assert_eq!(outcome.stderr, "1 change to make in 1 of 1 file\n");
    assert_eq!(read(&run, "pod.yaml"), POD);
    assert_eq!(run.files(), ["images.json", "pod.yaml"], "no log, nothing left behind");
}

#[tokio::test]
async fn the_diff_is_one_that_patch_applies() {
    let before = "\u{feff}image: nginx:1\r\n\rx\r\n\n\n\n\n\n\n\n- image: quay.io/a/b:1";
    let run = rewrite(&["--registry", "d.io", "--namespace", "m", "."]).rule("docker.io/library/nginx", "");
    let run = run.rule("quay.io/a/b", "d.io/m/x").file("a b.yaml", before);
    let diff = run.run().await.stdout;
    std::fs::write(run.path("x.diff"), &diff).unwrap();
    for (program, arguments) in [("git", "apply"), ("patch", "--binary -p1 -i")] {
        if !is_installed(&[program]) {
            continue;
        }
        std::fs::write(run.path("a b.yaml"), before).unwrap();
        let arguments = arguments.split(' ').chain(["x.diff"]);
        let patch = Command::new(program).args(arguments).current_dir(run.path(".")).output().unwrap();
        assert!(patch.status.success(), "{}\n{diff}", String::from_utf8_lossy(&patch.stdout));
        assert_eq!(read(&run, "a b.yaml"), before.replace("nginx", "d.io/m/nginx").replace("quay.io/a/b", "d.io/m/x"));
    }
}

#[tokio::test]
async fn write_changes_the_files_and_a_second_time_nothing() {
    let run = rewrite(&["--write", "."]).rule("docker.io/library/nginx", "d.io/web/nginx").file("pod.yaml", POD);
    let run = run.file("Dockerfile", "FROM nginx\n").file("notes.txt", "nginx:1.25 is not meant\n");
    let outcome = run.run().await;
    outcome.assert(0, &[]);
    assert_eq!(outcome.stderr, "Dockerfile: 1 change\npod.yaml: 1 change\n2 changes in 2 of 3 files\n");
    assert_eq!(read(&run, "pod.yaml"), POD.replace("nginx:", "d.io/web/nginx:"));
    assert_eq!(read(&run, "Dockerfile"), "FROM d.io/web/nginx\n");
    assert_eq!(run.run().await.assert(0, &[]).stderr, "0 changes in 0 of 3 files\n");
    assert_eq!(run.files(), ["Dockerfile", "images.json", "notes.txt", "pod.yaml"]);
}

#[tokio::test]
async fn check_tells_by_its_exit_code() {
    let run = rewrite(&["--check", "pod.yaml"]).file("pod.yaml", POD);
    let run = run.rule("docker.io/library/nginx", "d.io/web/nginx");
    assert_eq!(run.run().await.code, Some(1));
    assert_eq!(read(&run, "pod.yaml"), POD);
    run.file("pod.yaml", "image: d.io/web/nginx:1\n").run().await.assert(0, &[]);
}

#[tokio::test]
async fn what_no_rule_covers_is_listed_and_stays() {
    let run = rewrite(&["pod.yaml"]).file("pod.yaml", POD).rule("quay.io/a/b:2", "d.io/b").rule("quay.io/z", "");
    let outcome = run.run().await;
    outcome.assert(1, &[]).assert_line("LEFT ", &["pod.yaml:4:12: quay.io/a/b:1: no rule covers it"]);
    assert!(outcome.stderr.ends_with("; 1 reference left as it is\n"), "{outcome}");
    outcome.assert_line("INVALID ", &["images.json:3:3", "--registry or DEFAULT_REGISTRY"]);
}

#[tokio::test]
async fn of_several_places_one_must_be_chosen() {
    let run = |arguments: &[&str]| {
        let run = rewrite(arguments).file("pod.yaml", POD);
        run.rule_to("quay.io/a/b", json!(["d.io/east/b", "e.io/west/b"])).rule("docker.io/library/nginx", "d.io/nginx")
    };
    run(&["pod.yaml"]).run().await.assert_refused(&["--to", "quay.io/a/b:1: d.io/east/b, e.io/west/b"]);
    run(&["--write", "pod.yaml", "--to", "x.io"]).run().await.assert_refused(&["--to", "x.io", "d.io/east/b"]);
    let run = run(&["--write", "pod.yaml", "--to", "e.io/west"]);
    run.run().await.assert(0, &[]);
    assert_eq!(read(&run, "pod.yaml"), POD.replace("quay.io/a", "e.io/west").replace("nginx:", "d.io/nginx:"));
}

#[tokio::test]
async fn wrong_usage_is_refused_before_anything_is_read() {
    let usage =
        |arguments: &[&str]| rewrite(arguments).rule("quay.io/a", "d.io/a").file("a.yaml", "image: quay.io/a\n");
    usage(&[]).run().await.assert_refused(&["PATH"]);
    usage(&["--pin", "a.yaml"]).run().await.assert_refused(&["--report"]);
    usage(&["--write", "--check", "a.yaml"]).run().await.assert_refused(&["--check"]);
    usage(&["a.yaml", "none.yaml"]).run().await.assert_refused(&["none.yaml cannot be read"]);
    usage(&["--images", "none.json", "a.yaml"]).run().await.assert_refused(&["none.json"]);
    usage(&["--to", "D.io/A", "a.yaml"]).run().await.assert_refused(&["--to"]);
    usage(&["--to", "https://d.io", "a.yaml"]).run().await.assert_refused(&["--to", "has a scheme"]);
    usage(&["--report", "a.yaml", "a.yaml"]).run().await.assert_refused(&["--report", "a.yaml"]);
}

#[tokio::test]
async fn credentials_are_not_needed_but_their_hosts_are_known() {
    let run = rewrite(&["a.txt"]).rule("mirror/a/b", "d.io/b").file("a.txt", "mirror/a/b:1\n");
    let run = run.auth(&json!({ "mirror": { "username": "u", "password": "${UNSET}" } }));
    let outcome = run.run().await;
    assert!(outcome.stdout.ends_with("-mirror/a/b:1\n+d.io/b:1\n"), "{outcome}");
    let combined = rewrite(&["--config", "all.json", "."]).file("a.yaml", "image: mirror/a:1\n");
    let all = json!({ "auth": { "mirror": {} }, "images": { "mirror/a": "d.io/a" } });
    let outcome = combined.file("all.json", all.to_string()).run().await;
    assert!(outcome.stdout.contains("+image: d.io/a:1"), "{outcome}");
}

#[tokio::test]
async fn rules_and_reports_are_no_files_to_rewrite() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let report = json!({ "schema": "image-migrator/report/v1", "images": [
        { "source": "quay.io/a/b:1", "destination": "d.io/b:1", "destinationDigest": digest, "result": "up-to-date" },
        { "source": "quay.io/a/b:2", "destination": "d.io/b:2", "result": "failed" },
    ]});
    let run = rewrite(&["--write", "--report", "report.json", "--pin", "."]).rule("quay.io/a/b", "d.io/b");
    let run =
        run.file("report.json", report.to_string()).file("a.yaml", "- image: quay.io/a/b:1\n- image: quay.io/a/b:2\n");
    let run = run.file("image-migrator.log", "quay.io/a/b:1 copied\n");
    run.run().await.assert(0, &[]).assert_line("LEFT ", &["quay.io/a/b:2", "failed"]);
    assert_eq!(read(&run, "a.yaml"), format!("- image: d.io/b:1@{digest}\n- image: quay.io/a/b:2\n"));
    assert_eq!(read(&run, "report.json"), report.to_string());
    assert_eq!(read(&run, "image-migrator.log"), "quay.io/a/b:1 copied\n");
    assert!(read(&run, "images.json").contains("quay.io/a/b"));
}

#[tokio::test]
async fn reports_are_no_files_to_rewrite_under_whatever_name() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    let rule =
        |run: Migration| run.rule(format!("{}/team/app", source.host()), format!("{}/team/app", destination.host()));
    let files = ["a.json", "a.csv", "a.html"];
    let migration = rule(Migration::new());
    let migration = files.iter().fold(migration, |run, file| run.args(["--report", file]));
    migration.run().await.assert_success(1);
    let mut run = rule(rewrite(&["--write", "."]));
    for file in files {
        run = run.file(file, read(&migration, file));
    }
    assert_eq!(run.run().await.assert(0, &[]).stderr, "0 changes in 0 of 3 files\n");
    for file in files {
        assert_eq!(read(&run, file), read(&migration, file), "{file}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_does_not_keep_the_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let run = rewrite(&["--write", "."]).rule("quay.io/a", "d.io/a");
    let run = run.file("a.txt", "quay.io/a:1").file("b.txt", "quay.io/a:1");
    std::fs::set_permissions(run.path("a.txt"), std::fs::Permissions::from_mode(0o444)).unwrap();
    let outcome = run.run().await;
    outcome.assert(1, &[]).assert_line("error: ", &["a.txt cannot be written: it is read-only"]);
    outcome.assert_line("1 change in 1 of ", &[]);
    assert_eq!((read(&run, "a.txt"), read(&run, "b.txt")), ("quay.io/a:1".to_owned(), "d.io/a:1".to_owned()));
}

#[tokio::test]
async fn what_is_rewritten_is_where_the_migration_put_it() {
    let (source, destination) = two_registries().await;
    for tag in ["1.0", "1.1", "latest"] {
        source.put("team/app", tag, &small(1));
    }
    source.put("team/db", "15", &small(2));
    let (from, to) = (source.host(), destination.host());
    let rules = |run: Migration| {
        let run = run.rule(format!("{from}/team/app:/^1/"), format!("{to}/a/b"));
        run.rule(format!("{from}/team/db:15"), format!("{to}/db:kept"))
    };
    rules(Migration::new()).run().await.assert_success(3);
    let text = format!("- image: {from}/team/app:1.0\n- image: {from}/team/db:15\n- image: {from}/team/app\n");
    let run = rules(rewrite(&["--write", "a.yaml"])).file("a.yaml", text);
    run.run().await.assert_line("LEFT ", &["/team/app: no rule covers it"]);
    let expected = format!("- image: {to}/a/b:1.0\n- image: {to}/db:kept\n- image: {from}/team/app\n");
    assert_eq!(read(&run, "a.yaml"), expected);
    assert!(destination.manifest("a/b", "1.0").is_some() && destination.manifest("db", "kept").is_some());
}
