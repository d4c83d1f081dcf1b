//! Writes a file under a name that a person gave, so that the file appears whole or not at all.
//!
//! ```text
//! nothing there, or a plain file ─► FILE.partial, made anew, mode 0600 ─► written, synced ─► rename
//! ```
//! A rename replaces whatever has the target's name, even a device. So if anything but a plain file has one
//! of the two names, that is an error. A file that is already there is never written to.

use std::{
    fs::{self, File, FileType, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Why a file was not written. The file that was there before is still there, unless the rename was made
/// and only syncing the folder failed.
#[derive(Debug, thiserror::Error)]
pub enum PartialFileError {
    /// Something other than a plain file has the name.
    #[error("{} is {kind}, not a plain file: name another file, or - for the standard output", .path.display())]
    NotPlain {
        /// The name.
        path: PathBuf,
        /// The kind of file that has the name, with its article.
        kind: &'static str,
    },
    /// Somebody else put another file under the name of the partial file while it was written.
    #[error("{} was replaced while it was written; name a file in a folder that only you can write to", .0.display())]
    Replaced(PathBuf),
    /// The file system refused an operation.
    #[error("can't {action} {}: {source}", .path.display())]
    File {
        /// The operation that was tried, as a verb.
        action: &'static str,
        /// The path that the operation was tried on.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

/// A file beside the target that it will replace. If it is dropped before that, it is removed.
#[derive(Debug)]
pub struct PartialFile {
    target: PathBuf,
    path: PathBuf,
    file: File,
}

impl PartialFile {
    /// Makes `{target}.partial`, mode 0600. A plain file of that name is taken for a leftover and removed.
    ///
    /// # Errors
    /// [`PartialFileError`].
    pub fn beside(target: &Path) -> Result<Self, PartialFileError> {
        check_name(target)?;
        let mut name = target.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        if check_name(&path)? == NameState::Taken {
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
        let mut options = OpenOptions::new();
        // `create_new` follows no link that somebody put there in between, and truncates no file.
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(io_error("make", &path))?;
        Ok(Self {
            target: target.to_owned(),
            path,
            file,
        })
    }

    /// Returns the path of the partial file until it is renamed.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the open file.
    #[must_use]
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Renames the file to the target. On success, content and name survive a crash.
    ///
    /// # Errors
    /// [`PartialFileError`].
    pub fn rename_to_target(self) -> Result<(), PartialFileError> {
        self.file.sync_all().map_err(io_error("sync", &self.path))?;
        let mine = self.file.metadata().map_err(io_error("read", &self.path))?;
        let named = fs::symlink_metadata(&self.path).map_err(io_error("read", &self.path))?;
        if (mine.dev(), mine.ino()) != (named.dev(), named.ino()) {
            return Err(PartialFileError::Replaced(self.path.clone()));
        }
        check_name(&self.target)?;
        fs::rename(&self.path, &self.target).map_err(io_error("name", &self.target))?;
        let folder = match self.target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(io_error("sync", folder))
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // The path is gone already if the file was renamed.
        let _ = fs::remove_file(&self.path);
    }
}

/// Checks that a file that a person named is a plain file or a link to one. Reading from a pipe, for
/// example, could wait for ever.
///
/// # Errors
/// [`PartialFileError`].
pub fn check_plain(path: &Path) -> Result<(), PartialFileError> {
    let metadata = fs::metadata(path).map_err(io_error("open", path))?;
    plain(path, metadata.file_type())
}

#[derive(Debug, PartialEq, Eq)]
enum NameState {
    Free,
    Taken,
}

/// Returns whether a plain file or nothing has the name `path`. Anything else is an error.
fn check_name(path: &Path) -> Result<NameState, PartialFileError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => plain(path, metadata.file_type()).map(|()| NameState::Taken),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(NameState::Free),
        Err(error) => Err(io_error("look at", path)(error)),
    }
}

fn plain(path: &Path, kind: FileType) -> Result<(), PartialFileError> {
    let kind = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_symlink() {
        "a link"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    let path = path.to_owned();
    Err(PartialFileError::NotPlain { path, kind })
}

/// Returns a function for `map_err` that says that `action` on `path` failed.
fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> PartialFileError + use<> {
    let path = path.to_owned();
    move |source| PartialFileError::File {
        action,
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        os::unix::{fs::PermissionsExt, fs::symlink, net::UnixListener},
    };

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_file_takes_its_place_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("p-state.tar");
        fs::write(&target, "old").unwrap();
        fs::write(folder.path().join("p-state.tar.partial"), "left").unwrap();
        let mut cut = PartialFile::beside(&target).unwrap();
        cut.file().write_all(b"half").unwrap();
        drop(cut);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        let mut whole = PartialFile::beside(&target).unwrap();
        whole.file().write_all(b"new").unwrap();
        whole.rename_to_target().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        let mode = target.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_plain_file_is_refused_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("kept"), "kept").unwrap();
        symlink(at("kept"), at("link")).unwrap();
        symlink(at("none"), at("dangling")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        for (name, said) in [
            ("link", "a link"),
            ("dangling", "a link"),
            ("folder", "a folder"),
            ("socket", "a socket"),
            ("pipe", "a pipe"),
            ("/dev/null", "a device"),
        ] {
            let refused = PartialFile::beside(&at(name)).unwrap_err().to_string();
            assert!(refused.contains(said), "{name}: {refused}");
            // The same kinds are refused under the name of the partial file.
            if name != "/dev/null" {
                fs::rename(at(name), at("x.partial")).unwrap();
                let refused = PartialFile::beside(&at("x")).unwrap_err().to_string();
                assert!(refused.contains(said), "{name}: {refused}");
                fs::rename(at("x.partial"), at(name)).unwrap();
            }
        }
        assert!(!at("none").exists());
        assert_eq!(fs::read(at("kept")).unwrap(), b"kept");
        let device = fs::symlink_metadata("/dev/null").unwrap();
        assert!(device.file_type().is_char_device());
    }

    #[test]
    fn what_takes_its_place_meanwhile_is_not_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("backup");
        let partial = PartialFile::beside(&target).unwrap();
        fs::rename(partial.path(), folder.path().join("aside")).unwrap();
        symlink("/etc/passwd", folder.path().join("backup.partial")).unwrap();
        let replaced = partial.rename_to_target();
        assert!(matches!(replaced, Err(PartialFileError::Replaced(_))));
        assert!(!target.exists());
        // A link to a device that appears at the target in between stays.
        let partial = PartialFile::beside(&target).unwrap();
        symlink("/dev/null", &target).unwrap();
        assert!(matches!(
            partial.rename_to_target(),
            Err(PartialFileError::NotPlain { .. })
        ));
        assert!(fs::symlink_metadata(&target).unwrap().is_symlink());
    }
}
