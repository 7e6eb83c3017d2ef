//! `image-migrator config`: reads a cluster and writes images.json.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::outputs::distinct;
use super::{Stopped, block_on, count, exit, print, say, signals};
use crate::cluster::{self, Existing, Findings, Inventory, Login, Patience, Wanted};
use crate::config::Target;
use crate::file::{self, shown};

/// Writes images.json from the images that the workloads of a Kubernetes cluster use.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 written; 1 the cluster could not be read, or a file not written; 2 wrong usage or \
                        configuration; 129, 130, 143 interrupted."
)]
pub(super) struct ConfigFlags {
    /// kubeconfig file [default: the files of $KUBECONFIG, else ~/.kube/config, else the service account of this pod]
    #[arg(short, long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Namespaces to read, separated by commas [default: all]
    #[arg(short, long, value_name = "LIST")]
    namespaces: Option<String>,

    /// Where the images are to go; without it every destination is "", and the migrator is told with
    /// --registry and --namespace
    #[arg(short = 't', long, value_name = "REGISTRY/NAMESPACE")]
    repo: Option<String>,

    /// Context of the kubeconfig [default: its current-context]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// File to write; - is standard output. One that exists is kept as FILE.bak, and the targets in it stay
    #[arg(short, long, value_name = "FILE", default_value = "./images.json")]
    output: PathBuf,

    /// Also write which namespace, kind, name and container uses each image, as JSON
    #[arg(long, value_name = "FILE")]
    usage: Option<PathBuf>,

    /// Also write an auth.json for the registries, with ${VARIABLES} in place of credentials
    #[arg(long, value_name = "FILE")]
    auth_skeleton: Option<PathBuf>,
}

/// The flags, checked.
struct Settings {
    wanted: Wanted,
    namespaces: Vec<String>,
    target: Option<Target>,
    existing: Existing,
}

pub(super) fn run(flags: ConfigFlags) -> Result<u8, Stopped> {
    let settings = check(&flags).map_err(Stopped::usage)?;
    let findings = block_on(async {
        let cancel = CancellationToken::new();
        let watched = signals::watch(cancel.clone()).context("signals cannot be watched");
        let interruption = watched.map_err(Stopped::failed)?;
        tokio::select! {
            findings = read(&settings) => findings,
            () = cancel.cancelled() => {
                let code = interruption.exit_code().unwrap_or(exit::FAILED);
                Err(Stopped { cause: anyhow!("interrupted; nothing was written"), code })
            }
        }
    })?;
    write(&flags, &settings, &findings?).map_err(Stopped::failed)
}

fn check(flags: &ConfigFlags) -> anyhow::Result<Settings> {
    let target = flags.repo.as_deref().filter(|repo| !repo.trim().is_empty());
    let target = target.map(|repo| cluster::read_target(repo).context("-t, --repo")).transpose()?;
    let namespaces = namespaces(flags.namespaces.as_deref().unwrap_or_default())?;
    check_files(flags)?;
    let earlier = if is_stdout(&flags.output) { Ok(Existing::default()) } else { Existing::read(&flags.output) };
    let existing = earlier.with_context(|| {
        format!("the targets in {} are kept; repair it, move it away, or choose another -o", shown(&flags.output))
    })?;
    let wanted = Wanted { kubeconfig: flags.kubeconfig.clone(), context: flags.context.clone() };
    Ok(Settings { wanted, namespaces, target, existing })
}

/// Fails if a file cannot be written, as far as that is known before there is anything to write.
fn check_files(flags: &ConfigFlags) -> anyhow::Result<()> {
    let output = (!is_stdout(&flags.output)).then_some(("-o, --output", &flags.output));
    let usage = flags.usage.as_ref().map(|file| ("--usage", file));
    let skeleton = flags.auth_skeleton.as_ref().map(|file| ("--auth-skeleton", file));
    let files = output.into_iter().chain(usage).chain(skeleton);
    let targets = files.map(|(flag, file)| file::Target::kept(file).context(flag)).collect::<Result<Vec<_>, _>>()?;
    let paths: Vec<&Path> = targets.iter().map(file::Target::path).collect();
    let inputs: Vec<&Path> = flags.kubeconfig.iter().map(PathBuf::as_path).collect();
    distinct(&paths, None, &inputs)
}

/// The namespaces of a list; none is all of them.
fn namespaces(list: &str) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.len() > 63 || !name.bytes().all(valid) || name.starts_with('-') || name.ends_with('-') {
            return Err(anyhow!(
                "-n, --namespaces: {name:?} is no name of a namespace: lower-case letters, digits and '-'"
            ));
        }
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

