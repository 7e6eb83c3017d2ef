//! A repository that nobody has made fails its images after one question, and what to do is told once for all.

use scriptable_registry::{Answer, Kind, Matcher, Registry, profiles};
use serde_json::json;

use crate::support::{Migration, Outcome, assert_same, small};

/// Three tags each of `team/a` and `team/b`.
async fn six_images(destination: &Registry) -> (Registry, Migration) {
    let source = Registry::open().await;
    let mut migration = Migration::new();
    for (seed, name) in ["a", "b"].into_iter().enumerate() {
        for tag in 0..3 {
            source.put(&format!("team/{name}"), &format!("v{tag}"), &small(10 * seed as u64 + tag));
        }
        migration =
            migration.rule(format!("{}/team/{name}", source.host()), format!("{}/moved/{name}", destination.host()));
    }
    (source, migration)
}

/// The lines of the block that tells what to create.
fn remedies(outcome: &Outcome) -> Vec<&str> {
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    let Some(head) = lines.iter().position(|line| line.starts_with("CREATE ")) else { return Vec::new() };
    assert!(lines[head - 1].starts_with("FAILED "), "{outcome}");
    let (totals, block) = lines[head + 1..].split_last().unwrap();
    assert!(totals.contains(" copied, "), "{outcome}");
    block.iter().map(|line| line.trim()).collect()
}

#[tokio::test]
async fn repositories_that_ecr_does_not_have_are_named_together_and_asked_for_once() {
    let destination = profiles::ecr().start().await;
    let (source, migration) = six_images(&destination).await;
    let outcome = migration.run().await;
    outcome.assert_failures(6, 6, 0);
    let host = destination.host();
    outcome.assert_failed(
        &source.reference("team/a", "v0"),
        &format!("{host}/moved/a:v0"),
        &[&format!("no repository {host}/moved/a"), "NAME_UNKNOWN", "create the repository moved/a"],
    );
    let expected =
        ["a", "b"].map(|name| format!("# {host}: create the repository moved/{name}, or what it is in, at {host}"));
    assert_eq!(remedies(&outcome), expected);
    for name in ["a", "b"] {
        let uploads = destination.requests_of(Kind::UploadStart.within(&format!("moved/{name}")));
        assert_eq!(uploads.len(), 1, "moved/{name}");
    }
    assert_eq!(destination.count(Kind::Mount), 0);
    let read = [Kind::ManifestGet, Kind::BlobGet].map(|kind| source.count(kind));
    assert_eq!(read, [2, 0], "more was read than the one manifest that each repository was asked for");

    destination.create("moved/a");
    let outcome = migration.run().await;
    outcome.assert_failures(6, 3, 0);
    assert_eq!(remedies(&outcome), expected[1..]);
    destination.create("moved/b");
    let outcome = migration.run().await;
    outcome.assert_success(6);
    assert_eq!(remedies(&outcome), [""; 0]);
    for tag in ["v0", "v1", "v2"] {
        assert_same((&source, "team/b", tag), (&destination, "moved/b", tag));
    }
    assert_eq!(destination.open_uploads(), 0);
}

#[tokio::test]
async fn within_a_registry_that_mounts_a_missing_repository_is_told_once() {
    let registry = profiles::ecr().start().await;
    let host = registry.host();
    let mut migration = Migration::new().args(["-w", "1"]);
    let names = (0..12).map(|n| format!("a{n}")).chain(["missing".to_owned()]);
    for (seed, name) in names.enumerate() {
        for repository in ["team", "moved"] {
            registry.create(&format!("{repository}/{name}"));
        }
        for tag in 0..if name == "missing" { 6 } else { 1 } {
            registry.put(&format!("team/{name}"), &format!("v{tag}"), &small(10 * seed as u64 + tag));
        }
        let to = if name == "missing" { "not-there" } else { &name };
        migration = migration.rule(format!("{host}/team/{name}"), format!("{host}/moved/{to}"));
    }
    let outcome = migration.run().await;
    outcome.assert_failures(18, 6, 0);
    let remedy = format!("# {host}: create the repository moved/not-there, or what it is in, at {host}");
    assert_eq!(remedies(&outcome), [remedy]);
    let asked = |kind: Kind| registry.requests_of(kind.within("moved/not-there")).len();
    assert_eq!([Kind::UploadStart, Kind::BlobHead, Kind::ManifestPut].map(asked), [1, 0, 0]);
    // No more than are in progress at once.
    assert!(asked(Kind::Mount) <= 4 * 2, "{}", asked(Kind::Mount));
}

