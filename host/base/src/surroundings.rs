//! What a host takes from outside: the time, randomness, threads for work that blocks, and how much
//! space the disks have.
//!
//! A host that serves takes them from the system. A simulated one takes the time from tokio's
//! clock, randomness from a seed, does blocking work in place, and has the disk space that a test sets:
//! the same seed gives the same trace.

use std::path::Path;

use hersh_machine::driver::{Clock, SystemClock};
use tokio::task::JoinError;

/// The source from which a host takes time, randomness and threads. Clones share one source.
#[derive(Clone)]
pub enum Surroundings {
    /// The operating system.
    System,
    /// A seed and tokio's clock.
    #[cfg(any(test, feature = "testkit"))]
    Simulated(std::sync::Arc<simulated::Simulated>),
}

impl Surroundings {
    /// Returns a random number.
    ///
    /// # Errors
    /// Fails when the system gives no random number.
    pub fn random(&self) -> Result<u64, getrandom::Error> {
        match self {
            Self::System => getrandom::u64(),
            #[cfg(any(test, feature = "testkit"))]
            Self::Simulated(simulated) => Ok(simulated.random()),
        }
    }

    /// Does `work`, which may block, on a thread for such work.
    ///
    /// # Errors
    /// [`JoinError`] if the work panics, or if tokio's runtime ends before the work began.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        match self {
            Self::System => tokio::task::spawn_blocking(work).await,
            #[cfg(any(test, feature = "testkit"))]
            Self::Simulated(_) => Ok(work()),
        }
    }
}

/// The size of a disk and how much of it is free, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// The size of the disk.
    pub all_bytes: u64,
    /// The space that is free for a user without privileges.
    pub free_bytes: u64,
}

impl Surroundings {
    /// Returns the size and free space of the disk that `folder` is on; `None` if the system does not tell.
    pub fn disk_space(&self, folder: &Path) -> Option<DiskSpace> {
        match self {
            Self::System => {
                let disk = rustix::fs::statvfs(folder).ok()?;
                let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
                Some(DiskSpace {
                    all_bytes: bytes(disk.f_blocks),
                    free_bytes: bytes(disk.f_bavail),
                })
            }
            #[cfg(any(test, feature = "testkit"))]
            Self::Simulated(simulated) => Some(simulated.disk_space()),
        }
    }
}

/// The size of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MachineSize {
    /// The size of its memory.
    pub memory_bytes: u64,
    /// The number of its processors.
    pub cpus: u64,
}

impl Surroundings {
    /// Returns the size of the machine that programs run on; `None` if it can't be read.
    pub fn machine(&self) -> Option<MachineSize> {
        match self {
            Self::System => {
                let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
                let cpus = std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
                MachineSize::read(&memory, &cpus)
            }
            #[cfg(any(test, feature = "testkit"))]
            Self::Simulated(_) => None,
        }
    }
}

impl MachineSize {
    /// Reads the size from what the kernel says of the whole machine, not from what this process may use of
    /// it: `MemTotal` in KiB, and processors as ranges such as `0-3,8`.
    fn read(memory: &str, cpus: &str) -> Option<Self> {
        let line = memory.lines().find_map(|it| it.strip_prefix("MemTotal:"))?;
        let memory_kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        let count = |range: &str| -> Option<u64> {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            Some(last.checked_sub(first)? + 1)
        };
        let cpus: Option<u64> = cpus.trim().split(',').map(count).sum();
        Some(Self {
            memory_bytes: memory_kib.saturating_mul(1_024),
            cpus: cpus?,
        })
    }
}

impl Clock for Surroundings {
    /// Returns the time in milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64 {
        match self {
            Self::System => SystemClock.now_ms(),
            #[cfg(any(test, feature = "testkit"))]
            Self::Simulated(simulated) => simulated.now_ms(),
        }
    }
}

#[cfg(any(test, feature = "testkit"))]
pub mod simulated {
    //! A clock, randomness and disks that a seed and a test decide.

    use std::sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    };

    use hersh_machine::{
        SplitMix64,
        driver::{Clock, TokioClock},
    };

    use super::{DiskSpace, Surroundings};

    /// The time at which simulated time begins unless a test sets another one: 2026-01-01, milliseconds since
    /// the Unix epoch.
    pub const BEGINS_MS: u64 = 1_767_225_600_000;
    /// The size of a simulated disk, bytes.
    const DISK_BYTES: u64 = 1 << 40;

    /// The clock, randomness and disks of a simulated host.
    pub struct Simulated {
        begins_ms: AtomicU64,
        elapsed: TokioClock,
        random: Mutex<SplitMix64>,
        is_disk_full: AtomicBool,
    }

    impl Simulated {
        pub(super) fn random(&self) -> u64 {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            random.next_u64()
        }

        pub(super) fn now_ms(&self) -> u64 {
            self.begins_ms.load(Ordering::Relaxed) + self.elapsed.now_ms()
        }

        pub(super) fn disk_space(&self) -> DiskSpace {
            let is_full = self.is_disk_full.load(Ordering::Relaxed);
            DiskSpace {
                all_bytes: DISK_BYTES,
                free_bytes: if is_full { 0 } else { DISK_BYTES },
            }
        }

        /// Sets the clock, milliseconds since the Unix epoch. It may jump back.
        pub fn set_clock(&self, now_ms: u64) {
            let begins_ms = now_ms.saturating_sub(self.elapsed.now_ms());
            self.begins_ms.store(begins_ms, Ordering::Relaxed);
        }

        /// Sets whether the disks are full from now on.
        pub fn set_disk_full(&self, is_full: bool) {
            self.is_disk_full.store(is_full, Ordering::Relaxed);
        }
    }

    impl Surroundings {
        /// Returns surroundings that take randomness from `seed` and the time from tokio's clock, which
        /// counts on from `begins_ms`, milliseconds since the Unix epoch.
        pub fn simulated(seed: u64, begins_ms: u64) -> Self {
            Self::Simulated(Arc::new(Simulated {
                begins_ms: AtomicU64::new(begins_ms),
                elapsed: TokioClock::starting_at(0),
                random: Mutex::new(SplitMix64::new(seed)),
                is_disk_full: AtomicBool::new(false),
            }))
        }

        /// Returns the simulated surroundings, so that a test can change their clock and disks; `None` if
        /// these are the system's.
        pub fn as_simulated(&self) -> Option<&Simulated> {
            match self {
                Self::System => None,
                Self::Simulated(simulated) => Some(simulated),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_as_large_as_its_kernel_says() {
        let memory = "MemTotal:        8142404 kB\nMemFree: 1 kB\n";
        for (cpus, expected) in [("0\n", 1), ("0-3\n", 4), ("0-3,8,10-11\n", 7)] {
            let size = MachineSize::read(memory, cpus).unwrap();
            assert_eq!((size.memory_bytes, size.cpus), (8_142_404 << 10, expected));
        }
        for (memory, cpus) in [
            ("", "0"),
            (memory, ""),
            (memory, "3-1"),
            ("MemTotal: x", "0"),
        ] {
            assert_eq!(MachineSize::read(memory, cpus), None);
        }
        assert!(Surroundings::System.machine().is_some());
    }
}
