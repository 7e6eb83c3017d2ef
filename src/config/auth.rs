//! auth.json: who logs in where, and which hosts need no valid certificate.
//!
//! A key is `registry` or `registry/namespace`; the first part is always a host, with or without a dot. An entry
//! holds `username` and `password`, both or neither, and `insecure`, which belongs to the host.

mod problem;
mod unset;

use std::collections::{HashMap, HashSet};

use super::expand::{Environment, expand};
use super::json::{Hint, Kind, Member, Value};
use super::name::{self, InvalidName};
use super::place::{At, Place};
use crate::reference::Registry;
use crate::registry::{Keyring, Login};

pub use problem::{AuthError, AuthProblem};
pub use unset::{Field, UnsetEntries, UnsetVariable};

/// What auth.json says.
#[derive(Default)]
pub struct Auth {
    pub keyring: Keyring,
    /// The hosts of its keys.
    pub hosts: HashSet<Registry>,
    pub unset: UnsetEntries,
}

/// Reads the entries of `root`.
pub fn read(root: Value, environment: Environment) -> Result<Auth, AuthError> {
    let mut auth = Auth::default();
    let mut keys = HashMap::new();
    let mut insecure: HashMap<Registry, Given<bool>> = HashMap::new();
    for member in root.members("an object of registries and their credentials")? {
        let entry = Entry::read(&member)?;
        let (registry, namespace) = &entry.key;
        if let Some((first, first_place)) = keys.insert(entry.key.clone(), (entry.name.clone(), member.place())) {
            return Err(member.place().at(AuthProblem::RepeatedKey { key: entry.name, first, first_place }).into());
        }
        if let Some(here) = &entry.insecure {
            agree(registry, here, insecure.entry(registry.clone()).or_insert_with(|| here.clone()))?;
            if here.value {
                auth.keyring.allow_insecure(registry.clone());
            }
        }
        auth.hosts.insert(registry.clone());
        let (login, unset) = match entry.login(environment) {
            Ok(login) => (login, Vec::new()),
            Err(unset) => (None, unset),
        };
        auth.keyring.insert(registry, namespace, login);
        auth.unset.insert(registry, namespace, unset);
    }
    Ok(auth)
}

/// Two entries of one host may not contradict each other: whichever is used, the connection is the same.
fn agree(host: &Registry, here: &Given<bool>, first: &Given<bool>) -> Result<(), At<AuthProblem>> {
    if here.value == first.value {
        return Ok(());
    }
    let (host, first) = (host.clone(), first.place.clone());
    Err(here.place.clone().at(AuthProblem::Contradiction { host, here: here.value, first }))
}

/// An entry as written.
struct Entry {
    name: String,
    /// Host and namespace, as the keyring wants them; the namespace may be empty.
    key: (Registry, String),
    credentials: Option<Credentials>,
    insecure: Option<Given<bool>>,
}

/// A user name and a password whose variables are not yet replaced.
struct Credentials {
    username: Given<String>,
    password: Given<String>,
}

/// A field's value and the place of its key.
#[derive(Clone)]
struct Given<T> {
    place: Place,
    value: T,
}

impl Entry {
    fn read(member: &Member) -> Result<Self, AuthError> {
        let expected = "an object, which may hold username, password and insecure";
        // Before the key, since the keys of images.json are no keys of auth.json either.
        if matches!(member.value.kind(), Kind::String | Kind::Array) {
            return Err(member.value.mismatch(expected, Some(Hint::LooksLikeImages)).into());
        }
        let name = member.name.clone();
        let key =
            key(&name).map_err(|reason| member.place().at(AuthProblem::InvalidKey { key: name.clone(), reason }))?;
        let (mut username, mut password, mut insecure) = (None, None, None);
        for field in member.value.members(expected)? {
            match field.name.as_str() {
                "username" => fill(&mut username, &name, &field, field.value.string("a string as username")?)?,
                "password" => fill(&mut password, &name, &field, field.value.string("a string as password")?)?,
                "insecure" => fill(&mut insecure, &name, &field, field.value.boolean("true or false as insecure")?)?,
                _ => return Err(field.place().at(AuthProblem::UnknownField { entry: name, field: field.name }).into()),
            }
        }
        let credentials = match (username, password) {
            (Some(username), Some(password)) => Some(Credentials { username, password }),
            (None, None) => None,
            (Some(username), None) => return Err(username.place.at(AuthProblem::NoPassword { entry: name }).into()),
            (None, Some(password)) => return Err(password.place.at(AuthProblem::NoUsername { entry: name }).into()),
        };
        Ok(Self { name, key, credentials, insecure })
    }

    /// The login of this entry; `None` is anonymous. An entry that only says `insecure` is anonymous as `{}` is.
    fn login(&self, environment: Environment) -> Result<Option<Login>, Vec<UnsetVariable>> {
        let Some(Credentials { username, password }) = &self.credentials else { return Ok(None) };
        let expanded = |field: Field, given: &Given<String>| {
            expand(&given.value, environment).map_err(|unset| UnsetVariable {
                place: given.place.clone(),
                entry: self.name.clone(),
                field,
                variable: unset.variable,
            })
        };
        match (expanded(Field::Username, username), expanded(Field::Password, password)) {
            (Ok(username), Ok(password)) if username.is_empty() && password.is_empty() => Ok(None),
            (Ok(username), Ok(password)) => {
                Ok(Some(Login { entry: self.name.clone(), username, password: password.into() }))
            }
            (username, password) => Err([username.err(), password.err()].into_iter().flatten().collect()),
        }
    }
}

/// Host and namespace of the key `text`.
fn key(text: &str) -> Result<(Registry, String), InvalidName> {
    // With a scheme the text is no host, which is what the error should say.
    let (host, namespace) = match text.split_once('/') {
        Some(_) if text.ends_with('/') && !text.contains("://") => return Err(InvalidName::TrailingSlash),
        Some((host, namespace)) if !text.contains("://") => (host, Some(namespace)),
        _ => (text, None),
    };
    let registry = name::registry(host)?;
    if let Some(namespace) = namespace {
        name::repository(registry.clone(), namespace)?;
    }
    Ok((registry, namespace.unwrap_or_default().to_owned()))
}

fn fill<T>(slot: &mut Option<Given<T>>, entry: &str, field: &Member, value: T) -> Result<(), AuthError> {
    let given = Given { place: field.place(), value };
    match slot.replace(given) {
        None => Ok(()),
        Some(first) => {
            let (entry, name) = (entry.to_owned(), field.name.clone());
            Err(field.place().at(AuthProblem::RepeatedField { entry, field: name, first: first.place }).into())
        }
    }
}

#[cfg(test)]
mod tests;
