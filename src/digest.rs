//! Content digests: the names of blobs and manifests, and the hasher that proves them.
//!
//! Grammar: OCI image-spec `descriptor.md`, "Digests". Only algorithms that can be computed here are
//! accepted, since nothing may be copied that cannot be verified.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256, Sha512};

/// The digest of some content: `sha256:<64 hex>` or `sha512:<128 hex>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Value);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Value {
    Sha256([u8; 32]),
    // Boxed, so that the common digest stays small: a plan holds one for every blob.
    Sha512(Box<[u8; 64]>),
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDigest {
    #[error("invalid digest {0:?}: expected {form} lower-case hexadecimal digits", form = form(.0))]
    Malformed(String),
    #[error("digest algorithm {0:?} is not supported (sha256 and sha512 are), so its content could not be verified")]
    Algorithm(String),
}

/// What a digest has before its digits, and how many: by the algorithm that is meant.
fn form(text: &str) -> &'static str {
    if text.starts_with("sha512:") { "sha512: and 128" } else { "sha256: and 64" }
}

impl Digest {
    /// The SHA-256 digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(Value::Sha256(Sha256::digest(content).into()))
    }

    /// The digest of `content` by the same algorithm as this digest.
    pub fn same_algorithm_of(&self, content: &[u8]) -> Self {
        let mut hasher = Hasher::like(self);
        hasher.update(content);
        hasher.finish()
    }

    /// What SHA-256 gave, if that is the algorithm.
    pub fn sha256(&self) -> Option<&[u8; 32]> {
        match &self.0 {
            Value::Sha256(bytes) => Some(bytes),
            Value::Sha512(_) => None,
        }
    }

    /// Whether `other` is by the same algorithm, so that the two can be compared.
    pub fn is_comparable(&self, other: &Self) -> bool {
        self.parts().0 == other.parts().0
    }

    /// Its digits, without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.parts().1)
    }

    /// The name of the algorithm, and what it gave.
    pub fn parts(&self) -> (&'static str, &[u8]) {
        match &self.0 {
            Value::Sha256(bytes) => ("sha256", bytes.as_slice()),
            Value::Sha512(bytes) => ("sha512", bytes.as_slice()),
        }
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let malformed = || InvalidDigest::Malformed(text.to_owned());
        let (algorithm, encoded) = text.split_once(':').ok_or_else(malformed)?;
        // The hex crate takes upper case; the grammar does not.
        if encoded.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(malformed());
        }
        match algorithm {
            "sha256" => {
                let mut bytes = [0; 32];
                hex::decode_to_slice(encoded, &mut bytes).map_err(|_| malformed())?;
                Ok(Self(Value::Sha256(bytes)))
            }
            "sha512" => {
                let mut bytes = Box::new([0; 64]);
                hex::decode_to_slice(encoded, bytes.as_mut_slice()).map_err(|_| malformed())?;
                Ok(Self(Value::Sha512(bytes)))
            }
            other if is_algorithm(other) && !encoded.is_empty() => Err(InvalidDigest::Algorithm(other.to_owned())),
            _ => Err(malformed()),
        }
    }
}

fn is_algorithm(text: &str) -> bool {
    text.split(['+', '.', '_', '-'])
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.parts().0, self.hex())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes a digest over bytes as they pass.
pub struct Hasher(State);

enum State {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// A hasher of the algorithm with which `digest` was made.
    pub fn like(digest: &Digest) -> Self {
        Self(match digest.0 {
            Value::Sha256(_) => State::Sha256(Sha256::new()),
            Value::Sha512(_) => State::Sha512(Box::default()),
        })
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    pub fn finish(self) -> Digest {
        Digest(match self.0 {
            State::Sha256(state) => Value::Sha256(state.finalize().into()),
            State::Sha512(state) => Value::Sha512(Box::new(state.finalize().into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn text_survives_a_round_trip() {
        assert_eq!(EMPTY.parse::<Digest>().unwrap().to_string(), EMPTY);
        let long = format!("sha512:{}", "0a".repeat(64));
        assert_eq!(long.parse::<Digest>().unwrap().to_string(), long);
    }

    #[test]
    fn hashing_in_parts_equals_hashing_at_once() {
        let whole = Digest::of(b"hello world");
        let mut hasher = Hasher::like(&whole);
        hasher.update(b"hello ");
        hasher.update(b"world");
        assert_eq!(hasher.finish(), whole);
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let upper = EMPTY.to_uppercase().replace("SHA", "sha");
        for text in ["", "sha256", "sha256:", "sha256:abc", "sha256:../../etc", ":ab", "SHA256:ab", &upper] {
            assert!(matches!(text.parse::<Digest>(), Err(InvalidDigest::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn an_algorithm_that_cannot_be_verified_is_named() {
        let error = "blake3:00".parse::<Digest>().unwrap_err();
        assert_eq!(error, InvalidDigest::Algorithm("blake3".into()));
    }

    #[test]
    fn what_is_expected_is_that_of_the_algorithm() {
        let told = |text: &str| text.parse::<Digest>().unwrap_err().to_string();
        let expected = "expected sha512: and 128 lower-case hexadecimal digits";
        assert_eq!(told("sha512:12"), format!("invalid digest \"sha512:12\": {expected}"));
        assert!(told("12").ends_with(": expected sha256: and 64 lower-case hexadecimal digits"));
    }

    #[test]
    fn a_digest_is_small() {
        assert!(size_of::<Digest>() <= 40);
    }
}
