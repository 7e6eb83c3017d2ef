//! What refers to a manifest: signatures, SBOMs, attestations (distribution-spec "Listing Referrers", "Referrers Tag
//! Schema").
//!
//! A registry with the API keeps the list itself. Elsewhere the list is an index under a tag that is made of the subject's
//! digest, and each client that pushes a referrer has to keep it up to date.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};
use url::Url;

use super::RepositoryClient;
use super::error::{Error, ErrorKind};
use super::exchange::{Call, Kind};
use super::http::Answer;
use super::links::next_page;
use super::media::{MAX_BYTES, Manifest, OCI_INDEX, is_index};
use crate::digest::Digest;
use crate::foreign::one_line;
use crate::reference::{Identifier, Repository, Tag};
use crate::shared::lock;

/// Pages of one list that are read, at most.
const PAGES: usize = 100;
/// When it is asked again after what was written that the registry says is not there: one of several may lag behind.
const LOOKS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// For which repositories a registry keeps lists, as far as has been found out in this run. What it says of one is not
/// believed of another: some hosts have several registries behind them, and what is not read is left behind.
#[derive(Default)]
pub(super) struct Api(Mutex<HashMap<Repository, Lists>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lists {
    Kept,
    /// There are none, or not for us.
    Missing,
}

impl Api {
    fn of(&self, repository: &Repository) -> Option<Lists> {
        lock(&self.0).get(repository).copied()
    }

    fn note(&self, repository: &Repository, lists: Lists) {
        lock(&self.0).insert(repository.clone(), lists);
    }
}

/// A manifest that refers to another, as a list has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Referrer {
    pub digest: Digest,
    /// What kind of thing it is: `application/vnd.example.sbom.v1`, or nothing.
    pub artifact_type: String,
    /// The whole entry: media type, size, annotations.
    entry: Map<String, Value>,
}

/// The list that stands under the tag for that.
pub struct ReferrersList {
    pub manifest: Manifest,
    pub referrers: Vec<Referrer>,
}

impl ReferrersList {
    /// Whether it can be put as it is in place of `joined`: it names the same manifests, and says of those that are `listed`
    /// already what is said there.
    pub fn serves_for(&self, joined: &Manifest, listed: &[Referrer]) -> bool {
        let [own, joined] = [&self.manifest, joined].map(|list| {
            let named = list.content.children().iter();
            named.map(|child| (&child.digest, child.size, child.media_type.as_str())).collect::<HashSet<_>>()
        });
        let said: HashMap<_, _> = self.referrers.iter().map(|entry| (&entry.digest, entry)).collect();
        own == joined && listed.iter().all(|entry| said.get(&entry.digest) == Some(&entry))
    }
}

impl RepositoryClient {
    /// The referrers of `subject` as the registry's own list has them; `None` if it keeps none.
    pub async fn referrers(&self, subject: &Digest) -> Result<Option<Vec<Referrer>>, Error> {
        if self.client.referrers_api.of(&self.repository) == Some(Lists::Missing) {
            return Ok(None);
        }
        let mut url = self.url(&format!("referrers/{subject}")).await?;
        let Some((mut answer, mut referrers)) = self.first_page(&url).await? else { return Ok(None) };
        let mut bytes = answer.body.len();
        for page in 1..=PAGES {
            let malformed = |reason: String| self.error(&Method::GET, &url, ErrorKind::Malformed { reason });
            match next_page(&answer).map_err(malformed)? {
                None => return Ok(Some(referrers)),
                Some(_) if page == PAGES || bytes > MAX_BYTES => break,
                Some(next) => url = next,
            }
            answer = self.page(&url).await?;
            referrers.append(&mut read(&answer).ok_or_else(|| self.no_list(&url, &answer))?);
            bytes += answer.body.len();
        }
        let reason = format!("a list of referrers of more than {PAGES} pages or {} MiB", MAX_BYTES >> 20);
        Err(self.error(&Method::GET, &url, ErrorKind::Malformed { reason }))
    }

