//! `WWW-Authenticate`: how a registry wants to be spoken to (RFC 9110, section 11; distribution `token.md`).

use http_auth::ChallengeParser;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use url::Url;

/// What a registry asks of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

/// The challenge to answer, of those in `headers`: Bearer if it is offered, else Basic. A relative realm is resolved
/// against `url`.
pub(super) fn read(headers: &HeaderMap, url: &Url) -> Option<Challenge> {
    let mut basic = None;
    for line in headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()) {
        for challenge in ChallengeParser::new(line).map_while(Result::ok) {
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            } else if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let param = |name: &str| {
                    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.to_unescaped())
                };
                match param("realm").and_then(|realm| url.join(&realm).ok()) {
                    // Whoever can read http could read the password that is sent to it.
                    Some(realm) if realm.scheme() != "https" && realm.scheme() != url.scheme() => {
                        let (registry, realm) = (url.host_str(), realm.host_str());
                        tracing::warn!(registry, realm, "a token realm less safe than its registry is not used");
                    }
                    Some(realm) => return Some(Challenge::Bearer { realm, service: param("service") }),
                    None => {}
                }
            }
        }
    }
    basic
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(lines: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(WWW_AUTHENTICATE, line.parse().unwrap());
        }
        read(&headers, &"https://r.example.com/v2/".parse().unwrap())
    }

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer { realm: realm.parse().unwrap(), service: service.map(str::to_owned) })
    }

    #[test]
    fn bearer_is_preferred_wherever_it_stands() {
        let expected = bearer("https://auth.example.com/token?a=b", Some("r"));
        let line = r#"Bearer realm="https://auth.example.com/token?a=b",service="r",scope="repository:x:pull,push""#;
        assert_eq!(challenge(&[line]), expected);
        assert_eq!(challenge(&["Basic realm=\"x\"", line]), expected);
        assert_eq!(challenge(&[&format!("Basic realm=\"x\", {line}")]), expected);
        assert_eq!(challenge(&[&line.replace("Bearer realm", "bEARER Realm")]), expected);
    }

    #[test]
    fn a_realm_may_be_relative() {
        assert_eq!(challenge(&[r#"Bearer realm="/token""#]), bearer("https://r.example.com/token", None));
    }

    #[test]
    fn a_realm_weaker_than_the_registry_gets_nothing() {
        assert_eq!(challenge(&[r#"Bearer realm="http://auth.example.com/token""#]), None);
        assert_eq!(challenge(&[r#"Bearer realm="file:///token""#]), None);
    }

    #[test]
    fn basic_is_taken_where_there_is_nothing_better() {
        assert_eq!(challenge(&["Negotiate", "Basic realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(challenge(&[]), None);
        assert_eq!(challenge(&[""]), None);
        assert_eq!(challenge(&["Bearer service=\"x\""]), None);
    }
}
