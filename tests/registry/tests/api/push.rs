//! What can be written: uploads, mounts, manifests.

use scriptable_registry::{Image, Index, Kind, Manifest, Mounts, Registry, digest_of};

use crate::client::{ask, client, code, header, start_upload, status, upload};

#[tokio::test]
async fn what_a_manifest_lacks_is_not_asked_for_where_that_was_chosen() {
    let registry = Registry::builder().takes_incomplete_manifests().start().await;
    let (image, built) = (Image::new("linux/amd64").layer("hello"), Image::new("linux/amd64").layer("hello").build());
    let put = ask(&registry, "PUT", "/v2/a/b/manifests/1").header("content-type", &built.media_type);
    assert_eq!(put.body(built.bytes).send().await.unwrap().status(), 201);
    let mut lacking = vec![digest_of(b"hello"), image.config_digest()];
    lacking.sort();
    assert_eq!(registry.missing("a/b", "1"), lacking);
}

#[tokio::test]
async fn what_was_pushed_can_be_pulled() {
    let registry = Registry::open().await;
    let image = Image::new("linux/amd64").layer("hello");
    let built = image.build();
    let put = || {
        ask(&registry, "PUT", "/v2/a/b/manifests/1")
            .header("content-type", &built.media_type)
            .body(built.bytes.clone())
            .send()
    };

    let refused = put().await.unwrap();
    assert_eq!(refused.status(), 400);
    assert_eq!(code(refused).await, "MANIFEST_BLOB_UNKNOWN");

    assert_eq!(registry.repositories(), Vec::<String>::new());

    let pushed = upload(&registry, "a/b", b"hello").await;
    assert_eq!(pushed.status(), 201);
    assert_eq!(header(&pushed, "docker-content-digest"), digest_of(b"hello"));
    let other = Registry::open().await;
    other.put("a/b", "1", &image);
    registry.put_blob("a/b", other.blob("a/b", &image.config_digest()).unwrap());

    let accepted = put().await.unwrap();
    assert_eq!(accepted.status(), 201);
    assert_eq!(header(&accepted, "docker-content-digest"), built.digest);
    assert_eq!(registry.manifest("a/b", "1"), other.manifest("a/b", "1"));
    assert_eq!(registry.missing("a/b", "1"), Vec::<String>::new());
    assert_eq!(registry.requests_of(Kind::UploadFinish)[0].received, 5);
    assert_eq!(registry.open_uploads(), 0);
}

