//! How to get into a cluster: from kubeconfig files, or a pod's service account, to a client of its API server.
//!
//! As kubectl does it. What can be wrong with the files is found here, before anything is asked.

mod error;
mod exec;
mod kubeconfig;
mod proxy;

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::Client;
use kube::config::{AuthInfo, Cluster};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::ExposeSecret as _;

pub use error::AccessError;
pub(super) use error::unusable;
use kubeconfig::Chosen;
#[cfg(any(test, fuzzing))]
pub(crate) use kubeconfig::fuzz;

use crate::config::Variables;
use crate::foreign::Secrets;

/// Which cluster is meant.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// In place of `$KUBECONFIG` and the usual file.
    pub kubeconfig: Option<PathBuf>,
    /// In place of the file's current context.
    pub context: Option<String>,
}

/// How long an API server may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To accept a connection.
    pub connect: Duration,
    /// Without a byte.
    pub silence: Duration,
    /// For one page, from the request to its last byte.
    pub page: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        // An API server gives up on a request after 60 seconds of its own.
        Self { connect: Duration::from_secs(10), silence: Duration::from_secs(30), page: Duration::from_secs(90) }
    }
}

/// A cluster that can be asked.
pub struct Access {
    pub client: Client,
    /// The address of the API server, as messages show it.
    pub server: String,
    /// Whose credentials are used, as messages show it.
    pub identity: String,
    pub patience: Patience,
    /// What the server is shown, and may repeat.
    pub secrets: Secrets,
}

/// Makes a client for the cluster that is `wanted`. Runs the plugin that gives credentials, if the file names one.
pub async fn open(wanted: &Wanted, environment: Variables<'_>, patience: Patience) -> Result<Access, AccessError> {
    let (mut config, identity, proxy_url) = match kubeconfig::choose(wanted, environment)? {
        Some(chosen) => configure(chosen).await?,
        None => (in_cluster()?, "the service account of this pod".to_owned(), None),
    };
    config.proxy_url = proxy::of(proxy_url.as_deref(), &config.cluster_url, environment)?;
    config.connect_timeout = Some(patience.connect);
    config.read_timeout = Some(patience.silence);
    config.write_timeout = Some(patience.silence);
    config.reset_reader_on_write = true;
    // How often something is tried again is decided where it is known what was asked.
    config.default_retry = false;
    let server = config.cluster_url.to_string();
    let mut server = server.trim_end_matches('/').to_owned();
    if let Some(proxy) = &config.proxy_url {
        // Without the password that may stand in it.
        let port = proxy.port().map(|port| format!(":{port}")).unwrap_or_default();
        server = format!("{server} (through the proxy {}{port})", proxy.host().unwrap_or_default());
    }
    let secrets = secrets(&config.auth_info);
    let client = Client::try_from(config).map_err(|error| AccessError::client(&identity, &error))?;
    Ok(Access { client, server, identity, patience, secrets })
}

/// What of a user's credentials is sent to the server.
fn secrets(user: &AuthInfo) -> Secrets {
    let mut secrets = Secrets::default();
    for secret in [&user.token, &user.password].into_iter().flatten() {
        secrets.add(secret.expose_secret());
    }
    if let (Some(name), Some(password)) = (&user.username, &user.password) {
        secrets.add(&STANDARD.encode(format!("{name}:{}", password.expose_secret())));
    }
    let provided = user.auth_provider.iter().flat_map(|provider| &provider.config);
    provided.filter(|(name, _)| name.contains("token")).for_each(|(_, token)| secrets.add(token));
    secrets
}

fn in_cluster() -> Result<kube::Config, AccessError> {
    let mut config = kube::Config::incluster().map_err(|error| AccessError::InCluster(error.to_string()))?;
    read_token(&mut config.auth_info)?;
    Ok(config)
}

