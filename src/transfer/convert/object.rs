//! A JSON object that can be changed in one place and stays what it is in every other.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A JSON object. Its fields keep their order, and what is not touched keeps its own text: numbers, escapes, unknown
/// fields. It is written without white space between the fields.
#[derive(Debug, Clone)]
pub(super) struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// What this field holds, if it is there and can be read as such; `null` is nothing.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let (_, value) = self.0.iter().find(|(field, _)| field == name)?;
        serde_json::from_str::<Option<T>>(value.get()).ok().flatten()
    }

    /// Whether there is such a field that says something.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(field, value)| field == name && says_something(value))
    }

    /// Gives this field a value: where it stands, else at the end.
    pub fn set(&mut self, name: &str, value: &impl Serialize) -> Result<(), serde_json::Error> {
        let value = serde_json::value::to_raw_value(value)?;
        match self.0.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
        Ok(())
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(field, _)| field != name);
    }

    /// Keeps only these fields, and gives the names of the others that said something.
    pub fn keep(&mut self, names: &[&str]) -> Vec<String> {
        let fields = std::mem::take(&mut self.0).into_iter();
        let (kept, gone): (Vec<_>, Vec<_>) = fields.partition(|(field, _)| names.contains(&field.as_str()));
        self.0 = kept;
        gone.into_iter().filter(|(_, value)| says_something(value)).map(|(field, _)| field).collect()
    }
}

fn says_something(value: &RawValue) -> bool {
    !matches!(value.get(), "null" | "\"\"" | "[]" | "{}")
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let (mut fields, mut seen) = (Vec::new(), HashSet::new());
                while let Some((name, value)) = map.next_entry::<String, _>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("the field {name:?} stands there twice")));
                    }
                    fields.push((name, value));
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_not_touched_keeps_its_text() {
        let mut object = object(r#"{ "b": 1.50e3, "a" : { "x":  "\u00fc" }, "n": 18446744073709551616, "c": null }"#);
        object.set("c", &"new").unwrap();
        object.set("d", &7).unwrap();
        let written = serde_json::to_string(&object).unwrap();
        assert_eq!(written, r#"{"b":1.50e3,"a":{ "x":  "\u00fc" },"n":18446744073709551616,"c":"new","d":7}"#);
    }

    #[test]
    fn what_goes_is_named_if_it_said_anything() {
        let mut object = object(r#"{"a":1,"b":2,"c":null,"d":{},"e":""}"#);
        assert_eq!(object.keep(&["a"]), ["b"]);
        assert_eq!(serde_json::to_string(&object).unwrap(), r#"{"a":1}"#);
    }

    #[test]
    fn nobody_guesses_which_of_two_is_meant() {
        assert!(serde_json::from_str::<Object>(r#"{"a":1,"a":2}"#).is_err());
        assert!(serde_json::from_str::<Object>("[]").is_err());
        assert_eq!(object(r#"{"a":null}"#).get::<String>("a"), None);
    }
}
