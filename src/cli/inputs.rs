//! The flags that say which images are meant, which several commands have.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::config::{Files, Sources};

pub(super) const DEFAULT_AUTH: &str = "./auth.json";

#[derive(Debug, Args)]
pub(super) struct Inputs {
    /// Credentials: {"registry[/namespace]": {"username": "...", "password": "..."}}
    /// [default: ./auth.json; without it every registry is asked anonymously]
    #[arg(long, value_name = "FILE")]
    auth: Option<PathBuf>,

    /// Rules: {"source": "destination" | ["destination", ...] | ""}; - is stdin
    #[arg(long, value_name = "FILE", default_value = "./images.json")]
    images: PathBuf,

    /// One file in place of the two: {"auth": {...}, "images": {...}}
    #[arg(long, value_name = "FILE", conflicts_with_all = ["auth", "images"])]
    config: Option<PathBuf>,

    /// Namespace for images whose destination is ""; may have several components
    #[arg(long, value_name = "NAME", env = "DEFAULT_NAMESPACE", hide_env_values = true, value_parser = text("DEFAULT_NAMESPACE"))]
    namespace: Option<String>,

    /// Registry for images whose destination is ""
    #[arg(long, value_name = "HOST", env = "DEFAULT_REGISTRY", hide_env_values = true, value_parser = text("DEFAULT_REGISTRY"))]
    registry: Option<String>,
}

/// A text, from the command line or from the environment: of what is none clap does not say where it stands.
pub(super) fn text(variable: &'static str) -> impl TypedValueParser<Value = String> {
    let none = move |_| format!("it is not UTF-8; without the flag the value is that of {variable}");
    OsStringValueParser::new().try_map(move |value| value.into_string().map_err(none))
}

impl Inputs {
    /// The files that are read: no other is to be written over them.
    pub fn files(&self) -> Vec<&Path> {
        match &self.config {
            Some(path) => vec![path],
            None => vec![self.auth.as_deref().unwrap_or(Path::new(DEFAULT_AUTH)), &self.images],
        }
    }

    pub fn sources(&self) -> Sources {
        let files = match &self.config {
            Some(path) => Files::Combined(path.clone()),
            None => Files::Separate {
                auth: self.auth.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_AUTH)),
                auth_required: self.auth.is_some(),
                images: self.images.clone(),
            },
        };
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        Sources { files, registry: given(&self.registry), namespace: given(&self.namespace) }
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
