//! Files that a run leaves behind: written whole or not at all, and for their owner alone.

use std::io;
use std::path::{Path, PathBuf};

use super::record::Document;
use super::{csv, html, json};
use crate::file::{Access, Target, Unwritable, shown};

/// Why a report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum NoReport {
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    #[error("{}: a report is a file .json, .csv or .html", shown(.0))]
    UnknownForm(PathBuf),
}

/// A report to be written: its form is that of its extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    pub target: Target,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
    Html,
}

impl ReportFile {
    pub fn new(path: &Path) -> Result<Self, NoReport> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        let form = match extension.as_deref() {
            Some("json") => Form::Json,
            Some("csv") => Form::Csv,
            Some("html") => Form::Html,
            _ => return Err(NoReport::UnknownForm(path.to_owned())),
        };
        Ok(Self { target: Target::new(path)?, form })
    }

    pub fn write(&self, document: &Document) -> io::Result<()> {
        // It names what an organisation runs, so it is nobody else's business.
        self.target.write(Access::Owner, |writer| match self.form {
            Form::Json => json::write(document, writer),
            Form::Csv => csv::write(document, writer),
            Form::Html => html::write(document, writer),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::json::tests::document;

    #[test]
    fn the_form_is_that_of_the_extension() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["report", "report.txt", "json", ".json"] {
            let error = ReportFile::new(&folder.path().join(name)).unwrap_err();
            assert!(matches!(error, NoReport::UnknownForm(_)), "{name}");
        }
        for (name, start) in [("R.JSON", "{"), ("r.csv", "source,"), ("r.html", "<!doctype html>")] {
            let path = folder.path().join(name);
            ReportFile::new(&path).unwrap().write(&document()).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.to_ascii_lowercase().starts_with(start), "{name}");
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            }
        }
    }
}
