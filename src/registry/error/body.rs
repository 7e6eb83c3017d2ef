//! What a registry, a token server, or something before it, says in the body of an error answer.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::foreign::{Secrets, one_line};

/// Reads the body of an error answer: the spec's JSON, that of OAuth2, other JSON seen in the wild, or plain text. What was
/// sent to the one who wrote it is hidden.
pub(in crate::registry) fn read_body(body: &[u8], sent: &Secrets) -> (Vec<String>, String) {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(default, borrow)]
        errors: Vec<Entry<'a>>,
        #[serde(alias = "details")]
        message: Option<String>,
        /// Of token servers (RFC 6749, section 5.2).
        error: Option<Value>,
        error_description: Option<Value>,
    }
    #[derive(Deserialize)]
    struct Entry<'a> {
        code: Option<String>,
        message: Option<String>,
        /// Anything at all: what cannot be read of it takes nothing else along.
        #[serde(borrow)]
        detail: Option<&'a RawValue>,
    }
    impl Entry<'_> {
        fn in_words(&self) -> String {
            let code = self.code.as_deref().unwrap_or_default();
            let message = self.message.as_deref().unwrap_or_default();
            let told = self.detail.and_then(|raw| detail(code, &serde_json::from_str(raw.get()).ok()?));
            let detail = told.filter(|detail| detail != message).unwrap_or_default();
            [code, message, &detail].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ")
        }
    }
    let text = String::from_utf8_lossy(body);
    let Ok(body) = serde_json::from_str::<Body<'_>>(&text) else {
        // A proxy's page says nothing that its status does not.
        let message = if text.trim_start().starts_with('<') { String::new() } else { one_line(&sent.hide(&text)) };
        return (Vec::new(), message);
    };
    let sentences: Vec<String> = body.errors.iter().map(Entry::in_words).collect();
    let oauth = || {
        let error = body.error.as_ref().and_then(|error| error.as_str().or_else(|| error["message"].as_str()));
        let description = body.error_description.as_ref().and_then(Value::as_str);
        error.into_iter().chain(description).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ")
    };
    let message = match sentences.is_empty() {
        true => body.message.filter(|message| !message.is_empty()).unwrap_or_else(oauth),
        false => sentences.join(", "),
    };
    let codes = body.errors.into_iter().filter_map(|entry| entry.code).collect();
    (codes, one_line(&sent.hide(&message)))
}

/// What else an error says, if that is for people. Of what distribution does not know it is all that is said: which of its
/// storage's calls failed, and how.
fn detail(code: &str, detail: &Value) -> Option<String> {
    match detail {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => {
            let told = fields.get("message").or_else(|| fields.get("description")).and_then(Value::as_str);
            let all = || (code == "UNKNOWN" && !fields.is_empty()).then(|| detail.to_string());
            told.map(str::to_owned).or_else(all)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_body(body: &[u8]) -> (Vec<String>, String) {
        super::read_body(body, &Secrets::default())
    }

    #[test]
    fn the_words_of_oauth_are_kept() {
        let told = |body: &str| read_body(body.as_bytes()).1;
        let both = r#"{"error": "invalid_grant", "error_description": "it has expired", "error_uri": 1}"#;
        assert_eq!(told(both), "invalid_grant: it has expired");
        assert_eq!(told(r#"{"error": "invalid_client"}"#), "invalid_client");
        assert_eq!(told(r#"{"error": {"code": 403, "message": "no"}}"#), "no");
        assert_eq!(told(r#"{"error": "Forbidden", "message": "no quota"}"#), "no quota");
        assert_eq!(told(r#"{"error": null, "error_description": ["x"]}"#), "");
    }

    #[test]
    fn what_was_sent_is_not_told_again_however_long_the_text_is() {
        let mut sent = Secrets::default();
        sent.add("hunter2SECRET");
        for body in [
            format!("{}hunter2SECRET", "x".repeat(292)),
            r#"{"errors": [{"code": "bad hunter2SECRET"}]}"#.to_owned(),
            format!(r#"{{"message": "{}\u0068unter2\u0053ECRET"}}"#, "x".repeat(292)),
            r#"{"error": "no", "error_description": "hunter2SECRET"}"#.to_owned(),
        ] {
            let (_, message) = super::read_body(body.as_bytes(), &sent);
            assert!(!message.contains("hunter2") && message.contains("***"), "{message}");
        }
    }

    #[test]
    fn what_was_sent_is_not_told_again_where_a_detail_has_it_with_escapes() {
        let mut sent = Secrets::default();
        sent.add(r#"hunter"2\SECRET"#);
        let storage = r#"{"Enclosed": "of \"hunter\\\"2\\\\SECRET\""}"#;
        for detail in [r#"{"Enclosed": "of hunter\"2\\SECRET"}"#, storage] {
            let body = format!(r#"{{"errors": [{{"code": "UNKNOWN", "detail": {detail}}}]}}"#);
            let (_, message) = super::read_body(body.as_bytes(), &sent);
            assert!(message.contains("of ") && message.contains("***") && !message.contains("hunter"), "{message}");
            assert!(!message.contains("SECRET"), "{message}");
        }
    }

    #[test]
    fn the_registrys_own_words_are_kept() {
        let (codes, message) = read_body(br#"{"errors":[{"code":"DENIED","message":"no quota","detail":{"a":[1]}}]}"#);
        assert_eq!((codes, message.as_str()), (vec!["DENIED".to_owned()], "DENIED: no quota"));
        assert_eq!(read_body(br#"{"details":"odd"}"#).1, "odd");
        assert_eq!(read_body(br#"{"errors":[{"code":"A"},{"message":"b"},{"code":"C","message":""}]}"#).1, "A, b, C");
        assert_eq!(read_body(b"Too Many\n Requests\x1b[31m").1, "Too Many Requests[31m");
        assert_eq!(read_body(b"<html>502</html>").1, "");
        assert_eq!(read_body(b"").1, "");
    }

    #[test]
    fn what_a_registry_says_beside_its_usual_words_is_told() {
        let told = |detail: &str, code: &str| {
            read_body(format!(r#"{{"errors":[{{"code":"{code}","message":"m","detail":{detail}}}]}}"#).as_bytes()).1
        };
        // As distribution tells of a full disk, Artifactory of a manifest, and Docker Hub of a scope.
        let full = r#"{"DriverName":"filesystem","Enclosed":{"Err":28,"Op":"mkdir"}}"#;
        assert_eq!(told(full, "UNKNOWN"), format!("UNKNOWN: m: {full}"));
        assert_eq!(told(r#"{"description":"no artifact"}"#, "MANIFEST_INVALID"), "MANIFEST_INVALID: m: no artifact");
        assert_eq!(told(r#""sha256:12""#, "MANIFEST_BLOB_UNKNOWN"), "MANIFEST_BLOB_UNKNOWN: m: sha256:12");
        let quoted = r#"{"Enclosed":"open \"a\\b\""}"#;
        assert_eq!(told(quoted, "UNKNOWN"), format!("UNKNOWN: m: {quoted}"));
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for nothing in
            ["null", "{}", "[{\"Type\":\"repository\"}]", "\"m\"", "\"\"", "7", "1e999", r#""\ud800""#, &deep]
        {
            assert_eq!(told(nothing, "UNKNOWN"), "UNKNOWN: m", "{nothing}");
        }
        assert_eq!(told(r#"{"Tag":"1.0"}"#, "MANIFEST_UNKNOWN"), "MANIFEST_UNKNOWN: m");
    }
}
