//! Replacing a file whole: whoever reads it meanwhile, or after a crash, has the old one or the new one. Only what cannot be
//! replaced is written over.

#[cfg(unix)]
use std::fs::Permissions;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Seek as _, Write};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, PersistError};

use crate::foreign::harmless;

/// Who may read and write the file that takes another's place.
pub enum Access {
    /// Its owner alone.
    Owner,
    /// Whoever may use what its owner makes.
    Usual,
    /// Those who had the old one, which this is of.
    As(Metadata),
}

/// A file to be written, found to be possible before there is anything to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(PathBuf);

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Unwritable {
    #[error("{} cannot be written: it is a directory", shown(.0))]
    IsDirectory(PathBuf),
    #[error("{} cannot be written: there is no directory {}", shown(.0), shown(.1))]
    NoFolder(PathBuf, PathBuf),
    #[error("{} cannot be written: {}", shown(.0), .1)]
    Refused(PathBuf, io::Error),
    #[error("it cannot be - (standard output); name a file")]
    IsStdout,
}

impl Target {
    /// A file that is made, or replaced; where that cannot be, it is written over.
    pub fn new(path: &Path) -> Result<Self, Unwritable> {
        Self::found(path, |place, error| as_it_is(place, error).is_some())
    }

    /// A file that is made, or replaced by one beside which the old one is kept.
    pub fn kept(path: &Path) -> Result<Self, Unwritable> {
        Self::found(path, |_, _| false)
    }

    /// `may_be` says whether it can be written where no file can be made beside it, with what stood in the way.
    fn found(path: &Path, may_be: impl Fn(&Path, &io::Error) -> bool) -> Result<Self, Unwritable> {
        if path.as_os_str() == "-" {
            return Err(Unwritable::IsStdout);
        }
        if path.is_dir() || path.file_name().is_none() {
            return Err(Unwritable::IsDirectory(path.to_owned()));
        }
        let refused = |error| Unwritable::Refused(path.to_owned(), error);
        let place = match real(path) {
            Ok(place) => place,
            Err(_) if !folder(path).is_dir() => {
                return Err(Unwritable::NoFolder(path.to_owned(), folder(path).to_owned()));
            }
            Err(error) => return Err(refused(error)),
        };
        if !is_stream(&place) {
            // Only who makes a file there knows that it can be made.
            match temporary().tempfile_in(folder(&place)).map_err(plain) {
                Err(error) if !may_be(&place, &error) => return Err(refused(error)),
                _ => {}
            }
        }
        Ok(Self(path.to_owned()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// As [`write()`].
    pub fn write(&self, access: Access, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        write(&self.0, access, fill)
    }
}

/// Puts what `fill` writes in the place of `path`. A link stays one: what it leads to is replaced. Devices, pipes and
/// open files are written to directly.
pub fn write(path: &Path, access: Access, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let place = real(path)?;
    if !is_stream(&place) {
        return replace(&place, access, fill);
    }
    // Appended to: an open file behind it may hold what others have written.
    let mut writer = BufWriter::new(OpenOptions::new().append(true).open(&place)?);
    fill(&mut writer)?;
    writer.flush()
}

/// Whether both are the same file, which need not be there yet. Devices and pipes take whatever comes.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let file = |path| real(path).ok().filter(|place| !is_stream(place));
    file(one).is_some_and(|one| file(other) == Some(one))
}

/// Whether there is a file that would be replaced.
pub fn is_replaced(path: &Path) -> bool {
    real(path).is_ok_and(|place| place.is_file() && !is_stream(&place))
}

/// Where a path leads behind all links, whether or not there is anything yet. A link to what a process has open is not
/// followed: the open file is meant, whatever its name was.
fn real(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let place = folder(&path).canonicalize()?.join(name);
        match fs::read_link(&place) {
            Ok(target) if !is_open(&place) => path = folder(&place).join(target),
            _ => return Ok(place),
        }
    }
    Err(io::Error::other("too many links"))
}

/// As Linux allows.
const MOST_LINKS: usize = 40;

/// Whether a path names what a process has open: `/dev/stdout` leads there.
fn is_open(place: &Path) -> bool {
    place.starts_with("/proc") || place.starts_with("/dev/fd")
}

fn is_stream(place: &Path) -> bool {
    is_open(place) || fs::metadata(place).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".image-migrator-");
    builder
}

/// The error without the name of a temporary file, which nobody knows.
fn plain(error: io::Error) -> io::Error {
    // That the name follows is known from tempfile.
    match error.to_string().split_once(" at path ") {
        Some((cause, _)) => io::Error::new(error.kind(), cause),
        None => error,
    }
}

