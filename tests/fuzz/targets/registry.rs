//! What registries and token servers say: headers and short bodies.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, LINK, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use url::Url;

use super::challenge::{self, Bearer, Challenge};
use super::error::{Error, ErrorKind};
use super::exchange::Kind;
use super::http::{Answer, redirect_target};
use super::media::{Content, Defect, Manifest};
use super::reach::{self, Reach};
use super::tags::list::List;
use super::tls::{self, Identity, PemDefect, Tls, Trust};
use super::token::{Need, Token};
use super::{advice, blob, links, pace, realm, referrers, upload};
use crate::digest::Digest;
use crate::foreign::one_line;
use crate::fuzz::{assert_one_line, now};
use crate::reference::Tag;

pub use super::helper::fuzz::helper;

/// Where the answers come from: over TLS, in the clear, and from this machine.
const BASES: [&str; 3] = ["https://r.example.com/v2/", "http://r.example.com:8080/v2/", "http://127.0.0.1:5000/v2/"];

/// The longest time that is believed of a registry.
const DAY: Duration = Duration::from_secs(24 * 3600);

fn bases() -> impl Iterator<Item = Url> {
    BASES.into_iter().filter_map(|base| base.parse().ok())
}

fn answer(url: Url, headers: HeaderMap, body: &[u8]) -> Answer {
    Answer { status: StatusCode::OK, headers, url, body: Bytes::copy_from_slice(body), sent: Default::default() }
}

/// A header of that name for each line that one can hold.
fn lines(name: HeaderName, data: &[u8]) -> HeaderMap {
    let values = data.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    values.map(|value| (name.clone(), value)).collect()
}

pub fn challenge(data: &[u8]) {
    let headers = lines(WWW_AUTHENTICATE, data);
    for base in bases() {
        match challenge::read(&headers, &base) {
            Some(Challenge::Bearer(bearer)) => bearer_is_good(&bearer, &base),
            Some(Challenge::Unusable(reason)) => assert_one_line(&reason),
            Some(Challenge::Basic) | None => {}
        }
    }
}

fn bearer_is_good(bearer: &Bearer, base: &Url) {
    let Bearer { realm, service, scope } = bearer;
    assert_eq!(realm::check(realm, base), Ok(()));
    assert!(realm.scheme() == "https" || (realm.scheme(), base.scheme()) == ("http", "http"), "{realm}");
    let url = bearer.url(&["repository:team/app:pull,push".to_owned()]);
    assert_eq!((url.origin(), url.path()), (realm.origin(), realm.path()));
    let asked: Vec<_> = url.query_pairs().collect();
    assert!(realm.query_pairs().all(|pair| asked.contains(&pair)), "{url} has lost what {realm} says");
    assert_eq!(asked.last().map(|(_, value)| value.as_ref()), Some("repository:team/app:pull,push"));
    // As another would write it.
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let parameters = [("realm", Some(realm.as_str())), ("service", service.as_deref()), ("scope", scope.as_deref())];
    let written = parameters.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", quoted(value?))));
    let line = format!("Bearer {}", written.collect::<Vec<_>>().join(", "));
    let again = challenge::read(&lines(WWW_AUTHENTICATE, line.as_bytes()), base);
    // What is not ASCII was not read as text in the first place.
    assert_eq!(again.as_ref(), Some(&Challenge::Bearer(bearer.clone())), "{line}");
}

pub fn link(data: &[u8]) {
    let headers = lines(LINK, data);
    for base in bases() {
        let next = match links::next_page(&answer(base.clone(), headers.clone(), b"")) {
            Ok(Some(next)) => next,
            Ok(None) => continue,
            Err(reason) => {
                assert_one_line(&reason);
                continue;
            }
        };
        assert_eq!(next.origin(), base.origin(), "{next}");
        let line = format!("<{next}>; rel=\"next\"");
        let again = links::next_page(&answer(base, lines(LINK, line.as_bytes()), b""));
        assert_eq!(again, Ok(Some(next)), "{line}");
    }
}

pub fn location(data: &[u8]) {
    let headers = lines(LOCATION, data);
    for base in bases() {
        let said = answer(base.clone(), headers.clone(), b"");
        match redirect_target(&base, &headers) {
            Ok(next) => leads_nowhere_weaker(&base, &next),
            Err(error) => assert_one_line(&error.to_string()),
        }
        match upload::location(&said) {
            Ok(url) => {
                leads_nowhere_weaker(&base, &url);
                let digest = Digest::of(data);
                let commit = upload::Upload { url: url.clone(), chunk_at_least: 0 }.commit_url(&digest);
                assert_eq!((commit.origin(), commit.path()), (url.origin(), url.path()));
                let (state, end) = (url.query().unwrap_or_default(), commit.query().unwrap_or_default());
                assert!(end.starts_with(state), "{commit} has lost what {url} says");
                let last = commit.query_pairs().last();
                assert_eq!(last, Some(("digest".into(), digest.to_string().into())), "{commit}");
            }
            Err(reason) => assert_one_line(&reason),
        }
    }
}