    /// The first page of a list, if the registry keeps lists. Once it has given one of the repository, whatever else it
    /// answers is a failure: what is on a list that is not read would be left behind, or listed by us beside it.
    async fn first_page(&self, url: &Url) -> Result<Option<(Answer, Vec<Referrer>)>, Error> {
        let api = &self.client.referrers_api;
        let mut looks = LOOKS.iter();
        loop {
            let answer = self.page(url).await?;
            if let Some(referrers) = read(&answer) {
                api.note(&self.repository, Lists::Kept);
                return Ok(Some((answer, referrers)));
            }
            let error = self.no_list(url, &answer);
            let are_kept = api.of(&self.repository) == Some(Lists::Kept);
            // Who knows no lists knows not even a code for it.
            let is_of_subject = error.is_not_found() && error.has_code("MANIFEST_UNKNOWN");
            let may_lag = self.push && (is_of_subject || are_kept && error.is_not_found());
            if may_lag && let Some(pause) = looks.next() {
                tokio::time::sleep(*pause).await;
                continue;
            }
            let is_none = is_of_unknown_path(answer.status) || error.has_code("UNSUPPORTED") || is_page(&answer);
            return match answer.status {
                // It says so of the account; Harbor 2.7 says so of every account. Where there is none, a login is to be given.
                _ if error.is_denial() && !are_kept => {
                    tracing::warn!("{error}; what it lists there is not seen, but for what tags name");
                    api.note(&self.repository, Lists::Missing);
                    Ok(None)
                }
                _ if are_kept => Err(error),
                StatusCode::NOT_FOUND if error.has_code("NAME_UNKNOWN") => Ok(None),
                _ if is_none => {
                    // A registry that lacks the one subject may still list what refers to others.
                    if !is_of_subject {
                        api.note(&self.repository, Lists::Missing);
                    }
                    Ok(None)
                }
                _ => Err(error),
            };
        }
    }

