//! Bearer tokens: how they are asked for and what comes (distribution `token.md`, `oauth.md`, `scope.md`).

use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::challenge::Bearer;
use super::http::{Answer, sensitive};
use crate::reference::Repository;

/// Lifetime of a token whose answer does not say (`token.md`).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// A token is renewed when less than this is left: requests are judged by it when they begin, and some begin late.
const MARGIN: Duration = Duration::from_secs(30);
/// What `oauth.md` calls the client. It is no secret and identifies nobody.
const CLIENT: &str = "image-migrator";

/// What a request is allowed to do, and so what its token must cover.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub repository: Repository,
    pub push: bool,
    /// The repository from which a blob is mounted.
    pub mount_from: Option<Repository>,
    /// Ways of reading that the registry asked for beyond `pull`: Azure wants `metadata_read` of those who list tags.
    pub reads: Vec<String>,
}

impl Scope {
    /// The scopes as a token server reads them, what is pushed first: some servers read only the first.
    pub fn parameters(&self) -> Vec<String> {
        let actions =
            ["pull"].into_iter().chain(self.push.then_some("push")).chain(self.reads.iter().map(String::as_str));
        let own = format!("repository:{}:{}", self.repository.path(), actions.collect::<Vec<_>>().join(","));
        let from = self.mount_from.as_ref().map(|from| format!("repository:{}:pull", from.path()));
        std::iter::once(own).chain(from).collect()
    }

    /// The scope with what a challenge asks for beyond it, in the registry's words, as far as that is reading this repository.
    pub fn widened(&self, asked: &str) -> Option<Self> {
        let own = format!("repository:{}:", self.repository.path());
        let actions =
            asked.split_whitespace().filter_map(|scope| scope.strip_prefix(&own)).flat_map(|all| all.split(','));
        let mut reads = self.reads.clone();
        for action in actions.filter(|action| action.ends_with("read")) {
            if !reads.iter().any(|known| known == action) {
                reads.push(action.to_owned());
            }
        }
        (reads.len() > self.reads.len()).then(|| Self { reads, ..self.clone() })
    }
}

impl Bearer {
    /// Where a token for `scopes` is had by GET. What the realm's own query says stays.
    pub fn url(&self, scopes: &[String]) -> Url {
        let mut url = self.realm.clone();
        let names_service = url.query_pairs().any(|(name, _)| name == "service");
        let mut query = url.query_pairs_mut();
        if let Some(service) = self.service.as_deref().filter(|_| !names_service) {
            query.append_pair("service", service);
        }
        query.extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
        drop(query);
        url
    }

    /// The form that is posted to the realm to have a token for an identity token. It is not asked for another one
    /// (`access_type=offline`), nor is GET (`offline_token`): some servers then give tokens that nobody takes.
    pub fn form(&self, scopes: &[String], identity: &SecretString) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("client_id", CLIENT);
        if let Some(service) = &self.service {
            form.append_pair("service", service);
        }
        if !scopes.is_empty() {
            form.append_pair("scope", &scopes.join(" "));
        }
        form.append_pair("refresh_token", identity.expose_secret()).finish()
    }
}

/// A token as it goes into a request.
#[derive(Clone)]
pub(super) struct Token {
    pub header: HeaderValue,
    lifetime: Duration,
    pub ends: Instant,
}

/// What a token is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Request,
    /// A request whose body takes long: what stands before a registry may pass it on only when it has all of it.
    Upload,
}

impl Token {
    /// Reads the answer of a token server. Only the time since it came counts: `issued_at` is of another clock.
    pub fn read(answer: &Answer) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Body {
            token: Option<String>,
            access_token: Option<String>,
            expires_in: Option<Value>,
        }
        let body: Body = serde_json::from_slice(&answer.body)
            // What came instead may hold a token: it is not shown.
            .map_err(|_| "it is not the JSON object that holds a token".to_owned())?;
        let token = body.token.filter(|token| !token.is_empty()).or(body.access_token).unwrap_or_default();
        if token.is_empty() {
            return Err("no token in it".to_owned());
        }
        let header = sensitive(&format!("Bearer {token}")).ok_or("a token that no header can hold")?;
        let lifetime = body.expires_in.as_ref().and_then(lifetime).unwrap_or(DEFAULT_LIFETIME);
        Ok(Self { header, lifetime, ends: Instant::now() + lifetime })
    }

    /// Whether it may be used. A short life is used up to its last quarter, or half before an upload.
    pub fn lasts(&self, need: Need) -> bool {
        let margin = MARGIN.min(match need {
            Need::Request => self.lifetime / 4,
            Need::Upload => self.lifetime / 2,
        });
        Instant::now() + margin < self.ends
    }
}

