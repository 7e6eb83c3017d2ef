//! Templates of YAML: what Helm, helmfile or Jinja put in is covered, so that the rest can be parsed.

/// `text` with all between `{{` and `}}`, or `{%` and `%}`, covered by as many bytes that are nothing to YAML: where
/// lines have nothing else by spaces, otherwise by `$`, which no reference holds. `None` if there is nothing to cover.
pub fn mask(text: &str) -> Option<String> {
    if !text.contains("{{") && !text.contains("{%") {
        return None;
    }
    let is_blank = |c: char| c.is_whitespace() && c != '\n';
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, close)) = opening(rest) {
        let Some(length) = rest[start..].find(close).map(|length| length + close.len()) else { break };
        let (before, action) = (&rest[..start], &rest[start..start + length]);
        rest = &rest[start + length..];
        masked.push_str(before);
        // No further than the next character: the line may be all of the file.
        let (line, behind) = (masked.trim_end_matches(is_blank), rest.trim_start_matches(is_blank));
        let begins_line = line.is_empty() || line.ends_with('\n');
        let ends_line = behind.is_empty() || behind.starts_with('\n');
        let cover = if begins_line && ends_line { ' ' } else { '$' };
        masked.extend(action.bytes().map(|byte| if byte == b'\n' { '\n' } else { cover }));
    }
    masked.push_str(rest);
    Some(masked)
}

/// Where the first action begins, and what ends it.
fn opening(text: &str) -> Option<(usize, &'static str)> {
    text.match_indices('{').find_map(|(start, _)| match text.as_bytes().get(start + 1)? {
        b'{' => Some((start, "}}")),
        b'%' => Some((start, "%}")),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_covered_and_nothing_moves() {
        let text = "{{- if .x }}\na: {{ .y }} # é\n  {{ range \"é\" }} \nb: \"{{ .c }}:1\"\n{% if %}\n{{- end";
        let masked = mask(text).unwrap();
        assert_eq!(masked.len(), text.len());
        assert_eq!(masked, "            \na: $$$$$$$$ # é\n                   \nb: \"$$$$$$$$:1\"\n        \n{{- end");
        assert_eq!(mask("a: 1"), None);
        assert_eq!(mask("{ {{ a }}\u{a0}\n{% b %} {").unwrap(), "{ $$$$$$$\u{a0}\n$$$$$$$ {");
    }

    #[test]
    fn however_much_is_put_in_the_text_is_read_once() {
        // Who looks around again for each of them does not come to an end here.
        let masked = mask(&"{{ .x }} y ".repeat(400_000)).unwrap();
        assert_eq!(masked, "$$$$$$$$ y ".repeat(400_000));
    }
}
