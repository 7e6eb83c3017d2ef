//! What a refusal says of how a blob was sent: that another portion of it, or another way, may be taken.

use reqwest::StatusCode;

use crate::registry::error::{ErrorKind, tells_of_room};

/// Why a chunk was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Complaint {
    TooLarge,
    TooSmall,
}

/// Whether an answer says that the request was too large, or too small.
///
/// 416 is otherwise said of bytes that come out of order; GHCR says it of chunks that exceed its limit.
pub(super) fn complaint(status: StatusCode, message: &str) -> Option<Complaint> {
    const LARGE: [&str; 4] = ["too large", "exceed", "maximum", "at most"];
    const SMALL: [&str; 4] = ["too small", "toosmall", "at least", "minimum"];
    let text = message.to_ascii_lowercase();
    match status.as_u16() {
        // Some say so of what there is no room for, which no portion changes.
        _ if tells_of_room(&text) => None,
        413 => Some(Complaint::TooLarge),
        400 | 416 => {
            let says = |words: [&str; 4]| words.iter().any(|word| text.contains(word));
            match () {
                () if says(SMALL) => Some(Complaint::TooSmall),
                () if says(LARGE) => Some(Complaint::TooLarge),
                () => None,
            }
        }
        _ => None,
    }
}

/// Whether a refusal of a blob in one PUT may be of that way: some registries take bytes only by PATCH, as docker sends
/// them (container-registry 0.3 answers 500).
pub(super) fn is_of_way(refusal: &ErrorKind) -> bool {
    let ErrorKind::Status { status, message, .. } = refusal else { return false };
    // What is told of its storage is about that.
    let words = message.split(": {").next().unwrap_or_default();
    let text = words.to_ascii_lowercase();
    let says_so = || ["unsupported", "not supported", "not implemented"].iter().any(|words| text.contains(words));
    match status.as_u16() {
        405 | 501 => true,
        400 | 415 | 500 => says_so(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_its_size_is_told_from_others() {
        let judge = |status: u16, message: &str| complaint(StatusCode::from_u16(status).unwrap(), message);
        assert_eq!(judge(413, ""), Some(Complaint::TooLarge));
        assert_eq!(judge(416, "exceeds maximum permissible limit of 4.00MiB"), Some(Complaint::TooLarge));
        assert_eq!(judge(416, "RANGE_INVALID: invalid content range"), None);
        let of_ecr = "InvalidLayerPart: Layer parts must be at least 5242880 bytes";
        assert_eq!(judge(400, of_ecr), Some(Complaint::TooSmall));
        assert_eq!((judge(403, "quota exceeded"), judge(413, "Quota exceeded")), (None, None));
        assert_eq!(judge(413, "storage limit reached"), None);
        assert_eq!(judge(400, "LimitExceededException: the storage would exceed its maximum"), None);
    }

    #[test]
    fn a_refusal_of_the_way_is_told_from_others() {
        let judge = |status: u16, message: &str| {
            let (status, message) = (StatusCode::from_u16(status).unwrap(), message.to_owned());
            is_of_way(&ErrorKind::Status { status, codes: Vec::new(), message, retry_after: None })
        };
        assert!(judge(405, "") && judge(501, "") && judge(415, "UNSUPPORTED: the operation is unsupported"));
        assert!(judge(500, "feature not supported: missing content length not implemented"));
        assert!(!judge(
            500,
            r#"UNKNOWN: unknown error: {"DriverName":"s3","Enclosed":"NotImplemented: not implemented"}"#
        ));
        assert!(!judge(500, "") && !judge(400, "DIGEST_INVALID") && !judge(503, "not implemented"));
    }
}
