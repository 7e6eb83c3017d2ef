//! The tags of a list as they come: each is looked at when it is read, so that no page is held as a list of texts.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::foreign::one_line;
use crate::reference::Tag;

/// Each tag once, in the order of the pages.
#[derive(Default)]
pub(in crate::registry) struct List {
    pub tags: Vec<Tag>,
    seen: HashSet<Tag>,
    /// So many names were no tags. Some registries list digests too, or `null`.
    pub odd: usize,
}

impl List {
    /// Adds a page, `{"tags": ["1", "2"]}`, up to one tag more than `most` in all; what is no tag is told. Fails with why it
    /// is no page.
    pub fn add(&mut self, page: &[u8], most: usize, tell: &mut dyn FnMut(&str)) -> Result<(), String> {
        let mut json = serde_json::Deserializer::from_slice(page);
        let read = Page(Names { list: self, most, tell }).deserialize(&mut json).and_then(|()| json.end());
        read.map_err(|error| one_line(&error.to_string()))
    }

    fn take(&mut self, name: Option<&str>, most: usize, tell: &mut dyn FnMut(&str)) {
        match name.unwrap_or_default().parse::<Tag>() {
            Ok(tag) if self.tags.len() <= most && self.seen.insert(tag.clone()) => self.tags.push(tag),
            Ok(_) => {}
            Err(error) => {
                self.odd += 1;
                tell(&one_line(&error.to_string()));
            }
        }
    }
}

/// The value of `tags`: an array of names, or null.
struct Names<'l> {
    list: &'l mut List,
    most: usize,
    tell: &'l mut dyn FnMut(&str),
}

/// The object that holds them.
struct Page<'l>(Names<'l>);

impl<'de> DeserializeSeed<'de> for Page<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Page<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object with tags")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self(Names { list, most, tell }) = self;
        while let Some(name) = members.next_key::<String>()? {
            if name == "tags" {
                members.next_value_seed(Names { list: &mut *list, most, tell: &mut *tell })?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of tags or null")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<(), A::Error> {
        while let Some(name) = names.next_element::<Option<String>>()? {
            self.list.take(name.as_deref(), self.most, self.tell);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(page: &str) -> Result<(Vec<String>, Vec<String>), String> {
        let (mut list, mut odd) = (List::default(), Vec::new());
        list.add(page.as_bytes(), 100, &mut |name| odd.push(name.to_owned()))?;
        assert_eq!(list.odd, odd.len());
        Ok((list.tags.iter().map(ToString::to_string).collect(), odd))
    }

    #[test]
    fn each_tag_is_read_once_and_what_is_none_is_told() {
        let (tags, odd) = read(r#"{"name": "a", "tags": ["2", "1", "2", null, "\u001b[2J"], "more": [{}]}"#).unwrap();
        assert_eq!((tags.join(" ").as_str(), odd.len()), ("2 1", 2));
        assert!(!odd[1].contains('\x1b'), "{odd:?}");
        for none in ["{}", r#"{"tags": null}"#, r#"{"tags": []}"#] {
            assert_eq!(read(none), Ok((vec![], vec![])));
        }
        for text in ["", "[]", "null", "{", "{} x", r#"{"tags": {}}"#, r#"{"tags": "1"}"#, r#"{"tags": [1]}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_page_takes_no_more_memory_than_its_tags() {
        for name in ["\"a\",", "null,", "\"\","] {
            let page = format!("{{\"tags\": [{}\"b\"]}}", name.repeat(100_000));
            let memory = allocation_counter::measure(|| {
                List::default().add(page.as_bytes(), 10, &mut |_| ()).unwrap();
            });
            assert!(memory.bytes_max < 10_000, "{} bytes for {name}", memory.bytes_max);
        }
    }

    #[test]
    fn a_page_without_end_is_held_no_further() {
        let names: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        let page = serde_json::json!({ "tags": names }).to_string();
        let mut list = List::default();
        list.add(page.as_bytes(), 10, &mut |_| ()).unwrap();
        assert_eq!(list.tags.len(), 11);
    }
}
