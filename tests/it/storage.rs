//! Bytes that a registry has elsewhere: redirects to its storage, parts of blobs, uploads to other addresses.

use std::sync::{Arc, Mutex};

use scriptable_registry::{Action, Answer, Hook, Kind, Matcher, Port, Registry, Request};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::support::pki::Authority;
use crate::support::token_server::TokenServer;
use crate::support::{
    GENERATE, HANDLE, LARGE, Migration, RETRY_HANDLE, assert_same, large, small, summary, two_registries,
};

#[tokio::test]
async fn a_storage_that_cannot_be_reached_is_named_and_not_asked_for_by_everybody() {
    const IMAGES: u64 = 30;
    let (source, destination) = two_registries().await;
    for seed in 0..IMAGES {
        source.put("team/app", &format!("v{seed}"), &small(seed));
    }
    let nobody = Port::hold().address();
    source.on(Kind::BlobGet, Answer::status(307).header("Location", &format!("http://{nobody}/x?signature=s3cret")));
    let outcome = Migration::new().app(&source, &destination).run().await;
    outcome.assert_failures(IMAGES as usize, IMAGES as usize, 0);
    let words = format!("{nobody}, where it leads: cannot connect: ");
    assert!(outcome.lines("FAILED").iter().all(|line| line.contains(&words)), "{outcome}");
    assert!(!outcome.everything().contains("s3cret"), "{outcome}");
    // Each blob was asked for once. The registry, which is well, was not looked for.
    assert!(source.count(Kind::BlobGet) <= 2 * IMAGES, "{}", source.count(Kind::BlobGet));
    assert_eq!(source.count(Kind::Ping), 0);
}

#[tokio::test]
async fn a_storage_whose_certificate_is_not_taken_is_named() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    // Any server with a certificate of an authority that nobody knows.
    let storage = TokenServer::start(Some(&Authority::new("a test").server(&["127.0.0.1"]))).await;
    source.on(Kind::BlobGet, Answer::status(307).header("Location", &format!("https://{}/x", storage.host())));
    let outcome = Migration::new().app_tags(&source, "1.0", &destination).run().await;
    outcome.assert_failures(1, 1, 0);
    let to = format!("{}/moved/app:1.0", destination.host());
    let host = storage.host();
    let words = [format!("{host}, where it leads: cannot connect: "), format!("as \"ca\" of {host} in auth.json")];
    outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &words.each_ref().map(String::as_str));
}

#[tokio::test]
async fn a_registry_is_not_doubted_for_where_its_uploads_go() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    let nobody = Port::hold().address().to_string();
    let place = Answer::status(202).header("Location", &format!("http://{nobody}/v2/x/blobs/uploads/1"));
    destination.on(Matcher::any_of([Kind::UploadStart, Kind::Mount]), place);
    let outcome = Migration::new().app_tags(&source, "1.0", &destination).run().await;
    outcome.assert_failures(1, 1, 0);
    let to = format!("{}/moved/app:1.0", destination.host());
    outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &[&nobody, "cannot connect"]);
    // It was met, and not looked for.
    assert!(destination.count(Kind::Ping) <= 1, "{:#?}", destination.requests_of(Kind::Ping));
}

#[tokio::test]
async fn a_storage_that_is_reached_in_the_next_round_is_asked_again() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    let nobody = format!("http://{}/x", Port::hold().address());
    let hook = source.on(Kind::BlobGet, Answer::status(307).header("Location", &nobody));
    let migration = Migration::with_default_retries().app_tags(&source, "1.0", &destination);
    let mut running = migration.start().await;
    running.until(&source, Kind::BlobGet, 2).await;
    hook.remove();
    running.finish().await.assert(0, &[GENERATE, HANDLE, RETRY_HANDLE, &summary(1, 0, 0)]);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
}

/// The byte from which a request asks for a blob.
fn first_byte(request: &Request) -> usize {
    let range = request.header("range").expect("it asks for a part");
    range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap()
}

/// A copy in which the source breaks off a blob once, and has this to say to the question for the rest.
async fn with_rest(rest: impl Fn(&Registry, &str) -> Hook) -> Vec<Request> {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    let layer = large(1).layers().remove(0);
    source.on(Kind::BlobGet.of(&layer).once(), Action::CutResponseAfter(100_000));
    let hook = rest(&source, &layer);
    Migration::new().app_tags(&source, "1.0", &destination).run().await.assert_success(1);
    assert_eq!(hook.hits(), 1);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
    source.requests_of(Kind::BlobGet.of(&layer))
}

#[tokio::test]
async fn a_part_whose_unit_is_written_in_another_way_is_used() {
    for unit in ["Bytes ", "bytes=", "BYTES "] {
        let odd = move |request: &Request| {
            let range = format!("{unit}{}-{}/{LARGE}", first_byte(request), LARGE - 1);
            Some(Action::header("Content-Range", &range))
        };
        let reads = with_rest(|source, layer| source.on_each(Kind::BlobGet.of(layer).nth(2), odd)).await;
        assert_eq!(reads.len(), 2, "{unit}");
    }
}

