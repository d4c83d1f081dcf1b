//! The contracts as a table: whatever is found and is not what was asked is refused by its contract's
//! name, and a receipt says of each property how it is known.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use hersh_program::{
    Cause, DeployStrategy, ImageId, InstanceId, InstanceNumber, Manifest, NetworkMode, ProgramId,
};
use hersh_sandbox::{
    Bounds, Contract, ContractProofs, Evidence, Fact, Kernel, MIN_MEMORY_BYTES, MIN_PIDS, Spec,
    StartError,
    property::{
        Access, Bound, FirstProcess, Folder, MountPoints, NameServers, NetworkReach, Property,
        PropertyName, Source,
    },
    validate, verify, verify_running,
};

fn spec_on(kernel: Kernel, manifest: &Manifest) -> Spec {
    let instance = InstanceId {
        program: ProgramId::parse("counter").unwrap(),
        number: InstanceNumber(3),
    };
    let image = ImageId::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
    Spec::new(&instance, &image, manifest, kernel)
}

fn spec() -> Spec {
    spec_on(Kernel::Gvisor, &Manifest::default())
}

fn declared(property: Property) -> Fact {
    let by = "the engine".to_owned();
    Fact::Declared { property, by }
}

fn observed(property: Property) -> Fact {
    let how = "from inside".to_owned();
    Fact::Observed { property, how }
}

fn absent(name: PropertyName) -> Fact {
    let why = "no field for it".to_owned();
    Fact::Absent { name, why }
}

/// What a runtime says that made what was asked.
fn made(spec: &Spec) -> Vec<Fact> {
    let mut facts: Vec<Fact> = spec.properties().into_iter().map(declared).collect();
    if spec.bounds.processes.is_none() {
        facts.push(absent(PropertyName::Processes));
    }
    facts
}

/// The same with one fact in place of what was said of its property.
fn but(fact: Fact) -> Vec<Fact> {
    let mut facts = made(&spec());
    facts.retain(|other| other.name() != fact.name());
    facts.push(fact);
    facts
}

fn folder(target: &str, source: Source, access: Access) -> Folder {
    let target = target.to_owned();
    Folder {
        target,
        source,
        access,
    }
}

