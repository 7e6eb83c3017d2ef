//! `Link`: where a list goes on (RFC 8288; distribution-spec "Listing Tags").
//!
//! Read leniently, but what may be the next page is never passed over: the list would seem to end before it.

use reqwest::header::LINK;
use url::Url;

use super::http::{Answer, over_tls};

/// The target of `Link: <…>; rel="next"`, an opaque URL, relative or not; if it cannot be followed, why. It is on the host
/// that gave this page: a list leads nowhere else.
pub(super) fn next_page(answer: &Answer) -> Result<Option<Url>, String> {
    let lines = answer.headers.get_all(LINK).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    for line in lines {
        let Some((target, _)) = links(&line).find(|(_, parameters)| is_next(parameters)) else { continue };
        let next = target.filter(|target| !target.contains(char::REPLACEMENT_CHARACTER));
        let next = next.and_then(|target| answer.url.join(target).ok());
        let next = next.ok_or_else(|| "the address of its next page cannot be read".to_owned())?;
        let next = over_tls(&answer.url, next);
        return match next.origin() == answer.url.origin() {
            true => Ok(Some(next)),
            false => Err("its next page is on another host, which is not asked".to_owned()),
        };
    }
    Ok(None)
}

/// The `<target>`, if it stands as one, and the parameters of each link of a line. A target may hold commas.
fn links(line: &str) -> impl Iterator<Item = (Option<&str>, &str)> {
    line.split('<').enumerate().map(|(place, link)| match (link.split_once('>'), link.split_once(';')) {
        (Some((target, parameters)), _) => (Some(target), parameters),
        // Cloudflare's serverless-registry writes no brackets.
        (None, Some((target, parameters))) if place == 0 && !target.trim().is_empty() => {
            (Some(target.trim()), parameters)
        }
        _ => (None, link),
    })
}

/// Whether these are the parameters of the link to the next page. What follows them, up to the next link, is a comma.
fn is_next(parameters: &str) -> bool {
    parameters.split([';', ',']).filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
        let mut relations = value.split(['"', ' ', '\t']);
        name.trim().eq_ignore_ascii_case("rel") && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::*;

    const PAGE: &str = "https://r.example.com/v2/a/tags/list?last=x,y&n=2";

    fn next_of(link: impl AsRef<[u8]>) -> Result<Option<String>, String> {
        let headers = HeaderMap::from_iter([(LINK, HeaderValue::from_bytes(link.as_ref()).unwrap())]);
        let url = "https://r.example.com/v2/a/tags/list?n=1000".parse().unwrap();
        let answer =
            Answer { status: StatusCode::OK, headers, url, body: Default::default(), sent: Default::default() };
        next_page(&answer).map(|next| next.map(String::from))
    }

    #[test]
    fn links_are_relative_or_absolute_and_opaque() {
        for link in [
            r#"</v2/a/tags/list?last=x,y&n=2>; rel="next""#,
            "<https://r.example.com/v2/a/tags/list?last=x,y&n=2>;rel=next",
            "<https://r.example.com:443/v2/a/tags/list?last=x,y&n=2> ; rel = next",
            r#"</first>; rel="prev", </v2/a/tags/list?last=x,y&n=2>; title="t"; Rel="NEXT""#,
            r#"</v2/a/tags/list?last=x,y&n=2>; rel="next", </last>; rel="last""#,
            "</v2/a/tags/list?last=x,y&n=2>; rel=next, </last>; rel=last",
            "https://r.example.com/v2/a/tags/list?last=x,y&n=2; rel=next",
            r#" /v2/a/tags/list?last=x,y&n=2 ; rel="next""#,
        ] {
            assert_eq!(next_of(link), Ok(Some(PAGE.to_owned())), "{link}");
        }
    }

    #[test]
    fn other_links_are_not_followed() {
        for link in [r#"</v2/x>; rel="prev""#, "garbage", "<unclosed", "</v2/x>; rel=nextish", "</v2/next>", ""] {
            assert_eq!(next_of(link), Ok(None), "{link}");
        }
        assert_eq!(next_of(b"</x>; rel=license; title=\"caf\xe9\""), Ok(None));
    }

    #[test]
    fn a_next_page_that_cannot_be_read_is_not_the_end() {
        for link in [
            b"<http://[bad/v2/a/tags/list>; rel=\"next\"".as_slice(),
            b"<https://r.example.com:port/>; rel=next",
            b"</v2/a/tags/list?last=caf\xe9>; rel=next",
            b"; rel=\"next\"",
            b"</v2/a/tags/list?n=2; rel=\"next\"",
        ] {
            let text = String::from_utf8_lossy(link);
            assert!(next_of(link).is_err_and(|reason| reason.contains("cannot be read")), "{text}");
        }
    }

    #[test]
    fn a_next_page_is_where_this_one_is() {
        for elsewhere in
            ["https://other.example.com/", "//other.example.com/", "https://r.example.com:8443/", "data:,x"]
        {
            let next = next_of(format!("<{elsewhere}>; rel=next"));
            assert!(next.is_err_and(|reason| reason.contains("another host")), "{elsewhere}");
        }
        // What a registry writes that does not know of the proxy before it.
        let behind_a_proxy = PAGE.replace("https", "http");
        assert_eq!(next_of(format!("<{behind_a_proxy}>; rel=next")), Ok(Some(PAGE.to_owned())));
    }
}
