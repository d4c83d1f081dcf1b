use bollard::models::{
    ContainerConfig, DeviceMapping, EndpointSettings, HostConfigLogConfig, MountPoint,
    NetworkSettings, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use hersh_program::{ImageId, InstanceId, InstanceNumber, Manifest, ProgramId};
use hersh_sandbox::{Contract, Fact, verify};

use super::*;
use crate::create;

const STATE: &str = "/data/programs/counter/state";
const PROBE: &str = "/data/probe";
const NETWORK: &str = "hersh-internal-0";

fn names() -> EngineNames<'static> {
    EngineNames {
        host_id: "h1",
        runtime: "runsc",
        network: NETWORK,
        state: Path::new(STATE),
        probe: Path::new(PROBE),
    }
}

fn spec() -> Spec {
    let instance = InstanceId {
        program: ProgramId::parse("counter").unwrap(),
        number: InstanceNumber(3),
    };
    let image = ImageId::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
    Spec::new(&instance, &image, &Manifest::default(), Kernel::Gvisor)
}

/// What an engine says that made what it was asked for.
fn made() -> ContainerInspectResponse {
    let body = create::body(&spec(), &names(), None);
    let config = body.host_config.unwrap();
    let mount = |mount: &bollard::models::Mount| MountPoint {
        source: mount.source.clone(),
        destination: mount.target.clone(),
        rw: mount.read_only.map(|read_only| !read_only),
        ..MountPoint::default()
    };
    ContainerInspectResponse {
        mounts: Some(config.mounts.iter().flatten().map(mount).collect()),
        config: Some(ContainerConfig {
            user: body.user,
            ..ContainerConfig::default()
        }),
        network_settings: Some(NetworkSettings {
            networks: Some([(NETWORK.to_owned(), EndpointSettings::default())].into()),
            ..NetworkSettings::default()
        }),
        host_config: Some(config),
        ..ContainerInspectResponse::default()
    }
}

fn verified(container: &ContainerInspectResponse) -> Result<(), Contract> {
    let properties = properties(container, &spec(), &names(), NetworkMode::Internal);
    let declared = |property| Fact::Declared {
        property,
        by: "the engine".to_owned(),
    };
    let mut facts: Vec<Fact> = properties.into_iter().map(declared).collect();
    facts.push(crate::build::mount_points::fact());
    let verified = verify(&spec(), &facts);
    verified.map(drop).map_err(|violation| violation.contract)
}

type Change = fn(&mut ContainerInspectResponse, &mut HostConfig);