/// The folders that were asked for, changed.
fn folders(change: impl FnOnce(&mut Vec<Folder>)) -> Property {
    let mut folders = spec().folders();
    change(&mut folders);
    Property::Folders(folders)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn what_keeps_nothing_is_refused_with_the_programs_folder() {
    let manifest = Manifest {
        deploy: DeployStrategy::Overlap { drain_ms: 1 },
        ..Manifest::default()
    };
    let spec = spec_on(Kernel::Gvisor, &manifest);
    verify(&spec, &made(&spec)).unwrap();
    let mut facts = made(&spec);
    facts.retain(|fact| fact.name() != PropertyName::Folders);
    facts.push(declared(folders(|_| {})));
    let refused = verify(&spec, &facts).unwrap_err();
    assert_eq!(refused.contract, Contract::OneWritableVolume);
    // Nor is a folder in memory taken for the folder of a program that keeps something.
    let mut facts = made(&self::spec());
    facts.retain(|fact| fact.name() != PropertyName::MemoryFolders);
    facts.push(declared(Property::MemoryFolders(spec.memory_folders())));
    assert!(verify(&self::spec(), &facts).is_err());
}

/// What may be found and is not what was asked: at least one of each property.
fn others() -> Vec<Property> {
    let state_of = |name: &str| Source::StateOf(ProgramId::parse(name).unwrap());
    let memory_folders = |change: fn(&mut Vec<hersh_sandbox::property::MemoryFolder>)| {
        let mut folders = spec().memory_folders();
        change(&mut folders);
        Property::MemoryFolders(folders)
    };
    let bounds = spec().bounds;
    vec![
        Property::Kernel(None),
        Property::Kernel(Some(Kernel::Machine)),
        Property::RootFileSystem(Access::Writable),
        folders(Vec::clear),
        folders(|it| it[1].access = Access::ReadOnly),
        folders(|it| it[0].access = Access::Writable),
        folders(|it| it[0].source = Source::Foreign),
        folders(|it| it[1].source = Source::Foreign),
        folders(|it| it[1].source = state_of("other")),
        folders(|it| it.push(folder("/etc", Source::Foreign, Access::ReadOnly))),
        folders(|it| it.push(it[1].clone())),
        memory_folders(Vec::clear),
        memory_folders(|it| it.truncate(1)),
        memory_folders(|it| it[0].access = Access::ReadOnly),
        memory_folders(|it| it[1].target = "/etc".into()),
        memory_folders(|it| it[1].inert = false),
        memory_folders(|it| it[1].size_bytes = 0),
        memory_folders(|it| it[1].size_bytes += 1),
        Property::MountPoints(MountPoints::Obstructed("a link at /tmp".into())),
        Property::PublishedPorts(words(&["8080/tcp"])),
        Property::Network(NetworkReach::Foreign(Vec::new())),
        Property::Network(NetworkReach::Foreign(words(&["host"]))),
        Property::Network(NetworkReach::Mode(NetworkMode::Egress)),
        Property::NameServers(NameServers::OfMachine),
        Property::NameServers(NameServers::Others(words(&["8.8.8.8"]))),
        Property::User(String::new()),
        Property::User("0:0".into()),
        Property::Capabilities(["NET_RAW".to_owned()].into()),
        Property::NewPrivileges(true),
        Property::Devices(words(&["/dev/kvm"])),
        Property::SharedNamespaces(words(&["processes host"])),
        Property::RestartedBy(Some("the engine (always)".into())),
        Property::FirstProcess(FirstProcess::Program),
        Property::OtherSettings(words(&["Sysctls {}"])),
        Property::Memory(Bound::Unbounded),
        Property::Memory(Bound::AtMost(bounds.memory_bytes + 1)),
        Property::Swap(Bound::Unbounded),
        Property::Swap(Bound::AtMost(1)),
        Property::Processor(0),
        Property::Processor(bounds.cpu_millis + 1),
        Property::Processes(bounds.processes.unwrap() - 1),
        Property::Threads(0),
        Property::Threads(bounds.threads + 1),
        Property::Log(Bound::Unbounded),
        Property::Log(Bound::AtMost(bounds.log_bytes + 2)),
    ]
}

#[test]
fn every_property_belongs_to_a_contract_and_is_asked_once() {
    let mut asked: Vec<PropertyName> = spec().properties().iter().map(Property::name).collect();
    asked.sort();
    assert_eq!(asked, PropertyName::ALL);
    for contract in Contract::ALL {
        let mut of_contract = PropertyName::ALL.iter().map(|name| name.contract());
        assert!(of_contract.any(|it| it == contract), "{contract}");
    }
    let mut changed: Vec<PropertyName> = others().iter().map(Property::name).collect();
    changed.dedup();
    changed.sort();
    assert_eq!(changed, PropertyName::ALL, "the table has all of them");
}

#[test]
fn what_manifests_give_keeps_all_contracts() {
    for network in [
        NetworkMode::Internal,
        NetworkMode::None,
        NetworkMode::Egress,
    ] {
        for kernel in [Kernel::Gvisor, Kernel::Machine] {
            let mut manifest = Manifest {
                network,
                ..Manifest::default()
            };
            // An odd size is halved into two files by some runtimes.
            manifest.limits.log_bytes = 1_001;
            let spec = spec_on(kernel, &manifest);
            assert_eq!(validate(&spec), Ok(()), "{network:?} {kernel:?}");
            assert_eq!(spec.bounds.log_bytes, 1_000);
            let verified = verify(&spec, &made(&spec)).unwrap();
            let contracts: Vec<Contract> = verified.iter().map(|one| one.contract).collect();
            assert_eq!(contracts, Contract::ALL);
            let proofs = verified.iter().flat_map(|one| &one.properties);
            assert_eq!(proofs.count(), PropertyName::ALL.len());
        }
    }
}

#[test]
fn whatever_is_not_what_was_asked_is_refused_by_its_contract() {
    for other in others() {
        for fact in [declared(other.clone()), observed(other.clone())] {
            let violation = verify(&spec(), &but(fact)).unwrap_err();
            assert_eq!(violation.contract, other.name().contract(), "{violation}");
            assert_eq!(violation.found, other.to_string());
        }
    }
}

#[test]
fn an_observation_is_not_outvoted_by_what_a_runtime_says() {
    for other in others() {
        let mut facts = made(&spec());
        facts.insert(0, observed(other.clone()));
        let violation = verify(&spec(), &facts).unwrap_err();
        assert_eq!(violation.contract, other.name().contract(), "{violation}");
    }
}

#[test]
fn a_property_that_nobody_can_tell_is_not_taken_as_held() {
    for name in PropertyName::ALL.iter().copied() {
        for facts in [but(absent(name)), {
            let mut facts = made(&spec());
            facts.retain(|fact| fact.name() != name);
            facts
        }] {
            let violation = verify(&spec(), &facts).unwrap_err();
            assert_eq!(violation.contract, name.contract(), "{violation}");
        }
    }
}

#[test]
fn a_receipt_says_how_each_property_is_known() {
    let evidence = |verified: &[ContractProofs], name: PropertyName| {
        let mut proofs = verified.iter().flat_map(|it| &it.properties);
        let proof = proofs.find(|proof| proof.property.starts_with(name.words()));
        proof.unwrap().evidence.clone()
    };
    let mut facts = made(&spec());
    facts.insert(3, observed(Property::Kernel(Some(Kernel::Gvisor))));
    let verified = verify_running(&spec(), &facts).unwrap();
    let seen = Evidence::Observed("from inside".into());
    assert_eq!(evidence(&verified, PropertyName::Kernel), seen);
    let said = Evidence::Declared("the engine".into());
    assert_eq!(evidence(&verified, PropertyName::Memory), said);

    let unsandboxed = spec_on(Kernel::Machine, &Manifest::default());
    let verified = verify_running(&unsandboxed, &made(&unsandboxed)).unwrap();
    let unknown = Evidence::Absent("no field for it".into());
    assert_eq!(evidence(&verified, PropertyName::Processes), unknown);
}

#[test]
fn a_gvisor_that_nobody_looked_at_is_not_proved() {
    let violation = verify_running(&spec(), &made(&spec())).unwrap_err();
    assert_eq!(violation.contract, Contract::Gvisor);
}

#[test]
fn bounds_below_the_least_are_refused_before_anything_is_made() {
    let changes: [fn(&mut Bounds); 8] = [
        |it| it.memory_bytes = 0,
        |it| it.memory_bytes = MIN_MEMORY_BYTES - 1,
        |it| it.cpu_millis = 0,
        |it| it.threads = 256,
        |it| it.processes = None,
        |it| it.processes = Some(MIN_PIDS - 1),
        |it| it.tmp_bytes = 0,
        |it| it.log_bytes = 0,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut changed = spec();
        change(&mut changed.bounds);
        let violation = validate(&changed).unwrap_err();
        assert_eq!(violation.contract, Contract::Limits, "case {number}");
    }
}

#[test]
fn violation_names_its_contract_once_and_no_machine_path() {
    for other in others() {
        let violation = verify(&spec(), &but(observed(other))).unwrap_err();
        let said = Cause::from(StartError::from(violation)).to_string();
        assert_eq!(said.matches("contract").count(), 1, "{said}");
        assert!(!said.contains("/data"), "{said}");
    }
    let verified = verify(&spec(), &made(&spec())).unwrap();
    let proofs = verified.iter().flat_map(|one| &one.properties);
    let told: Vec<&str> = proofs.map(|proof| proof.property.as_str()).collect();
    for property in ["memory 256MiB", "processor 1 core", "swap none"] {
        assert!(told.contains(&property), "{told:?}");
    }
}

#[test]
fn receipts_of_older_hosts_are_read_as_declared() {
    let older = r#"{"contract":"gvisor","values":["runtime runsc"]}"#;
    let verified: ContractProofs = serde_json::from_str(older).unwrap();
    assert_eq!(verified.properties[0].property, "runtime runsc");
    let said = Evidence::Declared("an older host".into());
    assert_eq!(verified.properties[0].evidence, said);
    let again = serde_json::to_string(&verified).unwrap();
    assert_eq!(
        serde_json::from_str::<ContractProofs>(&again).unwrap(),
        verified
    );
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
        let spec = spec_on(Kernel::Gvisor, manifest);
        let name = "HERSH_STOP_GRACE_MS";
        (
            spec.env.get(name).cloned(),
            spec.host_env.get(name).cloned(),
        )
    };
    assert_eq!(told(&manifest), (None, Some("2700".to_owned())));
    let own = ("HERSH_STOP_GRACE_MS".to_owned(), "100".to_owned());
    manifest.env.extend([own]);
    assert_eq!(told(&manifest), (Some("100".to_owned()), None));
}

#[test]
fn a_program_without_a_network_is_told_its_socket() {
    let mut manifest = Manifest::default();
    let told = |manifest: &Manifest| {
        let spec = spec_on(Kernel::Gvisor, manifest);
        let name = "HERSH_WATCHER_SOCKET";
        (
            spec.env.get(name).cloned(),
            spec.host_env.get(name).cloned(),
        )
    };
    assert_eq!(told(&manifest), (None, None));
    let own = ("HERSH_WATCHER_SOCKET".to_owned(), "/tmp/x".to_owned());
    manifest.env.extend([own]);
    assert_eq!(told(&manifest), (Some("/tmp/x".to_owned()), None));
    manifest.network = NetworkMode::None;
    let socket = Some("/state/watcher.sock".to_owned());
    assert_eq!(told(&manifest), (None, socket));
}
