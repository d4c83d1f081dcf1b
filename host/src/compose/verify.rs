//! The contracts checked once more, on what an engine says that it made.

use hersh_program::{ContainerId, ImageId};

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
            check(contract, &spec.program, spec.mode, &inspected.sandbox)?;
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

/// What a sandbox says about one contract. The number of values is the same for every sandbox, so
/// that two can be compared one by one; between them they cover every field of [`Sandbox`].
fn values(contract: Contract, sandbox: &Sandbox) -> Vec<String> {
    match contract {
        Contract::Gvisor => vec![format!("runtime {}", sandbox.runtime)],
        Contract::ReadOnlyRoot => vec![format!("root read-only {}", sandbox.read_only)],
        Contract::OneWritableVolume => {
            let mounts = sandbox.mounts.iter().map(|mount| {
                let access = if mount.writable { "rw" } else { "ro" };
                format!("{}:{}:{access}", mount.source.display(), mount.target)
            });
            let tmpfs = sandbox.tmpfs.iter().map(|tmpfs| {
                let access = if tmpfs.writable { "rw" } else { "ro" };
                format!("{}:{} bytes:{access}", tmpfs.target, tmpfs.size_bytes)
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
                list("other settings", sandbox.extras.clone()),
            ]
        }
        Contract::Limits => vec![
            format!("memory {} bytes", sandbox.memory_bytes),
            format!("memory and swap {} bytes", sandbox.memory_swap_bytes),
            format!("processor {} thousandths", sandbox.cpu_millis),
            format!("processes {}", sandbox.pids),
            format!("engine log {} bytes", sandbox.log_bytes),
        ],
    }
}

fn list(name: &str, items: Vec<String>) -> String {
    if items.is_empty() {
        format!("{name} none")
    } else {
        format!("{name} {}", items.join(" "))
    }
}
