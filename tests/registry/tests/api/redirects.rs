//! The second origin for blobs.

use scriptable_registry::{Kind, Origin, Registry};

use crate::client::{ask, client, get, header, status};

#[tokio::test]
async fn blobs_come_from_the_other_origin() {
    let registry = Registry::builder().redirect_blobs().start().await;
    let digest = registry.put_blob("a", "hello");
    let path = format!("/v2/a/blobs/{digest}");
    assert_eq!(status(&registry, "HEAD", &path).await, 200);
    let redirect = get(&registry, &path).await;
    assert_eq!(redirect.status(), 307);
    let location = header(&redirect, "location").to_owned();
    assert!(location.starts_with(&format!("http://{}/", registry.blob_host().unwrap())));

    let part = client().get(&location).header("range", "bytes=1-2").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.bytes().await.unwrap(), "el");
    assert_eq!(client().get(&location).bearer_auth("token").send().await.unwrap().status(), 400);
    assert_eq!(client().head(&location).send().await.unwrap().status(), 403);
    registry.expire_redirects();
    assert_eq!(client().get(&location).send().await.unwrap().status(), 403);

    let seen = registry.requests_of(Kind::RedirectedGet.of(&digest));
    assert!(seen.iter().all(|request| request.origin == Origin::BlobOrigin));
    assert_eq!(seen.iter().map(|request| request.status.unwrap()).collect::<Vec<_>>(), [206, 400, 403]);
    assert_eq!(seen[1].header("authorization"), Some("Bearer token"));
}

#[tokio::test]
async fn heads_are_redirected_if_wanted() {
    let registry = Registry::builder().redirect_blob_heads().start().await;
    let digest = registry.put_blob("a", "hello");
    let redirect = ask(&registry, "HEAD", &format!("/v2/a/blobs/{digest}")).send().await.unwrap();
    assert_eq!(redirect.status(), 307);
    let location = header(&redirect, "location");
    assert_eq!(client().head(location).send().await.unwrap().status(), 200);
    assert_eq!(client().get(location).send().await.unwrap().status(), 403);
}
