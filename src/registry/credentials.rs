//! Who logs in where: accounts by the longest matching prefix of `registry/repository`, and what they are proven by.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::helper::Helper;
use super::http::sensitive;
use super::tls::Tls;
use crate::reference::{Registry, Repository};

/// What is shown to a registry or its token server.
#[derive(Debug, Clone)]
pub enum Credential {
    Password {
        username: String,
        password: SecretString,
    },
    /// A refresh token of OAuth2, which the token server takes in exchange (Docker's `identitytoken`).
    IdentityToken(SecretString),
    /// A token that the registry itself takes (Docker's `registrytoken`).
    RegistryToken(SecretString),
}

/// What is wrong with a username that is none.
pub(crate) const NO_USERNAME: &str = "a username with a colon, which no registry can be told";

/// Whether Basic can say it: with a colon it would be another one, and its rest part of the password (RFC 7617, section 2).
pub(crate) fn is_username(text: &str) -> bool {
    !text.contains(':')
}

impl Credential {
    /// A user and a password; none if both are empty, which is how a variable without content arrives.
    pub fn password(username: String, password: SecretString) -> Option<Self> {
        let is_nobody = username.is_empty() && password.expose_secret().is_empty();
        (!is_nobody).then_some(Self::Password { username, password })
    }

    /// As `Authorization: Basic`, if it can be said so. An identity token goes by the name that Docker gives it.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let (username, secret) = match self {
            Self::Password { username, password } => (username.as_str(), password),
            Self::IdentityToken(token) => ("<token>", token),
            Self::RegistryToken(_) => return None,
        };
        sensitive(&format!("Basic {}", STANDARD.encode(format!("{username}:{}", secret.expose_secret()))))
    }

    fn parts(&self) -> (u8, &str, &str) {
        match self {
            Self::Password { username, password } => (0, username, password.expose_secret()),
            Self::IdentityToken(token) => (1, "", token.expose_secret()),
            Self::RegistryToken(token) => (2, "", token.expose_secret()),
        }
    }
}

impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

/// Somebody as whom requests may be made.
#[derive(Debug)]
pub struct Account {
    /// What tells it from the other accounts of a run.
    pub key: String,
    /// Where its credentials are looked for, in this order. If none has any, it is anonymous.
    pub sources: Vec<Source>,
}

/// A place where credentials may be.
#[derive(Debug, Clone)]
pub struct Source {
    /// For messages: `"quay.io" in auth.json`.
    pub name: String,
    /// What to do if the credentials are refused or cannot be had.
    pub remedy: String,
    pub holds: Holds,
    /// Whether it is a failure that it has none: somebody says that they are there.
    pub is_required: bool,
}

impl Source {
    /// What tells it from other sources.
    pub fn to_key(&self) -> String {
        match &self.holds {
            Holds::Helper(helper) => format!("{} {}", self.name, helper.server()),
            _ => self.name.clone(),
        }
    }
}

/// What a source holds.
#[derive(Debug, Clone)]
pub enum Holds {
    Credential(Credential),
    /// A program that knows.
    Helper(Helper),
    /// Nothing that can be read; with the reason.
    Nothing(String),
}

/// Where accounts are found of which auth.json says nothing.
pub trait Store: fmt::Debug + Send + Sync {
    /// The account for `repository`; `None` is anonymous.
    fn account(&self, repository: &Repository) -> Option<Account>;
}

/// What is said of a registry or a part of it.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Anonymous on purpose.
    Anonymous,
    /// Anonymous for this reason, and not on purpose.
    Emptied(String),
    Account(Arc<Account>),
    /// Nothing: the store may know.
    Store,
}

/// Values by `registry` or `registry/path`. The longest prefix that ends on a boundary holds for a repository.
#[derive(Debug)]
pub struct Prefixes<T>(HashMap<String, T>);

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Prefixes<T> {
    /// What stands for all repositories of `registry` below `path` (all of them where it is empty).
    pub fn entry(&mut self, registry: &Registry, path: &str) -> std::collections::hash_map::Entry<'_, String, T> {
        let key = if path.is_empty() { registry.to_string() } else { format!("{registry}/{path}") };
        self.0.entry(key)
    }

    pub fn insert(&mut self, registry: &Registry, path: &str, value: T) {
        self.entry(registry, path).insert_entry(value);
    }

    /// What holds for `repository`. Nothing is inherited from shorter prefixes.
    pub fn get(&self, repository: &Repository) -> Option<&T> {
        self.find(repository).map(|(_, value)| value)
    }

    /// The prefix that holds for `repository`, and what stands there.
    fn find(&self, repository: &Repository) -> Option<(&str, &T)> {
        let name = repository.to_string();
        let mut prefix = name.as_str();
        loop {
            if let Some((prefix, value)) = self.0.get_key_value(prefix) {
                return Some((prefix, value));
            }
            prefix = prefix.rsplit_once('/')?.0;
        }
    }

    /// The prefixes of `registry`, sorted.
    fn of(&self, registry: &Registry) -> Vec<&str> {
        let is_its = |key: &&str| key.split('/').next() == Some(registry.as_str());
        let mut keys: Vec<&str> = self.0.keys().map(String::as_str).filter(is_its).collect();
        keys.sort_unstable();
        keys
    }
}

