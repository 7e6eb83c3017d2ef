//! The `docker-registry` program: a real registry on a free port, with its data in a temporary directory.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use scriptable_registry::Port;
use tempfile::TempDir;

use super::pki::Issued;
use super::run::until_seen;
use super::token_server::TokenServer;

/// The one user of a registry with passwords.
pub const USER: &str = "mover";
pub const PASSWORD: &str = "s3cret-PASSWORD";
/// `PASSWORD`, hashed with bcrypt.
const HASH: &str = "$2b$04$Ymbb2/halD2dTp50Ya0v/uaayOkIi3No/zV1k55AulloAlONePBL.";

/// Says whether the programs of this module's tests are there. Where a build server runs them they have to be.
pub fn is_installed(programs: &[&str]) -> bool {
    let missing = |name: &&&str| {
        let version = if **name == "nginx" { "-v" } else { "--version" };
        !matches!(Command::new(name).arg(version).output(), Ok(out) if out.status.success())
    };
    let Some(missing) = programs.iter().find(missing) else { return true };
    assert!(std::env::var_os("CI").is_none(), "{missing} is not installed");
    eprintln!("\nSKIPPED: {missing} is not installed\n");
    false
}

/// How a registry is to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub password: bool,
    pub tls: bool,
}

/// A running registry; it ends when this is dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Child,
    directory: TempDir,
    port: Port,
    options: Options,
}

impl DockerRegistry {
    pub async fn start(options: Options) -> Self {
        Self::launch(options, |_| String::new()).await
    }

    /// One that shows a certificate and, if it is given an authority, takes only those who show one of its.
    pub async fn with_certificate(certificate: &Issued, clients: Option<&str>) -> Self {
        Self::launch(Options::default(), |directory| tls(directory, certificate, clients)).await
    }

    /// One that takes the tokens of a server, and may show a certificate.
    pub async fn behind(tokens: &TokenServer, certificate: Option<&Issued>) -> Self {
        let extra = |directory: &Path| {
            let shown = certificate.map(|certificate| tls(directory, certificate, None)).unwrap_or_default();
            let bundle = write(directory, "tokens.pem", &tokens.certificate());
            format!(
                "{shown}auth:\n  token:\n    realm: {}\n    service: {}\n    issuer: {}\n    rootcertbundle: {bundle}\n",
                tokens.realm(),
                TokenServer::SERVICE,
                TokenServer::ISSUER,
            )
        };
        Self::launch(Options::default(), extra).await
    }

    /// `extra` makes files in the registry's directory, and names them in the end of its configuration.
    async fn launch(options: Options, extra: impl Fn(&Path) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let port = Port::hold();
        let config = config(directory.path(), port.address(), options) + &extra(directory.path());
        std::fs::write(path("config.yml"), config).unwrap();
        let process = Command::new("docker-registry")
            .args(["serve", "config.yml"])
            .current_dir(directory.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(File::create(path("access.log")).unwrap())
            .stderr(File::create(path("error.log")).unwrap())
            .spawn()
            .unwrap();
        let mut registry = DockerRegistry { process, directory, port, options };
        until_seen("docker-registry", async || {
            if registry.process.try_wait().unwrap().is_some() {
                let log = std::fs::read_to_string(registry.directory.path().join("error.log")).unwrap();
                panic!("docker-registry does not start:\n{log}");
            }
            tokio::net::TcpStream::connect(registry.port.address()).await.ok()
        })
        .await;
        registry
    }

    /// The digest behind a tag, as it lies on its disk.
    pub fn tag(&self, repository: &str, tag: &str) -> Option<String> {
        let path = format!("data/docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}/current/link");
        std::fs::read_to_string(self.directory.path().join(path)).ok()
    }

    /// `127.0.0.1:<port>`
    pub fn host(&self) -> String {
        self.port.address().to_string()
    }

    /// The file of the certificate it shows, which nobody vouches for.
    pub fn certificate(&self) -> String {
        self.directory.path().join("certificate.pem").to_str().unwrap().to_owned()
    }

    /// The file that holds the content of a digest, for those who damage it.
    pub fn content(&self, digest: &str) -> PathBuf {
        let hash = digest.strip_prefix("sha256:").unwrap();
        self.storage().join("blobs/sha256").join(&hash[..2]).join(hash).join("data")
    }

    /// The folder that holds the links of a repository: `_manifests` and `_layers`.
    pub fn links(&self, repository: &str) -> PathBuf {
        self.storage().join("repositories").join(repository)
    }

    fn storage(&self) -> PathBuf {
        self.directory.path().join("data/docker/registry/v2")
    }

    async fn get(&self, path: &str) -> Result<reqwest::Response, reqwest::Error> {
        let scheme = if self.options.tls { "https" } else { "http" };
        let client = super::http_client();
        client.get(format!("{scheme}://{}{path}", self.host())).basic_auth(USER, Some(PASSWORD)).send().await
    }

    /// Method, path and status of every request so far, but for those of the test itself.
    pub async fn requests(&self) -> Vec<AccessLine> {
        // What comes in order leaves in order: once the mark is in the log, so is all before it.
        static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let mark = format!("/v2/?mark={}", COUNT.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
        self.get(&mark).await.unwrap();
        until_seen("the mark in the access log", async || {
            let log = std::fs::read_to_string(self.directory.path().join("access.log")).unwrap();
            let lines: Vec<AccessLine> = log.lines().filter_map(AccessLine::parse).collect();
            let end = lines.iter().position(|line| line.path == mark)?;
            let program = |line: &AccessLine| !line.path.contains("?mark=");
            Some(lines.into_iter().take(end).filter(program).collect())
        })
        .await
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A request as the access log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLine {
    pub method: String,
    pub path: String,
    pub status: u16,
}

impl AccessLine {
    /// `127.0.0.1 - - [01/Jan/2025:00:00:00 +0000] "GET /v2/ HTTP/1.1" 200 2 "" "agent"`
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(3, '"');
        let mut request = parts.nth(1)?.split(' ');
        let status = parts.next()?.split_whitespace().next()?.parse().ok()?;
        Some(AccessLine { method: request.next()?.to_owned(), path: request.next()?.to_owned(), status })
    }
}

fn config(directory: &Path, address: SocketAddr, options: Options) -> String {
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let mut config = format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
        path("data")
    );
    if options.tls {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        std::fs::write(path("certificate.pem"), made.cert.pem()).unwrap();
        std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        config += &format!("  tls:\n    certificate: {}\n    key: {}\n", path("certificate.pem"), path("key.pem"));
    }
    if options.password {
        std::fs::write(path("passwords"), format!("{USER}:{HASH}\n")).unwrap();
        config += &format!("auth:\n  htpasswd:\n    realm: a real registry\n    path: {}\n", path("passwords"));
    }
    config
}

/// The end of the section `http`: a certificate to show, and the authority of those that are to be shown.
fn tls(directory: &Path, certificate: &Issued, clients: Option<&str>) -> String {
    let shown = write(directory, "shown.pem", &certificate.pem);
    let key = write(directory, "shown.key", &certificate.key);
    let mut config = format!("  tls:\n    certificate: {shown}\n    key: {key}\n");
    if let Some(authority) = clients {
        config += &format!("    clientcas:\n      - {}\n", write(directory, "clients.pem", authority));
    }
    config
}

/// Writes a file and gives its path.
fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}