async fn configure(chosen: Chosen) -> Result<(kube::Config, String, Option<String>), AccessError> {
    let Chosen { context, cluster_name, cluster, user_name, mut user } = chosen;
    let server = cluster.server.clone().filter(|server| !server.trim().is_empty());
    let server = server.ok_or_else(|| AccessError::NoServer { cluster: cluster_name.clone() })?;
    let url = address(server.trim(), &cluster);
    let url: http::Uri = url
        .parse()
        .ok()
        .filter(|url: &http::Uri| url.host().is_some())
        .ok_or(AccessError::Server { cluster: cluster_name.clone(), server })?;
    let identity = format!("user {user_name:?} of context {context:?}");
    // An empty token is none, as with kubectl.
    user.token = user.token.filter(|token| !token.expose_secret().is_empty());
    if let Some(plugin) = user.exec.take() {
        // Credentials that are written down come first, as with kubectl.
        if user.token.is_none() && user.token_file.is_none() {
            let given = exec::run(&plugin, &cluster, &user_name).await?;
            given.put_into(&mut user);
        }
    }
    read_token(&mut user)?;
    let mut config = kube::Config::new(url);
    config.root_cert = authorities(&cluster_name, &cluster)?;
    if config.root_cert.is_none() && config.cluster_url.scheme_str() == Some("http") && cluster.proxy_url.is_none() {
        // Then nobody's roots are needed, and none have to be installed.
        config.root_cert = Some(Vec::new());
    }
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or(false);
    config.tls_server_name = cluster.tls_server_name.clone().filter(|name| !name.is_empty());
    config.auth_info = user;
    Ok((config, identity, cluster.proxy_url))
}

/// The server's URL; without a scheme it is https where anything was said about certificates.
fn address(server: &str, cluster: &Cluster) -> String {
    if server.contains("://") {
        return server.to_owned();
    }
    let tls = cluster.certificate_authority.is_some()
        || cluster.certificate_authority_data.is_some()
        || cluster.insecure_skip_tls_verify == Some(true);
    format!("{}://{server}", if tls { "https" } else { "http" })
}

/// Reads the token's file here: it may end in a newline, and a run does not last until it is replaced. A token that is
/// written down beside it counts where there is no such file.
fn read_token(user: &mut AuthInfo) -> Result<(), AccessError> {
    let Some(file) = user.token_file.take() else { return Ok(()) };
    match std::fs::read_to_string(&file) {
        Ok(token) => user.token = Some(token.trim().to_owned().into()),
        Err(_) if user.token.is_some() => {}
        Err(error) => return Err(AccessError::Unreadable { what: "the token", file, error }),
    }
    Ok(())
}

/// The certificate authorities that vouch for the server; `None` is those of the system.
fn authorities(name: &str, cluster: &Cluster) -> Result<Option<Vec<Vec<u8>>>, AccessError> {
    let invalid = || AccessError::Authority { cluster: name.to_owned() };
    let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let pem = match (given(&cluster.certificate_authority_data), given(&cluster.certificate_authority)) {
        (Some(data), _) => STANDARD.decode(data.trim()).map_err(|_| invalid())?,
        (None, Some(file)) => std::fs::read(&file).map_err(|error| AccessError::Unreadable {
            what: "the certificate authority",
            file,
            error,
        })?,
        (None, None) => return Ok(None),
    };
    let certificates =
        CertificateDer::pem_slice_iter(&pem).map(|certificate| Ok(certificate.map_err(|_| invalid())?.to_vec()));
    let certificates: Vec<Vec<u8>> = certificates.collect::<Result<_, _>>()?;
    if certificates.is_empty() { Err(invalid()) } else { Ok(Some(certificates)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_scheme_is_https_where_certificates_are_spoken_of() {
        let plain = Cluster::default();
        let tls = Cluster { certificate_authority: Some("ca.pem".into()), ..Cluster::default() };
        assert_eq!(address("10.0.0.1:8080", &plain), "http://10.0.0.1:8080");
        assert_eq!(address("10.0.0.1:6443", &tls), "https://10.0.0.1:6443");
        assert_eq!(address("https://k8s.example.com", &plain), "https://k8s.example.com");
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        let cluster = Cluster { certificate_authority_data: Some(STANDARD.encode("nothing")), ..Cluster::default() };
        assert!(matches!(authorities("c", &cluster), Err(AccessError::Authority { .. })));
        assert!(authorities("c", &Cluster::default()).unwrap().is_none());
    }
}
