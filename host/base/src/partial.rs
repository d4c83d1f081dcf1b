//! A file that a person named, on its way in.
//!
//! ```text
//! nothing there, or a plain file ─► FILE.partial, made anew, mode 0600 ─► written, synced ─► rename
//! ```
//! A rename puts a plain file in the place of whatever has that name: of a device, too. So anything but
//! a plain file is refused, and what stands at either name is never written through.

use std::{
    fs::{self, File, FileType, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Why a file was not written. What was there before is there still.
#[derive(Debug, thiserror::Error)]
pub enum PartialError {
    /// Something else than a plain file has that name.
    #[error("{} is {kind}, no plain file: name another file, or - for the standard output", .path.display())]
    NotPlain {
        /// The name.
        path: PathBuf,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// Somebody else put a file in its place while it was written.
    #[error("{} was replaced while it was written; name a file in a folder that only you can write to", .0.display())]
    Replaced(PathBuf),
    /// It can't be written.
    #[error("can't {action} {}: {source}", .path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

/// A file beside the place that it will take. Dropped before, it goes.
#[derive(Debug)]
pub struct Partial {
    target: PathBuf,
    path: PathBuf,
    file: File,
}

impl Partial {
    /// Makes `{target}.partial`, mode 0600. A plain file of that name is taken for a leftover.
    ///
    /// # Errors
    /// [`PartialError`].
    pub fn beside(target: &Path) -> Result<Self, PartialError> {
        check(target)?;
        let mut name = target.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        if check(&path)? == Place::Taken {
            fs::remove_file(&path).map_err(at("remove", &path))?;
        }
        let mut options = OpenOptions::new();
        // A link that takes its place in between is not followed, and nothing is cut to length.
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(at("make", &path))?;
        Ok(Self {
            target: target.to_owned(),
            path,
            file,
        })
    }

    /// Where it is as long as it has not got to its place.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    #[must_use]
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives it its place; content and name are on the disk then.
    ///
    /// # Errors
    /// [`PartialError`].
    pub fn place(self) -> Result<(), PartialError> {
        self.file.sync_all().map_err(at("sync", &self.path))?;
        let mine = self.file.metadata().map_err(at("read", &self.path))?;
        let named = fs::symlink_metadata(&self.path).map_err(at("read", &self.path))?;
        if (mine.dev(), mine.ino()) != (named.dev(), named.ino()) {
            return Err(PartialError::Replaced(self.path.clone()));
        }
        check(&self.target)?;
        fs::rename(&self.path, &self.target).map_err(at("name", &self.target))?;
        let folder = match self.target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(at("sync", folder))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already when it got to its place.
        let _ = fs::remove_file(&self.path);
    }
}

/// Refuses to read what a person named, if it is no plain file and no link to one: a pipe would be waited
/// for.
///
/// # Errors
/// [`PartialError`].
pub fn is_readable(path: &Path) -> Result<(), PartialError> {
    let metadata = fs::metadata(path).map_err(at("open", path))?;
    plain(path, metadata.file_type())
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Free,
    Taken,
}

/// Whether a plain file has that name, or nothing.
fn check(path: &Path) -> Result<Place, PartialError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => plain(path, metadata.file_type()).map(|()| Place::Taken),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::Free),
        Err(error) => Err(at("look at", path)(error)),
    }
}

fn plain(path: &Path, kind: FileType) -> Result<(), PartialError> {
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
    Err(PartialError::NotPlain { path, kind })
}

/// For `map_err`: the failure of `action` on `path`.
fn at(action: &'static str, path: &Path) -> impl Fn(io::Error) -> PartialError + use<> {
    let path = path.to_owned();
    move |source| PartialError::File {
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
        let mut cut = Partial::beside(&target).unwrap();
        cut.file().write_all(b"half").unwrap();
        drop(cut);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        let mut whole = Partial::beside(&target).unwrap();
        whole.file().write_all(b"new").unwrap();
        whole.place().unwrap();
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
            let refused = Partial::beside(&at(name)).unwrap_err().to_string();
            assert!(refused.contains(said), "{name}: {refused}");
            // The name of what is on its way is refused in the same way.
            if name != "/dev/null" {
                fs::rename(at(name), at("x.partial")).unwrap();
                let refused = Partial::beside(&at("x")).unwrap_err().to_string();
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
        let partial = Partial::beside(&target).unwrap();
        fs::rename(partial.path(), folder.path().join("aside")).unwrap();
        symlink("/etc/passwd", folder.path().join("backup.partial")).unwrap();
        let replaced = partial.place();
        assert!(matches!(replaced, Err(PartialError::Replaced(_))));
        assert!(!target.exists());
        // A device that appears at the target in between stays.
        let partial = Partial::beside(&target).unwrap();
        symlink("/dev/null", &target).unwrap();
        assert!(matches!(
            partial.place(),
            Err(PartialError::NotPlain { .. })
        ));
        assert!(fs::symlink_metadata(&target).unwrap().is_symlink());
    }
}
