//! The permission bits and times of the entries of a source tree.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::{Duration, SystemTime},
};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};

/// The mode of a stored tree's root that says that the modes and times in the tree are the source's own.
/// Hosts before 0.2 stored trees with the modes that the host's umask left.
pub(super) const FAITHFUL_MODE: u32 = 0o1700;

/// The mode bits that are stored. The set-user-ID and set-group-ID bits are not: the host owns the stored
/// files, so such a file would run with the rights of the host.
const MODE_BITS: u32 = 0o1777;

/// The latest time that the plain header of an archive holds, seconds since the Unix epoch.
const TIME_S_MAX: u64 = 0o777_7777_7777;

/// The mode and the time that one entry has in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    mode: u32,
    /// When the entry was modified, seconds since the Unix epoch; `None` leaves the time at which it was
    /// written here.
    modified_s: Option<u64>,
}

impl Attributes {
    pub(super) fn new(mode: u32, modified_s: Option<u64>) -> Self {
        Self {
            mode: mode & MODE_BITS,
            modified_s: modified_s.map(|time| time.min(TIME_S_MAX)),
        }
    }

    /// Returns the attributes of a folder that has no entry of its own and is only part of other paths.
    pub(super) fn implied_folder() -> Self {
        Self::new(0o755, None)
    }

    /// Returns the attributes of a file that came only as text.
    pub(super) fn plain_file() -> Self {
        Self::new(0o644, None)
    }

    /// Returns the attributes of a stored entry. `is_faithful` says whether the root of its tree has
    /// [`FAITHFUL_MODE`].
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

    /// Returns when the entry was modified, seconds since the Unix epoch; 0 if that is not known.
    pub(super) fn modified_s(self) -> u64 {
        self.modified_s.unwrap_or(0)
    }

    /// Sets the mode and the time of an open file or folder, whatever the host's umask is.
    pub(super) fn apply(self, file: &fs::File) -> io::Result<()> {
        file.set_permissions(fs::Permissions::from_mode(self.mode))?;
        match self.modified_s {
            Some(time) => file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(time)),
            None => Ok(()),
        }
    }

    /// Sets the time of a link itself, not of the file that it leads to.
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