#[tokio::test]
async fn a_project_that_harbor_does_not_have_is_no_wrong_password() {
    let destination = profiles::harbor().bearer(("mover", "s3cret")).start().await;
    destination.create("there");
    let source = Registry::open().await;
    source.put("team/app", "1.0", &small(1));
    for tag in 0..20 {
        source.put("team/app", &format!("v{tag}"), &small(tag));
    }
    let host = destination.host();
    let outcome = Migration::new()
        .auth(&json!({ &host: { "username": "mover", "password": "s3cret" } }))
        .rule(format!("{}/team/app", source.host()), format!("{host}/not-there/app"))
        .rule(source.reference("team/app", "1.0"), format!("{host}/there/app"))
        .run()
        .await;
    outcome.assert_failures(22, 21, 0);
    let from = source.reference("team/app", "1.0");
    let as_whom = format!("it was asked with the credentials from {host:?} in auth.json");
    let words = ["project not-there not found", "create the project not-there", &as_whom];
    outcome.assert_failed(&from, &format!("{host}/not-there/app:1.0"), &words);
    assert!(!outcome.stderr.contains("rejected"), "{outcome}");
    let remedies = remedies(&outcome);
    let [remedy] = remedies.as_slice() else { panic!("{remedies:?}") };
    assert!(remedy.starts_with("curl ") && remedy.contains(&format!("https://{host}/api/v2.0/projects")), "{remedy}");
    assert_eq!(source.count(Kind::ManifestGet), 1);
    // One of the images asks, with a new token once it is refused, and the others learn it from that one.
    let asked = destination.requests_of(Matcher::any().within("not-there/app"));
    assert!(asked.len() <= 6, "{asked:#?}");
    assert_same((&source, "team/app", "1.0"), (&destination, "there/app", "1.0"));
}

/// As GitLab's, of a project that is not there.
#[tokio::test]
async fn a_token_server_that_gives_none_for_what_is_not_there_is_understood() {
    let destination = Registry::builder().bearer(("mover", "s3cret")).start().await;
    let denied = Answer::error(403, "DENIED", "permission denied on moved/a (or it may not exist)");
    destination.on(Kind::Token.filter(|request| request.query.contains("moved%2Fa%3A")), denied);
    let (source, migration) = six_images(&destination).await;
    let host = destination.host();
    let login = json!({ &host: { "username": "mover", "password": "s3cret" } });
    let outcome = migration.auth(&login).run().await;
    outcome.assert_failures(6, 3, 0);
    let as_whom = format!("it was asked with the credentials from {host:?} in auth.json");
    let words = [&format!("no repository {host}/moved/a that the account may push to"), "may not exist", &as_whom];
    outcome.assert_failed(&source.reference("team/a", "v0"), &format!("{host}/moved/a:v0"), &words);
    assert_eq!(remedies(&outcome).len(), 1, "{outcome}");
    assert_same((&source, "team/b", "v0"), (&destination, "moved/b", "v0"));
}

