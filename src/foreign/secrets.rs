//! Secrets that others know of us, taken out of what they say: gateways and debug set-ups repeat what they were sent.

use std::borrow::Cow;

use secrecy::{ExposeSecret as _, SecretString};

/// What stands in place of a secret.
const HIDDEN: &str = "***";
/// Shorter ones are nobody's secrets, and stand in any text.
const SHORTEST: usize = 3;
/// Shorter ones are part of many words, and are taken out where they are a word of their own.
const LONG: usize = 6;
/// So much of the beginning of a secret is secret as well: who repeats it may cut it.
const BEGINNING: usize = 12;
/// Before a character of JSON that is in JSON that is in JSON. Who writes more would have us count them.
const MOST_SLASHES: usize = 8;

/// What must not be shown.
#[derive(Default)]
pub struct Secrets(Vec<SecretString>);

impl Secrets {
    pub fn add(&mut self, secret: &str) {
        if secret.len() >= SHORTEST {
            self.0.push(secret.into());
        }
    }

    /// `text` without them, also where they stand in it as a URL or JSON holds them.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut shown = String::new();
        let (mut copied, mut at) = (0, 0);
        while at < text.len() {
            let ends = self.0.iter().filter_map(|secret| end(text, at, secret.expose_secret().as_bytes()));
            match ends.max() {
                Some(end) => {
                    shown.push_str(&text[copied..at]);
                    shown.push_str(HIDDEN);
                    (copied, at) = (end, end);
                }
                None => at = next_boundary(text, at + 1),
            }
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        shown.push_str(&text[copied..]);
        Cow::Owned(shown)
    }
}

/// Where `secret` or its beginning ends, if it stands at `start`.
fn end(text: &str, start: usize, secret: &[u8]) -> Option<usize> {
    let rest = &text.as_bytes()[start..];
    let (found, length) = [true, false].map(|is_plain| common(rest, secret, is_plain)).into_iter().max()?;
    let end = next_boundary(text, start + length);
    let is_word = || {
        let outside = (text[..start].chars().next_back(), text[end..].chars().next());
        ![outside.0, outside.1].into_iter().flatten().any(char::is_alphanumeric)
    };
    let is_enough = found >= secret.len().min(BEGINNING) && (secret.len() >= LONG || is_word());
    is_enough.then_some(end)
}

/// How many bytes of `secret` are those with which `text` begins, and how many of `text` that takes. `is_plain` if what may
/// be read as it stands is read so.
fn common(text: &[u8], secret: &[u8], is_plain: bool) -> (usize, usize) {
    let mut length = 0;
    for (found, &byte) in secret.iter().enumerate() {
        let rest = &text[length..];
        let plain = || (rest.first() == Some(&byte)).then_some(1);
        let read = if is_plain { plain().or_else(|| escaped(rest, byte)) } else { escaped(rest, byte).or_else(plain) };
        match read {
            Some(more) => length += more,
            None => return (found, length),
        }
    }
    (secret.len(), length)
}

/// The length of the escape for `byte` with which `text` begins: `%2F` and `+` of URLs, `\/` and `\u002f` of JSON, also of
/// JSON in JSON.
fn escaped(text: &[u8], byte: u8) -> Option<usize> {
    let is = |digits: &[u8]| hex::decode(digits).is_ok_and(|bytes| bytes == [byte]);
    match text {
        [b'%', high, low, ..] if is(&[*high, *low]) => Some(3),
        [b'+', ..] if byte == b' ' => Some(1),
        [b'\\', b'\\', ..] if byte == b'\\' => Some(2),
        [b'\\', ..] => {
            let slashes = text.iter().take(MOST_SLASHES).take_while(|next| **next == b'\\').count();
            match &text[slashes..] {
                [next, ..] if *next == byte => Some(slashes + 1),
                [b'u', b'0', b'0', high, low, ..] if is(&[*high, *low]) => Some(slashes + 5),
                _ => None,
            }
        }
        _ => None,
    }
}

fn next_boundary(text: &str, from: usize) -> usize {
    (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hide(secrets: &[&str], text: &str) -> String {
        let mut all = Secrets::default();
        secrets.iter().for_each(|secret| all.add(secret));
        all.hide(text).into_owned()
    }

    #[test]
    fn a_secret_is_taken_out_in_every_form() {
        let secret = "a\"b/c d+e%é\\f";
        for shown in [
            secret,
            r#"a\"b\/c d+e%é\\f"#,
            r#"a\\\"b\\\/c d+e%é\\\\f"#,
            r#"a\u0022b\u002Fc d\u002be%é\\f"#,
            "a%22b%2fc%20d%2Be%25%C3%A9%5Cf",
            "a%22b%2Fc+d%2Be%25%C3%A9%5cf",
        ] {
            assert_eq!(hide(&[secret], &format!("bad {shown}; twice {shown}")), "bad ***; twice ***", "{shown}");
        }
    }

    #[test]
    fn what_is_cut_is_taken_out_and_what_is_short_only_as_a_word() {
        assert_eq!(hide(&["eyJhbGciOiJSUzI1NiJ9.x.y"], "bad eyJhbGciOiJSUz..."), "bad ***...");
        assert_eq!(hide(&["hunter2SECRET"], "hunter2"), "hunter2", "it may be anything");
        assert_eq!(hide(&["hunter2"], "xhunter2x"), "x***x");
        assert_eq!(hide(&["app"], "app of apps: app"), "*** of apps: ***");
        assert_eq!(hide(&["", "a", "no"], "no a"), "no a");
        assert_eq!(hide(&["secret", "secret-of-old"], "secret-of-old, secret"), "***, ***");
        assert_eq!(hide(&["größe1"], "die größe1é"), "die ***é");
    }

    proptest! {
        #[test]
        fn no_text_shows_a_secret(secret in "\\PC{6,40}", before in "\\PC{0,9}", after in "\\PC{0,9}") {
            let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            let quoted = serde_json::json!(secret).to_string();
            for form in [&secret, &encoded, &quoted] {
                let shown = hide(&[&secret], &format!("{before}\u{1}{form}\u{1}{after}"));
                prop_assert!(!shown.contains(&format!("\u{1}{form}\u{1}")), "{}", shown);
            }
        }
    }
}
