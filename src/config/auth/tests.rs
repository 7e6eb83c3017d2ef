use std::ffi::OsString;

use secrecy::ExposeSecret;

use super::*;
use crate::config::json::Document;
use crate::registry::{Credential, Holds, Source};

fn environment(name: &str) -> Option<OsString> {
    match name {
        "USER" => Some("me".into()),
        "TOKEN" => Some("s3cret".into()),
        "EMPTY" | "NOTHING" => Some(OsString::new()),
        "COLON" => Some("me:s3cret".into()),
        _ => None,
    }
}

fn auth(text: &str) -> Auth {
    let document = Document::parse("auth.json", text.into()).unwrap();
    read(document.root(), Path::new(""), &environment).unwrap_or_else(|error| panic!("{error}"))
}

/// The error without the file's name.
fn error(text: &str) -> String {
    let error = match Document::parse("auth.json", text.into()) {
        Ok(document) => read(document.root(), Path::new(""), &environment).map(|_| ()).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    error.strip_prefix("auth.json:").unwrap().to_owned()
}

fn login(auth: &Auth, repository: &str) -> Option<String> {
    let account = auth.keyring.account(&repository.parse().unwrap())?;
    let [source] = account.sources.as_slice() else { panic!("{account:?}") };
    let shown = match &source.holds {
        Holds::Credential(Credential::Password { username, password }) => {
            format!("{username} {}", password.expose_secret())
        }
        Holds::Credential(Credential::IdentityToken(token)) => token.expose_secret().to_owned(),
        Holds::Helper(helper) => format!("{} < {}", helper.program(), helper.server()),
        other => panic!("{other:?}"),
    };
    Some(format!("{}: {shown}", account.key))
}

#[test]
fn entries_are_registries_or_namespaces() {
    let auth = auth(
        r#"{
            "quay.io": {"username": "u1", "password": "p1"},
            "quay.io/team/sub": {"username": "u2", "password": "p2"},
            "registry": {"username": "u3", "password": "p3"},
            "myhost/ns": {"username": "u4", "password": "p4"},
            "LOCALHOST:5000": {}
        }"#,
    );
    assert_eq!(login(&auth, "quay.io/team/app").unwrap(), "quay.io: u1 p1");
    assert_eq!(login(&auth, "quay.io/team/sub/app").unwrap(), "quay.io/team/sub: u2 p2");
    assert_eq!(login(&auth, "registry/app").unwrap(), "registry: u3 p3");
    assert_eq!(login(&auth, "myhost/ns/app").unwrap(), "myhost/ns: u4 p4");
    let hosts = ["quay.io", "registry", "myhost", "localhost:5000"].map(|host| host.parse().unwrap());
    assert_eq!(auth.hosts, HashSet::from(hosts));
}

#[test]
fn variables_are_replaced_in_both_fields() {
    let auth = auth(
        r#"{
            "a.io": {"username": "${USER}-x", "password": "$TOKEN"},
            "b.io": {"username": "robot$ci", "password": "$$TOKEN"},
            "c.io": {"username": "pa$USER", "password": "$"}
        }"#,
    );
    assert_eq!(login(&auth, "a.io/x").unwrap(), "a.io: me-x s3cret");
    assert_eq!(login(&auth, "b.io/x").unwrap(), "b.io: robot$ci $TOKEN");
    assert_eq!(login(&auth, "c.io/x").unwrap(), "c.io: pa$USER $");
}

/// A store that knows everybody.
#[derive(Debug)]
struct Store;

impl crate::registry::Store for Store {
    fn account(&self, _: &crate::reference::Repository) -> Option<crate::registry::Account> {
        let credential = Credential::password("kept".into(), "elsewhere".into()).unwrap();
        let source = crate::registry::Source {
            name: "store".into(),
            remedy: String::new(),
            holds: Holds::Credential(credential),
            is_required: false,
        };
        Some(crate::registry::Account { key: "store".into(), sources: vec![source] })
    }
}

