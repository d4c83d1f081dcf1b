//! A program's `/state` as a tar, copied while nobody writes to it.
//!
//! ```text
//! state, opened beneath its folder, no links followed ─► staging, a file without a name ─► reader
//! ```
//! It is copied to the host's own disk first, since a program that is paused waits for that, and not
//! for a client that reads slowly. The program made all that is there, so nothing of it is believed:
//! names are opened beneath the folder, kinds are looked at after opening, sizes are bounded.

use std::{
    collections::VecDeque,
    ffi::{CString, OsStr},
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek},
    os::{fd::OwnedFd, unix::ffi::OsStrExt, unix::fs::OpenOptionsExt},
    path::Path,
    time::Instant,
};

use hersh_program::ProgramId;
use hersh_wire::ByteSize;
use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, readlinkat,
        statat,
    },
    io::Errno,
};

use super::{Storage, StorageError, error::is_disk_full};
use crate::compose::SANDBOX_ID;

/// Entries in one copy. The watch over `/state` counts 4 KiB for each, so a usual limit is met first.
const ENTRIES_MAX: u64 = 1_000_000;
/// The most that the paths of folders still to be copied may take, bytes.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// So much is copied between two looks at the disk and the time, bytes.
const LOOK_BYTES: u64 = 8 << 20;

/// What a copy may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyBounds {
    /// Bytes of all files, as they are read: holes count.
    pub(crate) bytes_max: u64,
    /// What stays free on the disk, bytes.
    pub(crate) free_bytes_min: u64,
    /// When it must be done, if somebody waits.
    pub(crate) deadline: Option<Instant>,
}

/// A tar on the host's disk, under no name: it goes when it is closed.
#[derive(Debug)]
pub(crate) struct StateCopy {
    /// At its first byte.
    pub(crate) file: File,
    /// Its length.
    pub(crate) bytes: u64,
}

/// Why a state was not copied. Nothing of the copy is left.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateCopyError {
    #[error("its /state holds more than {}, its limit: holes in files count here", String::from(ByteSize(*.0)))]
    TooLarge(u64),
    #[error(
        "its /state has more than {ENTRIES_MAX} files and folders, or paths too long to remember"
    )]
    TooMany,
    #[error(
        "its /state can't be copied in the time that it may be paused; stop it, copy, and start it again"
    )]
    TooSlow,
    #[error(
        "the host's disk has no room for the copy; make some, or copy DATA/programs while the program is stopped"
    )]
    DiskFull,
    #[error("a file in its /state changed while it was copied; try again")]
    Changed,
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Storage {
    /// Copies the program's `/state`, to which nobody may write meanwhile. Sockets, pipes and devices
    /// are left out. Blocks on the disk.
    ///
    /// # Errors
    /// [`StateCopyError`].
    pub(crate) fn copy_state(
        &self,
        program: &ProgramId,
        bounds: CopyBounds,
    ) -> Result<StateCopy, StateCopyError> {
        let place = self.staging().join(format!("state-{program}"));
        let failed = StorageError::at("copy state to", &place);
        match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(error).into());
            }
            Ok(()) | Err(_) => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&place).map_err(&failed)?;
        fs::remove_file(&place).map_err(&failed)?;
        let state = self.paths(program).state;
        write_state(&state, file, bounds).map_err(|stopped| match stopped {
            Stopped::Bound(error) => error,
            Stopped::Disk(error) if is_disk_full(&error) => StateCopyError::DiskFull,
            Stopped::Disk(error) => StorageError::at("copy", &state)(error).into(),
        })
    }
}

/// Why copying stopped.
enum Stopped {
    Bound(StateCopyError),
    Disk(io::Error),
}

