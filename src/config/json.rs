//! JSON whose objects keep their order and their repeated keys, and whose every key and value knows its place.
//!
//! serde_json parses; values stay slices of the document (`RawValue`), so their place is their distance from its
//! start. Errors name types and punctuation, never content: the document may hold passwords.

mod syntax;

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::place::{At, Place, Positions};

/// What a document is not, and where.
pub type JsonError = At<Mismatch>;

/// What was found and what was expected instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    pub found: Found,
    pub expected: &'static str,
    pub hint: Option<Hint>,
}

/// What was found where something else was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Value(Kind),
    Punctuation(char),
    /// Letters, digits or other characters; not shown, since they may be part of a secret.
    Text,
    LineEnd,
    ControlCharacter,
    /// An escape sequence that means nothing.
    Escape,
    FileEnd,
    EmptyFile,
    NotUtf8,
    Utf16,
}

/// What a person probably did not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    NoComments,
    NoTrailingCommas,
    NotYaml,
    LooksLikeAuth,
    LooksLikeImages,
    LooksCombined,
}

/// The types of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, expected {}", self.found, self.expected)?;
        match self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(kind) => kind.fmt(f),
            Self::Punctuation(character) => write!(f, "`{character}`"),
            Self::Text => f.write_str("other text"),
            Self::LineEnd => f.write_str("the end of the line"),
            Self::ControlCharacter => f.write_str("a control character"),
            Self::Escape => f.write_str("a backslash with no meaning in JSON"),
            Self::FileEnd => f.write_str("the end of the file"),
            Self::EmptyFile => f.write_str("an empty file"),
            Self::NotUtf8 => f.write_str("bytes that are not UTF-8"),
            Self::Utf16 => f.write_str("UTF-16"),
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoComments => "JSON has no comments",
            Self::NoTrailingCommas => "JSON has no comma after the last entry",
            Self::NotYaml => "it has to be JSON, not YAML",
            Self::LooksLikeAuth => "this looks like auth.json",
            Self::LooksLikeImages => "this looks like images.json",
            Self::LooksCombined => "a file that holds both credentials and rules is given with --config",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "true or false",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}

/// A text that is JSON.
pub struct Document {
    file: Arc<str>,
    text: String,
    positions: Positions,
}

impl Document {
    /// Checks `content`, which messages call `file`. A byte order mark at the start is accepted.
    pub fn parse(file: &str, mut content: Vec<u8>) -> Result<Self, JsonError> {
        if content.starts_with(b"\xEF\xBB\xBF") {
            content.drain(..3);
        }
        let start = Place { file: file.into(), line: 1, column: 1 };
        let not_utf8 = |found| Mismatch { found, expected: "UTF-8 text", hint: None };
        if content.starts_with(b"\xFF\xFE") || content.starts_with(b"\xFE\xFF") {
            return Err(start.at(not_utf8(Found::Utf16)));
        }
        let (text, invalid) = match String::from_utf8(content) {
            Ok(text) => (text, None),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                (String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned(), Some(valid))
            }
        };
        let document = Self { file: start.file, positions: Positions::of(&text), text };
        if let Some(offset) = invalid {
            return Err(document.place(offset).at(not_utf8(Found::NotUtf8)));
        }
        // Skipping keeps its own stack on the heap, so no depth of nesting overflows ours.
        match serde_json::from_str::<IgnoredAny>(&document.text) {
            Ok(_) => Ok(document),
            Err(error) => Err(Value { document: &document, text: &document.text }.syntax_error(&error)),
        }
    }

    /// The value that the document is.
    pub fn root(&self) -> Value<'_> {
        Value { document: self, text: self.text.trim_ascii() }
    }

    fn place(&self, offset: usize) -> Place {
        let (line, column) = self.positions.locate(&self.text, offset);
        Place { file: self.file.clone(), line, column }
    }
}

/// A value in a document.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    document: &'a Document,
    /// A slice of the document's text.
    text: &'a str,
}

/// A key of an object and its value.
pub struct Member<'a> {
    pub name: String,
    pub value: Value<'a>,
    key: Value<'a>,
}

impl Member<'_> {
    /// Where the key stands.
    pub fn place(&self) -> Place {
        self.key.place()
    }
}

impl<'a> Value<'a> {
    pub fn place(&self) -> Place {
        self.document.place(self.offset())
    }

    pub fn kind(&self) -> Kind {
        match self.text.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// The members of this object, in order, repeated keys included.
    pub fn members(&self, expected: &'static str) -> Result<Vec<Member<'a>>, JsonError> {
        let Pairs(pairs) = self.read(Kind::Object, expected)?;
        let member = |(key, value)| {
            let key = self.child(key);
            Ok(Member { name: key.string("a key")?, value: self.child(value), key })
        };
        pairs.into_iter().map(member).collect()
    }

    /// The elements of this array.
    pub fn elements(&self, expected: &'static str) -> Result<Vec<Value<'a>>, JsonError> {
        let values: Vec<&RawValue> = self.read(Kind::Array, expected)?;
        Ok(values.into_iter().map(|value| self.child(value)).collect())
    }

    pub fn string(&self, expected: &'static str) -> Result<String, JsonError> {
        self.read(Kind::String, expected)
    }

    pub fn boolean(&self, expected: &'static str) -> Result<bool, JsonError> {
        self.read(Kind::Boolean, expected)
    }

    /// The error that this value is not what was `expected`.
    pub fn mismatch(&self, expected: &'static str, hint: Option<Hint>) -> JsonError {
        self.place().at(Mismatch { found: Found::Value(self.kind()), expected, hint })
    }

    fn read<T: Deserialize<'a>>(&self, kind: Kind, expected: &'static str) -> Result<T, JsonError> {
        if self.kind() != kind {
            return Err(self.mismatch(expected, None));
        }
        serde_json::from_str(self.text).map_err(|error| self.syntax_error(&error))
    }

    fn syntax_error(&self, error: &serde_json::Error) -> JsonError {
        let (offset, mismatch) = syntax::explain(self.text, error);
        self.document.place(self.offset() + offset).at(mismatch)
    }

    fn child(&self, raw: &'a RawValue) -> Value<'a> {
        Value { document: self.document, text: raw.get() }
    }

    /// The distance from the document's start; both are parts of one text.
    fn offset(&self) -> usize {
        self.text.as_ptr() as usize - self.document.text.as_ptr() as usize
    }
}

/// The keys and values of an object; a map would keep one of each name.
struct Pairs<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests;
