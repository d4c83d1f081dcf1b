//! Reads from the kernel's log of this machine what the engine does not tell of a container.
//!
//! The engine counts a container's threads, but never says that one was refused. The control group that
//! would show it is removed with the container. The kernel writes one line into its log for the first
//! refusal in a group.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::OFlags;

/// The longest record of the log that is read, bytes.
const RECORD_BYTES: usize = 8 * 1024;
/// The most records that are read: more than a kernel keeps.
const RECORDS_MAX: usize = 200_000;
/// The text that the kernel writes before the name of the group.
const REFUSED: &str = "fork rejected by pids controller in ";

/// Returns whether the kernel refused a thread to the container. False if the log can't be read.
pub(super) async fn refused_threads(container: &str) -> bool {
    let container = container.to_owned();
    let looked = tokio::task::spawn_blocking(move || {
        open(Path::new("/dev/kmsg")).is_some_and(|log| tells(log, &container))
    });
    looked.await.unwrap_or(false)
}

/// Opens the log so that a read does not wait for records that the kernel has not written yet.
fn open(path: &Path) -> Option<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).ok()?;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()
}

/// Searches the log for a refusal. Each read returns one record. For a record that was overwritten
/// meanwhile, the read fails with an error of its own.
fn tells(mut log: impl Read, container: &str) -> bool {
    let mut record = vec![0; RECORD_BYTES];
    for _ in 0..RECORDS_MAX {
        match log.read(&mut record) {
            Ok(0) => return false,
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                let group = text.split_once(REFUSED).map(|(_, group)| group);
                if group.is_some_and(|group| group.contains(container)) {
                    return true;
                }
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log that returns one record for each read.
    struct Log(Vec<&'static str>);

    impl Read for Log {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let Some(record) = self.0.pop() else {
                return Err(ErrorKind::WouldBlock.into());
            };
            if record.is_empty() {
                return Err(ErrorKind::BrokenPipe.into());
            }
            buffer[..record.len()].copy_from_slice(record.as_bytes());
            Ok(record.len())
        }
    }

    #[test]
    fn a_refusal_counts_for_the_container_that_it_names() {
        let log = || {
            Log(vec![
                "6,1,1,-;cgroup: fork rejected by pids controller in /docker/abc\n",
                "",
                "6,2,2,-;eth0 of abd is up\n",
            ])
        };
        assert!(tells(log(), "abc"));
        assert!(!tells(log(), "abd"));
    }
}
