//! What a blob consists of: bytes in memory, bytes computed as they are asked for, or nothing but a size.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::digest;

/// How much of a content is handed out at a time.
pub(crate) const PIECE: u64 = 64 * 1024;

/// The bytes of a blob, or the means to make them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Kept in memory.
    Bytes(Bytes),
    /// Pseudo-random bytes that follow from the seed alone, so that a blob of any size costs no memory.
    Synthetic { seed: u64, size: u64 },
    /// Received and hashed, then thrown away.
    Forgotten { size: u64 },
}

impl Content {
    pub(crate) fn empty() -> Self {
        Content::Bytes(Bytes::new())
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Synthetic { size, .. } | Content::Forgotten { size } => *size,
        }
    }

    /// At most `max` bytes from `at` on. The caller stays inside the content.
    pub(crate) fn read(&self, at: u64, max: u64) -> Bytes {
        let end = self.len().min(at + max);
        match self {
            Content::Bytes(bytes) => bytes.slice(at as usize..end as usize),
            Content::Synthetic { seed, .. } => synthetic(*seed, at, end),
            Content::Forgotten { .. } => Bytes::new(),
        }
    }

    /// All of it, unless it was forgotten.
    pub(crate) fn whole(&self) -> Option<Bytes> {
        match self {
            Content::Bytes(bytes) => Some(bytes.clone()),
            Content::Synthetic { seed, size } => Some(synthetic(*seed, 0, *size)),
            Content::Forgotten { .. } => None,
        }
    }

    /// Its digest, computed piece by piece.
    pub(crate) fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        let mut at = 0;
        while at < self.len() {
            let piece = self.read(at, PIECE);
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
            hasher.update(&piece);
        }
        digest::finish(hasher)
    }

    /// A content of the same length that differs from this one.
    pub(crate) fn damaged(&self) -> Self {
        match self {
            Content::Bytes(bytes) => {
                let mut altered = bytes.to_vec();
                let middle = altered.len() / 2;
                if let Some(byte) = altered.get_mut(middle) {
                    *byte = !*byte;
                }
                Content::Bytes(altered.into())
            }
            Content::Synthetic { seed, size } => Content::Synthetic { seed: !seed, size: *size },
            Content::Forgotten { .. } => self.clone(),
        }
    }
}

/// The bytes `from..to` of the endless sequence that belongs to a seed.
fn synthetic(seed: u64, from: u64, to: u64) -> Bytes {
    let first_word = from / 8;
    let mut bytes = Vec::with_capacity((to - first_word * 8) as usize + 8);
    for word in first_word..to.div_ceil(8) {
        bytes.extend_from_slice(&scramble(seed, word).to_le_bytes());
    }
    Bytes::from(bytes).slice((from - first_word * 8) as usize..(to - first_word * 8) as usize)
}

/// SplitMix64 with the counter given: any word of the sequence without the ones before it.
fn scramble(seed: u64, word: u64) -> u64 {
    let mut z = seed.wrapping_mul(0xD1B5_4A32_D192_ED03) ^ word.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synthetic_bytes_are_the_same_from_any_place() {
        let content = Content::Synthetic { seed: 7, size: 1003 };
        let whole = content.whole().unwrap();
        assert_eq!(whole.len(), 1003);
        for at in [0, 1, 7, 8, 9, 500, 1002] {
            assert_eq!(content.read(at, 13), whole.slice(at as usize..1003.min(at as usize + 13)));
        }
        assert_eq!(content.digest(), crate::digest_of(&whole));
    }

    #[test]
    fn damage_keeps_the_length_and_changes_the_digest() {
        for content in [Content::Bytes("hello".into()), Content::Synthetic { seed: 1, size: 99 }] {
            assert_eq!(content.damaged().len(), content.len());
            assert_ne!(content.damaged().digest(), content.digest());
        }
    }
}
