//! What holds of everything that a registry may say: it is read or refused, and nothing else happens.

use proptest::collection::vec;
use proptest::prelude::*;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue, LINK, LOCATION, WWW_AUTHENTICATE};
use serde_json::{Value, json};
use url::Url;

use super::challenge::{self, Bearer, Challenge};
use super::error::read_body;
use super::http::Answer;
use super::links::next_page;
use super::media::{Content, Manifest};
use super::token::Token;
use crate::digest::Digest;
use crate::foreign::Secrets;

fn base() -> Url {
    "https://r.example.com/v2/".parse().unwrap()
}

fn answer(headers: HeaderMap, body: &[u8]) -> Answer {
    Answer {
        status: StatusCode::OK,
        headers,
        url: base(),
        body: bytes::Bytes::copy_from_slice(body),
        sent: Default::default(),
    }
}

/// What may stand in a header, made mostly of what means something there.
fn header() -> impl Strategy<Value = HeaderValue> {
    let known = "(Bearer|Basic|NTLM|realm|service|scope|rel|next|https://a/b|//c|=|,|;|<|>|\"|\\\\| |x){0,24}";
    let any = vec(prop_oneof![0x20_u8..=0x7e, 0x80_u8..=0xff], 0..80);
    prop_oneof![known.prop_map(String::into_bytes), any].prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap())
}

/// JSON with the names that manifests, lists and errors have.
fn document() -> impl Strategy<Value = Value> {
    let digest = "(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}|sha256:[0-9a-f./]{0,9}|[a-z0-9:./%]{0,12})";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        digest.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("application/vnd.oci.image.index.v1+json")),
        Just(json!("application/vnd.oci.image.manifest.v1+json")),
    ];
    let names = "(schemaVersion|mediaType|config|layers|blobs|manifests|digest|size|urls|platform|subject|os|\
                 architecture|annotations|errors|code|message|token|expires_in|tags)";
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let object = vec((names, inner.clone()), 0..7);
        prop_oneof![
            vec(inner, 0..5).prop_map(Value::from),
            object.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn descriptor() -> impl Strategy<Value = Value> {
    (any::<[u8; 32]>(), 0..=i64::MAX.cast_unsigned()).prop_map(
        |(bytes, size)| json!({ "mediaType": "m/x", "digest": format!("sha256:{}", hex::encode(bytes)), "size": size }),
    )
}

proptest! {
    #[test]
    fn no_challenge_is_too_strange(lines in vec(header(), 0..4)) {
        let headers: HeaderMap = lines.into_iter().map(|line| (WWW_AUTHENTICATE, line)).collect();
        if let Some(Challenge::Bearer(bearer)) = challenge::read(&headers, &base()) {
            // Whatever stands there, a password goes nowhere in the clear.
            prop_assert_eq!(bearer.realm.scheme(), "https");
        }
    }

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
    fn no_link_header_makes_reading_it_panic(lines in vec(header(), 0..4)) {
        let headers = lines.into_iter().map(|line| (LINK, line)).collect();
        let _ = next_page(&answer(headers, b""));
    }

    #[test]
    fn a_link_is_followed_wherever_it_stands(last in "[a-z0-9,;=.%]{0,20}", other in "[a-z]{1,9}") {
        let line = format!("</{other}>; rel=\"{other}\", </v2/a/tags/list?last={last}>; title=x; rel=\"{other} next\"");
        let headers = HeaderMap::from_iter([(LINK, line.parse().unwrap())]);
        let expected = base().join(&format!("/v2/a/tags/list?last={last}")).unwrap();
        prop_assert_eq!(next_page(&answer(headers, b"")), Ok(Some(expected)));
    }

    #[test]
    fn any_bytes_are_a_body(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Manifest::parse(bytes.clone().into(), Digest::of(&bytes), "");
        let (_, message) = read_body(&bytes, &Secrets::default());
        prop_assert!(!message.contains(char::is_control));
        let _ = Token::read(&answer(HeaderMap::new(), &bytes));
    }

    #[test]
    fn any_document_is_a_manifest_or_is_none(document in document(), index in any::<bool>()) {
        let text = document.to_string();
        let kind = if index { "index" } else { "manifest" };
        let media_type = format!("application/vnd.oci.image.{kind}.v1+json");
        let digest = Digest::of(text.as_bytes());
        match Manifest::parse(text.clone().into(), digest.clone(), &media_type) {
            Ok(manifest) => {
                prop_assert_eq!((manifest.bytes.as_ref(), &manifest.digest), (text.as_bytes(), &digest));
                let (Content::Blobs(all) | Content::Index { manifests: all, .. }) = &manifest.content;
                prop_assert!(all.iter().all(|one| text.contains(&one.digest.to_string())));
                let _ = manifest.subject();
            }
            Err(defect) => {
                let reason = defect.to_string();
                prop_assert!(reason.len() < 1_500 && !reason.contains(char::is_control), "{}", reason);
            }
        }
        let (_, message) = read_body(text.as_bytes(), &Secrets::default());
        prop_assert!(!message.contains(char::is_control));
        let _ = Token::read(&answer(HeaderMap::new(), text.as_bytes()));
    }

    #[test]
    fn a_manifest_names_what_stands_in_it(config in descriptor(), layers in vec(descriptor(), 0..20)) {
        let text = json!({ "schemaVersion": 2, "config": config, "layers": layers }).to_string();
        let digest = Digest::of(text.as_bytes());
        let Ok(manifest) = Manifest::parse(text.into(), digest, "") else { panic!("it is a manifest") };
        let Content::Blobs(blobs) = manifest.content else { panic!("no blobs") };
        let named: Vec<_> = blobs.iter().map(|blob| (blob.digest.to_string(), blob.size)).collect();
        let written = std::iter::once(&config).chain(&layers);
        let written: Vec<_> = written
            .map(|one| (one["digest"].as_str().unwrap().to_owned(), one["size"].as_u64().unwrap()))
            .collect();
        prop_assert_eq!(named, written);
    }

    #[test]
    fn a_redirect_from_https_stays_there(line in header()) {
        let headers = HeaderMap::from_iter([(LOCATION, line)]);
        if let Ok(next) = super::http::redirect_target(&base(), &headers) {
            prop_assert_eq!(next.scheme(), "https");
        }
    }
}
