//! Checks the contracts on a sandbox: on one that is asked for, before it is created, or on one that was found.

use std::path::{Component, Path};

use hersh_base::sandbox::SANDBOX_ID;
use hersh_program::{NetworkMode, ProgramId};

use super::{
    Contract, ENGINE_DEFAULT, MEMORY_FOLDERS, PROBE_TARGET, RuntimeMode, Sandbox, Spec, Violation,
    spec::NO_NAME_SERVER,
};

/// The least memory in which a sandbox starts, bytes.
pub const MIN_MEMORY_BYTES: u64 = 16 * 1024 * 1024;

/// The fewest processes and threads that a manifest may ask for: enough for a shell that starts
/// others, and for a language that brings threads of its own.
pub const MIN_PIDS: u32 = 16;

/// Checks what would run, contract by contract.
///
/// # Errors
/// The first [`Violation`], in the order of [`Contract::ALL`].
pub fn validate(spec: &Spec) -> Result<(), Violation> {
    Contract::ALL
        .into_iter()
        .try_for_each(|contract| check(contract, &spec.instance.program, spec.mode, &spec.sandbox))
}

/// Checks one contract of a sandbox, whether asked for or found.
pub(super) fn check(
    contract: Contract,
    program: &ProgramId,
    mode: RuntimeMode,
    sandbox: &Sandbox,
) -> Result<(), Violation> {
    match contract {
        Contract::Gvisor => gvisor(mode, sandbox),
        Contract::ReadOnlyRoot => read_only_root(sandbox),
        Contract::OneWritableVolume => {
            mounts(program, sandbox)?;
            tmpfs(sandbox)
        }
        Contract::NoPublishedPort => empty(contract, "published port", &sandbox.ports),
        Contract::Network => network(sandbox),
        Contract::Privileges => privileges(sandbox),
        Contract::Limits => limits(mode, sandbox),
    }
}

fn gvisor(mode: RuntimeMode, sandbox: &Sandbox) -> Result<(), Violation> {
    let (fits, asked) = match mode {
        // A machine can have several registrations of it, told apart by a suffix.
        RuntimeMode::Runsc => (
            sandbox.runtime == "runsc" || sandbox.runtime.starts_with("runsc-"),
            "runsc",
        ),
        RuntimeMode::RuncForDevelopment => (sandbox.runtime == "runc", "runc"),
    };
    ensure(
        Contract::Gvisor,
        fits,
        || format!("runtime {}", sandbox.runtime),
        || format!("runtime {asked}"),
    )
}

fn read_only_root(sandbox: &Sandbox) -> Result<(), Violation> {
    ensure(
        Contract::ReadOnlyRoot,
        sandbox.read_only,
        || "a writable root file system".to_owned(),
        || "a read-only one".to_owned(),
    )
}

fn mounts(program: &ProgramId, sandbox: &Sandbox) -> Result<(), Violation> {
    let own_state = Path::new(program.as_str()).join("state");
    let mut has_state = false;
    for mount in &sandbox.mounts {
        let fits = match mount.target.as_str() {
            "/state" if !has_state => {
                has_state = true;
                mount.writable && mount.source.ends_with(&own_state)
            }
            PROBE_TARGET => !mount.writable,
            _other => false,
        };
        ensure(
            Contract::OneWritableVolume,
            fits && is_plain(&mount.source),
            || {
                let access = if mount.writable {
                    "writable"
                } else {
                    "read-only"
                };
                let folder = if mount.source.ends_with(&own_state) {
                    "its state folder"
                } else {
                    "another folder of the machine"
                };
                format!("{folder} at {}, {access}", mount.target)
            },
            || {
                format!(
                    "the program's own state folder at /state, writable, and a read-only {PROBE_TARGET}"
                )
            },
        )?;
    }
    ensure(
        Contract::OneWritableVolume,
        has_state,
        || "no /state".to_owned(),
        || "the program's state folder at /state".to_owned(),
    )
}

fn tmpfs(sandbox: &Sandbox) -> Result<(), Violation> {
    for tmpfs in &sandbox.tmpfs {
        ensure(
            Contract::OneWritableVolume,
            tmpfs.writable && tmpfs.inert && tmpfs.size_bytes > 0,
            || format!("{tmpfs:?}"),
            || "a writable and bounded one with nosuid, nodev and noexec".to_owned(),
        )?;
    }
    let targets: Vec<&str> = sandbox
        .tmpfs
        .iter()
        .map(|one| one.target.as_str())
        .collect();
    ensure(
        Contract::OneWritableVolume,
        targets == MEMORY_FOLDERS,
        || format!("file systems in memory at {targets:?}"),
        || format!("exactly one at each of {MEMORY_FOLDERS:?}"),
    )
}

