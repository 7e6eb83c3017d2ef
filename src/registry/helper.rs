//! Docker's credential helpers: programs named `docker-credential-…` that keep or fetch credentials.
//!
//! The name of the server goes to standard input as it is; JSON comes on standard output, and so does the message of
//! a failure (docker-credential-helpers, README).

use std::process::{Output, Stdio};
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

use super::credentials::Credential;
use super::foreign::one_line;

/// A helper may wait for a person who is not there.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The user name with which a helper says that its secret is an identity token.
const IDENTITY_TOKEN: &str = "<token>";

/// A helper, and what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    /// What stands behind `docker-credential-`.
    name: String,
    server: String,
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

    /// What the helper has for the server, if it has anything. Fails with what it did instead of answering.
    pub(super) async fn get(&self) -> Result<Option<Credential>, String> {
        let program = self.program();
        match tokio::time::timeout(TIME_LIMIT, self.run()).await {
            Ok(Ok(output)) => read(&output).map_err(|defect| format!("{program} {defect}")),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(format!("{program} is not installed, or not in PATH"))
            }
            Ok(Err(error)) => Err(format!("{program} cannot be run: {error}")),
            Err(_) => Err(format!("{program} gave no answer for {}", humantime::format_duration(TIME_LIMIT))),
        }
    }

    async fn run(&self) -> std::io::Result<Output> {
        let mut process = tokio::process::Command::new(self.program());
        // What it says to people may hold what it knows, as that of a script with `set -x` does; what matters comes on
        // standard output.
        process.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = process.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read its input knows the server from elsewhere.
            let _ = stdin.write_all(self.server.as_bytes()).await;
        }
        child.wait_with_output().await
    }
}

fn read(output: &Output) -> Result<Option<Credential>, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    if !output.status.success() {
        let message = one_line(&String::from_utf8_lossy(&output.stdout));
        return match message.to_ascii_lowercase() {
            lower if lower.contains("credentials not found") => Ok(None),
            lower if lower.is_empty() => Err(format!("failed ({}) and did not say why on its output", output.status)),
            _ => Err(format!("failed: {message}")),
        };
    }
    // What came may be a secret: it is not shown.
    let Answer { username, secret } = serde_json::from_slice(&output.stdout)
        .map_err(|_| "printed something else than the JSON object that holds credentials".to_owned())?;
    let secret = SecretString::from(secret);
    Ok(match username.as_str() {
        IDENTITY_TOKEN => Some(Credential::IdentityToken(secret)),
        _ => Credential::password(username, secret),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn answer(code: i32, stdout: &str) -> Result<Option<Credential>, String> {
        read(&Output { status: ExitStatus::from_raw(code << 8), stdout: stdout.into(), stderr: Vec::new() })
    }

    #[test]
    fn what_a_helper_prints_is_credentials_or_a_reason() {
        let password = answer(0, r#"{"ServerURL": "r", "Username": "u", "Secret": "p"}"#).unwrap().unwrap();
        assert_eq!(password, Credential::Password { username: "u".into(), password: "p".into() });
        let identity = answer(0, r#"{"Username": "<token>", "Secret": "p"}"#).unwrap().unwrap();
        assert_eq!(identity, Credential::IdentityToken("p".into()));
        assert_eq!(answer(0, r#"{"ServerURL": "r", "Username": "", "Secret": ""}"#), Ok(None));
        assert_eq!(answer(1, "credentials not found in native keychain\n"), Ok(None));
        assert_eq!(answer(1, "the keyring\nis locked"), Err("failed: the keyring is locked".into()));
        assert_eq!(answer(3, ""), Err("failed (exit status: 3) and did not say why on its output".into()));
        for odd in ["", "s3cret", r#"{"Username": 1, "Secret": "s3cret"}"#, r#"["s3cret"]"#] {
            let Err(reason) = answer(0, odd) else { panic!("{odd}") };
            assert!(!reason.contains("s3cret"), "{reason}");
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
        let reason = helper.get().await.unwrap_err();
        assert_eq!(reason, "docker-credential-of-nobody is not installed, or not in PATH");
    }
}
