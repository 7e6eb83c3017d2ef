//! Text that somebody else wrote, made fit for a terminal and a log: one line, nothing that moves or hides other text,
//! bounded, and without the secrets that its author knows of us.

mod secrets;

pub use secrets::Secrets;

const LONGEST: usize = 300;

/// What is shown of foreign text.
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        let shown = word.chars().filter(|c| !is_obeyed(*c)).take(LONGEST + 1);
        let before = line.len();
        line.extend(shown);
        if line.len() > before && before > 0 {
            line.insert(before, ' ');
        }
        // No character takes more than four bytes: this is more than enough of them.
        if line.len() > 4 * LONGEST {
            break;
        }
    }
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} ...", line[..end].trim_end()),
        None => line,
    }
}

/// A name as messages show it, whole: what a terminal would obey is seen to be there.
pub fn harmless(name: &str) -> String {
    name.replace(is_obeyed, "\u{fffd}")
}

/// A name that somebody may have copied with user and password, without these: `https://***@quay.io/a/b`.
pub fn without_login(text: &str) -> String {
    let Some(end) = end_of_login(text) else { return text.to_owned() };
    let (before, rest) = text.split_at(end);
    let scheme = before.find("://").map_or("", |scheme| &before[..scheme + 3]);
    format!("{scheme}***{rest}")
}

/// Where the `@` stands behind the user and password with which a name or URL begins, if it begins so.
pub fn end_of_login(text: &str) -> Option<usize> {
    // A password may hold all but what stands behind the last one. An `@` before a digest ends no login.
    let ends =
        |(at, _): &(usize, &str)| !["sha256:", "sha512:"].iter().any(|algorithm| text[at + 1..].starts_with(algorithm));
    let (end, _) = text.rmatch_indices('@').find(ends)?;
    let (before, rest) = text.split_at(end);
    let is_login = match before.split_once('/') {
        _ if before.contains("://") => true,
        // No host has such a port: it is the beginning of a password.
        Some((first, _)) => first.split_once(':').is_some_and(|(_, port)| !is_port(port)),
        // A whole name follows. `nginx@1.25` has no login.
        None => rest.contains('/') || before.contains(':') && (rest.contains('.') || rest.starts_with("@localhost")),
    };
    is_login.then_some(end)
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a terminal does something else with a character than show it.
pub fn is_obeyed(c: char) -> bool {
    c.is_control() || is_format(c) || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Whether a character is not seen, or changes the order in which others are (Unicode, general category Cf).
fn is_format(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(one_line(" Too Many\n Requests\x1b[31m\r\u{9b}2J\0 "), "Too Many Requests[31m 2J");
        assert_eq!(one_line("a\u{202e}b\u{2066}c\u{200b}\u{feff}"), "abc");
        assert_eq!(one_line("a\u{2028}b\u{85}c"), "a b c");
        assert_eq!(one_line("\x1b \x07"), "");
        assert_eq!(one_line("große Änderung 例"), "große Änderung 例");
    }

    #[test]
    fn a_login_in_a_name_is_not_shown() {
        for (text, shown) in [
            ("https://user:s3cr3t@quay.io/a/b", "https://***@quay.io/a/b"),
            ("https://user:s3/cr@3t@quay.io/a@sha256:12", "https://***@quay.io/a@sha256:12"),
            ("https://token@quay.io", "https://***@quay.io"),
            ("https://quay.io/a@sha256:12", "https://quay.io/a@sha256:12"),
            ("quay.io/a:1@sha256:12", "quay.io/a:1@sha256:12"),
            ("user:s3cr3t@quay.io/a/b:1", "***@quay.io/a/b:1"),
            ("s3cr3t@quay.io/a@sha256:12", "***@quay.io/a@sha256:12"),
            ("user:s3cr3t@quay.io", "***@quay.io"),
            ("user:s3cr3t@localhost:5000", "***@localhost:5000"),
            ("AWS:eyJ/abc@1.dkr.ecr.eu-1.amazonaws.com/a:1", "***@1.dkr.ecr.eu-1.amazonaws.com/a:1"),
            ("quay.io:443/a:1@b", "quay.io:443/a:1@b"),
            ("nginx@1.25", "nginx@1.25"),
            ("nginx:1@sha255:12", "nginx:1@sha255:12"),
            ("quay.io/a@b", "quay.io/a@b"),
            ("a@b://c", "***@b://c"),
        ] {
            assert_eq!(without_login(text), shown);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_looks_so() {
        assert_eq!(one_line(&"x".repeat(300)), "x".repeat(300));
        assert_eq!(one_line(&"é".repeat(9_000)), format!("{} ...", "é".repeat(300)));
        assert_eq!(one_line(&"word ".repeat(9_000)).chars().count(), 303);
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_short_line(text in any::<String>()) {
            let line = one_line(&text);
            prop_assert!(line.chars().count() <= LONGEST + 4);
            prop_assert!(!line.chars().any(|c| c.is_control() || is_format(c)));
            prop_assert!(line.chars().count() > LONGEST || one_line(&line) == line);
        }
    }
}
