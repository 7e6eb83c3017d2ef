//! What the operator can do about an error, where that is known.

use reqwest::{Method, StatusCode};

use super::{Error, ErrorKind, is_transient, lacks_room};
use crate::registry::advice;
use crate::registry::probe::base;
use crate::registry::reach::authority;

impl Error {
    /// The host that was asked: not always the registry, but also its token server.
    fn host(&self) -> String {
        let asked = self.asked.as_ref().filter(|_| !self.registry.is_docker_hub());
        asked.map_or_else(|| self.registry.to_string(), |asked| authority(&asked.url).to_owned())
    }

    /// Whether this came to a request that would have written something.
    fn is_of_push(&self) -> bool {
        self.is_of(&[Method::POST, Method::PUT, Method::PATCH])
    }

    /// Whether this came to the bytes of an upload that the registry has sent to another origin than its own.
    pub(super) fn is_of_upload_elsewhere(&self) -> bool {
        let Some(asked) = &self.asked else { return false };
        let own = base(&self.registry, asked.url.scheme());
        self.is_of(&[Method::PUT, Method::PATCH]) && own.is_some_and(|own| own.origin() != asked.url.origin())
    }

    pub(super) fn advice(&self) -> Option<String> {
        let (led_to, facts) = match self.facts() {
            ErrorKind::Elsewhere { host, kind } => (Some(host), &**kind),
            facts => (None, facts),
        };
        let (registry, host) = (&self.registry, || led_to.cloned().unwrap_or_else(|| self.host()));
        let as_whom = || self.asked.as_ref()?.remedy.clone();
        let may = if self.is_of_push() { "may push to" } else { "may use" };
        Some(match facts {
            ErrorKind::Rejected { remedy, .. } | ErrorKind::Unavailable { remedy, .. } | ErrorKind::LoginNeeded { remedy } => {
                remedy.clone()
            }
            ErrorKind::NoRepository { repository, message, .. } => {
                let create = advice::create(repository, message).sentence;
                as_whom().map_or_else(|| create.clone(), |as_whom| format!("{create}; {as_whom}"))
            }
            ErrorKind::KeptDamaged { .. } => {
                "delete that blob from the registry's storage, then copy again with --force".to_owned()
            }
            ErrorKind::ImmutableTag { .. } => {
                "delete the tag there, allow it to be moved, or give the image another tag".to_owned()
            }
            ErrorKind::Status { status, message, .. } if lacks_room(*status, message) => {
                "free space there, or have the quota raised".to_owned()
            }
            ErrorKind::Status { status, .. } if status.is_redirection() => {
                "if that is the registry's own name, give it that name in images.json and auth.json; if it is its storage, \
                 have the registry take uploads itself"
                    .to_owned()
            }
            ErrorKind::Status { status: StatusCode::PAYLOAD_TOO_LARGE, .. } => {
                "the registry, or a proxy before it, limits the size of requests: have that limit raised".to_owned()
            }
            ErrorKind::Status { .. } if self.is_denial() && self.is_of_upload_elsewhere() => format!(
                "{registry} has uploads sent to {}, where its credentials are not shown: correct the address that the registry \
                 gives itself, or the Host header that a proxy before it passes on",
                host()
            ),
            ErrorKind::Status { .. } if self.is_denial() && !self.may_be_of_media_type() => {
                as_whom().unwrap_or_else(|| {
                    format!("check that auth.json has an entry for {registry} whose account {may} this repository")
                })
            }
            // Who has lists says what is not there.
            ErrorKind::Status { status: StatusCode::NOT_FOUND, codes, .. }
                if codes.is_empty() && self.path().ends_with("/tags/list") =>
            {
                "check the repository's name; if the registry keeps no lists of tags, name them in the rule".to_owned()
            }
            ErrorKind::Status { status: StatusCode::NOT_FOUND, .. } if self.path().ends_with("/tags/list") => {
                "check the repository's name, and that the account may see it".to_owned()
            }
            ErrorKind::Status { status: StatusCode::NOT_FOUND, .. }
                if self.is_of(&[Method::GET]) && self.path().contains("/manifests/") =>
            {
                "check the name of the repository and its tag, and that the account may see it".to_owned()
            }
            ErrorKind::Status { status: StatusCode::METHOD_NOT_ALLOWED, .. } if self.is_of_push() => {
                "the registry is only read from there: it is a cache of another, or switched to read-only".to_owned()
            }
            ErrorKind::Status { status: StatusCode::TOO_MANY_REQUESTS, .. } => {
                "the registry limits the rate: use fewer --workers or try later".to_owned()
            }
            ErrorKind::Status { status, .. } if is_transient(*status) && matches!(self.kind, ErrorKind::Verdict(_)) => {
                "the registry fails all such requests: run the same command again when it is well".to_owned()
            }
            ErrorKind::Status { status, .. } if is_transient(*status) => {
                "the registry is in trouble: run the same command again when it is well".to_owned()
            }
            ErrorKind::Unreachable { .. } => {
                format!("check the name {:?}, and that it can be reached from here", host())
            }
            ErrorKind::TooFewFiles { .. } => {
                "this process may open too few files, connections among them: raise `ulimit -n`, or use fewer --workers"
                    .to_owned()
            }
            ErrorKind::Limited { .. } => {
                "run the same command again then, or with an account that may do more in auth.json".to_owned()
            }
            ErrorKind::Untrusted { unknown_issuer: true, .. } => format!(
                "if it is vouched for by an authority of your own, give that one's certificate as \"ca\" of {} in \
                 auth.json; \"insecure\": true there takes any certificate",
                host()
            ),
            ErrorKind::Untrusted { .. } => format!(
                "have it replaced there, and see that the clock of this machine is right; \"insecure\": true for {} in \
                 auth.json takes any certificate",
                host()
            ),
            ErrorKind::NotTls if led_to.is_some() => {
                format!("the address by which {registry} leads there says https, and is to be corrected at that registry")
            }
            ErrorKind::NotTls => {
                format!("if {} speaks plain http, set \"insecure\": true for it in auth.json", host())
            }
            ErrorKind::CertificateNeeded { .. } => {
                format!("give a certificate that it takes as \"cert\" and \"key\" of {} in auth.json", host())
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn it_is_not_the_entry_that_is_wrong_where_credentials_are_not_shown() {
        let refused = |status, registry: &str, method, url: &str| {
            let codes = Vec::new();
            let kind = ErrorKind::Status { status, codes, message: String::new(), retry_after: None };
            Error::new(&registry.parse().unwrap(), &method, &url.parse().unwrap(), kind).advice().unwrap()
        };
        for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
            let url = "https://r.example.com/v2/a/blobs/uploads/1";
            let elsewhere = refused(status, "r.example.com:8443", Method::PUT, url);
            assert!(elsewhere.contains("sent to r.example.com, ") && elsewhere.contains("Host header"), "{elsewhere}");
        }
        for (registry, method, url) in [
            ("r.example.com:8443", Method::PUT, "https://r.example.com:8443/v2/a/blobs/uploads/1"),
            ("r.example.com:443", Method::PATCH, "https://r.example.com/v2/a/blobs/uploads/1"),
            ("docker.io", Method::PUT, "https://registry-1.docker.io/v2/a/blobs/uploads/1"),
            ("r.example.com", Method::GET, "https://auth.example.com/token"),
        ] {
            let advice = refused(StatusCode::UNAUTHORIZED, registry, method, url);
            assert!(advice.contains("has an entry"), "{url}");
        }
    }

    #[test]
    fn no_account_changes_what_kind_of_manifest_a_registry_takes() {
        let url = "https://r.example.com/v2/a/manifests/1".parse().unwrap();
        for (code, is_of_account) in [("DENIED", true), ("UNSUPPORTED", false)] {
            let (status, codes) = (StatusCode::FORBIDDEN, vec![code.to_owned()]);
            let kind = ErrorKind::Status { status, codes, message: String::new(), retry_after: None };
            let error = Error::new(&"r.example.com".parse().unwrap(), &Method::PUT, &url, kind);
            assert_eq!(error.advice().is_some(), is_of_account, "{code}");
        }
    }

    #[test]
    fn an_https_address_that_a_registry_gives_is_corrected_there() {
        let advice = |kind| {
            let url = "https://r.example.com/v2/a/blobs/b".parse().unwrap();
            Error::new(&"r.example.com".parse().unwrap(), &Method::GET, &url, kind).advice().unwrap()
        };
        assert!(advice(ErrorKind::NotTls).contains("set \"insecure\": true for it"));
        let kind = Arc::new(ErrorKind::NotTls);
        let led = advice(ErrorKind::Elsewhere { host: "s.example.com".to_owned(), kind });
        assert!(led.contains("by which r.example.com leads there says https") && !led.contains("insecure"), "{led}");
    }

    #[test]
    fn where_no_tags_are_listed_it_is_said_whether_that_is_known_to_be_the_repository_s_fault() {
        let advice = |codes: &[&str]| {
            let codes = codes.iter().map(ToString::to_string).collect();
            let kind =
                ErrorKind::Status { status: StatusCode::NOT_FOUND, codes, message: String::new(), retry_after: None };
            let url = "https://r.example.com/v2/a/tags/list".parse().unwrap();
            Error::new(&"r.example.com".parse().unwrap(), &Method::GET, &url, kind).advice().unwrap()
        };
        assert!(advice(&[]).ends_with("name them in the rule"));
        assert!(advice(&["NAME_UNKNOWN"]).ends_with("that the account may see it"));
    }
}
