//! Environment variables in user names and passwords.
//!
//! | written | means |
//! | --- | --- |
//! | `${NAME}`, anywhere | the variable |
//! | `$NAME`, the whole value | the variable |
//! | `$$NAME`, the whole value | the text `$NAME` |
//! | any other `$` | itself: `robot$ci` is a user name |
//!
//! What a variable holds is not expanded again.

use std::ffi::OsString;
use std::fmt;

/// How variables are looked up.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A variable that has no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unset {
    /// Its name, if it was written in braces; without them the text may be a password that begins with `$`.
    pub variable: Option<String>,
    pub lack: Lack,
}

/// What a variable lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    Value,
    Utf8,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "is not set",
            Self::Utf8 => "is not UTF-8",
        })
    }
}

/// `text` with its variables replaced.
pub fn expand(text: &str, environment: Variables) -> Result<String, Unset> {
    let value = |name: &str| environment(name).ok_or(Lack::Value)?.into_string().map_err(|_| Lack::Utf8);
    if let Some(name) = text.strip_prefix('$').filter(|name| is_name(name)) {
        return value(name).map_err(|lack| Unset { variable: None, lack });
    }
    if text.strip_prefix("$$").is_some_and(is_name) {
        return Ok(text[1..].to_owned());
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        expanded.push_str(before);
        match after.split_once('}').filter(|(name, _)| is_name(name)) {
            Some((name, after)) => {
                let value = value(name).map_err(|lack| Unset { variable: Some(name.to_owned()), lack })?;
                expanded.push_str(&value);
                rest = after;
            }
            None => {
                expanded.push_str("${");
                rest = after;
            }
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// `[A-Za-z_][A-Za-z0-9_]*`
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, Option<String>> {
        let environment = |name: &str| match name {
            "USER" => Some("me".into()),
            "_p2" => Some("pa$USER${USER}".into()),
            "EMPTY" => Some(OsString::new()),
            _ => None,
        };
        expand(text, &environment).map_err(|unset| unset.variable)
    }

    #[test]
    fn braced_variables_are_replaced_wherever_they_stand() {
        for (text, value) in [
            ("${USER}", "me"),
            ("a-${USER}-b", "a-me-b"),
            ("${USER}${USER}", "meme"),
            ("$${USER}", "$me"),
            ("${EMPTY}", ""),
            ("${${USER}", "${me"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_bare_variable_is_replaced_only_as_the_whole_value() {
        assert_eq!(expanded("$USER").as_deref(), Ok("me"));
        for text in ["a$USER", "$USER-x", "$USER ", "$USER$USER", "$1", "$"] {
            assert_eq!(expanded(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn two_dollars_before_a_name_are_one() {
        assert_eq!(expanded("$$USER").as_deref(), Ok("$USER"));
        assert_eq!(expanded("$$UNSET").as_deref(), Ok("$UNSET"));
        for text in ["$$", "$$$USER", "a$$USER", "$$1x", "$$USER!"] {
            assert_eq!(expanded(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn every_other_dollar_is_literal() {
        for text in ["robot$ci", "pa$$word", "a$", "${", "${}", "${1}", "${a b}", "${a", "$(USER)", ""] {
            assert_eq!(expanded(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn values_are_not_expanded_again() {
        assert_eq!(expanded("${_p2}").as_deref(), Ok("pa$USER${USER}"));
        assert_eq!(expanded("$_p2").as_deref(), Ok("pa$USER${USER}"));
    }

    #[test]
    fn an_unset_variable_is_named_only_if_it_was_braced() {
        assert_eq!(expanded("a${TOKEN}b"), Err(Some("TOKEN".into())));
        assert_eq!(expanded("$TOKEN"), Err(None));
    }
}
