//! What registries write is read as it is meant. That nothing they say does harm is for the fuzz targets to see.

use proptest::prelude::*;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LINK, WWW_AUTHENTICATE};
use url::Url;

use super::challenge::{self, Bearer, Challenge};
use super::http::Answer;
use super::links::next_page;

fn base() -> Url {
    "https://r.example.com/v2/".parse().unwrap()
}

proptest! {
    #[test]
    fn a_challenge_is_read_as_it_is_meant(service in "[ -~]{1,30}", scope in "[ -~]{1,30}") {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let line = format!("Bearer realm=\"https://a/t\",service=\"{}\", scope=\"{}\"", quoted(&service), quoted(&scope));
        let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, line.parse().unwrap())]);
        let realm = "https://a/t".parse().unwrap();
        let expected = Bearer { realm, service: Some(service), scope: Some(scope) };
        prop_assert_eq!(challenge::read(&headers, &base()), Some(Challenge::Bearer(expected)));
    }

    #[test]
    fn a_link_is_followed_wherever_it_stands(last in "[a-z0-9,;=.%]{0,20}", other in "[a-z]{1,9}") {
        let line = format!("</{other}>; rel=\"{other}\", </v2/a/tags/list?last={last}>; title=x; rel=\"{other} next\"");
        let headers = HeaderMap::from_iter([(LINK, line.parse().unwrap())]);
        let expected = base().join(&format!("/v2/a/tags/list?last={last}")).unwrap();
        let answer =
            Answer { status: StatusCode::OK, headers, url: base(), body: Default::default(), sent: Default::default() };
        prop_assert_eq!(next_page(&answer), Ok(Some(expected)));
    }
}
