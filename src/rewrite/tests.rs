//! Whole files: what is found in each format, and that nothing else changes.

use std::collections::BTreeMap;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::kustomize::Kustomizations;
use super::moves::{Choice, Moves};
use super::{Content, Outcomes, content};
use crate::config::{self, AuthFile, Files, Sources};

/// What a file becomes, and what of it stays.
pub struct Rewritten {
    pub text: String,
    pub stays: Vec<String>,
    pub several: Vec<String>,
}

/// The moves of `{"source": destination, ...}`, with `d.io/m` for empty destinations.
pub fn moves(images: &str, choice: Choice) -> Moves {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("images.json");
    std::fs::write(&path, images).unwrap();
    std::fs::write(folder.path().join("auth.json"), r#"{"registry": {}}"#).unwrap();
    let files = Files::Separate { auth: AuthFile::IfThere(folder.path().join("auth.json")), images: path };
    let sources = Sources { files, registry: Some("d.io".into()), namespace: Some("m".into()), converts: false };
    let (rules, invalid) = config::load_rules(&sources).unwrap();
    assert_eq!(invalid, []);
    Moves::new(rules, choice).unwrap()
}

/// The outcomes of a report.
pub fn reported(json: &str) -> Outcomes {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json).unwrap();
    Outcomes::new(config::read_report(file.path(), "").unwrap().images)
}

pub fn rewrite(name: &str, text: &str, moves: &Moves) -> Rewritten {
    let findings = super::findings(Path::new(name), text, moves, &mut Kustomizations::new(&[], moves));
    let after = content::apply(text.as_bytes(), 0, &findings.edits);
    Rewritten {
        text: String::from_utf8(after).unwrap(),
        stays: findings.stays.into_values().map(|(name, reason)| format!("{name}: {reason}")).collect(),
        several: findings.several.into_keys().collect(),
    }
}

/// Asserts what becomes of a file in which `[was -> is]` marks each change, and that nothing becomes of that.
#[track_caller]
pub fn assert_changes(name: &str, moves: &Moves, marked: &str) -> Vec<String> {
    let (mut before, mut after) = (String::new(), String::new());
    let mut rest = marked;
    while let Some((same, change)) = rest.split_once('⟦') {
        let (change, behind) = change.split_once('⟧').unwrap();
        let (was, is) = change.split_once('→').unwrap();
        before.extend([same, was]);
        after.extend([same, is]);
        rest = behind;
    }
    before.push_str(rest);
    after.push_str(rest);
    let once = rewrite(name, &before, moves);
    assert_eq!(once.text, after);
    let twice = rewrite(name, &after, moves);
    assert_eq!(twice.text, after, "a second time changes nothing");
    once.stays
}

/// Some whole repositories, a list with other names, an expression, a digest.
pub fn rules() -> Moves {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let images = format!(
        r#"{{"quay.io/a/b": "", "docker.io/library/nginx": "d.io/web/nginx", "docker.io/bitnami/redis": "d.io/x/y/redis",
            "docker.io/library/postgres:15,16": "d.io/db/pg:1.15,1.16", "quay.io/c/d:/^v1/": "", "registry/e/f": "",
            "quay.io/g/h@{digest}": "d.io/m/h:kept", "docker.io/library/busybox:latest": "d.io/m/bb:stable"}}"#
    );
    moves(&images, Choice::default())
}

#[test]
fn in_prose_only_whole_references_count() {
    let stays = assert_changes(
        "README.md",
        &rules(),
        "Pull ⟦quay.io/a/b:1→d.io/m/b:1⟧, `⟦docker.io/nginx:1.25→d.io/web/nginx:1.25⟧`.\r\n\
         nginx:1.25, quay.io/a/b, bitnami/redis:7 and https://quay.io/a/b:1 and x.io/quay.io/a/b:1 stay.\n\
         --image=⟦quay.io/a/b:1→d.io/m/b:1⟧ docker://⟦quay.io/a/b:2→d.io/m/b:2⟧ \"⟦registry/e/f:1→d.io/m/f:1⟧\"\n\
         quay.io/a/b:$TAG quay.io/a/b:v${TAG} ${X}quay.io/a/b:1 quay.io/a/b:{{ tag }} quay.io/c/d:v2\n\
         quay.io/a/b: quay.io/a/b:<tag> ⟦quay.io/a/b:1→d.io/m/b:1⟧<br> a/b:$X quay.io/a/b$X\n\
         镜像：⟦quay.io/a/b:1→d.io/m/b:1⟧。 The end: ⟦quay.io/a/b:1→d.io/m/b:1⟧.",
    );
    let open = "quay.io/a/b: its tag is not written here, and nothing says that it is an image";
    assert_eq!(stays, [open, open, open, "quay.io/c/d:v2: no rule covers it", open]);
}

