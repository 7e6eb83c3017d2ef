//! The files that people and their tools write, and the names in them.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use regex::Regex;

use super::name::{Name, Selection};
use super::rule::{Checker, InvalidRule, Rule};
use super::*;
use crate::fuzz::assert_one_line;
use crate::platform::Platform;
use crate::reference::{Repository, Tag};
use crate::registry::{Holds, Store as _};

/// What is a secret where it stands, in auth.json and in Docker's.
const SECRETS: [&str; 5] = ["password", "identityToken", "identitytoken", "registrytoken", "auth"];

/// Secrets in JSON that stand there nowhere else, so that they can only be found in a message if it tells them.
fn secrets(data: &[u8]) -> Vec<String> {
    fn collect(value: &serde_json::Value, found: &mut Vec<String>) {
        for (name, member) in value.as_object().into_iter().flatten() {
            match member.as_str() {
                Some(text) if SECRETS.contains(&name.as_str()) => found.push(text.to_owned()),
                _ => collect(member, found),
            }
        }
    }
    let mut found = Vec::new();
    collect(&serde_json::from_slice(data).unwrap_or_default(), &mut found);
    let text = String::from_utf8_lossy(data);
    // Nor is it a part of what is told in any case.
    found.retain(|secret| !"DOCKER_AUTH_CONFIG".contains(secret.as_str()));
    found.retain(|secret| secret.len() > 7 && !secret.contains('$') && text.matches(secret).count() == 1);
    found
}

#[track_caller]
fn assert_said(text: &str, secrets: &[String]) {
    assert_one_line(text);
    assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text:?} tells a secret");
}

pub fn auth_json(data: &[u8]) {
    let secrets = secrets(data);
    let environment = |name: &str| (name != "UNSET").then(|| "from the environment".into());
    let document = match Document::parse("auth.json", data.to_vec()) {
        Ok(document) => document,
        Err(error) => return assert_said(&error.to_string(), &secrets),
    };
    match auth::read(document.root(), Path::new("/nowhere"), &environment) {
        Ok(auth) => {
            let holds_none = secrets.is_empty() || auth.holds_secrets || auth.hosts.is_empty();
            assert!(holds_none, "nobody would be warned that {secrets:?} can be read");
            for host in &auth.hosts {
                assert_eq!(host.to_string().parse().as_ref(), Ok(host));
            }
            let repositories: Vec<Repository> =
                auth.hosts.iter().filter_map(|host| Repository::new(host.clone(), "team/app").ok()).collect();
            let (used, unused) = auth.unset.split_by_use(repositories.iter());
            auth.warnings.iter().for_each(|warning| assert_said(warning, &secrets));
            for variable in used.iter().chain(&unused) {
                assert_said(&variable.to_string(), &secrets);
            }
        }
        Err(error) => assert_said(&error.to_string(), &secrets),
    }
}

pub fn docker_config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let secrets = secrets(data);
    let environment = |name: &str| {
        Some(if name == "DOCKER_AUTH_CONFIG" { text } else { "/nowhere" }.into())
            .filter(|text: &std::ffi::OsString| !text.is_empty())
    };
    let store = docker::UserStore::new(&environment);
    for name in ["docker.io/library/nginx", "ghcr.io/team/app", "quay.io/team/sub/app", "localhost:5000/app"] {
        let Ok(repository) = name.parse() else { continue };
        let Some(account) = store.account(&repository) else { continue };
        assert_said(&account.key, &secrets);
        for source in account.sources {
            assert_said(&source.name, &secrets);
            assert_said(&source.remedy, &secrets);
            assert_said(&format!("{:?}", source.holds), &secrets);
            if let Holds::Nothing(reason) = source.holds {
                assert_said(&reason, &secrets);
            }
        }
    }
}

fn check_all(written: Vec<Written>) -> (Vec<Rule>, Vec<InvalidRule>) {
    let hosts = HashSet::from_iter("registry".parse::<Registry>());
    let mut checker = Checker::new(&hosts, Some("swr.example.com"), Some("team/sub"), false);
    let (mut rules, mut invalid) = (Vec::new(), Vec::new());
    for rule in written {
        checker.check(rule).map_or_else(|rule| invalid.push(*rule), |rule| rules.push(rule));
    }
    (rules, invalid)
}

