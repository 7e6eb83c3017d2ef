//! Says in words what serde_json found wrong with a text.

use serde_json::error::Category;

use super::{Found, Hint, Mismatch};

/// The offset in `text` of what `error` complains about, and the complaint.
pub fn explain(text: &str, error: &serde_json::Error) -> (usize, Mismatch) {
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or(&message);
    if error.classify() == Category::Eof {
        return at_end(text, reason);
    }
    let reported = offset_of(text, error.line(), error.column());
    let (offset, found, expected) = match reason {
        // Reported one character behind the backslash and one before the control character.
        "invalid escape" => (backslash_before(text, reported), Found::Escape, r"`\\` for a backslash"),
        _ if reason.starts_with("control character") => {
            let offset = reported + text[reported..].find(|c| c < ' ').unwrap_or(0);
            (offset, found_at(text, offset), "`\"`, the end of the string")
        }
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" | "invalid unicode code point" => {
            (backslash_before(text, reported), Found::Escape, r"a character; beyond U+FFFF it is two `\u` escapes")
        }
        _ => (reported, found_at(text, reported), expected_by(reason)),
    };
    let hint = hint_at(text, offset);
    // "a value" would be wrong advice where the comma is to go.
    let expected = if hint == Some(Hint::NoTrailingCommas) { "another entry" } else { expected };
    (offset, Mismatch { found, expected, hint })
}

fn at_end(text: &str, reason: &str) -> (usize, Mismatch) {
    let end = text.trim_end().len();
    let found = if end == 0 { Found::EmptyFile } else { Found::FileEnd };
    let expected = match reason {
        _ if end == 0 => "a JSON object",
        "EOF while parsing a list" => "`]`",
        "EOF while parsing an object" => "`}`",
        "EOF while parsing a string" => "`\"`, the end of the string",
        _ => "a value",
    };
    (end, Mismatch { found, expected, hint: None })
}

fn expected_by(reason: &str) -> &'static str {
    match reason {
        "expected `:`" => "`:` and a value",
        "expected `,` or `]`" => "`,` or `]`",
        "expected `,` or `}`" => "`,` or `}`",
        "key must be a string" => "a key in double quotes",
        "trailing characters" => "the end of the file",
        "invalid number" => "a number as JSON writes it",
        _ => "a value",
    }
}

/// serde_json counts columns in bytes, from 1.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut offset = (start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

fn backslash_before(text: &str, offset: usize) -> usize {
    text[..offset].rfind('\\').unwrap_or(offset)
}

fn found_at(text: &str, offset: usize) -> Found {
    match text[offset..].chars().next() {
        None => Found::FileEnd,
        Some('\n' | '\r') => Found::LineEnd,
        Some(c) if c.is_control() => Found::ControlCharacter,
        Some(c) if "{}[]:,\"'`“”„‘’/#".contains(c) => Found::Punctuation(c),
        Some(_) => Found::Text,
    }
}

fn hint_at(text: &str, offset: usize) -> Option<Hint> {
    let (before, after) = text.split_at(offset);
    if ["//", "/*", "#"].iter().any(|comment| after.starts_with(comment)) {
        Some(Hint::NoComments)
    } else if after.starts_with(['}', ']']) && before.trim_end().ends_with(',') {
        Some(Hint::NoTrailingCommas)
    } else if before.chars().all(|c| c == '-' || c.is_whitespace()) {
        // Nothing of JSON stands before it.
        Some(Hint::NotYaml)
    } else {
        None
    }
}
