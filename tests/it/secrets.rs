//! What a server is shown is told by nobody, also where the server repeats it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use scriptable_registry::{Accounts, Action, Answer, Kind, Matcher, Registry, Request};
use serde_json::{Value, json};

use crate::support::kube_api::kubeconfig;
use crate::support::{Migration, Outcome, large};

const USER: &str = "mover";
/// With what is written otherwise in JSON and in a URL.
const PASSWORD: &str = "hunter2/\"SECRET\"+of us";
const IDENTITY: &str = "identity/SECRET-of-us";

/// What of an `Authorization` must not be told: its value, and the password in it.
fn secrets(authorization: &str) -> Vec<String> {
    let value = authorization.split_once(' ').expect("a scheme").1;
    let decoded = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let password = decoded.and_then(|text| Some(text.split_once(':')?.1.to_owned()));
    std::iter::once(value.to_owned()).chain(password).collect()
}

/// Refuses what is shown to it, in words that hold it in every form.
fn repeating(request: &Request, status: u16, challenge: &str) -> Option<Action> {
    let authorization = request.header("authorization")?;
    let forms = secrets(authorization).into_iter().flat_map(|secret| {
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        [json!(secret).to_string(), encoded, secret]
    });
    let message = format!("{authorization} is refused: {}", forms.collect::<Vec<_>>().join(" "));
    Some(Answer::error(status, "DENIED", &message).header("WWW-Authenticate", challenge).into())
}

/// Everything that a run left behind.
fn everything(migration: &Migration, outcome: &Outcome) -> String {
    let written = migration.files().into_iter().filter(|name| name != "images.json" && name != "auth.json");
    let written = written.filter_map(|name| std::fs::read_to_string(migration.path(&name)).ok());
    outcome.everything() + &written.collect::<String>()
}

/// Asserts that a refusal was told, and none of these with it.
#[track_caller]
fn assert_hidden(migration: &Migration, outcome: &Outcome, secrets: &[String]) {
    let told = everything(migration, outcome);
    assert!(outcome.stderr.contains("***"), "{outcome}");
    for secret in secrets {
        let quoted = json!(secret).to_string();
        let quoted = quoted.trim_matches('"').to_owned();
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for form in [secret.clone(), json!(quoted).to_string().trim_matches('"').to_owned(), quoted, encoded] {
            // Not its end either, which would be left if only its beginning were known.
            for part in [form.as_str(), &form[form.len().saturating_sub(8)..]] {
                assert!(!told.contains(part), "{part:?} is told.\n{outcome}");
            }
        }
    }
}

fn migration(source: &Registry, destination: &Registry, login: &Value) -> Migration {
    Migration::new()
        .auth(&json!({ source.host(): login, destination.host(): login }))
        .app_tags(source, "1", destination)
        .args(["--report", "r.json", "--report", "r.csv", "--report", "r.html", "--failed", "f.json"])
}

#[tokio::test]
async fn what_a_registry_or_token_server_repeats_of_credentials_is_not_told() {
    let login = json!({ "username": USER, "password": PASSWORD });
    let challenge = "Basic realm=\"r\"";
    for (bearer, at_source, kind, status) in [
        (false, true, Kind::ManifestGet, 403),
        (true, true, Kind::ManifestGet, 403),
        (false, true, Kind::BlobGet, 403),
        (true, true, Kind::BlobGet, 403),
        (false, false, Kind::UploadStart, 403),
        (true, false, Kind::UploadFinish, 403),
        (false, false, Kind::UploadFinish, 400),
        (false, false, Kind::ManifestPut, 403),
        (false, true, Kind::Ping, 401),
        (true, true, Kind::Token, 401),
        (true, false, Kind::Token, 403),
    ] {
        let builder = || {
            let accounts = (USER, PASSWORD);
            if bearer { Registry::builder().bearer(accounts) } else { Registry::builder().basic(accounts) }
        };
        let (source, destination) = (builder().start().await, builder().start().await);
        source.put("team/app", "1", &large(1));
        let refuses = if at_source { &source } else { &destination };
        refuses.on_each(kind, move |request| repeating(request, status, challenge));
        let migration = migration(&source, &destination, &login);
        let outcome = migration.run().await;
        let shown = refuses.requests_of(kind);
        let shown: Vec<&str> = shown.iter().filter_map(|request| request.header("authorization")).collect();
        assert!(!shown.is_empty(), "{bearer} {kind:?}\n{outcome}");
        assert_hidden(&migration, &outcome, &shown.into_iter().flat_map(secrets).collect::<Vec<_>>());
    }
}

