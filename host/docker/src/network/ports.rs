//! Isolates the ports of a bridge from each other. Each sandbox on the bridge has one port.
//!
//! Sandboxes come and go on the same bridge, so a listed port may be gone when it is looked at. That is no
//! failure of the start that isolates the ports. But the port may also only have got another name, and
//! would then not be isolated. So the list is read again until one round finds every port that it lists.

use std::{
    io::{self, ErrorKind},
    path::Path,
    time::Duration,
};

use rustix::io::Errno;

/// The most rounds of reading the list. A round is short, so a port seldom ends within one. If a listed
/// port is never found, the kernel lacks the switch.
const ROUNDS_MAX: usize = 100;
/// The rest between two rounds. A port that ends vanishes from the list soon.
const REST: Duration = Duration::from_millis(2);

/// Isolates every port of the bridge from every other one, whatever protocol the sandboxes speak. The host
/// itself is no port. `ports` is the folder in which the kernel lists the ports. Blocks.
///
/// # Errors
/// The kernel's error for a port that is there.
pub(super) fn isolate(ports: &Path) -> io::Result<()> {
    in_rounds(|| {
        let mut left = Ok(());
        for port in std::fs::read_dir(ports)? {
            match port.and_then(|port| isolate_one(&port.path().join("isolated"))) {
                Err(error) if is_gone(&error) => left = Err(error),
                done => done?,
            }
        }
        Ok(left)
    })
}

/// Repeats a round until everything that the round listed is found.
fn in_rounds(mut round: impl FnMut() -> io::Result<io::Result<()>>) -> io::Result<()> {
    for _ in 1..ROUNDS_MAX {
        if round()?.is_ok() {
            return Ok(());
        }
        std::thread::sleep(REST);
    }
    round()?
}

fn isolate_one(switch: &Path) -> io::Result<()> {
    if std::fs::read(switch)?.starts_with(b"1") {
        return Ok(());
    }
    std::fs::write(switch, "1")
}

/// Returns whether an error says that an object of the kernel, which was there a moment ago, is gone: its
/// file is gone, or the file answers without the object behind it.
fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NODEV, Errno::NXIO, Errno::INVAL];
    error.kind() == ErrorKind::NotFound
        || Errno::from_io_error(error).is_some_and(|it| gone.contains(&it))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn port(ports: &Path, name: &str, isolated: &str) -> std::path::PathBuf {
        let folder = ports.join(name);
        fs::create_dir(&folder).unwrap();
        let switch = folder.join("isolated");
        fs::write(&switch, isolated).unwrap();
        switch
    }

    #[test]
    fn every_port_is_isolated() {
        let ports = tempfile::tempdir().unwrap();
        let (open, closed) = (
            port(ports.path(), "a", "0\n"),
            port(ports.path(), "b", "1\n"),
        );
        isolate(ports.path()).unwrap();
        assert_eq!(fs::read(open).unwrap(), b"1");
        assert_eq!(fs::read(closed).unwrap(), b"1\n");
    }

    #[test]
    fn a_port_that_ends_while_it_is_looked_at_fails_nothing() {
        for errno in [Errno::NODEV, Errno::NXIO, Errno::INVAL, Errno::NOENT] {
            let mut rounds = 0;
            let result = in_rounds(|| {
                rounds += 1;
                let is_gone_now = rounds == 1 && is_gone(&errno.into());
                Ok(if is_gone_now {
                    Err(errno.into())
                } else {
                    Ok(())
                })
            });
            assert_eq!((result.is_ok(), rounds), (true, 2), "{errno}");
        }
        assert!(!is_gone(&Errno::ACCESS.into()));
    }

    #[test]
    fn a_port_that_can_not_be_isolated_is_an_error() {
        let ports = tempfile::tempdir().unwrap();
        fs::create_dir(ports.path().join("without-a-switch")).unwrap();
        let error = isolate(ports.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let missing = ports.path().join("no-bridge");
        assert!(isolate(&missing).is_err());
    }
}
