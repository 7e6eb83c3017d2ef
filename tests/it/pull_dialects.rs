//! How registries that people have answer those who pull, where the specification leaves it open or is not kept.

use scriptable_registry::{
    Accounts, Action, Answer, Image, Index, Kind, Manifest as _, Matcher, Registry, Request, digest_of, profiles,
};
use serde_json::json;
use sha2::{Digest as _, Sha512};

use crate::support::{LARGE, Migration, assert_same, large, small, two_registries, when};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|tag| format!("v{tag:03}")).collect()
}

/// Copies all tags of `team/app`, so that the list is what matters.
fn all_tags(source: &Registry, destination: &Registry) -> Migration {
    Migration::new().app(source, destination)
}

#[tokio::test]
async fn the_pages_of_quay_are_followed_by_their_tokens() {
    let (source, destination) = (profiles::quay().start().await, Registry::open().await);
    for tag in names(3) {
        source.put("team/app", &tag, &small(1));
    }
    // The page after the first is known by a token that says nothing of tags.
    let page = |tags: &[&str]| Answer::status(200).body(json!({ "name": "team/app", "tags": tags }).to_string());
    let second = Kind::TagList.filter(|request| request.query.contains("next_page=gAAAAABo"));
    let second = source.on(second, page(&["v002"]));
    let next = "</v2/team/app/tags/list?n=50&next_page=gAAAAABo%3D%3D>; rel=\"next\"";
    source.on(Kind::TagList.once(), page(&["v000", "v001"]).header("Link", next));
    all_tags(&source, &destination).run().await.assert_success(3);
    assert_eq!((second.hits(), destination.tags("moved/app")), (1, names(3)));
}

#[tokio::test]
async fn a_registry_that_refuses_the_size_of_a_page_chooses_it() {
    for refusal in [
        Answer::error(405, "UNSUPPORTED", "maxResults is too large"),
        Answer::error(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested"),
    ] {
        let source = Registry::builder().page_size(2).absolute_links().start().await;
        let destination = Registry::open().await;
        for tag in names(5) {
            source.put("team/app", &tag, &small(1));
        }
        let refused = source.on(Kind::TagList.filter(|request| request.query.contains("n=1000")), refusal);
        all_tags(&source, &destination).run().await.assert_success(5);
        assert!(refused.hits() > 0);
    }
}

#[tokio::test]
async fn a_list_that_never_ends_is_a_failed_generation() {
    let links: [fn(u64) -> String; 2] = [
        |_| "</v2/team/app/tags/list?n=1000>; rel=\"next\"".to_owned(),
        |number| format!("</v2/team/app/tags/list?cursor={number}>; rel=\"next\""),
    ];
    for link in links {
        let (source, destination) = two_registries().await;
        source.put("team/app", "1.0", &small(1));
        let body = json!({ "name": "team/app", "tags": ["1.0"] }).to_string();
        source.on_each(Kind::TagList, move |request| {
            Some(Answer::status(200).body(body.clone()).header("Link", &link(request.number)).into())
        });
        let outcome = all_tags(&source, &destination).run().await;
        outcome.assert_failures(0, 0, 1);
        outcome.assert_line("FAILED images.json:2:3: ", &["pages go on for ever"]);
        assert!(source.count(Kind::TagList) <= 10);
    }
}

#[tokio::test]
async fn a_name_in_a_list_that_is_null_is_passed_over() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    let body = json!({ "name": "team/app", "tags": [null, "1.0", null] }).to_string();
    let list = source.on(Kind::TagList, Answer::status(200).body(body));
    all_tags(&source, &destination).run().await.assert_success(1);
    assert_eq!(list.hits(), 1);
}

/// A registry that has nothing of its own: all that it is asked for is at another one.
async fn redirector(to: &Registry) -> Registry {
    let (front, to) = (Registry::open().await, to.url());
    front.on_each(Matcher::any(), move |request| {
        let place = format!("{to}{}?{}", request.path, request.query);
        Some(Answer::status(307).header("Location", &place).into())
    });
    front
}

