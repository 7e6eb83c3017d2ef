//! Who is asked with whose credentials, and what becomes of wrong ones.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use scriptable_registry::{Accounts, Answer, Gate, Hook, Kind, Matcher, Origin, Registry, Request};
use serde_json::json;

use crate::support::proxy::Proxy;
use crate::support::{
    GENERATE, HANDLE, Migration, PASSWORD, RETRY_HANDLE, USER, assert_same, basic_user, large, small, summary, when,
};

/// A source and a destination with the same user, and a migration of three images between them.
async fn guarded(bearer: bool) -> (Registry, Registry) {
    let mut both = Vec::new();
    for _ in 0..2 {
        let builder = Registry::builder().redirect_blobs();
        let builder = if bearer { builder.bearer((USER, PASSWORD)) } else { builder.basic((USER, PASSWORD)) };
        both.push(builder.start().await);
    }
    let destination = both.pop().unwrap();
    let source = both.pop().unwrap();
    for seed in 0..3 {
        source.put("team/app", &format!("v{seed}"), &large(1).layer_of(seed + 10, 1_000));
    }
    (source, destination)
}

fn migration(source: &Registry, destination: &Registry, password: &str) -> Migration {
    let entry = json!({ "username": USER, "password": password });
    Migration::with_default_retries()
        .auth(&json!({ source.host(): entry.clone(), destination.host(): entry }))
        .app_tags(source, "v0,v1,v2", destination)
}

