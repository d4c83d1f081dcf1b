//! A host as a service: what it tells systemd, and that it lives with what the unit leaves it.

use std::{
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use crate::support::{self, PATIENCE, shell_program};

const UNIT: &str = include_str!("../../../deploy/hersh-host.service");

/// The value of a line of the unit.
fn of_unit(key: &str) -> &'static str {
    let line = UNIT
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("the unit says nothing of {key}"))
}

/// A host that is started as the unit says, as far as a test can do what systemd does.
struct Service {
    process: Child,
    told: mpsc::Receiver<String>,
    data: std::path::PathBuf,
}

impl Service {
    fn start(folder: &Path) -> Self {
        let socket = folder.join("notify");
        let listener = UnixDatagram::bind(&socket).unwrap();
        let (hears, told) = mpsc::channel();
        // Ends with the test, when nobody listens to it any more.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = listener.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if hears.send(text).is_err() {
                    break;
                }
            }
        });
        let powers: Vec<String> = of_unit("CapabilityBoundingSet")
            .split_whitespace()
            .map(|power| power.trim_start_matches("CAP_").to_ascii_lowercase())
            .collect();
        assert_eq!(of_unit("NoNewPrivileges"), "yes");
        let data = folder.join("data");
        assert_eq!(of_unit("ProtectKernelTunables"), "yes");
        // /sys as the unit leaves it, in a mount namespace of the host's own: the folders that are
        // named stay writable under a read-only /sys.
        let kept = of_unit("ReadWritePaths").split_whitespace();
        let kept: String = kept
            .filter(|path| path.starts_with("/sys/"))
            .map(|path| format!("mount --bind {path} {path} && "))
            .collect();
        let mounts = format!("{kept}mount -o remount,bind,ro /sys && exec \"$@\"");
        let process = Command::new("unshare")
            .args(["--mount", "sh", "-c", &mounts, "-", "setpriv"])
            .arg(format!("--bounding-set=-all,+{}", powers.join(",+")))
            .args(["--no-new-privs", "--"])
            .arg(env!("CARGO_BIN_EXE_hersh"))
            .args(["host", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            .arg("--engine")
            .arg(support::engine())
            .env("NOTIFY_SOCKET", socket)
            .env("WATCHDOG_USEC", "200000")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            process,
            told,
            data,
        }
    }

    /// Waits until the host tells this; what else it told meanwhile.
    fn until(&self, what: &str) -> (String, Vec<String>) {
        let mut before = Vec::new();
        loop {
            let told = self.told.recv_timeout(PATIENCE).expect(what);
            if told.lines().any(|line| line == what) {
                return (told, before);
            }
            before.push(told);
        }
    }

    fn hersh(&self, address: &str, arguments: &[&str]) -> std::process::Output {
        support::hersh()
            .args(["--host", address, "--token-file"])
            .arg(self.data.join("admin-token"))
            .args(arguments)
            .output()
            .unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_host_with_the_units_powers_runs_programs() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(folder.path());
    let (ready, before) = service.until("READY=1");
    assert!(
        before.iter().all(|told| told.trim() == "WATCHDOG=1"),
        "{before:?}"
    );
    let address = ready
        .lines()
        .find_map(|line| line.strip_prefix("STATUS=serving on "))
        .expect(&ready);
    for _ in 0..3 {
        service.until("WATCHDOG=1");
    }

    let manifest = "[readiness]\nkind = \"none\"\n[timeouts]\nstop = \"1s\"\n";
    let program = shell_program("serviced", "sleep 3600", manifest);
    for arguments in [
        &["deploy", program.path()][..],
        &["restart", "serviced"],
        &["rm", "serviced"],
    ] {
        let output = service.hersh(address, arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            support::told(&output)
        );
    }
    let pid = service.process.id().to_string();
    let asked = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(asked.success());
    service.until("STOPPING=1");
    assert!(service.process.wait().unwrap().success());
}

#[test]
fn the_watchdog_gives_a_busy_host_time() {
    let seconds: u64 = of_unit("WatchdogSec").parse().unwrap();
    assert!(Duration::from_secs(seconds) >= Duration::from_secs(10));
    assert_eq!(of_unit("Type"), "notify");
    assert_eq!(of_unit("ExecReload"), "/bin/kill -HUP $MAINPID");
}
