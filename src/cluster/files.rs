//! Writing files whole: what was there is kept beside them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::file::{self, Access, beside};

/// Writes `text` to `path`. Returns where the file that was there is kept now, if there was one.
pub fn write_keeping(path: &Path, text: &str) -> io::Result<Option<PathBuf>> {
    let (kept, access) = if file::is_replaced(path) {
        (Some(keep(path)?), Access::As(fs::metadata(path)?))
    } else {
        (None, Access::Usual)
    };
    file::write(path, access, |writer| writer.write_all(text.as_bytes()))?;
    Ok(kept)
}

/// Copies what is at `path` to the first of `path.bak`, `path.bak.1`, ... that is free.
fn keep(path: &Path) -> io::Result<PathBuf> {
    let mut number = 0_u64;
    loop {
        let backup = beside(path, &if number == 0 { ".bak".to_owned() } else { format!(".bak.{number}") });
        match File::create_new(&backup) {
            Ok(_) => {
                // Half a copy looks like a whole one.
                return match fs::copy(path, &backup) {
                    Ok(_) => Ok(backup),
                    Err(error) => {
                        let _ = fs::remove_file(&backup);
                        Err(error)
                    }
                };
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_kept_under_the_first_free_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.json");
        let name = |kept: Option<PathBuf>| kept.map(|kept| kept.file_name().unwrap().to_string_lossy().into_owned());
        assert_eq!(name(write_keeping(&path, "0").unwrap()), None);
        assert_eq!(name(write_keeping(&path, "1").unwrap()).unwrap(), "images.json.bak");
        assert_eq!(name(write_keeping(&path, "2").unwrap()).unwrap(), "images.json.bak.1");
        fs::remove_file(folder.path().join("images.json.bak")).unwrap();
        assert_eq!(name(write_keeping(&path, "3").unwrap()).unwrap(), "images.json.bak");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!([read("images.json"), read("images.json.bak"), read("images.json.bak.1")], ["3", "2", "1"]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        fs::write(&file, "0").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&file, &link).unwrap();
        assert_eq!(write_keeping(&link, "1").unwrap().unwrap(), folder.path().join("link.bak"));
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "1");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let (open, stream) = (folder.path().join("open"), folder.path().join("stream"));
        let opened = File::create(&open).unwrap();
        symlink(format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&opened)), &stream).unwrap();
        assert_eq!(write_keeping(&stream, "1").unwrap(), None, "nothing is replaced");
        assert_eq!(fs::read_to_string(&open).unwrap(), "1");
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write_keeping(&folder.path().join("no/such/images.json"), "x").is_err());
        assert!(write_keeping(folder.path(), "x").is_err());
        let sub = folder.path().join("sub");
        fs::create_dir(&sub).unwrap();
        assert!(keep(&sub).is_err(), "a folder cannot be copied");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
