use super::*;
use crate::rewrite::tests::{assert_changes, moves, reported, rewrite};

/// Source, destination, the digests of both, result.
type Line<'l> = (&'l str, &'l str, Option<&'l Digest>, Option<&'l Digest>, &'l str);

fn outcomes(lines: &[Line]) -> Outcomes {
    let images: Vec<serde_json::Value> = lines
        .iter()
        .map(|(source, destination, from, to, result)| {
            let text = |digest: &Option<&Digest>| digest.map(Digest::to_string);
            serde_json::json!({ "source": source, "destination": destination, "sourceDigest": text(from),
                "destinationDigest": text(to), "result": result })
        })
        .collect();
    reported(&serde_json::json!({ "schema": crate::schema::NAME, "images": images }).to_string())
}

#[test]
fn an_earlier_rule_keeps_its_destination() {
    let images = r#"{"s.io/a:1": "d.io/x", "s.io/b:1,2": "d.io/x", "s.io/c": "d.io/y", "s.io/d:1": "d.io/y"}"#;
    let rules = moves(images, Choice::default());
    let text = "⟦s.io/a:1→d.io/x:1⟧ s.io/b:1 ⟦s.io/b:2→d.io/x:2⟧ ⟦s.io/c:1→d.io/y:1⟧ s.io/d:1";
    assert_eq!(
        assert_changes("a.txt", &rules, text),
        [
            "s.io/b:1: d.io/x:1 is taken by s.io/a:1",
            "s.io/d:1: d.io/y:1 may hold an image of s.io/c, whose rule comes first; --report tells which",
        ]
    );
    let outcomes = outcomes(&[("s.io/d:1", "d.io/y:1", None, None, "copied")]);
    let rules = moves(images, Choice { outcomes: Some(outcomes), ..Choice::default() });
    assert_changes("a.txt", &rules, "⟦s.io/d:1→d.io/y:1⟧");
}

#[test]
fn whatever_tag_it_has_an_image_is_where_only_its_own_rules_bring_something_before() {
    let rules = moves(
        r#"{"s.io/a:1": "d.io/x", "s.io/a:2": "d.io/x", "s.io/a": "d.io/x", "s.io/b": "d.io/x", "s.io/c": "d.io/x"}"#,
        Choice::default(),
    );
    let text = "- image: ⟦s.io/a→d.io/x⟧:$X\n- image: s.io/b:$X\n- image: s.io/c:$X\n";
    let unknown = "its tag is not written here, and no rule brings every tag";
    assert_eq!(
        assert_changes("a.yaml", &rules, text),
        [format!("s.io/b:$X: {unknown}"), format!("s.io/c:$X: {unknown}")]
    );
}

#[test]
fn of_two_rules_that_keep_a_destination_the_first_is_named() {
    let rules = moves(
        r#"{"s.io/a": "d.io/x", "s.io/b:1": "d.io/x", "s.io/c:1": "d.io/x", "s.io/d:1": "d.io/y", "s.io/e": "d.io/y",
            "s.io/f:1": "d.io/y"}"#,
        Choice::default(),
    );
    assert_eq!(
        assert_changes("a.txt", &rules, "s.io/c:1 s.io/f:1"),
        [
            "s.io/c:1: d.io/x:1 may hold an image of s.io/a, whose rule comes first; --report tells which",
            "s.io/f:1: d.io/y:1 is taken by s.io/d:1",
        ]
    );
}

#[test]
fn rules_for_many_images_of_a_repository_are_not_gone_through_for_each_of_these() {
    // Who does that does not come to an end here.
    let numbers = 0..20_000;
    let rules: Vec<String> = numbers.clone().map(|tag| format!("\"s.io/a:{tag}\": \"d.io/a:v{tag}\"")).collect();
    let rules = moves(&format!("{{{}}}", rules.join(",")), Choice::default());
    let text: String = numbers.map(|tag| format!("⟦s.io/a:{tag}→d.io/a:v{tag}⟧\n")).collect();
    assert_eq!(assert_changes("a.txt", &rules, &text), [""; 0]);
}

