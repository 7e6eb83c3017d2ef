//! The report of an earlier migration, read for what became of its images.
//!
//! Only what is needed is read: `{"schema": "image-migrator/report/v1", "shards": ["0/2"], "rules": [{"source",
//! "destination"}], "images": [{"source", "destination", "sourceDigest", "destinationDigest", "result"}]}`; whatever else
//! stands there is passed over.

use std::collections::HashMap;

use super::json::{JsonError, Kind, Member, Value};
use super::place::{At, Place};
use super::rule::{Images, InvalidReason, InvalidRule, Pair, Rule, Which};
use crate::digest::{Digest, InvalidDigest};
use crate::reference::{InvalidReference, Reference};
use crate::schema::{self, OtherSchema, Outcome};

/// What a report says of its images.
#[derive(Debug)]
pub struct Recorded {
    /// In the order of the report.
    pub images: Vec<RecordedImage>,
    /// The rules of which some or all images are not among these.
    pub not_generated: Vec<InvalidRule>,
    /// The shards that the report covers, such as `0/2`; empty if it covers everything.
    pub shards: Vec<String>,
}

/// What became of one image.
#[derive(Debug)]
pub struct RecordedImage {
    place: Place,
    pub source: Reference,
    pub destination: Reference,
    pub source_digest: Option<Digest>,
    pub destination_digest: Option<Digest>,
    /// As the report calls it; a later version may know others.
    pub result: String,
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
    let elements = |name, expected| field(&members, name).map_or(Ok(Vec::new()), |list| list.elements(expected));
    let shards = elements("shards", "an array of shards")?;
    let rules = elements("rules", "an array of rules")?;
    let images = images.elements("an array of images")?;
    Ok(Recorded {
        images: images.into_iter().map(RecordedImage::read).collect::<Result<_, _>>()?,
        not_generated: rules.into_iter().map(not_generated).collect::<Result<_, _>>()?,
        shards: shards.iter().map(|shard| shard.string("a shard, which is a string")).collect::<Result<_, _>>()?,
    })
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
    /// The digest that each destination should have. `None` for a skipped image: nothing should be there. An image that
    /// failed or was only planned is missing.
    pub fn digests(&self) -> HashMap<Reference, Option<Digest>> {
        let expected = |image: &RecordedImage| match image.outcome()? {
            Outcome::Skipped => Some(None),
            // Of what failed it is what happened to be there.
            outcome => Some(Some(image.destination_digest.clone().filter(|_| outcome.is_there())?)),
        };
        self.images.iter().filter_map(|image| Some((image.destination.clone(), expected(image)?))).collect()
    }
}

impl RecordedImage {
    fn read(image: Value) -> Result<Self, RecordedError> {
        let members = image.members("an image, which is an object")?;
        let required = |name, expected| field(&members, name).ok_or_else(|| image.mismatch(expected, None));
        let reference = |name, expected| -> Result<Reference, RecordedError> {
            let value = required(name, expected)?;
            let text = value.string("a reference, which is a string")?;
            Ok(text.parse().map_err(|error| value.place().at(error))?)
        };
        let digest = |name| -> Result<Option<Digest>, RecordedError> {
            let Some(value) = field(&members, name).filter(|value| value.kind() != Kind::Null) else { return Ok(None) };
            Ok(Some(value.string("a digest or null")?.parse().map_err(|error| value.place().at(error))?))
        };
        Ok(Self {
            place: image.place(),
            source: reference("source", "an image with a \"source\"")?,
            destination: reference("destination", "an image with a \"destination\"")?,
            source_digest: digest("sourceDigest")?,
            destination_digest: digest("destinationDigest")?,
            result: required("result", "an image with a \"result\"")?.string("a result, which is a string")?,
        })
    }

    fn outcome(&self) -> Option<Outcome> {
        Outcome::named(&self.result)
    }

    /// Whether it is at its destination.
    pub fn is_there(&self) -> bool {
        self.outcome().is_some_and(Outcome::is_there)
    }

    /// The rule that means this image alone.
    pub fn rule(&self) -> Rule {
        let Self { place, source, destination, .. } = self;
        let pair = Pair { source: source.identifier.clone(), destination: destination.identifier.clone() };
        Rule {
            place: place.clone(),
            source: source.to_string(),
            destination: destination.to_string(),
            images: Images {
                source: source.repository.clone(),
                destination: destination.repository.clone(),
                which: Which::Fixed(vec![pair]),
            },
        }
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
        assert_eq!(recorded.images[0].rule().to_string(), r#"report.json:2:1: "s.io/a:1" -> "d.io/a:1""#);
        assert_eq!(recorded.images.len(), 5);
        let told = |(at, digest): (&Reference, &Option<Digest>)| {
            (at.to_string(), digest.as_ref().map(ToString::to_string).unwrap_or_default())
        };
        let digests = recorded.digests();
        let mut digests: Vec<_> = digests.iter().map(told).collect();
        digests.sort();
        let expected = [("d.io/a:1".to_owned(), EMPTY.to_owned()), ("d.io/a:5".to_owned(), String::new())];
        assert_eq!(digests, expected, "what failed may have had any other");
        assert!(recorded.not_generated.is_empty() && recorded.shards.is_empty());
    }

    #[test]
    fn a_host_needs_no_dot_since_a_report_always_has_one() {
        let text = r#"{"source": "registry/a/b:1", "destination": "mirror/b:1", "result": "failed"}"#;
        let image = &report(text).unwrap().images[0];
        assert_eq!([&image.source, &image.destination].map(ToString::to_string), ["registry/a/b:1", "mirror/b:1"]);
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
            (
                r#"{"source": "s.io/a:1", "destination": "d.io/a:1"}"#,
                "2:1: found an object, expected an image with a \"result\"",
            ),
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
