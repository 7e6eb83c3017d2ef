//! YAML that is not parsed: templates, and what stands in a block of another file. Line by line.

use std::ops::Range;

use super::scan::Scan;
use super::yaml::is_image_key;

/// Rewrites what stands behind `image:` in `range`, and in other lines what needs no context. Comments stay.
pub fn scan(scan: &mut Scan, range: Range<usize>) {
    let text = scan.text;
    let Some(lines) = text.get(range.clone()) else { return };
    let mut start = range.start;
    for line in lines.split_inclusive('\n') {
        match image(line) {
            Some(value) => scan.image(start + value.start..start + value.end),
            None if line.trim_start().starts_with('#') => {}
            None => scan.prose(start..start + line.len()),
        }
        start += line.len();
    }
}

/// Where in `line`, which is `[- ]image: value [# comment]`, the value stands, without its quotes.
fn image(line: &str) -> Option<Range<usize>> {
    let (key, rest) = line.split_once(':')?;
    let key = key.trim_start().trim_start_matches("- ").trim();
    let key = key.strip_prefix(['"', '\'']).map_or(key, |key| key.trim_end_matches(['"', '\'']));
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let value = rest.trim_start();
    let is_action = key == "uses" && value.trim_start_matches(['"', '\'']).starts_with("docker://");
    if !is_image_key(key) && !is_action {
        return None;
    }
    let start = line.len() - value.len();
    if let Some(quote) = value.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let length = value[1..].find(quote)?;
        return Some(start + 1..start + 1 + length);
    }
    let value = value.split_once(" #").map_or(value, |(value, _)| value).trim_end();
    (!value.is_empty() && !value.starts_with(['&', '*', '!', '|', '>', '{', '['])).then(|| start..start + value.len())
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
        ] {
            assert_eq!(image(line).map(|range| &line[range]), value, "{line:?}");
        }
    }
}
