//! kubeconfig files: which are read, and what the context in them chooses.
//!
//! As kubectl: files of `$KUBECONFIG` that do not exist are passed over, and of several the first to say something
//! is right.

#[cfg(any(test, fuzzing))]
#[path = "../../../tests/fuzz/targets/kubeconfig.rs"]
pub(crate) mod fuzz;

use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Cluster, Kubeconfig, KubeconfigError};

use super::{AccessError, Wanted};
use crate::config::Variables;
use crate::file::shown;

/// The cluster and user of a context.
pub struct Chosen {
    pub context: String,
    pub cluster_name: String,
    pub cluster: Cluster,
    pub user_name: String,
    pub user: AuthInfo,
}

/// What the files say; `None` is that this is a pod and there are no files.
pub fn choose(wanted: &Wanted, environment: Variables) -> Result<Option<Chosen>, AccessError> {
    let (files, must_exist) = files(wanted, environment);
    let mut merged: Option<Kubeconfig> = None;
    for file in &files {
        if !must_exist && matches!(std::fs::exists(file), Ok(false)) {
            continue;
        }
        let mut next = Kubeconfig::read_from(file).map_err(|error| unreadable(file, &error))?;
        // An empty one is none, and leaves it to the files behind.
        next.current_context = next.current_context.filter(|name| !name.is_empty());
        merged = Some(match merged {
            None => next,
            Some(merged) => merged.merge(next).map_err(|error| unreadable(file, &error))?,
        });
    }
    match merged {
        Some(merged) => select(&merged, wanted.context.as_deref()).map(Some),
        // A pod's own cluster has no contexts to choose from.
        None if wanted.context.is_none() && environment("KUBERNETES_SERVICE_HOST").is_some() => Ok(None),
        None => Err(AccessError::NoKubeconfig { looked: looked(&files) }),
    }
}

/// The files that may be read, and whether it is an error that one does not exist.
fn files(wanted: &Wanted, environment: Variables) -> (Vec<PathBuf>, bool) {
    if let Some(file) = &wanted.kubeconfig {
        return (vec![file.clone()], true);
    }
    let listed = environment("KUBECONFIG").unwrap_or_default();
    let listed: Vec<PathBuf> = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    if !listed.is_empty() {
        return (listed, false);
    }
    let home = ["HOME", "USERPROFILE"].into_iter().find_map(|name| environment(name).filter(|home| !home.is_empty()));
    (home.map(|home| Path::new(&home).join(".kube").join("config")).into_iter().collect(), false)
}

