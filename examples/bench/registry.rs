//! A real registry: the `docker-registry` program on a free port of loopback.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, bail};
use scriptable_registry::Port;

use crate::access_log::Requests;
use crate::storage::Storage;

/// A running registry; it ends when this is dropped.
pub struct Registry {
    process: Child,
    port: Port,
    log: PathBuf,
}

impl Registry {
    /// Starts one with this data. `folder` takes its configuration and logs.
    pub fn start(storage: &Storage, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let port = Port::hold();
        let address = port.address();
        let data = storage.root().display();
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {data}\nhttp:\n  addr: {address}\n"
        );
        fs::write(folder.join("config.yml"), config)?;
        let log = folder.join("access.log");
        let spawned = Command::new("docker-registry")
            .args(["serve", "config.yml"])
            .current_dir(folder)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::create(folder.join("error.log"))?)
            .spawn();
        let process = match spawned {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("docker-registry is not on PATH; Debian and Ubuntu have it: apt-get install docker-registry")
            }
            spawned => spawned.context("docker-registry cannot be run")?,
        };
        let mut registry = Self { process, port, log };
        while TcpStream::connect(address).is_err() {
            if registry.process.try_wait()?.is_some() {
                let said = fs::read_to_string(folder.join("error.log")).unwrap_or_default();
                bail!("docker-registry does not start:\n{said}");
            }
            sleep(Duration::from_millis(10));
        }
        Ok(registry)
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Stops it and gives what it was asked.
    pub fn stop(self) -> anyhow::Result<Requests> {
        // A line is written after its answer: the last may still be on its way.
        sleep(Duration::from_millis(100));
        let log = self.log.clone();
        drop(self);
        Requests::of(&log)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
