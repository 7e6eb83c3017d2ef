//! What can be read: manifests, blobs, lists.

use scriptable_registry::{Accounts, Image, Index, Kind, Manifest, Registry, digest_of};
use serde_json::Value;

use crate::client::{ask, code, get, header, status};

#[tokio::test]
async fn what_was_seeded_is_served() {
    let registry = Registry::open().await;
    let image = Image::new("linux/amd64").layer("hello").layer_of(1, 200_000).docker();
    let digest = registry.put("team/app", "1.0", &image);

    assert_eq!(status(&registry, "GET", "/v2/").await, 200);
    let by_tag = get(&registry, "/v2/team/app/manifests/1.0").await;
    assert_eq!(header(&by_tag, "docker-content-digest"), digest);
    assert_eq!(header(&by_tag, "content-type"), "application/vnd.docker.distribution.manifest.v2+json");
    let bytes = by_tag.bytes().await.unwrap();
    assert_eq!(digest_of(&bytes), digest);

    let head = ask(&registry, "HEAD", &format!("/v2/team/app/manifests/{digest}")).send().await.unwrap();
    assert_eq!(header(&head, "content-length"), bytes.len().to_string());
    for (layer, size) in image.layers().iter().zip([5, 200_000]) {
        let path = format!("/v2/team/app/blobs/{layer}");
        let head = ask(&registry, "HEAD", &path).send().await.unwrap();
        assert_eq!(header(&head, "content-length"), size.to_string());
        assert_eq!(digest_of(&get(&registry, &path).await.bytes().await.unwrap()), *layer);
    }
    assert_eq!(registry.count(Kind::BlobGet), 2);
    assert_eq!((registry.peak(Kind::BlobGet), registry.peak_all()), (1, 1));
    let blob_gets = registry.requests_of(Kind::BlobGet.of(&image.layers()[1]));
    assert_eq!(blob_gets[0].sent, 200_000);
    assert_eq!(blob_gets[0].status, Some(200));
}

#[tokio::test]
async fn what_is_not_there_is_said_as_the_distribution_registry_says_it() {
    let registry = Registry::open().await;
    registry.put("a", "1", &Image::new("linux/amd64"));
    let nothing = digest_of(b"nothing");
    for (path, expected, expected_code) in [
        ("/v2/a/manifests/2", 404, "MANIFEST_UNKNOWN"),
        ("/v2/b/manifests/1", 404, "MANIFEST_UNKNOWN"),
        ("/v2/b/tags/list", 404, "NAME_UNKNOWN"),
        (&format!("/v2/a/blobs/{nothing}"), 404, "BLOB_UNKNOWN"),
        ("/v2/a/blobs/sha256:12", 400, "DIGEST_INVALID"),
        ("/v2/A/tags/list", 400, "NAME_INVALID"),
        ("/v2/a/tags/list?n=x", 400, "PAGINATION_NUMBER_INVALID"),
    ] {
        let answer = get(&registry, path).await;
        assert_eq!(answer.status(), expected, "{path}");
        assert_eq!(code(answer).await, expected_code, "{path}");
    }
    assert_eq!(status(&registry, "GET", &format!("/v2/a/referrers/{nothing}")).await, 404);
}

/// Follows the links of a list and answers the names of each page.
async fn pages(registry: &Registry, path: &str, field: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let answer = get(registry, &path).await;
        next = answer.headers().get("link").map(|link| {
            let link = link.to_str().unwrap();
            link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned()
        });
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        pages.push(serde_json::from_value(body[field].clone()).unwrap());
    }
    pages
}