/// All credentials of a run, and how its hosts are known by their certificates.
#[derive(Debug, Default)]
pub struct Keyring {
    entries: Prefixes<Entry>,
    store: Option<Box<dyn Store>>,
    insecure: HashSet<Registry>,
    tls: HashMap<Registry, Tls>,
}

impl Keyring {
    /// Sets the entry for all repositories of `registry` below `path`.
    pub fn insert(&mut self, registry: &Registry, path: &str, entry: Entry) {
        self.entries.insert(registry, path, entry);
    }

    /// Looks in `store` for what no entry says.
    pub fn set_store(&mut self, store: Box<dyn Store>) {
        self.store = Some(store);
    }

    /// Accepts plain http and unverifiable certificates from `registry`.
    pub fn allow_insecure(&mut self, registry: Registry) {
        self.insecure.insert(registry);
    }

    pub fn is_insecure(&self, registry: &Registry) -> bool {
        self.insecure.contains(registry)
    }

    /// The registries that may show any certificate.
    pub(super) fn insecure(&self) -> &HashSet<Registry> {
        &self.insecure
    }

    /// Uses these certificates with `registry`.
    pub fn set_tls(&mut self, registry: Registry, tls: Tls) {
        self.tls.insert(registry, tls);
    }

    /// The registries that have certificates of their own.
    pub(super) fn tls(&self) -> &HashMap<Registry, Tls> {
        &self.tls
    }

    /// What to do where `repository` wants a login and has none.
    pub(super) fn how_to_log_in(&self, repository: &Repository) -> String {
        let registry = repository.registry();
        match self.entries.find(repository) {
            Some((key, Entry::Anonymous)) => {
                return format!("{key:?} in auth.json says that nobody logs in there: give it a login, or remove it");
            }
            Some((_, Entry::Emptied(reason))) => return reason.clone(),
            Some((key, _)) => return format!("give {key:?} in auth.json a login, or log in with docker login"),
            None => {}
        }
        let others = match self.entries.of(registry).as_slice() {
            [] => String::new(),
            [key] => format!(" ({key:?} there is not for this repository)"),
            [key, ..] => format!(" ({key:?} and others there are not for this repository)"),
        };
        format!("give an entry for {:?} in auth.json{others}, or log in with docker login", registry.as_str())
    }

    /// The account for `repository`; `None` is anonymous.
    pub fn account(&self, repository: &Repository) -> Option<Arc<Account>> {
        match self.entries.get(repository).unwrap_or(&Entry::Store) {
            Entry::Anonymous | Entry::Emptied(_) => None,
            Entry::Account(account) => Some(account.clone()),
            Entry::Store => self.store.as_ref()?.account(repository).map(Arc::new),
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
            let account = Account { key: (*key).into(), sources: Vec::new() };
            keyring.insert(&host.parse().unwrap(), path, Entry::Account(account.into()));
        }
        keyring
    }

    fn entry(keyring: &Keyring, repository: &str) -> Option<String> {
        keyring.account(&repository.parse().unwrap()).map(|account| account.key.clone())
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
    fn who_has_no_login_is_told_which_entry_is_in_the_way() {
        let mut keyring = keyring(&["quay.io/team"]);
        keyring.insert(&"quay.io".parse().unwrap(), "public", Entry::Anonymous);
        keyring.insert(&"d.io".parse().unwrap(), "", Entry::Store);
        keyring.insert(&"e.io".parse().unwrap(), "", Entry::Emptied("the variable is empty".to_owned()));
        let advice = |repository: &str| keyring.how_to_log_in(&repository.parse().unwrap());
        assert!(advice("quay.io/public/x").starts_with("\"quay.io/public\" in auth.json says that nobody logs in"));
        assert!(
            advice("quay.io/teams/x").contains(" (\"quay.io/public\" and others there are not for this repository)")
        );
        assert_eq!(advice("e.io/x"), "the variable is empty");
        assert_eq!(advice("d.io/x"), "give \"d.io\" in auth.json a login, or log in with docker login");
        assert_eq!(advice("q.io/x"), "give an entry for \"q.io\" in auth.json, or log in with docker login");
    }

    #[test]
    fn an_anonymous_entry_hides_a_shorter_one_and_the_store() {
        #[derive(Debug)]
        struct Everything;
        impl Store for Everything {
            fn account(&self, _: &Repository) -> Option<Account> {
                Some(Account { key: "store".into(), sources: Vec::new() })
            }
        }
        let mut keyring = keyring(&["quay.io"]);
        keyring.set_store(Box::new(Everything));
        let quay = "quay.io".parse().unwrap();
        keyring.insert(&quay, "public", Entry::Anonymous);
        keyring.insert(&quay, "insecure", Entry::Store);
        assert_eq!(entry(&keyring, "quay.io/public/x"), None);
        assert_eq!(entry(&keyring, "quay.io/x").as_deref(), Some("quay.io"));
        assert_eq!(entry(&keyring, "quay.io/insecure/x").as_deref(), Some("store"));
        assert_eq!(entry(&keyring, "ghcr.io/x").as_deref(), Some("store"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let secrets = [
            Credential::Password { username: "u".into(), password: "hunter2".into() },
            Credential::IdentityToken("hunter2".into()),
            Credential::RegistryToken("hunter2".into()),
        ];
        for secret in secrets {
            assert!(!format!("{secret:?} {:?}", secret.basic()).contains("hunter2"));
        }
    }
}