pub fn images_json(data: &[u8]) {
    let read = |content: Vec<u8>| images::read(Document::parse("images.json", content)?.root());
    let written = match read(data.to_vec()) {
        Ok(written) => written,
        Err(error) => return assert_one_line(&error.to_string()),
    };
    let count = written.len();
    let (rules, invalid) = check_all(written);
    assert_eq!(rules.len() + invalid.len(), count, "no rule is lost");
    invalid.iter().for_each(|rule| assert_one_line(&rule.to_string()));
    for rule in &rules {
        assert_one_line(&rule.to_string());
        rule.warning().iter().for_each(|warning| assert_one_line(warning));
        assert!(rule.images.fixed().count() <= rule.source.len(), "more images than are written");
    }
    misspelt::warnings(&rules, &HashSet::new()).for_each(|warning| assert_one_line(&warning));
    // As the list of what failed is given back.
    let line = |rule: &Rule| format!("{}: {}", json(&rule.source), json(&rule.full_destination()));
    let list = format!("{{{}}}", rules.iter().map(line).collect::<Vec<_>>().join(", "));
    let (again, invalid) = check_all(read(list.into_bytes()).expect("rules that were read"));
    assert_eq!(invalid, [], "what could be used can be used again");
    let images = |rules: &[Rule]| rules.iter().map(|rule| format!("{:?}", rule.images)).collect::<Vec<_>>();
    assert_eq!(images(&again), images(&rules));
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    means_what_it_shows::<Registry>(text);
    if let Ok(registry) = text.parse::<Registry>() {
        leads_to_its_host(&registry);
    }
    fits_the_specification(text);
    means_what_it_shows::<Repository>(text);
    means_what_it_shows::<Tag>(text);
    means_what_it_shows::<Digest>(text);
    means_what_it_shows::<Target>(text);
    if !text.split('/').any(|name| name.len() > 31) {
        means_what_it_shows::<Platform>(text);
    }
    let hosts = HashSet::from_iter("registry".parse::<Registry>());
    match Name::parse(text, &hosts) {
        Ok(name) => {
            let shown = shown(&name);
            assert_eq!(Name::parse(&shown, &hosts), Ok(name), "{shown}");
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
    // Two readers of the same, in a cluster and in the files of one.
    if let (Some(image), Some(written)) = (crate::cluster::fuzz::image(text), crate::rewrite::fuzz::written(text)) {
        assert_eq!(image, written);
    }
}

/// Asserts that a URL has the host that the name says, and no address that it could be read as.
fn leads_to_its_host(registry: &Registry) {
    let url: url::Url = format!("https://{registry}/v2/").parse().expect("a URL");
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default());
    let with = |host: &str| [Some(host.to_owned()), port.map(|port| format!("{host}:{port}"))];
    let is_address = host.starts_with('[');
    let is_same = is_address || with(host).iter().flatten().any(|shown| *shown == registry.to_string());
    assert!(is_same, "{registry} leads to {url}");
}

/// Asserts that tags and paths are those that distribution-spec, "Pulling manifests", allows.
fn fits_the_specification(text: &str) {
    thread_local! {
        static TAG: Regex = Regex::new(r"\A[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\z").expect("an expression");
        static PATH: Regex = Regex::new(
            r"\A[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*\z",
        )
        .expect("an expression");
    }
    assert_eq!(text.parse::<Tag>().is_ok(), TAG.with(|tag| tag.is_match(text)), "{text:?}");
    if let Ok(registry) = "r.example.com".parse() {
        let is_path = text.len() <= 255 && PATH.with(|path| path.is_match(text));
        assert_eq!(Repository::new(registry, text).is_ok(), is_path, "{text:?}");
    }
}

fn means_what_it_shows<T>(text: &str)
where
    T: FromStr<Err: Display + Debug + PartialEq> + Display + Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(value) => {
            assert_one_line(&value.to_string());
            assert_eq!(value.to_string().parse(), Ok(value));
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

fn shown(Name { repository, selection }: &Name) -> String {
    let listed = |tags: &[Tag]| tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(",");
    match selection {
        Selection::Whole => repository.to_string(),
        Selection::Tags(tags) => format!("{repository}:{}", listed(tags)),
        Selection::Digest { tag: None, digest } => format!("{repository}@{digest}"),
        Selection::Digest { tag: Some(tag), digest } => format!("{repository}:{tag}@{digest}"),
        Selection::Expression(expression) => {
            format!("{repository}:{}/{}/", if expression.negated { "!" } else { "" }, expression.text)
        }
    }
}

/// A report as `verify --against` and `rewrite --report` read it.
pub fn recorded(data: &[u8]) {
    let document = match Document::parse("report.json", data.to_vec()) {
        Ok(document) => document,
        Err(error) => return assert_one_line(&error.to_string()),
    };
    match recorded::read(document.root()) {
        Ok(recorded) => {
            for rule in recorded.images.iter().map(RecordedImage::rule) {
                assert!(rule.images.fixed().count() == 1);
                assert_one_line(&rule.to_string());
            }
            assert!(recorded.digests().len() <= recorded.images.len());
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// The rules of an images.json that can be used without defaults, and those that cannot.
pub fn rules_of(images: &str) -> Option<(Vec<Rule>, Vec<InvalidRule>)> {
    let document = Document::parse("images.json", images.into()).ok()?;
    let written = images::read(document.root()).ok()?;
    let hosts = HashSet::new();
    let mut checker = Checker::new(&hosts, None, None, false);
    let (mut rules, mut invalid) = (Vec::new(), Vec::new());
    for rule in written {
        checker.check(rule).map_or_else(|rule| invalid.push(*rule), |rule| rules.push(rule));
    }
    Some((rules, invalid))
}

/// Asserts that a text is an auth.json.
pub fn skeleton(text: &str) {
    let document = Document::parse("auth.json", text.into()).expect("JSON");
    auth::read(document.root(), Path::new("/nowhere"), &|_| None).expect("auth.json");
}

/// Rules for others to work with.
pub fn rules(images: &str) -> Vec<Rule> {
    let document = Document::parse("images.json", images.into()).expect("JSON");
    let (rules, invalid) = check_all(images::read(document.root()).expect("rules"));
    assert_eq!(invalid, []);
    rules
}