#[test]
fn an_entry_is_anonymous_on_purpose_or_says_nothing() {
    let mut auth = auth(
        r#"{
            "quay.io": {"username": "u", "password": "p"},
            "quay.io/a": {},
            "quay.io/b": {"username": "", "password": ""},
            "quay.io/c": {"anonymous": true, "insecure": true},
            "quay.io/d": {"username": "$EMPTY", "password": "${EMPTY}"},
            "quay.io/e": {"identityToken": "${EMPTY}"},
            "quay.io/f": {"insecure": true},
            "quay.io/g": {"anonymous": false}
        }"#,
    );
    auth.keyring.set_store(Box::new(Store));
    for namespace in ["a", "b", "c", "d", "e"] {
        assert_eq!(login(&auth, &format!("quay.io/{namespace}/x")), None, "{namespace}");
    }
    for repository in ["quay.io/f/x", "quay.io/g/x", "ghcr.io/x"] {
        assert_eq!(login(&auth, repository).as_deref(), Some("store: kept elsewhere"));
    }
    assert_eq!(login(&auth, "quay.io/h/x").as_deref(), Some("quay.io: u p"));
}

#[test]
fn there_are_other_ways_to_log_in_than_passwords() {
    let auth = auth(
        r#"{
            "a.io": {"identityToken": "x${TOKEN}"},
            "123.dkr.ecr.eu-west-1.amazonaws.com": {"credHelper": "ecr-login"},
            "123.dkr.ecr.eu-west-1.amazonaws.com/team": {"credHelper": "ecr-login", "insecure": false},
            "docker.io": {"credHelper": "desktop"}
        }"#,
    );
    assert_eq!(login(&auth, "a.io/x").unwrap(), "a.io: xs3cret");
    let ecr = "docker-credential-ecr-login 123.dkr.ecr.eu-west-1.amazonaws.com: \
               docker-credential-ecr-login < 123.dkr.ecr.eu-west-1.amazonaws.com";
    assert_eq!(login(&auth, "123.dkr.ecr.eu-west-1.amazonaws.com/x").unwrap(), ecr);
    assert_eq!(login(&auth, "123.dkr.ecr.eu-west-1.amazonaws.com/team/x").unwrap(), ecr, "one account");
    assert!(login(&auth, "docker.io/nginx").unwrap().ends_with("-desktop < https://index.docker.io/v1/"));
}

