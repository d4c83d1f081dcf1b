//! Asks the kernel under which a program runs, from inside the sandbox.
//!
//! The probe runs as one more process of the sandbox, once the program runs. runsc itself starts the probe
//! if the machine shows the sandbox's process (`machine.rs`) and its command line tells where runsc keeps
//! its state. That takes 25 ms, a quarter of the time through the engine, and it also shows that the
//! sandbox's control socket answers. In any other case the engine starts the probe.

use std::{process::Stdio, time::Duration};

use bollard::{
    Docker,
    exec::{CreateExecOptions, StartExecResults},
};
use futures_util::StreamExt;
use hersh_base::sandbox::SANDBOX_ID;
use tokio::{io::AsyncReadExt, process::Command};

use super::machine::{ProcessLookup, Sandbox};
use hersh_sandbox::{Contract, Kernel, PROBE_TARGET, Violation};

/// How long the probe may take.
const LOOK: Duration = Duration::from_secs(20);
/// The most that is read of the probe's output, bytes.
const SAID_BYTES: usize = 32 * 1024;

/// The ways to ask the probe, in the words of a receipt.
const THROUGH_RUNSC: &str = "from inside, asked through runsc";
const THROUGH_ENGINE: &str = "from inside, asked through the engine";

/// The reason why the probe could not run.
pub(super) struct ProbeError(pub(super) String);

/// Returns what the probe prints inside a running container, which the machine shows as `lookup`, and the
/// way in which the probe was asked.
pub(super) async fn kernel(
    client: &Docker,
    container: &str,
    lookup: &ProcessLookup,
) -> Result<(String, &'static str), ProbeError> {
    let look = async {
        if let ProcessLookup::Sandbox(sandbox) = lookup
            && let Some(said) = through_runsc(container, sandbox).await
        {
            return Ok((said, THROUGH_RUNSC));
        }
        through_engine(client, container)
            .await
            .map(|said| (said, THROUGH_ENGINE))
            .map_err(|error| ProbeError(error.to_string()))
    };
    tokio::time::timeout(LOOK, look)
        .await
        .unwrap_or_else(|_late| Err(ProbeError("the kernel probe does not end".to_owned())))
}

/// Judges the output of the probe: returns the lines that name the kernel, or a violation.
pub(super) fn judge(asked: Kernel, said: &str) -> Result<String, Violation> {
    let version = said.lines().find(|line| line.starts_with("Linux version "));
    let version = version.unwrap_or("no version").to_owned();
    match asked {
        Kernel::Machine if gvisor_start(said).is_some() => Err(Violation {
            contract: Contract::Gvisor,
            found: format!("gVisor's kernel ({version})"),
            asked: "the machine's own, on a host for development".to_owned(),
        }),
        Kernel::Machine => Ok(version),
        Kernel::Gvisor => gvisor_start(said)
            .map(|start| format!("{start} {version}"))
            .ok_or_else(|| Violation {
                contract: Contract::Gvisor,
                found: format!("a kernel whose log does not name gVisor ({version})"),
                asked: "gVisor's kernel: check what the engine's runtime 'runsc' really runs"
                    .to_owned(),
            }),
    }
}

/// Returns the line with which gVisor's own log begins, from the output of the probe; `None` for any other
/// kernel.
pub(super) fn gvisor_start(said: &str) -> Option<&str> {
    // "<6>[   0.000000] Starting gVisor..."
    let line = said.lines().find(|line| line.contains("gVisor"))?;
    Some(line.split_once("] ").map_or(line, |(_, text)| text))
}

async fn through_runsc(container: &str, sandbox: &Sandbox) -> Option<String> {
    let mut child = Command::new(&sandbox.runsc.path)
        .arg(sandbox.root.as_ref()?)
        .args(["exec", "--user", &format!("{SANDBOX_ID}:{SANDBOX_ID}")])
        .args([container, PROBE_TARGET])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut said = Vec::new();
    let limit = u64::try_from(SAID_BYTES).ok()?;
    let mut output = child.stdout.take()?.take(limit);
    output.read_to_end(&mut said).await.ok()?;
    drop(output);
    let ended = child.wait().await.ok()?;
    ended
        .success()
        .then(|| String::from_utf8_lossy(&said).into_owned())
}

async fn through_engine(
    client: &Docker,
    container: &str,
) -> Result<String, bollard::errors::Error> {
    let user = format!("{SANDBOX_ID}:{SANDBOX_ID}");
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        cmd: Some(vec![PROBE_TARGET]),
        user: Some(user.as_str()),
        ..CreateExecOptions::default()
    };
    let probe = client.create_exec(container, options).await?.id;
    let mut said = Vec::new();
    match client.start_exec(&probe, None).await? {
        StartExecResults::Detached => {}
        StartExecResults::Attached { mut output, .. } => {
            while let Some(piece) = output.next().await {
                said.extend(piece?.into_bytes());
                if said.len() > SAID_BYTES {
                    break;
                }
            }
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: &str = "Linux version 6.18.0 (builder@machine) #1 SMP";
    const GVISOR: &str = "<6>[   0.000000] Starting gVisor...\n<6>[   0.4] Digging up root...\n\
                          Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016";

    #[test]
    fn a_kernel_that_does_not_name_gvisor_breaks_the_contract() {
        for said in [
            LINUX,
            "",
            "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016",
        ] {
            let violation = judge(Kernel::Gvisor, said).unwrap_err();
            assert_eq!(violation.contract, Contract::Gvisor, "{said}");
        }
        let seen = judge(Kernel::Gvisor, GVISOR).unwrap();
        assert!(
            seen.starts_with("Starting gVisor... Linux version 4.4.0"),
            "{seen}"
        );
        assert_eq!(judge(Kernel::Machine, LINUX).unwrap(), LINUX);
    }
}
