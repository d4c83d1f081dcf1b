//! The contracts as a table: each way to break one is refused by that contract's name, before
//! anything is made and after it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    io::Write,
    process::{Command, Stdio},
};

use hersh_program::{
    Cause, ContainerId, ImageId, InstanceId, InstanceNumber, Manifest, NetworkMode, ProgramId,
};
use hersh_sandbox::{
    Contract, Environment, Inspected, MIN_MEMORY_BYTES, MIN_PIDS, Mount, RuntimeMode, Sandbox,
    Spec, StartError, Tmpfs, to_compose_yaml, validate, verify,
};

fn spec_with(mode: RuntimeMode, manifest: &Manifest) -> Spec {
    let instance = InstanceId {
        program: ProgramId::parse("counter").unwrap(),
        number: InstanceNumber(3),
    };
    let image = ImageId::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
    let environment = Environment {
        host_id: "h1".to_owned(),
        mode,
        state_dir: "/data/programs/counter/state".into(),
        probe: "/data/probe".into(),
    };
    Spec::new(&instance, &image, manifest, &environment)
}

fn spec() -> Spec {
    spec_with(RuntimeMode::Runsc, &Manifest::default())
}

fn inspected(spec: &Spec) -> Inspected {
    Inspected {
        container: ContainerId::parse(&"b".repeat(64)).unwrap(),
        image: spec.image.clone(),
        sandbox: spec.sandbox.clone(),
    }
}

fn mount(source: &str, target: &str, writable: bool) -> Mount {
    Mount {
        source: source.into(),
        target: target.to_owned(),
        writable,
    }
}

fn tmpfs(target: &str, size_bytes: u64, writable: bool) -> Tmpfs {
    Tmpfs {
        target: target.to_owned(),
        size_bytes,
        writable,
        inert: true,
    }
}

type Change = fn(&mut Sandbox);

