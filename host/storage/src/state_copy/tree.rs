//! Walks through a `/state`: depth first, with one open folder for each level. Each entry is copied as soon
//! as it is listed, so that no list of a whole folder is in memory.

use std::{
    ffi::{CStr, OsStr},
    fs::File,
    io::{self, Seek},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use hersh_base::sandbox::SANDBOX_ID;
use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, readlinkat,
        statat,
    },
    io::Errno,
};

use super::{CopyBounds, CopyStop, StateCopy, StateCopyError, content::Content, meter::Meter};

/// The level of the deepest folder that is copied. The measurement of `/state` counts a state with deeper
/// folders as too large.
pub(super) const DEPTH_MAX: usize = 128;

/// How entries are opened: beneath their folder, through no link, on the same disk. Otherwise a link of the
/// program could lead the host out of the state.
const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_XDEV);
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
/// How files are opened. If the program replaced a file by a pipe, opening it must not make the host wait.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Writes all that is below `root` to `file`, as a tar. If `root` is not there, the tar has no entries.
pub(super) fn write(root: &Path, file: File, bounds: CopyBounds) -> Result<StateCopy, CopyStop> {
    let magic = ResolveFlags::NO_MAGICLINKS;
    let root = match openat2(CWD, root, FOLDER, Mode::empty(), magic) {
        Ok(root) => Some(root),
        // The program was never started.
        Err(Errno::NOENT) => None,
        Err(error) => return Err(error.into()),
    };
    let meter = Meter::new(bounds, file.try_clone()?);
    let mut copying = CopyWriter {
        archive: tar::Builder::new(io::BufWriter::new(file)),
        meter,
    };
    if let Some(root) = root {
        copying.folder(Dir::new(root)?, Path::new(""), DEPTH_MAX)?;
    }
    let buffered = copying.archive.into_inner()?;
    let mut file = buffered.into_inner().map_err(|error| error.into_error())?;
    let bytes = file.stream_position()?;
    file.rewind()?;
    Ok(StateCopy { file, bytes })
}

struct CopyWriter {
    archive: tar::Builder<io::BufWriter<File>>,
    meter: Meter,
}

impl CopyWriter {
    /// Copies what is in a folder, down to `depth` levels below it.
    fn folder(&mut self, mut folder: Dir, path: &Path, depth: usize) -> Result<(), CopyStop> {
        while let Some(entry) = folder.read() {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                let below = path.join(OsStr::from_bytes(name.to_bytes()));
                self.entry(&folder, name, &below, depth)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        folder: &Dir,
        name: &CStr,
        path: &Path,
        depth: usize,
    ) -> Result<(), CopyStop> {
        let folder = folder.fd()?;
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let path_bytes = path.as_os_str().len();
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let Some(depth) = depth.checked_sub(1) else {
                    return Err(StateCopyError::TooMany.into());
                };
                self.meter.entry(path_bytes + 1, 0)?;
                let mut header = header(tar::EntryType::Directory, &stat);
                let shown = path.join("");
                self.archive.append_data(&mut header, shown, io::empty())?;
                let below = openat2(folder, name, FOLDER, Mode::empty(), INSIDE)?;
                self.folder(Dir::new(below)?, path, depth)
            }
            FileType::Symlink => {
                let target = readlinkat(folder, name, Vec::new())?;
                self.meter.entry(path_bytes, target.count_bytes())?;
                let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                let mut header = header(tar::EntryType::Symlink, &stat);
                Ok(self.archive.append_link(&mut header, path, target)?)
            }
            FileType::RegularFile => {
                self.meter.entry(path_bytes, 0)?;
                let file = openat2(folder, name, FILE, Mode::empty(), INSIDE)?;
                self.file(path, File::from(file))
            }
            // These can't be copied: they are of use only to the running instance.
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Ok(self.meter.entry(path_bytes, 0)?),
        }
    }

    fn file(&mut self, path: &Path, file: File) -> Result<(), CopyStop> {
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(StateCopyError::Changed.into());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        self.meter.content(size)?;
        let mut header = header(tar::EntryType::Regular, &stat);
        header.set_size(size);
        let mut content = Content::new(file, size, &self.meter);
        let appended = self.archive.append_data(&mut header, path, &mut content);
        match content.stopped() {
            Some(stopped) => Err(stopped.into()),
            None => Ok(appended?),
        }
    }
}

/// Makes the header of an entry. The owner is always the sandbox's user, as everything in a `/state` is.
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
