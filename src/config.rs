//! Settings: turns files, flags and the environment into checked values.
//!
//! No text that could still be wrong leaves it. It reads files and the environment it is handed; it knows no
//! network and no command line. Whatever is wrong with a file as a whole is a [`ConfigError`]; a rule that
//! cannot be used is an [`InvalidRule`] beside the others, which run.

mod auth;
mod chained;
mod docker;
mod expand;
mod file;
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzz/targets/config.rs"]
pub(crate) mod fuzz;
mod images;
mod json;
mod misspelt;
mod name;
mod place;
#[cfg(test)]
mod properties;
mod recorded;
mod rule;
mod target;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

pub use auth::{AuthError, UnsetVariable};
pub use expand::Variables;
pub use file::FileError;
pub use json::JsonError;
pub use place::{At, Place, Positions};
pub use recorded::{Recorded, RecordedError, RecordedImage};
pub use rule::{Filter, Images, InvalidReason, InvalidRule, Rule, Shown, Which};
pub use target::{InvalidTarget, Target};

use crate::digest::Digest;
use crate::file::{folder, shown};
use crate::foreign::without_login;
use crate::reference::{Reference, Registry, Repository};
use crate::registry::Keyring;
use auth::Auth;
use images::Written;
use json::{Document, Value};

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub struct Sources {
    pub files: Files,
    /// Where an empty destination goes: a host.
    pub registry: Option<String>,
    /// Where an empty destination goes: a namespace, of one or several components.
    pub namespace: Option<String>,
    /// Whether manifests are converted on their way, and have other digests then.
    pub converts: bool,
}

/// The files of a configuration.
#[derive(Debug, Clone)]
pub enum Files {
    Separate {
        auth: AuthFile,
        /// `-` is standard input.
        images: PathBuf,
    },
    /// One file: `{"auth": {...}, "images": {...}}`.
    Combined(PathBuf),
}

/// A file of credentials alone.
#[derive(Debug, Clone)]
pub enum AuthFile {
    /// It is an error if there is no such file.
    Required(PathBuf),
    IfThere(PathBuf),
    None,
}

/// A configuration that can be used, and what cannot be used of it.
#[derive(Debug)]
pub struct Configuration {
    pub keyring: Keyring,
    /// In the order of the file.
    pub rules: Vec<Rule>,
    pub invalid: Vec<InvalidRule>,
    pub warnings: Vec<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Combined(#[from] At<CombinedProblem>),
    #[error(transparent)]
    Recorded(#[from] RecordedError),
    /// At least one variable, which the credentials of some rule need.
    #[error("{}", .0.iter().map(UnsetVariable::to_string).collect::<Vec<_>>().join("\n"))]
    Unset(Vec<UnsetVariable>),
}

/// What is wrong with a file that holds both credentials and rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CombinedProblem {
    #[error("unknown field {0:?}: expected \"auth\" and \"images\"")]
    UnknownField(String),
    #[error("the field {field:?} stands twice, first at {first}")]
    RepeatedField { field: String, first: Place },
    #[error("the field \"images\" is missing: expected {{\"auth\": {{...}}, \"images\": {{...}}}}")]
    NoImages,
}

/// Reads and checks the configuration.
pub fn load(sources: &Sources, environment: Variables) -> Result<Configuration, ConfigError> {
    let (auth, written) = read(sources, &|root, folder| auth::read(root, folder, environment))?;
    let (rules, invalid) = check(written, &auth.hosts, sources);
    let misspelt: Vec<String> = misspelt::warnings(&rules, &auth.hosts).collect();
    let asked = rules.iter().flat_map(|rule| [&rule.images.source, &rule.images.destination]);
    let (keyring, mut warnings) = credentials(auth, &sources.files, asked, "no rule", environment)?;
    warnings.extend(misspelt);
    Ok(Configuration { keyring, rules, invalid, warnings })
}

/// What should be known before these rules are carried out, although they can be.
pub fn before_copying(rules: &[Rule]) -> impl Iterator<Item = String> {
    rules.iter().filter_map(Rule::warning).chain(chained::warnings(rules))
}

/// As [`load`], with the images of the report of an earlier migration in place of rules; and what it left at each
/// destination.
pub fn load_recorded(
    report: &Path,
    files: &Files,
    environment: Variables,
) -> Result<(Configuration, HashMap<Reference, Option<Digest>>), ConfigError> {
    let of_auth = |root: Value, folder: &Path| auth::read(root, folder, environment);
    let auth = match files {
        Files::Separate { auth, .. } => read_auth(auth, &of_auth)?,
        Files::Combined(path) => read_combined(path, &of_auth)?.0,
    };
    let recorded = read_report(report, "--against names the report")?;
    let part = (!recorded.shards.is_empty()).then(|| {
        let shards = recorded.shards.join(", ");
        format!("{} is of shard {shards} alone: no image of the others is looked at", shown(report))
    });
    let rules: Vec<Rule> = recorded.images.iter().map(RecordedImage::rule).collect();
    let asked = rules.iter().map(|rule| &rule.images.destination);
    let (keyring, mut warnings) = credentials(auth, files, asked, "no image of the report", environment)?;
    warnings.extend(part);
    let digests = recorded.digests();
    Ok((Configuration { keyring, rules, invalid: recorded.not_generated, warnings }, digests))
}

/// The report of an earlier migration; `advice` says what to do if it cannot be read.
pub fn read_report(path: &Path, advice: &'static str) -> Result<Recorded, ConfigError> {
    Ok(recorded::read(Document::parse(&shown(path), file::read_report(path, advice)?)?.root())?)
}

/// The credentials, and the warnings about them. Fails if one of the repositories that are `asked` needs a variable that is
/// not set; `nobody` are those that do not need an entry.
fn credentials<'a>(
    auth: Auth,
    files: &Files,
    asked: impl Iterator<Item = &'a Repository>,
    nobody: &str,
    environment: Variables,
) -> Result<(Keyring, Vec<String>), ConfigError> {
    let exposed = exposed(&auth, files);
    let (used, unused) = auth.unset.split_by_use(asked);
    if !used.is_empty() {
        return Err(ConfigError::Unset(used));
    }
    let unused = unused.iter().map(|variable| format!("{variable}; {nobody} uses this entry"));
    let mut keyring = auth.keyring;
    keyring.set_store(Box::new(docker::UserStore::new(environment)));
    Ok((keyring, exposed.into_iter().chain(auth.warnings).chain(unused).collect()))
}

