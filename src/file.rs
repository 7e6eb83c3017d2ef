//! Replacing a file whole: whoever reads it meanwhile, or after a crash, has the old one or the new one.

use std::fs::Permissions;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::foreign::is_obeyed;

/// Who may read and write the file that takes another's place.
pub enum Access {
    /// Its owner alone.
    Owner,
    /// Whoever may use what its owner makes.
    Usual,
    /// Those who had the old one.
    As(Permissions),
}

/// Puts a file with what `fill` writes in the place of `path`, which must not be a link. The new file is written beside it
/// first.
pub fn replace(path: &Path, access: Access, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".image-migrator-");
    #[cfg(unix)]
    if let Access::Usual = access {
        use std::os::unix::fs::PermissionsExt as _;
        // Less what the umask takes away.
        builder.permissions(Permissions::from_mode(0o666));
    }
    let mut temporary = builder.tempfile_in(folder(path))?;
    if let Access::As(permissions) = access {
        temporary.as_file().set_permissions(permissions)?;
    }
    let mut writer = BufWriter::with_capacity(1 << 16, temporary.as_file_mut());
    fill(&mut writer)?;
    writer.flush()?;
    drop(writer);
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    sync_folder(path)
}

/// The folder in which a file is.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A path in the same folder: `suffix` follows the file's name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A path as messages show it: whoever named a file may have put anything into its name.
pub fn shown(path: &Path) -> String {
    let path = path.display().to_string();
    path.strip_prefix("./").unwrap_or(&path).replace(is_obeyed, "\u{fffd}")
}

/// So that the new name is there after a crash, too.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    std::fs::File::open(folder(path))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_for_those_it_should_be_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // As any other file of this user.
        let usual = File::create(folder.path().join("usual")).unwrap().metadata().unwrap().permissions().mode();
        for (access, mode) in
            [(Access::Usual, usual & 0o777), (Access::Owner, 0o600), (Access::As(Permissions::from_mode(0o640)), 0o640)]
        {
            replace(&path, access, |writer| writer.write_all(b"new")).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn paths_are_shown_as_given_without_a_leading_dot_and_without_what_a_terminal_obeys() {
        assert_eq!(shown(Path::new("./images.json")), "images.json");
        assert_eq!(shown(Path::new("../a/images.json")), "../a/images.json");
        assert_eq!(shown(Path::new("/etc/./x.json")), "/etc/./x.json");
        assert_eq!(shown(Path::new("a\u{1b}[2J\u{202e}b\nc")), "a\u{fffd}[2J\u{fffd}b\u{fffd}c");
    }
}
