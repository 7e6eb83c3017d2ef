//! Variables as a shell, Compose and Dockerfiles write them: `$NAME`, `${NAME}`, `${NAME:-default}`.

use std::ops::Range;

/// Defaults within defaults are followed so deep.
const MAX_DEPTH: usize = 8;

/// The name of the variable at the start of `range`, where its own default stands, and where it ends.
pub fn variable(text: &str, range: Range<usize>) -> (&str, Option<Range<usize>>, usize) {
    let rest = &text[range.start + 1..range.end];
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if let Some(braced) = rest.strip_prefix('{') {
        let Some(length) = closing(braced) else { return ("", None, range.end) };
        let start = range.start + "${".len();
        let inside = &braced[..length];
        let name = &inside[..inside.find(|c| !is_name(c)).unwrap_or(inside.len())];
        let rest = &inside[name.len()..];
        let end = start + length;
        let default = rest.strip_prefix(":-").or_else(|| rest.strip_prefix('-'));
        // Other operators cut or replace; then it is not known what comes out.
        let name = if rest.is_empty() || default.is_some() { name } else { "" };
        return (name, default.map(|default| end - default.len()..end), end + 1);
    }
    let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    (&rest[..length], None, range.start + 1 + length)
}

/// Where what is inside braces ends.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    text.bytes().position(|byte| {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        depth < 0
    })
}

/// Where in `text`, which is a variable and nothing else, its default stands; otherwise all of it.
pub fn default(text: &str) -> Range<usize> {
    let mut range = 0..text.len();
    for _ in 0..MAX_DEPTH {
        if !text[range.clone()].starts_with("${") {
            break;
        }
        match variable(text, range.clone()) {
            (_, Some(default), end) if end == range.end => range = default,
            _ => break,
        }
    }
    range
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_of_a_variable_is_found() {
        for (text, expected) in [
            ("${A:-b:1}", "b:1"),
            ("${A-b}", "b"),
            ("${A:-${B:-c/d:1}}", "c/d:1"),
            ("${A:-b${C}}", "b${C}"),
            ("${A:-b}c", "${A:-b}c"),
            ("${A}", "${A}"),
            ("${A:?b}", "${A:?b}"),
            ("${A:-b", "${A:-b"),
            ("b", "b"),
        ] {
            assert_eq!(&text[default(text)], expected, "{text}");
        }
    }
}
