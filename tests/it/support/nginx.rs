//! The `nginx` program: a real proxy before a registry, with a limit on the size of bodies.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use scriptable_registry::Port;
use tempfile::TempDir;

/// A running proxy; it ends when this is dropped.
#[derive(Debug)]
pub struct Nginx {
    process: Child,
    directory: TempDir,
    port: Port,
}

impl Nginx {
    /// Stands before the registry at `upstream` and takes bodies of at most `limit`, in the words of `client_max_body_size`.
    pub async fn start(upstream: &str, limit: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let port = Port::hold();
        std::fs::write(path("nginx.conf"), config(port.address(), upstream, limit)).unwrap();
        let process = Command::new("nginx")
            .args(["-e", "error.log", "-c", "nginx.conf", "-p"])
            .arg(directory.path())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(path("stderr.log")).unwrap())
            .spawn()
            .unwrap();
        let mut nginx = Nginx { process, directory, port };
        let (client, url) = (super::http_client(), format!("http://{}/v2/", nginx.host()));
        super::run::until_seen("nginx", async || {
            assert!(nginx.process.try_wait().unwrap().is_none(), "nginx does not start");
            client.get(&url).send().await.ok()
        })
        .await;
        nginx
    }

    /// `127.0.0.1:<port>`
    pub fn host(&self) -> String {
        self.port.address().to_string()
    }

    /// How many requests it has refused for their size.
    pub fn refusals(&self) -> usize {
        let log = std::fs::read_to_string(self.directory.path().join("access.log")).unwrap();
        log.lines().filter(|line| line.contains("\" 413 ")).count()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One process, which ends when it is killed, with all its files in its own directory.
fn config(address: SocketAddr, upstream: &str, limit: &str) -> String {
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nevents {{}}\nhttp {{\n  access_log access.log;\n{folders}  \
         server {{\n    listen {address};\n    client_max_body_size {limit};\n    location / {{\n      proxy_pass \
         http://{upstream};\n      proxy_set_header Host $http_host;\n      proxy_request_buffering off;\n    \
         }}\n  }}\n}}\n"
    )
}
