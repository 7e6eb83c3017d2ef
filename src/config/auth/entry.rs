//! One entry of auth.json: its key and its fields, checked against each other.

use std::collections::BTreeSet;
use std::sync::Arc;

use secrecy::ExposeSecret as _;

use super::problem::{AuthError, AuthProblem};
use super::unset::{Field, UnsetVariable};
use crate::config::expand::{Variables, expand};
use crate::config::json::{Hint, Kind, Member};
use crate::config::name::{self, InvalidName};
use crate::config::place::Place;
use crate::foreign::without_login;
use crate::reference::Registry;
use crate::registry::{self, Account, Credential, Helper, Holds, NO_USERNAME, Source, is_username};

/// An entry as written.
pub(super) struct Entry {
    /// The file that it stands in.
    file: Arc<str>,
    pub name: String,
    /// Host and namespace, as the keyring wants them; the namespace may be empty.
    pub key: (Registry, String),
    who: Who,
    pub insecure: Option<Given<bool>>,
    pub ca: Option<Given<String>>,
    pub cert: Option<Given<String>>,
    pub key_file: Option<Given<String>>,
}

/// Who logs in. Variables are not yet replaced.
enum Who {
    Nobody,
    Password {
        username: Given<String>,
        password: Given<String>,
    },
    IdentityToken(Given<String>),
    Helper(Helper),
    /// It is not said here.
    Unsaid,
}

/// A field's value and the place of its key.
#[derive(Debug, Clone)]
pub(super) struct Given<T> {
    pub place: Place,
    pub value: T,
}

impl Entry {
    pub fn read(member: &Member) -> Result<Self, AuthError> {
        if matches!(member.name.as_str(), "auths" | "credHelpers" | "credsStore") {
            return Err(member.place().at(AuthProblem::OfDocker).into());
        }
        let expected = "an object of credentials and settings";
        // Before the key, since the keys of images.json are no keys of auth.json either.
        if matches!(member.value.kind(), Kind::String | Kind::Array) {
            return Err(member.value.mismatch(expected, Some(Hint::LooksLikeImages)).into());
        }
        let name = member.name.clone();
        let key = key(&name)
            .map_err(|reason| member.place().at(AuthProblem::InvalidKey { key: without_login(&name), reason }))?;
        let mut fields = Fields::default();
        let members = member.value.members(expected)?;
        let is_empty = members.is_empty();
        for field in members {
            fields.take(&name, field)?;
        }
        let who = fields.who(&name, &key.0, is_empty)?;
        let Fields { insecure, ca, cert, key: key_file, .. } = fields;
        Ok(Self { file: member.place().file, name, key, who, insecure, ca, cert, key_file })
    }

    /// What the keyring knows of it.
    pub fn expanded(&self, environment: Variables) -> Result<registry::Entry, Vec<UnsetVariable>> {
        let expanded = |field: Field, given: &Given<String>| {
            expand(&given.value, environment).map_err(|unset| UnsetVariable {
                place: given.place.clone(),
                entry: self.name.clone(),
                field,
                variable: unset.variable,
                lack: unset.lack,
            })
        };
        let credential = match &self.who {
            Who::Nobody => None,
            Who::Unsaid => return Ok(registry::Entry::Store),
            Who::Helper(helper) => return Ok(self.account(Holds::Helper(helper.clone()))),
            Who::IdentityToken(token) => match expanded(Field::IdentityToken, token) {
                Ok(token) if token.is_empty() => None,
                Ok(token) => Some(Credential::IdentityToken(token.into())),
                Err(unset) => return Err(vec![unset]),
            },
            Who::Password { username, password } => {
                match (expanded(Field::Username, username), expanded(Field::Password, password)) {
                    (Ok(username), Ok(_)) if !is_username(&username) => {
                        let reason = format!("{:?} in {} has {NO_USERNAME}", self.name, self.file);
                        return Ok(self.account(Holds::Nothing(reason)));
                    }
                    (Ok(username), Ok(password)) => Credential::password(username, password.into()),
                    (username, password) => {
                        return Err([username.err(), password.err()].into_iter().flatten().collect());
                    }
                }
            }
        };
        Ok(match credential {
            Some(credential) => self.account(Holds::Credential(credential)),
            None => self.emptied().map_or(registry::Entry::Anonymous, registry::Entry::Emptied),
        })
    }

    /// Why nobody logs in, if that is that the variables of its login hold nothing.
    fn emptied(&self) -> Option<String> {
        let texts = match &self.who {
            Who::Password { username, password } => vec![&username.value, &password.value],
            Who::IdentityToken(token) => vec![&token.value],
            Who::Nobody | Who::Helper(_) | Who::Unsaid => return None,
        };
        let texts: BTreeSet<&str> = texts.into_iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        // Nothing became of it, so that there is nothing else in it. What is not braced is not shown.
        let braced = texts.iter().flat_map(|text| text.split("${").skip(1)).map(|name| name.trim_end_matches('}'));
        let names = braced.collect::<BTreeSet<_>>();
        let named = match names.is_empty() {
            true => String::new(),
            false => format!(" ({})", names.iter().copied().collect::<Vec<_>>().join(" and ")),
        };
        let (noun, verb) = if texts.len().max(names.len()) > 1 { ("variables", "are") } else { ("variable", "is") };
        (!texts.is_empty()).then(|| format!("the {noun} of {:?} in {}{named} {verb} empty", self.name, self.file))
    }