/// What no sandbox may be, whoever asks.
const FORBIDDEN: &[(Contract, Change)] = &[
    (Contract::Gvisor, |it| it.runtime = "runc".into()),
    (Contract::Gvisor, |it| it.runtime = String::new()),
    (Contract::Gvisor, |it| it.runtime = "runscx".into()),
    (Contract::ReadOnlyRoot, |it| it.read_only = false),
    (Contract::OneWritableVolume, |it| it.mounts.clear()),
    (Contract::OneWritableVolume, |it| {
        it.mounts[1].writable = false
    }),
    (Contract::OneWritableVolume, |it| {
        it.mounts[0].writable = true
    }),
    (Contract::OneWritableVolume, |it| {
        it.mounts.push(mount("/etc", "/etc", false))
    }),
    (Contract::OneWritableVolume, |it| {
        it.mounts
            .push(mount("/run/docker.sock", "/run/docker.sock", true));
    }),
    (Contract::OneWritableVolume, |it| {
        it.mounts
            .push(mount("/data/programs/counter/state", "/state", true));
    }),
    (Contract::OneWritableVolume, |it| {
        it.mounts[1].source = "/data/programs/other/state".into()
    }),
    (Contract::OneWritableVolume, |it| {
        it.mounts[1].source = "/data/programs/x/../counter/state".into();
    }),
    (Contract::OneWritableVolume, |it| {
        it.mounts[1].source = "counter/state".into()
    }),
    (Contract::OneWritableVolume, |it| {
        it.tmpfs.push(tmpfs("/run", 1, true))
    }),
    (Contract::OneWritableVolume, |it| {
        it.tmpfs[0].writable = false
    }),
    (Contract::OneWritableVolume, |it| {
        it.tmpfs[1].target = "/etc".into()
    }),
    (Contract::OneWritableVolume, |it| it.tmpfs.swap(0, 3)),
    (Contract::OneWritableVolume, |it| it.tmpfs[1].inert = false),
    (Contract::OneWritableVolume, |it| it.tmpfs[1].size_bytes = 0),
    (Contract::OneWritableVolume, |it| it.tmpfs.truncate(1)),
    (Contract::OneWritableVolume, |it| it.tmpfs.clear()),
    (Contract::NoPublishedPort, |it| {
        it.ports.push("8080/tcp".into())
    }),
    (Contract::Network, |it| it.networks.clear()),
    (Contract::Network, |it| {
        it.networks = vec!["foreign host".into()]
    }),
    (Contract::Network, |it| {
        it.networks.push("foreign bridge".into())
    }),
    (Contract::Network, |it| it.dns.clear()),
    (Contract::Network, |it| it.dns = vec!["8.8.8.8".into()]),
    (Contract::Privileges, |it| it.privileged = true),
    (Contract::Privileges, |it| it.cap_add.push("NET_RAW".into())),
    (Contract::Privileges, |it| it.cap_drop.clear()),
    (Contract::Privileges, |it| {
        it.cap_drop = vec!["NET_RAW".into()]
    }),
    (Contract::Privileges, |it| it.security_opt.clear()),
    (Contract::Privileges, |it| {
        it.security_opt.push("seccomp=unconfined".into())
    }),
    (Contract::Privileges, |it| {
        it.devices.push("/dev/kvm".into())
    }),
    (Contract::Privileges, |it| {
        it.extras.push("Sysctls {}".into())
    }),
    (Contract::Privileges, |it| it.user = String::new()),
    (Contract::Privileges, |it| it.user = "0:0".into()),
    (Contract::Privileges, |it| it.namespaces.pid = "host".into()),
    (Contract::Privileges, |it| {
        it.namespaces.ipc = "shareable".into()
    }),
    (Contract::Privileges, |it| it.namespaces.uts = "host".into()),
    (Contract::Privileges, |it| {
        it.namespaces.user = "host".into()
    }),
    (Contract::Privileges, |it| {
        it.namespaces.cgroup = "host".into()
    }),
    (Contract::Privileges, |it| {
        it.engine_restart = "always".into()
    }),
    (Contract::Limits, |it| it.memory_bytes = 0),
    (Contract::Limits, |it| {
        it.memory_bytes = MIN_MEMORY_BYTES - 1
    }),
    (Contract::Limits, |it| it.memory_swap_bytes += 1),
    (Contract::Limits, |it| it.cpu_millis = 0),
    (Contract::Limits, |it| it.pids = 0),
    (Contract::Limits, |it| it.pids = 256),
    (Contract::Limits, |it| it.processes = None),
    (Contract::Limits, |it| it.processes = Some(MIN_PIDS - 1)),
    (Contract::Limits, |it| it.log_bytes = 0),
];

/// What is allowed as such but is not what was asked.
const DIFFERENT: &[(Contract, Change)] = &[
    (Contract::Gvisor, |it| it.runtime = "runsc-other".into()),
    (Contract::OneWritableVolume, |it| {
        it.mounts[0].source = "/etc/shadow".into()
    }),
    (Contract::OneWritableVolume, |it| {
        it.mounts[1].source = "/elsewhere/counter/state".into();
    }),
    (Contract::OneWritableVolume, |it| drop(it.mounts.remove(0))),
    (Contract::OneWritableVolume, |it| {
        it.tmpfs[1].size_bytes += 1
    }),
    (Contract::Network, |it| {
        it.networks = vec!["egress".into()];
        it.dns.clear();
    }),
    (Contract::Limits, |it| {
        it.memory_bytes += 1;
        it.memory_swap_bytes += 1;
    }),
    (Contract::Limits, |it| it.cpu_millis += 1),
    (Contract::Limits, |it| it.pids += 1),
    (Contract::Limits, |it| {
        it.processes = it.processes.map(|it| it - 1)
    }),
    (Contract::Privileges, |it| it.init = false),
    (Contract::Limits, |it| it.log_bytes += 2),
];

