//! What an operator can do where a registry has no place for what is pushed: by the registry's host, and by what it says.
//!
//! Most registries make a repository with the first push to it. Those that do not want it, or what it is in, to be made
//! before, each with a tool of its own.

use crate::reference::Repository;

use super::error::{ErrorKind, tells_of_room};

/// How a repository comes to be at a registry, or what it is in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Advice {
    /// What to do, as the end of a sentence.
    pub sentence: String,
    /// A line for a shell: a command that does it, or a comment where there is none.
    pub line: String,
}

/// The kind of registry, as far as it can be told from its host.
#[derive(Debug, PartialEq, Eq)]
enum Service<'a> {
    Ecr { region: &'a str },
    EcrPublic,
    ArtifactRegistry { location: &'a str },
    ContainerRegistry { location: &'static str },
    Azure,
    Swr { region: &'a str },
    Aliyun,
    JFrog,
    Quay,
    DockerHub,
    GitHub,
    GitLab,
    Harbor,
    Other,
}

/// What a refusal to open an upload says, if that is that the repository is not there.
pub(super) fn told(repository: &Repository, refusal: ErrorKind) -> ErrorKind {
    match refusal {
        ErrorKind::Status { status, codes, message, .. }
            if is_missing(repository, status.as_u16(), &codes, &message) =>
        {
            ErrorKind::NoRepository { repository: Box::new(repository.clone()), status, message }
        }
        other => other,
    }
}

fn is_missing(repository: &Repository, status: u16, codes: &[String], message: &str) -> bool {
    let has = |wanted: &[&str]| codes.iter().any(|code| wanted.contains(&code.as_str()));
    let text = message.to_ascii_lowercase();
    let says_so = || ["not found", "not exist", "no such", "unknown"].iter().any(|words| text.contains(words));
    match status {
        404 => true,
        // Artifact Registry calls a name with too few parts invalid, and others one whose first part they do not know.
        400 => has(&["NAME_UNKNOWN", "NAME_INVALID"]),
        // Harbor says 401 of a project that does not exist. Elsewhere what is not there and what is not shown look the
        // same; a place that must be made first is likelier.
        401 | 403 => says_so() || Service::of(repository, &text).hides_what_is_missing() && !tells_of_room(message),
        _ => false,
    }
}

/// What to do about a repository that is not there. `message` is what the registry said.
pub(super) fn create(repository: &Repository, message: &str) -> Advice {
    let (host, path) = (repository.registry().as_str(), repository.path());
    let parts: Vec<&str> = path.split('/').collect();
    let first = parts.first().copied().unwrap_or_default();
    let with = |line: String| Advice { sentence: format!("create it: {line}"), line };
    let by_hand = |what: String| Advice { line: format!("# {host}: {what}"), sentence: what };
    match Service::of(repository, &message.to_ascii_lowercase()) {
        Service::Ecr { region } => {
            with(format!("aws ecr create-repository --repository-name {path} --region {region}"))
        }
        Service::EcrPublic => {
            // The first part is the name of whose registry it is.
            let name = path.split_once('/').map_or(path, |(_, name)| name);
            with(format!("aws ecr-public create-repository --repository-name {name} --region us-east-1"))
        }
        Service::ArtifactRegistry { location } => match parts.as_slice() {
            [project, name, _, ..] => with(format!(
                "gcloud artifacts repositories create {name} --repository-format=docker --location={location} \
                 --project={project}"
            )),
            _ => by_hand(format!("names here are project/repository/image, and {path} has fewer parts")),
        },
        Service::ContainerRegistry { location } => with(format!(
            "gcloud artifacts repositories create {host} --repository-format=docker --location={location} \
             --project={first}"
        )),
        Service::Azure => by_hand(format!(
            "repositories are made by the first push; see that {host} is the registry's login server and that the \
             account has the role AcrPush"
        )),
        Service::Swr { region } => Advice {
            sentence: format!("the organization {first} must exist and the account must have the right to edit in it"),
            line: format!("hcloud SWR CreateNamespace --cli-region={region} --namespace={first}"),
        },
        Service::Aliyun => by_hand(format!(
            "create the namespace {first}, and in it the repository {path} unless the namespace creates repositories \
             with the first push"
        )),
        Service::JFrog => Advice {
            sentence: format!("the repository key {first} must be that of a local Docker repository"),
            line: format!(
                "curl -u USER -X PUT https://{host}/artifactory/api/repositories/{first} -H 'Content-Type: \
                 application/json' -d '{{\"rclass\": \"local\", \"packageType\": \"docker\"}}'"
            ),
        },
        Service::Harbor => Advice {
            sentence: format!("create the project {first}"),
            line: format!(
                "curl -u USER https://{host}/api/v2.0/projects -H 'Content-Type: application/json' -d \
                 '{{\"project_name\": \"{first}\"}}'"
            ),
        },
        Service::Quay => by_hand(format!(
            "create the organization {first} and let the account create repositories in it, or create {path} itself and \
             let the account write to it"
        )),
        Service::DockerHub | Service::GitHub => {
            by_hand(format!("the namespace {first} must exist and the account must be allowed to push to it"))
        }
        Service::GitLab => {
            by_hand(format!("create the project that {path} belongs to, and let the account push to its registry"))
        }
        Service::Other => by_hand(format!("create the repository {path}, or what it is in, at {host}")),
    }
}

impl<'a> Service<'a> {
    /// By the host; or, as anybody may host a Harbor or a Quay anywhere, by what it said.
    fn of(repository: &'a Repository, said: &str) -> Self {
        let registry = repository.registry();
        let host = registry.as_str();
        let labels: Vec<&str> = host.split('.').collect();
        match labels.as_slice() {
            _ if registry.is_docker_hub() => Self::DockerHub,
            ["public", "ecr", "aws"] => Self::EcrPublic,
            [_, "dkr", "ecr" | "ecr-fips", region, "amazonaws", ..] => Self::Ecr { region },
            [place, "pkg", "dev"] if place.ends_with("-docker") => {
                Self::ArtifactRegistry { location: place.trim_end_matches("-docker") }
            }
            ["gcr", "io"] | ["us", "gcr", "io"] => Self::ContainerRegistry { location: "us" },
            ["eu", "gcr", "io"] => Self::ContainerRegistry { location: "europe" },
            ["asia", "gcr", "io"] => Self::ContainerRegistry { location: "asia" },
            [.., "azurecr", "io" | "cn" | "us"] => Self::Azure,
            ["swr", region, "myhuaweicloud" | "myhwclouds", ..] => Self::Swr { region },
            [.., "aliyuncs", "com"] => Self::Aliyun,
            [.., "jfrog", "io"] => Self::JFrog,
            ["quay", "io"] => Self::Quay,
            ["ghcr", "io"] => Self::GitHub,
            ["registry", "gitlab", "com"] => Self::GitLab,
            _ if said.contains("project") && said.contains("not found") => Self::Harbor,
            _ if said.contains("access to the requested resource is not authorized") => Self::Quay,
            _ => Self::Other,
        }
    }

    /// Whether a push to what does not exist is answered as if it were forbidden.
    fn hides_what_is_missing(&self) -> bool {
        matches!(
            self,
            Self::DockerHub | Self::GitHub | Self::GitLab | Self::Quay | Self::Swr { .. } | Self::Aliyun | Self::JFrog
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, message: &str) -> String {
        create(&name.parse().unwrap(), message).line
    }

    #[test]
    fn each_registry_has_its_own_command() {
        for (name, expected) in [
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app",
                "aws ecr create-repository --repository-name team/app --region eu-west-1",
            ),
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/app",
                "aws ecr create-repository --repository-name app --region cn-north-1",
            ),
            (
                "public.ecr.aws/a1b2c3/team/app",
                "aws ecr-public create-repository --repository-name team/app --region us-east-1",
            ),
            (
                "europe-west4-docker.pkg.dev/project/images/team/app",
                "gcloud artifacts repositories create images --repository-format=docker --location=europe-west4 \
                 --project=project",
            ),
            (
                "eu.gcr.io/project/app",
                "gcloud artifacts repositories create eu.gcr.io --repository-format=docker --location=europe \
                 --project=project",
            ),
            (
                "swr.cn-north-4.myhuaweicloud.com/team/app",
                "hcloud SWR CreateNamespace --cli-region=cn-north-4 --namespace=team",
            ),
        ] {
            assert_eq!(line(name, ""), expected);
        }
        let of_harbor =
            line("harbor.example.com/team/app", "UNAUTHORIZED: project team not found: project team not found");
        assert!(of_harbor.starts_with("curl -u USER https://harbor.example.com/api/v2.0/projects "), "{of_harbor}");
        let of_quay =
            line("r.example.com/team/app", "UNAUTHORIZED: access to the requested resource is not authorized");
        assert!(of_quay.starts_with("# r.example.com: create the organization team"), "{of_quay}");
        let of_jfrog = line("acme.jfrog.io/docker-local/app", "");
        assert!(of_jfrog.contains("https://acme.jfrog.io/artifactory/api/repositories/docker-local "), "{of_jfrog}");
    }

    #[test]
    fn where_no_command_does_it_a_comment_says_what_to_do() {
        for name in [
            "quay.io/team/app",
            "docker.io/team/app",
            "ghcr.io/team/app",
            "registry.gitlab.com/team/app",
            "registry.cn-hangzhou.aliyuncs.com/team/app",
            "acme-registry.cn-hangzhou.cr.aliyuncs.com/team/app",
            "acme.azurecr.io/team/app",
            "europe-docker.pkg.dev/project/app",
            "r.example.com/team/app",
        ] {
            let Advice { sentence, line } = create(&name.parse().unwrap(), "");
            let host = name.split('/').next().unwrap();
            assert!(line.starts_with(&format!("# {host}: ")) && line.ends_with(&sentence), "{line}");
        }
    }

    #[test]
    fn a_missing_repository_is_told_from_a_forbidden_one() {
        let is = |name: &str, status, code: &str, message: &str| {
            is_missing(&name.parse().unwrap(), status, &[code.to_owned()], message)
        };
        let own = "r.example.com/team/app";
        assert!(is(own, 404, "NAME_UNKNOWN", "The repository with name 'team/app' does not exist"));
        assert!(is(own, 401, "UNAUTHORIZED", "project team not found: project team not found"));
        assert!(is("eu-docker.pkg.dev/p/app", 400, "NAME_INVALID", "Missing image name"));
        assert!(is("quay.io/team/app", 401, "UNAUTHORIZED", "access to the requested resource is not authorized"));
        assert!(is(own, 401, "UNAUTHORIZED", "access to the requested resource is not authorized"), "a Quay");
        assert!(is("docker.io/team/app", 403, "DENIED", "requested access to the resource is denied"));
        assert!(!is(own, 401, "UNAUTHORIZED", "authentication required"));
        assert!(!is(own, 403, "DENIED", "requested access to the resource is denied"));
        for full in ["Quota has been exceeded on namespace", "storage limit exceeded", "LimitExceededException: full"] {
            assert!(!is("quay.io/team/app", 403, "DENIED", full), "{full}");
        }
        assert!(!is(own, 405, "UNSUPPORTED", "read-only"));
    }
}
