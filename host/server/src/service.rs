//! Tells a service manager that the host serves, lives, and ends (systemd's `sd_notify`).
//!
//! ```text
//! READY=1 once it listens ─► WATCHDOG=1 again and again ─► STOPPING=1 when it was asked to end
//! ```
//!
//! Without systemd (`NOTIFY_SOCKET` unset) all of this does nothing.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use tokio::time::MissedTickBehavior;

const SOCKET: &str = "NOTIFY_SOCKET";
/// The shortest interval between signs of life. An interval of zero would be a defect of whoever set it.
const SIGN_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Tells that serving begins at `url`.
pub(crate) fn serving(url: &str) {
    tell(&format!("READY=1\nSTATUS=serving on {url}\n"));
}

/// Tells that the end begins; work that is under way may still finish.
pub(crate) fn ending() {
    tell("STOPPING=1\n");
}

/// Shows signs of life for as long as this future is polled: two in the time after which systemd, if it
/// watches, takes the host for dead. A tokio runtime that gives no task its turn shows none.
pub(crate) async fn live() {
    let variable = |name: &str| std::env::var(name).ok();
    let watched = patience(
        variable("WATCHDOG_USEC").as_deref(),
        variable("WATCHDOG_PID").as_deref(),
        std::process::id(),
    );
    let Some(patience) = watched else {
        return;
    };
    let mut signs = tokio::time::interval((patience / 2).max(SIGN_INTERVAL_MIN));
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        signs.tick().await;
        tell("WATCHDOG=1\n");
    }
}

/// Returns how long systemd waits for a sign of life; `None` if it does not, or watches another process.
fn patience(microseconds: Option<&str>, watched: Option<&str>, us: u32) -> Option<Duration> {
    if watched.is_some_and(|process| process != us.to_string()) {
        return None;
    }
    let microseconds: u64 = microseconds?.parse().ok()?;
    (microseconds > 0).then(|| Duration::from_micros(microseconds))
}

fn tell(state: &str) {
    let Some(socket) = std::env::var_os(SOCKET) else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, "the service manager can't be told");
    }
}

/// Sends a message and never waits: a service manager that does not listen must not make the host stand
/// still.
fn send(socket: &OsString, state: &str) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    datagram.set_nonblocking(true)?;
    datagram.connect_addr(&address(socket)?)?;
    datagram.send(state.as_bytes()).map(drop)
}

/// Reads an address: a path, or with `@` in front a name in the kernel's own table.
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_life_is_due_only_for_the_process_that_is_watched() {
        for (microseconds, process, expected) in [
            (Some("30000000"), None, Some(Duration::from_secs(30))),
            (Some("30000000"), Some("7"), Some(Duration::from_secs(30))),
            (Some("30000000"), Some("8"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
            (None, Some("7"), None),
        ] {
            assert_eq!(
                patience(microseconds, process, 7),
                expected,
                "{microseconds:?}"
            );
        }
    }

    #[test]
    fn a_socket_is_a_path_or_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("@hersh-test-{}", std::process::id());
        let abstract_address = address(OsStr::new(&name)).unwrap();
        let by_name = UnixDatagram::bind_addr(&abstract_address).unwrap();
        for (socket, listener) in [(path.into_os_string(), by_path), (name.into(), by_name)] {
            send(&socket, "READY=1\n").unwrap();
            let mut buffer = [0; 16];
            let length = listener.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1\n");
        }
    }

    #[test]
    fn a_manager_that_does_not_listen_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let deaf = UnixDatagram::bind(&path).unwrap();
        let full = std::iter::repeat_with(|| send(&path.clone().into(), "WATCHDOG=1\n"))
            .take(100_000)
            .find_map(Result::err);
        assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
        drop(deaf);
    }
}
