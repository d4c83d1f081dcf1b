//! The contracts checked once more, on what an engine says that it made.

use hersh_program::{ContainerId, ImageId};
use hersh_wire::ByteSize;

use super::{Contract, Sandbox, Spec, Verified, Violation, rules::check};

/// A real container, told by its engine in this crate's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Which.
    pub container: ContainerId,
    /// What it runs.
    pub image: ImageId,
    /// How it is confined.
    pub sandbox: Sandbox,
}

/// Checks a real container: each contract must hold for it, and its values must be those asked.
///
/// # Errors
/// The first [`Violation`], in the order of [`Contract::ALL`].
pub fn verify(spec: &Spec, inspected: &Inspected) -> Result<Vec<Verified>, Violation> {
    Contract::ALL
        .into_iter()
        .map(|contract| {
            check(
                contract,
                &spec.instance.program,
                spec.mode,
                &inspected.sandbox,
            )?;
            if contract == Contract::OneWritableVolume {
                same_folders(&spec.sandbox, &inspected.sandbox)?;
            }
            let asked = values(contract, &spec.sandbox);
            let found = values(contract, &inspected.sandbox);
            match found
                .iter()
                .zip(&asked)
                .find(|(found, asked)| found != asked)
            {
                Some((found, asked)) => Err(Violation {
                    contract,
                    found: found.clone(),
                    asked: asked.clone(),
                }),
                None => Ok(Verified {
                    contract,
                    values: found,
                }),
            }
        })
        .collect()
}

/// The values name no folder of the machine, which are nothing to the program's owner: so it is
/// compared here what is mounted.
fn same_folders(asked: &Sandbox, found: &Sandbox) -> Result<(), Violation> {
    let pairs = asked.mounts.iter().zip(&found.mounts);
    let mut other = pairs.filter(|(asked, found)| asked.source != found.source);
    match other.next() {
        Some((asked, _)) => Err(Violation {
            contract: Contract::OneWritableVolume,
            found: format!("another folder of the machine at {}", asked.target),
            asked: "the program's own".to_owned(),
        }),
        None => Ok(()),
    }
}

/// What a sandbox says about one contract. The number of values is the same for every sandbox, so
/// that two can be compared one by one; between them they cover every field of [`Sandbox`].
fn values(contract: Contract, sandbox: &Sandbox) -> Vec<String> {
    match contract {
        Contract::Gvisor => vec![format!("runtime {}", sandbox.runtime)],
        Contract::ReadOnlyRoot => vec![format!("root read-only {}", sandbox.read_only)],
        Contract::OneWritableVolume => {
            let mounts = sandbox.mounts.iter().map(|mount| {
                let access = if mount.writable { "rw" } else { "ro" };
                format!("{}:{access}", mount.target)
            });
            let tmpfs = sandbox.tmpfs.iter().map(|tmpfs| {
                let access = if tmpfs.writable { "rw" } else { "ro" };
                format!("{}:{}:{access}", tmpfs.target, size(tmpfs.size_bytes))
            });
            vec![
                list("mounts", mounts.collect()),
                list("memory file systems", tmpfs.collect()),
            ]
        }
        Contract::NoPublishedPort => vec![list("published ports", sandbox.ports.clone())],
        Contract::Network => vec![
            list("network", sandbox.networks.clone()),
            list("name servers", sandbox.dns.clone()),
        ],
        Contract::Privileges => {
            let spaces = &sandbox.namespaces;
            vec![
                format!("user {}", sandbox.user),
                format!("privileged {}", sandbox.privileged),
                list("capabilities dropped", sandbox.cap_drop.clone()),
                list("capabilities added", sandbox.cap_add.clone()),
                list("security options", sandbox.security_opt.clone()),
                list("devices", sandbox.devices.clone()),
                format!(
                    "namespaces pid {}, ipc {}, uts {}, user {}, cgroup {}",
                    spaces.pid, spaces.ipc, spaces.uts, spaces.user, spaces.cgroup
                ),
                format!("restart by the engine {}", sandbox.engine_restart),
                format!("init {}", sandbox.init),
                list("other settings", sandbox.extras.clone()),
            ]
        }
        Contract::Limits => vec![
            format!("memory {}", size(sandbox.memory_bytes)),
            format!("memory and swap {}", size(sandbox.memory_swap_bytes)),
            format!("processor {}", cores(sandbox.cpu_millis)),
            match sandbox.processes {
                Some(processes) => format!("processes {processes}"),
                None => "processes as threads on the machine's kernel".to_owned(),
            },
            format!("threads on the machine's kernel {}", sandbox.pids),
            format!("engine log {}", size(sandbox.log_bytes)),
        ],
    }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).into()
}

fn cores(millis: u32) -> String {
    match millis {
        1_000 => "1 core".to_owned(),
        millis => format!("{} cores", f64::from(millis) / 1_000.0),
    }
}

fn list(name: &str, items: Vec<String>) -> String {
    if items.is_empty() {
        format!("{name} none")
    } else {
        format!("{name} {}", items.join(" "))
    }
}
