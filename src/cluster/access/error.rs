//! Why there is no access to a cluster, told before the cluster is asked.

use std::io;

use kube::client::AuthError;

use crate::causes::innermost;
use crate::foreign::harmless;

/// What is wrong with the configuration of a cluster's access.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error(
        "there is no kubeconfig ({looked}), and no service account of a pod to use instead; -k, --kubeconfig names the file"
    )]
    NoKubeconfig { looked: String },
    #[error("cannot read the kubeconfig {file}: {reason}")]
    Kubeconfig { file: String, reason: String },
    #[error("the kubeconfig has no current-context; --context chooses one of: {}", list(.known))]
    NoContext { known: Vec<String> },
    #[error("the kubeconfig has no context {name:?}; it has: {}", list(.known))]
    UnknownContext { name: String, known: Vec<String> },
    #[error("context {context:?} names the {what} {name:?}, which the kubeconfig does not have")]
    Dangling { context: String, what: &'static str, name: String },
    #[error("cluster {cluster:?} of the kubeconfig has no server")]
    NoServer { cluster: String },
    #[error(
        "cluster {cluster:?} of the kubeconfig: {server:?} is no address of an API server, such as https://host:6443"
    )]
    Server { cluster: String, server: String },
    #[error("cluster {cluster:?} of the kubeconfig: its certificate authority is not PEM (as data: PEM in base64)")]
    Authority { cluster: String },
    #[error("cannot read {what} {file}: {error}")]
    Unreadable { what: &'static str, file: String, error: io::Error },
    #[error("the credentials of {identity} cannot be used: {reason}")]
    Credentials { identity: String, reason: String },
    #[error("{origin} is no proxy that can be used: expected http://, https://, socks5:// or socks5h://host:port")]
    Proxy { origin: String },
    #[error("this looks like a pod, but its service account cannot be used: {0}")]
    InCluster(String),
    #[error("user {user:?} gets credentials from {command:?}, {reason}")]
    Plugin { user: String, command: String, reason: String },
}

impl AccessError {
    /// Whether it was found without doing anything: wrong files or flags.
    pub fn is_configuration(&self) -> bool {
        !matches!(self, Self::Plugin { .. })
    }

    pub(super) fn client(identity: &str, error: &kube::Error) -> Self {
        let reason = match error {
            // These name the file.
            kube::Error::InferKubeconfig(error) => error.to_string(),
            kube::Error::Auth(error) => unusable(error),
            error => innermost(error),
        };
        Self::Credentials { identity: identity.to_owned(), reason }
    }
}

/// Why credentials cannot be used.
pub fn unusable(error: &AuthError) -> String {
    match error {
        // Shown as it is, it would show what the command printed: a token, perhaps.
        AuthError::AuthExecRun { out, .. } => format!("the command that gives them failed ({})", out.status),
        error => innermost(error),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "(none)".to_owned() } else { harmless(&names.join(", ")) }
}