#[tokio::test]
async fn tags_come_in_pages_and_in_order() {
    let image = Image::new("linux/amd64");
    for builder in [Registry::builder().page_size(2), Registry::builder().page_size(2).absolute_links()] {
        let registry = builder.start().await;
        for tag in ["b", "a", "d", "c", "e"] {
            registry.put("a/b", tag, &image);
        }
        let all = pages(&registry, "/v2/a/b/tags/list", "tags").await;
        assert_eq!(all, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
        assert_eq!(pages(&registry, "/v2/a/b/tags/list?n=4&last=b", "tags").await, [["c", "d", "e"]]);
        assert_eq!(pages(&registry, "/v2/_catalog", "repositories").await, [["a/b"]]);
    }
    let registry = Registry::builder().largest_page(1).start().await;
    registry.put("a", "1", &image);
    registry.retag("a", "1", "2");
    assert_eq!(pages(&registry, "/v2/a/tags/list?n=1000", "tags").await, [["1"], ["2"]]);
}

#[tokio::test]
async fn ranges_and_conditions_are_honoured() {
    let registry = Registry::open().await;
    let digest = registry.put_synthetic_blob("a", 1000, 3);
    let whole = registry.blob("a", &digest).unwrap();
    let path = format!("/v2/a/blobs/{digest}");
    let part = ask(&registry, "GET", &path).header("range", "bytes=900-").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(header(&part, "content-range"), "bytes 900-999/1000");
    assert_eq!(part.bytes().await.unwrap(), whole.slice(900..));
    let outside = ask(&registry, "GET", &path).header("range", "bytes=1000-").send().await.unwrap();
    assert_eq!(outside.status(), 416);
    let known = ask(&registry, "GET", &path).header("if-none-match", format!("\"{digest}\"")).send().await.unwrap();
    assert_eq!(known.status(), 304);
}

#[tokio::test]
async fn accept_is_checked_if_wanted() {
    let registry = Registry::builder().check_accept().start().await;
    registry.put("a", "1", &Image::new("linux/amd64"));
    assert_eq!(status(&registry, "GET", "/v2/a/manifests/1").await, 404);
    let accept = "application/json, application/vnd.oci.image.manifest.v1+json;q=0.5";
    let accepted = ask(&registry, "GET", "/v2/a/manifests/1").header("accept", accept).send().await.unwrap();
    assert_eq!(accepted.status(), 200);
}

#[tokio::test]
async fn referrers_are_listed_if_wanted() {
    let registry = Registry::builder().referrers().start().await;
    let image = Image::new("linux/amd64");
    let signature = Image::new("").artifact("application/x-signature").layer("signed").subject(&image);
    let subject = registry.put("a", "1", &image);
    let digest = registry.put("a", &signature.digest(), &signature);
    let answer = get(&registry, &format!("/v2/a/referrers/{subject}")).await;
    let index: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"], digest);
    assert_eq!(index["manifests"][0]["artifactType"], "application/x-signature");
    assert_eq!(registry.tags("a"), ["1"]);
}

#[tokio::test]
async fn missing_walks_the_whole_tree() {
    let registry = Registry::open().await;
    let amd64 = Image::new("linux/amd64").layer("one").foreign_layer("https://example.com/layer");
    let arm64 = Image::new("linux/arm64/v8").layer("two");
    let nested = Index::new().image(&arm64).docker();
    let index = Index::new().image(&amd64).index(&nested);
    registry.put("a", "1", &index);
    assert_eq!(registry.missing("a", "1"), Vec::<String>::new());
    assert_eq!(registry.manifests("a").len(), 4);
    assert_eq!(registry.blobs("a").len(), 4);

    assert!(registry.remove_blob("a", &arm64.layers()[0]));
    assert_eq!(registry.missing("a", "1"), arm64.layers());
    assert!(registry.remove_manifest("a", &nested.digest()));
    assert_eq!(registry.missing("a", "1"), [nested.digest()]);
    assert_eq!(registry.missing("a", "9"), ["9"]);
}

#[tokio::test]
async fn damage_is_served_under_the_same_digest() {
    let registry = Registry::open().await;
    let digest = registry.put_blob("a", "hello");
    assert!(registry.damage_blob("a", &digest));
    let served = get(&registry, &format!("/v2/a/blobs/{digest}")).await.bytes().await.unwrap();
    assert_eq!(served.len(), 5);
    assert_ne!(digest_of(&served), digest);
}

#[tokio::test]
async fn a_registry_is_gone_when_it_is_dropped() {
    let registry = Registry::builder().basic(Accounts::new()).start().await;
    let url = registry.url();
    let connection = crate::client::client();
    assert_eq!(connection.get(format!("{url}/v2/")).send().await.unwrap().status(), 401);
    drop(registry);
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert!(connection.get(format!("{url}/v2/")).send().await.is_err());
}
