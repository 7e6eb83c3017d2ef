use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OTHER: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn check_with(defaults: [Option<&str>; 2], source: &str, destination: Option<&str>) -> Result<Rule, Box<InvalidRule>> {
    let hosts = HashSet::from(["registry".parse().unwrap()]);
    let place = Place { file: "images.json".into(), line: 12, column: 5 };
    let written = Written { place, source: source.into(), destination: destination.map(str::to_owned) };
    Checker::new(&hosts, defaults[0], defaults[1], false).check(written)
}

fn check(source: &str, destination: &str) -> Result<Rule, Box<InvalidRule>> {
    check_with([Some("swr.example.com"), Some("team/sub")], source, Some(destination))
}

/// The images of a rule, as people would write them down.
fn images(source: &str, destination: &str) -> Vec<String> {
    shown(check(source, destination).unwrap_or_else(|invalid| panic!("{invalid}")).images)
}

fn shown(images: Images) -> Vec<String> {
    match &images.which {
        Which::Fixed(_) => images.fixed().map(|(source, destination)| format!("{source} -> {destination}")).collect(),
        Which::Listed(filter) => {
            let filter = match filter {
                Filter::All => "all".to_owned(),
                Filter::Matching(expression) => format!("matching {expression}"),
                Filter::NotMatching(expression) => format!("not matching {expression}"),
            };
            vec![format!("{} -> {}, {filter}", images.source, images.destination)]
        }
    }
}

fn reason(source: &str, destination: &str) -> String {
    check(source, destination).unwrap_err().reason.to_string()
}

#[test]
fn a_whole_repository_is_listed() {
    assert_eq!(images("quay.io/a/b", "x.io/c"), ["quay.io/a/b -> x.io/c, all"]);
}

#[test]
fn tags_keep_their_names() {
    assert_eq!(images("quay.io/a/b:1", "x.io/c"), ["quay.io/a/b:1 -> x.io/c:1"]);
    assert_eq!(images("quay.io/a:1,2", "x.io/c"), ["quay.io/a:1 -> x.io/c:1", "quay.io/a:2 -> x.io/c:2"]);
    assert_eq!(images("quay.io/a:1,1", "x.io/c"), ["quay.io/a:1 -> x.io/c:1"; 2]);
}

#[test]
fn tags_are_paired_in_order() {
    assert_eq!(images("quay.io/a:1", "x.io/c:v1"), ["quay.io/a:1 -> x.io/c:v1"]);
    assert_eq!(images("quay.io/a:1,2", "x.io/c:b,a"), ["quay.io/a:1 -> x.io/c:b", "quay.io/a:2 -> x.io/c:a"]);
}

#[test]
fn expressions_filter_a_listed_repository() {
    assert_eq!(images("quay.io/a:/^v[0-9]/", "x.io/c"), ["quay.io/a -> x.io/c, matching ^v[0-9]"]);
    assert_eq!(images("quay.io/a:!/-rc/", "x.io/c"), ["quay.io/a -> x.io/c, not matching -rc"]);
    assert_eq!(images("quay.io/a:/a/b:/c/", ""), ["quay.io/a -> swr.example.com/team/sub/a, matching a/b:/c"]);
}

#[test]
fn an_expression_may_ask_for_all_of_unicode_and_needs_its_room_only_then() {
    let filter = |expression: &str| match check(&format!("quay.io/a:/{expression}/"), "x.io/c").unwrap().images.which {
        Which::Listed(filter) => filter,
        Which::Fixed(pairs) => panic!("{pairs:?}"),
    };
    for (expression, accepts) in
        [(r"^\d+$", false), (r"^v\d$", true), (r"^\w.$", true), (r"[^v]", true), (r"^\p{Ll}", true), ("[é]|1", true)]
    {
        assert_eq!(filter(expression).accepts(&"v1".parse().unwrap()), accepts, "{expression}");
    }
    let Filter::Matching(digits) = filter(r"\d") else { panic!("an expression") };
    assert!(!digits.is_match("٣".as_bytes()), "the digits of all scripts are in no tag");
}

