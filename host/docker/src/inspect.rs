//! Reads a real container into the properties that the contracts are about.
//!
//! A setting without a property that differs from what an engine does by itself becomes one of the other
//! settings, so that one that nobody thought of is seen and not skipped.

mod other_settings;

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use self::other_settings::other_settings;
use super::create::{EngineNames, NO_NAME_SERVER, PROCESSES, tmpfs};
use bollard::models::{
    ContainerInspectResponse, HostConfig, HostConfigCgroupnsModeEnum, ResourcesUlimits,
};
use hersh_program::NetworkMode;
use hersh_sandbox::{
    Kernel, Spec,
    property::{
        Access, Bound, FirstProcess, Folder, MemoryFolder, NameServers, NetworkReach, Property,
        Source,
    },
};

/// Returns how a container is confined, as the engine says: one property of each name. Two can be
/// missing: the mount points, which only the image shows, and the bound on processes if there is none.
/// `mode` is what the network in `names` promises; the caller has checked that it does.
pub(super) fn properties(
    inspected: &ContainerInspectResponse,
    spec: &Spec,
    names: &EngineNames<'_>,
    mode: NetworkMode,
) -> Vec<Property> {
    let empty = HostConfig::default();
    let config = inspected.host_config.as_ref().unwrap_or(&empty);
    let user = inspected.config.as_ref().and_then(|it| it.user.clone());
    let mut properties = vec![
        Property::Kernel(kernel(config, spec, names)),
        Property::RootFileSystem(match config.readonly_rootfs {
            Some(true) => Access::ReadOnly,
            Some(false) | None => Access::Writable,
        }),
        Property::Folders(folders(inspected, spec, names)),
        Property::MemoryFolders(memory_folders(config)),
        Property::PublishedPorts(ports(inspected, config)),
        Property::Network(reach(inspected, config, names, mode)),
        Property::NameServers(name_servers(config)),
        Property::User(user.unwrap_or_default()),
        Property::Capabilities(capabilities(config)),
        Property::NewPrivileges(!is_set(config, NO_NEW_PRIVILEGES)),
        Property::Devices(devices(config)),
        Property::SharedNamespaces(shared_namespaces(config)),
        Property::RestartedBy(restarted_by(config)),
        Property::FirstProcess(match config.init {
            Some(true) => FirstProcess::Init,
            Some(false) | None => FirstProcess::Program,
        }),
        Property::OtherSettings(other_settings(config)),
        Property::Memory(Bound::of(unsigned(config.memory))),
        Property::Swap(swap(config)),
        Property::Processor(u32::try_from(unsigned(config.nano_cpus) / 1_000_000).unwrap_or(0)),
        Property::Threads(u32::try_from(unsigned(config.pids_limit)).unwrap_or(0)),
        Property::Log(Bound::of(log_bytes(config))),
    ];
    properties.extend(processes(config).map(Property::Processes));
    properties
}

/// The engine's option that keeps programs from gaining more rights than they have.
const NO_NEW_PRIVILEGES: &str = "no-new-privileges";

/// Returns the kernel behind the engine's runtime (such as `runsc`) that was asked for. The kernel behind
/// any other one is unknown.
fn kernel(config: &HostConfig, spec: &Spec, names: &EngineNames<'_>) -> Option<Kernel> {
    (config.runtime.as_deref() == Some(names.runtime)).then_some(spec.kernel)
}

fn folders(
    inspected: &ContainerInspectResponse,
    spec: &Spec,
    names: &EngineNames<'_>,
) -> Vec<Folder> {
    let source = |path: &Path| {
        if path == names.state {
            Source::StateOf(spec.instance.program.clone())
        } else if path == names.probe {
            Source::Tools
        } else {
            Source::Foreign
        }
    };
    let mut folders: Vec<Folder> = inspected
        .mounts
        .iter()
        .flatten()
        .map(|mount| Folder {
            target: mount.destination.clone().unwrap_or_default(),
            source: source(Path::new(mount.source.as_deref().unwrap_or_default())),
            access: match mount.rw {
                Some(false) => Access::ReadOnly,
                Some(true) | None => Access::Writable,
            },
        })
        .collect();
    folders.sort();
    folders
}

fn memory_folders(config: &HostConfig) -> Vec<MemoryFolder> {
    let mut found: Vec<MemoryFolder> = config
        .tmpfs
        .iter()
        .flatten()
        .map(|(target, text)| {
            let options: Vec<&str> = text.split(',').collect();
            let size = options.iter().find_map(|it| it.strip_prefix("size="));
            let mut folder = MemoryFolder {
                target: target.clone(),
                size_bytes: size.and_then(|size| size.parse().ok()).unwrap_or(0),
                access: match options.contains(&"ro") {
                    true => Access::ReadOnly,
                    false => Access::Writable,
                },
                inert: true,
            };
            // The text must match to the letter: of two options that contradict each other the kernel
            // takes the last.
            folder.inert = tmpfs(&folder).1 == *text;
            folder
        })
        .collect();
    found.sort();
    found
}

fn reach(
    inspected: &ContainerInspectResponse,
    config: &HostConfig,
    names: &EngineNames<'_>,
    mode: NetworkMode,
) -> NetworkReach {
    let settings = inspected.network_settings.as_ref();
    let attached = settings.and_then(|settings| settings.networks.as_ref());
    let mut found: Vec<String> = attached
        .into_iter()
        .flat_map(HashMap::keys)
        .cloned()
        .collect();
    // A container that joins the network of another container shows this in its mode only.
    found.push(
        config
            .network_mode
            .clone()
            .unwrap_or_else(|| "default".to_owned()),
    );
    found.sort();
    found.dedup();
    match found.as_slice() {
        [one] if one == names.network => NetworkReach::Mode(mode),
        _others => NetworkReach::Foreign(found),
    }
}

