//! The flags that say which images are meant, which several commands have.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::conversion::ConversionFlags;
use crate::config::{self, AuthFile, Files, Sources};
use crate::transfer::Conversion;

pub(super) const DEFAULT_AUTH: &str = "./auth.json";

/// Rules, and the credentials for them.
#[derive(Debug, Args)]
pub(super) struct Inputs {
    /// Credentials: {"registry[/namespace]": {"username": "...", "password": "..."}}
    /// [default: ./auth.json; without it, the logins of docker login, else anonymous]
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    auth: Option<PathBuf>,

    #[command(flatten)]
    rules: RuleFlags,

    #[command(flatten)]
    conversion: ConversionFlags,
}

/// The rules.
#[derive(Debug, Args)]
pub(super) struct RuleFlags {
    /// Rules: {"source": "destination" | ["destination", ...] | ""}; - is stdin
    #[arg(long, value_name = "FILE", default_value = "./images.json")]
    pub images: PathBuf,

    /// One file with credentials and rules: {"auth": {...}, "images": {...}}
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    pub config: Option<PathBuf>,

    /// Namespace for images whose destination is ""; may have several components [env: DEFAULT_NAMESPACE]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,

    /// Registry for images whose destination is "" [env: DEFAULT_REGISTRY]
    #[arg(long, value_name = "HOST")]
    registry: Option<String>,
}

/// What was typed, else what the environment has. clap would ask that for every command, also for those without the flag.
fn given(typed: &Option<String>, variable: &str) -> anyhow::Result<Option<String>> {
    let value = match (typed, std::env::var_os(variable)) {
        (None, Some(value)) => Some(value.into_string().map_err(|_| anyhow!("{variable} is not UTF-8"))?),
        _ => typed.clone(),
    };
    Ok(value.filter(|value| !value.is_empty()))
}

impl Inputs {
    /// The files that are read: no other is to be written over them.
    pub fn files(&self) -> Vec<&Path> {
        match &self.rules.config {
            Some(path) => vec![path],
            None => vec![self.auth.as_deref().unwrap_or(Path::new(DEFAULT_AUTH)), &self.rules.images],
        }
    }

    pub fn sources(&self) -> anyhow::Result<Sources> {
        Ok(Sources { converts: self.conversion().changes_images(), ..self.rules.sources(self.auth.as_deref())? })
    }

    /// What images become on their way.
    pub fn conversion(&self) -> Conversion {
        self.conversion.conversion()
    }
}

impl RuleFlags {
    /// With the credentials of `auth`, if that was named.
    pub fn sources(&self, auth: Option<&Path>) -> anyhow::Result<Sources> {
        let files = match &self.config {
            Some(path) => Files::Combined(path.clone()),
            None => Files::Separate {
                auth: match auth {
                    Some(path) => AuthFile::Required(path.to_owned()),
                    None => AuthFile::IfThere(DEFAULT_AUTH.into()),
                },
                images: self.images.clone(),
            },
        };
        // Of what the environment has only the rules are invalid that need it. Not when clap reads the flags: it would repeat
        // the text, in which there may be a login.
        self.registry.as_deref().map(config::check_default_registry).transpose().context("--registry")?;
        self.namespace.as_deref().map(config::check_default_namespace).transpose().context("--namespace")?;
        let registry = given(&self.registry, "DEFAULT_REGISTRY")?;
        let namespace = given(&self.namespace, "DEFAULT_NAMESPACE")?;
        Ok(Sources { files, registry, namespace, converts: false })
    }
}