#[tokio::test]
async fn the_pages_behind_a_redirect_are_where_the_first_one_was() {
    let builder = Registry::builder().largest_page(2).bearer(Accounts::new().anonymous("team/", "pull"));
    let (source, destination) = (builder.start().await, Registry::open().await);
    for tag in names(5) {
        source.put("team/app", &tag, &small(1));
    }
    let front = redirector(&source).await;
    all_tags(&front, &destination).run().await.assert_success(5);
    assert_eq!(destination.tags("moved/app"), names(5));
    assert_eq!(front.count(Kind::TagList), 2, "the first contact, and the first page: other addresses are not made up");
}

#[tokio::test]
async fn a_token_of_nobody_that_is_refused_before_its_time_is_replaced() {
    let builder = Registry::builder().bearer(Accounts::new().anonymous("team/", "pull"));
    let (source, destination) = (std::sync::Arc::new(builder.start().await), Registry::open().await);
    for tag in names(4) {
        source.put("team/app", &tag, &small(1));
    }
    let front = redirector(&source).await;
    let with_token = Kind::ManifestGet.filter(|request| request.header("authorization").is_some());
    let revoked = when(&source, with_token.nth(2), Registry::revoke_tokens);
    let outcome = all_tags(&front, &destination).args(["-w", "1"]).run().await;
    outcome.assert_success(4);
    assert_eq!((revoked.hits(), destination.tags("moved/app")), (1, names(4)));
    // Not the digits alone: times and digests have them, too.
    assert!(!outcome.everything().contains(" 401"), "{outcome}");
}

#[tokio::test]
async fn credentials_do_not_go_to_where_the_next_page_is() {
    let (source, destination) = (Registry::builder().basic(("mover", "s3cret")).start().await, Registry::open().await);
    let elsewhere = Registry::builder().largest_page(2).start().await;
    for tag in names(3) {
        elsewhere.put("team/app", &tag, &small(1));
        source.put("team/app", &tag, &small(1));
    }
    let list = format!("{}/v2/team/app/tags/list?n=2", elsewhere.url());
    source.on(Kind::TagList, Answer::status(307).header("Location", &list));
    let auth = json!({ source.host(): { "username": "mover", "password": "s3cret" } });
    all_tags(&source, &destination).auth(&auth).run().await.assert_success(3);
    let pages = elsewhere.requests_of(Kind::TagList);
    assert_eq!(pages.len(), 2);
    assert!(pages.iter().all(|request| request.header("authorization").is_none()), "{pages:#?}");
}

#[tokio::test]
async fn a_page_without_tags_is_passed_over() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    let digests = json!({ "name": "team/app", "tags": [digest_of(b"1"), digest_of(b"2")] }).to_string();
    let next = "</v2/team/app/tags/list?after=digests>; rel=\"next\"";
    let first = source.on(Kind::TagList.once(), Answer::status(200).body(digests).header("Link", next));
    all_tags(&source, &destination).run().await.assert_success(1);
    assert_eq!((first.hits(), source.count(Kind::TagList)), (1, 2));
}

#[tokio::test]
async fn a_list_whose_next_page_cannot_be_had_is_a_failed_generation() {
    let elsewhere = Registry::open().await;
    for (link, words) in [
        (format!("<{}/v2/team/app/tags/list?last=1.0>; rel=\"next\"", elsewhere.url()), "on another host"),
        ("<http://[bad/v2/team/app/tags/list?last=1.0>; rel=\"next\"".to_owned(), "cannot be read"),
        // Which is not for its size, since that was taken.
        ("</v2/team/app/tags/list?refused>; rel=\"next\"".to_owned(), "400"),
    ] {
        let (source, destination) = two_registries().await;
        source.put("team/app", "1.0", &small(1));
        source.on(Kind::TagList.filter(|request| request.query == "refused"), Answer::status(400));
        source.on(Kind::TagList, Action::header("Link", &link));
        let outcome = all_tags(&source, &destination).run().await;
        outcome.assert_failures(0, 0, 1);
        outcome.assert_line("FAILED images.json:2:3: ", &[words]);
    }
    assert_eq!(elsewhere.count_all(), 0);
}