#[test]
fn what_manifests_give_keeps_all_contracts() {
    for network in [
        NetworkMode::Internal,
        NetworkMode::None,
        NetworkMode::Egress,
    ] {
        for mode in [RuntimeMode::Runsc, RuntimeMode::RuncForDevelopment] {
            let mut manifest = Manifest {
                network,
                ..Manifest::default()
            };
            // An odd size is halved into two files.
            manifest.limits.log_bytes = 1_001;
            let spec = spec_with(mode, &manifest);
            assert_eq!(validate(&spec), Ok(()), "{network:?} {mode:?}");
            let verified = verify(&spec, &inspected(&spec)).unwrap();
            let contracts: Vec<Contract> = verified.iter().map(|one| one.contract).collect();
            assert_eq!(contracts, Contract::ALL);
            assert!(verified.iter().all(|one| !one.values.is_empty()));
            assert_eq!(spec.sandbox.network(), Some(network));
        }
    }
}

#[test]
fn each_way_to_break_a_contract_is_refused_by_its_name() {
    for (number, (contract, change)) in FORBIDDEN.iter().enumerate() {
        let mut changed = spec();
        change(&mut changed.sandbox);
        assert_ne!(
            changed.sandbox,
            spec().sandbox,
            "case {number} changes nothing"
        );
        let violation = validate(&changed).unwrap_err();
        assert_eq!(violation.contract, *contract, "case {number}: {violation}");
        assert!(
            violation.to_string().contains(contract.name()),
            "{violation}"
        );

        let made = Inspected {
            sandbox: changed.sandbox,
            ..inspected(&spec())
        };
        let violation = verify(&spec(), &made).unwrap_err();
        assert_eq!(
            violation.contract, *contract,
            "made, case {number}: {violation}"
        );
    }
}

#[test]
fn a_container_that_differs_from_what_was_asked_is_refused() {
    for (number, (contract, change)) in DIFFERENT.iter().enumerate() {
        let mut made = inspected(&spec());
        change(&mut made.sandbox);
        let violation = verify(&spec(), &made).unwrap_err();
        assert_eq!(violation.contract, *contract, "case {number}: {violation}");
    }
}

#[test]
fn violation_names_its_contract_once_and_no_machine_path() {
    let forbidden = FORBIDDEN.iter().map(|(_, change)| {
        let mut changed = spec();
        change(&mut changed.sandbox);
        validate(&changed).unwrap_err()
    });
    let different = DIFFERENT.iter().map(|(_, change)| {
        let mut made = inspected(&spec());
        change(&mut made.sandbox);
        verify(&spec(), &made).unwrap_err()
    });
    for violation in forbidden.chain(different) {
        let said = Cause::from(StartError::from(violation)).to_string();
        assert_eq!(said.matches("contract").count(), 1, "{said}");
        for path in ["/data", "/etc/shadow", "/elsewhere"] {
            assert!(!said.contains(path), "{said}");
        }
    }
    let verified = verify(&spec(), &inspected(&spec())).unwrap();
    let values: Vec<String> = verified.into_iter().flat_map(|one| one.values).collect();
    assert!(values.contains(&"memory 256MiB".to_owned()), "{values:?}");
    assert!(
        values.contains(&"processor 1 core".to_owned()),
        "{values:?}"
    );
    assert!(!values.join(" ").contains("/data"), "{values:?}");
}

#[test]
fn development_mode_wants_runc_and_says_so() {
    let mut spec = spec_with(RuntimeMode::RuncForDevelopment, &Manifest::default());
    let shown = to_compose_yaml(&spec, &Manifest::default());
    assert!(shown.contains("NOT SANDBOXED"));
    spec.sandbox.runtime = "crun".to_owned();
    assert_eq!(validate(&spec).unwrap_err().contract, Contract::Gvisor);
}

#[test]
fn names_of_contracts_are_stable() {
    let names: Vec<&str> = Contract::ALL
        .iter()
        .map(|contract| contract.name())
        .collect();
    assert_eq!(
        names,
        [
            "gvisor",
            "read-only-root",
            "one-writable-volume",
            "no-published-port",
            "network",
            "privileges",
            "limits"
        ]
    );
    for contract in Contract::ALL {
        let json = serde_json::to_string(&contract).unwrap();
        assert_eq!(json, format!("\"{}\"", contract.name()));
    }
}