#[tokio::test]
async fn manifests_are_checked() {
    let registry = Registry::open().await;
    let nothing = digest_of(b"nothing");
    let index = Index::new().image(&Image::new("linux/amd64")).build();
    let media_type = index.media_type.clone();
    for (reference, media_type, bytes, expected) in [
        ("1", "application/json", &b"[]"[..], "MANIFEST_INVALID"),
        ("1", "application/json", br#"{"mediaType":"other"}"#, "MANIFEST_INVALID"),
        (&nothing, "application/json", b"{}", "DIGEST_INVALID"),
        (".", "application/json", b"{}", "TAG_INVALID"),
        ("1", &media_type, &index.bytes, "MANIFEST_BLOB_UNKNOWN"),
    ] {
        let put = ask(&registry, "PUT", &format!("/v2/a/manifests/{}", reference.replace('.', "%2E-+")));
        let answer = put.header("content-type", media_type).body(bytes.to_vec()).send().await.unwrap();
        assert_eq!(answer.status(), 400);
        assert_eq!(code(answer).await, expected);
    }
    let large = ask(&registry, "PUT", "/v2/a/manifests/1").body(vec![b' '; 5_000_000]).send().await.unwrap();
    assert_eq!(large.status(), 413);
}

#[tokio::test]
async fn a_deleted_manifest_takes_its_tags_along() {
    let registry = Registry::open().await;
    let digest = registry.put("a", "1", &Image::new("linux/amd64"));
    registry.retag("a", "1", "2");
    assert_eq!(status(&registry, "DELETE", "/v2/a/manifests/1").await, 202);
    assert_eq!(registry.tags("a"), ["2"]);
    assert_eq!(status(&registry, "DELETE", &format!("/v2/a/manifests/{digest}")).await, 202);
    assert_eq!(registry.tags("a"), Vec::<String>::new());
    assert_eq!(status(&registry, "DELETE", &format!("/v2/a/manifests/{digest}")).await, 404);
}

#[tokio::test]
async fn a_mount_needs_the_blob_in_the_other_repository() {
    let registry = Registry::open().await;
    let digest = registry.put_blob("a", "hello");
    let mount = |to: &str, from: &str| {
        let path = format!("/v2/{to}/blobs/uploads/?mount={}{from}", digest.replace(':', "%3A"));
        ask(&registry, "POST", &path).send()
    };
    for from in ["&from=c", ""] {
        let ignored = mount("b", from).await.unwrap();
        assert_eq!(ignored.status(), 202);
        assert!(header(&ignored, "location").contains("/v2/b/blobs/uploads/"));
    }
    assert!(!registry.has_blob("b", &digest));
    let mounted = mount("b", "&from=a").await.unwrap();
    assert_eq!(mounted.status(), 201);
    assert!(header(&mounted, "location").ends_with(&format!("/v2/b/blobs/{digest}")));
    assert!(registry.has_blob("b", &digest));
    assert_eq!(mount("b", "&from=b").await.unwrap().status(), 201);
    assert_eq!(registry.count(Kind::Mount), 4);
    assert_eq!(registry.requests_of(Kind::Mount.of(&digest))[2].from.as_deref(), Some("a"));
}

#[tokio::test]
async fn mounts_can_be_switched_off() {
    for (mounts, expected) in [(Mounts::Ignored, 202), (Mounts::Refused(405), 405)] {
        let registry = Registry::builder().mounts(mounts).start().await;
        let digest = registry.put_blob("a", "hello");
        let path = format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
        assert_eq!(status(&registry, "POST", &path).await, expected);
        assert!(!registry.has_blob("b", &digest));
    }
}

#[tokio::test]
async fn an_upload_in_chunks_keeps_to_its_order() {
    let registry = Registry::builder().relative_locations().start().await;
    let chunk = |location: String, range: &'static str, body: &'static str| {
        ask(&registry, "PATCH", &location).header("content-range", range).body(body).send()
    };
    let first = start_upload(&registry, "a").await;
    assert!(first.starts_with("/v2/a/blobs/uploads/"));
    let answer = chunk(first.clone(), "0-4", "hello").await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "range")), (202, "0-4"));
    let second = header(&answer, "location").to_owned();

    assert_eq!(chunk(first.clone(), "5-9", "world").await.unwrap().status(), 416);
    let gap = chunk(second.clone(), "6-10", "world").await.unwrap();
    assert_eq!((gap.status().as_u16(), header(&gap, "range")), (416, "0-4"));

    // The status takes any Location and hands out the newest one.
    let standing = ask(&registry, "GET", &first).send().await.unwrap();
    assert_eq!((standing.status().as_u16(), header(&standing, "range")), (204, "0-4"));
    let streamed = ask(&registry, "PATCH", header(&standing, "location")).body(", you").send().await.unwrap();
    let last = format!("{}&digest={}", header(&streamed, "location"), digest_of(b"hello, you"));
    assert_eq!(status(&registry, "PUT", &last).await, 201);
    assert_eq!(registry.blob("a", &digest_of(b"hello, you")).unwrap(), "hello, you");
    assert_eq!(code(ask(&registry, "PUT", &last).send().await.unwrap()).await, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn an_upload_of_other_bytes_is_refused() {
    let registry = Registry::open().await;
    let location = start_upload(&registry, "a").await;
    let put = format!("{location}&digest={}", digest_of(b"hello"));
    let answer = ask(&registry, "PUT", &put).body("other").send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(code(answer).await, "DIGEST_INVALID");
    assert_eq!(registry.blobs("a"), Vec::<String>::new());
    assert_eq!(registry.open_uploads(), 0);
}

#[tokio::test]
async fn an_upload_can_be_cancelled() {
    let registry = Registry::open().await;
    let location = start_upload(&registry, "a").await;
    assert_eq!(status(&registry, "DELETE", &location).await, 204);
    assert_eq!(status(&registry, "GET", &location).await, 404);
}

#[tokio::test]
async fn strictness_wants_lengths_and_whole_locations() {
    for (strict, start, chunk) in [(true, 411, 404), (false, 202, 202)] {
        let registry = Registry::builder().strict(strict).start().await;
        let post = client().post(format!("{}/v2/a/blobs/uploads/", registry.url()));
        assert_eq!(post.send().await.unwrap().status(), start);
        let location = start_upload(&registry, "a").await;
        let without_state = location.split('?').next().unwrap();
        let answer = ask(&registry, "PATCH", without_state).body("hello").send().await.unwrap();
        assert_eq!(answer.status(), chunk);
    }
}

#[tokio::test]
async fn discarded_uploads_are_known_by_size_and_digest() {
    let registry = Registry::builder().discard_uploads().start().await;
    let source = Registry::open().await;
    let digest = source.put_synthetic_blob("a", 300_000, 9);
    let bytes = source.blob("a", &digest).unwrap();
    let location = start_upload(&registry, "a").await;
    let put = ask(&registry, "PUT", &format!("{location}&digest={digest}")).body(bytes).send().await.unwrap();
    assert_eq!(put.status(), 201);
    assert_eq!(registry.blob_size("a", &digest), Some(300_000));
    assert_eq!(registry.blob("a", &digest), None);
    let path = format!("/v2/a/blobs/{digest}");
    assert_eq!(header(&ask(&registry, "HEAD", &path).send().await.unwrap(), "content-length"), "300000");
    assert_eq!(status(&registry, "GET", &path).await, 410);
    upload(&registry, "a", b"small").await;
    assert_eq!(registry.blob("a", &digest_of(b"small")).unwrap(), "small");
}
