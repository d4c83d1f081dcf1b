//! A real container in this crate's words.
//!
//! What the engine says is read field by field into a [`Sandbox`]; every other setting that is not
//! what an engine does by itself becomes one of its `extras`, so that a setting nobody thought of
//! is seen and not skipped.

use std::collections::HashMap;

use bollard::models::{
    ContainerInspectResponse, HostConfig, HostConfigCgroupnsModeEnum, ResourcesUlimits,
};
use serde_json::Value;

use super::{create::PROCESSES, network::SandboxNetwork};
use hersh_sandbox::{ENGINE_DEFAULT, Mount, Namespaces, Sandbox, Tmpfs};

/// Reads how a container is confined. `known` are the host's networks, checked.
pub(super) fn sandbox(inspected: &ContainerInspectResponse, known: &SandboxNetwork) -> Sandbox {
    let empty = HostConfig::default();
    let config = inspected.host_config.as_ref().unwrap_or(&empty);
    let user = inspected.config.as_ref().and_then(|it| it.user.clone());
    Sandbox {
        runtime: config.runtime.clone().unwrap_or_default(),
        user: user.unwrap_or_default(),
        read_only: config.readonly_rootfs.unwrap_or(false),
        mounts: mounts(inspected),
        tmpfs: tmpfs(config),
        networks: networks(inspected, config, known),
        dns: sorted(config.dns.as_ref()),
        ports: ports(inspected, config),
        cap_drop: sorted(config.cap_drop.as_ref()),
        cap_add: sorted(config.cap_add.as_ref()),
        security_opt: sorted(config.security_opt.as_ref()),
        devices: devices(config),
        privileged: config.privileged.unwrap_or(false),
        namespaces: namespaces(config),
        memory_bytes: unsigned(config.memory),
        memory_swap_bytes: unsigned(config.memory_swap),
        cpu_millis: u32::try_from(unsigned(config.nano_cpus) / 1_000_000).unwrap_or(u32::MAX),
        pids: u32::try_from(unsigned(config.pids_limit)).unwrap_or(u32::MAX),
        processes: processes(config),
        init: config.init.unwrap_or(false),
        log_bytes: log_bytes(config),
        engine_restart: config
            .restart_policy
            .as_ref()
            .and_then(|policy| policy.name)
            .map(|name| name.to_string())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "no".to_owned()),
        extras: extras(config),
    }
}

/// The size of the engine's own copy of the log, bytes; 0 when it is not bounded, can't be read
/// while it is written, or loses lines that come too fast.
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

fn mounts(inspected: &ContainerInspectResponse) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = inspected
        .mounts
        .iter()
        .flatten()
        .map(|mount| Mount {
            target: mount.destination.clone().unwrap_or_default(),
            source: mount.source.clone().unwrap_or_default().into(),
            writable: mount.rw.unwrap_or(true),
        })
        .collect();
    mounts.sort();
    mounts
}

fn tmpfs(config: &HostConfig) -> Vec<Tmpfs> {
    let mut found: Vec<Tmpfs> = config
        .tmpfs
        .iter()
        .flatten()
        .map(|(target, options)| {
            let options: Vec<&str> = options.split(',').collect();
            let size = options.iter().find_map(|it| it.strip_prefix("size="));
            Tmpfs {
                target: target.clone(),
                size_bytes: size.and_then(|size| size.parse().ok()).unwrap_or(0),
                writable: !options.contains(&"ro"),
                inert: ["nosuid", "nodev", "noexec"]
                    .iter()
                    .all(|option| options.contains(option)),
            }
        })
        .collect();
    found.sort();
    found
}

