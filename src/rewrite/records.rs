//! What this program has written itself: a record of what was, which would lie if it were rewritten.

/// How the schema of a report begins, whatever its version.
const SCHEMA: &str = "\"image-migrator/report/";
/// The first columns of a report as CSV.
const COLUMNS: &str = "source,destination,sourceDigest,destinationDigest,";
/// What stands before the report in a page.
const IN_PAGE: &str = "<script type=\"application/json\" id=\"report\">";

/// Whether `text` is a report, or the file that tells who uses which image. It is told by how it begins, under whatever
/// name it is kept.
pub fn is_record(text: &str) -> bool {
    text.starts_with(COLUMNS) || is_report(text) || is_usage(text) || is_page(text)
}

fn is_report(text: &str) -> bool {
    first_value(text, "schema").is_some_and(|value| value.starts_with(SCHEMA))
}

fn is_page(text: &str) -> bool {
    text.starts_with("<!doctype html>") && text.split_once(IN_PAGE).is_some_and(|(_, report)| is_report(report))
}

/// `{"SOURCE": {"destinations": [..], "usedBy": [..]}, ..}`.
fn is_usage(text: &str) -> bool {
    let source = || text.trim_start().strip_prefix('{')?.trim_start().strip_prefix('"')?.split_once('"');
    let entry = source().and_then(|(_, rest)| rest.trim_start().strip_prefix(':'));
    let destinations = entry.and_then(|entry| first_value(entry, "destinations"));
    // A destination may hold brackets itself.
    destinations.and_then(|list| list.split_once("\"usedBy\"")).is_some_and(|(list, _)| {
        list.starts_with('[') && list.trim_end_matches([',', ' ', '\r', '\n', '\t']).ends_with(']')
    })
}

/// What stands behind `key`, if that is the first of the object that `text` begins with.
fn first_value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let rest = text.trim_start().strip_prefix('{')?.trim_start().strip_prefix('"')?;
    Some(rest.strip_prefix(key)?.strip_prefix('"')?.trim_start().strip_prefix(':')?.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Existing, Findings, Inventory, Kind};

    #[test]
    fn records_are_told_from_what_only_looks_like_them() {
        for text in [
            "{\n  \"schema\": \"image-migrator/report/v1\",\n  \"version\": \"1\"",
            " {\"schema\":\"image-migrator/report/v9\"}",
            "source,destination,sourceDigest,destinationDigest,previousDigest\r\n",
            "<!doctype html>\n<script type=\"application/json\" id=\"report\">{\n  \"schema\": \"image-migrator/report/v1\"",
        ] {
            assert!(is_record(text), "{text}");
        }
        for text in [
            "",
            "{",
            "{\"schema\": \"x\", \"y\": \"image-migrator/report/v1\"}",
            "source,destination\n",
            "<!doctype html><p>{\"schema\": \"image-migrator/report/v1\"}",
            "{\"image\": {\"destinations\": [\"quay.io/a/b:1\"]}}",
        ] {
            assert!(!is_record(text), "{text}");
        }
    }

    #[test]
    fn who_uses_what_is_a_record() {
        let mut findings = Findings::default();
        let pod = r#"{"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}}"#;
        findings.take(Kind::Pod, &serde_json::from_str(pod).unwrap(), &[]);
        for target in [None, Some("d.io/m".parse().unwrap()), Some("[fd00::1]:5000/m".parse().unwrap())] {
            let usage = Inventory::of(&findings, target.as_ref(), &Existing::default()).usage();
            assert!(is_record(&usage), "{usage}");
        }
    }
}
