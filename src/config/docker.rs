//! Where `docker login` and `podman login` keep credentials, for registries of which auth.json says nothing.
//!
//! | place, in this order | kept by |
//! | --- | --- |
//! | `$DOCKER_AUTH_CONFIG`, the content itself | CI systems |
//! | `$REGISTRY_AUTH_FILE` | podman, skopeo, where it is set |
//! | `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json` | docker |
//! | `$XDG_RUNTIME_DIR/containers/auth.json`, `${XDG_CONFIG_HOME:-~/.config}/containers/auth.json` | podman, skopeo |
//!
//! In each: `credHelpers`, else `credsStore`, then `auths`. Where a helper has nothing, the search goes on. Nothing is
//! read before a registry wants credentials; what cannot be read then is a failure of those who need it.
//!
//! The crate docker_credential does not fit: it prefers `auths` to `credsStore`, knows no identity tokens outside of
//! helpers, no namespaces as keys and no old spellings of them, and waits for a helper for ever.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry as Slot;
use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;

use super::auth::server;
use super::expand::Variables;
use super::file;
use crate::file::shown;
use crate::reference::{Registry, Repository};
use crate::registry::{Account, Credential, Helper, Holds, Prefixes, Source, Store, is_username};

const LOG_IN: &str = "log in again (docker login, podman login), or give an entry in auth.json";

/// The credential stores of the user who runs this program.
#[derive(Debug)]
pub struct UserStore {
    places: Vec<Place>,
}

/// One place, read when it is first asked.
struct Place {
    name: String,
    content: Content,
    read: OnceLock<Result<Config, String>>,
}

enum Content {
    Inline(SecretString),
    NotUtf8,
    File(PathBuf),
}

/// A configuration that holds credentials.
#[derive(Default)]
struct Config {
    helpers: Prefixes<(String, String)>,
    store: Option<String>,
    /// The key as written, and what stands there.
    auths: Prefixes<(String, Value)>,
}

impl UserStore {
    pub fn new(environment: Variables) -> Self {
        let given = |name: &str| environment(name).filter(|value| !value.is_empty());
        let folder = |name: &str| given(name).map(PathBuf::from);
        let home = folder("HOME").or_else(|| folder("USERPROFILE"));
        let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let files = [
            folder("REGISTRY_AUTH_FILE"),
            folder("DOCKER_CONFIG").or_else(|| below_home(".docker")).map(|folder| folder.join("config.json")),
            folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
            folder("XDG_CONFIG_HOME").or_else(|| below_home(".config")).map(|it| it.join("containers/auth.json")),
        ];
        let place = |name: String, content| Place { name, content, read: OnceLock::new() };
        let inline = given("DOCKER_AUTH_CONFIG").map(|text| {
            let content = text.into_string().map_or(Content::NotUtf8, |text| Content::Inline(text.into()));
            place("DOCKER_AUTH_CONFIG".to_owned(), content)
        });
        let files = files.into_iter().flatten().map(|path| place(shown(&path), Content::File(path)));
        Self { places: inline.into_iter().chain(files).collect() }
    }
}

impl Store for UserStore {
    fn account(&self, repository: &Repository) -> Option<Account> {
        let mut sources: Vec<Source> = Vec::new();
        for place in &self.places {
            sources.extend(place.sources(repository));
            if matches!(sources.last(), Some(Source { holds: Holds::Credential(_) | Holds::Nothing(_), .. })) {
                break;
            }
        }
        let key = sources.iter().map(Source::to_key).collect::<Vec<_>>().join(", ");
        (!sources.is_empty()).then_some(Account { key, sources })
    }
}

impl Place {
    fn sources(&self, repository: &Repository) -> Vec<Source> {
        let broken = |reason: &str| Source {
            name: self.name.clone(),
            remedy: format!("mend {}, or give an entry for {} in auth.json", self.name, repository.registry()),
            holds: Holds::Nothing(reason.to_owned()),
            is_required: false,
        };
        let config = match self.read.get_or_init(|| self.read()) {
            Ok(config) => config,
            Err(reason) => return vec![broken(reason)],
        };
        let mut sources = Vec::new();
        let auth = config.auths.get(repository);
        if let Some((name, asked)) = config.helper(repository, auth.map(|(key, _)| key.as_str())) {
            let Some(helper) = Helper::new(&name, asked) else {
                return vec![broken(&format!("{} names {name:?} as a credential helper", self.name))];
            };
            let (program, server) = (helper.program(), helper.server());
            let remedy = format!(
                "see that `{program} get` works when {server} is what it reads, or give an entry in auth.json \
                 (\"anonymous\": true goes without)"
            );
            sources.push(Source {
                name: format!("{program} (by {})", self.name),
                remedy,
                holds: Holds::Helper(helper),
                is_required: false,
            });
        }
        if let Some((key, value)) = auth {
            match credential(value) {
                Ok(Some(credential)) => sources.push(Source {
                    name: format!("{key:?} in {}", self.name),
                    remedy: LOG_IN.to_owned(),
                    holds: Holds::Credential(credential),
                    is_required: false,
                }),
                // It is in the credential store.
                Ok(None) => {}
                Err(defect) => sources.push(broken(&format!("{key:?} in {} {defect}", self.name))),
            }
        }
        sources
    }

