//! What was not brought, as an images.json that brings it in another run.
//!
//! First the rules whose tags could not be listed, with the source as it was written, and with the destination in full,
//! so that no default is needed; then each image that failed or was not reached, by name. An earlier rule that goes to
//! the same repository as such a rule is written as well: its images that are there already cost two requests each, and
//! no tag is moved that the whole file would not move. What another run cannot cure is written too, so that it is not
//! lost: clashes, and at the end the rules that cannot be used, as they were written. If all is well, it is `{}`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::ser::PrettyFormatter;

use crate::event::{Ending, RuleName, WrittenRule};
use crate::reference::Identifier;

pub fn write(ending: &Ending, writer: &mut dyn Write) -> io::Result<()> {
    let formatter = PrettyFormatter::with_indent(b"  ");
    Rules(rules(ending)).serialize(&mut serde_json::Serializer::with_formatter(&mut *writer, formatter))?;
    writer.write_all(b"\n")
}

/// A source may stand more than once, since the order of rules matters.
struct Rules(Vec<WrittenRule>);

fn rules(ending: &Ending) -> Vec<WrittenRule> {
    let mut rules: Vec<WrittenRule> = Vec::new();
    for RuleName { source, destination } in &ending.rules_again {
        match rules.last_mut() {
            Some(last) if last.source == *source => last.destinations.push(destination.clone()),
            _ => rules.push(WrittenRule { source: source.clone(), destinations: vec![destination.clone()] }),
        }
    }
    let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for image in &ending.failed_images {
        // By digest alone it is put as what it is, or as what it is converted to.
        let destination = match &image.destination.identifier {
            Identifier::Digest(_) => image.destination.repository.to_string(),
            Identifier::Tag(_) => image.destination.to_string(),
        };
        images.entry(image.source.to_string()).or_default().insert(destination);
    }
    let by_source = |(source, destinations): (String, BTreeSet<String>)| WrittenRule {
        source,
        destinations: destinations.into_iter().collect(),
    };
    rules.extend(images.into_iter().map(by_source));
    rules.extend(ending.invalid_rules.iter().map(|rule| rule.written.clone()));
    rules
}

impl Serialize for Rules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for WrittenRule { source, destinations } in &self.0 {
            match destinations.as_slice() {
                [one] => map.serialize_entry(source, one)?,
                several => map.serialize_entry(source, several)?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::event::{FailedImage, Failure, InvalidRule, RuleText};
    use crate::reference::{Reference, Repository};

    fn text(rules_again: &[(&str, &str)], images: Vec<(Reference, Reference)>, invalid: &[(&str, &[&str])]) -> String {
        let failed = |(source, destination)| FailedImage { source, destination, failure: Failure::cancelled() };
        let name =
            |&(source, destination): &(&str, &str)| RuleName { source: source.into(), destination: destination.into() };
        let unusable = |&(source, destinations): &(&str, &[&str])| InvalidRule {
            rule: RuleText::default(),
            reason: String::new(),
            written: WrittenRule {
                source: source.into(),
                destinations: destinations.iter().map(ToString::to_string).collect(),
            },
        };
        let ending = Ending {
            images: images.len(),
            failed_images: images.into_iter().map(failed).collect(),
            rules_again: rules_again.iter().map(name).collect(),
            invalid_rules: invalid.iter().map(unusable).collect(),
            ..Ending::default()
        };
        let mut text = Vec::new();
        write(&ending, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn nothing_left_is_an_empty_object() {
        assert_eq!(text(&[], vec![], &[]), "{}\n");
    }

    #[test]
    fn rules_keep_their_order_and_images_are_grouped_by_source() {
        let repository = |name: &str| name.parse::<Repository>().unwrap();
        let tagged = |name: &str, tag: &str| repository(name).tagged(tag.parse().unwrap());
        let digest = Digest::of(b"");
        let by_digest = |name: &str| repository(name).at_digest(digest.clone());
        let rules = [("s.io/z", "d.io/z"), ("s.io/z", "d.io/y"), ("s.io/a:/^v\\d/", "d.io/z"), ("s.io/z", "d.io/x")];
        let images = vec![
            (by_digest("s.io/b"), by_digest("d.io/b")),
            (tagged("s.io/a", "1"), tagged("d.io/b", "x")),
            (tagged("s.io/a", "1"), tagged("d.io/a", "1")),
            (by_digest("s.io/c"), tagged("d.io/c", "1")),
        ];
        let expected = format!(
            r#"{{
  "s.io/z": [
    "d.io/z",
    "d.io/y"
  ],
  "s.io/a:/^v\\d/": "d.io/z",
  "s.io/z": "d.io/x",
  "s.io/a:1": [
    "d.io/a:1",
    "d.io/b:x"
  ],
  "s.io/b@{digest}": "d.io/b",
  "s.io/c@{digest}": "d.io/c:1",
  "nginx": "d.io/n",
  "s.io/e": []
}}
"#
        );
        let invalid: [(&str, &[&str]); 2] = [("nginx", &["d.io/n"]), ("s.io/e", &[])];
        assert_eq!(text(&rules, images, &invalid), expected);
    }
}
