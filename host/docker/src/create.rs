//! Turns a spec into the request with which the engine creates a container.

use std::{collections::HashMap, net::Ipv4Addr, path::Path};

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig,
    HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType, NetworkingConfig, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};

use hersh_sandbox::{
    Spec,
    property::{Access, FirstProcess, MemoryFolder, NameServers, Source},
    user,
};

use super::names;

/// The engine's name of the bound on processes inside a sandbox.
pub(super) const PROCESSES: &str = "nproc";

/// The name server of a sandbox without a way out: the sandbox's own loopback, where nothing answers. The
/// engine's own name server would forward lookups from outside of the sandbox's network.
pub(super) const NO_NAME_SERVER: &str = "127.0.0.1";

/// The names by which this host's engine knows the things that a spec asks for.
pub(super) struct EngineNames<'a> {
    /// The id of the host.
    pub(super) host_id: &'a str,
    /// The name of the engine's runtime, such as `runsc`.
    pub(super) runtime: &'a str,
    /// The name of the engine's network.
    pub(super) network: &'a str,
    /// The program's state folder on the machine.
    pub(super) state: &'a Path,
    /// The kernel probe on the machine.
    pub(super) probe: &'a Path,
}

/// Returns what the engine is asked to create. `address` is the container's address on its network;
/// without it the engine chooses one.
pub(super) fn body(
    spec: &Spec,
    names: &EngineNames<'_>,
    address: Option<Ipv4Addr>,
) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(spec.image.to_string()),
        hostname: Some(spec.instance.program.to_string()),
        user: Some(user()),
        env: Some(
            spec.env
                .iter()
                .chain(&spec.host_env)
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
        ),
        labels: Some(
            names::labels(names.host_id, &spec.instance)
                .into_iter()
                .collect(),
        ),
        tty: Some(false),
        // An image's own health check would run commands that nobody asked for.
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        host_config: Some(host_config(spec, names)),
        networking_config: address.map(|address| at(names.network, address)),
        ..ContainerCreateBody::default()
    }
}

fn at(network: &str, address: Ipv4Addr) -> NetworkingConfig {
    let endpoint = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some(address.to_string()),
            ..EndpointIpamConfig::default()
        }),
        ..EndpointSettings::default()
    };
    NetworkingConfig {
        endpoints_config: Some(HashMap::from([(network.to_owned(), endpoint)])),
    }
}

fn host_config(spec: &Spec, names: &EngineNames<'_>) -> HostConfig {
    let bounds = &spec.bounds;
    HostConfig {
        runtime: Some(names.runtime.to_owned()),
        readonly_rootfs: Some(true),
        mounts: Some(mounts(spec, names)),
        tmpfs: Some(spec.memory_folders().iter().map(tmpfs).collect()),
        network_mode: Some(names.network.to_owned()),
        dns: Some(dns(&spec.name_servers())),
        port_bindings: Some(HashMap::new()),
        publish_all_ports: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(Vec::new()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        devices: Some(Vec::new()),
        privileged: Some(false),
        // For these modes, an empty text means a namespace of the container's own.
        pid_mode: Some(String::new()),
        ipc_mode: Some("none".to_owned()),
        uts_mode: Some(String::new()),
        userns_mode: Some(String::new()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        memory: Some(signed(bounds.memory_bytes)),
        // The sum of memory and swap: no swap is left beside the memory.
        memory_swap: Some(signed(bounds.memory_bytes)),
        nano_cpus: Some(i64::from(bounds.cpu_millis) * 1_000_000),
        pids_limit: Some(i64::from(bounds.threads)),
        ulimits: Some(ulimits(bounds.processes)),
        init: Some(spec.first_process == FirstProcess::Init),
        log_config: Some(log_config(bounds.log_bytes)),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        ..HostConfig::default()
    }
}

/// Returns the name servers that replace those of the machine; none if the machine's are used.
pub(super) fn dns(servers: &NameServers) -> Vec<String> {
    match servers {
        NameServers::Nobody => vec![NO_NAME_SERVER.to_owned()],
        NameServers::OfMachine => Vec::new(),
        NameServers::Others(others) => others.clone(),
    }
}

/// Returns the bound on processes inside, if there is one. gVisor's kernel counts the user's processes in
/// this sandbox alone, and refuses a further one with EAGAIN, as programs expect.
fn ulimits(processes: Option<u32>) -> Vec<ResourcesUlimits> {
    let bound = processes.map(i64::from);
    bound
        .map(|bound| ResourcesUlimits {
            name: Some(PROCESSES.to_owned()),
            soft: Some(bound),
            hard: Some(bound),
        })
        .into_iter()
        .collect()
}

fn mounts(spec: &Spec, names: &EngineNames<'_>) -> Vec<Mount> {
    spec.folders()
        .into_iter()
        .filter_map(|folder| {
            let source = match folder.source {
                Source::StateOf(_) => names.state,
                Source::Tools => names.probe,
                // No spec asks for a foreign folder.
                Source::Foreign => return None,
            };
            Some(Mount {
                typ: Some(MountType::BIND),
                source: Some(source.to_string_lossy().into_owned()),
                target: Some(folder.target),
                read_only: Some(folder.access == Access::ReadOnly),
                bind_options: Some(MountBindOptions {
                    propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
                    ..MountBindOptions::default()
                }),
                ..Mount::default()
            })
        })
        .collect()
}

pub(super) fn tmpfs(folder: &MemoryFolder) -> (String, String) {
    let (access, mode) = match folder.access {
        Access::Writable => ("rw", "1777"),
        Access::ReadOnly => ("ro", "0555"),
    };
    let inert = if folder.inert {
        "nosuid,nodev,noexec,"
    } else {
        ""
    };
    let options = format!("{access},{inert}size={},mode={mode}", folder.size_bytes);
    (folder.target.clone(), options)
}

/// Returns the settings for the engine's own copy of the log: two files of half the size. Every option is
/// given, since an engine takes missing ones from its own settings. Compressed files can't be followed,
/// and in the mode `non-blocking` an engine drops lines that come faster than it writes, without a mark.
fn log_config(log_bytes: u64) -> HostConfigLogConfig {
    HostConfigLogConfig {
        typ: Some("json-file".to_owned()),
        config: Some(HashMap::from([
            ("max-size".to_owned(), log_file_bytes(log_bytes).to_string()),
            ("max-file".to_owned(), "2".to_owned()),
            ("compress".to_owned(), "false".to_owned()),
            ("mode".to_owned(), "blocking".to_owned()),
        ])),
    }
}

/// Returns from which size on the engine rotates each of the two files of its own copy of the log, bytes.
pub(super) fn log_file_bytes(log_bytes: u64) -> u64 {
    (log_bytes / 2).max(1)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine takes every option that is missing here from its own daemon.json.
    #[test]
    fn no_setting_of_an_engine_makes_a_log_lose_lines() {
        let config = log_config(1_001).config.unwrap();
        let option = |name: &str| config.get(name).map(String::as_str);
        for (name, value) in [
            ("max-size", "500"),
            ("max-file", "2"),
            ("compress", "false"),
            ("mode", "blocking"),
        ] {
            assert_eq!(option(name), Some(value), "{name}");
        }
    }
}