#[tokio::test]
async fn basic_and_bearer_both_work() {
    for bearer in [false, true] {
        let (source, destination) = guarded(bearer).await;
        migration(&source, &destination, PASSWORD).run().await.assert_success(3);
        for tag in ["v0", "v1", "v2"] {
            assert_same((&source, "team/app", tag), (&destination, "moved/app", tag));
        }
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_for_all_who_need_it() {
    let (source, destination) = guarded(true).await;
    migration(&source, &destination, PASSWORD).run().await.assert_success(3);
    // One to read, one to write; mounts may ask for one of their own.
    assert!(source.tokens_issued() <= 1, "{}", source.tokens_issued());
    assert!(destination.tokens_issued() <= 2, "{}", destination.tokens_issued());
}

/// A refusal by which a host that is not the registry asks for the registry's password.
fn trap(scheme: &str, realm: &Registry) -> Answer {
    let challenge = format!("{scheme} realm=\"{}/token\",service=\"elsewhere\"", realm.url());
    Answer::error(401, "UNAUTHORIZED", "say who you are").header("WWW-Authenticate", &challenge)
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_nor_can_its_host_ask_for_them() {
    for (bearer, scheme) in [(false, "Basic"), (false, "Bearer"), (true, "Basic"), (true, "Bearer")] {
        let (source, destination) = guarded(bearer).await;
        let realm = Registry::open().await;
        let image = large(1).layer_of(10, 1_000);
        // One blob that is streamed, and one that is fetched whole.
        for digest in image.layers() {
            let of_digest = move |request: &Request| request.path.ends_with(&digest.replace(':', "%3A"));
            source.on(Kind::RedirectedGet.filter(of_digest).once(), trap(scheme, &realm));
        }
        migration(&source, &destination, PASSWORD).run().await.assert_success(3);
        assert_eq!(realm.count_all(), 0, "{scheme}: {:#?}", realm.requests());
        let redirected = source.requests_of(Matcher::any().at(Origin::BlobOrigin));
        assert_eq!(redirected.iter().filter(|request| request.status == Some(401)).count(), 2, "{scheme}");
        assert!(redirected.iter().all(|request| request.header("authorization").is_none()), "{scheme}");
    }
}

#[tokio::test]
async fn a_host_that_an_upload_leads_to_cannot_ask_for_the_password() {
    for (bearer, scheme) in [(false, "Basic"), (false, "Bearer"), (true, "Basic"), (true, "Bearer")] {
        let (source, destination) = guarded(bearer).await;
        let (elsewhere, realm) = (Registry::open().await, Registry::open().await);
        elsewhere.on(Matcher::any(), trap(scheme, &realm));
        let away = Answer::status(202).header("Location", &format!("{}/upload", elsewhere.url()));
        // Two, so that one of them is streamed.
        let is_authorized = |request: &Request| request.header("authorization").is_some();
        destination.on(Matcher::any_of([Kind::Mount, Kind::UploadStart]).filter(is_authorized).times(2), away);
        let outcome = migration(&source, &destination, PASSWORD).run().await;
        assert_eq!(outcome.code, Some(0), "{scheme}\n{outcome}");
        assert_eq!(destination.tags("moved/app"), ["v0", "v1", "v2"]);
        assert_eq!(realm.count_all(), 0, "{scheme}: {:#?}", realm.requests());
        assert!(elsewhere.count_all() > 0);
        assert!(elsewhere.requests().iter().all(|request| request.header("authorization").is_none()), "{scheme}");
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_is_renewed_at_every_kind_of_request() {
    let image = large(1);
    // One that is streamed, and one that is sent whole.
    let [streamed, whole] = [image.layers()[0].clone(), image.config_digest()];
    let at_source = [Kind::TagList.once(), Kind::ManifestGet.once()]
        .into_iter()
        .chain([&streamed, &whole].map(|digest| Kind::BlobGet.of(digest).once()));
    let at_destination = [Kind::ManifestHead, Kind::TagList, Kind::Mount, Kind::ManifestPut].map(Kind::once);
    // Apart, since one request bears no more than two at a time.
    let cases: [Vec<Matcher>; 2] = [
        at_destination.into_iter().chain([Kind::UploadFinish.of(&streamed).once()]).collect(),
        vec![Kind::UploadFinish.of(&whole).once()],
    ];
    for at_destination in cases {
        let start = || Registry::builder().bearer((USER, PASSWORD)).start();
        let (source, destination) = (Arc::new(start().await), Arc::new(start().await));
        source.put("team/app", "v0", &image);
        let at_source = at_source.clone().map(|matcher| when(&source, matcher, Registry::revoke_tokens));
        let at_destination = at_destination.into_iter();
        let at_destination = at_destination.map(|matcher| when(&destination, matcher, Registry::revoke_tokens));
        let revocations: Vec<Hook> = at_source.chain(at_destination).collect();
        let entry = json!({ "username": USER, "password": PASSWORD });
        let migration = Migration::new()
            .auth(&json!({ source.host(): entry.clone(), destination.host(): entry }))
            .app(&source, &destination);
        migration.run().await.assert_success(1);
        assert_same((&source, "team/app", "v0"), (&destination, "moved/app", "v0"));
        assert!(revocations.iter().all(|hook| hook.hits() == 1), "{revocations:?}");
    }
}

#[tokio::test]
async fn a_token_that_expires_or_is_revoked_is_renewed() {
    for announced in [1, 300] {
        let builder = Registry::builder().bearer((USER, PASSWORD)).token_lifetime(Duration::from_secs(1));
        let source = builder.announced_token_lifetime(Duration::from_secs(announced)).start().await;
        let destination = Registry::builder().bearer((USER, PASSWORD)).start().await;
        for seed in 0..3 {
            source.put("team/app", &format!("v{seed}"), &large(seed));
        }
        let gate = Gate::closed();
        source.on(Kind::BlobGet, gate.clone());
        let migration = migration(&source, &destination, PASSWORD).args(["--retries", "0"]);
        let mut running = migration.start().await;
        running.until(&source, Kind::BlobGet, 4).await;
        source.revoke_tokens();
        destination.revoke_tokens();
        gate.open();
        running.finish().await.assert_success(3);
        assert!(source.tokens_issued() >= 2);
    }
}

#[tokio::test]
async fn the_longest_prefix_on_a_boundary_decides() {
    let accounts = ["root", "team", "app"].into_iter().fold(Accounts::new(), |all, user| all.user(user, PASSWORD));
    let source = Registry::builder().basic(accounts).start().await;
    let destination = Registry::open().await;
    let host = source.host();
    let entry = |user: &str| json!({ "username": user, "password": PASSWORD });
    let mut migration = Migration::new().auth(&json!({
        host.clone(): entry("root"),
        format!("{host}/team"): entry("team"),
        format!("{host}/team/app"): entry("app"),
    }));
    let expected = [
        ("app", "root"),
        ("teams/app", "root"),
        ("team-x/app", "root"),
        ("other/team/app", "root"),
        ("team/other", "team"),
        ("team/app2", "team"),
        ("team/app", "app"),
        ("team/app/sub", "app"),
    ];
    for (index, (repository, _)) in expected.iter().enumerate() {
        source.put(repository, "1", &small(1));
        migration = migration.rule(source.reference(repository, "1"), format!("{}/to/r{index}", destination.host()));
    }
    migration.run().await.assert_success(expected.len());
    let mut used = BTreeMap::new();
    for request in source.requests().into_iter().filter(Request::succeeded) {
        if let Some(repository) = &request.repository {
            let users: &mut Vec<String> = used.entry(repository.clone()).or_default();
            users.push(basic_user(&request).expect("credentials"));
        }
    }
    for (repository, user) in expected {
        assert!(used[repository].iter().all(|used| used == user), "{repository}: {:?}", used[repository]);
    }
}

#[tokio::test]
async fn nothing_is_inherited_from_a_shorter_key() {
    let source = Registry::builder().basic((USER, PASSWORD)).start().await;
    let destination = Registry::open().await;
    source.put("team/app", "1", &small(1));
    let host = source.host();
    let migration = Migration::new()
        .auth(&json!({ host.clone(): { "username": USER, "password": PASSWORD }, format!("{host}/team"): {} }))
        .app_tags(&source, "1", &destination);
    migration.run().await.assert_failures(1, 1, 0);
    let asked = source.requests();
    assert!(!asked.is_empty() && asked.iter().all(|request| request.header("authorization").is_none()), "{asked:?}");
}

#[tokio::test]
async fn a_wrong_password_is_final_and_not_asked_again() {
    for bearer in [false, true] {
        let (source, destination) = guarded(bearer).await;
        let right = json!({ "username": USER, "password": PASSWORD });
        let migration = migration(&source, &destination, "wr0ng")
            .auth(&json!({
                source.host(): { "username": USER, "password": "wr0ng" },
                destination.host(): right,
            }))
            .rule(format!("{}/team/app", source.host()), format!("{}/moved/b", destination.host()));
        let outcome = migration.run().await;
        outcome.assert(1, &[GENERATE, HANDLE, &summary(3, 3, 1)]);
        let tried = source.requests_of(Matcher::any().filter(|request| basic_user(request).is_some()));
        assert_eq!(tried.len(), 1, "bearer: {bearer}, asked again: {tried:#?}");
        for line in outcome.lines("FAILED") {
            assert!(line.contains("rejected") && line.contains(&source.host()), "{line}");
        }
        // Nothing is read without credentials after they were rejected.
        assert!(source.requests_of(Kind::ManifestGet).iter().all(|request| !request.succeeded()));
        assert!(destination.repositories().is_empty());
    }
}

#[tokio::test]
async fn rejected_credentials_are_told_once_of_each_image() {
    for bearer in [false, true] {
        let (source, destination) = guarded(bearer).await;
        let outcome = migration(&source, &destination, "wr0ng").run().await;
        outcome.assert_failures(3, 3, 0);
        let told = outcome.stderr.lines().filter(|line| line.contains("rejected"));
        assert_eq!(told.count(), 3, "{outcome}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_shown_once_however_many_need_it() {
    for bearer in [false, true] {
        let accounts = ["root", "team"].into_iter().fold(Accounts::new(), |all, user| all.user(user, PASSWORD));
        let builder = Registry::builder();
        let source = if bearer { builder.bearer(accounts) } else { builder.basic(accounts) }.start().await;
        let (open, destination) = (Registry::open().await, Registry::open().await);
        let host = source.host();
        let mut migration = Migration::with_default_retries().auth(&json!({
            host.clone(): { "username": "root", "password": "wr0ng" },
            format!("{host}/team"): { "username": "team", "password": "wr0ng" },
        }));
        for (namespace, index) in ["other", "team"].into_iter().flat_map(|name| (0..10).map(move |index| (name, index)))
        {
            let name = format!("{namespace}/app{index}");
            source.put(&name, "1", &small(index));
            migration = migration
                .rule(source.reference(&name, "1"), format!("{}/by-name/{name}", destination.host()))
                .rule(format!("{host}/{name}"), format!("{}/by-list/{name}", destination.host()));
        }
        // One that fails again and again, so that there are rounds in which the password might be tried again.
        let migration = migration.rule(open.reference("no/such", "1"), format!("{}/no/such", destination.host()));
        let outcome = migration.run().await;
        outcome.assert(1, &[GENERATE, HANDLE, RETRY_HANDLE, RETRY_HANDLE, RETRY_HANDLE, &summary(21, 21, 20)]);
        let mut shown: Vec<String> = source.requests().iter().filter_map(basic_user).collect();
        shown.sort();
        assert_eq!(shown, ["root", "team"], "bearer: {bearer}");
        assert!(destination.repositories().is_empty());
    }
}

#[tokio::test]
async fn a_scope_that_the_token_server_refuses_concerns_its_repository_alone() {
    const REPOSITORIES: u64 = 8;
    let source = Registry::builder().bearer((USER, PASSWORD)).start().await;
    let destination = Registry::open().await;
    let mut migration = Migration::new().auth(&json!({ source.host(): { "username": USER, "password": PASSWORD } }));
    for index in 0..REPOSITORIES {
        let name = format!("team/app{index}");
        source.put(&name, "1", &small(index));
        migration = migration.rule(source.reference(&name, "1"), format!("{}/moved/app{index}", destination.host()));
    }
    // What is asked for first is refused. The answer is held until the others wait.
    let gate = Gate::closed();
    let (held, first) = (gate.clone(), OnceLock::new());
    source.on_each(Kind::Token, move |request| {
        let is_first = first.get_or_init(|| request.query.clone()) == &request.query;
        is_first.then(|| Answer::error(403, "DENIED", "no such scope for you").and(held.clone()))
    });
    let mut running = migration.start().await;
    running.until(&source, Kind::Token, 1).await;
    running.until(&destination, Kind::TagList, REPOSITORIES).await;
    gate.open();
    let outcome = running.finish().await;
    outcome.assert_failures(REPOSITORIES as usize, 1, 0);
    let [line] = outcome.lines("FAILED")[..] else { panic!("{outcome}") };
    assert!(line.contains("no such scope for you") && line.contains("403"), "{line}");
    for word in ["rejected", "password"] {
        assert!(!outcome.everything().contains(word), "{word}\n{outcome}");
    }
    // It is asked for once ahead of all images, and once more by the one that needs it; and once the password is shown
    // for nothing, to see whether it was meant.
    let refused = source.requests_of(Kind::Token.filter(|request| request.status == Some(403))).len() as u64;
    let shown = source.requests_of(Kind::Token.filter(|request| !request.query.contains("scope="))).len() as u64;
    assert!(refused <= 2 && shown == 1, "{refused} {shown}");
    assert_eq!(
        (destination.repositories().len() as u64, source.count(Kind::Token)),
        (REPOSITORIES - 1, REPOSITORIES - 1 + refused + shown)
    );
}

#[tokio::test]
async fn rejected_credentials_of_one_entry_do_not_stop_another() {
    let source = Registry::builder().bearer((USER, PASSWORD)).start().await;
    let destination = Registry::open().await;
    source.put("team/app", "1", &small(1));
    source.put("other/app", "1", &small(2));
    let host = source.host();
    let outcome = Migration::with_default_retries()
        .auth(&json!({
            host.clone(): { "username": USER, "password": PASSWORD },
            format!("{host}/other"): { "username": USER, "password": "wr0ng" },
        }))
        .rule(source.reference("other/app", "1"), format!("{}/moved/other", destination.host()))
        .app_tags(&source, "1", &destination)
        .run()
        .await;
    outcome.assert_failures(2, 1, 0);
    outcome.assert_failed(
        &source.reference("other/app", "1"),
        &format!("{}/moved/other:1", destination.host()),
        &["rejected", &format!("{host}/other")],
    );
    assert_eq!(destination.tags("moved/app"), ["1"]);
}

#[tokio::test]
async fn a_forbidden_repository_concerns_itself_alone() {
    for bearer in [false, true] {
        let accounts = Accounts::new().user(USER, PASSWORD).allow(USER, "team/", "pull");
        let builder = Registry::builder();
        let source = if bearer { builder.bearer(accounts) } else { builder.basic(accounts) }.start().await;
        let destination = Registry::open().await;
        source.put("team/app", "1", &small(1));
        source.put("secret/app", "1", &small(2));
        let outcome = Migration::new()
            .auth(&json!({ source.host(): { "username": USER, "password": PASSWORD } }))
            .rule(source.reference("secret/app", "1"), format!("{}/moved/secret", destination.host()))
            .app_tags(&source, "1", &destination)
            .run()
            .await;
        outcome.assert_failures(2, 1, 0);
        outcome.assert_failed(
            &source.reference("secret/app", "1"),
            &format!("{}/moved/secret:1", destination.host()),
            &["auth.json"],
        );
        assert_eq!(destination.tags("moved/app"), ["1"]);
    }
}

#[tokio::test]
async fn anonymous_access_needs_no_entry() {
    for auth in [json!({}), json!({ "HOST": {} }), json!({ "HOST": { "insecure": true } })] {
        let source = Registry::builder().bearer(Accounts::new().anonymous("public/", "pull")).start().await;
        let destination = Registry::open().await;
        source.put("public/app", "1", &small(1));
        let auth = auth.to_string().replace("HOST", &source.host());
        let migration = Migration::new()
            .file("auth.json", auth)
            .rule(format!("{}/public/app", source.host()), format!("{}/moved/app", destination.host()));
        migration.run().await.assert_success(1);
        assert!(source.requests_of(Kind::Token).iter().all(|request| basic_user(request).is_none()));
    }
}

#[tokio::test]
async fn a_registry_that_wants_a_login_is_said_so() {
    let source = Registry::builder().basic((USER, PASSWORD)).start().await;
    let destination = Registry::open().await;
    source.put("team/app", "1", &small(1));
    let outcome = Migration::new().app_tags(&source, "1", &destination).run().await;
    outcome.assert_failures(1, 1, 0);
    let to = format!("{}/moved/app:1", destination.host());
    outcome.assert_failed(&source.reference("team/app", "1"), &to, &["auth.json", &source.host()]);
}

#[tokio::test]
async fn the_names_of_docker_hub_are_one_registry() {
    let destination = Registry::open().await;
    // It lets nobody through.
    let proxy = Proxy::http(&[]).await;
    let names = ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];
    let mut migration = Migration::new().env("HTTPS_PROXY", format!("http://{}", proxy.address()));
    for (index, name) in names.iter().enumerate() {
        migration = migration.rule(format!("{name}/nginx:{index}"), format!("{}/moved/nginx", destination.host()));
    }
    let outcome = migration.run().await;
    outcome.assert_failures(names.len(), names.len(), 0);
    for index in 0..names.len() {
        let from = format!("docker.io/library/nginx:{index}");
        outcome.assert_failed(&from, &format!("{}/moved/nginx:{index}", destination.host()), &[]);
    }
    let asked = proxy.asked();
    assert!(!asked.is_empty(), "{outcome}");
    assert!(asked.iter().all(|line| line == "CONNECT registry-1.docker.io:443"), "{asked:?}");
}

#[tokio::test]
async fn loopback_is_never_asked_through_a_proxy() {
    let (source, destination) = guarded(true).await;
    let proxy = Proxy::http(&[]).await;
    let names = ["HTTPS_PROXY", "HTTP_PROXY", "http_proxy"];
    let migration = names.into_iter().fold(migration(&source, &destination, PASSWORD), |migration, name| {
        migration.env(name, format!("http://{}", proxy.address()))
    });
    migration.run().await.assert_success(3);
    assert_eq!(proxy.asked(), [""; 0]);
}