    async fn page(&self, url: &Url) -> Result<Answer, Error> {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(OCI_INDEX))]);
        let call = Call { headers, limit: MAX_BYTES, ..Call::new(Kind::ManifestRead, Method::GET, url.clone()) };
        self.call(&call).await
    }

    /// What is wrong with an answer that is no list.
    fn no_list(&self, url: &Url, answer: &Answer) -> Error {
        let kind = match answer.status.is_success() {
            true => ErrorKind::Malformed { reason: "it is not a list of referrers".to_owned() },
            false => answer.refusal(),
        };
        self.error(&Method::GET, url, kind)
    }

    /// The referrers of `subject` as the index under its tag has them, with the index; `None` if there is no such index.
    pub async fn tagged_referrers(&self, subject: &Digest) -> Result<Option<ReferrersList>, Error> {
        match self.manifest(&Identifier::Tag(Tag::of_digest(subject))).await {
            // GitLab has the image itself there.
            Ok(manifest) if manifest.digest == *subject || manifest.media_type != OCI_INDEX => Ok(None),
            Ok(manifest) => Ok(entries(&manifest.bytes).map(|referrers| ReferrersList { manifest, referrers })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if matches!(error.kind, ErrorKind::Malformed { .. } | ErrorKind::Unsupported { .. }) => {
                tracing::warn!("{error}; if it is a list of what refers to {subject}, that is not seen");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The index that lists the referrers of `subject`, and the tag under which it is to be put.
    pub async fn list_of_referrers(
        &self,
        subject: &Digest,
        referrers: &[Referrer],
    ) -> Result<(Identifier, Manifest), Error> {
        let manifests: Vec<&Map<String, Value>> = referrers.iter().map(|referrer| &referrer.entry).collect();
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
        let bytes = Bytes::from(index.to_string());
        let digest = Digest::of(&bytes);
        let place = Identifier::Tag(Tag::of_digest(subject));
        match Manifest::parse(bytes, digest, OCI_INDEX) {
            Ok(manifest) => Ok((place, manifest)),
            Err(_) => {
                let url = self.url(&format!("manifests/{place}")).await?;
                let reason = "its list of referrers cannot be written down".to_owned();
                Err(self.error(&Method::PUT, &url, ErrorKind::Malformed { reason }))
            }
        }
    }
}

/// What registries answer that do not know this API.
fn is_of_unknown_path(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
}

/// Whether it is a page for people, as GHCR leads to one.
fn is_page(answer: &Answer) -> bool {
    answer.status.is_success() && serde_json::from_slice::<Value>(&answer.body).is_err()
}

fn read(answer: &Answer) -> Option<Vec<Referrer>> {
    if answer.status == StatusCode::OK { entries(&answer.body) } else { None }
}

/// The entries of an index, if it is one. What cannot be verified is left out, and that is told.
pub(super) fn entries(index: &[u8]) -> Option<Vec<Referrer>> {
    let index: Value = serde_json::from_slice(index).ok()?;
    let referrer = |entry: &Value| {
        let entry = entry.as_object()?.clone();
        let digest = entry.get("digest")?.as_str()?.parse().ok()?;
        let artifact_type = one_line(entry.get("artifactType").and_then(Value::as_str).unwrap_or_default());
        Some(Referrer { digest, artifact_type, entry })
    };
    let entries = index.get("manifests")?.as_array()?;
    let referrers: Vec<Referrer> = entries.iter().filter_map(referrer).collect();
    if referrers.len() < entries.len() {
        let left = entries.len() - referrers.len();
        tracing::warn!(
            "a list of referrers has {left} entries without a digest that can be verified: they are not seen"
        );
    }
    Some(referrers)
}

impl Referrer {
    /// Whether the list says that it is an index.
    pub fn is_index(&self) -> bool {
        self.entry.get("mediaType").and_then(Value::as_str).is_some_and(is_index)
    }

    /// The entry as it is to be by the manifest itself. Some registries list wrong sizes, or the type of the configuration
    /// for that of the artifact, or leave the annotations out.
    pub fn told_by(mut self, manifest: &Manifest) -> Self {
        let own: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
        let type_at = |place: &str| own.pointer(place).and_then(Value::as_str).filter(|name| !name.is_empty());
        self.entry.insert("mediaType".to_owned(), manifest.media_type.as_str().into());
        self.entry.insert("size".to_owned(), manifest.bytes.len().into());
        if let Some(name) = type_at("/artifactType").or_else(|| type_at("/config/mediaType")) {
            self.entry.insert("artifactType".to_owned(), name.into());
            self.artifact_type = one_line(name);
        }
        if let Some(annotations) = own.get("annotations").filter(|annotations| annotations.is_object()) {
            self.entry.insert("annotations".to_owned(), annotations.clone());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::registry::{Clients, Keyring};

    /// Asks for a list of so many pages, of which each has one entry. Answers how many have come.
    async fn list_of(pages: usize) -> Result<usize, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut page = 0;
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 1024];
                let length = stream.read(&mut asked).await.unwrap_or_default();
                let is_list = String::from_utf8_lossy(&asked[..length]).starts_with("GET /v2/a/referrers/");
                page += usize::from(is_list);
                let next = if page < pages { "link: <?more>; rel=\"next\"\r\n" } else { "" };
                let digest = Digest::of(page.to_string().as_bytes());
                let body = json!({ "manifests": [{ "digest": digest.to_string() }] }).to_string();
                let length = body.len();
                let head = format!("HTTP/1.1 200 OK\r\n{next}connection: close\r\ncontent-length: {length}\r\n\r\n");
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        let clients = Clients::new(Arc::new(Keyring::default()), 1).unwrap();
        let client = clients.reader(&format!("{address}/a").parse().unwrap());
        client.referrers(&Digest::of(b"")).await.map(|list| list.unwrap().len())
    }

    #[tokio::test]
    async fn a_list_is_read_to_its_last_page_and_has_an_end() {
        assert_eq!(list_of(PAGES).await, Ok(PAGES));
        let error = list_of(PAGES + 1).await.unwrap_err();
        assert!(error.to_string().contains("more than 100 pages"), "{error}");
    }

    #[test]
    fn what_is_no_list_is_not_read_as_one() {
        for text in ["", "<html>", "[]", "{}", r#"{"manifests":7}"#] {
            assert_eq!(entries(text.as_bytes()), None, "{text}");
        }
        let list = r#"{"manifests":[{"digest":"sha256:../x"},7,{"size":1}]}"#;
        assert_eq!(entries(list.as_bytes()), Some(Vec::new()));
    }
}
