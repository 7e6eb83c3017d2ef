//! Reports as JSON: one line for each image, written and read as a stream.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::ser::Formatter;

use super::record::Document;
use crate::file::shown;
use crate::foreign::one_line;

/// Why a file is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read {file}: {error}")]
    Unreadable { file: String, error: io::Error },
    #[error("{file}:{line}:{column}: this is no report that can be read: {reason}")]
    NoReport { file: String, line: usize, column: usize, reason: String },
}

pub fn write(document: &Document, writer: &mut dyn Write) -> io::Result<()> {
    document.serialize(&mut serde_json::Serializer::with_formatter(&mut *writer, Lines::default()))?;
    writer.write_all(b"\n")
}

pub fn read(path: &Path) -> Result<Document, ReadError> {
    let file = shown(path);
    match File::open(path) {
        Ok(content) => parse(&file, BufReader::with_capacity(1 << 16, content)),
        Err(error) => Err(ReadError::Unreadable { file, error }),
    }
}

pub(super) fn parse(file: &str, reader: impl Read) -> Result<Document, ReadError> {
    serde_json::from_reader(reader).map_err(|error| {
        let file = file.to_owned();
        if error.is_io() {
            return ReadError::Unreadable { file, error: error.into() };
        }
        let reason = error.to_string();
        let reason = one_line(reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason));
        ReadError::NoReport { file, line: error.line().max(1), column: error.column().max(1), reason }
    })
}

/// The fields of the document on a line each, and the elements of its lists.
#[derive(Default)]
struct Lines {
    depth: usize,
    /// Whether the list that ends has elements.
    filled: bool,
}

impl Lines {
    fn open<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        writer.write_all(bracket)
    }
}

impl Formatter for Lines {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        if self.depth == 2 { writer.write_all(b"\n    ") } else { Ok(()) }
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.depth == 1 && self.filled {
            writer.write_all(b"\n  ")?;
        }
        writer.write_all(b"]")
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        if self.depth == 1 { writer.write_all(b"\n  ") } else { Ok(()) }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(if self.depth == 1 { b": " } else { b":" })
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(if self.depth == 0 { b"\n}" } else { b"}" })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::event::{Category, RuleName};
    use crate::report::record::{Image, Moment, Rule, Schema, Summary};
    use crate::report::traffic::Traffic;
    use crate::schema::Outcome;

    /// A report of two images and a rule.
    pub fn document() -> Document {
        let started = Moment(SystemTime::UNIX_EPOCH + Duration::from_millis(1_772_400_000_500));
        let copied = Image {
            source: "s.io/a:1".to_owned(),
            destination: "d.io/a:1".to_owned(),
            source_digest: Some(crate::digest::Digest::of(b"")),
            destination_digest: Some(crate::digest::Digest::of(b"")),
            previous_digest: None,
            media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
            platforms: vec!["linux/amd64".to_owned(), "linux/arm64/v8".to_owned()],
            size: Some(1234),
            bytes_moved: 1000,
            blobs_moved: 2,
            blobs_mounted: 1,
            blobs_present: 3,
            layers_skipped: vec![crate::digest::Digest::of(b"")],
            result: Outcome::Copied,
            category: None,
            reason: None,
            attempts: 1,
            started: Some(started),
            seconds: 1.25,
        };
        let failed = Image {
            source: "s.io/b:</script>".to_owned(),
            result: Outcome::Failed,
            category: Some(Category::NotFound),
            reason: Some("=it is \"gone\",\nfor <b>good</b> & ever".to_owned()),
            ..copied.clone()
        };
        let rule = Rule {
            place: "images.json:2:3".to_owned(),
            source: "s.io/c".to_owned(),
            destination: String::new(),
            full_destination: None,
            invalid: true,
            category: Category::Config,
            reason: "no default".to_owned(),
        };
        let (images, rules) = (vec![copied, failed], vec![rule]);
        let mut summary = Summary { bytes_moved: 2000, blobs_moved: 4, ..Summary::default() };
        summary.count(&images, &rules);
        let (version, shards, traffic) = ("0.1.0".to_owned(), vec![], Traffic::default());
        let listed = vec![RuleName { source: "s.io/a".to_owned(), destination: "d.io/a".to_owned() }];
        Document {
            schema: Schema,
            version,
            started,
            seconds: 2.5,
            dry_run: false,
            shards,
            summary,
            rules,
            listed,
            images,
            traffic,
        }
    }

    pub fn text(document: &Document) -> String {
        let mut text = Vec::new();
        write(document, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn each_image_is_one_line_with_all_its_fields() {
        let text = text(&document());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["{", "  \"schema\": \"image-migrator/report/v1\",", "  \"version\": \"0.1.0\","]);
        let image = concat!(
            r#"    {"source":"s.io/a:1","destination":"d.io/a:1","#,
            r#""sourceDigest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
            r#""destinationDigest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
            r#""previousDigest":null,"mediaType":"application/vnd.oci.image.index.v1+json","#,
            r#""platforms":["linux/amd64","linux/arm64/v8"],"size":1234,"bytesMoved":1000,"blobsMoved":2,"#,
            r#""blobsMounted":1,"blobsPresent":3,"#,
            r#""layersSkipped":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],"#,
            r#""result":"copied","category":null,"reason":null,"attempts":1,"#,
            r#""started":"2026-03-01T21:20:00.500Z","seconds":1.25},"#,
        );
        assert!(lines.contains(&image), "{text}");
        assert_eq!(lines.iter().filter(|line| line.contains("\"sourceDigest\"")).count(), 2);
        assert!(text.ends_with("]}\n}\n") || text.ends_with("}\n}\n"), "{text}");
    }

    #[test]
    fn what_is_written_can_be_read() {
        let written = text(&document());
        let read = parse("r.json", written.as_bytes()).unwrap();
        assert_eq!(text(&read), written);
        let more = written.replace("\"version\"", "\"later\": [{}],\n\"version\"");
        assert_eq!(text(&parse("r.json", more.as_bytes()).unwrap()), written, "fields may be added");
    }

    #[test]
    fn what_is_no_report_is_refused_with_its_place() {
        let written = text(&document());
        for (text, message) in [
            (
                written.replace("report/v1", "report/v2"),
                "found a report of schema \"image-migrator/report/v2\", expected \"image-migrator/report/v1\"",
            ),
            (written.replace("\"size\":1234", "\"size\":-1"), "r.json:15:"),
            (written.replace("sha256:e3", "sha256:"), "invalid digest"),
            (written.replace(":\"copied\"", ":\"\\u001b[2J\\u202ecopied\""), "unknown variant `[2Jcopied`, expected"),
            (written.replace("2026-03-01T", "yesterday"), "expected a time like"),
            ("{}".to_owned(), "r.json:1:2: this is no report that can be read: missing field `schema`"),
            ("[".to_owned(), "r.json:1:1: "),
            (String::new(), "r.json:1:1: this is no report that can be read: EOF"),
        ] {
            let error = parse("r.json", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