/// Each way in which a container can be another than the one that was asked for.
const CHANGES: &[(Contract, Change)] = &[
    (Contract::Gvisor, |_, it| it.runtime = Some("runc".into())),
    (Contract::Gvisor, |_, it| it.runtime = None),
    (Contract::Gvisor, |_, it| {
        it.runtime = Some("runsc-other".into());
    }),
    (Contract::ReadOnlyRoot, |_, it| {
        it.readonly_rootfs = Some(false);
    }),
    (Contract::ReadOnlyRoot, |_, it| it.readonly_rootfs = None),
    (Contract::OneWritableVolume, |all, _| all.mounts = None),
    (Contract::OneWritableVolume, |all, _| {
        mount_of(all, 1).rw = Some(false);
    }),
    (Contract::OneWritableVolume, |all, _| {
        mount_of(all, 0).rw = None;
    }),
    (Contract::OneWritableVolume, |all, _| {
        mount_of(all, 0).source = Some("/etc/shadow".into());
    }),
    (Contract::OneWritableVolume, |all, _| {
        mount_of(all, 1).source = Some("/data/programs/other/state".into());
    }),
    (Contract::OneWritableVolume, |all, _| {
        mount_of(all, 1).source = Some("/data/programs/x/../counter/state".into());
    }),
    (Contract::OneWritableVolume, |all, _| {
        let further = MountPoint {
            destination: Some("/run/docker.sock".into()),
            ..MountPoint::default()
        };
        all.mounts.get_or_insert_default().push(further);
    }),
    (Contract::OneWritableVolume, |_, it| it.tmpfs = None),
    (Contract::OneWritableVolume, |_, it| {
        let options = it.tmpfs.as_mut().unwrap().get_mut("/tmp").unwrap();
        *options = options.replace("noexec,", "");
    }),
    (Contract::OneWritableVolume, |_, it| {
        let options = it.tmpfs.as_mut().unwrap().get_mut("/run").unwrap();
        *options = "rw,nosuid,nodev,noexec".into();
    }),
    (Contract::OneWritableVolume, |_, it| {
        let options = it.tmpfs.as_mut().unwrap().get_mut("/tmp").unwrap();
        options.push_str(",exec");
    }),
    (Contract::OneWritableVolume, |_, it| {
        let options = it.tmpfs.as_mut().unwrap().get_mut("/tmp").unwrap();
        options.push_str(",size=100g");
    }),
    (Contract::NoPublishedPort, |_, it| {
        let bindings = Some(vec![PortBinding::default()]);
        it.port_bindings = Some([("8080/tcp".into(), bindings)].into());
    }),
    (Contract::NoPublishedPort, |_, it| {
        it.publish_all_ports = Some(true);
    }),
    (Contract::Network, |all, it| {
        all.network_settings = None;
        it.network_mode = Some("host".into());
    }),
    (Contract::Network, |all, _| {
        let networks = all.network_settings.as_mut().unwrap();
        let networks = networks.networks.as_mut().unwrap();
        networks.insert("bridge".into(), EndpointSettings::default());
    }),
    (Contract::Network, |_, it| {
        it.network_mode = Some("container:0123".into());
    }),
    (Contract::Network, |_, it| it.dns = None),
    (Contract::Network, |_, it| {
        it.dns = Some(vec!["8.8.8.8".into()]);
    }),
    (Contract::Privileges, |_, it| it.privileged = Some(true)),
    (Contract::Privileges, |_, it| {
        it.cap_add = Some(vec!["NET_RAW".into()]);
    }),
    (Contract::Privileges, |_, it| it.cap_drop = None),
    (Contract::Privileges, |_, it| {
        it.cap_drop = Some(vec!["NET_RAW".into()]);
    }),
    (Contract::Privileges, |_, it| it.security_opt = None),
    (Contract::Privileges, |_, it| {
        let options = it.security_opt.as_mut().unwrap();
        options.push("seccomp=unconfined".into());
    }),
    (Contract::Privileges, |_, it| {
        it.devices = Some(vec![DeviceMapping {
            path_on_host: Some("/dev/kvm".into()),
            ..DeviceMapping::default()
        }]);
    }),
    (Contract::Privileges, |all, _| {
        all.config.as_mut().unwrap().user = None;
    }),
    (Contract::Privileges, |all, _| {
        all.config.as_mut().unwrap().user = Some("0:0".into());
    }),
    (Contract::Privileges, |_, it| {
        it.pid_mode = Some("host".into());
    }),
    (Contract::Privileges, |_, it| {
        it.ipc_mode = Some("shareable".into());
    }),
    (Contract::Privileges, |_, it| {
        it.ipc_mode = Some("private".into());
    }),
    (Contract::Privileges, |_, it| {
        it.uts_mode = Some("host".into());
    }),
    (Contract::Privileges, |_, it| {
        it.userns_mode = Some("host".into());
    }),
    (Contract::Privileges, |_, it| {
        it.cgroupns_mode = Some(HostConfigCgroupnsModeEnum::HOST);
    }),
    (Contract::Privileges, |_, it| it.cgroupns_mode = None),
    (Contract::Privileges, |_, it| {
        it.restart_policy = Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::ALWAYS),
            maximum_retry_count: None,
        });
    }),
    (Contract::Privileges, |_, it| it.init = None),
    (Contract::Privileges, |_, it| {
        it.sysctls = Some([("a".into(), "b".into())].into());
    }),
    (Contract::Privileges, |_, it| {
        it.masked_paths = Some(Vec::new());
    }),
    (Contract::Limits, |_, it| it.memory = None),
    (Contract::Limits, |_, it| it.memory = Some(-1)),
    (Contract::Limits, |_, it| {
        it.memory = it.memory.map(|it| it + 1);
        it.memory_swap = it.memory;
    }),
    (Contract::Limits, |_, it| it.memory_swap = Some(-1)),
    (Contract::Limits, |_, it| it.memory_swap = Some(0)),
    (Contract::Limits, |_, it| it.memory_swap = None),
    (Contract::Limits, |_, it| {
        it.memory_swap = it.memory_swap.map(|it| it + 1);
    }),
    (Contract::Limits, |_, it| it.nano_cpus = None),
    (Contract::Limits, |_, it| it.nano_cpus = Some(i64::MAX)),
    (Contract::Limits, |_, it| it.pids_limit = None),
    (Contract::Limits, |_, it| it.pids_limit = Some(-1)),
    (Contract::Limits, |_, it| it.ulimits = None),
    (Contract::Privileges, |_, it| {
        let mut another = it.ulimits.as_ref().unwrap()[0].clone();
        another.hard = Some(1_000_000);
        another.soft = another.hard;
        it.ulimits.as_mut().unwrap().push(another);
    }),
    (Contract::Limits, |_, it| it.log_config = None),
];

fn mount_of(all: &mut ContainerInspectResponse, number: usize) -> &mut MountPoint {
    &mut all.mounts.as_mut().unwrap()[number]
}

#[test]
fn what_an_engine_made_as_asked_keeps_all_contracts() {
    assert_eq!(verified(&made()), Ok(()));
}

#[test]
fn each_setting_that_differs_breaks_the_contract_it_is_of() {
    for (number, (contract, change)) in CHANGES.iter().enumerate() {
        let mut container = made();
        let mut config = container.host_config.take().unwrap();
        change(&mut container, &mut config);
        container.host_config = Some(config);
        assert_ne!(container, made(), "case {number} changes nothing");
        assert_eq!(verified(&container), Err(*contract), "case {number}");
    }
}

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
