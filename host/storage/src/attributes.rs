//! Permission bits and the time of what a source tree holds.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::{Duration, SystemTime},
};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};

/// The mode of a stored tree's root, which says that modes and times in it are the source's own.
/// Trees that were stored by hosts before 0.2 have the modes that the host's umask left.
pub(super) const FAITHFUL_MODE: u32 = 0o1700;

/// Bits that are kept. A file that runs as its owner is none that source can bring: the owner of
/// what is stored is the host.
const MODE_BITS: u32 = 0o1777;

/// The latest time that the plain header of an archive holds, seconds since the Unix epoch.
const TIME_S_MAX: u64 = 0o777_7777_7777;

/// How one entry is to be when it stands in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    mode: u32,
    /// Seconds since the Unix epoch; `None` for when it came in.
    modified_s: Option<u64>,
}

impl Attributes {
    pub(super) fn new(mode: u32, modified_s: Option<u64>) -> Self {
        Self {
            mode: mode & MODE_BITS,
            modified_s: modified_s.map(|time| time.min(TIME_S_MAX)),
        }
    }

    /// Of a folder that only the paths of others name.
    pub(super) fn implied_folder() -> Self {
        Self::new(0o755, None)
    }

    /// Of a file that came as text alone.
    pub(super) fn plain_file() -> Self {
        Self::new(0o644, None)
    }

    /// Of what stands on the disk, in a tree whose root has [`FAITHFUL_MODE`] or not.
    pub(super) fn stored(metadata: &fs::Metadata, is_faithful: bool) -> Self {
        let is_executable = metadata.is_dir() || metadata.mode() & 0o111 != 0;
        let mode = match (is_faithful, is_executable) {
            (true, _) => metadata.mode(),
            (false, true) => 0o755,
            (false, false) => 0o644,
        };
        Self::new(mode, u64::try_from(metadata.mtime()).ok())
    }

    pub(super) fn mode(self) -> u32 {
        self.mode
    }

    /// Seconds since the Unix epoch.
    pub(super) fn modified_s(self) -> u64 {
        self.modified_s.unwrap_or(0)
    }

    /// Gives them to an open file or folder, whatever the host's umask is.
    pub(super) fn apply(self, file: &fs::File) -> io::Result<()> {
        file.set_permissions(fs::Permissions::from_mode(self.mode))?;
        match self.modified_s {
            Some(time) => file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(time)),
            None => Ok(()),
        }
    }

    /// Gives the time to a link, and not to what it leads to.
    pub(super) fn apply_to_link(self, link: &Path) -> io::Result<()> {
        let Some(Ok(tv_sec)) = self.modified_s.map(i64::try_from) else {
            return Ok(());
        };
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec { tv_sec, tv_nsec: 0 },
        };
        Ok(utimensat(CWD, link, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}
