//! `WWW-Authenticate`: how a registry wants to be spoken to (RFC 9110, section 11; distribution `token.md`).
//!
//! Read leniently, by one reader of our own: what registries send holds bare schemes, values without quotes, several
//! challenges in a line or a line for each, and NTLM's tokens, at each of which strict parsers give up the whole line.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use url::Url;

use super::http::over_tls;
use super::reach::authority;
use super::realm;

/// What a registry asks of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer(Bearer),
    /// It names a token server to which nothing is sent, and no other way; with the reason.
    Unusable(String),
}

/// Where tokens are had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    pub realm: Url,
    pub service: Option<String>,
    /// What the refused request needs, in the registry's words.
    pub scope: Option<String>,
}

/// The challenge to answer, of those in `headers`: Bearer if it is offered, else Basic. A relative realm is resolved
/// against `url`.
pub(super) fn read(headers: &HeaderMap, url: &Url) -> Option<Challenge> {
    let mut second = None;
    let lines = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    for offer in lines.flat_map(offers) {
        match offer.scheme.to_ascii_lowercase().as_str() {
            "basic" => second = Some(Challenge::Basic),
            "bearer" => {
                let Some(Ok(named)) = offer.param("realm").map(|realm| url.join(realm)) else { continue };
                // A Harbor behind a proxy that ends TLS names itself with http.
                let realm = if authority(&named) == authority(url) { over_tls(url, named) } else { named };
                if let Err(reason) = realm::check(&realm, url) {
                    tracing::warn!("{}: {reason}", url.host_str().unwrap_or_default());
                    second.get_or_insert(Challenge::Unusable(reason));
                    continue;
                }
                let param = |name| offer.param(name).map(str::to_owned);
                return Some(Challenge::Bearer(Bearer { realm, service: param("service"), scope: param("scope") }));
            }
            _ => {}
        }
    }
    second
}

/// One challenge as it is written.
struct Offer<'a> {
    scheme: &'a str,
    params: Vec<(&'a str, String)>,
}

impl Offer<'_> {
    fn param(&self, name: &str) -> Option<&str> {
        let found = self.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// All challenges of a line. What is none of their parts is passed over.
fn offers(line: &str) -> Vec<Offer<'_>> {
    let mut offers: Vec<Offer> = Vec::new();
    let mut rest = line;
    // A word after a scheme is a token (`NTLM TlRMTVNT`), unless a comma stands between them.
    let mut may_be_token = false;
    loop {
        let spaces = rest.trim_start();
        let trimmed = spaces.trim_start_matches([',', ' ', '\t']);
        may_be_token &= trimmed.len() == spaces.len();
        rest = trimmed;
        if rest.is_empty() {
            return offers;
        }
        let (word, after) = rest.split_at(rest.find([' ', '\t', ',', '=', '"']).unwrap_or(rest.len()));
        rest = after;
        if word.is_empty() {
            rest = &rest[1..];
            continue;
        }
        match after.trim_start().strip_prefix('=').map(str::trim_start) {
            // The end of a token in base64, or a parameter without a value.
            Some(value) if value.is_empty() || value.starts_with(['=', ',']) => {
                rest = value.trim_start_matches('=');
                may_be_token = false;
            }
            Some(value) => {
                let (value, after) = read_value(value);
                rest = after;
                may_be_token = false;
                offers.last_mut().into_iter().for_each(|offer| offer.params.push((word, value.clone())));
            }
            None if may_be_token && !is_known_scheme(word) => may_be_token = false,
            None => {
                offers.push(Offer { scheme: word, params: Vec::new() });
                may_be_token = true;
            }
        }
    }
}