#[test]
fn filters_find_their_expression_anywhere_in_a_tag() {
    let accepted = |source: &str| -> Vec<&str> {
        let Which::Listed(filter) = check(source, "x.io/c").unwrap().images.which else { panic!("{source}") };
        ["1.0", "1.0-rc1", "latest"].into_iter().filter(|tag| filter.accepts(&tag.parse().unwrap())).collect()
    };
    assert_eq!(accepted("quay.io/a"), ["1.0", "1.0-rc1", "latest"]);
    assert_eq!(accepted("quay.io/a:/0/"), ["1.0", "1.0-rc1"]);
    assert_eq!(accepted("quay.io/a:/0$/"), ["1.0"]);
    assert_eq!(accepted("quay.io/a:!/rc/"), ["1.0", "latest"]);
}

#[test]
fn a_digest_goes_under_a_tag_if_either_side_names_one() {
    let (alone, tagged) = (format!("quay.io/a@{DIGEST}"), format!("quay.io/a:1@{DIGEST}"));
    let pair = |destination: &str| [format!("quay.io/a@{DIGEST} -> x.io/c{destination}")];
    let same = format!("@{DIGEST}");
    assert_eq!(images(&alone, "x.io/c"), pair(&same));
    assert_eq!(images(&alone, "x.io/c:v1"), pair(":v1"));
    assert_eq!(images(&alone, &format!("x.io/c@{DIGEST}")), pair(&same));
    assert_eq!(images(&alone, &format!("x.io/c:v1@{DIGEST}")), pair(":v1"));
    assert_eq!(images(&tagged, "x.io/c"), pair(":1"));
    assert_eq!(images(&tagged, "x.io/c:v1"), pair(":v1"));
    assert_eq!(images(&tagged, &format!("x.io/c@{DIGEST}")), pair(&same));
}

#[test]
fn a_digest_without_a_tag_is_warned_of() {
    let source = format!("quay.io/a@{DIGEST}");
    assert_eq!(
        check(&source, "x.io/c").unwrap().warning().unwrap(),
        format!(
            "images.json:12:5: \"{source}\" -> \"x.io/c\": it is put by digest without a tag, and registries \
             may collect what has none; a tag at the destination keeps it"
        )
    );
    assert_eq!(check(&source, "x.io/c:1").unwrap().warning(), None);
    assert_eq!(check("quay.io/a:1", "x.io/c").unwrap().warning(), None);
    assert_eq!(check("quay.io/a", "x.io/c").unwrap().warning(), None);
}

#[test]
fn an_empty_destination_is_the_default_namespace() {
    for (source, destination) in [
        ("quay.io/a/b:1", "quay.io/a/b:1 -> swr.example.com/team/sub/b:1"),
        ("quay.io/a/b/c:1", "quay.io/a/b/c:1 -> swr.example.com/team/sub/b/c:1"),
        ("quay.io/a:1", "quay.io/a:1 -> swr.example.com/team/sub/a:1"),
        ("docker.io/nginx:1", "docker.io/library/nginx:1 -> swr.example.com/team/sub/nginx:1"),
        ("quay.io/a/b", "quay.io/a/b -> swr.example.com/team/sub/b, all"),
    ] {
        assert_eq!(images(source, ""), [destination]);
    }
}

#[test]
fn an_empty_destination_needs_both_defaults() {
    let reason = |registry, namespace| {
        let defaults = [registry, namespace];
        check_with(defaults, "quay.io/a/b", Some("")).unwrap_err().reason.to_string()
    };
    let path = "expected lower-case letters and digits, joined by single '.', '_', '__' or '-' and '/', at most 255 \
                characters";
    for (registry, namespace, expected) in [
        (None, Some("n"), "an empty destination needs --registry or DEFAULT_REGISTRY".to_owned()),
        (Some(""), Some("n"), "an empty destination needs --registry or DEFAULT_REGISTRY".to_owned()),
        (Some("x.io"), None, "an empty destination needs --namespace or DEFAULT_NAMESPACE".to_owned()),
        (
            None,
            Some(""),
            "an empty destination needs --registry or DEFAULT_REGISTRY, and --namespace or DEFAULT_NAMESPACE"
                .to_owned(),
        ),
        (
            Some("https://x.io"),
            Some("n"),
            "--registry or DEFAULT_REGISTRY: it begins with https://: expected the registry's host first".to_owned(),
        ),
        (
            Some("x.io/n"),
            Some("n"),
            "--registry or DEFAULT_REGISTRY: invalid registry \"x.io/n\": expected a host name or an address in full, with :port \
             if it is not the usual one"
                .to_owned(),
        ),
        (
            Some("x.io"),
            Some("/n/"),
            format!("--namespace or DEFAULT_NAMESPACE: invalid repository path \"/n/\": {path}"),
        ),
        (
            Some("x.io"),
            Some("Team"),
            "--namespace or DEFAULT_NAMESPACE: the path \"Team\" must be lower-case: \"team\"".to_owned(),
        ),
    ] {
        assert_eq!(reason(registry, namespace), expected);
    }
    assert!(check_with([None, None], "quay.io/a/b", Some("x.io/a")).is_ok(), "the defaults are not used");
}

