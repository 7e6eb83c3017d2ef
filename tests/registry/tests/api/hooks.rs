//! Every action, and the choice of the requests it is done to.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::Response;
use scriptable_registry::{Action, Answer, Gate, Image, Kind, Matcher, Registry, digest_of};

use crate::client::{ask, client, code, get, header, start_upload, status};

const SIZE: u64 = 300_000;

/// A registry with one blob, and the path of that blob.
async fn with_blob() -> (Registry, String, Bytes) {
    let registry = Registry::open().await;
    let digest = registry.put_synthetic_blob("a", SIZE, 1);
    let bytes = registry.blob("a", &digest).unwrap();
    (registry, format!("/v2/a/blobs/{digest}"), bytes)
}

/// What arrives of a body before it ends, breaks or stalls, and whether it ended well.
async fn arrives(response: Response) -> (Vec<u8>, bool) {
    let mut arrived = Vec::new();
    let mut pieces = response.bytes_stream();
    loop {
        match tokio::time::timeout(Duration::from_millis(300), pieces.next()).await {
            Ok(Some(Ok(piece))) => arrived.extend_from_slice(&piece),
            Ok(None) => return (arrived, true),
            Ok(Some(Err(_))) | Err(_) => return (arrived, false),
        }
    }
}

#[tokio::test]
async fn respond_answers_in_place_of_the_registry() {
    let (registry, path, _) = with_blob().await;
    let hook = registry
        .on(Kind::BlobGet.times(2), Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", "7"));
    for _ in 0..2 {
        let answer = get(&registry, &path).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (429, "7"));
        assert_eq!(code(answer).await, "TOOMANYREQUESTS");
    }
    assert_eq!(status(&registry, "GET", &path).await, 200);
    assert_eq!(hook.hits(), 2);
}

#[tokio::test]
#[should_panic = "a hook has panicked"]
async fn what_a_hook_asserts_fails_the_test() {
    let (registry, path, _) = with_blob().await;
    registry.on_each(Kind::BlobGet.once(), |request| panic!("{request:?}"));
    assert!(ask(&registry, "GET", &path).send().await.is_err());
    registry.clear_hooks();
    assert_eq!(status(&registry, "GET", &path).await, 200);
}

#[tokio::test]
async fn delay_and_gate_hold_requests_back() {
    let (registry, path, _) = with_blob().await;
    registry.on(Kind::BlobHead, Action::Delay(Duration::from_millis(100)));
    let start = Instant::now();
    assert_eq!(status(&registry, "HEAD", &path).await, 200);
    assert!(start.elapsed() >= Duration::from_millis(100));

    let gate = Gate::closed();
    registry.on(Kind::BlobGet, gate.clone());
    let held = async { tokio::join!(get(&registry, &path), get(&registry, &path)) };
    let opener = async {
        registry.until(Kind::BlobGet, 2).await;
        assert_eq!(registry.in_flight(Kind::BlobGet), 2);
        gate.open();
    };
    let ((one, two), ()) = tokio::join!(held, opener);
    assert_eq!((one.status(), two.status()), (200.try_into().unwrap(), 200.try_into().unwrap()));
    assert_eq!(registry.peak(Kind::BlobGet), 2);
}

#[tokio::test]
async fn an_answer_that_is_held_back_comes_when_the_work_is_done() {
    let registry = Registry::open().await;
    let gate = Gate::closed();
    registry.on(Kind::UploadFinish, Action::AnswerAfter(gate.clone()));
    let location = start_upload(&registry, "a").await;
    let put = ask(&registry, "PUT", &format!("{location}&digest={}", digest_of(b"hello"))).body("hello").send();
    let opener = async {
        while !registry.has_blob("a", &digest_of(b"hello")) {
            tokio::task::yield_now().await;
        }
        assert_eq!(registry.in_flight(Kind::UploadFinish), 1);
        gate.open();
    };
    let (answer, ()) = tokio::join!(put, opener);
    assert_eq!(answer.unwrap().status(), 201);
}

