//! Reading a cluster: every kind in every namespace that is wanted, page by page.
//!
//! What the account may not list is noted, and the rest is read. Anything else that goes wrong ends the reading:
//! a file that lacks images without saying so would be worse than none.

use super::access::Access;
use super::api::{self, ApiError};
use super::findings::{Denied, Findings};
use super::kinds::Kind;

/// Why a cluster could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("the cluster {server} has no namespace {}", .missing.join(", "))]
    NoNamespace { server: String, missing: Vec<String> },
    #[error(
        "there is no Kubernetes at {server}: it answers every list with 404; is this the address of an API server, with \
         all of its path?"
    )]
    NoKubernetes { server: String },
    #[error(
        "nothing of the cluster {server} may be read by {identity}: it may list neither workloads nor pods{}; the first \
         refusal: {first}",
        if *.everywhere { " in all namespaces (-n names those it may read)" } else { "" }
    )]
    NothingReadable { server: String, identity: String, everywhere: bool, first: Denied },
}

/// What became of a list.
#[derive(PartialEq, Eq)]
enum Answer {
    Listed,
    /// It is there, and this account may not have it.
    Refused,
    /// There is nothing of that name.
    NotServed,
}

/// Reads what the namespaces use; none named is all of them.
pub async fn read(access: &Access, namespaces: &[String]) -> Result<Findings, ReadError> {
    check(access, namespaces).await?;
    let mut findings = Findings::default();
    let scopes: Vec<Option<&str>> = match namespaces {
        [] => vec![None],
        named => named.iter().map(|name| Some(name.as_str())).collect(),
    };
    let (mut something, mut is_kubernetes) = (false, false);
    for &namespace in &scopes {
        let mut covered = Vec::new();
        for kind in Kind::ALL {
            let answer = read_kind(access, kind, namespace, &covered, &mut findings).await?;
            is_kubernetes |= answer != Answer::NotServed;
            if answer == Answer::Listed {
                covered.push(kind);
            }
        }
        something |= !covered.is_empty();
    }
    match findings.denied.first() {
        _ if !is_kubernetes => Err(ReadError::NoKubernetes { server: access.server.clone() }),
        Some(first) if !something => Err(ReadError::NothingReadable {
            server: access.server.clone(),
            identity: access.identity.clone(),
            everywhere: namespaces.is_empty(),
            first: first.clone(),
        }),
        _ => {
            findings.finish();
            Ok(findings)
        }
    }
}

/// Says which of the namespaces do not exist, where the account may ask.
async fn check(access: &Access, namespaces: &[String]) -> Result<(), ReadError> {
    let mut missing = Vec::new();
    for name in namespaces {
        match api::get(access, &format!("/api/v1/namespaces/{name}")).await {
            Ok(_) => {}
            Err(error) => match error.code() {
                Some(404) => missing.push(name.clone()),
                // It need not be allowed to see a namespace to see what is in it.
                Some(403) => {}
                _ => return Err(error.into()),
            },
        }
    }
    let Some(first) = missing.first() else { return Ok(()) };
    let server = access.server.clone();
    // Of a namespace that does not exist Kubernetes has an empty list.
    let pods = api::get(access, &format!("{}?limit=1", Kind::Pod.path("v1", Some(first)))).await;
    match pods.is_err_and(|error| error.code() == Some(404)) {
        true => Err(ReadError::NoKubernetes { server }),
        false => Err(ReadError::NoNamespace { server, missing }),
    }
}

/// Reads one kind in one namespace or in all.
async fn read_kind(
    access: &Access,
    kind: Kind,
    namespace: Option<&str>,
    covered: &[Kind],
    findings: &mut Findings,
) -> Result<Answer, ReadError> {
    let mut refusal = None;
    for version in kind.versions() {
        let path = kind.path(version, namespace);
        match api::list(access, &path, |object| findings.take(kind, object, covered)).await {
            Ok(count) => {
                *findings.objects.entry(kind).or_default() += count;
                return Ok(Answer::Listed);
            }
            Err(error) => match error.code() {
                // Another version may be served; 405 is what a gateway says that serves only some kinds.
                Some(404) => refusal = Some(error),
                Some(403 | 405) => {
                    refusal = Some(error);
                    break;
                }
                _ => return Err(error.into()),
            },
        }
    }
    let Some(error) = refusal else { return Ok(Answer::NotServed) };
    let answer = if error.code() == Some(404) { Answer::NotServed } else { Answer::Refused };
    let namespace = namespace.map(str::to_owned);
    findings.denied.push(Denied { kind, namespace, message: error.message() });
    Ok(answer)
}
