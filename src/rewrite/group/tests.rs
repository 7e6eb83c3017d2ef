use crate::rewrite::moves::Choice;
use crate::rewrite::tests::{assert_changes, moves, reported, rules};

const SHARED: &str = "what it is made of is used elsewhere, too, or comes from there;";

#[test]
fn a_digest_in_the_field_for_tags_stays_a_digest() {
    let (was, is) = ("0".repeat(64), "1".repeat(64));
    let report = format!(
        r#"{{"schema": "image-migrator/report/v1", "images": [{{"source": "quay.io/a/b:1", "destination": "d.io/m/b:1",
            "sourceDigest": "sha256:{was}", "destinationDigest": "sha256:{is}", "result": "copied"}}]}}"#
    );
    for pin in [false, true] {
        let outcomes = Some(reported(&report));
        let rules = moves(r#"{"quay.io/a/b": "d.io/m/b"}"#, Choice { outcomes, pin, ..Choice::default() });
        let text = format!(
            "a: {{image: {{repository: ⟦quay.io/a/b→d.io/m/b⟧@sha256, tag: \"⟦{was}→{is}⟧\"}}}}\n\
             b: {{image: ⟦quay.io/a/b→d.io/m/b⟧@sha256, tag: \"⟦{was}→{is}⟧\"}}\n\
             c: {{image: {{registry: ⟦quay.io→d.io⟧, repository: ⟦a→m⟧/b@sha256, tag: \"⟦{was}→{is}⟧\"}}}}\n"
        );
        let marked = text.replace("⟦a→m⟧/b@sha256", "⟦a/b@sha256→m/b@sha256⟧");
        let marked = marked.replace("⟦quay.io/a/b→d.io/m/b⟧@sha256", "⟦quay.io/a/b@sha256→d.io/m/b@sha256⟧");
        assert_eq!(assert_changes("values.yaml", &rules, &marked), [""; 0]);
    }
    // What no rule brings anywhere stays whole.
    let text = format!("image: {{repository: quay.io/a/b@sha256, tag: \"{was}\"}}\n");
    assert_eq!(
        assert_changes("values.yaml", &rules(), &text),
        [format!(
            "quay.io/a/b@sha256:{was}: the rules bring tags, and which of them has this digest is not known here; \
             --report tells what was copied"
        )]
    );
}

