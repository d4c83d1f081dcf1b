//! Free space on the disks that a host writes to.
//!
//! Below the floor, the host takes nothing new in and builds nothing, while programs that run go on: the
//! space that is left is for them and for the journal. Below a quarter of the floor, the host refuses
//! everything that does not free space, so that requests that free space stay possible. Both end by
//! themselves once there is space again.
//!
//! ```text
//! free ──── disk.free_min ───────────── a quarter of it ─────────── nothing
//!   all is taken │ no source, no builds, no copies │ stop, remove, revoke │ the journal's reserve
//! ```

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use hersh_base::surroundings::{DiskSpace, Surroundings};
use hersh_wire::ByteSize;

/// The free space that a host keeps unless it is told otherwise, bytes; on small disks [`FLOOR_PERCENT`] of
/// the disk.
pub(crate) const FREE_BYTES_MIN: u64 = 1 << 30;
const FLOOR_PERCENT: u64 = 5;
/// The last floor is the floor divided by this.
const LAST_PART: u64 = 4;
/// How often a build's disks are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A disk is nearly full.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "only {} are free on the disk of {}, less than the {} that must stay free: remove programs, or make room there",
    String::from(ByteSize(*.free_bytes)), .folder.display(), String::from(ByteSize(*.floor_bytes))
)]
pub(crate) struct DiskFullError {
    folder: PathBuf,
    free_bytes: u64,
    floor_bytes: u64,
}

impl DiskFullError {
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_bytes
    }

    pub(crate) fn floor_bytes(&self) -> u64 {
        self.floor_bytes
    }

    /// Returns how much is free and how much must stay free, without naming the disk.
    pub(crate) fn amounts(&self) -> String {
        let [free, floor] =
            [self.free_bytes, self.floor_bytes].map(|it| String::from(ByteSize(it)));
        format!("{free} are free, less than the {floor} that must stay free")
    }
}

/// The disks of one host.
#[derive(Clone)]
pub(crate) struct Disks {
    surroundings: Surroundings,
    /// The data folder and the journal's folder.
    own: [PathBuf; 2],
    /// The runtime's folders that the host can see.
    runtime: Vec<PathBuf>,
    free_bytes_min: u64,
}

impl Disks {
    /// Takes the data folder and the journal's folder as `own`, and those of the runtime's folders that the
    /// host can see.
    pub(crate) fn new(
        surroundings: Surroundings,
        own: [&Path; 2],
        runtime: Vec<PathBuf>,
        free_bytes_min: u64,
    ) -> Self {
        Self {
            surroundings,
            own: own.map(Path::to_owned),
            runtime: runtime.into_iter().filter(|it| it.is_dir()).collect(),
            free_bytes_min,
        }
    }

    /// Checks that every disk has space for work that needs much of it.
    ///
    /// # Errors
    /// [`DiskFullError`] names the first disk without space. A disk that can't be asked is not in the way.
    pub(crate) fn check(&self) -> Result<(), DiskFullError> {
        self.all_have(self.own.iter().chain(&self.runtime), |floor| floor)
    }

    /// Checks that the host's own disks have space for requests that do not free space.
    ///
    /// # Errors
    /// As [`Disks::check`].
    pub(crate) fn check_last(&self) -> Result<(), DiskFullError> {
        self.all_have(self.own.iter(), |floor| floor / LAST_PART)
    }

    /// Checks the same as [`Disks::check_last`], but only for the disk that programs keep their state on.
    ///
    /// # Errors
    /// As [`Disks::check`].
    pub(crate) fn check_data(&self) -> Result<(), DiskFullError> {
        self.all_have(self.own.iter().take(1), |floor| floor / LAST_PART)
    }

    fn all_have<'a>(
        &self,
        mut folders: impl Iterator<Item = &'a PathBuf>,
        part: impl Fn(u64) -> u64,
    ) -> Result<(), DiskFullError> {
        let lacks = |folder: &PathBuf| {
            let DiskSpace {
                all_bytes,
                free_bytes,
            } = self.surroundings.disk_space(folder)?;
            let floor_bytes = part(floor(all_bytes, self.free_bytes_min));
            (free_bytes < floor_bytes).then(|| DiskFullError {
                folder: folder.clone(),
                free_bytes,
                floor_bytes,
            })
        };
        folders.find_map(lacks).map_or(Ok(()), Err)
    }

    /// Returns what must stay free on the disk of the data folder, bytes.
    pub(crate) fn floor_bytes(&self) -> u64 {
        let data = self.own.first();
        let space = data.and_then(|folder| self.surroundings.disk_space(folder));
        space.map_or(0, |space| floor(space.all_bytes, self.free_bytes_min))
    }

    /// Returns what a build may write until the runtime's disk is nearly full, bytes, as far as the host can
    /// see that disk.
    pub(crate) fn left_bytes(&self) -> Option<u64> {
        let space = self
            .surroundings
            .disk_space(self.runtime.first().or(self.own.last())?)?;
        let floor_bytes = floor(space.all_bytes, self.free_bytes_min);
        Some(space.free_bytes.saturating_sub(floor_bytes))
    }

    /// Waits until a disk has no space, and returns which.
    pub(crate) async fn runs_out(&self) -> DiskFullError {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            if let Err(error) = self.check() {
                return error;
            }
        }
    }
}

fn floor(disk_bytes: u64, free_bytes_min: u64) -> u64 {
    free_bytes_min.min(disk_bytes / 100 * FLOOR_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_has_a_small_floor() {
        assert_eq!(floor(100 << 40, FREE_BYTES_MIN), 1 << 30);
        assert_eq!(floor(100 << 20, FREE_BYTES_MIN), 5 << 20);
    }

    #[test]
    fn a_full_disk_is_named_with_what_is_missing() {
        let error = DiskFullError {
            folder: "/var/lib/hersh".into(),
            free_bytes: 12 << 20,
            floor_bytes: 1 << 30,
        };
        let text = error.to_string();
        assert!(
            text.starts_with(
                "only 12MiB are free on the disk of /var/lib/hersh, less than the 1GiB"
            )
        );
    }

    #[test]
    fn a_folder_that_cannot_be_asked_is_not_in_the_way() {
        let disks = Disks::new(
            Surroundings::System,
            [Path::new("/nowhere"); 2],
            vec!["/nowhere".into()],
            FREE_BYTES_MIN,
        );
        assert_eq!(disks.check(), Ok(()));
        assert!(disks.runtime.is_empty());
    }
}