fn networks(
    inspected: &ContainerInspectResponse,
    config: &HostConfig,
    known: &SandboxNetwork,
) -> Vec<String> {
    let settings = inspected.network_settings.as_ref();
    let attached = settings.and_then(|settings| settings.networks.as_ref());
    let mut names: Vec<String> = attached
        .into_iter()
        .flat_map(HashMap::keys)
        .map(|name| known.mode_name(name))
        .collect();
    // Another container's network shows in the mode only.
    let mode = config.network_mode.as_deref().unwrap_or("default");
    if !attached.is_some_and(|attached| attached.contains_key(mode)) {
        names.push(known.mode_name(mode));
    }
    names.sort();
    names.dedup();
    names
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

fn namespaces(config: &HostConfig) -> Namespaces {
    let or = |mode: &Option<String>, usual: &str| {
        mode.clone()
            .filter(|mode| !mode.is_empty())
            .unwrap_or_else(|| usual.to_owned())
    };
    Namespaces {
        pid: or(&config.pid_mode, "private"),
        ipc: or(&config.ipc_mode, "private"),
        uts: or(&config.uts_mode, "private"),
        user: or(&config.userns_mode, ENGINE_DEFAULT),
        cgroup: match config.cgroupns_mode {
            Some(HostConfigCgroupnsModeEnum::PRIVATE) => "private".to_owned(),
            Some(HostConfigCgroupnsModeEnum::HOST) => "host".to_owned(),
            Some(HostConfigCgroupnsModeEnum::EMPTY) | None => "unknown".to_owned(),
        },
    }
}

/// What [`sandbox`] reads, by the engine's names.
const READ: [&str; 31] = [
    "Runtime",
    "ReadonlyRootfs",
    "Mounts",
    "Tmpfs",
    "NetworkMode",
    "Dns",
    "PortBindings",
    "PublishAllPorts",
    "CapDrop",
    "CapAdd",
    "SecurityOpt",
    "Devices",
    "Privileged",
    "PidMode",
    "IpcMode",
    "UTSMode",
    "UsernsMode",
    "CgroupnsMode",
    "Memory",
    "MemorySwap",
    "NanoCpus",
    "PidsLimit",
    // The bound on processes; any other one is an extra.
    "Ulimits",
    "Init",
    "LogConfig",
    "RestartPolicy",
    // What an engine fills in by itself: the size of a /dev/shm that is mounted over, the lists of
    // paths that it hides (checked below), a console that is not used.
    "ShmSize",
    "MaskedPaths",
    "ReadonlyPaths",
    "ConsoleSize",
    "Isolation",
];

fn extras(config: &HostConfig) -> Vec<String> {
    let Ok(Value::Object(mut settings)) = serde_json::to_value(config) else {
        return vec!["settings that can't be read".to_owned()];
    };
    for name in READ {
        settings.remove(name);
    }
    let mut extras: Vec<String> = settings
        .into_iter()
        .filter(|(_, value)| !is_unset(value))
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    // An empty list is how an engine is told to hide nothing.
    for (name, paths) in [
        ("MaskedPaths", &config.masked_paths),
        ("ReadonlyPaths", &config.readonly_paths),
    ] {
        if paths.as_ref().is_some_and(Vec::is_empty) {
            extras.push(format!("{name} []"));
        }
    }
    extras.extend(
        config
            .ulimits
            .iter()
            .flatten()
            .filter(|limit| bound(limit).is_none())
            .map(|limit| format!("Ulimits {limit:?}")),
    );
    extras
}

/// The bound on processes inside.
fn processes(config: &HostConfig) -> Option<u32> {
    config.ulimits.iter().flatten().find_map(bound)
}

/// The number of an ulimit that bounds processes and can't be raised from inside.
fn bound(limit: &ResourcesUlimits) -> Option<u32> {
    let is_firm = limit.name.as_deref() == Some(PROCESSES) && limit.soft == limit.hard;
    limit
        .hard
        .filter(|_| is_firm)
        .and_then(|hard| u32::try_from(hard).ok())
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
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
mod tests {
    use bollard::models::HostConfigLogConfig;

    use super::*;

    #[test]
    fn a_log_counts_only_as_plain_files_that_lose_nothing() {
        let bytes = |typ: &str, options: &[(&str, &str)]| {
            let options = options.iter();
            let config = options.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            log_bytes(&HostConfig {
                log_config: Some(HostConfigLogConfig {
                    typ: Some(typ.to_owned()),
                    config: Some(config.collect()),
                }),
                ..HostConfig::default()
            })
        };
        let (size, files) = (("max-size", "500"), ("max-file", "2"));
        assert_eq!(bytes("json-file", &[size, files]), 1_000);
        assert_eq!(
            bytes("json-file", &[size, files, ("compress", "false")]),
            1_000
        );
        let blocking = [size, files, ("mode", "blocking")];
        assert_eq!(bytes("json-file", &blocking), 1_000);
        for option in [
            ("compress", "true"),
            ("compress", "1"),
            ("compress", ""),
            ("mode", "non-blocking"),
        ] {
            assert_eq!(bytes("json-file", &[size, files, option]), 0, "{option:?}");
        }
        assert_eq!(bytes("json-file", &[size]), 0);
        assert_eq!(bytes("local", &[size, files]), 0);
        assert_eq!(log_bytes(&HostConfig::default()), 0);
    }
}