/// Puts a file with what `fill` writes in the place of `path`, which must not be a link. The new file is written beside it
/// first. Where the old one cannot be replaced it is written over, unless it is somebody's of whom nothing else is left: that
/// stays as it is.
pub fn replace(path: &Path, access: Access, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut builder = temporary();
    #[cfg(unix)]
    if let Access::Usual = access {
        use std::os::unix::fs::PermissionsExt as _;
        // Less what the umask takes away.
        builder.permissions(Permissions::from_mode(0o666));
    }
    let mut temporary = match builder.tempfile_in(folder(path)).map_err(plain) {
        Ok(temporary) => temporary,
        Err(error) if matches!(access, Access::As(_)) => return Err(error),
        Err(error) => {
            let Some(file) = as_it_is(path, &error) else { return Err(error) };
            return fill_over(file, access, fill);
        }
    };
    if let Access::As(old) = access {
        // First: whoever gives a file away may not change it any more.
        temporary.as_file().set_permissions(old.permissions())?;
        keep_owner(temporary.as_file(), &old);
    }
    let mut writer = BufWriter::with_capacity(1 << 16, temporary.as_file_mut());
    fill(&mut writer)?;
    writer.flush()?;
    drop(writer);
    temporary.as_file().sync_all()?;
    match temporary.persist(path) {
        Ok(_) => sync_folder(path),
        Err(PersistError { error, file }) => write_over(path, file, error)?,
    }
    Ok(())
}

/// Leaves a file to those whose the old one was, as far as this user may: root rewrites what others go on reading.
#[cfg(unix)]
fn keep_owner(file: &File, old: &Metadata) {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    // The group by itself, since who is no root may give that alone.
    let _ = fchown(file, None, Some(old.gid()));
    let _ = fchown(file, Some(old.uid()), None);
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &Metadata) {}

/// The file at `path`, to be written over, where `error` says that beside it no file can be made: it alone is mounted there,
/// or the folder is somebody else's.
fn as_it_is(path: &Path, error: &io::Error) -> Option<File> {
    let is_refused = matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
    is_refused.then(|| OpenOptions::new().write(true).open(path).ok()).flatten()
}

/// Writes what `fill` writes over what is in `file`, once there is all of it.
fn fill_over(mut file: File, access: Access, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut content = Vec::new();
    fill(&mut content)?;
    let permissions = match access {
        #[cfg(unix)]
        Access::Owner => Some(std::os::unix::fs::PermissionsExt::from_mode(0o600)),
        _ => None,
    };
    // Its owner may be another one, who decides about that.
    let _ = permissions.map(|permissions| file.set_permissions(permissions));
    file.write_all(&content)?;
    file.set_len(content.len() as u64)?;
    file.sync_all()
}

/// Writes `content` into the file at `path`, of which `error` says why it cannot be replaced: something is mounted there,
/// or it is somebody else's in a folder for all. If that fails on the way, `content` stays beside it.
fn write_over(path: &Path, mut content: NamedTempFile, error: io::Error) -> io::Result<()> {
    if !matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::PermissionDenied) {
        return Err(error);
    }
    let Ok(mut file) = OpenOptions::new().write(true).open(path) else { return Err(error) };
    // Its owner may be another one, who decides about that.
    let _ = content.as_file().metadata().and_then(|metadata| file.set_permissions(metadata.permissions()));
    content.rewind()?;
    let written = file.set_len(0).and_then(|()| io::copy(&mut content, &mut file)).and_then(|_| file.sync_all());
    written.or_else(|error| {
        let (_, kept) = content.keep().map_err(|kept| kept.error)?;
        Err(io::Error::new(error.kind(), format!("{error}; what was to be written is in {}", shown(&kept))))
    })
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
    harmless(path.strip_prefix("./").unwrap_or(&path))
}

/// So that the new name is there after a crash, too; as far as that can be had, since the file itself is written.
#[cfg(unix)]
fn sync_folder(path: &Path) {
    let _ = File::open(folder(path)).and_then(|folder| folder.sync_all());
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) {}