/// Reads and checks the rules alone, for commands that talk to no registry: they need only the hosts of auth.json.
pub fn load_rules(sources: &Sources) -> Result<(Vec<Rule>, Vec<InvalidRule>), ConfigError> {
    let (hosts, written) = read(sources, &|root, _| auth::hosts(root))?;
    Ok(check(written, &hosts, sources))
}

/// Takes what the caller needs from the content of auth.json. The path is the folder of that file.
type OfAuth<'f, A> = &'f dyn Fn(Value, &Path) -> Result<A, AuthError>;

fn read<A: Default>(sources: &Sources, of_auth: OfAuth<A>) -> Result<(A, Vec<Written>), ConfigError> {
    match &sources.files {
        Files::Separate { auth, images } => Ok((read_auth(auth, of_auth)?, images::read(read_images(images)?.root())?)),
        Files::Combined(path) => read_combined(path, of_auth),
    }
}

fn read_auth<A: Default>(auth: &AuthFile, of_auth: OfAuth<A>) -> Result<A, ConfigError> {
    let (AuthFile::Required(path) | AuthFile::IfThere(path)) = auth else { return Ok(A::default()) };
    match file::read(path, "--auth names the file of credentials") {
        Ok(content) => {
            let document = Document::parse(&shown(path), content)?;
            Ok(of_auth(document.root(), folder(path))?)
        }
        Err(error) if error.is_not_found() && matches!(auth, AuthFile::IfThere(_)) => Ok(A::default()),
        Err(error) => Err(error.into()),
    }
}

/// What is to be said of a file whose passwords everybody may read.
fn exposed(auth: &Auth, files: &Files) -> Option<String> {
    let (Files::Separate { auth: AuthFile::Required(path) | AuthFile::IfThere(path), .. } | Files::Combined(path)) =
        files
    else {
        return None;
    };
    (auth.holds_secrets && file::is_open_to_all(path)).then(|| {
        let name = shown(path);
        format!("{name} holds passwords, and everybody on this machine may read it: chmod 600 {name}")
    })
}

fn read_images(path: &Path) -> Result<Document, ConfigError> {
    if path == Path::new("-") {
        return Ok(Document::parse("stdin", file::read_stdin()?)?);
    }
    Ok(Document::parse(&shown(path), file::read(path, "--images names the file of rules")?)?)
}

fn read_combined<A: Default>(path: &Path, of_auth: OfAuth<A>) -> Result<(A, Vec<Written>), ConfigError> {
    let content = file::read(path, "--config names the file of credentials and rules")?;
    let document = Document::parse(&shown(path), content)?;
    let (mut auth, mut images) = (None, None);
    for member in document.root().members("an object with \"auth\" and \"images\"")? {
        let place = member.place();
        let slot: &mut Option<(Place, Value)> = match member.name.as_str() {
            "auth" => &mut auth,
            "images" => &mut images,
            _ => return Err(place.at(CombinedProblem::UnknownField(without_login(&member.name))).into()),
        };
        if let Some((first, _)) = slot.replace((place.clone(), member.value)) {
            return Err(place.at(CombinedProblem::RepeatedField { field: member.name, first }).into());
        }
    }
    let Some((_, images)) = images else {
        return Err(document.root().place().at(CombinedProblem::NoImages).into());
    };
    let auth = match auth {
        Some((_, auth)) => of_auth(auth, folder(path))?,
        None => A::default(),
    };
    Ok((auth, images::read(images)?))
}

/// Whether `text` may be a default registry; empty is none.
pub fn check_default_registry(text: &str) -> Result<(), name::InvalidName> {
    if text.is_empty() { Ok(()) } else { name::registry(text).map(drop) }
}

/// Whether `text` may be a default namespace; empty is none.
pub fn check_default_namespace(text: &str) -> Result<(), name::InvalidName> {
    if text.is_empty() { Ok(()) } else { name::namespace(name::registry("localhost")?, text).map(drop) }
}

fn check(written: Vec<Written>, hosts: &HashSet<Registry>, sources: &Sources) -> (Vec<Rule>, Vec<InvalidRule>) {
    let (registry, namespace) = (sources.registry.as_deref(), sources.namespace.as_deref());
    let mut checker = rule::Checker::new(hosts, registry, namespace, sources.converts);
    let (mut rules, mut invalid) = (Vec::with_capacity(written.len()), Vec::new());
    for rule in written {
        match checker.check(rule) {
            Ok(rule) => rules.push(rule),
            Err(rule) => invalid.push(*rule),
        }
    }
    (rules, invalid)
}

#[cfg(test)]
mod tests;
