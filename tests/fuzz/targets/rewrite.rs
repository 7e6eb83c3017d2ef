//! Files that are rewritten, and references in them.

use std::collections::HashSet;

use super::moves::Choice;
use super::tree::{Node, Scalar, Style, Tree};
use super::written::Written;
use super::*;
use crate::fuzz::assert_one_line;

/// Whole repositories, lists with other names, an expression, a digest, two places for one.
const RULES: &str = r#"{
    "quay.io/a/b": "d.io/m/b", "docker.io/library/nginx": "d.io/web/nginx", "docker.io/bitnami/redis": "d.io/x/y/redis",
    "docker.io/library/postgres:15,16": "d.io/db/pg:1.15,1.16", "quay.io/c/d:/^v1/": "d.io/m/d",
    "quay.io/g/h@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": "d.io/m/h:kept",
    "docker.io/library/busybox:latest": "d.io/m/bb:stable", "ghcr.io/two/places": ["d.io/m/places", "e.io/n/places"]
}"#;

pub fn dockerfile(data: &[u8]) {
    rewritten(&["Dockerfile"], data);
}

pub fn prose(data: &[u8]) {
    rewritten(&["README.md"], data);
}

pub fn yaml(data: &[u8]) {
    rewritten(&["values.yaml", ".gitlab-ci.yml", "nowhere/kustomization.yaml", "compose.json"], data);
}

/// Reads a reference as it stands in a file; what it means, if anything.
pub fn written(text: &str) -> Option<String> {
    let hosts = HashSet::new();
    let written = Written::parse(text, &hosts).filter(|written| !written.is_open)?;
    let tag = written.tag.map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = written.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
    assert_eq!(format!("{}{tag}{digest}", written.name), text, "nothing of it is lost");
    // With all that it left out.
    let full = format!("{}{tag}{digest}", written.repository);
    let again = Written::parse(&full, &hosts).expect("a reference that was read");
    assert_eq!((&again.repository, again.tag, &again.digest), (&written.repository, written.tag, &written.digest));
    assert!(again.has_host);
    Some(if tag.is_empty() && digest.is_empty() { format!("{full}:latest") } else { full.clone() })
}

fn rewritten(names: &[&str], data: &[u8]) {
    thread_local! {
        static MOVES: [Moves; 3] = [
            Moves::new(Vec::new(), Choice::default()),
            Moves::new(crate::config::fuzz::rules(RULES), Choice::default()),
            Moves::new(crate::config::fuzz::rules(RULES), Choice { to: "d.io".parse().ok(), ..Choice::default() }),
        ]
        .map(|moves| moves.expect("moves"));
    }
    let text = content::text(data);
    for name in names {
        MOVES.with(|[none, some, chosen]| {
            assert_eq!(rewrite(name, &text, none), text, "no rule changes nothing");
            for moves in [some, chosen] {
                let once = rewrite(name, &text, moves);
                assert_eq!(rewrite(name, &once, moves), once, "{name}: a second time changes it again");
                if Format::of(Path::new(name)) == Format::Yaml {
                    is_still_the_same(&text, &once);
                }
                // However lines end.
                if !text.contains('\r') && text.contains('\n') {
                    let other = rewrite(name, &text.replace('\n', "\r\n"), moves);
                    assert_eq!(other.replace("\r\n", "\n"), once, "{name}: with other line endings");
                }
            }
        });
    }
}

/// Asserts that what was YAML or JSON is so still, with the same keys; that there is more of it only as it may be.
fn is_still_the_same(before: &str, after: &str) {
    if let Some(tree) = Tree::parse(before, before) {
        let other = Tree::parse(after, after).unwrap_or_else(|| panic!("no YAML any more: {after:?}"));
        let differs = items_differ(&tree.roots, &other.roots);
        assert_eq!(differs, None, "{after:?}");
    }
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    assert!(!is_json(before) || is_json(after), "no JSON any more: {after:?}");
}

/// Why the items of one list are not those of the other, but for those that kustomize needs before others.
fn items_differ(before: &[Node], after: &[Node]) -> Option<String> {
    let is_added = |node: &Node| matches!(node, Node::Mapping(entry) if entry.scalar("name").is_some());
    let mut after = after;
    for (index, node) in before.iter().enumerate() {
        let mut differs = Some("an item is lost".to_owned());
        while after.len() >= before.len() - index {
            let (other, rest) = after.split_first()?;
            after = rest;
            differs = node_differs(node, other);
            if differs.is_none() || !is_added(other) {
                break;
            }
        }
        if differs.is_some() {
            return differs;
        }
    }
    (!after.is_empty()).then(|| "items are added at the end".to_owned())
}

fn node_differs(before: &Node, after: &Node) -> Option<String> {
    match (before, after) {
        (Node::Alias(one), Node::Alias(other)) if one == other => None,
        (Node::Scalar(one), Node::Scalar(other)) => {
            // What was a string is nothing else that stands without quotes.
            let is_kept = one.style == other.style || other.style == Style::Quoted;
            (!is_kept || one.value.is_empty() != other.value.is_empty())
                .then(|| format!("{:?} became {:?}", one.value, other.value))
        }
        // A service of GitLab that is given the name by which it is reached.
        (Node::Scalar(_), Node::Mapping(other))
            if other.scalar("name").is_some() && other.scalar("alias").is_some() =>
        {
            None
        }
        (Node::Sequence(one), Node::Sequence(other)) => items_differ(one, other),
        (Node::Mapping(one), Node::Mapping(other)) => {
            let name = |key: Option<&Scalar>| key.map(|key| key.value.clone());
            let is_added = |key: Option<&Scalar>| {
                let fields = ["registry", "newName", "digest", "alias"];
                key.is_some_and(|key| fields.contains(&&*key.value) && one.get(&key.value).is_none())
            };
            let mut rest = other.entries().filter(|(key, _)| !is_added(*key));
            let differs = one.entries().find_map(|(key, value)| match rest.next() {
                Some((other, _)) if name(other) != name(key) => Some(format!("{:?} is here now", name(other))),
                Some((_, other)) => node_differs(value, other),
                None => Some("a field is lost".to_owned()),
            });
            differs.or_else(|| rest.next().map(|(key, _)| format!("{:?} is added", name(key))))
        }
        _ => Some("something else stands there".to_owned()),
    }
}

fn rewrite(name: &str, text: &str, moves: &Moves) -> String {
    let path = Path::new(name);
    let Findings { edits, stays, several, .. } = findings(path, text, moves, &mut Kustomizations::new(&[], moves));
    let mut end = 0;
    for (from, to) in edits.keys() {
        assert!(end <= *from && from <= to && *to <= text.len(), "edits overlap");
        end = *to;
    }
    for (offset, (name, reason)) in stays {
        assert!(text.is_char_boundary(offset) && offset <= text.len());
        let stays = Stays { place: Place { file: "a.yaml".into(), line: 1, column: 1 }, name, reason };
        assert_one_line(&stays.to_string());
    }
    several.keys().for_each(|name| assert_one_line(name));
    let after = content::apply(text.as_bytes(), 0, &edits);
    let after = String::from_utf8(after).expect("text");
    assert!(after.len() <= 32 * text.len(), "{} bytes became {}", text.len(), after.len());
    after
}