/// Seconds, as a number or in quotes.
fn lifetime(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    // What ends at once would be asked for before each request. A year is for ever, and no sum with it overflows.
    (seconds > 0.0).then(|| Duration::from_secs_f64(seconds.clamp(1.0, 365.0 * 24.0 * 3600.0)))
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    use super::*;

    fn scope(path: &str, push: bool, from: Option<&str>) -> Vec<String> {
        let repository = |path: &str| Repository::new("r.example.com".parse().unwrap(), path).unwrap();
        Scope { repository: repository(path), push, mount_from: from.map(repository), reads: Vec::new() }.parameters()
    }

    fn token(body: &str) -> Result<Token, String> {
        Token::read(&Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            url: "https://auth.example.com/".parse().unwrap(),
            body: bytes::Bytes::copy_from_slice(body.as_bytes()),
            sent: Default::default(),
        })
    }

    #[test]
    fn scopes_name_the_pushed_repository_first() {
        assert_eq!(scope("a/b", false, None), ["repository:a/b:pull"]);
        assert_eq!(scope("a/b", true, Some("c")), ["repository:a/b:pull,push", "repository:c:pull"]);
    }

    #[test]
    fn a_scope_is_widened_to_read_its_repository_and_to_nothing_else() {
        let scope = Scope {
            repository: "r.example.com/a/b".parse().unwrap(),
            push: false,
            mount_from: None,
            reads: Vec::new(),
        };
        for asked in ["", "repository:a/b:pull", "repository:a/b:delete,push,*,metadata_write", "repository:a:x_read"] {
            assert_eq!(scope.widened(asked), None, "{asked}");
        }
        let asked = "repository:a:x_read repository:a/b:pull,delete,metadata_read,metadata_read,push";
        let widened = scope.widened(asked).unwrap();
        assert_eq!(widened.parameters(), ["repository:a/b:pull,metadata_read"]);
        assert_eq!(widened.widened(asked), None, "it has been asked for");
    }

    #[test]
    fn the_query_of_a_realm_stays() {
        let bearer = |realm: &str| Bearer { realm: realm.parse().unwrap(), service: Some("r".into()), scope: None };
        let url = |realm| bearer(realm).url(&scope("a", false, None)).to_string();
        assert_eq!(url("https://x/t"), "https://x/t?service=r&scope=repository%3Aa%3Apull");
        assert_eq!(url("https://x/t?a=b%26"), "https://x/t?a=b%26&service=r&scope=repository%3Aa%3Apull");
        assert_eq!(url("https://x/t?service=s"), "https://x/t?service=s&scope=repository%3Aa%3Apull");
    }

    #[test]
    fn a_form_has_one_scope_and_asks_for_no_other_identity() {
        let bearer = Bearer { realm: "https://x/t".parse().unwrap(), service: Some("r".into()), scope: None };
        assert_eq!(
            bearer.form(&scope("a", true, Some("b")), &"i=d".into()),
            "grant_type=refresh_token&client_id=image-migrator&service=r\
             &scope=repository%3Aa%3Apull%2Cpush+repository%3Ab%3Apull&refresh_token=i%3Dd"
        );
    }

    #[test]
    fn a_token_in_the_wrong_place_is_not_shown() {
        for body in [r#""s3cret""#, r#"{"token": ["s3cret"]}"#, "s3cret", r#"{"token": "s3\ncret"}"#, "{}"] {
            let Err(reason) = token(body) else { panic!("{body} is no token") };
            assert!(!reason.contains("s3"), "{reason}");
        }
        assert!(token(r#"{"access_token": "s3cret"}"#).is_ok());
        assert!(token(r#"{"token": "", "access_token": "s3cret"}"#).is_ok());
    }

    #[test]
    fn a_lifetime_is_read_however_it_is_written() {
        for (written, seconds) in [
            ("null", 60.0),
            ("0", 60.0),
            ("-1", 60.0),
            ("\"soon\"", 60.0),
            ("{}", 60.0),
            ("300", 300.0),
            ("\"300\"", 300.0),
            ("1.5", 1.5),
            // It would have ended before it was used.
            ("1e-12", 1.0),
            ("1e300", 365.0 * 24.0 * 3600.0),
        ] {
            let token = token(&format!(r#"{{"token": "t", "expires_in": {written}}}"#)).unwrap();
            assert_eq!(token.lifetime.as_secs_f64(), seconds, "{written}");
        }
    }

    #[test]
    fn a_token_is_renewed_before_an_upload_that_it_may_not_outlive() {
        let token = |lifetime: u64, left: u64| {
            let (lifetime, ends) = (Duration::from_secs(lifetime), Instant::now() + Duration::from_secs(left));
            Token { header: HeaderValue::from_static("Bearer t"), lifetime, ends }
        };
        for (token, for_request, for_upload) in [
            (token(300, 40), true, true),
            (token(300, 25), false, false),
            (token(60, 40), true, true),
            (token(60, 25), true, false),
            (token(60, 10), false, false),
            (token(20, 12), true, true),
            (token(20, 8), true, false),
            (token(20, 4), false, false),
        ] {
            assert_eq!((token.lasts(Need::Request), token.lasts(Need::Upload)), (for_request, for_upload));
        }
    }
}
