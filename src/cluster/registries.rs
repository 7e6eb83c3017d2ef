//! What an operator puts into auth.json for each registry: who logs in there, and with what.

use std::collections::HashSet;
use std::fmt::{self, Write as _};

use crate::config::Target;
use crate::reference::Registry;

/// How one logs in to a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Nobody needs to.
    Public,
    With(&'static str),
    Unknown,
}

/// In a few words; none if nothing needs to be said.
impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public: no login",
            Self::With(what) => what,
            Self::Unknown => "",
        })
    }
}

pub fn login(registry: &Registry) -> Login {
    let host = registry.as_str();
    let ends = |suffix: &str| host.ends_with(suffix);
    Login::With(match host {
        "docker.io" => "Docker ID and access token; without them pulls are few",
        "ghcr.io" => "any username and a personal access token with read:packages",
        "quay.io" => "robot account and its token; public repositories need none",
        "gcr.io" => "oauth2accesstoken and a token, or _json_key and the key file; public images need none",
        "registry.k8s.io" | "k8s.gcr.io" | "mcr.microsoft.com" | "public.ecr.aws" => return Login::Public,
        _ if ends(".amazonaws.com") || ends(".amazonaws.com.cn") => {
            "AWS and `aws ecr get-login-password`, for 12 hours"
        }
        _ if ends(".pkg.dev") || ends(".gcr.io") => "oauth2accesstoken and a token, or _json_key and the key file",
        _ if ends(".azurecr.io") => "service principal, or the zero UUID and a refresh token",
        _ if host.starts_with("swr.") => "region@access-key and the login key of SWR",
        _ if ends(".aliyuncs.com") => "account name and the registry's own password",
        _ if host.contains("harbor") => "user and CLI secret, or robot$name and its token",
        _ if host.contains("gitlab") => "user and access token, or a deploy token",
        _ => return Login::Unknown,
    })
}

/// An auth.json whose passwords come from the environment.
pub fn skeleton<'a>(sources: impl IntoIterator<Item = &'a Registry>, target: Option<&Target>) -> String {
    let mut taken = HashSet::new();
    let mut entries: Vec<(String, Option<String>)> = sources
        .into_iter()
        .filter(|source| target.is_none_or(|target| target.registry != **source || !target.namespace.is_empty()))
        .map(|registry| {
            let has_login = login(registry) != Login::Public;
            (registry.to_string(), has_login.then(|| variable(registry.as_str(), &mut taken)))
        })
        .collect();
    if let Some(target) = target {
        entries.push((target.to_string(), Some(variable(&target.to_string(), &mut taken))));
    }
    let mut text = "{".to_owned();
    for (index, (key, variable)) in entries.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Keys and variables are hosts, paths and capitals: nothing in them needs to be escaped.
        let _ = match variable {
            Some(name) => write!(
                text,
                "{comma}\n    \"{key}\": {{ \"username\": \"${{{name}_USERNAME}}\", \"password\": \"${{{name}_PASSWORD}}\" }}"
            ),
            None => write!(text, "{comma}\n    \"{key}\": {{}}"),
        };
    }
    text + if entries.is_empty() { "}\n" } else { "\n}\n" }
}

/// The name of an environment variable made of a registry's, with a number behind it where that of another one is the
/// same: nobody's password goes to anybody else.
fn variable(name: &str, taken: &mut HashSet<String>) -> String {
    let mut variable: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    if variable.starts_with(|c: char| c.is_ascii_digit()) {
        variable.insert(0, '_');
    }
    let numbered = (2_u64..).map(|number| format!("{variable}_{number}"));
    let free = std::iter::once(variable.clone()).chain(numbered).find(|name| !taken.contains(name));
    let free = free.unwrap_or(variable);
    taken.insert(free.clone());
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skeleton_has_a_placeholder_for_every_secret() {
        let registries: Vec<Registry> =
            ["127.0.0.1:5000", "docker.io", "registry.k8s.io"].map(|name| name.parse().unwrap()).into();
        let target: Target = "swr.example.com/team".parse().unwrap();
        assert_eq!(
            skeleton(&registries, Some(&target)),
            r#"{
    "127.0.0.1:5000": { "username": "${_127_0_0_1_5000_USERNAME}", "password": "${_127_0_0_1_5000_PASSWORD}" },
    "docker.io": { "username": "${DOCKER_IO_USERNAME}", "password": "${DOCKER_IO_PASSWORD}" },
    "registry.k8s.io": {},
    "swr.example.com/team": { "username": "${SWR_EXAMPLE_COM_TEAM_USERNAME}", "password": "${SWR_EXAMPLE_COM_TEAM_PASSWORD}" }
}
"#
        );
        assert_eq!(skeleton(&[], None), "{}\n");
    }

    #[test]
    fn no_two_registries_have_one_variable() {
        let registries: Vec<Registry> =
            ["reg-eu.example.com", "reg.eu.example.com"].map(|name| name.parse().unwrap()).into();
        let target: Target = "reg.eu/example.com".parse().unwrap();
        let text = skeleton(&registries, Some(&target));
        for (key, name) in [
            ("reg-eu.example.com", "REG_EU_EXAMPLE_COM"),
            ("reg.eu.example.com", "REG_EU_EXAMPLE_COM_2"),
            ("reg.eu/example.com", "REG_EU_EXAMPLE_COM_3"),
        ] {
            let entry = format!(
                "\"{key}\": {{ \"username\": \"${{{name}_USERNAME}}\", \"password\": \"${{{name}_PASSWORD}}\" }}"
            );
            assert!(text.contains(&entry), "{text}");
        }
    }
}
