//! Registries that are broken or wicked: whatever they say, it ends, concerns that image alone, and lets nothing out.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use scriptable_registry::{Action, Answer, Kind, Matcher, Registry, digest_of};
use serde_json::{Value, json};

use crate::support::proxy::Proxy;
use crate::support::{GENERATE, HANDLE, LARGE, Migration, Outcome, assert_same, large, small, summary, two_registries};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A source with a good image under `team/app:good`, a destination, and the rule for all tags.
struct Case {
    source: Registry,
    destination: Registry,
    migration: Migration,
}

impl Case {
    async fn new() -> Self {
        let (source, destination) = two_registries().await;
        source.put("team/app", "good", &small(1));
        let to = format!("{}/moved/app", destination.host());
        let migration = Migration::new().rule(format!("{}/team/app", source.host()), to);
        Self { source, destination, migration }
    }

    /// With this as the manifest of `team/app:bad`.
    async fn with_manifest(media_type: &str, text: impl Into<Vec<u8>>) -> Self {
        let case = Self::new().await;
        case.source.put_manifest("team/app", "bad", media_type, text.into());
        case
    }

    /// Runs it, and asserts that `bad` failed in few words that hold these, and `good` arrived.
    async fn assert_bad_fails_alone(&self, words: &[&str]) -> Outcome {
        let outcome = self.migration.run().await;
        self.assert_good_arrived(&outcome, words);
        outcome
    }

    #[track_caller]
    fn assert_good_arrived(&self, outcome: &Outcome, words: &[&str]) {
        outcome.assert_failures(2, 1, 0);
        let to = format!("{}/moved/app:bad", self.destination.host());
        outcome.assert_failed(&self.source.reference("team/app", "bad"), &to, words);
        assert_eq!(self.destination.tags("moved/app"), ["good"]);
        assert_same((&self.source, "team/app", "good"), (&self.destination, "moved/app", "good"));
        assert_harmless(outcome);
    }
}

/// Asserts that nothing that was written moves a terminal, and that no line is longer than a person reads.
#[track_caller]
fn assert_harmless(outcome: &Outcome) {
    assert_lines_are_harmless(&outcome.everything());
}

#[track_caller]
fn assert_lines_are_harmless(text: &str) {
    for line in text.lines() {
        let is_odd = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!line.contains(is_odd), "{line:?}");
        assert!(line.len() < 2_000, "a line of {} bytes: {}", line.len(), line.chars().take(300).collect::<String>());
    }
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest_of(content), "size": content.len() })
}

/// An image whose only layer is described in these words, its configuration being there.
async fn image_of_layer(layer: &str) -> Case {
    let config = b"{}";
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{layer}]}}"#,
        descriptor(CONFIG, config)
    );
    let case = Case::with_manifest(MANIFEST, text).await;
    case.source.put_blob("team/app", config.as_slice());
    case
}

