//! Tag lists, over all their pages (distribution-spec "Listing Tags").

pub(super) mod list;

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use reqwest::{Method, StatusCode};

use super::RepositoryClient;
use super::error::{Error, ErrorKind};
use super::exchange::{Call, Kind};
use super::links::next_page;
use crate::reference::Tag;
use list::List;

/// Tags asked for at once: the most that every registry known allows.
const PAGE: &str = "1000";
/// Pages in a row without a new tag, after which there will be none: what they hold may be no tags, as digests are not.
const BARREN: usize = 5;
/// Most tags and pages of a list that are read: all of it is held, and a list that a registry makes up may have no end.
const MOST_TAGS: usize = 1_000_000;
const MOST_PAGES: usize = 10_000;
/// Names that are no tags are logged one by one up to this many; the others are counted.
const ODD_NAMED: usize = 20;
/// Some registries ignore the page size and send everything, with much else beside each tag.
const MAX_BYTES: usize = 64 << 20;

impl RepositoryClient {
    /// All tags of the repository in the registry's order, each once.
    pub async fn tags(&self) -> Result<Vec<Tag>, Error> {
        Ok(self.tags_within(usize::MAX).await?.unwrap_or_default())
    }

    /// As `tags`, or `None` if they fill more than `pages` pages.
    pub async fn tags_within(&self, pages: usize) -> Result<Option<Vec<Tag>>, Error> {
        self.tags_up_to(MOST_TAGS, pages).await
    }

    async fn tags_up_to(&self, most: usize, mut pages: usize) -> Result<Option<Vec<Tag>>, Error> {
        let read = |url| Call { limit: MAX_BYTES, ..Call::new(Kind::Tags, Method::GET, url) };
        let mut scope = self.scope(&Method::GET, None);
        let (mut call, mut answer) = self.read(&format!("tags/list?n={PAGE}"), read, &mut scope).await?;
        let mut bare = call.url.clone();
        bare.set_query(None);
        let mut list = List::default();
        // Addresses may be long, and pages many.
        let hashes = RandomState::new();
        let mut asked = HashSet::from([hashes.hash_one(&call.url)]);
        let mut barren = 0;
        loop {
            let refused_size = matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED);
            match answer.status {
                StatusCode::OK => {}
                _ if refused_size && call.url != bare && list.tags.is_empty() => {
                    call = read(bare.clone());
                    answer = self.call_within(&call, &mut scope).await?;
                    continue;
                }
                _ => return Err(self.error(&Method::GET, &call.url, answer.refusal_of(&bare))),
            }
            let malformed = |reason: String| self.error(&Method::GET, &call.url, ErrorKind::Malformed { reason });
            let (before, mut told) = (list.tags.len(), list.odd);
            let mut tell = |error: &str| {
                told += 1;
                if told <= ODD_NAMED {
                    let error = answer.without_secrets(error);
                    tracing::warn!(repository = %self.repository, %error, "a listed name is left out");
                }
            };
            list.add(&answer.body, most, &mut tell)
                .map_err(|error| malformed(format!("it is not a list of tags: {}", answer.misread(&error))))?;
            if list.tags.len() > most || asked.len() > MOST_PAGES {
                let bound = format!("it lists more than {most} tags, or goes on for more than {MOST_PAGES} pages");
                return Err(malformed(format!(
                    "{bound}, and is read no further; a rule that names its tags needs no list"
                )));
            }
            barren = if list.tags.len() == before { barren + 1 } else { 0 };
            match next_page(&answer).map_err(malformed)? {
                None => {
                    if let Some(more) = list.odd.checked_sub(ODD_NAMED).filter(|more| *more > 0) {
                        tracing::warn!(repository = %self.repository, more, "more listed names are left out");
                    }
                    return Ok(Some(list.tags));
                }
                // What such a list leaves out cannot be known, so that no part of it is used.
                Some(next) if barren == BARREN || !asked.insert(hashes.hash_one(&next)) => {
                    return Err(malformed("its pages go on for ever, without new tags".to_owned()));
                }
                Some(_) if pages <= 1 => return Ok(None),
                Some(next) => {
                    pages -= 1;
                    call = read(next);
                    answer = self.call_within(&call, &mut scope).await?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use scriptable_registry as fake;

    use crate::registry::{Clients, Keyring};

    #[tokio::test]
    async fn a_list_that_a_registry_makes_up_is_read_to_a_bound() {
        let registry = fake::Registry::open().await;
        registry.on_each(fake::Kind::TagList, |request| {
            let page = request.number;
            let tags: Vec<String> = (page * 1000..(page + 1) * 1000).map(|tag| format!("\"{tag}\"")).collect();
            let link = format!("</v2/app/tags/list?page={page}>; rel=\"next\"");
            let body = format!("{{\"tags\":[{}]}}", tags.join(","));
            Some(fake::Answer::status(200).body(body).header("Link", &link).into())
        });
        let clients = Clients::new(Arc::new(Keyring::default()), 1).unwrap();
        let client = clients.reader(&format!("{}/app", registry.host()).parse().unwrap());
        let error = client.tags_up_to(3_500, usize::MAX).await.unwrap_err().to_string();
        assert!(error.contains("more than 3500 tags") && error.contains("a rule that names its tags"), "{error}");
        assert_eq!(registry.count(fake::Kind::TagList), 4);
    }
}
