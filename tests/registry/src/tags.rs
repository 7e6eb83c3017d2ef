//! Lists, page by page: the tags of a repository and the catalogue of repositories.

use std::ops::Bound;

use serde_json::json;

use crate::query::{Query, encode};
use crate::reply::Reply;
use crate::request::Request;
use crate::state::Shared;

/// `GET /v2/<name>/tags/list`
pub(crate) fn list(shared: &Shared, request: &Request, repository: &str) -> Reply {
    let store = shared.store();
    let known = store.repositories.get(repository).filter(|repository| !repository.manifests.is_empty());
    let Some(known) = known else {
        return Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    };
    page(shared, request, |start| known.tags.range::<str, _>((start, Bound::Unbounded)).map(|(tag, _)| tag.as_str()))
        .map_or_else(|refusal| refusal, |page| page.link.answer(json!({ "name": repository, "tags": page.names })))
}

/// `GET /v2/_catalog`
pub(crate) fn catalog(shared: &Shared, request: &Request) -> Reply {
    let store = shared.store();
    page(shared, request, |start| {
        store.repositories.range::<str, _>((start, Bound::Unbounded)).map(|(name, _)| name.as_str())
    })
    .map_or_else(|refusal| refusal, |page| page.link.answer(json!({ "repositories": page.names })))
}

struct Page {
    names: Vec<String>,
    link: Link,
}

/// The address of the next page, if there is one.
struct Link(Option<String>);

impl Link {
    fn answer(self, value: serde_json::Value) -> Reply {
        let reply = Reply::status(200).json(&value);
        match self.0 {
            Some(address) => reply.header("link", &format!("<{address}>; rel=\"next\"")),
            None => reply,
        }
    }
}

/// The page that `n` and `last` of the query ask for, out of names in lexical order.
fn page<'a, I>(shared: &Shared, request: &Request, names: impl FnOnce(Bound<&str>) -> I) -> Result<Page, Reply>
where
    I: Iterator<Item = &'a str>,
{
    let settings = &shared.settings;
    let query = Query::parse(&request.query);
    let asked = match query.get("n").map(str::parse::<usize>) {
        Some(Ok(asked)) => Some(asked),
        Some(Err(_)) => {
            return Err(Reply::error(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested"));
        }
        None => settings.page_size,
    };
    let size = asked.unwrap_or(usize::MAX).min(settings.largest_page);
    let start = query.get("last").map_or(Bound::Unbounded, Bound::Excluded);
    let mut names = names(start).map(str::to_owned);
    let page: Vec<String> = names.by_ref().take(size).collect();
    let more = names.next().is_some();
    let link = page.last().filter(|_| more).map(|last| {
        let path = format!("{}?last={}&n={size}", request.path, encode(last));
        if settings.absolute_links { format!("{}{path}", base(shared, request)) } else { path }
    });
    Ok(Page { names: page, link: Link(link) })
}

/// The registry's own address as the client knows it.
pub(crate) fn base(shared: &Shared, request: &Request) -> String {
    match request.header("host") {
        Some(host) => format!("http://{host}"),
        None => format!("http://{}", shared.ports.registry.address()),
    }
}