fn name_servers(config: &HostConfig) -> NameServers {
    let servers = sorted(config.dns.as_ref());
    match servers.as_slice() {
        [] => NameServers::OfMachine,
        [one] if one == NO_NAME_SERVER => NameServers::Nobody,
        _others => NameServers::Others(servers),
    }
}

/// Reads the capabilities that are added, and notes when not all of the engine's own are dropped.
fn capabilities(config: &HostConfig) -> BTreeSet<String> {
    let mut capabilities: BTreeSet<String> = config.cap_add.iter().flatten().cloned().collect();
    if config.privileged == Some(true) {
        capabilities.insert("all".to_owned());
    }
    if sorted(config.cap_drop.as_ref()) != ["ALL"] {
        capabilities.insert("those of the engine".to_owned());
    }
    capabilities
}

fn is_set(config: &HostConfig, option: &str) -> bool {
    let mut options = config.security_opt.iter().flatten();
    options.any(|found| found == option)
}

fn restarted_by(config: &HostConfig) -> Option<String> {
    let policy = config
        .restart_policy
        .as_ref()
        .and_then(|policy| policy.name)?;
    let name = policy.to_string();
    match name.as_str() {
        "" | "no" => None,
        name => Some(format!("the engine ({name})")),
    }
}

/// Reads the bound on swap. The engine gives the sum of memory and swap, and -1 if there is no bound.
fn swap(config: &HostConfig) -> Bound {
    match (config.memory, config.memory_swap) {
        (Some(memory), Some(both)) if memory > 0 && both >= memory => {
            Bound::AtMost(unsigned(Some(both - memory)))
        }
        _unbounded => Bound::Unbounded,
    }
}

fn ports(inspected: &ContainerInspectResponse, config: &HostConfig) -> Vec<String> {
    let settings = inspected.network_settings.as_ref();
    let actual = settings.and_then(|settings| settings.ports.as_ref());
    let mut ports: Vec<String> = config
        .port_bindings
        .iter()
        .chain(actual)
        .flatten()
        .filter(|(_, bindings)| bindings.as_ref().is_some_and(|it| !it.is_empty()))
        .map(|(port, _)| port.clone())
        .collect();
    if config.publish_all_ports.unwrap_or(false) {
        ports.push("all".to_owned());
    }
    ports.sort();
    ports.dedup();
    ports
}

fn devices(config: &HostConfig) -> Vec<String> {
    let mut devices: Vec<String> = config
        .devices
        .iter()
        .flatten()
        .map(|device| device.path_on_host.clone().unwrap_or_default())
        .collect();
    devices.sort();
    devices
}

/// Lists the namespaces that a container shares with others, or of which the engine does not say that
/// they are private. The mode of the memory namespace (IPC) must be `none`: in other modes the engine
/// brings a /dev/shm, and the sandbox has a bounded folder there.
fn shared_namespaces(config: &HostConfig) -> Vec<String> {
    let other = |what: &str, mode: &Option<String>, own: &[&str]| {
        let mode = mode.as_deref().unwrap_or_default();
        (!own.contains(&mode)).then(|| format!("{what} {mode}").trim_end().to_owned())
    };
    let private = ["", "private"];
    let groups = match config.cgroupns_mode {
        Some(HostConfigCgroupnsModeEnum::PRIVATE) => None,
        Some(HostConfigCgroupnsModeEnum::HOST) => Some("control groups host".to_owned()),
        Some(HostConfigCgroupnsModeEnum::EMPTY) | None => Some("control groups".to_owned()),
    };
    let mut shared: Vec<String> = [
        other("processes", &config.pid_mode, &private),
        other("memory", &config.ipc_mode, &["none"]),
        other("host name", &config.uts_mode, &private),
        other("users", &config.userns_mode, &[""]),
        groups,
    ]
    .into_iter()
    .flatten()
    .collect();
    shared.sort();
    shared
}

/// Returns the size of the engine's own copy of the log, bytes; 0 for one that is not bounded or loses lines.
pub(super) fn log_bytes(config: &HostConfig) -> u64 {
    let Some(log) = &config.log_config else {
        return 0;
    };
    let option = |name: &str| log.config.as_ref()?.get(name).map(String::as_str);
    let number = |name: &str| option(name).and_then(|number| number.parse::<u64>().ok());
    let is_plain = option("compress").is_none_or(|compress| compress == "false")
        && option("mode").is_none_or(|mode| mode == "blocking");
    match (log.typ.as_deref(), number("max-size"), number("max-file")) {
        (Some("json-file"), Some(size), Some(files)) if is_plain => size.saturating_mul(files),
        _unbounded => 0,
    }
}

/// Returns the bound on processes inside if it is the only ulimit: of two the last would count.
fn processes(config: &HostConfig) -> Option<u32> {
    match config.ulimits.as_deref()? {
        [one] => bound(one),
        _none_or_several => None,
    }
}

/// Returns the number of a ulimit that bounds processes and can't be raised from inside.
fn bound(limit: &ResourcesUlimits) -> Option<u32> {
    let is_firm = limit.name.as_deref() == Some(PROCESSES) && limit.soft == limit.hard;
    limit
        .hard
        .filter(|_| is_firm)
        .and_then(|hard| u32::try_from(hard).ok())
}

fn sorted(list: Option<&Vec<String>>) -> Vec<String> {
    let mut list = list.cloned().unwrap_or_default();
    list.sort();
    list
}

fn unsigned(value: Option<i64>) -> u64 {
    value
        .and_then(|value| u64::try_from(value).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
