//! YAML that is not parsed: templates, and what stands in a block of another file. Line by line.

use std::ops::Range;

use super::group::REPOSITORY;
use super::scan::Scan;
use super::yaml::is_image_key;

/// Rewrites what stands behind `image:` in `range`, and in other lines what needs no context. Comments stay. A
/// migrated repository without a tag that is all of a line is named, as it is where it is all of a value. What
/// other fields belong to a `repository` cannot be told, so it stays too.
pub fn read(scan: &mut Scan, range: Range<usize>) {
    let text = scan.text;
    let Some(lines) = text.get(range.clone()) else { return };
    let mut start = range.start;
    for line in lines.split_inclusive('\n') {
        let is_comment = line.trim_start().starts_with('#');
        let found = value(line);
        match found.clone() {
            Some((key, value)) if is_image(key, &line[value.clone()]) => {
                scan.image(start + value.start..start + value.end);
            }
            _ if is_comment => {}
            Some((key, value)) if REPOSITORY.contains(&key) => {
                scan.part(start + value.start, &line[value]);
                scan.prose(start..start + line.len());
            }
            _ => {
                let whole = line.trim().trim_start_matches("- ");
                scan.unclear(start + line.find(whole).unwrap_or_default(), whole);
                scan.prose(start..start + line.len());
            }
        }
        if let Some((_, value)) = found.filter(|(_, value)| !line[..value.start].ends_with(['"', '\''])) {
            scan.quote(start + value.start..start + value.end);
        }
        start += line.len();
    }
}

fn is_image(key: &str, value: &str) -> bool {
    is_image_key(key) || (key == "uses" && value.starts_with("docker://"))
}

/// The key of `line`, which is `[- ]key: value [# comment]`, and where the value stands, without its quotes.
fn value(line: &str) -> Option<(&str, Range<usize>)> {
    let (key, rest) = line.split_once(':')?;
    let key = key.trim_start().trim_start_matches("- ").trim();
    let key = key.strip_prefix(['"', '\'']).map_or(key, |key| key.trim_end_matches(['"', '\'']));
    // A key is one word: in a comment or a sentence nothing is one.
    if key.contains(['#', ' ', '\t']) || !rest.starts_with([' ', '\t']) {
        return None;
    }
    let value = rest.trim_start();
    let start = line.len() - value.len();
    if let Some(quote) = value.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let length = value[1..].find(quote)?;
        return Some((key, start + 1..start + 1 + length));
    }
    let value = value.split_once(" #").map_or(value, |(value, _)| value).trim_end();
    let is_plain = !value.is_empty() && !value.starts_with(['&', '*', '!', '|', '>', '{', '[']);
    is_plain.then(|| (key, start..start + value.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_an_image_line_is_found() {
        for (line, value) in [
            ("image: nginx:1\n", Some("nginx:1")),
            ("  - image: 'nginx:1' # 'web'\r\n", Some("nginx:1")),
            ("\t\"image\":\t\"a/b\",\n", Some("a/b")),
            ("- - sidecarImage:   a/b:1  # x\n", Some("a/b:1")),
            ("uses: docker://alpine:3", Some("docker://alpine:3")),
            ("uses: actions/checkout@v4", None),
            ("image:nginx", None),
            ("image:", None),
            ("image: |", None),
            ("image: *web", None),
            ("# image: nginx", None),
            ("my image: nginx", None),
            ("# initImage: nginx", None),
            ("  #base_image: nginx", None),
            ("see the base-image: nginx", None),
        ] {
            let found = super::value(line).filter(|(key, value)| is_image(key, &line[value.clone()]));
            assert_eq!(found.map(|(_, range)| &line[range]), value, "{line:?}");
        }
    }
}
