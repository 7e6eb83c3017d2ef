//! Reports as one page for people who look rather than read.
//!
//! The page needs nothing from outside and asks for nothing: its policy allows its own style and its own script, by their
//! hashes, and nothing else. The report is embedded as the JSON that `--report` writes, as a block of data that is no
//! script and in which no tag can begin or end. The script puts names into the page as text, never as markup.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::json;
use super::record::Document;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

pub fn write(document: &Document, writer: &mut dyn Write) -> io::Result<()> {
    for (index, part) in PAGE.split("{{").enumerate() {
        let (name, text) = if index == 0 { ("", part) } else { part.split_once("}}").unwrap_or(("", part)) };
        match name {
            "style" => writer.write_all(STYLE.as_bytes())?,
            "script" => writer.write_all(SCRIPT.as_bytes())?,
            "style-hash" => writer.write_all(hash(STYLE).as_bytes())?,
            "script-hash" => writer.write_all(hash(SCRIPT).as_bytes())?,
            "report" => json::write(document, &mut Untagged(writer))?,
            _ => {}
        }
        writer.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// The name by which a content security policy allows this text.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// Writes JSON so that HTML sees neither tags nor entities in it. These characters occur only within strings.
struct Untagged<'a>(&'a mut dyn Write);

impl Write for Untagged<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some(place) = rest.iter().position(|byte| matches!(byte, b'<' | b'>' | b'&')) {
            self.0.write_all(&rest[..place])?;
            write!(self.0, "\\u{:04x}", rest[place])?;
            rest = &rest[place + 1..];
        }
        self.0.write_all(rest)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::is_obeyed;
    use crate::report::json::tests::document;
    use crate::schema::Outcome;

    fn page(document: &Document) -> String {
        let mut page = Vec::new();
        write(document, &mut page).unwrap();
        String::from_utf8(page).unwrap()
    }

    fn between<'a>(page: &'a str, start: &str, end: &str) -> &'a str {
        let rest = page.split_once(start).unwrap_or_else(|| panic!("no {start}")).1;
        rest.split_once(end).unwrap_or_else(|| panic!("no {end}")).0
    }

    #[test]
    fn names_are_data_and_nothing_else() {
        let mut document = document();
        document.images[0].source = "</script><script>alert(1)</script><!-- &lt; ]]>\u{2028}'\"".to_owned();
        let page = page(&document);
        assert_eq!(page.matches("<script").count(), 2, "the report and the script");
        assert_eq!(page.matches("</script").count(), 2);
        assert!(!page.contains("alert(1)<"));
        let data = between(&page, "<script type=\"application/json\" id=\"report\">", "</script>");
        assert!(!data.contains(['<', '>', '&']));
        let read: Document = serde_json::from_str(data).unwrap();
        assert_eq!(read.images, document.images);
    }

    #[test]
    fn the_page_has_a_word_and_a_colour_for_whatever_became_of_an_image() {
        use Outcome::{Cancelled, Copied, Failed, Planned, Skipped, UpToDate};
        for outcome in [Copied, Planned, UpToDate, Skipped, Failed, Cancelled] {
            for list in ["const RESULTS = [", "const ORDER = ["] {
                assert!(between(SCRIPT, list, "]").contains(&format!("\"{outcome}\"")), "{outcome} in {list}");
            }
            let words = between(SCRIPT, "const WORDS = {", "}").replace('"', "");
            assert!(words.contains(&format!(" {outcome}: ")), "{words}");
            assert!(STYLE.contains(&format!(".{outcome} {{ background: ")), "{outcome}");
        }
    }

    #[test]
    fn the_verdict_looks_at_whatever_is_not_where_it_should_be() {
        let verdict = between(SCRIPT, "const verdict = () => {", "\n  };\n");
        for outcome in [Outcome::Failed, Outcome::Cancelled, Outcome::Planned, Outcome::Skipped] {
            assert!(verdict.contains(&format!("counts.{outcome})")), "{outcome}");
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_by_its_number() {
        let class = between(SCRIPT, "const visible = (text) => text.replace(/", "/gu,");
        let shown_by_number = regex::Regex::new(class).unwrap();
        for c in (char::MIN..=char::MAX).filter(|c| *c != '\n') {
            let is_shown_by_number = shown_by_number.is_match(c.encode_utf8(&mut [0; 4]));
            assert_eq!(is_shown_by_number, is_obeyed(c), "{c:?}");
        }
    }

    #[test]
    fn the_policy_allows_what_the_page_holds_and_nothing_else() {
        let page = page(&document());
        let policy = between(&page, "http-equiv=\"Content-Security-Policy\" content=\"", "\"");
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert!(policy.contains(&hash(between(&page, "<style>", "</style>"))), "{policy}");
        assert!(policy.contains(&hash(between(&page, "<script>", "</script>"))), "{policy}");
        assert!(!page.contains("{{") && !page.contains("}}\""));
    }

    #[test]
    fn nothing_comes_from_outside_and_nothing_is_markup_that_was_text() {
        for text in [PAGE, STYLE, SCRIPT] {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for word in ["http:", "https:", "src=", "url(", "@import", "fetch(", "XMLHttp", "import("] {
                assert!(!text.contains(word), "{word}");
            }
            for word in ["HTML(", "HTML =", "document.write", "eval(", "Function(", "style=", "javascript:"] {
                assert!(!text.contains(word), "{word}");
            }
        }
    }
}