/// A registry may tell it in the address to which it leads.
#[tokio::test]
async fn what_a_host_repeats_of_credentials_that_it_was_not_shown_is_not_told() {
    let source = Registry::builder().basic((USER, PASSWORD)).start().await;
    let (elsewhere, destination) = (Registry::open().await, Registry::open().await);
    source.put("team/app", "1", &large(1));
    let place = elsewhere.url();
    source.on_each(Kind::BlobGet, move |request| {
        let shown: String = url::form_urlencoded::byte_serialize(request.header("authorization")?.as_bytes()).collect();
        Some(Answer::status(307).header("Location", &format!("{place}/x?of={shown}")).into())
    });
    elsewhere.on_each(Matcher::any(), |request| {
        let (_, shown) = url::form_urlencoded::parse(request.query.as_bytes()).next()?;
        Some(Answer::error(404, "UNKNOWN", &format!("nothing for {shown}")).into())
    });
    let migration = migration(&source, &destination, &json!({ "username": USER, "password": PASSWORD }));
    let outcome = migration.run().await;
    let shown = source.requests_of(Kind::BlobGet);
    let shown = shown.iter().filter_map(|request| request.header("authorization")).flat_map(secrets);
    assert_hidden(&migration, &outcome, &shown.collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_manifest_or_a_list_repeats_of_credentials_is_not_told() {
    let login = json!({ "username": USER, "password": PASSWORD });
    for (kind, is_array) in [(Kind::ManifestGet, false), (Kind::TagList, false), (Kind::TagList, true)] {
        let (source, destination) = (Registry::builder().basic((USER, PASSWORD)).start().await, Registry::open().await);
        source.put("team/app", "1", &large(1));
        source.on_each(kind, move |request| {
            let shown = request.header("authorization")?;
            let tags = if is_array { json!([shown]) } else { json!(shown) };
            let body = json!({ "schemaVersion": 2, "mediaType": shown, "tags": tags });
            Some(Answer::status(200).body(body.to_string()).into())
        });
        let tags = if kind == Kind::TagList { "/.*/" } else { "1" };
        let migration = Migration::new()
            .auth(&json!({ source.host(): login }))
            .app_tags(&source, tags, &destination)
            .args(["--report", "r.json"]);
        let outcome = migration.run().await;
        let shown = source.requests_of(kind);
        let shown = shown.iter().filter_map(|request| request.header("authorization"));
        assert_hidden(&migration, &outcome, &shown.flat_map(secrets).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_a_token_server_repeats_of_an_identity_token_is_not_told() {
    for body in [
        json!({ "error": "invalid_grant", "error_description": format!("{IDENTITY} has expired") }),
        json!({ "errors": [{ "code": "UNAUTHORIZED", "message": format!("{IDENTITY} has expired") }] }),
    ] {
        let accounts = Accounts::new().user(USER, PASSWORD).identity_token(USER, IDENTITY);
        let source = Registry::builder().bearer(accounts).start().await;
        let destination = Registry::open().await;
        for tag in ["1", "2", "3", "4", "5", "6"] {
            source.put("team/app", tag, &large(1));
        }
        source.on(Kind::Token, Answer::status(400).body(body.to_string()));
        let migration = Migration::new()
            .auth(&json!({ source.host(): { "identityToken": IDENTITY } }))
            .app_tags(&source, "1,2,3,4,5,6", &destination)
            .args(["--report", "r.json"]);
        let outcome = migration.run().await;
        assert_hidden(&migration, &outcome, &[IDENTITY.to_owned()]);
        // It is rejected, which is told by its entry, and it is not shown again.
        assert!(outcome.stderr.contains(&format!("correct the identityToken of {:?}", source.host())), "{outcome}");
        assert!(outcome.stderr.contains("has expired"), "{outcome}");
        assert_eq!(source.count(Kind::Token), 1, "{outcome}");
    }
}

#[tokio::test]
async fn what_an_api_server_repeats_of_credentials_is_not_told() {
    let api = Registry::open().await;
    let cluster = || json!({ "server": api.url() });
    for status in [401, 403] {
        for user in [json!({ "token": IDENTITY }), json!({ "username": USER, "password": PASSWORD })] {
            api.clear_hooks();
            api.on_each(Matcher::any(), move |request| repeating(request, status, "Basic"));
            let run = Migration::with_default_retries().file("kubeconfig", kubeconfig(cluster(), user)).args([
                "config",
                "-k",
                "kubeconfig",
            ]);
            let outcome = run.run().await;
            let shown = api.requests_of(Matcher::any());
            let shown = shown.iter().filter_map(|request| request.header("authorization")).flat_map(secrets);
            std::fs::remove_file(run.path("kubeconfig")).unwrap();
            assert_hidden(&run, &outcome, &shown.collect::<Vec<_>>());
        }
    }
}