#[test]
fn an_entry_says_in_one_way_who_logs_in() {
    for (fields, field, other) in [
        (r#""anonymous": true, "username": "u", "password": "p""#, "username", "anonymous"),
        (r#""anonymous": true, "credHelper": "x""#, "credHelper", "anonymous"),
        (r#""anonymous": true, "identityToken": "x""#, "identityToken", "anonymous"),
        (r#""username": "u", "password": "p", "credHelper": "x""#, "username", "credHelper"),
        (r#""username": "u", "identityToken": "x""#, "username", "identityToken"),
        (r#""credHelper": "x", "identityToken": "x""#, "identityToken", "credHelper"),
    ] {
        let error = error(&format!(r#"{{"quay.io": {{{fields}}}}}"#));
        let expected = format!("\"quay.io\" has {field} and {other} (at auth.json:1:");
        assert!(error.contains(&expected), "{error}");
        assert!(error.ends_with("): one of them says who logs in"), "{error}");
    }
    assert_eq!(
        error(r#"{"quay.io": {"credHelper": "../x"}}"#),
        "1:14: \"../x\" is no credential helper: expected what stands behind docker-credential-, as in ecr-login"
    );
}

#[test]
fn certificates_belong_to_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["r.io".to_owned()]).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("ca.pem", &made.cert.pem());
    write("key.pem", &made.signing_key.serialize_pem());
    write("other.pem", &other.serialize_pem());
    write("text.pem", "hello");
    let read = |text: &str| {
        let document = Document::parse("auth.json", text.into()).unwrap();
        read(document.root(), folder.path(), &environment).map_err(|error| error.to_string())
    };
    assert!(
        read(r#"{"a.io": {"ca": "ca.pem"}, "a.io/x": {"cert": "ca.pem", "ca": "ca.pem", "key": "key.pem"}}"#).is_ok()
    );
    for (text, expected) in [
        (
            r#"{"a.io": {"ca": "ca.pem"}, "a.io/x": {"ca": "./ca.pem"}}"#,
            "auth.json:1:39: ca is \"./ca.pem\" here but \"ca.pem\" at auth.json:1:11, and both concern the host a.io",
        ),
        (
            r#"{"a.io": {"cert": "ca.pem"}}"#,
            "auth.json:1:11: the host a.io has a cert but no key: a client certificate needs both",
        ),
        (
            r#"{"a.io": {"key": "key.pem"}}"#,
            "auth.json:1:11: the host a.io has a key but no cert: a client certificate needs both",
        ),
        (
            r#"{"a.io": {"cert": "ca.pem", "key": "other.pem"}}"#,
            "auth.json:1:29: key: other.pem is not what is needed: it is not the key of the certificate",
        ),
        (
            r#"{"a.io": {"ca": "text.pem"}}"#,
            "auth.json:1:11: ca: text.pem is not what is needed: it holds no certificate in PEM (-----BEGIN \
             CERTIFICATE-----)",
        ),
    ] {
        assert_eq!(read(text).err().as_deref(), Some(expected));
    }
    let error = read(r#"{"a.io": {"ca": "no.pem"}}"#).err().unwrap();
    assert!(error.starts_with("auth.json:1:11: ca: cannot read ") && error.contains("no such file"), "{error}");
}

#[test]
fn insecure_belongs_to_the_host() {
    let auth = auth(r#"{"a.io/x": {"insecure": true}, "a.io": {}, "b.io": {"insecure": false}}"#);
    assert!(auth.keyring.is_insecure(&"a.io".parse().unwrap()));
    assert!(!auth.keyring.is_insecure(&"b.io".parse().unwrap()));
    assert_eq!(
        error("{\"a.io/x\": {\"insecure\": true},\n \"a.io/y\": {},\n \"A.io\": {\"insecure\": false}}"),
        "3:11: insecure is false here but true at auth.json:1:13, and both concern the host a.io"
    );
}

#[test]
fn docker_hub_is_one_registry() {
    let auth = auth(r#"{"registry-1.docker.io/library": {"username": "u", "password": "p"}}"#);
    assert_eq!(login(&auth, "docker.io/nginx").unwrap(), "registry-1.docker.io/library: u p");
    assert_eq!(
        error("{\"docker.io\": {},\n \"index.docker.io\": {}}"),
        "2:2: the key \"index.docker.io\" stands twice: \"docker.io\" at auth.json:1:2 is the same"
    );
}

#[test]
fn a_repeated_key_or_field_names_both_places() {
    assert_eq!(
        error("{\"quay.io/a\": {},\n  \"QUAY.io/a\": {}}"),
        "2:3: the key \"QUAY.io/a\" stands twice: \"quay.io/a\" at auth.json:1:2 is the same"
    );
    assert_eq!(
        error(r#"{"quay.io": {"username": "a", "password": "b", "username": "a"}}"#),
        "1:48: the field username of \"quay.io\" stands twice, first at auth.json:1:14"
    );
}

#[test]
fn credentials_are_whole() {
    assert_eq!(error(r#"{"quay.io": {"username": "u"}}"#), "1:14: \"quay.io\" has a username but no password");
    assert_eq!(error(r#"{"quay.io": {"password": "p"}}"#), "1:14: \"quay.io\" has a password but no username");
}

#[test]
fn a_wrong_shape_names_its_place_and_what_was_expected() {
    for (text, expected) in [
        ("[]", "1:1: found an array, expected an object of registries and their credentials"),
        ("{\n \"quay.io\": null}", "2:13: found null, expected an object of credentials and settings"),
        (r#"{"quay.io": {"username": 1}}"#, "1:26: found a number, expected a string as username"),
        (r#"{"quay.io": {"password": 1234}}"#, "1:26: found a number, expected a string as password"),
        (r#"{"quay.io": {"insecure": "yes"}}"#, "1:26: found a string, expected true or false as insecure"),
        (
            r#"{"quay.io": {"user": "u"}}"#,
            "1:14: unknown field \"user\" of \"quay.io\": expected username, password, identityToken, credHelper, anonymous, \
             insecure, ca, cert or key",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn images_json_is_recognised() {
    let expected = "found a string, expected an object of credentials and settings; this looks like images.json";
    assert_eq!(error(r#"{"quay.io/a:1": ""}"#), format!("1:17: {expected}"));
    assert!(error(r#"{"quay.io/a:1": ["x"]}"#).ends_with("; this looks like images.json"));
}

#[test]
fn a_key_is_a_host_and_perhaps_a_namespace() {
    let path = "expected lower-case letters and digits, joined by single '.', '_', '__' or '-' and '/', at most 255 \
                characters";
    let host = "expected a host name or an address in full, with :port if it is not the usual one";
    for (key, reason) in [
        ("https://quay.io", "it begins with https://: expected the registry's host first".to_owned()),
        ("https://index.docker.io/v1/", "it begins with https://: expected the registry's host first".to_owned()),
        ("quay.io/", "it ends with a slash".to_owned()),
        ("quay.io/a/", "it ends with a slash".to_owned()),
        ("quay.io/A/b", "the path \"A/b\" must be lower-case: \"a/b\"".to_owned()),
        ("quay.io/a:1", format!("invalid repository path \"a:1\": {path}")),
        ("quay.io:latest", format!("invalid registry \"quay.io:latest\": {host}")),
        ("", format!("invalid registry \"\": {host}")),
        (" quay.io", format!("invalid registry \" quay.io\": {host}")),
    ] {
        assert_eq!(
            error(&format!(r#"{{"{key}": {{}}}}"#)),
            format!("1:2: the key {key:?} is not registry or registry/namespace: {reason}")
        );
    }
}

#[test]
fn unset_variables_are_sorted_by_use() {
    let auth = auth(
        r#"{"a.io": {"username": "${NO_USER}", "password": "$NO_PASSWORD"},
            "a.io/public": {},
            "b.io": {"username": "u", "password": "x${NO_TOKEN}"}}"#,
    );
    let repositories = ["a.io/x", "a.io/public/x", "c.io/x"].map(|text| text.parse().unwrap());
    let (used, unused) = auth.unset.split_by_use(repositories.iter());
    let shown = |variables: Vec<UnsetVariable>| variables.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        shown(used),
        [
            "auth.json:1:11: the username of \"a.io\" needs the environment variable NO_USER, which is not set",
            "auth.json:1:37: the password of \"a.io\" needs an environment variable that is not set; a value that \
             itself begins with $ is written with $$",
        ]
    );
    assert_eq!(
        shown(unused),
        ["auth.json:3:39: the password of \"b.io\" needs the environment variable NO_TOKEN, which is not set"]
    );
}

#[test]
fn an_entry_with_an_unset_variable_hides_a_shorter_one() {
    let auth =
        auth(r#"{"a.io": {"username": "u", "password": "p"}, "a.io/x": {"username": "u", "password": "${NO}"}}"#);
    assert_eq!(login(&auth, "a.io/x/y"), None);
}

#[test]
fn passwords_are_never_shown() {
    for text in [
        r#"{"quay.io": {"username": "u", "password": ["hunter2"]}}"#,
        r#"{"quay.io": {"password": "hunter2"}}"#,
        r#"{"quay.io": {"username": "u", "password": "hunter2", "password": "hunter2"}}"#,
        r#"{"quay.io": {"username": "u", "password": hunter2}}"#,
        r#"{"quay.io": "hunter2"}"#,
    ] {
        assert!(!error(text).contains("hunter2"), "{}", error(text));
    }
    let auth = auth(r#"{"quay.io": {"username": "u", "password": "$hunter2"}}"#);
    let (used, unused) = auth.unset.split_by_use([].iter());
    assert!(used.is_empty());
    assert!(!unused[0].to_string().contains("hunter2"));
}

#[test]
fn a_login_whose_variables_hold_nothing_is_told() {
    let told = |fields: &str| auth(&format!("{{\"a.io\": {{{fields}}}}}")).warnings;
    let of = |fields: &str, text: &str| {
        assert_eq!(told(fields), [format!("auth.json:1:11: {text} empty: it is used anonymously")], "{fields}");
    };
    let one = "the variable of \"a.io\" in auth.json (EMPTY) is";
    of(r#""username": "${EMPTY}", "password": "${EMPTY}""#, one);
    of(r#""username": "", "password": "${EMPTY}""#, one);
    of(r#""identityToken": "${EMPTY}""#, one);
    let both = "the variables of \"a.io\" in auth.json (EMPTY and NOTHING) are";
    of(r#""username": "${EMPTY}", "password": "${NOTHING}""#, both);
    of(r#""username": "$EMPTY", "password": "$NOTHING""#, "the variables of \"a.io\" in auth.json are");
    for fields in ["", r#""username": "", "password": """#, r#""username": "u", "password": "${EMPTY}""#] {
        assert_eq!(told(fields), [""; 0], "{fields}");
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_told_from_one_that_is_not_set() {
    use std::os::unix::ffi::OsStringExt as _;
    let document = r#"{"a.io": {"username": "u", "password": "${TOKEN}"}}"#;
    let document = Document::parse("auth.json", document.into()).unwrap();
    let bytes = |_: &str| Some(OsString::from_vec(vec![0xff]));
    let auth = read(document.root(), Path::new(""), &bytes).unwrap();
    let (used, _) = auth.unset.split_by_use(std::iter::once(&"a.io/x".parse().unwrap()));
    let told: Vec<String> = used.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["auth.json:1:28: the password of \"a.io\" needs the environment variable TOKEN, which is not UTF-8"]
    );
}

#[test]
fn docker_s_own_file_is_known() {
    for text in [r#"{"auths": {"quay.io": {"auth": "eDp5"}}}"#, r#"{"credsStore": "desktop"}"#] {
        assert!(error(text).contains("this looks like Docker's config.json"), "{text}");
    }
}

#[test]
fn a_password_that_a_variable_left_empty_is_told_as_that() {
    let auth = auth(r#"{"quay.io": {"username": "me", "password": "${EMPTY}"}}"#);
    let account = auth.keyring.account(&"quay.io/x".parse().unwrap()).unwrap();
    assert!(account.sources[0].remedy.starts_with("the password of \"quay.io\" in auth.json is empty"));
}

#[test]
fn a_username_that_no_registry_can_be_told_is_a_defect_of_its_entry() {
    for written in ["me:s3cret", "${COLON}"] {
        let auth = auth(&format!(r#"{{"quay.io": {{"username": "{written}", "password": "s3cret"}}}}"#));
        let account = auth.keyring.account(&"quay.io/x".parse().unwrap()).unwrap();
        let [Source { holds: Holds::Nothing(reason), remedy, .. }] = account.sources.as_slice() else {
            panic!("{account:?}");
        };
        let told = "\"quay.io\" in auth.json has a username with a colon, which no registry can be told";
        assert_eq!(
            (reason.as_str(), remedy.as_str()),
            (told, "correct username and password of \"quay.io\" in auth.json")
        );
    }
}