#[cfg(all(test, unix))]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn text(text: &'static str) -> impl FnOnce(&mut dyn Write) -> io::Result<()> {
        move |writer| writer.write_all(text.as_bytes())
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, Access::Owner, text("old")).unwrap();
        let failed = write(&path, Access::Owner, |writer| {
            writer.write_all(&[b'x'; 1 << 20])?;
            Err(io::Error::other("no space"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no space");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_link_stays_one_also_to_what_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("sub")).unwrap();
        symlink("sub/second", path("first")).unwrap();
        symlink("../file", path("sub/second")).unwrap();
        assert!(is_same(&path("first"), &path("file")) && is_same(&path("sub/second"), &path("sub/../file")));
        assert!(!is_same(&path("first"), &path("other")));
        for new in ["new", "newer"] {
            Target::new(&path("first")).unwrap().write(Access::Owner, text(new)).unwrap();
            assert!(path("first").is_symlink() && path("sub/second").is_symlink());
            assert_eq!(fs::read_to_string(path("file")).unwrap(), new);
        }
        symlink("round", path("round")).unwrap();
        assert!(matches!(Target::new(&path("round")).unwrap_err(), Unwritable::Refused(..)));
    }

    #[test]
    fn what_a_process_has_open_is_written_to_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.txt");
        let mut open = File::create(&path).unwrap();
        open.write_all(b"before\n").unwrap();
        let link = folder.path().join("link");
        symlink(format!("/dev/fd/{}", open.as_raw_fd()), &link).unwrap();
        Target::new(&link).unwrap().write(Access::Owner, text("after\n")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before\nafter\n");
        assert!(!is_same(&link, &path), "it takes whatever comes");
        Target::new(Path::new("/dev/null")).unwrap().write(Access::Owner, text("new")).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn what_cannot_be_written_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(matches!(Target::new(folder.path()).unwrap_err(), Unwritable::IsDirectory(_)));
        assert!(matches!(Target::new(Path::new("-")).unwrap_err(), Unwritable::IsStdout));
        let error = Target::new(&path("no/r.json")).unwrap_err();
        assert!(error.to_string().contains("r.json cannot be written: there is no directory "), "{error}");
        // In which nobody makes files, whoever he is.
        let error = Target::new(Path::new("/sys/r.json")).unwrap_err().to_string();
        assert!(error.starts_with("/sys/r.json cannot be written: ") && !error.contains(".image-migrator"), "{error}");
        assert!(Target::new(&path("r.json")).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn what_cannot_be_replaced_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let content = || {
            let mut content = temporary().tempfile_in(folder.path()).unwrap();
            content.write_all(b"new").unwrap();
            content
        };
        let busy = || io::Error::new(io::ErrorKind::ResourceBusy, "busy");
        fs::write(&path, "what was there before").unwrap();
        write_over(&path, content(), busy()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = |kind| as_it_is(&path, &io::Error::from(kind));
        let file = refused(io::ErrorKind::PermissionDenied).or_else(|| refused(io::ErrorKind::ReadOnlyFilesystem));
        fill_over(file.unwrap(), Access::Owner, text("newer\n")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "newer\n");
        let broken = |_: &mut dyn Write| Err(io::ErrorKind::InvalidData.into());
        fill_over(refused(io::ErrorKind::PermissionDenied).unwrap(), Access::Owner, broken).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "newer\n", "only what is whole is written");
        assert!(refused(io::ErrorKind::StorageFull).is_none());
        // What is not there could not be made either.
        let error = write_over(&folder.path().join("other"), content(), busy()).unwrap_err();
        assert_eq!(error.to_string(), "busy");
        // Nor is anything lost where there is no room.
        let error = write_over(Path::new("/dev/full"), content(), busy()).unwrap_err().to_string();
        let (_, kept) = error.rsplit_once("what was to be written is in ").unwrap();
        assert_eq!(fs::read_to_string(kept).unwrap(), "new");
    }

    #[test]
    fn a_file_is_for_those_it_should_be_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // As any other file of this user.
        let usual = File::create(folder.path().join("usual")).unwrap().metadata().unwrap().permissions().mode();
        let old = File::create(folder.path().join("old")).unwrap();
        old.set_permissions(Permissions::from_mode(0o640)).unwrap();
        let as_old = Access::As(old.metadata().unwrap());
        for (access, mode) in [(Access::Usual, usual & 0o777), (Access::Owner, 0o600), (as_old, 0o640)] {
            replace(&path, access, |writer| writer.write_all(b"new")).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_file_stays_its_owners_whoever_replaces_it() {
        use std::os::unix::fs::{MetadataExt as _, chown};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        // Only root can give it away; else it stays that of whoever runs this.
        let _ = chown(&path, Some(65534), Some(65533));
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let old = fs::metadata(&path).unwrap();
        let who = |of: &Metadata| (of.uid(), of.gid(), of.mode());
        let expected = who(&old);
        replace(&path, Access::As(old), text("new")).unwrap();
        assert_eq!(who(&fs::metadata(&path).unwrap()), expected);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn paths_are_shown_as_given_without_a_leading_dot_and_without_what_a_terminal_obeys() {
        assert_eq!(shown(Path::new("./images.json")), "images.json");
        assert_eq!(shown(Path::new("../a/images.json")), "../a/images.json");
        assert_eq!(shown(Path::new("/etc/./x.json")), "/etc/./x.json");
        assert_eq!(shown(Path::new("a\u{1b}[2J\u{202e}b\nc")), "a\u{fffd}[2J\u{fffd}b\u{fffd}c");
    }
}