async fn read(settings: &Settings) -> Result<Findings, Stopped> {
    let environment = |name: &str| std::env::var_os(name);
    let access = cluster::access::open(&settings.wanted, &environment, Patience::default())
        .await
        .map_err(|error| if error.is_configuration() { Stopped::usage(error) } else { Stopped::failed(error) })?;
    cluster::read(&access, &settings.namespaces).await.map_err(Stopped::failed)
}

fn write(flags: &ConfigFlags, settings: &Settings, findings: &Findings) -> anyhow::Result<u8> {
    let inventory = Inventory::of(findings, settings.target.as_ref(), &settings.existing);
    for denied in &findings.denied {
        say(&format!("warning: not read, so images may be missing: {denied}"));
    }
    let ignored = settings.existing.invalid.iter().map(|rule| format!("{rule}; it is not kept"));
    for warning in ignored.chain(inventory.warnings.iter().cloned()) {
        say(&format!("warning: {warning}"));
    }
    if is_stdout(&flags.output) {
        print(inventory.images().as_bytes())?;
    } else {
        save(&flags.output, &inventory.images())?;
    }
    if let Some(file) = &flags.usage {
        save(file, &inventory.usage())?;
    }
    if let Some(file) = &flags.auth_skeleton {
        save(file, &inventory.auth_skeleton())?;
    }
    summarize(flags, settings, findings, &inventory);
    Ok(0)
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn save(path: &Path, text: &str) -> anyhow::Result<()> {
    let kept = cluster::write_keeping(path, text).with_context(|| format!("{} cannot be written", shown(path)))?;
    if let Some(kept) = kept {
        say(&format!("{} is kept as {}", shown(path), shown(&kept)));
    }
    Ok(())
}

fn summarize(flags: &ConfigFlags, settings: &Settings, findings: &Findings, inventory: &Inventory) {
    let kinds = findings.objects.iter().filter(|(_, number)| **number > 0);
    let kinds: Vec<String> = kinds.map(|(kind, number)| count(*number, &kind.as_str().to_lowercase())).collect();
    let detail = if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
    let workloads = count(findings.objects.values().sum(), "workload");
    say(&format!("Read {workloads} in {}{detail}", count(findings.namespaces.len(), "namespace")));
    let plan = &inventory.plan;
    let output = if is_stdout(&flags.output) { "standard output".to_owned() } else { shown(&flags.output) };
    if let (number @ 1.., Some(target)) = (plan.left_out.len(), &settings.target) {
        say(&format!("Left out, since they are under {target} already: {}", count(number, "image")));
    }
    if plan.kept > 0 {
        say(&format!("With the target they had in {output}: {}", count(plan.kept, "image")));
    }
    if let (number @ 1.., Some(target)) = (plan.kept_elsewhere, &settings.target) {
        say(&format!("Of these, not under {target}: {}; remove {output} to begin anew", count(number, "image")));
    }
    let unused = settings.existing.unused(|source| plan.rules.contains_key(source));
    if unused > 0 {
        say(&format!("In the earlier {output}, but not used any more: {}", count(unused, "image")));
    }
    if !plan.rules.is_empty() {
        say("Registries, and what an entry in auth.json holds for each:");
    }
    let target = settings.target.iter().filter(|_| !plan.rules.is_empty());
    let target = target.map(|target| (target.to_string(), "the target".to_owned(), &target.registry));
    let sources = inventory.registries.iter();
    let sources = sources.map(|(registry, number)| (registry.to_string(), count(*number, "image"), registry));
    for (name, what, registry) in sources.chain(target) {
        let login = cluster::login(registry);
        let colon = if login == Login::Unknown { "" } else { ": " };
        say(&format!("  {name} ({what}){colon}{login}"));
    }
    let registries = match inventory.registries.len() {
        1 => "1 registry".to_owned(),
        number => format!("{number} registries"),
    };
    say(&format!("{} from {registries} written to {output}", count(plan.rules.len(), "image")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_and_empty_parts_of_a_list_are_forgiven() {
        assert_eq!(namespaces(" a, b ,,a,").unwrap(), ["a", "b"]);
        assert_eq!(namespaces(" ").unwrap(), Vec::<String>::new());
        for list in ["A", "a b", "a/b", "-a", "../x"] {
            assert!(namespaces(list).is_err(), "{list}");
        }
    }
}
