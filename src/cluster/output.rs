//! images.json, and the file that tells who uses what, as text.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::findings::Use;
use super::names::Plan;

/// images.json: sorted, one image a key, valid as it stands.
pub fn images(plan: &Plan) -> String {
    let values = plan.rules.iter().map(|(source, destinations)| (source, Destinations(destinations)));
    pretty(&values.collect::<BTreeMap<_, _>>())
}

/// By source: where it goes, how the manifests write it, and who uses it.
pub fn usage(plan: &Plan, uses: &BTreeMap<String, Vec<(String, &BTreeSet<Use>)>>) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry<'a> {
        destinations: &'a [String],
        used_by: Vec<Line<'a>>,
    }

    #[derive(Serialize)]
    struct Line<'a> {
        namespace: &'a str,
        kind: &'a str,
        name: &'a str,
        container: &'a str,
        field: &'a str,
        image: &'a str,
    }

    let entry = |source: &String| {
        let written = uses.get(source).into_iter().flatten();
        let mut places: Vec<(&Use, &str)> =
            written.flat_map(|(image, places)| places.iter().map(|place| (place, image.as_str()))).collect();
        places.sort_unstable();
        let mut used_by = Vec::with_capacity(places.len());
        for (place, image) in places {
            used_by.push(Line {
                namespace: &place.namespace,
                kind: &place.kind,
                name: &place.name,
                container: &place.container,
                field: place.field,
                image,
            });
        }
        used_by
    };
    let entries =
        plan.rules.iter().map(|(source, destinations)| (source, Entry { destinations, used_by: entry(source) }));
    pretty(&entries.collect::<BTreeMap<_, _>>())
}

/// One destination stands alone, several as an array.
struct Destinations<'a>(&'a [String]);

impl Serialize for Destinations<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

fn pretty(value: &impl Serialize) -> String {
    let mut text = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut text, serde_json::ser::PrettyFormatter::with_indent(b"    "));
    // Writing texts and lists into memory cannot fail.
    let _ = value.serialize(&mut serializer);
    text.push(b'\n');
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_sorted_keys_with_one_or_several_destinations() {
        let mut plan = Plan::default();
        plan.rules.insert("q.io/b:1".into(), vec!["t.io/n/b".into()]);
        plan.rules.insert("q.io/a:1".into(), vec!["t.io/n/a".into(), "u.io/a".into()]);
        plan.rules.insert("q.io/a:2".into(), vec![String::new()]);
        assert_eq!(
            images(&plan),
            r#"{
    "q.io/a:1": [
        "t.io/n/a",
        "u.io/a"
    ],
    "q.io/a:2": "",
    "q.io/b:1": "t.io/n/b"
}
"#
        );
        assert_eq!(images(&Plan::default()), "{}\n");
    }
}
