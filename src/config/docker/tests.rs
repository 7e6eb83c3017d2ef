use secrecy::ExposeSecret as _;

use super::*;

/// What is found for `repository` in a configuration: where, and what.
fn found(config: &str, repository: &str) -> Vec<String> {
    let config = config.to_owned();
    let environment = move |name: &str| (name == "DOCKER_AUTH_CONFIG").then(|| config.clone().into());
    sources(&environment, repository)
}

fn sources(environment: Variables, repository: &str) -> Vec<String> {
    let account = UserStore::new(environment).account(&repository.parse().unwrap());
    let shown = |source: &Source| match &source.holds {
        Holds::Credential(Credential::Password { username, password }) => {
            format!("{username}:{}", password.expose_secret())
        }
        Holds::Credential(Credential::IdentityToken(token)) => format!("identity {}", token.expose_secret()),
        Holds::Credential(Credential::RegistryToken(token)) => format!("registry {}", token.expose_secret()),
        Holds::Helper(helper) => format!("{} < {}", helper.program(), helper.server()),
        Holds::Nothing(reason) => reason.clone(),
    };
    account.iter().flat_map(|account| &account.sources).map(shown).collect()
}

fn encoded(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn keys_are_read_in_all_their_spellings() {
    let auth = encoded("u:p:q");
    for key in [
        "quay.io",
        "https://quay.io",
        "http://quay.io",
        "https://quay.io/",
        "https://quay.io/v1/",
        "quay.io/v2/",
        "https://quay.io/api/registry",
    ] {
        let config = format!(r#"{{"auths": {{"{key}": {{"auth": "{auth}"}}}}}}"#);
        assert_eq!(found(&config, "quay.io/a/b"), ["u:p:q"], "{key}");
        assert!(found(&config, "quay.io:8443/a/b").is_empty());
    }
    for key in ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"] {
        let config = format!(r#"{{"auths": {{"{key}": {{"auth": "{auth}"}}}}}}"#);
        assert_eq!(found(&config, "docker.io/library/nginx"), ["u:p:q"], "{key}");
    }
}

#[test]
fn the_longest_key_wins_as_with_podman() {
    let auth = |user: &str| encoded(&format!("{user}:p"));
    let config = format!(
        r#"{{"auths": {{"r.io": {{"auth": "{}"}}, "r.io/a": {{"auth": "{}"}}, "r.io/a/b": {{"auth": "{}"}}}}}}"#,
        auth("host"),
        auth("a"),
        auth("b")
    );
    for (repository, user) in [("r.io/x", "host"), ("r.io/ab", "host"), ("r.io/a/x", "a"), ("r.io/a/b/c", "b")] {
        assert_eq!(found(&config, repository), [format!("{user}:p")]);
    }
}

#[test]
fn every_kind_of_credential_is_read() {
    let auth = encoded("u:p\0\0");
    let unpadded = encoded("u:pass").trim_end_matches('=').to_owned();
    for (entry, expected) in [
        (format!(r#""auth": "{auth}""#), "u:p"),
        (format!(r#""auth": "{unpadded}""#), "u:pass"),
        (r#""username": "u", "password": "p""#.to_owned(), "u:p"),
        (format!(r#""auth": "{auth}", "username": "x", "password": "y""#), "u:p"),
        (format!(r#""auth": "{}", "identitytoken": "i""#, encoded("0000:")), "identity i"),
        (r#""registrytoken": "r", "identitytoken": "i""#.to_owned(), "registry r"),
    ] {
        assert_eq!(found(&format!(r#"{{"auths": {{"r.io": {{{entry}}}}}}}"#), "r.io/a"), [expected], "{entry}");
    }
    for nothing in ["{}", "null", r#"{"auth": ""}"#, r#"{"email": "x"}"#] {
        assert!(found(&format!(r#"{{"auths": {{"r.io": {nothing}}}}}"#), "r.io/a").is_empty());
    }
}

#[test]
fn a_helper_of_the_registry_comes_before_the_store_and_that_before_auths() {
    let auth = encoded("u:p");
    let config = format!(
        r#"{{"credHelpers": {{"a.io": "ecr-login", "docker.io": "hub", "none.io": ""}}, "credsStore": "desktop",
            "auths": {{"a.io": {{"auth": "{auth}"}}, "https://b.io": {{}}, "none.io": {{"auth": "{auth}"}}}}}}"#
    );
    assert_eq!(found(&config, "a.io/x"), ["docker-credential-ecr-login < a.io", "u:p"]);
    assert_eq!(found(&config, "b.io/x"), ["docker-credential-desktop < https://b.io"]);
    assert_eq!(found(&config, "c.io:5000/x"), ["docker-credential-desktop < c.io:5000"]);
    assert_eq!(found(&config, "docker.io/x"), ["docker-credential-hub < https://index.docker.io/v1/"]);
    assert_eq!(found(&config, "none.io/x"), ["u:p"]);
}

#[test]
fn an_entry_that_holds_something_is_preferred_to_one_that_notes_a_host() {
    let auth = encoded("u:p");
    let config =
        format!(r#"{{"auths": {{"r.io": {{}}, "https://r.io/v1/": {{"auth": "{auth}"}}, "http://r.io": {{}}}}}}"#);
    assert_eq!(found(&config, "r.io/x"), ["u:p"]);
}

#[test]
fn what_cannot_be_read_is_said_and_not_shown() {
    for (config, reason) in [
        (r#"{"auths": ["s3cret"]}"#, "DOCKER_AUTH_CONFIG is no Docker configuration (line 1, column 10)"),
        ("s3cret", "DOCKER_AUTH_CONFIG is no Docker configuration (line 1, column 1)"),
        (
            r#"{"auths": {"r.io": {"auth": "s3cret"}}}"#,
            "\"r.io\" in DOCKER_AUTH_CONFIG has an auth that is not user:password in base64",
        ),
        (
            r#"{"auths": {"r.io": {"password": ["s3cret"]}}}"#,
            "\"r.io\" in DOCKER_AUTH_CONFIG holds something else than text",
        ),
        (r#"{"auths": {"r.io": "s3cret"}}"#, "\"r.io\" in DOCKER_AUTH_CONFIG is no object"),
        (
            r#"{"auths": {"r.io": {"username": "u:s3cret", "password": "s3cret"}}}"#,
            "\"r.io\" in DOCKER_AUTH_CONFIG has a username with a colon, which no registry can be told",
        ),
        (r#"{"credsStore": "../evil"}"#, "DOCKER_AUTH_CONFIG names \"../evil\" as a credential helper"),
    ] {
        assert_eq!(found(config, "r.io/a"), [reason]);
    }
    // What is wrong with one registry is not said of another.
    assert!(found(r#"{"auths": {"r.io": "s3cret"}}"#, "x.io/a").is_empty());
    assert!(found("", "x.io/a").is_empty());
}

#[test]
fn places_are_asked_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |name: &str, user: &str, registry: &str| {
        std::fs::create_dir_all(std::path::Path::new(&path(name)).parent().unwrap()).unwrap();
        let auth = encoded(&format!("{user}:p"));
        std::fs::write(path(name), format!(r#"{{"auths": {{"{registry}": {{"auth": "{auth}"}}}}}}"#)).unwrap();
    };
    let environment = |name: &str| match name {
        "HOME" => Some(path("home").into()),
        "REGISTRY_AUTH_FILE" => Some(path("chosen.json").into()),
        "XDG_RUNTIME_DIR" => Some(path("run").into()),
        _ => None,
    };
    assert!(sources(&environment, "r.io/a").is_empty(), "no file is there");
    write("home/.config/containers/auth.json", "config", "r.io");
    assert_eq!(sources(&environment, "r.io/a"), ["config:p"]);
    write("run/containers/auth.json", "run", "r.io");
    assert_eq!(sources(&environment, "r.io/a"), ["run:p"]);
    write("home/.docker/config.json", "docker", "r.io");
    assert_eq!(sources(&environment, "r.io/a"), ["docker:p"]);
    write("chosen.json", "chosen", "r.io");
    assert_eq!(sources(&environment, "r.io/a"), ["chosen:p"]);
    let elsewhere = |name: &str| if name == "DOCKER_CONFIG" { Some(path("run").into()) } else { environment(name) };
    write("run/config.json", "docker-config", "x.io");
    assert_eq!(sources(&elsewhere, "x.io/a"), ["docker-config:p"]);
}

#[test]
fn a_helper_that_is_null_is_none() {
    let auth = encoded("u:p");
    let config =
        format!(r#"{{"credsStore": "x", "credHelpers": {{"r.io": null}}, "auths": {{"r.io": {{"auth": "{auth}"}}}}}}"#);
    assert_eq!(found(&config, "r.io/a"), ["u:p"]);
}

#[cfg(unix)]
#[test]
fn a_path_that_is_no_text_is_followed_and_a_content_that_is_none_is_told() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(OsString::from_vec(b"a\xff".to_vec()));
    std::fs::create_dir(&path).unwrap();
    let config = format!(r#"{{"auths": {{"r.io": {{"auth": "{}"}}}}}}"#, encoded("u:p"));
    std::fs::write(path.join("config.json"), config).unwrap();
    let by_path = |name: &str| (name == "DOCKER_CONFIG").then(|| path.clone().into_os_string());
    assert_eq!(sources(&by_path, "r.io/a"), ["u:p"]);
    let inline = |name: &str| (name == "DOCKER_AUTH_CONFIG").then(|| OsString::from_vec(vec![0xff]));
    assert_eq!(sources(&inline, "r.io/a"), ["DOCKER_AUTH_CONFIG is not UTF-8"]);
}
