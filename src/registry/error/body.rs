//! What a registry, a token server, or something before it, says in the body of an error answer.

use serde::Deserialize;
use serde_json::Value;

use crate::foreign::{Secrets, one_line};

/// Reads the body of an error answer: the spec's JSON, that of OAuth2, other JSON seen in the wild, or plain text. What was
/// sent to the one who wrote it is hidden.
pub(in crate::registry) fn read_body(body: &[u8], sent: &Secrets) -> (Vec<String>, String) {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        errors: Vec<Entry>,
        #[serde(alias = "details")]
        message: Option<String>,
        /// Of token servers (RFC 6749, section 5.2).
        error: Option<Value>,
        error_description: Option<Value>,
    }
    #[derive(Deserialize)]
    struct Entry {
        code: Option<String>,
        message: Option<String>,
    }
    let Ok(body) = serde_json::from_slice::<Body>(body) else {
        let text = String::from_utf8_lossy(body);
        // A proxy's page says nothing that its status does not.
        let message = if text.trim_start().starts_with('<') { String::new() } else { one_line(&sent.hide(&text)) };
        return (Vec::new(), message);
    };
    let sentences: Vec<String> = body
        .errors
        .iter()
        .map(|entry| match (&entry.code, &entry.message) {
            (Some(code), Some(message)) if !message.is_empty() => format!("{code}: {message}"),
            (Some(text), _) | (None, Some(text)) => text.clone(),
            (None, None) => String::new(),
        })
        .collect();
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
    fn the_registrys_own_words_are_kept() {
        let (codes, message) = read_body(br#"{"errors":[{"code":"DENIED","message":"no quota","detail":{"a":[1]}}]}"#);
        assert_eq!((codes, message.as_str()), (vec!["DENIED".to_owned()], "DENIED: no quota"));
        assert_eq!(read_body(br#"{"details":"odd"}"#).1, "odd");
        assert_eq!(read_body(b"Too Many\n Requests\x1b[31m").1, "Too Many Requests[31m");
        assert_eq!(read_body(b"<html>502</html>").1, "");
        assert_eq!(read_body(b"").1, "");
    }
}
