//! What a registry, or a proxy before it, refuses by the size of a request, or because nobody made the repository.

use crate::builder::Missing;
use crate::reply::Reply;
use crate::request::Request;
use crate::state::{Shared, lock};

/// A proxy's page for a body that is too large.
pub(crate) fn too_large() -> Reply {
    Reply::status(413)
        .header("content-type", "text/html")
        .body("<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n</html>\r\n")
}

/// What is refused for the length it states, before any of its body is read.
pub(crate) fn refuse_by_length(shared: &Shared, request: &Request) -> Option<Reply> {
    let portions = &shared.settings.portions;
    let length: u64 = request.header("content-length")?.parse().ok()?;
    let limit = portions.body_limit.into_iter().chain(portions.length_limit).min()?;
    (length > limit).then(too_large)
}

/// What is refused because nobody made the repository it is about.
pub(crate) fn refuse_missing(shared: &Shared, request: &Request) -> Result<(), Reply> {
    let Some(repository) = &request.repository else { return Ok(()) };
    let made = |name: &str| lock(&shared.made).contains(name);
    match shared.settings.missing {
        Missing::Unknown if !made(repository) => {
            let message = format!("The repository with name '{repository}' does not exist in the registry");
            Err(Reply::error(404, "NAME_UNKNOWN", &message))
        }
        Missing::NoProject => {
            let project = repository.split('/').next().unwrap_or_default();
            if made(project) {
                return Ok(());
            }
            let message = format!("project {project} not found: project {project} not found");
            Err(Reply::error(401, "UNAUTHORIZED", &message).header("www-authenticate", ""))
        }
        Missing::Made | Missing::Unknown => Ok(()),
    }
}