    fn read(&self) -> Result<Config, String> {
        let content = match &self.content {
            Content::Inline(text) => text.expose_secret().as_bytes().to_vec(),
            Content::NotUtf8 => return Err(format!("{} is not UTF-8", self.name)),
            Content::File(path) => match file::read(path, "it is where docker login or podman login writes") {
                Ok(content) => content,
                Err(error) if error.is_not_found() => return Ok(Config::default()),
                Err(error) => return Err(error.to_string()),
            },
        };
        Config::parse(&content).map_err(|error| {
            // The rest of the message may hold what stands there.
            format!("{} is no Docker configuration (line {}, column {})", self.name, error.line(), error.column())
        })
    }
}

impl Config {
    fn parse(content: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Written {
            auths: Option<BTreeMap<String, Value>>,
            cred_helpers: Option<BTreeMap<String, Option<String>>>,
            creds_store: Option<String>,
        }
        // An empty file is what some tools leave behind.
        if content.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let written: Written = serde_json::from_slice(content)?;
        let mut config = Self { store: written.creds_store.filter(|name| !name.is_empty()), ..Self::default() };
        for (key, value) in written.auths.into_iter().flatten() {
            let Some((registry, path)) = read_key(&key) else { continue };
            // The same host may stand there in several spellings: one that holds something wins, then the plain one.
            let rank = |key: &str, value: &Value| (matches!(credential(value), Ok(Some(_))), !key.contains("://"));
            match config.auths.entry(&registry, &path) {
                Slot::Occupied(slot) if rank(&key, &value) <= rank(&slot.get().0, &slot.get().1) => {}
                slot => drop(slot.insert_entry((key, value))),
            }
        }
        for (key, name) in written.cred_helpers.into_iter().flatten() {
            let Some((registry, path)) = read_key(&key) else { continue };
            let asked = if path.is_empty() { server(&registry) } else { key };
            // Docker reads null as an empty name.
            config.helpers.insert(&registry, &path, (name.unwrap_or_default(), asked));
        }
        Ok(config)
    }

    /// The helper for `repository`, and the name under which it knows the server: the key in `auths`, if there is one.
    fn helper(&self, repository: &Repository, noted: Option<&str>) -> Option<(String, String)> {
        // An empty name takes a registry out of the store.
        if let Some((name, asked)) = self.helpers.get(repository) {
            return (!name.is_empty()).then(|| (name.clone(), asked.clone()));
        }
        let asked = noted.map_or_else(|| server(repository.registry()), str::to_owned);
        Some((self.store.clone()?, asked))
    }
}

/// The registry and path of a key in any of its spellings: `host`, `https://host`, `https://host/v1/`, `host/ns/repo`.
fn read_key(key: &str) -> Option<(Registry, String)> {
    let plain = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let (host, path) = match plain.unwrap_or(key).split_once('/') {
        Some((host, path)) => (host, path.trim_end_matches('/')),
        None => (plain.unwrap_or(key), ""),
    };
    // A URL is that of a registry's API; only podman writes namespaces, and without a scheme.
    let path = if plain.is_some() || matches!(path, "v1" | "v2") { "" } else { path };
    Some((host.parse().ok()?, path.to_owned()))
}

/// What an entry of `auths` holds, if anything. Fails with what is wrong, without showing it.
fn credential(value: &Value) -> Result<Option<Credential>, &'static str> {
    let text = |name: &str| match value.get(name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err("holds something else than text"),
    };
    if !value.is_object() && !value.is_null() {
        return Err("is no object");
    }
    let (identity, registry) = (text("identitytoken")?, text("registrytoken")?);
    if !registry.is_empty() {
        return Ok(Some(Credential::RegistryToken(registry.into())));
    }
    if !identity.is_empty() {
        return Ok(Some(Credential::IdentityToken(identity.into())));
    }
    let auth = text("auth")?.trim();
    if auth.is_empty() {
        let username = text("username")?;
        if !is_username(username) {
            return Err("has a username with a colon, which no registry can be told");
        }
        return Ok(Credential::password(username.to_owned(), text("password")?.into()));
    }
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(&STANDARD, lenient).decode(auth).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
    let (username, password) = pair.ok_or("has an auth that is not user:password in base64")?;
    // Old versions of Docker filled it up.
    Ok(Credential::password(username.to_owned(), password.trim_end_matches('\0').into()))
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests;