/// An image at the source that is not what its tag names at the destination.
async fn moved_on() -> (Registry, Registry, Migration) {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    destination.put("moved/app", "1.0", &small(2));
    let migration = Migration::new().app_tags(&source, "1.0", &destination);
    (source, destination, migration)
}

#[tokio::test]
async fn a_web_page_in_place_of_a_registry_is_told_as_one() {
    let page = Answer::status(200).header("Content-Type", "text/html; charset=utf-8").body("<html>sign in</html>");
    let (source, destination) = two_registries().await;
    source.on(Matcher::any(), page);
    let words = ["web page of 127.0.0.1", "asks for a login"];
    all_tags(&source, &destination).run().await.assert_line("FAILED images.json:2:3: ", &words);
    let one = Migration::new().app_tags(&source, "1.0", &destination);
    for outcome in [one.run().await, one.args(["--dry-run"]).run().await] {
        outcome.assert_line("FAILED 127.0.0.1", &words);
    }
}

/// Whoever leads away has the password no more; that it leads back in the end makes it nobody else.
#[tokio::test]
async fn a_registry_to_which_a_redirect_comes_back_is_shown_its_credentials_again() {
    for basic in [true, false] {
        let accounts = Accounts::new().user("mover", "hunter2").allow("mover", "team/", "pull");
        let builder = Registry::builder();
        let source = if basic { builder.basic(accounts) } else { builder.bearer(accounts) }.start().await;
        let (front, destination) = two_registries().await;
        source.put("team/app", "1.0", &small(1));
        let led = |to: &Registry, query: &str| {
            let (to, query) = (to.url(), query.to_owned());
            move |request: &Request| {
                Some(Answer::status(307).header("Location", &format!("{to}{}?{query}", request.path)).into())
            }
        };
        let reads = |kind: Kind| kind.filter(|read| read.query.is_empty() && read.header("authorization").is_some());
        for kind in [Kind::ManifestGet, Kind::BlobGet] {
            source.on_each(reads(kind), led(&front, "away"));
        }
        front.on_each(Matcher::any(), led(&source, "back"));
        let auth = json!({ source.host(): { "username": "mover", "password": "hunter2" } });
        Migration::new().auth(&auth).app_tags(&source, "1.0", &destination).run().await.assert_success(1);
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
        let seen = front.requests();
        assert!(seen.len() > 1 && seen.iter().all(|request| request.header("authorization").is_none()), "{seen:#?}");
    }
}

#[tokio::test]
async fn what_a_head_does_not_tell_a_get_does() {
    let page = || Answer::status(200).header("Content-Type", "text/html").body("<html>sign in</html>");
    let wrong = Action::header("docker-content-digest", &digest_of(b"something else"));
    let heads: [Action; 8] = [
        Action::remove_header("docker-content-digest"),
        Action::header("docker-content-digest", "nonsense"),
        wrong,
        Answer::status(400).into(),
        Answer::status(403).into(),
        Answer::status(405).into(),
        Answer::status(501).into(),
        page().into(),
    ];
    for head in heads {
        let (source, destination, migration) = moved_on().await;
        let heads = source.on(Kind::ManifestHead, head);
        migration.run().await.assert_success(1);
        assert!(heads.hits() > 0);
        assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
    }
}

#[tokio::test]
async fn a_wrong_digest_beside_a_tag_does_not_matter_and_beside_a_digest_it_does_not_either() {
    let (source, destination) = two_registries().await;
    let index = Index::new().image(&small(1)).image(&small(2));
    source.put("team/app", "1.0", &index);
    source.on(Kind::ManifestGet, Action::header("docker-content-digest", &digest_of(b"something else")));
    let migration = Migration::new().app_tags(&source, "1.0", &destination);
    migration.run().await.assert_success(1);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
}