#[test]
fn emphasis_hides_no_reference_and_a_value_without_a_tag_is_named() {
    let stays = assert_changes(
        "Makefile",
        &rules(),
        "**⟦quay.io/a/b:1→d.io/m/b:1⟧** *⟦quay.io/a/b:1→d.io/m/b:1⟧* quay.io/a/b:1* *quay.io/a/b:1 **quay.io/a/b:1*\n\
         IMAGE := quay.io/a/b\r\nIMAGE ?=quay.io/a/b # x\nX=\"quay.io/a/b\"\nquay.io/a/b\nsee = quay.io/a/b and (quay.io/a/b)\n\
         URL=https://quay.io/a/b\nNEW := d.io/m/b\nIMAGE = nginx\n",
    );
    let unclear = "quay.io/a/b: its tag is not written here, and nothing says that it is an image";
    assert_eq!(stays, [unclear; 3]);
}

#[test]
fn a_value_within_a_command_or_a_list_is_named() {
    let text = "helm --set image.repository=quay.io/a/b --set image.tag=1\nx --cache-to type=registry,ref=quay.io/a/b,mode=max\n\
                x '--image=quay.io/a/b' a==quay.io/a/b/c\nweb=quay.io/a/b:~1.2, other=quay.io/a/b:^1\n";
    let unclear = "quay.io/a/b: its tag is not written here, and nothing says that it is an image";
    assert_eq!(assert_changes("run.sh", &rules(), text), [unclear; 5]);
}

#[test]
fn defaults_of_variables_are_read_where_they_are_all_of_a_reference() {
    let stays = assert_changes(
        "run.sh",
        &rules(),
        "IMAGE=${IMAGE:-⟦quay.io/a/b:1→d.io/m/b:1⟧}\ndocker run \"${X-⟦quay.io/a/b:2→d.io/m/b:2⟧}\" ${X:=⟦quay.io/a/b:2→d.io/m/b:2⟧}\n\
         ${A:-${B:-⟦quay.io/a/b:1→d.io/m/b:1⟧}}\n\
         ${X:-quay.io/a/b:1}-alpine x/${X:-quay.io/a/b:1} ${X:-quay.io/a/b:1}$Y $Y${X:-quay.io/a/b:1 ${Y}${X:-quay.io/a/b:1}\n",
    );
    assert_eq!(stays, [""; 0]);
}

#[test]
fn bytes_around_a_reference_stay_whatever_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.yaml");
    let before = b"\xEF\xBB\xBF# caf\xE9\r\nimage: nginx:1 # \xFF\r\n\tx: \xC3\x28".to_vec();
    std::fs::write(&path, &before).unwrap();
    let rewrite = super::plan(std::slice::from_ref(&path), &rules());
    let [changed] = rewrite.changed.as_slice() else { panic!("{rewrite:?}") };
    assert_eq!(changed.after, b"\xEF\xBB\xBF# caf\xE9\r\nimage: d.io/web/nginx:1 # \xFF\r\n\tx: \xC3\x28");
    assert!(changed.diff().windows(4).any(|bytes| bytes == b"# \xFF\r"));
    changed.write().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), changed.after);
    assert!(changed.write().is_err(), "it is not what was read any more");
}

