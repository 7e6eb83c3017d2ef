//! Reading a configuration file, a report, or standard input, as a whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::file::shown;

/// What a file is to be, and the most bytes that are read of it: far above any real one. It keeps a disk image given by
/// mistake out of memory.
#[derive(Debug)]
pub struct Kind {
    noun: &'static str,
    mebibytes: u64,
}

const CONFIGURATION: Kind = Kind { noun: "configuration", mebibytes: 256 };
/// It grows with the images and what was moved for them.
const REPORT: Kind = Kind { noun: "report", mebibytes: 4096 };

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot read {file}: {}; {advice}", in_words(.error))]
    Unreadable { file: String, advice: &'static str, error: io::Error },
    #[error("cannot read {file}: it is larger than {} MiB, so it is no {}", .kind.mebibytes, .kind.noun)]
    TooLarge { file: String, kind: &'static Kind },
}

impl FileError {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Unreadable { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

/// The content of `path`; `advice` says what to do if it cannot be read.
pub fn read(path: &Path, advice: &'static str) -> Result<Vec<u8>, FileError> {
    read_as(&CONFIGURATION, path, advice)
}

/// As [`read`], for a report.
pub fn read_report(path: &Path, advice: &'static str) -> Result<Vec<u8>, FileError> {
    read_as(&REPORT, path, advice)
}

fn read_as(kind: &'static Kind, path: &Path, advice: &'static str) -> Result<Vec<u8>, FileError> {
    let unreadable = |error| FileError::Unreadable { file: shown(path), advice, error };
    let mut file = File::open(path).map_err(unreadable)?;
    read_up_to(kind.mebibytes << 20, &mut file)
        .map_err(unreadable)?
        .ok_or_else(|| FileError::TooLarge { file: shown(path), kind })
}

/// Whether everybody on this machine may read the file at `path`.
#[cfg(unix)]
pub fn is_open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o004 != 0)
}

/// Who may read a file is not known here.
#[cfg(not(unix))]
pub fn is_open_to_all(_: &Path) -> bool {
    false
}

/// All of standard input.
pub fn read_stdin() -> Result<Vec<u8>, FileError> {
    let file = || "stdin".to_owned();
    let unreadable = |error| FileError::Unreadable { file: file(), advice: "--images names the file of rules", error };
    read_up_to(CONFIGURATION.mebibytes << 20, &mut io::stdin().lock())
        .map_err(unreadable)?
        .ok_or_else(|| FileError::TooLarge { file: file(), kind: &CONFIGURATION })
}

/// `None` if there is more than `limit`.
fn read_up_to(limit: u64, input: &mut dyn Read) -> io::Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    let length = input.take(limit + 1).read_to_end(&mut content)?;
    Ok((length as u64 <= limit).then_some(content))
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_says_why_and_what_to_do() {
        let error = read(Path::new("./no/such.json"), "--images names it").unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "cannot read no/such.json: no such file; --images names it");
        let error = read(&std::env::temp_dir(), "--images names it").unwrap_err();
        assert!(!error.is_not_found());
        assert!(error.to_string().ends_with(": it is a directory; --images names it"), "{error}");
    }

    #[test]
    fn a_file_that_is_too_large_is_not_what_it_was_to_be() {
        const SMALL: Kind = Kind { noun: "report", mebibytes: 1 };
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        assert_eq!(read_as(&SMALL, file.path(), "").unwrap().len(), 1 << 20);
        file.as_file().set_len((1 << 20) + 1).unwrap();
        let error = read_as(&SMALL, file.path(), "").unwrap_err().to_string();
        assert!(error.ends_with(": it is larger than 1 MiB, so it is no report"), "{error}");
    }

    #[test]
    fn input_is_read_up_to_a_limit() {
        assert_eq!(read_up_to(3, &mut b"abc".as_slice()).unwrap(), Some(b"abc".to_vec()));
        assert_eq!(read_up_to(2, &mut b"abc".as_slice()).unwrap(), None);
    }
}