#[tokio::test]
async fn hang_drop_and_lost_answers_give_no_answer() {
    let registry = Registry::open().await;
    registry.on(Kind::Ping.nth(1), Action::Hang);
    registry.on(Kind::Ping.nth(2), Action::Drop);
    let hanging = ask(&registry, "GET", "/v2/").timeout(Duration::from_millis(200)).send().await;
    assert!(hanging.unwrap_err().is_timeout());
    let dropped = ask(&registry, "GET", "/v2/").send().await.unwrap_err();
    assert!(!dropped.is_timeout());
    assert_eq!(status(&registry, "GET", "/v2/").await, 200);

    registry.on(Kind::UploadFinish.once(), Action::LoseAnswer);
    let location = start_upload(&registry, "a").await;
    let put = ask(&registry, "PUT", &format!("{location}&digest={}", digest_of(b"hello"))).body("hello");
    assert!(put.send().await.is_err());
    assert!(registry.has_blob("a", &digest_of(b"hello")));
    assert_eq!(registry.requests_of(Kind::UploadFinish)[0].status, None);
}

#[tokio::test]
async fn a_response_is_cut_where_it_is_said() {
    for after in [0, 1, 1000, 65_536, 200_000, SIZE - 1] {
        let (registry, path, bytes) = with_blob().await;
        registry.on(Kind::BlobGet.once(), Action::CutResponseAfter(after));
        let answer = get(&registry, &path).await;
        assert_eq!(header(&answer, "content-length"), SIZE.to_string());
        let (arrived, well) = arrives(answer).await;
        assert!(!well);
        assert_eq!(arrived, bytes[..after as usize]);
        assert_eq!(registry.requests()[0].sent, after);
        assert!(arrives(get(&registry, &path).await).await.1);
    }
}

#[tokio::test]
async fn a_response_stalls_where_it_is_said() {
    let (registry, path, bytes) = with_blob().await;
    registry.on(Kind::BlobGet, Action::StallResponseAfter(70_000));
    let (arrived, well) = arrives(get(&registry, &path).await).await;
    assert!(!well);
    assert_eq!(arrived, bytes[..70_000]);
    // The client has given up, and the registry notices.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(registry.in_flight(Kind::BlobGet), 0);
}