/// Such as a proxy's, whose words are about something else.
#[tokio::test]
async fn a_page_in_place_of_the_token_server_is_no_missing_repository() {
    let destination = Registry::builder().bearer(("mover", "s3cret")).start().await;
    let page = Answer::status(403).header("Content-Type", "text/plain").body("blocked: of an unknown category");
    destination.on(Kind::Token.filter(|request| request.query.contains("push")), page);
    let (_source, migration) = six_images(&destination).await;
    let login = json!({ destination.host(): { "username": "mover", "password": "s3cret" } });
    let outcome = migration.auth(&login).run().await;
    outcome.assert_failures(6, 6, 0);
    for line in outcome.lines("FAILED") {
        assert!(line.contains("403") && line.contains("of an unknown category"), "{line}");
    }
    assert!(!outcome.everything().contains("no repository"), "{outcome}");
    assert!(remedies(&outcome).is_empty(), "{outcome}");
}

#[tokio::test]
async fn an_image_put_by_digest_alone_needs_a_repository_too() {
    let destination = profiles::ecr().start().await;
    let source = Registry::open().await;
    let digest = source.put("team/app", "1.0", &small(1));
    let outcome = Migration::new().app_tags(&source, &digest, &destination).run().await;
    outcome.assert_failures(1, 1, 0);
    assert_eq!(remedies(&outcome).len(), 1);
    assert_eq!([Kind::ManifestGet, Kind::BlobGet].map(|kind| source.count(kind)), [1, 0]);
}

/// Nexus says it to nobody in particular, in the words of a Quay.
#[tokio::test]
async fn a_registry_that_wants_a_login_is_not_said_to_lack_the_repository() {
    let destination = Registry::builder().basic(("mover", "s3cret")).start().await;
    let refusal = Answer::error(401, "UNAUTHORIZED", "access to the requested resource is not authorized");
    destination.on(Kind::UploadStart, refusal.header("WWW-Authenticate", "Basic realm=\"r\""));
    let (_source, migration) = six_images(&destination).await;
    let outcome = migration.run().await;
    outcome.assert_failures(6, 6, 0);
    for line in outcome.lines("FAILED") {
        assert!(line.contains("the registry wants credentials and there are none"), "{line}");
        assert!(line.contains(&format!("give an entry for {:?} in auth.json", destination.host())), "{line}");
    }
    assert_eq!(remedies(&outcome), [""; 0]);
}

#[tokio::test]
async fn an_account_that_may_not_push_is_told_so_after_one_question() {
    let accounts = scriptable_registry::Accounts::new().user("mover", "s3cret").allow("mover", "moved/", "pull");
    let destination = Registry::builder().basic(accounts).start().await;
    let (source, migration) = six_images(&destination).await;
    let outcome =
        migration.auth(&json!({ destination.host(): { "username": "mover", "password": "s3cret" } })).run().await;
    outcome.assert_failures(6, 6, 0);
    let to = format!("{}/moved/a:v0", destination.host());
    outcome.assert_failed(&source.reference("team/a", "v0"), &to, &["403", "may push to this repository"]);
    assert_eq!(destination.count(Kind::UploadStart), 2);
    assert_eq!([Kind::ManifestGet, Kind::BlobGet].map(|kind| source.count(kind)), [2, 0]);
    assert_eq!(remedies(&outcome), [""; 0]);
}

/// As distribution answers, where it is a cache of another registry or switched to read-only; and Quay, switched so.
#[tokio::test]
async fn a_registry_that_is_only_read_from_is_asked_once_and_said_to_be_one() {
    let destination = Registry::open().await;
    destination.on(Kind::UploadStart, Answer::error(405, "UNSUPPORTED", "The operation is unsupported."));
    let (source, migration) = six_images(&destination).await;
    let outcome = migration.run().await;
    outcome.assert_failures(6, 6, 0);
    for line in outcome.lines("FAILED") {
        assert!(line.contains("405") && line.contains("read-only") && line.contains("cache"), "{outcome}");
    }
    assert_eq!(destination.count(Kind::UploadStart), 2, "each repository is asked once\n{outcome}");
    assert_eq!(source.count(Kind::BlobGet), 0, "{outcome}");
}