fn looked(files: &[PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(|file| shown(file)).collect();
    match files.as_slice() {
        [] => "neither KUBECONFIG nor HOME is set".to_owned(),
        [file] => format!("{file} does not exist"),
        files => format!("none of {} exists", files.join(", ")),
    }
}

fn unreadable(file: &Path, error: &KubeconfigError) -> AccessError {
    let reason = match error {
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        // The parser draws the file, which may hold secrets: its first line says what is wrong.
        KubeconfigError::Parse(error) => {
            let drawn = error.to_string();
            let line = drawn.lines().next().unwrap_or("it is not YAML");
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        }
        error => error.to_string(),
    };
    AccessError::Kubeconfig { file: shown(file), reason }
}

fn select(config: &Kubeconfig, context: Option<&str>) -> Result<Chosen, AccessError> {
    let known = || config.contexts.iter().map(|context| context.name.clone()).collect();
    let current = config.current_context.as_deref().filter(|name| !name.is_empty());
    let Some(name) = context.or(current) else {
        return Err(AccessError::NoContext { known: known() });
    };
    let found = config.contexts.iter().find(|known| known.name == name).and_then(|known| known.context.clone());
    let Some(context) = found else {
        return Err(AccessError::UnknownContext { name: name.to_owned(), known: known() });
    };
    let dangling =
        |what, missing: &str| AccessError::Dangling { context: name.to_owned(), what, name: missing.to_owned() };
    let cluster = config.clusters.iter().find(|known| known.name == context.cluster);
    let cluster =
        cluster.and_then(|known| known.cluster.clone()).ok_or_else(|| dangling("cluster", &context.cluster))?;
    let user_name = context.user.unwrap_or_default();
    let user = match config.auth_infos.iter().find(|known| known.name == user_name) {
        Some(known) => known.auth_info.clone().unwrap_or_default(),
        None if user_name.is_empty() => AuthInfo::default(),
        None => return Err(dangling("user", &user_name)),
    };
    Ok(Chosen { context: name.to_owned(), cluster_name: context.cluster, cluster, user_name, user })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(current: &str, contexts: &str) -> Kubeconfig {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: '{current}'\ncontexts: [{contexts}]\n\
             clusters: [{{name: c, cluster: {{server: 'https://c'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]"
        );
        Kubeconfig::from_yaml(&text).unwrap()
    }

    const GOOD: &str = "{name: good, context: {cluster: c, user: u}}";

    #[test]
    fn the_context_chooses() {
        let both = config("good", &format!("{GOOD}, {{name: other, context: {{cluster: c}}}}"));
        assert_eq!(select(&both, None).unwrap().user_name, "u");
        assert_eq!(select(&both, Some("other")).unwrap().user_name, "");
    }

    #[test]
    fn a_context_that_leads_nowhere_is_told_with_those_that_exist() {
        let error = |config: &Kubeconfig, context| select(config, context).err().unwrap().to_string();
        let good = config("", GOOD);
        assert_eq!(error(&good, None), "the kubeconfig has no current-context; --context chooses one of: good");
        assert_eq!(error(&good, Some("x")), "the kubeconfig has no context \"x\"; it has: good");
        let obeyed = config("", r#"{name: "\x1b[2J", context: {cluster: c}}"#);
        assert!(error(&obeyed, None).ends_with("chooses one of: \u{fffd}[2J"));
        let dangling = config("a", "{name: a, context: {cluster: x}}, {name: b, context: {cluster: c, user: y}}");
        assert!(error(&dangling, None).contains("names the cluster \"x\", which"));
        assert!(error(&dangling, Some("b")).contains("names the user \"y\", which"));
    }

    #[test]
    fn an_empty_current_context_leaves_it_to_the_next_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("a"), "apiVersion: v1\nkind: Config\ncurrent-context: ''\n").unwrap();
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: good\ncontexts: [{GOOD}]\n\
             clusters: [{{name: c, cluster: {{server: 'https://c'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]"
        );
        std::fs::write(path("b"), text).unwrap();
        let listed = std::env::join_paths([path("a"), path("b")]).unwrap();
        let environment = |name: &str| (name == "KUBECONFIG").then(|| listed.clone());
        assert_eq!(choose(&Wanted::default(), &environment).unwrap().unwrap().context, "good");
    }

    #[test]
    fn what_is_no_kubeconfig_is_told_without_what_stands_there() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "users:\n- name: u\n  user: {token: [s3cret]}\n").unwrap();
        let wanted = Wanted { kubeconfig: Some(file.path().to_owned()), context: None };
        let error = choose(&wanted, &|_| None).err().unwrap().to_string();
        let name = shown(file.path());
        assert!(error.starts_with(&format!("cannot read the kubeconfig {name}: line 3 column ")), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn the_flag_comes_before_the_variable_and_that_before_the_home() {
        let environment = |name: &str| match name {
            "KUBECONFIG" => Some("/a:/b::".into()),
            "HOME" => Some("/home/x".into()),
            _ => None,
        };
        let flag = Wanted { kubeconfig: Some("/f".into()), context: None };
        assert_eq!(files(&flag, &environment), (vec!["/f".into()], true));
        assert_eq!(files(&Wanted::default(), &environment), (vec!["/a".into(), "/b".into()], false));
        let home = |name: &str| (name == "HOME").then(|| "/home/x".into());
        assert_eq!(files(&Wanted::default(), &home), (vec!["/home/x/.kube/config".into()], false));
        let error = choose(&Wanted::default(), &|_| None).err().unwrap().to_string();
        assert!(error.contains("neither KUBECONFIG nor HOME is set"), "{error}");
    }
}
