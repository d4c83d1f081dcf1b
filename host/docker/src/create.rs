//! A spec in the engine's words.

use std::{collections::HashMap, net::Ipv4Addr};

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig,
    HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountType, NetworkingConfig, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};

use hersh_sandbox::{ENGINE_DEFAULT, Sandbox, Spec, Tmpfs};

/// The engine's name of the bound on processes inside a sandbox.
pub(super) const PROCESSES: &str = "nproc";

/// What the engine is asked to create. `network` is the engine's name of the network, `address` the
/// one there.
pub(super) fn body(spec: &Spec, network: &str, address: Option<Ipv4Addr>) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(spec.image.to_string()),
        hostname: Some(spec.instance.program.to_string()),
        user: Some(spec.sandbox.user.clone()),
        env: Some(
            spec.env
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
        ),
        labels: Some(spec.labels.clone().into_iter().collect()),
        tty: Some(false),
        // An image's own health check would run commands that nobody asked for.
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        host_config: Some(host_config(&spec.sandbox, network)),
        networking_config: address.map(|address| at(network, address)),
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

fn host_config(sandbox: &Sandbox, network: &str) -> HostConfig {
    let spaces = &sandbox.namespaces;
    HostConfig {
        runtime: Some(sandbox.runtime.clone()),
        readonly_rootfs: Some(sandbox.read_only),
        mounts: Some(mounts(sandbox)),
        tmpfs: Some(sandbox.tmpfs.iter().map(tmpfs).collect()),
        network_mode: Some(network.to_owned()),
        dns: Some(sandbox.dns.clone()),
        port_bindings: Some(HashMap::new()),
        publish_all_ports: Some(false),
        cap_drop: Some(sandbox.cap_drop.clone()),
        cap_add: Some(sandbox.cap_add.clone()),
        security_opt: Some(sandbox.security_opt.clone()),
        devices: Some(Vec::new()),
        privileged: Some(sandbox.privileged),
        pid_mode: Some(unless_private(&spaces.pid)),
        ipc_mode: Some(spaces.ipc.clone()),
        uts_mode: Some(unless_private(&spaces.uts)),
        userns_mode: Some(unless_private(&spaces.user)),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        memory: Some(signed(sandbox.memory_bytes)),
        memory_swap: Some(signed(sandbox.memory_swap_bytes)),
        nano_cpus: Some(i64::from(sandbox.cpu_millis) * 1_000_000),
        pids_limit: Some(i64::from(sandbox.pids)),
        ulimits: Some(ulimits(sandbox)),
        init: Some(sandbox.init),
        log_config: Some(log_config(sandbox.log_bytes)),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        ..HostConfig::default()
    }
}

/// gVisor's kernel counts the user's processes in this sandbox alone, and answers a further one with
/// EAGAIN, as programs expect it.
fn ulimits(sandbox: &Sandbox) -> Vec<ResourcesUlimits> {
    let bound = sandbox.processes.map(i64::from);
    bound
        .map(|bound| ResourcesUlimits {
            name: Some(PROCESSES.to_owned()),
            soft: Some(bound),
            hard: Some(bound),
        })
        .into_iter()
        .collect()
}

fn mounts(sandbox: &Sandbox) -> Vec<Mount> {
    sandbox
        .mounts
        .iter()
        .map(|mount| Mount {
            typ: Some(MountType::BIND),
            source: Some(mount.source.to_string_lossy().into_owned()),
            target: Some(mount.target.clone()),
            read_only: Some(!mount.writable),
            bind_options: Some(MountBindOptions {
                propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
                ..MountBindOptions::default()
            }),
            ..Mount::default()
        })
        .collect()
}

fn tmpfs(tmpfs: &Tmpfs) -> (String, String) {
    let (access, mode) = if tmpfs.writable {
        ("rw", "1777")
    } else {
        ("ro", "0555")
    };
    let inert = if tmpfs.inert {
        "nosuid,nodev,noexec,"
    } else {
        ""
    };
    let options = format!("{access},{inert}size={},mode={mode}", tmpfs.size_bytes);
    (tmpfs.target.clone(), options)
}

/// The engine's own copy of the log, in two files of half the size. Engines take what is left out
/// from their own settings: a file that is compressed can't be followed, and in the mode
/// `non-blocking` an engine drops what comes faster than it writes, without a mark.
fn log_config(log_bytes: u64) -> HostConfigLogConfig {
    HostConfigLogConfig {
        typ: Some("json-file".to_owned()),
        config: Some(HashMap::from([
            ("max-size".to_owned(), (log_bytes / 2).max(1).to_string()),
            ("max-file".to_owned(), "2".to_owned()),
            ("compress".to_owned(), "false".to_owned()),
            ("mode".to_owned(), "blocking".to_owned()),
        ])),
    }
}

/// Engines say "private" and their default by saying nothing.
fn unless_private(mode: &str) -> String {
    if mode == "private" || mode == ENGINE_DEFAULT {
        String::new()
    } else {
        mode.to_owned()
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left out here an engine takes from the settings of its own daemon.json.
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