    /// Where its login begins.
    pub fn login_place(&self) -> Option<&Place> {
        match &self.who {
            Who::Password { username: first, .. } | Who::IdentityToken(first) => Some(&first.place),
            Who::Nobody | Who::Helper(_) | Who::Unsaid => None,
        }
    }

    /// Whether a password or token is written out.
    pub fn holds_secret(&self) -> bool {
        let (Who::Password { password: secret, .. } | Who::IdentityToken(secret)) = &self.who else { return false };
        expand(&secret.value, &|_| None).is_ok_and(|secret| !secret.is_empty())
    }

    fn account(&self, holds: Holds) -> registry::Entry {
        let entry = format!("{:?} in {}", self.name, self.file);
        let (name, remedy, key) = match &holds {
            Holds::Helper(helper) => {
                let (program, server) = (helper.program(), helper.server());
                let remedy = format!(
                    "see that `{program} get` has credentials that are good when {server} is what it reads, or give \
                     username and password of {entry}"
                );
                // Entries with the same helper are one account of one host: it is asked once.
                (format!("{program} (by {entry})"), remedy, format!("{program} {server}"))
            }
            Holds::Credential(Credential::IdentityToken(_)) => {
                (entry.clone(), format!("correct the identityToken of {entry}"), self.name.clone())
            }
            Holds::Credential(Credential::Password { password, .. }) if password.expose_secret().is_empty() => {
                let remedy = format!("the password of {entry} is empty: see that its variable holds one");
                (entry.clone(), remedy, self.name.clone())
            }
            _ => (entry.clone(), format!("correct username and password of {entry}"), self.name.clone()),
        };
        registry::Entry::Account(
            Account { key, sources: vec![Source { name, remedy, holds, is_required: true }] }.into(),
        )
    }
}

/// The fields as they come.
#[derive(Default)]
struct Fields {
    username: Option<Given<String>>,
    password: Option<Given<String>>,
    identity_token: Option<Given<String>>,
    helper: Option<Given<String>>,
    anonymous: Option<Given<bool>>,
    insecure: Option<Given<bool>>,
    ca: Option<Given<String>>,
    cert: Option<Given<String>>,
    key: Option<Given<String>>,
}

impl Fields {
    fn take(&mut self, entry: &str, field: Member) -> Result<(), AuthError> {
        let value = &field.value;
        match field.name.as_str() {
            "username" => fill(&mut self.username, entry, &field, value.string("a string as username")?),
            "password" => fill(&mut self.password, entry, &field, value.string("a string as password")?),
            "identityToken" => {
                fill(&mut self.identity_token, entry, &field, value.string("a string as identityToken")?)
            }
            "credHelper" => fill(&mut self.helper, entry, &field, value.string("a string as credHelper")?),
            "anonymous" => fill(&mut self.anonymous, entry, &field, value.boolean("true or false as anonymous")?),
            "insecure" => fill(&mut self.insecure, entry, &field, value.boolean("true or false as insecure")?),
            "ca" => fill(&mut self.ca, entry, &field, value.string("the path of a file as ca")?),
            "cert" => fill(&mut self.cert, entry, &field, value.string("the path of a file as cert")?),
            "key" => fill(&mut self.key, entry, &field, value.string("the path of a file as key")?),
            _ => {
                let (entry, name) = (entry.to_owned(), field.name.clone());
                Err(field.place().at(AuthProblem::UnknownField { entry, field: name }).into())
            }
        }
    }

    /// The one way in which it is said who logs in.
    fn who(&mut self, entry: &str, registry: &Registry, is_empty: bool) -> Result<Who, AuthError> {
        let anonymous = self.anonymous.take().filter(|given| given.value);
        let ways = [
            ("anonymous", anonymous.as_ref().map(|given| &given.place)),
            ("credHelper", self.helper.as_ref().map(|given| &given.place)),
            ("identityToken", self.identity_token.as_ref().map(|given| &given.place)),
            ("username", self.username.as_ref().map(|given| &given.place)),
            ("password", self.password.as_ref().map(|given| &given.place)),
        ];
        let mut given = ways.iter().filter_map(|(field, place)| Some((*field, (*place)?)));
        if let (Some((other, first)), Some((field, place))) = (given.next(), given.next())
            && other != "username"
        {
            let (entry, first) = (entry.to_owned(), first.clone());
            return Err(place.clone().at(AuthProblem::Ambiguous { entry, field, other, first }).into());
        }
        let entry = entry.to_owned();
        match (self.username.take(), self.password.take()) {
            (Some(username), Some(password)) => return Ok(Who::Password { username, password }),
            (Some(username), None) => return Err(username.place.at(AuthProblem::NoPassword { entry }).into()),
            (None, Some(password)) => return Err(password.place.at(AuthProblem::NoUsername { entry }).into()),
            (None, None) => {}
        }
        if let Some(Given { place, value: name }) = self.helper.take() {
            return match Helper::new(&name, server(registry)) {
                Some(helper) => Ok(Who::Helper(helper)),
                None => Err(place.at(AuthProblem::InvalidHelper { name }).into()),
            };
        }
        Ok(match self.identity_token.take() {
            Some(token) => Who::IdentityToken(token),
            None if is_empty || anonymous.is_some() => Who::Nobody,
            None => Who::Unsaid,
        })
    }
}

/// What credential helpers call a registry.
pub fn server(registry: &Registry) -> String {
    if registry.is_docker_hub() { "https://index.docker.io/v1/".to_owned() } else { registry.to_string() }
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