#[tokio::test]
async fn where_an_answer_is_no_part_that_can_be_used_the_whole_is_asked_for_once() {
    let answers = [
        Action::remove_header("Content-Range"),
        Action::header("Content-Range", "bytes 5-299999/300000"),
        Answer::status(416).into(),
    ];
    for answer in answers {
        let reads = with_rest(|source, layer| source.on(Kind::BlobGet.of(layer).nth(2), answer.clone())).await;
        assert_eq!(reads.len(), 3, "{answer:?}");
        assert!(reads[1].header("range").is_some() && reads[2].header("range").is_none(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_part_that_is_shorter_than_asked_for_is_not_used() {
    let short = |source: &Registry, layer: &str| {
        let whole = source.blob("team/app", layer).unwrap();
        source.on_each(Kind::BlobGet.of(layer).nth(2), move |request| {
            let (from, to) = (first_byte(request), first_byte(request) + 10_000);
            let range = format!("bytes {from}-{}/{LARGE}", to - 1);
            Some(Answer::status(206).header("Content-Range", &range).body(whole.slice(from..to)).into())
        })
    };
    let reads = with_rest(short).await;
    assert_eq!(reads.len(), 3);
    assert_eq!(reads[2].header("range"), None);
}

#[tokio::test]
async fn a_part_that_is_all_of_the_blob_is_used_as_such() {
    let all = |source: &Registry, layer: &str| {
        let whole = source.blob("team/app", layer).unwrap();
        let range = format!("bytes 0-{}/{LARGE}", LARGE - 1);
        let answer = Answer::status(206).header("Content-Range", &range).body(whole);
        source.on(Kind::BlobGet.of(layer).nth(2), answer)
    };
    assert_eq!(with_rest(all).await.len(), 2);
}

/// A destination whose uploads go elsewhere, to where nothing is kept of them.
async fn with_uploads_elsewhere() -> (Registry, Registry, Registry, Migration) {
    let destination = Registry::builder().takes_incomplete_manifests().start().await;
    let (source, elsewhere) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    let place = Answer::status(202).header("Location", &format!("{}/v2/x/blobs/uploads/1", elsewhere.url()));
    destination.on(Matcher::any_of([Kind::UploadStart, Kind::Mount]), place);
    let migration = Migration::new().app_tags(&source, "1.0", &destination);
    (source, destination, elsewhere, migration)
}

#[tokio::test]
async fn an_upload_s_address_that_has_expired_elsewhere_is_replaced_by_a_new_one() {
    for status in [400, 401, 403] {
        let (_source, destination, elsewhere, migration) = with_uploads_elsewhere().await;
        let layer = large(1).layers().remove(0);
        let expired = Answer::status(status).body("<Error><Message>Request has expired</Message></Error>");
        elsewhere.on(Kind::UploadFinish.of(&layer).once(), expired);
        // Once all of it has come.
        elsewhere.on(Kind::UploadFinish, Answer::status(201).and(Action::StallRequestAfter(u64::MAX)));
        migration.run().await.assert_success(1);
        assert_eq!(elsewhere.requests_of(Kind::UploadFinish.of(&layer)).len(), 2, "{status}");
        assert_eq!(destination.tags("moved/app"), ["1.0"]);
    }
}

#[tokio::test]
async fn where_a_new_address_is_refused_as_well_it_is_said_what_may_be_wrong() {
    let (source, destination, elsewhere, migration) = with_uploads_elsewhere().await;
    elsewhere.on(Kind::UploadFinish, Answer::status(401));
    let outcome = migration.run().await;
    outcome.assert_failures(1, 1, 0);
    let to = format!("{}/moved/app:1.0", destination.host());
    outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &["401", "Host header"]);
    for blob in large(1).layers() {
        assert!(elsewhere.requests_of(Kind::UploadFinish.of(&blob)).len() <= 2);
    }
}

/// A server of an authority whose clients it may be shown; it ends when this is dropped.
struct Front {
    host: String,
    /// Of each connection, whether a certificate was shown on it.
    shown: Arc<Mutex<Vec<bool>>>,
    _task: AbortOnDropHandle<()>,
}

impl Front {
    /// One that leads to the other, or has nothing.
    async fn start(authority: &Authority, other: Option<&Self>) -> Self {
        let tls = authority.server(&["127.0.0.1"]).server_config_with_clients(authority);
        let tls = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let answer = match other {
            Some(other) => format!("307 Temporary Redirect\r\nlocation: https://{}/x", other.host),
            None => "404 Not Found".to_owned(),
        };
        let answer = format!("HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        let shown = Arc::new(Mutex::new(Vec::new()));
        let seen = shown.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = tls.accept(stream).await else { continue };
                seen.lock().unwrap().push(stream.get_ref().1.peer_certificates().is_some());
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { host, shown, _task: AbortOnDropHandle::new(task) }
    }
}

#[tokio::test]
async fn our_certificate_is_shown_to_its_registry_and_not_where_that_leads() {
    let (authority, destination) = (Authority::new("ours"), Registry::open().await);
    let storage = Front::start(&authority, None).await;
    let source = Front::start(&authority, Some(&storage)).await;
    let client = authority.client();
    let migration = Migration::new()
        .file("ca.pem", &authority.pem)
        .file("cert.pem", &client.pem)
        .file("key.pem", &client.key)
        .auth(&json!({ &source.host: { "ca": "ca.pem", "cert": "cert.pem", "key": "key.pem" } }))
        .rule(format!("{}/app:1", source.host), format!("{}/app", destination.host()));
    migration.run().await.assert_failures(1, 1, 0).assert_line("FAILED ", &["404"]);
    for (front, is_shown) in [(&source, true), (&storage, false)] {
        let shown = front.shown.lock().unwrap();
        assert!(!shown.is_empty() && shown.iter().all(|shown| *shown == is_shown), "{shown:?}");
    }
}
