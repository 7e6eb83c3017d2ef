//! Plugins that give credentials (client.authentication.k8s.io): run once, before the first request.
//!
//! kube would run the plugin again for each part of the client it builds, and show what it printed when it fails;
//! a plugin may ask a person, and what it prints is secret.

use std::io::{self, IsTerminal as _};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, Cluster, ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::AccessError;
use crate::foreign::one_line;

/// Longest for a plugin that asks nobody: it may ask a cloud.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// Most bytes that are read of what it prints. No real one prints as many.
const LONGEST: u64 = 1 << 20;

/// What a plugin prints.
#[derive(Deserialize)]
struct Answer {
    status: Option<Given>,
}

/// The credentials in it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Given {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

impl Given {
    pub fn put_into(self, user: &mut AuthInfo) {
        user.token = self.token.filter(|token| !token.is_empty()).map(Into::into);
        if let (Some(certificate), Some(key)) = (self.client_certificate_data, self.client_key_data) {
            user.client_certificate_data = Some(STANDARD.encode(certificate));
            user.client_key_data = Some(STANDARD.encode(key).into());
        }
    }
}

/// Runs the plugin of `user` and reads what it prints.
pub async fn run(plugin: &ExecConfig, cluster: &Cluster, user: &str) -> Result<Given, AccessError> {
    let command = plugin.command.clone().unwrap_or_default();
    let failed = |reason: String| AccessError::Plugin { user: user.to_owned(), command: command.clone(), reason };
    if command.is_empty() {
        return Err(failed("which is no command".to_owned()));
    }
    let interactive = match plugin.interactive_mode {
        Some(ExecInteractiveMode::Never) => false,
        Some(ExecInteractiveMode::Always) if !std::io::stdin().is_terminal() => {
            return Err(failed("which asks for input, but standard input is no terminal".to_owned()));
        }
        _ => std::io::stdin().is_terminal(),
    };
    let info = info(plugin, cluster, interactive).map_err(failed)?;
    let mut process = Command::new(&command);
    process.args(plugin.args.iter().flatten()).env("KUBERNETES_EXEC_INFO", info);
    let variables = plugin.env.iter().flatten();
    process.envs(variables.filter_map(|variable| Some((variable.get("name")?, variable.get("value")?))));
    process.stdin(if interactive { Stdio::inherit() } else { Stdio::null() });
    // What it says to people goes to people.
    process.stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    let limit = if interactive { Duration::MAX } else { TIME_LIMIT };
    let ended = tokio::time::timeout(limit, output(process)).await;
    let ended = ended.map_err(|_| failed(format!("which gave no answer for {} s", limit.as_secs())))?;
    let (status, printed) = ended.map_err(|error| {
        let hint = plugin.install_hint.as_deref().map(|hint| format!("; {}", one_line(hint))).unwrap_or_default();
        failed(format!("which cannot be run: {error}{hint}"))
    })?;
    if printed.len() as u64 >= LONGEST {
        return Err(failed("which printed far more than credentials".to_owned()));
    }
    if !status.success() {
        return Err(failed(format!("which failed ({status})")));
    }
    let answer: Answer =
        serde_json::from_slice(&printed).map_err(|_| failed("whose output is no ExecCredential in JSON".to_owned()))?;
    let given = answer.status.filter(|given| {
        given.token.is_some() || given.client_certificate_data.is_some() && given.client_key_data.is_some()
    });
    given.ok_or_else(|| failed("whose output holds neither a token nor a certificate with its key".to_owned()))
}

/// How it ended, and what it printed. One that prints more than is read has nowhere to print it to.
async fn output(mut process: Command) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut child = process.spawn()?;
    let mut printed = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LONGEST).read_to_end(&mut printed).await?;
    }
    if printed.len() as u64 >= LONGEST {
        child.start_kill()?;
    }
    Ok((child.wait().await?, printed))
}

/// What the plugin is told, as `KUBERNETES_EXEC_INFO`.
fn info(plugin: &ExecConfig, cluster: &Cluster, interactive: bool) -> Result<String, String> {
    let mut spec = serde_json::json!({ "interactive": interactive });
    if plugin.provide_cluster_info {
        let cluster = ExecAuthCluster::try_from(cluster)
            .map_err(|error| error.to_string())
            .and_then(|cluster| serde_json::to_value(cluster).map_err(|error| error.to_string()));
        spec["cluster"] = cluster.map_err(|error| format!("which cannot be told of the cluster: {error}"))?;
    }
    let version = plugin.api_version.as_deref().unwrap_or("client.authentication.k8s.io/v1");
    Ok(serde_json::json!({ "apiVersion": version, "kind": "ExecCredential", "spec": spec }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(script: &str, hint: &str) -> String {
        let plugin = serde_json::json!({ "command": "sh", "args": ["-c", script], "interactiveMode": "Never" });
        let mut plugin: ExecConfig = serde_json::from_value(plugin).unwrap();
        if !hint.is_empty() {
            (plugin.command, plugin.install_hint) = (Some("/no/such".to_owned()), Some(hint.to_owned()));
        }
        run(&plugin, &Cluster::default(), "u").await.err().unwrap().to_string()
    }

    #[tokio::test]
    async fn a_plugin_that_prints_without_end_is_read_no_further() {
        assert!(told("exec yes s3cret", "").await.ends_with(", which printed far more than credentials"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_plugin_that_asks_nobody_is_not_waited_for_for_ever() {
        assert!(told("exec sleep 600", "").await.ends_with(", which gave no answer for 60 s"));
    }

    #[tokio::test]
    async fn a_hint_moves_no_terminal() {
        assert!(told("", " get it\n at \x1b[31m x").await.ends_with("; get it at [31m x"));
    }
}
