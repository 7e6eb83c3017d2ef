//! Rules mean what they say. That no file does harm, whatever is in it, is for the fuzz targets to see.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The images of one rule, as people would write them.
fn images_of(source: &str, destination: &str) -> Vec<(String, String)> {
    let document = Document::parse("images.json", json!({ source: destination }).to_string().into()).unwrap();
    let (registry, namespace) = (Some("swr.example.com".to_owned()), Some("team/sub".to_owned()));
    let sources = Sources { files: Files::Combined(PathBuf::new()), registry, namespace, converts: false };
    let (rules, invalid) = check(images::read(document.root()).unwrap(), &HashSet::new(), &sources);
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
}
