//! Files that a run leaves behind: written whole or not at all, and for their owner alone.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::record::Document;
use super::{csv, html, json};
use crate::file::{self, Access};

/// A file to be written at the end, found to be possible at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(PathBuf);

/// Why a file cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    #[error("{} cannot be written: it is a directory", .0.display())]
    IsDirectory(PathBuf),
    #[error("{} cannot be written: there is no directory {}", .0.display(), .1.display())]
    NoFolder(PathBuf, PathBuf),
    #[error("it cannot be - (standard output), where the lines of the migration go; name a file")]
    IsStdout,
    #[error("{}: a report is a file .json, .csv or .html", .0.display())]
    UnknownForm(PathBuf),
}

impl Target {
    pub fn new(path: &Path) -> Result<Self, Unwritable> {
        let folder = file::folder(path);
        if path.as_os_str() == "-" {
            Err(Unwritable::IsStdout)
        } else if path.is_dir() || path.file_name().is_none() {
            Err(Unwritable::IsDirectory(path.to_owned()))
        } else if !folder.is_dir() {
            Err(Unwritable::NoFolder(path.to_owned(), folder.to_owned()))
        } else {
            Ok(Self(path.to_owned()))
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes what `fill` writes. Whoever reads the file meanwhile, or after a crash, has the old one or the new one.
    pub fn write(&self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        // A link stays one: what it leads to is replaced.
        let path = fs::canonicalize(&self.0).unwrap_or_else(|_| self.0.clone());
        if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            // A pipe or a device: there is nothing to put in its place.
            let mut writer = BufWriter::new(OpenOptions::new().write(true).open(&path)?);
            fill(&mut writer)?;
            return writer.flush();
        }
        // It names what an organisation runs, so it is nobody else's business.
        file::replace(&path, Access::Owner, fill)
    }
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
    pub fn new(path: &Path) -> Result<Self, Unwritable> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        let form = match extension.as_deref() {
            Some("json") => Form::Json,
            Some("csv") => Form::Csv,
            Some("html") => Form::Html,
            _ => return Err(Unwritable::UnknownForm(path.to_owned())),
        };
        Ok(Self { target: Target::new(path)?, form })
    }

    pub fn write(&self, document: &Document) -> io::Result<()> {
        self.target.write(|writer| match self.form {
            Form::Json => json::write(document, writer),
            Form::Csv => csv::write(document, writer),
            Form::Html => html::write(document, writer),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> impl FnOnce(&mut dyn Write) -> io::Result<()> {
        move |writer| writer.write_all(text.as_bytes())
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let target = Target::new(&path).unwrap();
        target.write(text("old")).unwrap();
        let failed = target.write(|writer| {
            writer.write_all(&[b'x'; 1 << 20])?;
            Err(io::Error::other("no space"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no space");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        target.write(text("new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_its_owners_and_a_link_stays_one() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&file, &link).unwrap();
        Target::new(&link).unwrap().write(text("new")).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        Target::new(Path::new("/dev/null")).unwrap().write(text("new")).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn what_cannot_be_written_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("x.json")).unwrap();
        assert_eq!(Target::new(&path("x.json")).unwrap_err(), Unwritable::IsDirectory(path("x.json")));
        let (missing, inside) = (path("no"), path("no/r.json"));
        assert_eq!(ReportFile::new(&inside).unwrap_err(), Unwritable::NoFolder(inside, missing));
        assert_eq!(Target::new(Path::new("-")).unwrap_err(), Unwritable::IsStdout);
        for name in ["report", "report.txt", "json", ".json"] {
            assert!(matches!(ReportFile::new(&path(name)).unwrap_err(), Unwritable::UnknownForm(_)), "{name}");
        }
        assert!(ReportFile::new(Path::new("R.JSON")).is_ok());
    }
}