#[test]
fn what_was_rewritten_stays_although_it_is_a_source_too() {
    let rules = moves(r#"{"a.io/x": "b.io/x", "b.io/x": "c.io/x", "a.io/y:1": "a.io/y:2"}"#, Choice::default());
    assert_changes("a.txt", &rules, "⟦a.io/x:1→b.io/x:1⟧ b.io/x:1 c.io/x:1 ⟦a.io/y:1→a.io/y:2⟧");
}

#[test]
fn with_a_report_only_what_is_there_is_rewritten() {
    let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
    let outcomes = || {
        outcomes(&[
            ("s.io/a:1", "d.io/a:1", Some(&one), Some(&two), "copied"),
            ("s.io/a:2", "d.io/a:2", Some(&two), Some(&two), "up-to-date"),
            ("s.io/a:3", "d.io/a:3", None, None, "failed"),
            ("s.io/b:1", "d.io/b:1", None, None, "copied"),
        ])
    };
    let images = r#"{"s.io/a": "d.io/a", "s.io/b": "d.io/b"}"#;
    let rules = moves(images, Choice { outcomes: Some(outcomes()), ..Choice::default() });
    let text = format!(
        "- image: ⟦s.io/a:1→d.io/a:1⟧\n- image: ⟦s.io/a:2→d.io/a:2⟧\n- image: s.io/a:3\n- image: s.io/a:4\n\
         - image: ⟦s.io/a@{one}→d.io/a@{two}⟧\n- image: ⟦s.io/a:1@{one}→d.io/a:1@{two}⟧\n- image: s.io/a:2@{one}\n\
         - image: s.io/a:$X\n- image: ⟦s.io/b→d.io/b⟧:$X\n"
    );
    let stays = assert_changes("a.yaml", &rules, &text);
    assert_eq!(
        stays,
        [
            "s.io/a:3: the report calls it \"failed\"".to_owned(),
            "s.io/a:4: the report does not name it".to_owned(),
            format!("s.io/a:2@{one}: the tag named {two} when it was copied"),
            "s.io/a:$X: the report calls it \"failed\"".to_owned(),
        ]
    );
}

#[test]
fn digests_are_added_from_the_report() {
    let digest = Digest::of(b"1");
    let outcomes = outcomes(&[
        ("s.io/a:1", "d.io/a:1", None, Some(&digest), "copied"),
        ("s.io/a:2", "d.io/a:2", None, None, "copied"),
        ("s.io/a:latest", "d.io/a:latest", None, Some(&digest), "copied"),
    ]);
    let choice = Choice { outcomes: Some(outcomes), pin: true, ..Choice::default() };
    let rules = moves(r#"{"s.io/a": "d.io/a"}"#, choice);
    let hex = digest.to_string();
    let text = format!(
        "- image: ⟦s.io/a:1→d.io/a:1@{digest}⟧\n- image: ⟦s.io/a→d.io/a@{digest}⟧\n\
         - {{repository: ⟦s.io/a→d.io/a⟧, tag: 1, digest: \"⟦→{digest}⟧\"}}\n\
         - repository: ⟦s.io/a→d.io/a⟧\n  tag: 1\n  sha:⟦→ \"{}\"⟧\n\
         - {{repository: ⟦s.io/a→d.io/a⟧, tag: 1}}\n- image: s.io/a:2\n\
         - {{repository: ⟦s.io/a→d.io/a⟧, tag: \"\"}}\n- image: ⟦s.io/a→d.io/a⟧:$X\n\
         - images:\n  - ⟦→name: d.io/a\n    newTag: \"1\"\n    digest: {digest}\n  - ⟧name: s.io/a⟦→\n    newName: \
         d.io/a\n    digest: {digest}⟧\n    newTag: 1\n",
        hex.trim_start_matches("sha256:")
    );
    assert_eq!(
        assert_changes("a.yaml", &rules, &text),
        [
            "s.io/a:1: it is rewritten, but there is no field for its digest",
            "s.io/a:2: the report has no digest for it",
            "s.io/a: it is rewritten, but not pinned: its version is not written here",
            "s.io/a:$X: it is rewritten, but not pinned: its version is not written here",
        ]
    );
}

#[test]
fn a_target_must_be_one_that_some_rule_has() {
    let rules = moves(r#"{"s.io/a": ["d.io/x/a", "e.io/y/a"]}"#, Choice::default()).rules;
    let choice = Choice { to: Some("d.io/z".parse().unwrap()), ..Choice::default() };
    let error = Moves::new(rules, choice).unwrap_err().to_string();
    assert_eq!(error, "no rule brings anything to d.io/z; they bring images to d.io/x/a, e.io/y/a");
}

#[test]
fn only_one_place_needs_no_choice() {
    let images = r#"{"s.io/a": ["d.io/x/a", "e.io/y/a"], "s.io/b": "e.io/y/b"}"#;
    let choice = Choice { to: Some("d.io".parse().unwrap()), ..Choice::default() };
    let rewritten = rewrite("a.txt", "s.io/a:1 s.io/b:1", &moves(images, choice));
    assert_eq!((rewritten.text.as_str(), rewritten.several.len()), ("d.io/x/a:1 e.io/y/b:1", 0));
}
