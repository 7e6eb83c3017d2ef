//! Tag lists, over all their pages (distribution-spec "Listing Tags").

use std::collections::HashSet;

use reqwest::header::LINK;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::RepositoryClient;
use super::error::{Error, ErrorKind};
use super::exchange::{Call, Kind};
use super::foreign::one_line;
use super::http::Answer;
use crate::reference::Tag;

/// Tags asked for at once: the most that every registry known allows.
const PAGE: &str = "1000";
/// Pages in a row without a new tag, after which there will be none: what they hold may be no tags, as digests are not.
const BARREN: usize = 5;
/// Names that are no tags are told one by one up to so many, then counted.
const ODD_NAMED: usize = 20;
/// Some registries ignore the page size and send everything, with much else beside each tag.
const MAX_BYTES: usize = 64 << 20;

impl RepositoryClient {
    /// All tags of the repository in the registry's order, each once.
    pub async fn tags(&self) -> Result<Vec<Tag>, Error> {
        Ok(self.tags_within(usize::MAX).await?.unwrap_or_default())
    }

    /// As `tags`, or `None` if they fill more than so many pages.
    pub async fn tags_within(&self, mut pages: usize) -> Result<Option<Vec<Tag>>, Error> {
        let bare = self.url("tags/list").await?;
        let mut url = bare.clone();
        url.query_pairs_mut().append_pair("n", PAGE);
        let mut tags = Vec::new();
        let mut seen = HashSet::new();
        let mut asked = HashSet::from([url.clone()]);
        let (mut barren, mut odd) = (0, 0_usize);
        loop {
            let answer = self.page(url.clone()).await?;
            let refused_size = matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED);
            match answer.status {
                StatusCode::OK => {}
                _ if refused_size && url != bare && tags.is_empty() => {
                    url = bare.clone();
                    continue;
                }
                _ => return Err(self.error(&Method::GET, &url, answer.refusal())),
            }
            let malformed = |reason: String| self.error(&Method::GET, &url, ErrorKind::Malformed { reason });
            let page: Page = serde_json::from_slice(&answer.body)
                .map_err(|error| malformed(format!("it is not a list of tags: {}", one_line(&error.to_string()))))?;
            let before = tags.len();
            for name in page.tags.into_iter().flatten() {
                match name.parse::<Tag>() {
                    Ok(tag) if seen.insert(tag.clone()) => tags.push(tag),
                    Ok(_) => {}
                    // Some registries list digests too.
                    Err(error) => {
                        odd += 1;
                        if odd <= ODD_NAMED {
                            let error = one_line(&error.to_string());
                            tracing::warn!(repository = %self.repository, %error, "a listed name is left out");
                        }
                    }
                }
            }
            barren = if tags.len() == before { barren + 1 } else { 0 };
            match next_page(&answer) {
                None => {
                    if let Some(more) = odd.checked_sub(ODD_NAMED).filter(|more| *more > 0) {
                        tracing::warn!(repository = %self.repository, more, "more listed names are left out");
                    }
                    return Ok(Some(tags));
                }
                // What such a list leaves out cannot be known, so that no part of it is used.
                Some(next) if barren == BARREN || !asked.insert(next.clone()) => {
                    return Err(malformed("its pages go on for ever, without new tags".to_owned()));
                }
                Some(next) if next.origin() != url.origin() => {
                    return Err(malformed("its next page is on another host, which is not asked".to_owned()));
                }
                Some(_) if pages <= 1 => return Ok(None),
                Some(next) => {
                    pages -= 1;
                    url = next;
                }
            }
        }
    }

    async fn page(&self, url: Url) -> Result<Answer, Error> {
        self.call(&Call { limit: MAX_BYTES, ..Call::new(Kind::Tags, Method::GET, url) }).await
    }
}

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

/// The target of `Link: <…>; rel="next"`, an opaque URL, relative or not (RFC 8288).
pub(super) fn next_page(answer: &Answer) -> Option<Url> {
    let lines = answer.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(links).find_map(|(target, parameters)| {
        let is_next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            name.trim().eq_ignore_ascii_case("rel")
                && value.trim().trim_matches('"').split(' ').any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        if is_next { answer.url.join(target).ok() } else { None }
    })
}

/// The `<target>` and the parameters of each link of a line. A target may hold commas.
fn links(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split('<').skip(1).filter_map(|link| link.split_once('>'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderMap;

    fn next(link: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(LINK, link.parse().unwrap());
        let url = "https://r.example.com/v2/a/tags/list?n=1000".parse().unwrap();
        let answer = Answer { status: StatusCode::OK, headers, url, body: Default::default() };
        next_page(&answer).map(String::from)
    }

    #[test]
    fn links_are_relative_or_absolute_and_opaque() {
        let expected = Some("https://r.example.com/v2/a/tags/list?last=x,y&n=2".to_owned());
        assert_eq!(next(r#"</v2/a/tags/list?last=x,y&n=2>; rel="next""#), expected);
        assert_eq!(next("<https://r.example.com/v2/a/tags/list?last=x,y&n=2>;rel=next"), expected);
        assert_eq!(next(r#"</first>; rel="prev", </v2/a/tags/list?last=x,y&n=2>; title="t"; Rel="NEXT""#), expected);
    }

    #[test]
    fn other_links_are_not_followed() {
        assert_eq!(next(r#"</v2/x>; rel="prev""#), None);
        assert_eq!(next("garbage"), None);
        assert_eq!(next("<unclosed"), None);
    }
}