fn leads_nowhere_weaker(from: &Url, to: &Url) {
    assert!(to.scheme() == "https" || (from.scheme(), to.scheme()) == ("http", "http"), "{to}");
    if to.host() != from.host() {
        let reach = reach::reach(to);
        assert!(reach != Reach::Link && (reach != Reach::Machine || reach::reach(from) == reach), "{to}");
    }
}

/// Headers as they stand in an answer, one a line: limits, pauses, ranges.
pub fn limits(data: &[u8]) {
    let header = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    };
    let headers: HeaderMap = data.split(|byte| *byte == b'\n').filter_map(header).collect();
    let Ok(registry) = "r.example.com".parse() else { return };
    let pace = pace::Pace::new(&registry, 2);
    let turn = (Kind::ManifestRead, Method::GET);
    let Some(base) = bases().next() else { return };
    let mut said =
        answer(base, headers, br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"your pull rate limit"}]}"#);
    // A success, and then refusals until nobody waits for another.
    pace.heed(&turn, Instant::now(), None, &said.headers, None);
    for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].repeat(3) {
        said.status = status;
        let kind = said.refusal();
        if let ErrorKind::Status { retry_after: Some(pause), .. } = &kind {
            assert!(*pause <= DAY, "{pause:?}");
        }
        assert_one_line(&kind.to_string());
        pace.heed(&turn, Instant::now(), None, &said.headers, Some(&kind));
        let hasty = pace::Patience { longest: Duration::ZERO, ..pace::Patience::default() };
        let Err(told) = now(pace.wait(&turn, &hasty)) else { continue };
        assert_one_line(&told.to_string());
        let ErrorKind::Limited { until, .. } = told else { panic!("{told}") };
        assert!(until <= SystemTime::now() + DAY, "{until:?}");
    }
    upload::received(&said).inspect(|bytes| assert!(*bytes != 1, "one byte is no chunk"));
    let _ = blob::start_of_part(&said.headers);
}

/// A list of tags, as pages one after the other; and as another reader has them.
pub fn tags(data: &[u8]) {
    let (mut list, mut expected) = (List::default(), Vec::new());
    for page in data.split(|byte| *byte == b'\n') {
        if let Err(reason) = list.add(page, 1_000, &mut |name| assert_one_line(name)) {
            assert_one_line(&reason);
            // What was read before it is not used; nor what is behind it.
            return;
        }
        let Ok(whole) = serde_json::from_slice::<serde_json::Value>(page) else { return };
        for name in whole["tags"].as_array().into_iter().flatten() {
            let tag = name.as_str().and_then(|name| name.parse::<Tag>().ok());
            expected.extend(tag.filter(|tag| !expected.contains(tag)).into_iter().collect::<Vec<_>>());
        }
        // An object of which a name stands twice has both.
        if page.windows(4).filter(|word| word == b"tags").count() < 2 && expected.len() <= 1_000 {
            assert_eq!(list.tags, expected);
        } else {
            return;
        }
    }
}

pub fn token(data: &[u8]) {
    let Some(base) = bases().next() else { return };
    match Token::read(&answer(base, HeaderMap::new(), data)) {
        Ok(token) => {
            assert!(token.header.is_sensitive());
            assert!(token.header.as_bytes().len() <= data.len() + "Bearer ".len());
            // As another reader has it, if it reads it at all: it refuses also what nobody wants to know.
            let Ok(body) = serde_json::from_slice::<serde_json::Value>(data) else { return };
            let field = |name: &str| body[name].as_str().filter(|token| !token.is_empty());
            if let Some(text) = field("token").or(field("access_token")) {
                assert_eq!(token.header.as_bytes(), format!("Bearer {text}").as_bytes());
            } else {
                assert!(body.is_array(), "a token out of nothing");
            }
            for need in [Need::Request, Need::Upload] {
                assert!(token.lasts(need), "a token that is never used is asked for again and again");
            }
        }
        Err(reason) => {
            assert_one_line(&reason);
            assert!(reason.len() < 100, "{reason}: whatever came instead is not shown");
        }
    }
}

