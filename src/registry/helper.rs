//! Docker's credential helpers: programs named `docker-credential-…` that keep or fetch credentials.
//!
//! The name of the server goes to standard input as it is; JSON comes on standard output, and so does the message of
//! a failure (docker-credential-helpers, README).

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::credentials::{Credential, NO_USERNAME, is_username};
use crate::foreign::one_line;

/// A helper may wait for a person who is not there.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Most bytes that are read of what a helper prints. No real one prints as many.
const LONGEST: u64 = 1 << 20;
/// The user name with which a helper says that its secret is an identity token.
const IDENTITY_TOKEN: &str = "<token>";

/// A helper, and what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    /// What stands behind `docker-credential-`.
    name: String,
    server: String,
}

/// Why a helper gave no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    NotInstalled,
    /// With what it did instead.
    Failed(String),
}

impl Helper {
    /// `None` if no program can have this name.
    pub fn new(name: &str, server: String) -> Option<Self> {
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
        is_name.then(|| Self { name: name.to_owned(), server })
    }

    pub fn program(&self) -> String {
        format!("docker-credential-{}", self.name)
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    /// What the helper has for the server, if it has anything.
    pub(super) async fn get(&self) -> Result<Option<Credential>, Unanswered> {
        let failed = |what: String| Unanswered::Failed(format!("{} {what}", self.program()));
        match tokio::time::timeout(TIME_LIMIT, self.run()).await {
            Ok(Ok((status, printed))) => read(status, &printed).map_err(failed),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Err(Unanswered::NotInstalled),
            Ok(Err(error)) => Err(failed(format!("cannot be run: {error}"))),
            Err(_) => Err(failed(format!("gave no answer for {}", humantime::format_duration(TIME_LIMIT)))),
        }
    }

    /// How it ended, and what it printed.
    async fn run(&self) -> std::io::Result<(ExitStatus, Vec<u8>)> {
        let mut process = tokio::process::Command::new(self.program());
        // What it says to people may hold what it knows, as that of a script with `set -x` does; what matters comes on
        // standard output.
        process.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = process.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read its input knows the server from elsewhere.
            let _ = stdin.write_all(self.server.as_bytes()).await;
        }
        let mut printed = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(LONGEST).read_to_end(&mut printed).await?;
        }
        Ok((child.wait().await?, printed))
    }
}

fn read(status: ExitStatus, printed: &[u8]) -> Result<Option<Credential>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    if printed.len() as u64 >= LONGEST {
        return Err("printed far more than credentials".to_owned());
    }
    if !status.success() {
        let text = String::from_utf8_lossy(printed);
        let holds_secret = text.to_ascii_lowercase().contains("\"secret\"");
        let message = one_line(&text);
        return match message.to_ascii_lowercase() {
            lower if lower.contains("credentials not found") => Ok(None),
            lower if lower.is_empty() => Err(format!("failed ({status}) and did not say why on its output")),
            // It may have failed behind them.
            lower if lower.starts_with(['{', '[', '"']) || holds_secret || !lower.contains(' ') => {
                Err(format!("failed ({status}), and what it printed may hold credentials: it is not shown"))
            }
            _ => Err(format!("failed: {message}")),
        };
    }
    // What came may be a secret: it is not shown.
    let Answer { username, secret } = serde_json::from_slice(printed)
        .map_err(|_| "printed something else than the JSON object that holds credentials".to_owned())?;
    if !is_username(&username) {
        return Err(format!("gave {NO_USERNAME}"));
    }
    Ok(match username.as_str() {
        IDENTITY_TOKEN if secret.is_empty() => None,
        IDENTITY_TOKEN => Some(Credential::IdentityToken(secret.into())),
        _ => Credential::password(username, secret.into()),
    })
}

#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/targets/helper.rs"]
pub(super) mod fuzz;

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn answer(code: i32, printed: &str) -> Result<Option<Credential>, String> {
        read(ExitStatus::from_raw(code << 8), printed.as_bytes())
    }

    #[test]
    fn what_a_helper_prints_is_credentials_or_a_reason() {
        let password = answer(0, r#"{"ServerURL": "r", "Username": "u", "Secret": "p"}"#).unwrap().unwrap();
        assert_eq!(password, Credential::Password { username: "u".into(), password: "p".into() });
        let identity = answer(0, r#"{"Username": "<token>", "Secret": "p"}"#).unwrap().unwrap();
        assert_eq!(identity, Credential::IdentityToken("p".into()));
        assert_eq!(answer(0, r#"{"ServerURL": "r", "Username": "", "Secret": ""}"#), Ok(None));
        assert_eq!(answer(0, r#"{"Username": "<token>", "Secret": ""}"#), Ok(None), "which no server takes");
        assert_eq!(answer(1, "credentials not found in native keychain\n"), Ok(None));
        assert_eq!(answer(1, "the keyring\nis locked"), Err("failed: the keyring is locked".into()));
        assert_eq!(answer(3, ""), Err("failed (exit status: 3) and did not say why on its output".into()));
        for colon in ["u:s3cret", ":"] {
            let reason = answer(0, &format!(r#"{{"Username": "{colon}", "Secret": "s3cret"}}"#)).unwrap_err();
            assert_eq!(reason, "gave a username with a colon, which no registry can be told");
        }
        for odd in ["", "s3cret", r#"{"Username": 1, "Secret": "s3cret"}"#, r#"["s3cret"]"#] {
            let Err(reason) = answer(0, odd) else { panic!("{odd}") };
            assert!(!reason.contains("s3cret"), "{reason}");
        }
    }

    #[test]
    fn credentials_of_a_helper_that_fails_behind_them_are_not_shown() {
        for printed in [
            r#"{"Username": "u", "Secret": "s3cret"}"#,
            "{\"Username\": \"u\", \"Secret\"\n: \"s3cr",
            r#"{"username":"u","secret":"s3cret"}"#,
            r#"warning: old {"username": "u", "SECRET": "s3cret"}"#,
            " {\"token\": \"s3cret\"}\nand failed",
            "s3cret\n",
        ] {
            let reason = "failed (exit status: 1), and what it printed may hold credentials: it is not shown";
            assert_eq!(answer(1, printed), Err(reason.to_owned()));
        }
    }

    #[test]
    fn a_helper_is_no_path() {
        assert_eq!(Helper::new("ecr-login", String::new()).unwrap().program(), "docker-credential-ecr-login");
        for name in ["", "../evil", "a b", "a/b", "a;b"] {
            assert_eq!(Helper::new(name, String::new()), None);
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_is_said_so() {
        let helper = Helper::new("of-nobody", "r.example.com".to_owned()).unwrap();
        assert_eq!(helper.get().await, Err(Unanswered::NotInstalled));
    }
}
