//! What credential helpers print.

use std::os::unix::process::ExitStatusExt as _;

use secrecy::ExposeSecret as _;

use super::*;
use crate::fuzz::assert_one_line;

/// With what each secret of an input begins. Nothing else in it does.
const SECRET: &str = "s3cret";

pub fn helper(data: &[u8]) {
    let answer = |code: i32| read(ExitStatus::from_raw(code << 8), data);
    match answer(0) {
        Ok(credential) => assert_is_printed(data, credential.as_ref()),
        Err(reason) => assert_said(&reason, true),
    }
    match answer(1) {
        Ok(credential) => assert_eq!(credential, None),
        Err(reason) => assert_said(&reason, String::from_utf8_lossy(data).contains("\"Secret\"")),
    }
}

/// Asserts that what is taken of an answer is what another reader finds in it, and no empty secret.
fn assert_is_printed(data: &[u8], credential: Option<&Credential>) {
    // It refuses also what nobody wants to know.
    let Ok(printed) = serde_json::from_slice::<serde_json::Value>(data) else { return };
    if printed.is_array() {
        // Both in their order, which no helper prints.
        return;
    }
    let text = |name| printed[name].as_str().expect("text");
    let (username, secret) = (text("Username"), text("Secret"));
    match credential {
        None => assert!(secret.is_empty() && ["", IDENTITY_TOKEN].contains(&username)),
        Some(Credential::Password { username: name, password }) => {
            assert_eq!((name.as_str(), password.expose_secret()), (username, secret));
            assert!(!username.is_empty() || !secret.is_empty());
        }
        Some(Credential::IdentityToken(token)) => {
            assert_eq!((IDENTITY_TOKEN, token.expose_secret()), (username, secret));
            assert!(!secret.is_empty());
        }
        Some(Credential::RegistryToken(_)) => panic!("no helper has one"),
    }
}

#[track_caller]
fn assert_said(reason: &str, has_secrets: bool) {
    assert_one_line(reason);
    assert!(reason.len() < 1_300, "{} bytes", reason.len());
    assert!(!has_secrets || !reason.contains(SECRET), "{reason:?} tells a secret");
}