fn network(sandbox: &Sandbox) -> Result<(), Violation> {
    let (known, name_servers) = match sandbox.network() {
        Some(NetworkMode::Internal | NetworkMode::None) => (true, NO_NAME_SERVER),
        Some(NetworkMode::Egress) => (true, ""),
        None => (false, ""),
    };
    ensure(
        Contract::Network,
        known,
        || format!("networks {:?}", sandbox.networks),
        || "one of internal, none and egress".to_owned(),
    )?;
    exactly(
        Contract::Network,
        "name servers",
        &sandbox.dns,
        name_servers,
    )
}

fn privileges(sandbox: &Sandbox) -> Result<(), Violation> {
    const CONTRACT: Contract = Contract::Privileges;
    ensure(
        CONTRACT,
        !sandbox.privileged,
        || "a privileged container".to_owned(),
        || "an unprivileged one".to_owned(),
    )?;
    empty(CONTRACT, "added capability", &sandbox.cap_add)?;
    exactly(CONTRACT, "dropped capabilities", &sandbox.cap_drop, "ALL")?;
    let options = &sandbox.security_opt;
    exactly(CONTRACT, "security options", options, "no-new-privileges")?;
    empty(CONTRACT, "device", &sandbox.devices)?;
    empty(CONTRACT, "setting", &sandbox.extras)?;
    let asked = format!("{SANDBOX_ID}:{SANDBOX_ID}");
    same(CONTRACT, "user", &sandbox.user, &asked)?;
    let spaces = &sandbox.namespaces;
    same(CONTRACT, "process namespace", &spaces.pid, "private")?;
    same(CONTRACT, "ipc namespace", &spaces.ipc, "none")?;
    same(CONTRACT, "host name namespace", &spaces.uts, "private")?;
    same(CONTRACT, "user namespace", &spaces.user, ENGINE_DEFAULT)?;
    same(
        CONTRACT,
        "control group namespace",
        &spaces.cgroup,
        "private",
    )?;
    same(
        CONTRACT,
        "restart policy of the engine",
        &sandbox.engine_restart,
        "no",
    )
}

fn limits(mode: RuntimeMode, sandbox: &Sandbox) -> Result<(), Violation> {
    let tmp_bytes = sandbox.tmpfs.iter().map(|tmpfs| tmpfs.size_bytes).sum();
    let processes = match mode {
        RuntimeMode::Runsc => sandbox.processes.unwrap_or(0),
        RuntimeMode::RuncForDevelopment => sandbox.pids,
    };
    for (name, found, least) in [
        ("bytes of memory", sandbox.memory_bytes, MIN_MEMORY_BYTES),
        (
            "thousandths of a processor",
            u64::from(sandbox.cpu_millis),
            1,
        ),
        ("processes", u64::from(processes), u64::from(MIN_PIDS)),
        // A number that the engine does not bound reads as 0.
        (
            "threads on the machine's kernel",
            u64::from(sandbox.pids),
            u64::from(processes),
        ),
        ("bytes of temporary space", tmp_bytes, 1),
        ("bytes of log", sandbox.log_bytes, 1),
    ] {
        ensure(
            Contract::Limits,
            found >= least,
            || format!("{found} {name}"),
            || format!("at least {least}"),
        )?;
    }
    ensure(
        Contract::Limits,
        sandbox.memory_swap_bytes == sandbox.memory_bytes,
        || format!("{} bytes of memory and swap", sandbox.memory_swap_bytes),
        || format!("{}: no swap", sandbox.memory_bytes),
    )
}

/// True for an absolute path without `..`.
fn is_plain(path: &Path) -> bool {
    path.is_absolute()
        && path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

fn empty(contract: Contract, name: &str, found: &[String]) -> Result<(), Violation> {
    ensure(
        contract,
        found.is_empty(),
        || format!("{name} {}", found.join(", ")),
        || format!("no {name}"),
    )
}

fn exactly(contract: Contract, name: &str, found: &[String], asked: &str) -> Result<(), Violation> {
    same(contract, name, &found.join(", "), asked)
}

fn same(contract: Contract, name: &str, found: &str, asked: &str) -> Result<(), Violation> {
    ensure(
        contract,
        found == asked,
        || format!("{name} {found:?}"),
        || format!("{asked:?}"),
    )
}

fn ensure(
    contract: Contract,
    holds: bool,
    found: impl FnOnce() -> String,
    asked: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds {
        return Ok(());
    }
    Err(Violation {
        contract,
        found: found(),
        asked: asked(),
    })
}
