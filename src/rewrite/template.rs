//! Templates of YAML: what Helm, helmfile or Jinja put in is covered, so that the rest can be parsed.

use std::ops::Range;

/// A text whose template actions are covered.
#[derive(Default)]
pub struct Masked {
    pub text: String,
    /// What nobody sees in it: actions on lines of their own, without comments.
    pub actions: Vec<Range<usize>>,
}

/// `text` with all between `{{` and `}}`, or `{%` and `%}`, covered by as many bytes that mean nothing to YAML: empty
/// lines in the place of lines that hold nothing else, which are part of any block, and else `$`, since no reference holds
/// one. `None` if there is nothing to cover.
pub fn mask(text: &str) -> Option<Masked> {
    if !text.contains("{{") && !text.contains("{%") {
        return None;
    }
    let is_blank = |c: char| c.is_whitespace() && c != '\n';
    let (mut masked, mut actions) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    // Who looks for what is not there does so once.
    let last_comment = text.rfind("*/").map_or(0, |last| text.len() - last);
    while let Some((start, close)) = opening(rest) {
        // What is in a comment ends nothing.
        let has_end = last_comment > 0 && rest.len() - start > last_comment;
        let comment = if has_end { comment(&rest[start..]).unwrap_or_default() } else { 0 };
        let Some(length) = rest[start + comment..].find(close).map(|length| comment + length + close.len()) else {
            break;
        };
        let (before, action) = (&rest[..start], &rest[start..start + length]);
        rest = &rest[start + length..];
        masked.push_str(before);
        // No further than the next character: the line may be all of the file.
        let (line, behind) = (masked.trim_end_matches(is_blank), rest.trim_start_matches(is_blank));
        let begins_line = line.is_empty() || line.ends_with('\n');
        let ends_line = behind.is_empty() || behind.starts_with('\n');
        let place = masked.len()..masked.len() + length;
        if begins_line && ends_line {
            // What is before it may be more than a block is indented by.
            let line = line.len();
            masked.truncate(line);
            masked.extend((line..place.end).map(|_| '\n'));
            actions.extend(Some(place).filter(|_| comment == 0));
        } else {
            masked.extend(action.bytes().map(|byte| if byte == b'\n' { '\n' } else { '$' }));
        }
    }
    masked.push_str(rest);
    Some(Masked { text: masked, actions })
}

/// The length of the comment with which `action` begins, with what opens it.
fn comment(action: &str) -> Option<usize> {
    let inside = action.strip_prefix("{{")?;
    let inside = inside.strip_prefix('-').unwrap_or(inside).trim_start().strip_prefix("/*")?;
    Some(action.len() - inside.len() + inside.find("*/")?)
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
        let Masked { text: masked, actions } = mask(text).unwrap();
        assert_eq!(masked.len(), text.len());
        let shown = masked.replace('\n', "|");
        assert_eq!(shown, "|||||||||||||a: $$$$$$$$ # é||||||||||||||||||| |b: \"$$$$$$$$:1\"||||||||||{{- end");
        let actions: Vec<&str> = actions.into_iter().map(|action| &text[action]).collect();
        assert_eq!(actions, ["{{- if .x }}", "{{ range \"é\" }}", "{% if %}"]);
        assert!(mask("a: 1").is_none());
        assert_eq!(mask("{ {{ a }}\u{a0}\n{% b %} {").unwrap().text, "{ $$$$$$$\u{a0}\n$$$$$$$ {");
    }

    #[test]
    fn a_comment_is_covered_to_its_end() {
        let text = "{{- /* {{ a }} */ -}}\n{{/* b */}}\n{{ c }}";
        let Masked { text: masked, actions } = mask(text).unwrap();
        assert_eq!(masked.trim(), "");
        let actions: Vec<&str> = actions.into_iter().map(|action| &text[action]).collect();
        assert_eq!(actions, ["{{ c }}"]);
    }

    #[test]
    fn however_much_is_put_in_the_text_is_read_once() {
        // Who looks around again for each of them does not come to an end here.
        let masked = mask(&"{{ .x }} y ".repeat(400_000)).unwrap().text;
        assert_eq!(masked, "$$$$$$$$ y ".repeat(400_000));
    }
}