#[test]
fn what_is_no_text_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, is_told) in [("a.yaml", &b"image: nginx\0"[..], false), ("b.yaml", b"\xFF\xFEi\0", true)] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(content::read(&path).unwrap(), Content::Skipped(why) if why.is_some() == is_told), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link_and_a_file_keeps_its_permissions() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file.yaml"), folder.path().join("link.yaml"));
    std::fs::write(&file, "image: nginx:1\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink("file.yaml", &link).unwrap();
    super::plan(std::slice::from_ref(&link), &rules()).changed[0].write().unwrap();
    assert!(link.is_symlink());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "image: d.io/web/nginx:1\n");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn what_stays_has_its_line_and_column_in_characters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.txt");
    std::fs::write(&path, "é quay.io/c/d:x quay.io/c/d:y\r\n\n\u{feff}镜 quay.io/c/d:z\n").unwrap();
    let rewrite = super::plan(std::slice::from_ref(&path), &rules());
    let places: Vec<_> =
        rewrite.stays.iter().map(|stays| (stays.place.line, stays.place.column, stays.name.as_str())).collect();
    assert_eq!(places, [(1, 3, "quay.io/c/d:x"), (1, 17, "quay.io/c/d:y"), (3, 4, "quay.io/c/d:z")]);
}

/// Pieces of which files are made up at random, sensible and not.
const PIECES: [&str; 81] = [
    "image: ",
    "- ",
    "  ",
    "\n",
    "\r\n",
    "nginx",
    ":1",
    "quay.io/a/b",
    "quay.io/a/b:1",
    "@sha256:",
    "\"",
    "'",
    "# ",
    "{{ .x }}",
    "{{- if }}",
    "repository: ",
    "registry: quay.io",
    "tag: v1",
    "digest: ",
    "images:",
    "- name: nginx",
    "newTag: 15",
    "newName: postgres",
    "services:\n",
    "script: x",
    "FROM ",
    "ARG X=",
    "$X",
    "${X:-nginx}",
    " AS a",
    "COPY --from=nginx ",
    "RUN --mount=type=bind,from=nginx ",
    "<<EOF\n",
    "EOF\n",
    "|\n",
    ">-\n",
    "&a ",
    "*a",
    "é",
    "镜",
    "[",
    "{",
    "}",
    ", ",
    "? ",
    ": ",
    "registry:",
    "registry",
    "!!str ",
    "%",
    "---\n",
    "\t",
    "\r",
    "\\",
    "`",
    "{{ \"镜é\" }}",
    "{% é %}",
    "\u{feff}",
    "e\u{301}",
    "\u{a0}",
    "\u{3000}",
    "\u{2028}",
    "\u{85}",
    "🦀",
    "ARG Y=$X$Y$X$Y",
    "İ",
    "kind: Component\n",
    "patches:\n",
    "- patch: |\n    ",
    "path: x/image\n",
    "value: nginx",
    "a: |\n  ",
    "hub: quay.io/a\n",
    "image: b\n",
    "imageNamespace: a\n",
    "imageRegistry: quay.io\n",
    "name: b\n",
    "xRepository: nginx",
    "xTag: 1\n",
    "${X:-quay.io/a/b:1}",
    "ONBUILD ",
];

#[test]
fn any_file_survives_and_a_second_time_changes_nothing() {
    let mut random = StdRng::seed_from_u64(7);
    let (rules, none) = (rules(), moves("{}", Choice::default()));
    let names = ["a.yaml", "Dockerfile", "a.txt", ".gitlab-ci.yml", "kustomization.yaml", "a.json", "a.tpl"];
    for round in 0..2000 {
        let length = random.random_range(1..30);
        let text: String = (0..length).map(|_| PIECES[random.random_range(0..PIECES.len())]).collect();
        let name = names[round % names.len()];
        assert_eq!(rewrite(name, &text, &none).text, text);
        let once = rewrite(name, &text, &rules).text;
        assert_eq!(rewrite(name, &once, &rules).text, once, "{name}: {text:?}");
    }
}

#[test]
fn an_empty_mapping_finds_nothing_to_say() {
    let none = moves("{}", Choice::default());
    let found = super::findings(Path::new("a.yaml"), "image: nginx:1\n", &none, &mut Kustomizations::new(&[], &none));
    assert_eq!((found.edits, found.stays, found.several), (BTreeMap::new(), BTreeMap::new(), BTreeMap::new()));
}
