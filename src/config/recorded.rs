//! The report of an earlier migration, read for what it left at each destination.
//!
//! Only what is needed is read: `{"schema": "image-migrator/report/v1", "shards": ["0/2"], "rules": [{"source",
//! "destination"}], "images": [{"source", "destination", "destinationDigest", "result"}]}`; whatever else stands there is
//! passed over.

use std::collections::HashMap;

use super::json::{JsonError, Kind, Member, Value};
use super::place::At;
use super::rule::{Images, InvalidReason, InvalidRule, Pair, Rule, Which};
use crate::digest::{Digest, InvalidDigest};
use crate::reference::{InvalidReference, Reference};
use crate::schema::{self, OtherSchema, Outcome};

/// What a report says of its images.
#[derive(Debug)]
pub struct Recorded {
    /// One for each image, in the order of the report.
    pub rules: Vec<Rule>,
    /// The digest that each destination should have. `None` for a skipped image: nothing should be there. An image that
    /// failed or was only planned is missing.
    pub digests: HashMap<Reference, Option<Digest>>,
    /// The rules of which some or all images are not among these.
    pub not_generated: Vec<InvalidRule>,
    /// The shards that the report covers, such as `0/2`; empty if it covers everything.
    pub shards: Vec<String>,
}

/// What is wrong with a report.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(transparent)]
    Digest(#[from] At<InvalidDigest>),
    #[error(transparent)]
    Reference(#[from] At<InvalidReference>),
    #[error(transparent)]
    Schema(#[from] At<OtherSchema>),
}

/// Reads the report that `root` is.
pub fn read(root: Value) -> Result<Recorded, RecordedError> {
    let members = root.members("a report of image-migrator, which is an object")?;
    let required = |name| {
        let expected = "a report of image-migrator, with \"schema\" and \"images\"";
        field(&members, name).ok_or_else(|| root.mismatch(expected, None))
    };
    let schema = required("schema")?;
    let name = schema.string("the \"schema\" of a report, which is a string")?;
    schema::check(&name).map_err(|error| schema.place().at(error))?;
    let images = required("images")?;
    let mut recorded =
        Recorded { rules: Vec::new(), digests: HashMap::new(), not_generated: Vec::new(), shards: Vec::new() };
    if let Some(shards) = field(&members, "shards") {
        let shards = shards.elements("an array of shards")?;
        recorded.shards =
            shards.iter().map(|shard| shard.string("a shard, which is a string")).collect::<Result<_, _>>()?;
    }
    if let Some(rules) = field(&members, "rules") {
        let rules = rules.elements("an array of rules")?;
        recorded.not_generated = rules.into_iter().map(not_generated).collect::<Result<_, _>>()?;
    }
    for image in images.elements("an array of images")? {
        recorded.add(image)?;
    }
    Ok(recorded)
}

/// A rule of which the report says that its images are not all there.
fn not_generated(rule: Value) -> Result<InvalidRule, JsonError> {
    let members = rule.members("a rule, which is an object")?;
    let side = |name| text(&members, name, "a source or destination, which is a string");
    Ok(InvalidRule {
        place: rule.place(),
        source: side("source")?.unwrap_or_default(),
        destination: side("destination")?.unwrap_or_default(),
        reason: InvalidReason::NotRecorded,
    })
}

impl Recorded {
    fn add(&mut self, image: Value) -> Result<(), RecordedError> {
        let members = image.members("an image, which is an object")?;
        let reference = |name, expected| -> Result<(String, Reference), RecordedError> {
            let value = field(&members, name).ok_or_else(|| image.mismatch(expected, None))?;
            let text = value.string("a reference, which is a string")?;
            let reference = text.parse().map_err(|error| value.place().at(error))?;
            Ok((text, reference))
        };
        let (written_source, source) = reference("source", "an image with a \"source\"")?;
        let (written_destination, destination) = reference("destination", "an image with a \"destination\"")?;
        let result = text(&members, "result", "a result, which is a string")?;
        let digest = field(&members, "destinationDigest").filter(|value| value.kind() != Kind::Null);
        match (result.as_deref().and_then(Outcome::named), digest) {
            (Some(Outcome::Skipped), _) => {
                self.digests.insert(destination.clone(), None);
            }
            (Some(outcome), Some(value)) if outcome.is_there() => {
                let digest = value.string("a digest or null")?;
                let digest = digest.parse().map_err(|error| value.place().at(error))?;
                self.digests.insert(destination.clone(), Some(digest));
            }
            // Of what failed it is what happened to be there.
            _ => {}
        }
        self.rules.push(Rule {
            place: image.place(),
            source: written_source,
            destination: written_destination,
            images: Images {
                source: source.repository,
                destination: destination.repository,
                which: Which::Fixed(vec![Pair { source: source.identifier, destination: destination.identifier }]),
            },
        });
        Ok(())
    }
}

fn text(members: &[Member], name: &str, expected: &'static str) -> Result<Option<String>, JsonError> {
    field(members, name).map(|value| value.string(expected)).transpose()
}

fn field<'a>(members: &[Member<'a>], name: &str) -> Option<Value<'a>> {
    members.iter().find(|member| member.name == name).map(|member| member.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::json::Document;
    use crate::schema::NAME;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn recorded(text: &str) -> Result<Recorded, String> {
        let document = Document::parse("report.json", text.into()).map_err(|error| error.to_string())?;
        read(document.root()).map_err(|error| error.to_string())
    }

    fn report(images: &str) -> Result<Recorded, String> {
        recorded(&format!("{{\"schema\": {NAME:?}, \"other\": [1], \"images\": [\n{images}]}}"))
    }

    #[test]
    fn what_an_earlier_run_left_is_read_and_all_else_passed_over() {
        let recorded = report(&format!(
            r#"{{"source": "s.io/a:1", "destination": "d.io/a:1", "destinationDigest": "{EMPTY}", "x": {{}},
                 "result": "copied"}},
               {{"source": "s.io/a@{EMPTY}", "destination": "d.io/a:2", "destinationDigest": null, "result": "failed"}},
               {{"source": "s.io/a:3", "destination": "d.io/a:3", "destinationDigest": "{EMPTY}", "result": "failed"}},
               {{"source": "s.io/a:4", "destination": "d.io/a:4", "destinationDigest": "{EMPTY}", "result": "planned"}},
               {{"source": "s.io/a:5", "destination": "d.io/a:5", "destinationDigest": null, "result": "skipped"}}"#
        ))
        .unwrap();
        let rules: Vec<String> = recorded.rules.iter().map(Rule::to_string).collect();
        assert_eq!(rules[0], r#"report.json:2:1: "s.io/a:1" -> "d.io/a:1""#);
        assert_eq!(rules.len(), 5);
        let told = |(at, digest): (&Reference, &Option<Digest>)| {
            (at.to_string(), digest.as_ref().map(ToString::to_string).unwrap_or_default())
        };
        let mut digests: Vec<_> = recorded.digests.iter().map(told).collect();
        digests.sort();
        let expected = [("d.io/a:1".to_owned(), EMPTY.to_owned()), ("d.io/a:5".to_owned(), String::new())];
        assert_eq!(digests, expected, "what failed may have had any other");
        assert!(recorded.not_generated.is_empty() && recorded.shards.is_empty());
    }

    #[test]
    fn a_host_needs_no_dot_since_a_report_always_has_one() {
        let text = r#"{"source": "registry/a/b:1", "destination": "mirror/b:1", "result": "failed"}"#;
        let rules = report(text).unwrap().rules;
        let images = &rules[0].images;
        assert_eq!([&images.source, &images.destination].map(ToString::to_string), ["registry/a/b", "mirror/b"]);
    }

    #[test]
    fn what_the_report_does_not_cover_is_known() {
        let recorded = recorded(&format!(
            "{{\"schema\": {NAME:?}, \"shards\": [\"0/2\"], \"images\": [], \"rules\": [\n{}]}}",
            r#"{"place": "i:1:1", "source": "s.io/a", "destination": "", "invalid": false, "reason": "gone"}"#
        ))
        .unwrap();
        assert_eq!(recorded.shards, ["0/2"]);
        let rules: Vec<String> = recorded.not_generated.iter().map(InvalidRule::to_string).collect();
        assert!(
            rules[0].starts_with(r#"report.json:2:1: "s.io/a" -> "": its tasks could not be generated"#),
            "{rules:?}"
        );
    }

    #[test]
    fn what_is_no_report_is_told_with_its_place() {
        for (text, error) in [
            ("[]", "1:1: found an array, expected a report of image-migrator, which is an object"),
            ("{\n}", "1:1: found an object, expected a report of image-migrator, with \"schema\" and \"images\""),
            (
                r#"{"schema": "other/v1"}"#,
                "1:12: found a report of schema \"other/v1\", expected \"image-migrator/report/v1\"",
            ),
            (r#"{"schema": 1}"#, "1:12: found a number, expected the \"schema\" of a report, which is a string"),
        ] {
            assert_eq!(recorded(text).unwrap_err(), format!("report.json:{error}"));
        }
        for (image, error) in [
            (r#"{"source": "s.io/a:1"}"#, "2:1: found an object, expected an image with a \"destination\""),
            (r#"{"source": 1}"#, "2:12: found a number, expected a reference, which is a string"),
            (r#"{"source": "s.io/a"}"#, "2:12: \"s.io/a\" names no single image: "),
            (r#"{"source": "a:1"}"#, "2:12: \"a\" names no repository: "),
            (
                r#"{"source": "s.io/a:1", "destination": "d.io/a:1", "destinationDigest": "sha256:1", "result": "copied"}"#,
                "2:72: invalid digest",
            ),
        ] {
            let found = report(image).unwrap_err();
            assert!(found.starts_with(&format!("report.json:{error}")), "{found}");
        }
    }
}