#[test]
fn a_program_is_told_its_grace_unless_its_manifest_says() {
    let mut manifest = Manifest::default();
    manifest.timeouts.stop_grace_ms = 3_000;
    let told = |manifest: &Manifest| {
        let spec = spec_with(RuntimeMode::Runsc, manifest);
        spec.env["HERSH_STOP_GRACE_MS"].clone()
    };
    assert_eq!(told(&manifest), "2700");
    let own = ("HERSH_STOP_GRACE_MS".to_owned(), "100".to_owned());
    manifest.env.extend([own]);
    assert_eq!(told(&manifest), "100");
}

#[test]
fn a_program_without_a_network_is_told_its_socket() {
    let mut manifest = Manifest::default();
    let told = |manifest: &Manifest| {
        let spec = spec_with(RuntimeMode::Runsc, manifest);
        spec.env.get("HERSH_WATCHER_SOCKET").cloned()
    };
    assert_eq!(told(&manifest), None);
    let own = ("HERSH_WATCHER_SOCKET".to_owned(), "/tmp/x".to_owned());
    manifest.env.extend([own]);
    assert_eq!(told(&manifest).as_deref(), Some("/tmp/x"));
    manifest.network = NetworkMode::None;
    assert_eq!(told(&manifest).as_deref(), Some("/state/watcher.sock"));
}

#[test]
fn the_compose_file_is_whole_and_nothing_can_add_a_line_to_it() {
    let mut manifest = Manifest::default();
    let hostile = "x\"\n    privileged: true\n#\u{2028}";
    manifest.env.insert("EVIL".to_owned(), hostile.to_owned());
    manifest.env.insert(hostile.to_owned(), "y".to_owned());
    let spec = spec_with(RuntimeMode::Runsc, &manifest);
    let yaml = to_compose_yaml(&spec, &manifest);
    assert!(
        !yaml.lines().any(|line| line.trim() == "privileged: true"),
        "{yaml}"
    );
    for line in [
        "runtime: \"runsc\"",
        "user: \"65532:65532\"",
        "read_only: true",
        "privileged: false",
        "- \"ALL\"",
        "- \"no-new-privileges\"",
        "networks: [internal]",
        "\"EVIL\": null",
        "mem_limit: 268435456",
        "cpus: 1.000",
        "pids_limit: 9216",
        "nproc: 257",
        "init: true",
    ] {
        assert!(
            yaml.lines().any(|found| found.trim() == line),
            "{line} is not in\n{yaml}"
        );
    }
    assert!(!yaml.contains("/data"), "no path of the machine: {yaml}");
    assert!(
        !yaml.contains("\"EVIL\": \"x"),
        "no value of a variable: {yaml}"
    );
}

/// The command is docker compose's own, in a root of Debian 13 that the set-up lays.
#[test]
fn docker_compose_accepts_the_compose_file() {
    let compose = std::env::var("HERSH_TEST_COMPOSE")
        .expect("HERSH_TEST_COMPOSE names no docker compose: run these tests with `make test`");
    let words: Vec<&str> = compose.split_whitespace().collect();
    for network in [
        NetworkMode::Internal,
        NetworkMode::Egress,
        NetworkMode::None,
    ] {
        let mut manifest = Manifest {
            network,
            ..Manifest::default()
        };
        let own = ("spring.datasource.url", "jdbc:secret$1");
        manifest.env.insert(own.0.to_owned(), own.1.to_owned());
        let spec = spec_with(RuntimeMode::Runsc, &manifest);
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args([
                "--project-name",
                "hersh",
                "-f",
                "-",
                "config",
                "--format",
                "json",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input
            .write_all(to_compose_yaml(&spec, &manifest).as_bytes())
            .unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{network:?}: {said}");
        let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let service = &read["services"]["counter"];
        assert_eq!(service["runtime"], "runsc");
        assert_eq!(service["read_only"], true);
        assert_eq!(service["cap_drop"][0], "ALL");
        assert_eq!(service["pids_limit"], 9_216);
        assert!(
            !said.contains("WARN") && !said.contains("level=warning"),
            "{said}"
        );
    }
}