#[test]
fn a_registry_beside_or_above_an_image_with_its_own_hides_nothing() {
    let text = "global: {imageRegistry: docker.io}\nimage: {repository: ⟦quay.io/a/b→d.io/m/b⟧, tag: \"1\"}\nother: {image: \
                \"⟦quay.io/a/b:1→d.io/m/b:1⟧\"}\n";
    assert_eq!(assert_changes("values.yaml", &rules(), text), [""; 0]);
    let text = "a: {registry: harbor.internal, image: \"⟦quay.io/a/b:1→d.io/m/b:1⟧\"}\nb: {registry: harbor.internal, image: \
                \"⟦quay.io/a/b:1→d.io/m/b:1⟧\", tag: 2}\nc: {registry: harbor.internal, image: a/b:1}\nd: {registry: \
                harbor.internal, repository: quay.io/a/b, tag: 1}\n";
    // Whether a chart joins the two is not known here.
    let stays = assert_changes("values.yaml", &rules(), text);
    assert_eq!(stays, [format!("quay.io/a/b:1: {SHARED} d.io/m/b is where it is now")]);
    // A cache has such names.
    let cache = moves(r#"{"harbor.internal/quay.io/a/b": "d.io/m/b"}"#, Choice::default());
    let text = "image: {registry: ⟦harbor.internal→d.io⟧, repository: ⟦quay.io/a/b→m/b⟧, tag: 1}\n";
    assert_eq!(assert_changes("values.yaml", &cache, text), [""; 0]);
}

#[test]
fn fields_that_others_merge_change_only_as_suits_those() {
    let text = "base: &im {repository: postgres, tag: \"15\"}\nworker: {image: {<<: *im, tag: \"17\"}}\n";
    let stays = assert_changes("values.yaml", &rules(), text);
    assert_eq!(stays, [format!("postgres:15: {SHARED} d.io/db/pg is where it is now")]);
    for text in [
        "base: &im {repository: ⟦postgres→d.io/db/pg⟧, tag: \"⟦15→1.15⟧\"}\nworker: {image: {<<: *im, pullPolicy: Always}}\n",
        "base: &im {repository: ⟦quay.io/a/b→d.io/m/b⟧, tag: \"1\"}\nworker: {image: {<<: [*im], tag: \"2\"}}\n",
        "base: &im {repository: ⟦quay.io/a/b→d.io/m/b⟧, tag: \"1\"}\nworker: {image: {<<: *im, repository: \
         ⟦nginx→d.io/web/nginx⟧, tag: \"2\"}}\n",
    ] {
        assert_eq!(assert_changes("values.yaml", &rules(), text), [""; 0], "{text}");
    }
    // The other tag is called otherwise there too, but not like this one.
    let text = "base: &im {repository: postgres, tag: \"15\"}\nworker: {image: {<<: *im, tag: \"16\"}}\n";
    assert_eq!(assert_changes("values.yaml", &rules(), text).len(), 1);
}

#[test]
fn what_others_include_through_others_suits_them_too() {
    let text =
        "a: &a {repository: postgres, tag: \"15\"}\nb: &b {<<: *a, policy: Always}\nimage: {<<: *b, tag: \"17\"}\n";
    let stays = assert_changes("values.yaml", &rules(), text);
    assert_eq!(
        stays,
        ["postgres:15: what it is made of is used elsewhere, too, or comes from there; d.io/db/pg is where it is now"]
    );
    // What names an image of its own on the way there takes nothing from the first.
    let text = "a: &a {repository: ⟦quay.io/a/b→d.io/m/b⟧, tag: \"1\"}\nb: &b {<<: *a, repository: x.io/c}\n\
                image: {<<: *b, registry: y.io}\n";
    assert_changes("values.yaml", &rules(), text);
}

#[test]
fn a_registry_of_two_names_with_one_prefix_stays() {
    let moves = moves(r#"{"docker.io/library/nginx": "d.io/web/nginx", "quay.io/a/b": "e.io/a/b"}"#, Choice::default());
    let text = "appRegistry: quay.io\nappImage: nginx:1\nappRepository: a/b\nappTag: \"1\"\n";
    let stays = [format!("quay.io/a/b:1: {SHARED} e.io/a/b is where it is now")];
    assert_eq!(assert_changes("values.yaml", &moves, text), stays);
    // Each has its own, or the other is none.
    let text = "appRepositoryRegistry: ⟦quay.io→e.io⟧\nappImage: x\nappRepository: a/b\nappTag: \"1\"\n\
                webRegistry: ⟦quay.io→e.io⟧\nwebImage: a/b:1\nwebRepository: https://github.com/a/b\n";
    assert_eq!(assert_changes("values.yaml", &moves, text), [""; 0]);
}

#[test]
fn an_image_with_a_prefix_has_the_tag_with_that_prefix() {
    let text = "sidecarImage: ⟦postgres→d.io/db/pg⟧\nsidecarImageTag: \"⟦15→1.15⟧\"\nwebImage: ⟦quay.io/a/b→d.io/m/b⟧\nwebTag: \"1\"\n\
                lastImage: busybox\nlastImageTag: \"1\"\nownImage: ⟦quay.io/a/b:1→d.io/m/b:1⟧\nownImageTag: \"1\"\n\
                otherImage: ⟦busybox→d.io/m/bb:stable⟧\n";
    assert_eq!(assert_changes("values.yaml", &rules(), text), ["busybox:1: no rule covers it"]);
}
