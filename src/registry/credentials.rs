//! Who logs in where: credentials by the longest matching prefix of `registry/repository`.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

use crate::reference::{Registry, Repository};

/// A user name and a password, with the name of the entry they stand under (for messages and as a key of caches).
pub struct Login {
    pub entry: String,
    pub username: String,
    pub password: SecretString,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({:?})", self.entry)
    }
}

/// All credentials of a run, and the hosts whose certificates need not be valid.
#[derive(Debug, Default)]
pub struct Keyring {
    /// By `registry` or `registry/path`; `None` is anonymous on purpose.
    entries: HashMap<String, Option<Arc<Login>>>,
    insecure: HashSet<Registry>,
}

impl Keyring {
    /// Adds the entry for all repositories of `registry` below `path` (all of them where it is empty). Answers
    /// whether there was none yet; an entry that stands already is kept.
    pub fn insert(&mut self, registry: &Registry, path: &str, login: Option<Login>) -> bool {
        let key = if path.is_empty() { registry.to_string() } else { format!("{registry}/{path}") };
        if self.entries.contains_key(&key) {
            return false;
        }
        self.entries.insert(key, login.map(Arc::new));
        true
    }

    /// Accepts plain http and unverifiable certificates from `registry`.
    pub fn allow_insecure(&mut self, registry: Registry) {
        self.insecure.insert(registry);
    }

    pub fn is_insecure(&self, registry: &Registry) -> bool {
        self.insecure.contains(registry)
    }

    /// The credentials for `repository`; `None` is anonymous. Nothing is inherited from shorter prefixes.
    pub fn login(&self, repository: &Repository) -> Option<Arc<Login>> {
        let name = repository.to_string();
        let mut prefix = name.as_str();
        loop {
            if let Some(login) = self.entries.get(prefix) {
                return login.clone();
            }
            prefix = prefix.rsplit_once('/')?.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(keys: &[&str]) -> Keyring {
        let mut keyring = Keyring::default();
        for key in keys {
            let (host, path) = key.split_once('/').unwrap_or((key, ""));
            let login = Login { entry: (*key).into(), username: "u".into(), password: "p".into() };
            assert!(keyring.insert(&host.parse().unwrap(), path, Some(login)));
        }
        keyring
    }

    fn entry(keyring: &Keyring, repository: &str) -> Option<String> {
        keyring.login(&repository.parse().unwrap()).map(|login| login.entry.clone())
    }

    #[test]
    fn the_longest_prefix_wins_and_only_whole_components_count() {
        let keyring = keyring(&["quay.io", "quay.io/team", "quay.io/team/app", "docker.io/team"]);
        assert_eq!(entry(&keyring, "quay.io/team/app").as_deref(), Some("quay.io/team/app"));
        assert_eq!(entry(&keyring, "quay.io/team/app/x").as_deref(), Some("quay.io/team/app"));
        assert_eq!(entry(&keyring, "quay.io/team/apple").as_deref(), Some("quay.io/team"));
        assert_eq!(entry(&keyring, "quay.io/teams/x").as_deref(), Some("quay.io"));
        assert_eq!(entry(&keyring, "registry-1.docker.io/team/x").as_deref(), Some("docker.io/team"));
        assert_eq!(entry(&keyring, "docker.io/teams/x"), None);
        assert_eq!(entry(&keyring, "quay.io:443/team/x"), None);
    }

    #[test]
    fn an_anonymous_entry_hides_a_shorter_one() {
        let mut keyring = keyring(&["quay.io"]);
        keyring.insert(&"quay.io".parse().unwrap(), "public", None);
        assert_eq!(entry(&keyring, "quay.io/public/x"), None);
    }

    #[test]
    fn secrets_are_not_shown() {
        let login = Login { entry: "quay.io".into(), username: "u".into(), password: "hunter2".into() };
        assert_eq!(format!("{login:?}"), "Login(\"quay.io\")");
    }
}