impl From<StateCopyError> for Stopped {
    fn from(error: StateCopyError) -> Self {
        Self::Bound(error)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<Errno> for Stopped {
    fn from(error: Errno) -> Self {
        Self::Disk(error.into())
    }
}

/// The way into a folder: beneath it, through no link, on its own disk.
const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_XDEV);
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
/// A pipe that takes a file's place in between must not make the host wait.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

fn write_state(root: &Path, file: File, bounds: CopyBounds) -> Result<StateCopy, Stopped> {
    let root = match openat2(
        CWD,
        root,
        FOLDER,
        Mode::empty(),
        ResolveFlags::NO_MAGICLINKS,
    ) {
        Ok(root) => Some(root),
        // It was never started.
        Err(Errno::NOENT) => None,
        Err(error) => return Err(error.into()),
    };
    let mut copying = Copying {
        archive: tar::Builder::new(io::BufWriter::new(file)),
        bounds,
        bytes: 0,
        entries: 0,
    };
    if let Some(root) = root {
        copying.tree(&root)?;
    }
    let buffered = copying.archive.into_inner()?;
    let mut file = buffered.into_inner().map_err(|error| error.into_error())?;
    let bytes = file.stream_position()?;
    file.rewind()?;
    Ok(StateCopy { file, bytes })
}

struct Copying {
    archive: tar::Builder<io::BufWriter<File>>,
    bounds: CopyBounds,
    bytes: u64,
    entries: u64,
}

impl Copying {
    fn tree(&mut self, root: &OwnedFd) -> Result<(), Stopped> {
        let mut folders = VecDeque::from([CString::from(c".")]);
        let mut queued_bytes = 0;
        while let Some(path) = folders.pop_front() {
            queued_bytes -= path.count_bytes().min(queued_bytes);
            let folder = openat2(root, &path, FOLDER, Mode::empty(), INSIDE)?;
            let mut names = Vec::new();
            for entry in Dir::read_from(&folder)? {
                let name = entry?.file_name().to_owned();
                if !matches!(name.to_bytes(), b"." | b"..") {
                    self.count()?;
                    names.push(name);
                }
            }
            names.sort();
            for name in names {
                let stat = statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                let below = Path::new(OsStr::from_bytes(path.as_bytes()))
                    .join(OsStr::from_bytes(name.as_bytes()));
                let shown = below.strip_prefix(".").unwrap_or(&below);
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => {
                        self.archive.append_data(
                            &mut header(tar::EntryType::Directory, &stat),
                            shown.join(""),
                            io::empty(),
                        )?;
                        queued_bytes += below.as_os_str().len();
                        if queued_bytes > QUEUE_BYTES_MAX {
                            return Err(StateCopyError::TooMany.into());
                        }
                        let below = CString::new(below.into_os_string().as_bytes());
                        folders.push_back(below.map_err(io::Error::other)?);
                    }
                    FileType::Symlink => {
                        let target = readlinkat(&folder, &name, Vec::new())?;
                        let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                        let mut header = header(tar::EntryType::Symlink, &stat);
                        self.archive.append_link(&mut header, shown, target)?;
                    }
                    FileType::RegularFile => {
                        let file = openat2(&folder, &name, FILE, Mode::empty(), INSIDE)?;
                        self.file(shown, File::from(file))?;
                    }
                    // What can't be kept: it belongs to who runs.
                    FileType::Fifo
                    | FileType::Socket
                    | FileType::CharacterDevice
                    | FileType::BlockDevice
                    | FileType::Unknown => {}
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, shown: &Path, file: File) -> Result<(), Stopped> {
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(StateCopyError::Changed.into());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.bounds.bytes_max {
            return Err(StateCopyError::TooLarge(self.bounds.bytes_max).into());
        }
        self.look()?;
        let mut header = header(tar::EntryType::Regular, &stat);
        header.set_size(size);
        let mut content = Content {
            file: file.take(size),
            left: size,
            bounds: self.bounds,
            space: self.archive.get_ref().get_ref().try_clone()?,
            stopped: None,
        };
        let appended = self.archive.append_data(&mut header, shown, &mut content);
        match content.stopped.take() {
            Some(stopped) => Err(stopped.into()),
            None => Ok(appended?),
        }
    }

    fn count(&mut self) -> Result<(), Stopped> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(StateCopyError::TooMany.into());
        }
        if self.entries.is_multiple_of(1_000) {
            self.look()?;
        }
        Ok(())
    }

