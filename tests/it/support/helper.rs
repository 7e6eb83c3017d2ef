//! Programs that pretend to be credential helpers of Docker.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A folder of helpers, and what they were asked.
pub struct Helpers(tempfile::TempDir);

impl Helpers {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A helper that does what a shell script says; `$server` is what it was asked for, `$count` how often it was.
    pub fn add(self, name: &str, script: &str) -> Self {
        let asked = self.asked_file(name);
        let file = asked.display();
        let text = format!(
            "#!/bin/sh\n[ \"$1\" = get ] || exit 9\nserver=$(cat)\necho \"$server\" >> {file}\n\
             count=$(wc -l < {file} | tr -d ' ')\n{script}\n"
        );
        let path = self.0.path().join(format!("docker-credential-{name}"));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// A helper that has one user and password for every server.
    pub fn with(self, name: &str, user: &str, secret: &str) -> Self {
        self.add(name, &answer(user, secret))
    }

    /// What a helper was asked for, in order.
    pub fn asked(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.asked_file(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The folder of helpers, and before it all that a shell needs.
    pub fn path(&self) -> String {
        let rest = std::env::var("PATH").unwrap_or_default();
        format!("{}:{rest}", self.folder().display())
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn asked_file(&self, name: &str) -> PathBuf {
        self.folder().join(format!("{name}.asked"))
    }
}

/// A line of shell that answers with a user and a secret.
pub fn answer(user: &str, secret: &str) -> String {
    format!(
        "printf '{{\"ServerURL\":\"%s\",\"Username\":\"%s\",\"Secret\":\"%s\"}}\\n' \"$server\" '{user}' '{secret}'"
    )
}
