//! Kills the processes that a failed start leaves behind.
//!
//! A start that fails inside runsc can leave the gofer and the sandbox of a container that the
//! engine doesn't know any more. Both carry the container's id on their command line.

use std::{fs, path::Path, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

/// How long a killed process may take to vanish.
const VANISH: Duration = Duration::from_secs(2);
const VANISH_POLL: Duration = Duration::from_millis(20);

/// Kills the processes that are left of a removed container, and waits until they are gone.
pub(super) async fn end(container: &str) {
    let container = container.to_owned();
    let gone = async {
        loop {
            let name = container.clone();
            // If the task fails, no process counts as left, as on a machine where /proc is hidden.
            let left = tokio::task::spawn_blocking(move || kill(&name))
                .await
                .unwrap_or(0);
            if left == 0 {
                return;
            }
            tokio::time::sleep(VANISH_POLL).await;
        }
    };
    if tokio::time::timeout(VANISH, gone).await.is_err() {
        tracing::warn!("a sandbox process of a removed container does not end");
    }
}

/// Kills the sandbox processes of `container` and returns how many there were.
fn kill(container: &str) -> usize {
    // A short id could be part of other words on a command line.
    if container.len() != 64 {
        return 0;
    }
    let Ok(entries) = fs::read_dir("/proc") else {
        return 0;
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .filter(|pid| belongs_to(*pid, container))
        .inspect(|pid| {
            // The process may have ended meanwhile, which is what was wanted.
            let _ = kill_process(*pid, Signal::KILL);
        })
        .count()
}

fn belongs_to(pid: Pid, container: &str) -> bool {
    let path = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
    let Ok(line) = fs::read(path.join("cmdline")) else {
        return false;
    };
    let mut words = line.split(|byte| *byte == 0);
    let is_sandbox = matches!(words.next(), Some(b"runsc-sandbox" | b"runsc-gofer"));
    is_sandbox
        && words.any(|word| {
            word == container.as_bytes() || word.ends_with(format!("/{container}").as_bytes())
        })
}
