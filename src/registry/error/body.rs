//! What a registry, or something before it, says in the body of an error answer.

use crate::foreign::one_line;
use serde::Deserialize;

/// Reads the body of an error answer: the spec's JSON, other JSON seen in the wild, or plain text.
pub(in crate::registry) fn read_body(body: &[u8]) -> (Vec<String>, String) {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        errors: Vec<Entry>,
        #[serde(alias = "details")]
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct Entry {
        code: Option<String>,
        message: Option<String>,
    }
    let Ok(body) = serde_json::from_slice::<Body>(body) else {
        let text = String::from_utf8_lossy(body);
        // A proxy's page says nothing that its status does not.
        let message = if text.trim_start().starts_with('<') { String::new() } else { one_line(&text) };
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
    let codes = body.errors.into_iter().filter_map(|entry| entry.code).collect();
    let message = if sentences.is_empty() { body.message.unwrap_or_default() } else { sentences.join(", ") };
    (codes, one_line(&message))
}

#[cfg(test)]
mod tests {
    use super::*;

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