fn is_known_scheme(word: &str) -> bool {
    ["basic", "bearer", "digest", "negotiate", "ntlm"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// The value that `text` begins with, in quotes or not, and what follows.
fn read_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([',', ' ', '\t']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[index + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
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

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let [service, scope] = [service, scope].map(|text| text.map(str::to_owned));
        Some(Challenge::Bearer(Bearer { realm: realm.parse().unwrap(), service, scope }))
    }

    const REALM: &str = "https://auth.example.com/token?a=b";

    #[test]
    fn bearer_is_preferred_wherever_it_stands() {
        let expected = bearer(REALM, Some("r"), Some("repository:x:pull,push"));
        let line = r#"Bearer realm="https://auth.example.com/token?a=b",service="r",scope="repository:x:pull,push""#;
        assert_eq!(challenge(&[line]), expected);
        assert_eq!(challenge(&["Basic realm=\"x\"", line]), expected);
        assert_eq!(challenge(&[line, "Basic realm=\"x\""]), expected);
        assert_eq!(challenge(&[&format!("Basic realm=\"x\", {line}")]), expected);
        assert_eq!(challenge(&[&line.replace("Bearer realm", "bEARER Realm")]), expected);
    }

    #[test]
    fn bare_schemes_and_tokens_do_not_hide_what_follows() {
        let line = format!("Bearer realm=\"{REALM}\"");
        for before in ["Basic", "Negotiate", "NTLM TlRMTVNTUAACAAAA", "Negotiate YII=", "Negotiate a/b==", "X y=", ","]
        {
            assert_eq!(challenge(&[&format!("{before}, {line}")]), bearer(REALM, None, None), "{before}");
            assert_eq!(challenge(&[&format!("{line}, {before}")]), bearer(REALM, None, None), "{before}");
            assert_eq!(challenge(&[before, &line]), bearer(REALM, None, None), "{before}");
        }
        assert_eq!(challenge(&["Negotiate, NTLM, Basic"]), Some(Challenge::Basic));
        assert_eq!(challenge(&["Negotiate Basic realm=x"]), Some(Challenge::Basic));
    }

    #[test]
    fn values_are_read_with_and_without_quotes() {
        for line in [
            format!("Bearer realm={REALM},service=r"),
            format!("Bearer realm={REALM} service=r"),
            format!("Bearer service = r , realm = \"{REALM}\""),
            format!("Bearer service=r,error=,realm=\"{REALM}"),
            format!("Bearer realm=\"{}\", service=\"\\r\"", REALM.replace('?', "\\?")),
        ] {
            assert_eq!(challenge(&[&line]), bearer(REALM, Some("r"), None), "{line}");
        }
    }

    #[test]
    fn a_realm_may_be_relative() {
        assert_eq!(challenge(&[r#"Bearer realm="/token""#]), bearer("https://r.example.com/token", None, None));
    }

    #[test]
    fn a_realm_at_the_registry_itself_is_asked_as_the_registry_is() {
        let own = r#"Bearer realm="http://r.example.com/service/token""#;
        assert_eq!(challenge(&[own]), bearer("https://r.example.com/service/token", None, None));
        // What speaks http at another port speaks no TLS there.
        let other = r#"Bearer realm="http://r.example.com:8080/service/token""#;
        assert!(matches!(challenge(&[other]), Some(Challenge::Unusable(_))));
    }

    #[test]
    fn a_realm_weaker_than_the_registry_gets_nothing() {
        for realm in ["http://auth.example.com/token", "file:///token", "https://169.254.169.254/latest"] {
            let line = format!("Bearer realm=\"{realm}\"");
            assert!(matches!(challenge(&[&line]), Some(Challenge::Unusable(_))), "{realm}");
            assert_eq!(challenge(&[&format!("{line}, Basic")]), Some(Challenge::Basic));
        }
    }

    #[test]
    fn basic_is_taken_where_there_is_nothing_better() {
        assert_eq!(challenge(&["Negotiate", "Basic realm=\"x\""]), Some(Challenge::Basic));
        for nothing in ["", "Bearer service=\"x\"", "Bearer realm=\"\"", "=", "\"", "\\", "Bearer", "= = \"\" ,,"] {
            assert_eq!(challenge(&[nothing]), None, "{nothing:?}");
        }
        assert_eq!(challenge(&[]), None);
    }
}
