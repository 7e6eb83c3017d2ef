//! Files that are rewritten, and references in them.

use super::mapping::Choice;
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

/// Reads a reference as it stands in a file.
pub fn written(text: &str) {
    let hosts = HashSet::new();
    let Some(written) = Written::parse(text, &hosts).filter(|written| !written.is_open) else { return };
    let tag = written.tag.map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = written.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
    assert_eq!(format!("{}{tag}{digest}", written.name), text, "nothing of it is lost");
    // With all that it left out.
    let full = format!("{}{tag}{digest}", written.repository);
    let again = Written::parse(&full, &hosts).expect("a reference that was read");
    assert_eq!((&again.repository, again.tag, &again.digest), (&written.repository, written.tag, &written.digest));
    assert!(again.has_host);
}

/// A report as `rewrite --report` reads it.
pub fn outcomes(data: &[u8]) {
    if let Err(error) = Outcomes::parse(data) {
        assert_one_line(&error.to_string());
    }
}

fn rewritten(names: &[&str], data: &[u8]) {
    thread_local! {
        static MAPPINGS: [Mapping; 3] = [
            Mapping::new(Vec::new(), Choice::default()),
            Mapping::new(crate::config::fuzz::rules(RULES), Choice::default()),
            Mapping::new(crate::config::fuzz::rules(RULES), Choice { to: "d.io".parse().ok(), ..Choice::default() }),
        ]
        .map(|mapping| mapping.expect("a mapping"));
    }
    let text = content::text(data);
    for name in names {
        MAPPINGS.with(|[none, some, chosen]| {
            assert_eq!(rewrite(name, &text, none), text, "no rule changes nothing");
            for mapping in [some, chosen] {
                let once = rewrite(name, &text, mapping);
                assert_eq!(rewrite(name, &once, mapping), once, "{name}: a second time changes it again");
            }
        });
    }
}

fn rewrite(name: &str, text: &str, mapping: &Mapping) -> String {
    let path = Path::new(name);
    let Findings { edits, stays, several, .. } = scan(path, text, mapping, &HashSet::new());
    let mut end = 0;
    for (from, to) in edits.keys() {
        assert!(end <= *from && from <= to && *to <= text.len(), "edits overlap");
        end = *to;
    }
    for (offset, (name, reason)) in stays {
        assert!(text.is_char_boundary(offset) && offset <= text.len());
        let stays = Stays { path: path.to_owned(), line: 1, column: 1, name, reason };
        assert_one_line(&stays.to_string());
    }
    several.keys().for_each(|name| assert_one_line(name));
    let after = content::apply(text.as_bytes(), 0, &edits);
    let after = String::from_utf8(after).expect("text");
    assert!(after.len() <= 32 * text.len(), "{} bytes became {}", text.len(), after.len());
    after
}
