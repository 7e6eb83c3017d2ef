//! Reports as CSV (RFC 4180): one row for each image, for spreadsheets.
//!
//! The columns are the fields of [`Image`] under their names in the JSON; platforms and digests are separated by
//! spaces, and what is not known is empty. What a spreadsheet would take for a formula has a `'` before it.

use std::borrow::Cow;
use std::io::{self, Write};

use super::record::{Document, Image};
use crate::digest::Digest;

/// A name, and the cell that an image has under it.
type Column = (&'static str, fn(&Image) -> String);

const COLUMNS: [Column; 19] = [
    ("source", |image| image.source.clone()),
    ("destination", |image| image.destination.clone()),
    ("sourceDigest", |image| known(&image.source_digest)),
    ("destinationDigest", |image| known(&image.destination_digest)),
    ("previousDigest", |image| known(&image.previous_digest)),
    ("mediaType", |image| known(&image.media_type)),
    ("platforms", |image| image.platforms.join(" ")),
    ("size", |image| known(&image.size)),
    ("bytesMoved", |image| image.bytes_moved.to_string()),
    ("blobsMoved", |image| image.blobs_moved.to_string()),
    ("blobsMounted", |image| image.blobs_mounted.to_string()),
    ("blobsPresent", |image| image.blobs_present.to_string()),
    ("result", |image| image.result.to_string()),
    ("category", |image| known(&image.category)),
    ("reason", |image| known(&image.reason)),
    ("attempts", |image| image.attempts.to_string()),
    ("started", |image| known(&image.started)),
    ("seconds", |image| image.seconds.to_string()),
    ("layersSkipped", |image| image.layers_skipped.iter().map(Digest::to_string).collect::<Vec<_>>().join(" ")),
];

pub fn write(document: &Document, writer: &mut dyn Write) -> io::Result<()> {
    row(writer, &COLUMNS.map(|(name, _)| name))?;
    for image in &document.images {
        row(writer, &COLUMNS.map(|(_, cell)| cell(image)))?;
    }
    Ok(())
}

fn known<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map(T::to_string).unwrap_or_default()
}

fn row(writer: &mut dyn Write, cells: &[impl AsRef<str>]) -> io::Result<()> {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            writer.write_all(b",")?;
        }
        writer.write_all(quoted(cell.as_ref()).as_bytes())?;
    }
    writer.write_all(b"\r\n")
}

fn quoted(cell: &str) -> Cow<'_, str> {
    let tame = without_formulas(cell);
    if *tame == *cell && !cell.contains([',', '"', '\r', '\n']) {
        return tame;
    }
    format!("\"{}\"", tame.replace('"', "\"\"")).into()
}

/// The cell with a `'` before all that would be a formula. Many spreadsheets read `;` or a tab as the end of a cell, and a
/// quote that does not begin one as any other character: then a new cell, or a new row, begins within this one.
fn without_formulas(cell: &str) -> Cow<'_, str> {
    let mut begins = true;
    let mut tame = String::new();
    let mut written = 0;
    for (at, c) in cell.char_indices() {
        let is_formula = matches!(c, '=' | '+' | '-' | '@') || at == 0 && matches!(c, '\t' | '\r' | '\n');
        if begins && is_formula {
            tame.push_str(&cell[written..at]);
            tame.push('\'');
            written = at;
        }
        begins = match c {
            ';' | '\t' | '\r' | '\n' => true,
            ' ' | '"' => begins,
            _ => false,
        };
    }
    if written == 0 && tame.is_empty() {
        return Cow::Borrowed(cell);
    }
    tame.push_str(&cell[written..]);
    tame.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::json::tests::document;

    #[test]
    fn rows_have_the_cells_of_the_header() {
        let mut text = Vec::new();
        write(&document(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let rows: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0], COLUMNS.map(|(name, _)| name).join(","));
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let expected = format!(
            "s.io/a:1,d.io/a:1,{empty},{empty},,application/vnd.oci.image.index.v1+json,linux/amd64 linux/arm64/v8,\
             1234,1000,2,1,3,copied,,,1,2026-03-01T21:20:00.500Z,1.25,{empty}"
        );
        assert_eq!(rows[1], expected);
        assert!(
            rows[2].contains(",failed,not-found,\"'=it is \"\"gone\"\",\nfor <b>good</b> & ever\",1,"),
            "{}",
            rows[2]
        );
    }

    #[test]
    fn the_header_names_the_fields_of_the_json() {
        let image = serde_json::to_value(&document().images[0]).unwrap();
        let fields: std::collections::BTreeSet<&str> = image.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, COLUMNS.map(|(name, _)| name).into_iter().collect());
    }

    #[test]
    fn no_cell_is_a_formula() {
        for (cell, written) in [
            ("=1+1", "\"'=1+1\""),
            ("@a", "\"'@a\""),
            ("-1", "\"'-1\""),
            ("+1", "\"'+1\""),
            ("\t=1", "\"'\t'=1\""),
            ("a=1", "a=1"),
            ("a; b;c -1; d=1", "a; b;c -1; d=1"),
            ("a;=1+1", "\"a;'=1+1\""),
            ("a; \t@b;-1", "\"a; \t'@b;'-1\""),
            ("a;\"=1", "\"a;\"\"'=1\""),
            ("a\n+1", "\"a\n'+1\""),
            ("a\r\nb;\tc", "\"a\r\nb;\tc\""),
            ("", ""),
            ("a\rb", "\"a\rb\""),
        ] {
            assert_eq!(quoted(cell), written);
        }
    }
}