pub fn error_body(data: &[u8]) {
    let Ok(repository) = "r.example.com/team/app".parse() else { return };
    for status in [301, 400, 401, 403, 404, 409, 412, 413, 416, 429, 500, 503] {
        let Some((status, base)) = StatusCode::from_u16(status).ok().zip(bases().next()) else { continue };
        let said = Answer { status, ..answer(base.clone(), HeaderMap::new(), data) };
        for kind in [said.refusal(), advice::told(&repository, said.refusal()), said.refusal_of(&elsewhere(&base))] {
            let error = Error::new(repository.registry(), &Method::PUT, &said.url, kind);
            let failure = error.to_failure();
            assert_one_line(&failure.reason);
            assert!(failure.reason.len() < 4_000, "{} bytes", failure.reason.len());
            failure.remedy.iter().for_each(|remedy| assert_one_line(remedy));
        }
    }
    let text = String::from_utf8_lossy(data);
    let line = one_line(&text);
    assert!(line.is_empty() || line.len() <= text.len() + " ...".len());
    assert!(line.chars().count() > 300 || one_line(&line) == line);
}

fn elsewhere(base: &Url) -> Url {
    base.join("https://elsewhere.example.com/").unwrap_or_else(|_| base.clone())
}

/// A manifest or an index, as any type that it may come as; and what it says as a list of referrers.
pub fn manifest(data: &[u8]) -> Vec<Manifest> {
    let digest = Digest::of(data);
    let mut manifests = Vec::new();
    for media_type in ["", "application/json; charset=utf-8"].into_iter().chain(super::media::ACCEPT.split(", ")) {
        match Manifest::parse(Bytes::copy_from_slice(data), digest.clone(), media_type) {
            Ok(manifest) => {
                assert_eq!((manifest.bytes.as_ref(), &manifest.digest), (data, &digest), "it is what came");
                assert!(HeaderValue::from_str(&manifest.media_type).is_ok(), "{:?}", manifest.media_type);
                assert_names_what_is_written(&manifest.content, data);
                let _ = manifest.subject();
                manifests.push(manifest);
            }
            Err(Defect::Malformed(reason) | Defect::Unsupported(reason)) => {
                assert_one_line(&reason);
                assert!(reason.len() < 1_600, "{} bytes", reason.len());
            }
        }
    }
    for referrer in referrers::entries(data).into_iter().flatten() {
        assert!(Tag::of_digest(&referrer.digest).as_str().parse::<Tag>().is_ok());
        if !referrer.artifact_type.is_empty() {
            assert_one_line(&referrer.artifact_type);
        }
    }
    manifests
}

/// Asserts that another reader, if it reads it at all, finds the same names in it, neither more nor less.
fn assert_names_what_is_written(content: &Content, data: &[u8]) {
    let Ok(whole) = serde_json::from_slice::<serde_json::Value>(data) else { return };
    // All fields in their order, without names, are read too. No registry has that.
    if whole.is_array() {
        return;
    }
    let lists = ["layers", "blobs", "manifests"].map(|name| whole[name].as_array()).into_iter().flatten().flatten();
    let written = lists.chain(whole["config"].is_object().then_some(&whole["config"]));
    let mut written: Vec<_> = written.map(|one| (one["digest"].as_str(), one["size"].as_u64())).collect();
    let named: Vec<_> = content.children().iter().chain(content.blobs()).collect();
    let digests: Vec<_> = named.iter().map(|one| one.digest.to_string()).collect();
    let mut named: Vec<_> =
        digests.iter().zip(&named).map(|(text, one)| (Some(text.as_str()), Some(one.size))).collect();
    written.sort_unstable();
    named.sort_unstable();
    assert_eq!(named, written);
}

/// Certificates of authorities or of our own, with a key in the same file or behind a line of its own.
pub fn pem(data: &[u8]) {
    let line = b"\n---\n";
    let (certificate, key) = match data.windows(line.len()).position(|window| window == line) {
        Some(end) => (&data[..end], &data[end + line.len()..]),
        None => (data, data),
    };
    let identity = Identity::new(certificate, key).inspect_err(assert_defect).ok();
    let Ok(authorities) = tls::authorities(certificate).inspect_err(assert_defect) else { return };
    assert!(!authorities.is_empty());
    let length: usize = authorities.iter().map(|authority| authority.len()).sum();
    assert!(4 * length <= 3 * certificate.len(), "{length} bytes of {}", certificate.len());
    let written: String = authorities.iter().map(as_pem).collect();
    assert_eq!(tls::authorities(written.as_bytes()).as_ref(), Ok(&authorities), "{written}");
    let client = tls::client(&RootCertStore::empty(), &Tls { authorities, identity }, Trust::Vouched);
    assert!(client.is_ok(), "what was taken cannot be used: {client:?}");
}

fn assert_defect(defect: &PemDefect) {
    assert_one_line(&defect.to_string());
}

/// As another would write it.
fn as_pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}