    fn look(&self) -> Result<(), StateCopyError> {
        look(self.bounds, self.archive.get_ref().get_ref())
    }
}

/// Whether there is still time and room.
fn look(bounds: CopyBounds, on: &File) -> Result<(), StateCopyError> {
    if bounds
        .deadline
        .is_some_and(|deadline| Instant::now() >= deadline)
    {
        return Err(StateCopyError::TooSlow);
    }
    // A disk that can't be asked is not in the way; it says itself when it is full.
    match rustix::fs::fstatvfs(on) {
        Ok(room) if room.f_bavail.saturating_mul(room.f_frsize) < bounds.free_bytes_min => {
            Err(StateCopyError::DiskFull)
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A file's bytes, exactly as many as its entry says.
struct Content {
    file: io::Take<File>,
    left: u64,
    bounds: CopyBounds,
    space: File,
    stopped: Option<StateCopyError>,
}

impl Read for &mut Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let before = self.left;
        self.left -= u64::try_from(count).unwrap_or(self.left).min(self.left);
        let stopped = if count == 0 && before > 0 {
            Err(StateCopyError::Changed)
        } else if before / LOOK_BYTES != self.left / LOOK_BYTES {
            look(self.bounds, &self.space)
        } else {
            Ok(())
        };
        stopped.map(|()| count).map_err(|error| {
            self.stopped = Some(error);
            io::ErrorKind::Other.into()
        })
    }
}

/// Everything in a `/state` belongs to the sandbox's user.
fn header(kind: tar::EntryType, stat: &Stat) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o777);
    header.set_uid(SANDBOX_ID.into());
    header.set_gid(SANDBOX_ID.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(0);
    header
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::symlink, path::PathBuf, time::Duration};

    use super::*;

    const FREE: CopyBounds = CopyBounds {
        bytes_max: 1 << 20,
        free_bytes_min: 0,
        deadline: None,
    };

    struct World {
        _folder: tempfile::TempDir,
        storage: Storage,
        state: PathBuf,
    }

    fn id() -> ProgramId {
        ProgramId::parse("counter").unwrap()
    }

    fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(&folder.path().join("data")).unwrap();
        let state = storage.paths(&id()).state;
        fs::create_dir_all(&state).unwrap();
        World {
            _folder: folder,
            storage,
            state,
        }
    }

    /// Each entry's path, with what it holds or where it leads.
    fn entries(copy: StateCopy) -> BTreeMap<String, String> {
        let mut bytes = Vec::new();
        let mut file = copy.file;
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, copy.bytes);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let read = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let link = entry.link_name().unwrap();
            let link = link.map(|target| format!("-> {}", target.display()));
            (path, link.unwrap_or(text))
        });
        read.collect()
    }

    #[test]
    fn files_folders_and_links_are_copied_and_nothing_behind_a_link() {
        let world = world();
        fs::create_dir_all(world.state.join("a/b")).unwrap();
        fs::write(world.state.join("a/b/data.db"), "rows").unwrap();
        symlink("/etc", world.state.join("out")).unwrap();
        symlink("/etc/passwd", world.state.join("a/passwd")).unwrap();
        let pipe = world.state.join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(world.state.join("sock")).unwrap();
        let found = entries(world.storage.copy_state(&id(), FREE).unwrap());
        let expected = [
            ("a/", ""),
            ("a/b/", ""),
            ("a/b/data.db", "rows"),
            ("a/passwd", "-> /etc/passwd"),
            ("out", "-> /etc"),
        ];
        let expected = expected.map(|(path, text)| (path.to_owned(), text.to_owned()));
        assert_eq!(found, BTreeMap::from(expected));
        let staged = fs::read_dir(world.storage.staging()).unwrap().count();
        assert_eq!(staged, 0, "the copy has no name");
    }

    #[test]
    fn a_state_folder_that_is_a_link_of_its_program_is_not_followed() {
        let world = world();
        let outside = world.state.parent().unwrap().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "s").unwrap();
        symlink(&outside, world.state.join("dir")).unwrap();
        let found = entries(world.storage.copy_state(&id(), FREE).unwrap());
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found["dir"].starts_with("-> "), "{found:?}");
    }

    #[test]
    fn what_is_too_much_or_too_late_is_refused() {
        let world = world();
        let hole = File::create(world.state.join("hole")).unwrap();
        hole.set_len(1 << 40).unwrap();
        let copy = |bounds| world.storage.copy_state(&id(), bounds).unwrap_err();
        assert!(matches!(copy(FREE), StateCopyError::TooLarge(_)));
        hole.set_len(10).unwrap();
        let late = CopyBounds {
            deadline: Some(Instant::now() - Duration::from_secs(1)),
            ..FREE
        };
        assert!(matches!(copy(late), StateCopyError::TooSlow));
        let full = CopyBounds {
            free_bytes_min: u64::MAX,
            ..FREE
        };
        assert!(matches!(copy(full), StateCopyError::DiskFull));
        assert!(world.storage.copy_state(&id(), FREE).is_ok());
    }

    #[test]
    fn one_that_never_ran_has_an_empty_state() {
        let world = world();
        fs::remove_dir(&world.state).unwrap();
        let found = entries(world.storage.copy_state(&id(), FREE).unwrap());
        assert!(found.is_empty(), "{found:?}");
    }
}
