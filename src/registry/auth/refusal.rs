//! What a token server's refusal is of: who asks, what for, or what is shown.

use reqwest::StatusCode;

use crate::registry::error::ErrorKind;
use crate::registry::http::Answer;

/// Whether a token server refuses who asks. Some say it with 400, in the words of a registry.
pub(super) fn is_refusal(answer: &Answer) -> bool {
    let says_so = || matches!(answer.refusal(), ErrorKind::Status { codes, .. } if codes.iter().any(|code| code == "UNAUTHORIZED"));
    answer.status == StatusCode::UNAUTHORIZED || answer.status == StatusCode::BAD_REQUEST && says_so()
}

/// Whether a token server, and nothing before it, refuses with 403: a scope, as GitLab does, or a password, as GHCR does.
pub(super) fn is_denial(answer: &Answer) -> bool {
    answer.status == StatusCode::FORBIDDEN && answer.refusal().names_a_code()
}

/// Whether a token server says of an identity token that it is worth nothing (RFC 6749, section 5.2).
pub(super) fn is_invalid_grant(answer: &Answer) -> bool {
    let body: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    answer.status == StatusCode::BAD_REQUEST && body.is_some_and(|body| body["error"] == "invalid_grant")
}