#[tokio::test]
async fn a_request_is_cut_where_it_is_said() {
    for after in [0, 1000, 200_000, SIZE] {
        let (registry, _, bytes) = with_blob().await;
        registry.on(Kind::UploadFinish, Action::CutRequestAfter(after));
        let location = start_upload(&registry, "b").await;
        let put = ask(&registry, "PUT", &format!("{location}&digest={}", digest_of(&bytes))).body(bytes);
        let error = put.send().await.unwrap_err();
        assert!(!error.is_timeout());
        assert_eq!(registry.requests_of(Kind::UploadFinish)[0].received, after);
        // What came is kept, as a registry does, but the old Location is of no use any more.
        let standing = get(&registry, &location).await;
        assert_eq!(header(&standing, "range"), format!("0-{}", after.saturating_sub(1)));
        assert_eq!(registry.blobs("b"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_request_stalls_where_it_is_said() {
    let (registry, _, _) = with_blob().await;
    registry.on(Kind::UploadChunk, Action::StallRequestAfter(1000));
    let location = start_upload(&registry, "b").await;
    let patch = ask(&registry, "PATCH", &location).body(vec![0; 20_000_000]).timeout(Duration::from_millis(300));
    assert!(patch.send().await.unwrap_err().is_timeout());
    assert_eq!(registry.requests_of(Kind::UploadChunk)[0].received, 1000);
}

#[tokio::test]
async fn a_response_can_lie() {
    let (registry, path, bytes) = with_blob().await;
    registry.on(Kind::BlobGet.nth(1), Action::CorruptResponse);
    registry.on(Kind::BlobGet.nth(2), Action::Truncate(10));
    let corrupt = get(&registry, &path).await.bytes().await.unwrap();
    assert_eq!(corrupt.iter().zip(&bytes).filter(|(a, b)| a != b).count(), 1);
    let short = get(&registry, &path).await;
    assert_eq!(header(&short, "content-length"), "10");
    assert_eq!(short.bytes().await.unwrap(), bytes.slice(..10));
}

#[tokio::test]
async fn a_response_can_be_slow() {
    let (registry, path, bytes) = with_blob().await;
    registry.on(Kind::BlobGet, Action::Throttle(SIZE * 5));
    let start = Instant::now();
    assert_eq!(get(&registry, &path).await.bytes().await.unwrap(), bytes);
    assert!(start.elapsed() > Duration::from_millis(150));
}

#[tokio::test]
async fn headers_are_set_and_left_out() {
    let (registry, path, bytes) = with_blob().await;
    let hook = registry.on(
        Matcher::any_of([Kind::BlobGet, Kind::BlobHead]),
        Action::header("Docker-Content-Digest", "sha256:other").and(Action::remove_header("Content-Length")),
    );
    let head = ask(&registry, "HEAD", &path).send().await.unwrap();
    assert_eq!(head.headers().get("content-length"), None);
    let answer = get(&registry, &path).await;
    assert_eq!(header(&answer, "docker-content-digest"), "sha256:other");
    assert_eq!(header(&answer, "transfer-encoding"), "chunked");
    assert_eq!(answer.bytes().await.unwrap(), bytes);
    hook.remove();
    assert_eq!(header(&get(&registry, &path).await, "content-length"), SIZE.to_string());
    assert_eq!(hook.hits(), 2);
}

#[tokio::test]
async fn actions_add_up() {
    let registry = Registry::open().await;
    let lie = Answer::status(200).body("0123456789").and(Action::CutResponseAfter(4));
    registry.on(Kind::TagList, lie.and(Action::Delay(Duration::from_millis(50))));
    registry.on(Matcher::any(), Action::header("X-Also", "this"));
    let start = Instant::now();
    let answer = get(&registry, "/v2/a/tags/list").await;
    assert_eq!(header(&answer, "x-also"), "this");
    assert_eq!(arrives(answer).await, (b"0123".to_vec(), false));
    assert!(start.elapsed() >= Duration::from_millis(50));
    registry.clear_hooks();
    assert_eq!(status(&registry, "GET", "/v2/a/tags/list").await, 404);
}

#[tokio::test]
async fn matchers_select() {
    let registry = Registry::open().await;
    for repository in ["a", "b"] {
        registry.put(repository, "1", &Image::new("linux/amd64"));
        registry.retag(repository, "1", "2");
    }
    registry.on(Kind::ManifestGet.of("1").within("a").after(1).times(2), Answer::status(503));
    let mut statuses = Vec::new();
    for path in ["b/manifests/1", "a/manifests/2", "a/manifests/1", "a/manifests/1", "a/manifests/1", "a/manifests/1"] {
        statuses.push(status(&registry, "GET", &format!("/v2/{path}")).await);
    }
    assert_eq!(statuses, [200, 200, 200, 503, 503, 200]);
}

#[tokio::test]
async fn a_closure_decides() {
    let registry = Registry::open().await;
    let hook = registry
        .on_each(Matcher::any().times(2), |request| (request.number % 2 == 0).then(|| Answer::status(500).into()));
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(status(&registry, "GET", "/v2/").await);
    }
    assert_eq!(statuses, [200, 500, 200, 500, 200, 200]);
    assert_eq!(hook.hits(), 2);
}

#[tokio::test]
async fn an_early_answer_to_a_large_body_arrives() {
    let registry = Registry::open().await;
    let location = start_upload(&registry, "a").await;
    registry.on(Kind::UploadFinish, Answer::status(413));
    let put = ask(&registry, "PUT", &location).body(vec![0; 20_000_000]).send().await.unwrap();
    assert_eq!(put.status(), 413);
    assert!(registry.requests_of(Kind::UploadFinish)[0].received < 1_000_000);
}

#[tokio::test]
async fn the_log_can_be_cleared_and_counts_connections() {
    let registry = Registry::open().await;
    let client = client();
    for _ in 0..3 {
        client.get(format!("{}/v2/", registry.url())).send().await.unwrap();
    }
    assert_eq!((registry.count(Kind::Ping), registry.count_all(), registry.connections()), (3, 3, 1));
    registry.clear_log();
    assert_eq!((registry.count(Kind::Ping), registry.peak_all(), registry.requests().len()), (0, 0, 0));
}
