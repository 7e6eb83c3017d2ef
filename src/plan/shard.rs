//! One machine's part of the work: source repositories, dealt in turn.
//!
//! Every machine expands its own rules and all that may clash, so that each sees every clash, and keeps the images of its
//! own repositories. These are taken from the rules and not from what registries answer, so that all machines agree
//! without a word between them. A repository is never split: its images share blobs.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::str::FromStr;

use crate::config::Rule;
use crate::reference::Repository;

/// `INDEX/COUNT`: the machine with this index, counted from zero, of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u16,
    count: u16,
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

impl Shard {
    pub fn index(self) -> u16 {
        self.index
    }

    pub fn count(self) -> u16 {
        self.count
    }

    /// Whether this is the shard that answers for what belongs to no repository: rules that cannot be used.
    pub fn is_first(self) -> bool {
        self.index == 0
    }

    /// The source repositories of `rules` that are this shard's.
    pub(super) fn repositories(self, rules: &[Rule]) -> HashSet<Repository> {
        let sorted: BTreeSet<&Repository> = rules.iter().map(|rule| &rule.images.source).collect();
        let own = sorted.into_iter().zip((0..self.count).cycle()).filter(|(_, turn)| *turn == self.index);
        own.map(|(repository, _)| repository.clone()).collect()
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
}
