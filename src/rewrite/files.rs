//! Which files are rewritten: those that are named, and all below the directories that are named.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What version control keeps for itself.
const HIDDEN: [&str; 4] = [".git", ".hg", ".svn", ".jj"];

/// The files, and the folders and files that could not be read.
#[derive(Debug, Default)]
pub struct Found {
    /// Each once; those of a directory sorted by name.
    pub files: Vec<PathBuf>,
    pub unreadable: Vec<(PathBuf, io::Error)>,
}

/// Collects the files. A link is followed only where it is named itself. Those of `except` are left out: the rules are
/// no place to rewrite. `Err` if a path is not there at all.
pub fn collect(paths: &[PathBuf], except: &[PathBuf]) -> Result<Found, (PathBuf, io::Error)> {
    let mut seen: HashSet<PathBuf> = except.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let mut found = Found::default();
    for path in paths {
        let metadata = fs::metadata(path).map_err(|error| (path.clone(), error))?;
        if metadata.is_dir() {
            walk(path, &mut found, &mut seen);
        } else if metadata.is_file() {
            add(path.clone(), &mut found, &mut seen);
        } else {
            // Who opens a pipe waits until somebody else does.
            found.unreadable.push((path.clone(), io::Error::other("it is a device, a pipe or a socket")));
        }
    }
    Ok(found)
}

fn walk(root: &Path, found: &mut Found, seen: &mut HashSet<PathBuf>) {
    let mut folders = vec![root.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                found.unreadable.push((folder, error));
                continue;
            }
        };
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
                Ok((path, kind)) if kind.is_dir() => {
                    if !HIDDEN.iter().any(|hidden| path.ends_with(hidden)) {
                        folders.push(path);
                    }
                }
                Ok((path, kind)) if kind.is_file() => files.push(path),
                Ok(_) => {}
                Err(error) => found.unreadable.push((folder.clone(), error)),
            }
        }
    }
    files.sort();
    files.into_iter().for_each(|file| add(file, found, seen));
}

fn add(file: PathBuf, found: &mut Found, seen: &mut HashSet<PathBuf>) {
    match file.canonicalize() {
        Ok(place) => {
            if seen.insert(place) {
                found.files.push(file);
            }
        }
        Err(error) => found.unreadable.push((file, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_found_once_and_rules_and_repositories_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in [".git/a", "b/c.yaml", "b/.hidden/d", "a.txt", "images.json"] {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "").unwrap();
        }
        let paths = [root.join("b/c.yaml"), root.to_owned(), root.join("b")];
        let found = collect(&paths, &[root.join("b/../images.json")]).unwrap();
        let names: Vec<_> = found.files.iter().map(|file| file.strip_prefix(root).unwrap().to_owned()).collect();
        assert_eq!(names, ["b/c.yaml", "a.txt", "b/.hidden/d"].map(PathBuf::from));
        assert!(collect(&[root.join("none")], &[]).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn what_cannot_be_read_is_named_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut found = collect(std::slice::from_ref(&pipe), &[]).unwrap();
        // Gone since it was listed.
        add(folder.path().join("gone"), &mut found, &mut HashSet::new());
        let names: Vec<_> = found.unreadable.iter().map(|(path, _)| path.strip_prefix(&folder).unwrap()).collect();
        assert_eq!(names, [Path::new("pipe"), Path::new("gone")]);
        assert!(found.files.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_only_where_they_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (folder.path().join("root"), folder.path().join("elsewhere"));
        fs::create_dir_all(&root).unwrap();
        fs::write(&elsewhere, "").unwrap();
        std::os::unix::fs::symlink(&elsewhere, root.join("link")).unwrap();
        assert!(collect(std::slice::from_ref(&root), &[]).unwrap().files.is_empty());
        assert_eq!(collect(&[root.join("link")], &[]).unwrap().files, [root.join("link")]);
    }
}