/// Registries name what is signed so by the digest of its text without the signatures.
#[tokio::test]
async fn an_image_of_schema_one_is_called_so_and_not_damaged() {
    let (source, destination) = two_registries().await;
    let old =
        json!({ "schemaVersion": 1, "name": "team/app", "tag": "old", "fsLayers": [], "history": [] }).to_string();
    let media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    source.put_manifest("team/app", "old", media_type, old);
    for kind in [Kind::ManifestGet, Kind::ManifestHead] {
        source.on(kind, Action::header("docker-content-digest", &digest_of(b"what was signed")));
    }
    let outcome = Migration::new().app_tags(&source, "old", &destination).run().await;
    outcome.assert_failures(1, 1, 0);
    outcome.assert_line("FAILED ", &["the old Docker schema 1"]);
    assert_eq!(source.count(Kind::ManifestGet), 1);
}

#[tokio::test]
async fn an_address_that_expires_is_replaced_by_a_new_one() {
    let source = std::sync::Arc::new(Registry::builder().redirect_blobs().start().await);
    let destination = Registry::open().await;
    source.put("team/app", "1.0", &large(1));
    // Each address is refused at least once: that of the layer, then that of its rest.
    let layer = large(1).layers().remove(0);
    let of_layer = move |request: &Request| request.path.ends_with(&layer.replace(':', "%3A"));
    let expired = when(&source, Kind::RedirectedGet.filter(of_layer.clone()).once(), Registry::expire_redirects);
    source.on(Kind::RedirectedGet.filter(of_layer.clone()).nth(2), Action::CutResponseAfter(100_000));
    let again = when(&source, Kind::RedirectedGet.filter(of_layer).nth(3), Registry::expire_redirects);
    let migration = Migration::new().app_tags(&source, "1.0", &destination);
    migration.run().await.assert_success(1);
    assert_eq!((expired.hits(), again.hits()), (1, 1));
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
    assert!(source.requests_of(Kind::RedirectedGet).iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn a_length_that_is_not_told_is_counted() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    source.on(Matcher::any_of([Kind::BlobGet, Kind::ManifestGet]), Action::remove_header("content-length"));
    let migration = Migration::new().app_tags(&source, "1.0", &destination);
    migration.run().await.assert_success(1);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
}

#[tokio::test]
async fn an_encoding_that_is_claimed_and_not_made_does_not_matter() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &large(1));
    source.on(Matcher::any_of([Kind::BlobGet, Kind::ManifestGet]), Action::header("content-encoding", "x-gzip"));
    let migration = Migration::new().app_tags(&source, "1.0", &destination);
    migration.run().await.assert_success(1);
    assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
    let asked = source.requests_of(Matcher::any_of([Kind::BlobGet, Kind::ManifestGet]));
    assert!(asked.iter().all(|request| request.header("accept-encoding") == Some("identity")));
}

#[tokio::test]
async fn an_encoding_that_changes_the_bytes_is_named() {
    let image = large(1);
    let encoded = |size: usize| Answer::status(200).header("Content-Encoding", "gzip").body(vec![7; size]);
    for (matcher, size) in [
        (Kind::BlobGet.of(&image.layers()[0]), LARGE as usize),
        (Kind::BlobGet.of(&image.layers()[0]), 1_000),
        (Kind::BlobGet.of(&image.config_digest()), 10),
        (Matcher::from(Kind::ManifestGet), 10),
    ] {
        let (source, destination) = two_registries().await;
        source.put("team/app", "1.0", &image);
        source.on(matcher, encoded(size).header("docker-content-digest", &image_digest(&image)));
        let to = format!("{}/moved/app:1.0", destination.host());
        let outcome = Migration::new().rule(source.reference("team/app", "1.0"), &to).run().await;
        outcome.assert_failures(1, 1, 0);
        outcome.assert_failed(&source.reference("team/app", "1.0"), &to, &["Content-Encoding gzip"]);
        assert!(destination.tags("moved/app").is_empty());
    }
}

