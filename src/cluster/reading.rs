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
        "nothing of the cluster {server} may be read by {identity}: it may list neither workloads nor pods{}; the first \
         refusal: {first}",
        if *.everywhere { " in all namespaces (-n names those it may read)" } else { "" }
    )]
    NothingReadable { server: String, identity: String, everywhere: bool, first: Denied },
}

/// Reads what the namespaces use; none named is all of them.
pub async fn read(access: &Access, namespaces: &[String]) -> Result<Findings, ReadError> {
    check(access, namespaces).await?;
    let mut findings = Findings::default();
    let scopes: Vec<Option<&str>> = match namespaces {
        [] => vec![None],
        named => named.iter().map(|name| Some(name.as_str())).collect(),
    };
    let mut something = false;
    for &namespace in &scopes {
        let mut covered = Vec::new();
        for kind in Kind::ALL {
            if read_kind(access, kind, namespace, &covered, &mut findings).await? {
                covered.push(kind);
            }
        }
        something |= !covered.is_empty();
    }
    match findings.denied.first() {
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
    if missing.is_empty() { Ok(()) } else { Err(ReadError::NoNamespace { server: access.server.clone(), missing }) }
}

/// Reads one kind in one namespace or in all. Returns whether it could be read.
async fn read_kind(
    access: &Access,
    kind: Kind,
    namespace: Option<&str>,
    covered: &[Kind],
    findings: &mut Findings,
) -> Result<bool, ReadError> {
    let mut refusal = None;
    for version in kind.versions() {
        let path = kind.path(version, namespace);
        match api::list(access, &path, |object| findings.take(kind, object, covered)).await {
            Ok(count) => {
                *findings.objects.entry(kind).or_default() += count;
                return Ok(true);
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
    if let Some(error) = refusal {
        let namespace = namespace.map(str::to_owned);
        findings.denied.push(Denied { kind, namespace, message: error.message() });
    }
    Ok(false)
}
