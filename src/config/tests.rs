use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A directory that is removed when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("image-migrator-config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// `text` without the directory.
    fn relative(&self, text: impl ToString) -> String {
        text.to_string().replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn load_files(files: Files) -> Result<Configuration, ConfigError> {
    let sources =
        Sources { files, registry: Some("swr.example.com".into()), namespace: Some("team".into()), converts: false };
    load(&sources, &|name| (name == "TOKEN").then(|| "s3cret".into()))
}

fn separate(auth: &str, images: &str) -> Result<Configuration, String> {
    let directory = Directory::new();
    let (auth, images) = (directory.file("auth.json", auth), directory.file("images.json", images));
    let loaded = load_files(Files::Separate { auth: AuthFile::Required(auth), images });
    loaded.map_err(|error| directory.relative(error))
}

fn combined(text: &str) -> Result<Configuration, String> {
    let directory = Directory::new();
    let loaded = load_files(Files::Combined(directory.file("all.json", text)));
    loaded.map_err(|error| directory.relative(error))
}

fn sources(configuration: &Configuration) -> Vec<&str> {
    configuration.rules.iter().map(|rule| rule.source.as_str()).collect()
}

#[test]
fn usable_and_unusable_rules_are_told_apart() {
    let images = "{\n  \"quay.io/b\": \"\",\n  \"nginx\": \"\",\n  \"quay.io/b\": [\"x.io/c\", \"registry/d\"]\n}";
    let configuration = separate(r#"{"registry": {"username": "u", "password": "$TOKEN"}}"#, images).unwrap();
    assert_eq!(sources(&configuration), ["quay.io/b"; 3]);
    let [invalid] = configuration.invalid.as_slice() else { panic!("{:?}", configuration.invalid) };
    assert_eq!((invalid.place.line, invalid.place.column), (3, 3));
    assert!(configuration.keyring.account(&"registry/d".parse().unwrap()).is_some());
    assert!(configuration.warnings.is_empty());
}

#[test]
fn an_unset_variable_stops_the_run_only_if_a_usable_rule_needs_it() {
    let auth = r#"{"a.io": {"username": "u", "password": "${NO_TOKEN}"}}"#;
    let unset = "the password of \"a.io\" needs the environment variable NO_TOKEN, which is not set";
    for images in [r#"{"a.io/x": "b.io/x"}"#, r#"{"b.io/x:1": "a.io/x"}"#] {
        assert_eq!(separate(auth, images).unwrap_err(), format!("auth.json:1:28: {unset}"));
    }
    for images in [r#"{"c.io/x": "b.io/x"}"#, r#"{"a.io/X": "b.io/x"}"#] {
        let warnings = separate(auth, images).unwrap().warnings;
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].ends_with(&format!("auth.json:1:28: {unset}; no rule uses this entry")), "{warnings:?}");
    }
}

#[test]
fn a_rule_that_writes_what_another_copies_is_a_warning() {
    for (images, is_chain) in [
        (r#"{"r.io/a:staging": "r.io/a:prod", "r.io/a:dev": "r.io/a:staging"}"#, true),
        (r#"{"r.io/a:dev": "r.io:443/a:staging", "r.io/a:/^s/": "r.io/b"}"#, true),
        (r#"{"r.io/a": "r.io/b", "r.io/b:1": "r.io/c"}"#, true),
        (r#"{"r.io/a:1": "r.io/b", "r.io/b": "r.io/c"}"#, true),
        (r#"{"r.io/a:!/x/": "r.io/b", "r.io/b:x": "r.io/c"}"#, false),
        (r#"{"r.io/a:1": "r.io/b", "r.io/b:2": "r.io/c"}"#, false),
        (r#"{"r.io/a:1": "r.io/a:2", "r.io/b:2": "r.io/a:3"}"#, false),
        (r#"{"r.io/a": ["r.io/b", "r.io/c"]}"#, false),
    ] {
        let warnings: Vec<String> = before_copying(&separate("{}", images).unwrap().rules).collect();
        assert_eq!(warnings.len(), usize::from(is_chain), "{images}: {warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains("another rule writes what it copies")), "{warnings:?}");
    }
}

#[test]
fn a_digest_without_a_tag_is_a_warning() {
    let digest = crate::digest::Digest::of(b"");
    let rules = separate("{}", &format!(r#"{{"a.io/x@{digest}": "b.io/x"}}"#)).unwrap().rules;
    let warnings: Vec<String> = before_copying(&rules).collect();
    assert!(warnings[0].contains("put by digest without a tag"), "{warnings:?}");
}

#[test]
fn a_missing_auth_file_is_an_error_only_where_it_is_required() {
    let directory = Directory::new();
    let images = directory.file("images.json", r#"{"a.io/x": ""}"#);
    let load = |auth: fn(PathBuf) -> AuthFile| {
        load_files(Files::Separate { auth: auth(directory.0.join("auth.json")), images: images.clone() })
    };
    assert_eq!(sources(&load(AuthFile::IfThere).unwrap()), ["a.io/x"]);
    assert_eq!(
        directory.relative(load(AuthFile::Required).unwrap_err()),
        "cannot read auth.json: no such file; --auth names the file of credentials"
    );
}

#[test]
fn who_talks_to_no_registry_needs_the_hosts_of_auth_json_alone() {
    let auth = r#"{"registry": {"ca": "elsewhere.pem"}, "b.io": {"username": "u", "password": "${UNSET}"}}"#;
    let directory = Directory::new();
    let (auth_file, images) =
        (directory.file("auth.json", auth), directory.file("images.json", r#"{"registry/a:1": "b.io/a"}"#));
    let both = directory.file("all.json", &format!(r#"{{"auth": {auth}, "images": {{"registry/a:1": "b.io/a"}}}}"#));
    for files in [Files::Separate { auth: AuthFile::Required(auth_file), images }, Files::Combined(both)] {
        let (rules, invalid) =
            load_rules(&Sources { files, registry: None, namespace: None, converts: false }).unwrap();
        assert_eq!((rules.len(), invalid), (1, vec![]));
    }
}

#[test]
fn an_images_file_that_cannot_be_read_is_an_error() {
    let directory = Directory::new();
    let auth = directory.file("auth.json", "{}");
    let load = |images| load_files(Files::Separate { auth: AuthFile::Required(auth.clone()), images });
    assert_eq!(
        directory.relative(load(directory.0.join("images.json")).unwrap_err()),
        "cannot read images.json: no such file; --images names the file of rules"
    );
    fs::create_dir(directory.0.join("folder")).unwrap();
    assert_eq!(
        directory.relative(load(directory.0.join("folder")).unwrap_err()),
        "cannot read folder: it is a directory; --images names the file of rules"
    );
}

#[test]
fn the_place_of_an_error_names_the_file() {
    assert_eq!(
        separate("{}", "{\n  \"a\": 1\n}").unwrap_err(),
        "images.json:2:8: found a number, expected a destination: a string or an array of strings"
    );
    assert_eq!(separate("{", "{}").unwrap_err(), "auth.json:1:2: found the end of the file, expected `}`");
}

#[test]
fn one_file_may_hold_both() {
    let configuration =
        combined(r#"{"images": {"registry/x": "b.io/x"}, "auth": {"registry": {"username": "u", "password": "p"}}}"#)
            .unwrap();
    assert_eq!(sources(&configuration), ["registry/x"]);
    assert_eq!(sources(&combined(r#"{"images": {"a.io/x": ""}}"#).unwrap()), ["a.io/x"]);
}

#[test]
fn a_combined_file_holds_both_and_nothing_else() {
    for (text, expected) in [
        (r#"{"auth": {}}"#, r#"1:1: the field "images" is missing: expected {"auth": {...}, "images": {...}}"#),
        (r#"{"images": {}, "log": 1}"#, r#"1:16: unknown field "log": expected "auth" and "images""#),
        (r#"{"images": {}, "images": {}}"#, r#"1:16: the field "images" stands twice, first at all.json:1:2"#),
        ("[]", r#"1:1: found an array, expected an object with "auth" and "images""#),
        (r#"{"images": []}"#, "1:12: found an array, expected an object of sources and destinations"),
        (r#"{"images": {}, "auth": {"a.io": {"username": "u"}}}"#, r#"1:34: "a.io" has a username but no password"#),
    ] {
        assert_eq!(combined(text).unwrap_err(), format!("all.json:{expected}"));
    }
}

#[test]
fn a_hundred_thousand_rules_on_one_line_are_read_in_moments() {
    let rules = (0..100_000).map(|i| format!(r#""quay.io/ns/repo-{i}:/^v[0-9]+/": """#));
    let images = format!("{{{}}}", rules.collect::<Vec<_>>().join(","));
    // Who looks for the place of each from the beginning of the line takes hours here.
    let configuration = separate("{}", &images).unwrap();
    assert_eq!(configuration.rules.len(), 100_000);
}

#[test]
fn the_examples_are_valid_in_every_rule() {
    let example = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let files = Files::Separate { auth: AuthFile::Required(example("auth.json")), images: example("images.json") };
    let sources =
        Sources { files, registry: Some("swr.example.com".into()), namespace: Some("team".into()), converts: false };
    let configuration = load(&sources, &|_| Some("set".into())).unwrap();
    assert_eq!(configuration.invalid.len(), 0, "{}", configuration.invalid[0]);
    assert_eq!(configuration.rules.len(), 15);
}