fn image_digest(image: &Image) -> String {
    use scriptable_registry::Manifest as _;
    image.digest()
}

#[tokio::test]
async fn a_child_that_an_index_names_and_nobody_has_is_named_with_its_platform() {
    let (source, destination) = two_registries().await;
    let arm = Image::new("linux/arm64/v8").layer("arm");
    source.put("team/app", "1.0", &Index::new().image(&small(1)).image(&arm));
    source.put("team/app", "2.0", &small(3));
    assert!(source.remove_manifest("team/app", &image_digest(&arm)));
    let to = format!("{}/moved/app", destination.host());
    let migration = || Migration::new().rule(source.reference("team/app", "1.0,2.0"), &to);
    let words = ["linux/arm64", &image_digest(&arm), "--platform"];
    let planned = migration().args(["--dry-run"]).run().await;
    planned.assert_failed(&source.reference("team/app", "1.0"), &format!("{to}:1.0"), &words[1..]);
    let outcome = migration().run().await;
    outcome.assert_failures(2, 1, 0);
    outcome.assert_failed(&source.reference("team/app", "1.0"), &format!("{to}:1.0"), &words);
    assert_eq!(destination.tags("moved/app"), ["2.0"]);
}

#[tokio::test]
async fn an_image_that_is_not_there_fails_at_once_and_alone() {
    let (source, destination) = two_registries().await;
    source.put("team/app", "1.0", &small(1));
    let to = format!("{}/moved/app", destination.host());
    let outcome = Migration::new()
        .rule(source.reference("team/app", "missing"), format!("{to}:missing"))
        .rule(source.reference("team/none", "1.0"), format!("{to}:none"))
        .rule(source.reference("team/app", "1.0"), &to)
        .run()
        .await;
    outcome.assert_failures(3, 2, 0);
    let missing = source.reference("team/app", "missing");
    outcome.assert_failed(&missing, &format!("{to}:missing"), &["404", "manifest"]);
    assert_eq!(source.requests_of(Kind::ManifestGet.of("missing")).len(), 1, "it was asked for again");
    assert_eq!(destination.tags("moved/app"), ["1.0"]);
}

#[tokio::test]
async fn a_tag_that_the_source_names_wrongly_or_by_another_algorithm_is_put_once() {
    let (wrong, image) = (format!("sha256:{}", "0".repeat(64)), small(1));
    let digits: String = Sha512::digest(image.build().bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    for named in [wrong, format!("sha512:{digits}")] {
        let (source, destination) = two_registries().await;
        source.put("team/app", "1.0", &image);
        destination.put("moved/app", "other", &small(2));
        let reads = || Matcher::any_of([Kind::ManifestHead, Kind::ManifestGet]);
        let of = |start: &'static str| {
            move |request: &Request| request.reference.as_ref().is_some_and(|reference| reference.starts_with(start))
        };
        source.on(reads().of("1.0"), Action::header("docker-content-digest", &named));
        destination.on(reads().filter(of("sha512:")), Answer::error(400, "DIGEST_INVALID", "unsupported algorithm"));
        let migration =
            |flags: &[&str]| Migration::new().args(flags.iter().copied()).app_tags(&source, "1.0", &destination);
        for (flags, puts) in [([].as_slice(), 1), (&[], 0), (&["--no-clobber"], 0), (&["--referrers"], 0)] {
            destination.clear_log();
            let outcome = migration(flags).run().await;
            outcome.assert_success(1);
            assert_eq!(destination.count(Kind::ManifestPut), puts, "{named} {flags:?}\n{outcome}");
            assert_same((&source, "team/app", "1.0"), (&destination, "moved/app", "1.0"));
        }
        // What is there in its place is left there.
        destination.put("moved/app", "1.0", &small(3));
        let outcome = migration(&["--no-clobber"]).run().await;
        outcome.assert_failures(1, 1, 0);
        outcome.assert_line("FAILED ", &["--no-clobber", &small(3).digest()]);
    }
}
