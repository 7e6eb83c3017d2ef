//! images.json: the rules as they are written, each with its place.

use super::json::{Hint, JsonError, Kind, Value};
use super::place::Place;

/// A source and one of its destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// That of the key, or of the element where the destinations are an array.
    pub place: Place,
    pub source: String,
    /// `None` is an array without elements.
    pub destination: Option<String>,
}

/// The rules of `root` in order; a key that stands twice is two rules.
pub fn read(root: Value) -> Result<Vec<Written>, JsonError> {
    let members = root.members("an object of sources and destinations")?;
    let mut rules = Vec::with_capacity(members.len());
    for member in members {
        let place = member.place();
        match member.value.kind() {
            Kind::String => {
                let destination = Some(member.value.string("a destination")?);
                rules.push(Written { place, source: member.name, destination });
            }
            Kind::Array => {
                let elements = member.value.elements("an array of destinations")?;
                if elements.is_empty() {
                    rules.push(Written { place, source: member.name.clone(), destination: None });
                }
                for element in elements {
                    let destination = Some(element.string("a destination, which is a string")?);
                    rules.push(Written { place: element.place(), source: member.name.clone(), destination });
                }
            }
            _ => {
                let expected = "a destination: a string or an array of strings";
                return Err(member.value.mismatch(expected, hint(&member.name, member.value)));
            }
        }
    }
    Ok(rules)
}

/// Which other file this one seems to be, judging by an entry that is no rule.
fn hint(name: &str, value: Value) -> Option<Hint> {
    let members = if value.kind() == Kind::Object { value.members("an object").ok()? } else { return None };
    if members.iter().any(|member| matches!(member.name.as_str(), "username" | "password" | "insecure")) {
        Some(Hint::LooksLikeAuth)
    } else if matches!(name, "auth" | "images") {
        Some(Hint::LooksCombined)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::json::Document;

    fn rules(text: &str) -> Result<Vec<(String, String, Option<String>)>, String> {
        let document = Document::parse("images.json", text.into()).map_err(|error| error.to_string())?;
        let rules = read(document.root()).map_err(|error| error.to_string())?;
        let shown = |rule: Written| (rule.place.to_string(), rule.source, rule.destination);
        Ok(rules.into_iter().map(shown).collect())
    }

    #[test]
    fn rules_keep_their_order_and_repeated_keys() {
        let text = "{\n  \"b\": \"1\", \"a\": \"2\",\n  \"b\": [\"3\",\n    \"\"],\n  \"b\": \"1\"\n}";
        let expected = [("2:3", "b", "1"), ("2:13", "a", "2"), ("3:9", "b", "3"), ("4:5", "b", ""), ("5:3", "b", "1")];
        let expected =
            expected.map(|(place, from, to)| (format!("images.json:{place}"), from.to_owned(), Some(to.to_owned())));
        assert_eq!(rules(text).unwrap(), expected);
        assert_eq!(rules("{}").unwrap(), []);
    }

    #[test]
    fn an_empty_array_is_a_rule_without_destination() {
        assert_eq!(rules(r#"{"a": []}"#).unwrap(), [("images.json:1:2".into(), "a".into(), None)]);
    }

    #[test]
    fn escapes_in_keys_and_values_are_read() {
        let rule = ("images.json:1:2".into(), "a:/\\d/".into(), Some("é".into()));
        assert_eq!(rules(r#"{"a:/\\d/": "\u00e9"}"#).unwrap(), [rule]);
    }

    #[test]
    fn a_wrong_shape_names_its_place_and_what_was_expected() {
        for (text, error) in [
            ("[]", "1:1: found an array, expected an object of sources and destinations"),
            ("\"a\"", "1:1: found a string, expected an object of sources and destinations"),
            ("{\n \"a\": 1}", "2:7: found a number, expected a destination: a string or an array of strings"),
            (r#"{"a": null}"#, "1:7: found null, expected a destination: a string or an array of strings"),
            (r#"{"a": {}}"#, "1:7: found an object, expected a destination: a string or an array of strings"),
            (r#"{"a": ["b", true]}"#, "1:13: found true or false, expected a destination, which is a string"),
            (r#"{"a": [["b"]]}"#, "1:8: found an array, expected a destination, which is a string"),
        ] {
            assert_eq!(rules(text).unwrap_err(), format!("images.json:{error}"));
        }
    }

    #[test]
    fn another_file_is_recognised() {
        let error = "images.json:1:13: found an object, expected a destination: a string or an array of strings; ";
        assert_eq!(
            rules(r#"{"quay.io": {"username": "u", "password": "p"}}"#).unwrap_err(),
            format!("{error}this looks like auth.json")
        );
        assert_eq!(
            rules(r#"{"images" : {"a": "b"}}"#).unwrap_err(),
            format!("{error}a file that holds both credentials and rules is given with --config")
        );
    }
}
