//! Templates of YAML: what Helm, helmfile or Jinja put in is covered, so that the rest can be parsed.

/// `text` with all between `{{` and `}}`, or `{%` and `%}`, covered by as many bytes that are nothing to YAML: where
/// lines have nothing else by spaces, otherwise by `$`, which no reference holds. `None` if there is nothing to cover.
pub fn mask(text: &str) -> Option<String> {
    if !text.contains("{{") && !text.contains("{%") {
        return None;
    }
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = [rest.find("{{"), rest.find("{%")].into_iter().flatten().min() {
        let close = if rest[start..].starts_with("{{") { "}}" } else { "%}" };
        let Some(length) = rest[start..].find(close).map(|length| length + close.len()) else { break };
        let (before, action) = (&rest[..start], &rest[start..start + length]);
        rest = &rest[start + length..];
        masked.push_str(before);
        let begins_line = masked.rsplit('\n').next().unwrap_or_default().trim().is_empty();
        let ends_line = rest.lines().next().unwrap_or_default().trim().is_empty();
        let cover = if begins_line && ends_line { ' ' } else { '$' };
        masked.extend(action.bytes().map(|byte| if byte == b'\n' { '\n' } else { cover }));
    }
    masked.push_str(rest);
    Some(masked)
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
    }
}
