//! What a report says became of the images: which are at their destination, and with which digest.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::digest::Digest;
use crate::reference::{Identifier, Reference, Repository};
use crate::schema::{self, OtherSchema};

/// The images of a report, by source.
#[derive(Debug, Default)]
pub struct Outcomes {
    by_source: HashMap<Repository, BTreeMap<Identifier, Vec<Outcome>>>,
}

/// What became of one image.
#[derive(Debug)]
pub struct Outcome {
    pub source: Reference,
    pub destination: Reference,
    pub source_digest: Option<Digest>,
    pub destination_digest: Option<Digest>,
    pub result: String,
}

/// Why a text is no report.
#[derive(Debug, thiserror::Error)]
pub enum InvalidReport {
    #[error("expected the JSON that --report wrote")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Schema(#[from] OtherSchema),
    #[error("{0:?} is no image; expected the JSON that --report wrote")]
    Name(String),
}

#[derive(Deserialize)]
struct Report {
    schema: String,
    images: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    source: String,
    destination: String,
    #[serde(default)]
    source_digest: Option<String>,
    #[serde(default)]
    destination_digest: Option<String>,
    result: String,
}

impl Outcome {
    /// Whether the image is at its destination.
    pub fn is_there(&self) -> bool {
        schema::Outcome::named(&self.result).is_some_and(schema::Outcome::is_there)
    }
}

impl Outcomes {
    pub fn parse(json: &[u8]) -> Result<Self, InvalidReport> {
        let report: Report = serde_json::from_slice(json)?;
        schema::check(&report.schema)?;
        let mut outcomes = Self::default();
        for line in report.images {
            let reference = |text: String| text.parse().map_err(|_| InvalidReport::Name(text));
            let digest = |text: Option<String>| {
                let text = text.filter(|text| !text.is_empty());
                text.map(|text| text.parse().map_err(|_| InvalidReport::Name(text))).transpose()
            };
            let outcome = Outcome {
                source: reference(line.source)?,
                destination: reference(line.destination)?,
                source_digest: digest(line.source_digest)?,
                destination_digest: digest(line.destination_digest)?,
                result: line.result,
            };
            let of_repository = outcomes.by_source.entry(outcome.source.repository.clone()).or_default();
            of_repository.entry(outcome.source.identifier.clone()).or_default().push(outcome);
        }
        Ok(outcomes)
    }

    /// All images that came from a repository.
    pub fn from(&self, source: &Repository) -> impl Iterator<Item = &Outcome> {
        self.by_source.get(source).into_iter().flat_map(BTreeMap::values).flatten()
    }

    /// What became of one image at one place. The shards of a run may each have an opinion: the good one counts.
    pub fn of(&self, source: &Reference, destination: &Reference) -> Option<&Outcome> {
        let of_source = self.by_source.get(&source.repository).and_then(|images| images.get(&source.identifier));
        let outcomes = || of_source.into_iter().flatten().filter(|outcome| outcome.destination == *destination);
        outcomes().find(|outcome| outcome.is_there()).or_else(|| outcomes().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::NAME;

    #[test]
    fn unknown_fields_are_tolerated_and_what_is_no_report_is_refused() {
        let digest = Digest::of(b"");
        let json = format!(
            r#"{{"schema": "{NAME}", "more": [], "images": [{{"source": "registry/a:1", "destination": "d.io/a@{digest}",
                "destinationDigest": "{digest}", "sourceDigest": null, "result": "copied", "bytes": 1}}]}}"#
        );
        let outcomes = Outcomes::parse(json.as_bytes()).unwrap();
        let source: Repository = "registry/a".parse().unwrap();
        let outcome = outcomes.from(&source).next().unwrap();
        assert_eq!(outcome.source, source.tagged("1".parse().unwrap()));
        assert_eq!((&outcome.source_digest, outcome.destination_digest.as_ref()), (&None, Some(&digest)));
        for text in ["{}", "[]", "", &json.replace("report/v1", "report/v2"), &json.replace("registry/a:1", "a")] {
            assert!(Outcomes::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_once() {
        let error = anyhow::Error::from(Outcomes::parse(b"{}").unwrap_err());
        let told = format!("{error:#}");
        assert!(told.starts_with("expected the JSON that --report wrote: missing field"), "{told}");
        assert_eq!(told.matches("missing field").count(), 1, "{told}");
    }
}
