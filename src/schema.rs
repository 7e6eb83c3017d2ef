//! The words that reports are written with: the program writes reports, and several of its commands read them again.

use std::fmt;
use std::str::FromStr;

use serde::de::value::{Error, StrDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The name and version of the schema of reports.
pub const NAME: &str = "image-migrator/report/v1";

/// A report of another version, or of something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found a report of schema {0:?}, expected {NAME:?}")]
pub struct OtherSchema(String);

/// Refuses reports that are not of this schema.
pub fn check(name: &str) -> Result<(), OtherSchema> {
    if name == NAME { Ok(()) } else { Err(OtherSchema(name.to_owned())) }
}

/// How the task of an image ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The destination was written.
    Copied,
    /// The destination would be written: what a dry run says. Its counts are of what would be moved and mounted.
    Planned,
    /// The destination had the same digest already.
    UpToDate,
    /// Nothing of it was wanted.
    Skipped,
    Failed,
    /// The run was interrupted before it was done.
    Cancelled,
}

impl Outcome {
    /// The outcome that a report writes so.
    pub fn named(word: &str) -> Option<Self> {
        Self::deserialize(StrDeserializer::<Error>::new(word)).ok()
    }

    /// Whether the image is at its destination.
    pub fn is_there(self) -> bool {
        matches!(self, Self::Copied | Self::UpToDate)
    }

    /// Whether the image is not where it should be.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled)
    }
}

/// As in reports.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// `INDEX/COUNT`: one of the parts into which work is divided, counted from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    pub count: u16,
    pub index: u16,
}

/// Why a text is no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a shard is INDEX/COUNT, with INDEX from 0 to COUNT - 1, such as 0/4; found {0:?}")]
pub struct InvalidShard(String);

impl FromStr for Shard {
    type Err = InvalidShard;

    fn from_str(text: &str) -> Result<Self, InvalidShard> {
        let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let read = || {
            let (index, count) = text.split_once('/')?;
            Some(Self { index: number(index)?, count: number(count)? }).filter(|shard| shard.index < shard.count)
        };
        read().ok_or_else(|| InvalidShard(text.to_owned()))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl Serialize for Shard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Shard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_of_so_many() {
        assert_eq!("3/8".parse(), Ok(Shard { index: 3, count: 8 }));
        assert_eq!("3/8".parse::<Shard>().unwrap().to_string(), "3/8");
        for wrong in ["", "1", "8/8", "0/0", "-1/2", "+1/2", "1/2/3", "a/b", " 1/2", "1/99999999999"] {
            let error = wrong.parse::<Shard>().unwrap_err();
            assert!(error.to_string().contains("0/4"), "{error}");
        }
    }

    #[test]
    fn an_outcome_is_known_by_the_word_that_is_written_for_it() {
        use Outcome::{Cancelled, Copied, Failed, Planned, Skipped, UpToDate};
        for outcome in [Copied, Planned, UpToDate, Skipped, Failed, Cancelled] {
            assert_eq!(Outcome::named(&outcome.to_string()), Some(outcome));
        }
        assert_eq!(Outcome::named("Copied"), None);
    }
}