#[tokio::test]
async fn sizes_that_make_no_sense_are_failures() {
    let digest = digest_of(b"layer");
    for (size, words) in [
        ("-1", "not a manifest"),
        ("1.5", "not a manifest"),
        ("1e400", "not a manifest"),
        ("18446744073709551616", "not a manifest"),
        ("\"5\"", "not a manifest"),
        ("null", "not a manifest"),
        ("18446744073709551615", "18446744073709551615"),
        ("9223372036854775808", "9223372036854775808"),
        ("0", "larger than 0"),
    ] {
        let case = image_of_layer(&format!(r#"{{"mediaType":"{LAYER}","digest":"{digest}","size":{size}}}"#)).await;
        case.source.put_blob("team/app", b"layer".as_slice());
        case.assert_bad_fails_alone(&[words]).await;
    }
}

#[tokio::test]
async fn sizes_that_no_sum_can_hold_are_failures_also_in_a_plan() {
    let layers: Vec<String> = (0..3_u8)
        .map(|n| format!(r#"{{"mediaType":"{LAYER}","digest":"{}","size":{}}}"#, digest_of(&[n]), i64::MAX))
        .collect();
    let case = image_of_layer(&layers.join(",")).await;
    for n in 0..3_u8 {
        case.source.put_blob("team/app", vec![n]);
    }
    let args = ["--report", "report.json", "--report", "report.html"];
    let case = Case { migration: case.migration.args(args), ..case };
    case.assert_bad_fails_alone(&["9223372036854775807"]).await;
    let plan = case.migration.args(["--dry-run"]).run().await;
    assert_eq!(plan.code, Some(0), "{plan}");
}

#[tokio::test]
async fn a_blob_is_read_no_further_than_its_size() {
    for said in [10, LARGE - 1] {
        let content = large(7);
        let (layer, config) = (content.layers().remove(0), content.config_digest());
        let text = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": { "mediaType": CONFIG, "digest": config, "size": 1 },
            "layers": [{ "mediaType": LAYER, "digest": layer, "size": said }],
        });
        let case = Case::with_manifest(MANIFEST, text.to_string()).await;
        case.source.put("team/app-parts", "1", &content);
        let bytes = case.source.blob("team/app-parts", &layer).unwrap();
        case.source.put_blob("team/app", bytes);
        // Without its length nobody can see at once that there is too much of it.
        case.source.on(Kind::BlobGet, Action::remove_header("content-length"));
        case.assert_bad_fails_alone(&[]).await;
    }
}

#[tokio::test]
async fn digests_that_are_paths_are_never_asked_for() {
    let long = "x".repeat(100_000);
    for digest in ["../../../etc/passwd", "sha256:../../x", "sha256:%2e%2e", "\\u001b[31m:00", "sha256:", "", &long] {
        let case = image_of_layer(&format!(r#"{{"mediaType":"{LAYER}","digest":"{digest}","size":5}}"#)).await;
        case.assert_bad_fails_alone(&["digest"]).await;
        let asked = case.source.requests();
        assert!(asked.iter().all(|request| !request.path.contains("passwd") && !request.path.contains("..")));
    }
}

#[tokio::test]
async fn media_types_that_are_none_are_failures() {
    let long = "x".repeat(100_000);
    for media_type in ["a\\u001b]0;x\\u0007", "a\\nb", &long] {
        let text = format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","layers":[]}}"#);
        let case = Case::with_manifest("text/plain", text).await;
        case.assert_bad_fails_alone(&["media type"]).await;
        let layer = format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":5}}"#, digest_of(b"layer"));
        image_of_layer(&layer).await.assert_bad_fails_alone(&["media type"]).await;
    }
}

#[tokio::test]
async fn json_that_is_nested_without_end_is_a_failure() {
    for text in ["[".repeat(1 << 20), "{\"a\":".repeat(1 << 18), format!("{{\"config\":{}", "[".repeat(1 << 20))] {
        Case::with_manifest(MANIFEST, text).await.assert_bad_fails_alone(&["not a manifest"]).await;
    }
}

#[tokio::test]
async fn as_many_layers_as_a_manifest_can_hold_are_a_failure_if_they_are_not_there() {
    const LAYERS: usize = 80_000;
    let mut layers = String::new();
    for n in 0..LAYERS {
        let comma = if n == 0 { "" } else { "," };
        write!(layers, r#"{comma}{{"digest":"sha256:{n:064x}","size":1}}"#).unwrap();
    }
    let text = format!(r#"{{"schemaVersion":2,"layers":[{layers}]}}"#);
    assert!(text.len() < 8 << 20);
    Case::with_manifest(MANIFEST, text).await.assert_bad_fails_alone(&["404"]).await;
    // Each names the same one: it is asked for once.
    let same = format!(r#"{{"digest":"{}","size":1}},"#, digest_of(b"absent")).repeat(LAYERS);
    let text = format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, same.trim_end_matches(','));
    let case = Case::with_manifest(MANIFEST, text).await;
    case.assert_bad_fails_alone(&["404"]).await;
    assert!(case.source.requests_of(Kind::BlobGet.of(&digest_of(b"absent"))).len() <= 2);
}

/// Puts `levels` of indexes, each level of `width` ones that all name those below, and the image at the bottom. Answers
/// the root.
fn put_levels(case: &Case, levels: usize, width: usize) -> String {
    let bottom = case.source.manifest("team/app", "good").unwrap();
    let mut below = vec![json!({ "mediaType": MANIFEST, "digest": bottom.digest, "size": bottom.bytes.len() })];
    for level in 0..levels {
        below = (0..width)
            .map(|place| {
                let text = json!({
                    "schemaVersion": 2, "mediaType": INDEX, "manifests": below,
                    "annotations": { "place": format!("{level}.{place}") },
                })
                .to_string();
                case.source.put_manifest("team/app", &digest_of(text.as_bytes()), INDEX, text.clone());
                descriptor(INDEX, text.as_bytes())
            })
            .collect();
    }
    let root = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": below }).to_string();
    case.source.put_manifest("team/app", "bad", INDEX, root)
}

#[tokio::test]
async fn a_hundred_indexes_within_each_other_are_a_failure() {
    let case = Case::new().await;
    put_levels(&case, 100, 1);
    let outcome = case.assert_bad_fails_alone(&["nested"]).await;
    assert!(case.source.count(Kind::ManifestGet) < 20, "{outcome}");
    let to = format!("{}/moved/app", case.destination.host());
    for arguments in [&["--dry-run"][..], &["--platform", "linux/amd64"], &["--referrers"]] {
        let migration = Migration::new().rule(format!("{}/team/app", case.source.host()), &to).args(arguments.to_vec());
        let outcome = migration.run().await;
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.contains("nested"), "{outcome}");
    }
}

#[tokio::test]
async fn indexes_that_name_each_other_in_countless_ways_are_walked_once() {
    let (levels, width) = (7, 12);
    for arguments in [&[][..], &["--dry-run"], &["--referrers"]] {
        let case = Case::new().await;
        put_levels(&case, levels, width);
        let Case { source, destination, migration } = case;
        let outcome = migration.args(arguments.to_vec()).run().await;
        assert_eq!(outcome.code, Some(0), "{arguments:?}\n{outcome}");
        let reads = source.count(Kind::ManifestGet) as usize;
        assert!(reads <= 3 * (levels * width + 2), "{arguments:?}: {reads} reads");
        if !arguments.contains(&"--dry-run") {
            assert!(destination.missing("moved/app", "bad").is_empty(), "{arguments:?}");
        }
    }
}

#[tokio::test]
async fn indexes_that_name_each_other_in_countless_ways_are_not_converted() {
    let case = Case::new().await;
    put_levels(&case, 7, 12);
    let case = Case { migration: case.migration.args(["--platform", "linux/amd64"]), ..case };
    case.assert_bad_fails_alone(&["can be converted"]).await;
}

#[tokio::test]
async fn names_in_a_list_that_are_no_tags_are_left_out_and_told_briefly() {
    let case = Case::new().await;
    let mut names = vec![
        "good".to_owned(),
        "\u{1b}[2J\u{1b}]0;owned\u{7}".to_owned(),
        "../../../v2/other/manifests/x".to_owned(),
        "a\r\nFAILED x -> y: forged".to_owned(),
        "\u{202e}doog".to_owned(),
        "good?x=".to_owned(),
        String::new(),
        "x".repeat(1 << 20),
    ];
    names.extend((0..50_000).map(|n| format!("no tag {n}")));
    let body = json!({ "name": "team/app", "tags": names }).to_string();
    case.source.on(Kind::TagList, Answer::status(200).body(body));
    let outcome = case.migration.run().await;
    outcome.assert_success(1);
    assert_harmless(&outcome);
    assert!(outcome.lines("FAILED").is_empty(), "{outcome}");
    let log = outcome.log.as_deref().unwrap();
    assert!(log.contains("more=49987") && log.lines().count() < 200, "{outcome}");
    assert_eq!(case.destination.tags("moved/app"), ["good"]);
}

#[tokio::test]
async fn what_a_registry_says_moves_no_terminal_and_forges_no_line() {
    let evil = "no\u{1b}[31m\u{1b}]0;x\u{7}\r\nFAILED forged -> line: x\u{202e}\u{9b}2J";
    for format in ["text", "json"] {
        for (status, body) in [
            (403, json!({ "errors": [{ "code": evil, "message": evil.repeat(200) }] }).to_string()),
            (404, evil.repeat(200)),
            (400, json!({ "message": evil }).to_string()),
            (429, evil.to_owned()),
        ] {
            let case = Case::new().await;
            case.source.put("team/app", "bad", &small(2));
            case.source.on(Kind::ManifestGet.of("bad"), Answer::status(status).body(body));
            let migration = case.migration.args(["--log-format", format, "-vv", "--report", "report.csv"]);
            let case = Case { migration, ..case };
            let outcome = case.assert_bad_fails_alone(&[&status.to_string()]).await;
            assert_eq!(outcome.lines("FAILED").len(), 1, "{outcome}");
            let report = std::fs::read_to_string(case.migration.path("report.csv")).unwrap();
            assert_eq!(report.lines().count(), 3, "a title and two images: {report}");
            assert_lines_are_harmless(&report);
        }
    }
}

#[tokio::test]
async fn redirects_that_lead_nowhere_good_are_failures() {
    for (location, words) in [
        ("/v2/team/app/manifests/bad", "redirects"),
        ("file:///etc/passwd", "file"),
        ("ftp://127.0.0.1/x", "ftp"),
        ("http://169.254.169.254/latest/meta-data/", "link-local"),
        ("http://[::ffff:169.254.169.254]/", "link-local"),
        ("http://[fe80::1]/", "link-local"),
        ("http://", "Location"),
        ("http://[::", "Location"),
    ] {
        let case = Case::new().await;
        case.source.put("team/app", "bad", &small(2));
        case.source.on(Kind::ManifestGet.of("bad"), Answer::status(307).header("Location", location));
        case.assert_bad_fails_alone(&[words]).await;
        let asked = case.source.requests_of(Kind::ManifestGet.of("bad")).len();
        assert_eq!(asked, if words == "redirects" { 11 } else { 1 }, "{location}");
    }
}

#[tokio::test]
async fn a_registry_elsewhere_cannot_have_this_machine_asked() {
    const NAME: &str = "registry.test:5000";
    let (source, destination) = two_registries().await;
    let here = Registry::open().await;
    here.put("team/app", "bad", &small(2));
    source.put("team/app", "good", &small(1));
    source.put("team/app", "bad", &small(2));
    let blob = small(3);
    source.put("team/app", "blob", &blob);
    let leads = |path: String| Answer::status(307).header("Location", &format!("{}{path}", here.url()));
    source.on(Kind::ManifestGet.of("bad"), leads("/v2/team/app/manifests/bad".to_owned()));
    let layer = blob.layers().remove(0);
    source.on(Kind::BlobGet.of(&layer), leads(format!("/v2/team/app/blobs/{layer}")));
    let proxy = Proxy::http(&[(NAME, source.host())]).await;
    let url = format!("http://{}", proxy.address());
    let migration = Migration::new()
        .auth(&json!({ NAME: { "insecure": true } }))
        .rule(format!("{NAME}/team/app"), format!("{}/moved/app", destination.host()))
        .env("http_proxy", &url)
        .env("HTTPS_PROXY", &url);
    let outcome = migration.run().await;
    outcome.assert_failures(3, 2, 0);
    for tag in ["bad", "blob"] {
        let to = format!("{}/moved/app:{tag}", destination.host());
        outcome.assert_failed(&format!("{NAME}/team/app:{tag}"), &to, &["127.0.0.1", "this machine"]);
    }
    assert_eq!(here.count_all(), 0, "it was asked");
    assert_eq!(destination.tags("moved/app"), ["good"]);

    // Nor is a destination given the bytes of others elsewhere.
    let there = Proxy::http(&[(NAME, destination.host())]).await;
    let url = format!("http://{}", there.address());
    let elsewhere = Answer::status(202).header("Location", &format!("{}/v2/x/blobs/", here.url()));
    destination.on(Matcher::any_of([Kind::UploadStart, Kind::Mount]), elsewhere);
    let migration = Migration::new()
        .auth(&json!({ NAME: { "insecure": true } }))
        .rule(source.reference("team/app", "good"), format!("{NAME}/moved/other:1"))
        .env("http_proxy", &url)
        .env("HTTPS_PROXY", &url);
    migration.run().await.assert_failures(1, 1, 0).assert_line("FAILED ", &["127.0.0.1", "this machine"]);
    assert_eq!(here.count_all(), 0, "it was asked");
}

#[tokio::test]
async fn headers_without_end_are_failures() {
    for header in [("x-bomb", "x".repeat(4 << 20)), ("link", "<x>,".repeat(1 << 20))] {
        let case = Case::new().await;
        case.source.put("team/app", "bad", &small(2));
        case.source.on(Kind::ManifestGet.of("bad"), Action::header(header.0, &header.1));
        case.assert_bad_fails_alone(&["message head is too large"]).await;
    }
    let case = Case::new().await;
    case.source.put("team/app", "bad", &small(2));
    let many = (0..20_000).fold(Answer::status(200), |answer, n| answer.header(&format!("x-{n}"), "x"));
    case.source.on(Kind::ManifestGet.of("bad"), many);
    case.assert_bad_fails_alone(&["message head is too large"]).await;
}

#[tokio::test]
async fn answers_of_another_length_than_said_are_failures() {
    let image = large(2);
    for (of_layer, action) in
        [(true, Action::Truncate(1_000)), (false, Action::remove_header("content-length").and(Action::Truncate(100)))]
    {
        let case = Case::new().await;
        case.source.put("team/app", "bad", &image);
        match of_layer {
            true => case.source.on(Kind::BlobGet.of(&image.layers()[0]), action),
            false => case.source.on(Kind::ManifestGet.of("bad"), action),
        };
        case.assert_bad_fails_alone(&[]).await;
    }
}

#[tokio::test]
async fn token_servers_that_nobody_should_ask_get_nothing() {
    let guarded = Registry::open().await;
    guarded.put("team/app", "1", &small(1));
    for (realm, words) in [
        ("http://169.254.169.254/token", "link-local"),
        ("http://[fe80::1]/token", "link-local"),
        ("file:///token", "file"),
    ] {
        let case = Case::new().await;
        let challenge = format!("Bearer realm=\"{realm}\",service=\"x\"");
        guarded.clear_hooks();
        guarded
            .on_each(Matcher::any(), move |_| Some(Answer::status(401).header("WWW-Authenticate", &challenge).into()));
        let to = format!("{}/moved/guarded:1", case.destination.host());
        let auth = json!({ guarded.host(): { "username": "u", "password": "hunter2" } });
        let Case { source, destination, migration } = case;
        let migration = migration.auth(&auth).rule(guarded.reference("team/app", "1"), &to);
        let outcome = migration.run().await;
        outcome.assert(1, &[GENERATE, HANDLE, &summary(2, 1, 0)]);
        outcome.assert_failed(&guarded.reference("team/app", "1"), &to, &[words]);
        assert!(!outcome.everything().contains("hunter2"));
        assert_same((&source, "team/app", "good"), (&destination, "moved/app", "good"));
    }
}

#[tokio::test]
async fn what_a_token_server_says_is_shown_in_one_line_or_not_at_all() {
    let (guarded, tokens) = (Registry::open().await, Registry::open().await);
    guarded.put("team/app", "1", &small(1));
    let realm = format!("Bearer realm=\"{}/token\"", tokens.url());
    guarded.on(Matcher::any(), Answer::status(401).header("WWW-Authenticate", &realm));
    let evil = "\u{1b}[31mno\r\nFAILED forged: x";
    for answer in [
        Answer::status(401).body(evil),
        Answer::status(403).body(json!({ "errors": [{ "code": "DENIED", "message": evil }] }).to_string()),
        Answer::status(200).body(json!({ "token": evil }).to_string()),
        Answer::status(200).body("x".repeat(3 << 20)),
        Answer::status(307).header("Location", "http://169.254.169.254/"),
    ] {
        tokens.clear_hooks();
        tokens.on(Matcher::any(), answer);
        let case = Case::new().await;
        let to = format!("{}/moved/guarded:1", case.destination.host());
        let outcome = case.migration.rule(guarded.reference("team/app", "1"), &to).run().await;
        outcome.assert(1, &[GENERATE, HANDLE, &summary(2, 1, 0)]);
        outcome.assert_line(&format!("FAILED {}", guarded.reference("team/app", "1")), &[]);
        assert_eq!(outcome.lines("FAILED").len(), 1, "{outcome}");
        assert_harmless(&outcome);
    }
}

#[tokio::test]
async fn passwords_that_everybody_may_read_are_warned_about() {
    let case = Case::new().await;
    let password = |password: &str| json!({ "r.example.com": { "username": "u", "password": password } });
    let two = json!({
        "r.example.com": { "username": "u", "password": "hunter2" },
        "s.example.com": { "username": "u", "password": "${SECRET}" },
    });
    for (auth, mode, is_told) in [
        (two, 0o644, true),
        (password("hunter2"), 0o644, true),
        (password("hunter2"), 0o604, true),
        (password("hunter2"), 0o440, false),
        (password("${SECRET}"), 0o644, false),
        (json!({ "r.example.com": { "identityToken": "hunter2" } }), 0o644, true),
        (json!({ "r.example.com": { "insecure": true } }), 0o644, false),
    ] {
        let to = format!("{}/moved/app", case.destination.host());
        let migration = Migration::new().rule(case.source.reference("team/app", "good"), to).auth(&auth);
        let migration = migration.env("SECRET", "hunter2");
        std::fs::set_permissions(migration.path("auth.json"), std::fs::Permissions::from_mode(mode)).unwrap();
        let outcome = migration.run().await;
        outcome.assert_success(1);
        let told = outcome.stderr.contains("chmod 600 auth.json") && outcome.stderr.contains("everybody");
        assert_eq!(told, is_told, "{auth} {mode:o}\n{outcome}");
        assert!(!outcome.everything().contains("hunter2"));
    }
    let both = json!({ "auth": password("hunter2"), "images": {} }).to_string();
    let combined = Migration::new().file("all", both).args(["--config", "all"]);
    std::fs::set_permissions(combined.path("all"), std::fs::Permissions::from_mode(0o644)).unwrap();
    combined.run().await.assert_success(0).assert_line(" WARN ", &["chmod 600 all"]);
}