#[test]
fn sides_that_do_not_fit_together_are_invalid() {
    let (digest, other) = (format!("x.io/c@{DIGEST}"), format!("x.io/c@{OTHER}"));
    let one_tag =
        "a destination has a tag only where the source names its tags: write the destination's repository alone";
    let same_digest = "a destination has a digest only where the source names the same digest";
    let no_expression =
        "a destination is no regular expression: tags that match keep their names, so write the repository alone";
    for (source, destination, expected) in [
        ("quay.io/a", "x.io/c:1", one_tag),
        ("quay.io/a:/v/", "x.io/c:1", one_tag),
        ("quay.io/a:!/v/", "x.io/c:1,2", one_tag),
        ("quay.io/a:1,2", "x.io/c:1", "unequal lists: 2 at the source, 1 at the destination; tags are paired in order"),
        (
            &digest,
            "x.io/c:1,2",
            "an image has one tag at a destination: for 2 write an array of as many destinations, each with one",
        ),
        ("quay.io/a", &digest, same_digest),
        ("quay.io/a:1", &digest, same_digest),
        (
            &other,
            &digest,
            &format!("a copy has the digest of its source: expected {OTHER}, found {DIGEST} at the destination"),
        ),
        ("quay.io/a", "x.io/c:/v/", no_expression),
        ("quay.io/a:1", "x.io/c:/v/", no_expression),
        (&digest, "x.io/c:/v/", no_expression),
    ] {
        assert_eq!(reason(source, destination), expected, "{source} -> {destination}");
    }
}

#[test]
fn a_malformed_side_is_named() {
    assert_eq!(
        reason("nginx:1.25", ""),
        "source: it names no registry: write \"docker.io/library/nginx:1.25\" if Docker Hub is meant (a host without \
         a dot needs an entry in auth.json)"
    );
    assert_eq!(
        reason("quay.io/a", "https://x.io/c"),
        "destination: it begins with https://: expected the registry's host first"
    );
    assert_eq!(reason("", "x.io/c"), "source: it is empty: expected registry/namespace/repository");
    assert_eq!(reason("quay.io/a:/v(1/", "x.io/c"), "invalid regular expression \"v(1\": unclosed group");
    assert_eq!(check_with([None, None], "quay.io/a", None).unwrap_err().reason, InvalidReason::NoDestinations);
}

#[test]
fn an_image_may_be_copied_onto_itself() {
    assert_eq!(images("quay.io/a:1", "quay.io/a:1"), ["quay.io/a:1 -> quay.io/a:1"]);
}

#[test]
fn hosts_of_credentials_are_hosts_in_rules() {
    assert_eq!(images("registry/a:1", "localhost/b"), ["registry/a:1 -> localhost/b:1"]);
}

#[test]
fn rules_are_shown_as_written_without_control_characters() {
    let invalid = check("quay.io/\u{1b}[0m", "x.io/c:\"").unwrap_err().to_string();
    assert!(invalid.starts_with(r#"images.json:12:5: "quay.io/\u{1b}[0m" -> "x.io/c:\"": source: "#), "{invalid}");
    assert!(!invalid.contains('\u{1b}'));
    assert_eq!(check("quay.io/a", "").unwrap().to_string(), "images.json:12:5: \"quay.io/a\" -> \"\"");
}
