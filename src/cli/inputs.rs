//! The flags that say which images are meant, which several commands have.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::conversion::ConversionFlags;
use crate::config::{Files, Sources};

pub(super) const DEFAULT_AUTH: &str = "./auth.json";

/// Rules, and the credentials for them.
#[derive(Debug, Args)]
pub(super) struct Inputs {
    /// Credentials: {"registry[/namespace]": {"username": "...", "password": "..."}}
    /// [default: ./auth.json; without it every registry is asked anonymously]
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    auth: Option<PathBuf>,

    #[command(flatten)]
    rules: RuleFlags,
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

    /// Namespace for images whose destination is ""; may have several components
    #[arg(long, value_name = "NAME", env = "DEFAULT_NAMESPACE", hide_env_values = true, value_parser = text("DEFAULT_NAMESPACE"))]
    namespace: Option<String>,

    /// Registry for images whose destination is ""
    #[arg(long, value_name = "HOST", env = "DEFAULT_REGISTRY", hide_env_values = true, value_parser = text("DEFAULT_REGISTRY"))]
    registry: Option<String>,
}

/// A text, from the command line or from the environment: of what is none clap does not say where it stands.
fn text(variable: &'static str) -> impl TypedValueParser<Value = String> {
    let none = move |_| format!("it is not UTF-8; without the flag the value is that of {variable}");
    OsStringValueParser::new().try_map(move |value| value.into_string().map_err(none))
}

impl Inputs {
    /// The files that are read: no other is to be written over them.
    pub fn files(&self) -> Vec<&Path> {
        match &self.rules.config {
            Some(path) => vec![path],
            None => vec![self.auth.as_deref().unwrap_or(Path::new(DEFAULT_AUTH)), &self.rules.images],
        }
    }

    /// For images that are converted as these flags say.
    pub fn sources(&self, conversion: &ConversionFlags) -> Sources {
        Sources { converts: !conversion.conversion().is_none(), ..self.rules.sources(self.auth.as_deref()) }
    }
}

impl RuleFlags {
    /// With the credentials of `auth`, if that was named.
    pub fn sources(&self, auth: Option<&Path>) -> Sources {
        let files = match &self.config {
            Some(path) => Files::Combined(path.clone()),
            None => Files::Separate {
                auth: auth.unwrap_or(Path::new(DEFAULT_AUTH)).to_owned(),
                auth_required: auth.is_some(),
                images: self.images.clone(),
            },
        };
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        Sources { files, registry: given(&self.registry), namespace: given(&self.namespace), converts: false }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use clap::Parser as _;

    #[test]
    fn a_value_that_is_no_text_is_named_with_the_variable_it_may_come_from() {
        for (flag, variable) in [("--registry", "DEFAULT_REGISTRY"), ("--namespace", "DEFAULT_NAMESPACE")] {
            for command in ["verify", "rewrite"] {
                let words =
                    ["image-migrator", command, flag].map(OsStr::new).into_iter().chain([OsStr::from_bytes(b"\xff")]);
                let error = crate::cli::Cli::try_parse_from(words).unwrap_err().to_string();
                assert!(error.contains(&format!("that of {variable}")), "{error}");
            }
        }
    }
}
