//! What holds of every file that is given: it is read or refused, and rules mean what they say.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Names and values as both files have them, and others.
fn text() -> impl Strategy<Value = String> {
    let usual =
        "(quay.io|docker.io|localhost:5000|a/b|team|:|,|@|/|1.0|!|sha256:|[0-9a-f]{64}|\\$\\{X\\}|\\$|\\^|\\*|é){0,6}";
    prop_oneof![4 => usual, 1 => any::<String>()]
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let fields = "(username|password|insecure|anonymous|credHelper|identityToken|ca|cert|key|auth|images)";
    let name = prop_oneof![fields.prop_map(String::from), text()];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        let object = vec((name.clone(), inner.clone()), 0..5);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn read_both(content: &[u8]) -> Option<Vec<Written>> {
    let document = Document::parse("file.json", content.to_vec()).ok()?;
    let _ = auth::read(document.root(), Path::new("/nowhere"), &|_| None);
    images::read(document.root()).ok()
}

fn check_all(written: Vec<Written>, defaults: bool) -> (Vec<Rule>, Vec<InvalidRule>) {
    let [registry, namespace] = ["swr.example.com", "team/sub"].map(|text| defaults.then(|| text.to_owned()));
    let files = Files::Combined(PathBuf::new());
    check(written, &HashSet::new(), &Sources { files, registry, namespace, converts: false })
}

/// The images of one rule, as people would write them.
fn images_of(source: &str, destination: &str) -> Vec<(String, String)> {
    let written = read_both(json!({ source: destination }).to_string().as_bytes()).unwrap();
    let (rules, invalid) = check_all(written, true);
    assert!(invalid.is_empty(), "{}", invalid[0]);
    let images = &rules[0].images;
    match images.which {
        Which::Fixed(_) => images.fixed().map(|(from, to)| (from.to_string(), to.to_string())).collect(),
        Which::Listed(_) => vec![(images.source.to_string(), images.destination.to_string())],
    }
}

const TAG: &str = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}";

proptest! {
    #[test]
    fn no_bytes_of_a_file_make_reading_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = read_both(&bytes);
    }

    #[test]
    fn any_document_is_a_configuration_or_is_none(document in document(), defaults in any::<bool>()) {
        let Some(written) = read_both(document.to_string().as_bytes()) else { return Ok(()) };
        let count = written.len();
        let (rules, invalid) = check_all(written, defaults);
        prop_assert_eq!(rules.len() + invalid.len(), count, "no rule is lost");
        for rule in invalid {
            prop_assert!(!rule.to_string().is_empty());
        }
    }

    #[test]
    fn no_file_that_is_cut_or_damaged_makes_reading_it_panic(
        document in document(), cut in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let mut bytes = document.to_string().into_bytes();
        let place = cut.index(bytes.len());
        let _ = read_both(&bytes[..place]);
        bytes[place] = byte;
        let _ = read_both(&bytes);
    }

    #[test]
    fn an_empty_destination_keeps_the_path_after_its_first_component(path in vec("[a-z0-9]{1,8}", 1..5), tag in TAG) {
        let kept = if path.len() == 1 { &path[..] } else { &path[1..] };
        let expected = (
            format!("quay.io/{}:{tag}", path.join("/")),
            format!("swr.example.com/team/sub/{}:{tag}", kept.join("/")),
        );
        prop_assert_eq!(images_of(&format!("quay.io/{}:{tag}", path.join("/")), ""), [expected.clone()]);
        let whole = (expected.0.replace(&format!(":{tag}"), ""), expected.1.replace(&format!(":{tag}"), ""));
        prop_assert_eq!(images_of(&format!("quay.io/{}", path.join("/")), ""), [whole]);
    }

    #[test]
    fn tags_are_paired_in_order(tags in vec((TAG, TAG), 1..8)) {
        // Which are different: two sources do not meet on one tag.
        let (from, to): (Vec<_>, Vec<_>) =
            tags.iter().enumerate().map(|(n, (from, to))| (from.clone(), format!("{n}{to}"))).unzip();
        let expected: Vec<_> =
            from.iter().zip(&to).map(|(from, to)| (format!("quay.io/a/b:{from}"), format!("x.io/c:{to}"))).collect();
        let source = format!("quay.io/a/b:{}", from.join(","));
        prop_assert_eq!(images_of(&source, &format!("x.io/c:{}", to.join(","))), expected);
        let same: Vec<_> =
            from.iter().map(|tag| (format!("quay.io/a/b:{tag}"), format!("x.io/c:{tag}"))).collect();
        prop_assert_eq!(images_of(&source, "x.io/c"), same);
    }

    #[test]
    fn a_name_that_is_one_is_read_as_it_is_shown(text in "[a-zA-Z0-9.:/@_-]{0,60}") {
        if let Ok(repository) = text.parse::<crate::reference::Repository>() {
            prop_assert_eq!(repository.to_string().parse::<crate::reference::Repository>().unwrap(), repository);
        }
        if let Ok(registry) = text.parse::<Registry>() {
            prop_assert_eq!(registry.to_string().parse::<Registry>().unwrap(), registry);
        }
        if let Ok(tag) = text.parse::<crate::reference::Tag>() {
            prop_assert_eq!(tag.to_string(), text);
        }
    }

    #[test]
    fn no_text_makes_reading_it_as_a_name_panic(text in any::<String>()) {
        let _ = (text.parse::<Digest>(), text.parse::<crate::reference::Repository>(), text.parse::<Registry>());
        let _ = text.parse::<crate::reference::Tag>();
    }

    #[test]
    fn a_digest_is_read_as_it_is_shown(content in vec(any::<u8>(), 0..50)) {
        let digest = Digest::of(&content);
        prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    }
}
