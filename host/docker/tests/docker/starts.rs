//! Starts: what is verified, what is refused, what is left.

use hersh_program::{ExitReason, ImageId, InstanceStatus};
use hersh_sandbox::{Contract, Evidence, Kernel, Receipt, Runtime, StartError};
use serde_json::{Value, json};

use crate::{
    meddler::Meddler,
    world::{World, address, unsandboxed},
};

#[tokio::test]
async fn a_start_runs_on_gvisor_and_leaves_a_receipt() {
    let world = World::new();
    let running = world.start("sleep 1000").await;
    let receipt = &running.receipt;
    assert_eq!(receipt.asked_kernel, Kernel::Gvisor);
    assert!(
        receipt.kernel.contains("Starting gVisor"),
        "{}",
        receipt.kernel
    );
    let verified: Vec<Contract> = receipt.contracts.iter().map(|one| one.contract).collect();
    assert_eq!(verified, Contract::ALL);
    assert_observed(receipt);
    world
        .storage
        .write_receipt(&world.program, receipt)
        .unwrap();
    assert_eq!(
        world.storage.read_receipt(&world.program).unwrap().as_ref(),
        Some(receipt)
    );

    let log = world.inside(running.container.as_str(), "dmesg").await;
    assert!(log.contains("Starting gVisor"), "{log}");
    let endpoint = world.runtime.endpoint(&world.instance()).await.unwrap();
    assert!(endpoint.is_some());
    assert!(address(&running).await.is_some());
    let observed = world.runtime.observe(&world.instance()).await.unwrap();
    assert_eq!(observed, InstanceStatus::Running(running.container));
    world.stop().await;
    assert_eq!(
        world.runtime.observe(&world.instance()).await.unwrap(),
        InstanceStatus::Absent
    );
}

/// What somebody looked at, and how the kernel was.
fn assert_observed(receipt: &Receipt) {
    let proofs = receipt.contracts.iter().flat_map(|one| &one.properties);
    let observed = proofs.filter_map(|proof| match &proof.evidence {
        Evidence::Observed(how) => Some((proof.property.as_str(), how.as_str())),
        Evidence::Declared(_) | Evidence::Absent(_) => None,
    });
    let (properties, ways): (Vec<&str>, Vec<&str>) = observed.unzip();
    assert_eq!(
        properties,
        [
            "kernel gVisor's",
            "root file system read-only",
            "mount points not led elsewhere",
            "capabilities none",
            "memory 64MiB",
            "processor 1 core",
            "threads on the machine's kernel 9216"
        ]
    );
    let how = ways[0];
    assert!(
        how.contains("process on the machine: runsc version "),
        "{how}"
    );
    let stacks = ["the machine's network stack", "gVisor's network stack"];
    assert!(stacks.iter().any(|stack| how.contains(stack)), "{how}");
}

#[tokio::test]
async fn an_image_of_nothing_but_a_program_is_looked_at_too() {
    let world = World::new();
    let dockerfile = "FROM scratch\nCOPY bin/busybox /sleep\nCMD [\"/sleep\", \"1000\"]\n";
    let image = world.try_build(dockerfile).await.unwrap();
    let running = world
        .runtime
        .start(world.spec(&image, |_| {}))
        .await
        .unwrap();
    assert!(running.receipt.kernel.contains("gVisor"));
    world.stop().await;
}

#[tokio::test]
async fn a_program_that_ends_at_once_gives_its_last_words() {
    let world = World::new();
    let image = world.script("echo no luck >&2; exit 7").await;
    let exit = world.end(world.spec(&image, |_| {})).await.unwrap();
    assert_eq!(exit.reason, ExitReason::Code(7));
    assert_eq!(exit.logs, ["no luck"]);
    world.stop().await;
}

#[tokio::test]
async fn a_volume_that_an_image_declares_is_refused_and_removed() {
    // No build makes such an image, so it is one that somebody else made.
    let world = World::new();
    let dockerfile = "FROM scratch\nCOPY bin /bin\nVOLUME /data\nCMD [\"/bin/sleep\", \"1000\"]\n";
    let name = format!("volume-{}", world.program);
    world.foreign_image(&name, dockerfile).await;
    let image = world.engine.inspect_image(&name).await.unwrap().id.unwrap();
    let image = ImageId::parse(&image).unwrap();
    let result = world.runtime.start(world.spec(&image, |_| {})).await;
    assert_violates(result, Contract::OneWritableVolume);
    assert!(world.containers().await.is_empty());
    world.remove_image(&name).await;
}

#[tokio::test]
async fn a_spec_that_breaks_a_contract_creates_nothing() {
    let world = World::new();
    let image = world.script("sleep 1000").await;
    let mut spec = world.spec(&image, |_| {});
    spec.bounds.memory_bytes = 1;
    let meddler = Meddler::spawn(|_| {});
    let runtime = meddler.runtime(&world);
    assert_violates(runtime.start(spec).await, Contract::Limits);
    assert_eq!(meddler.created(), 0);
}

#[tokio::test]
async fn whatever_is_altered_behind_our_back_is_caught_and_removed() {
    let world = World::new();
    let image = world.script("sleep 1000").await;
    for (number, (contract, alter)) in alterations().into_iter().enumerate() {
        let meddler = Meddler::spawn(move |body| alter(body));
        let result = meddler
            .runtime(&world)
            .start(world.spec(&image, |_| {}))
            .await;
        let violated = match result {
            Err(StartError::Violated(violation)) => violation.contract,
            other => panic!("case {number}, {contract}: {other:?}"),
        };
        assert_eq!(violated, contract, "case {number}");
        assert_eq!(meddler.created(), 1, "case {number}");
        assert!(world.containers().await.is_empty(), "case {number}");
    }
}

#[tokio::test]
async fn a_development_host_says_so_in_the_receipt() {
    let world = World::with(unsandboxed);
    let running = world.start("sleep 1000").await;
    assert_eq!(running.receipt.asked_kernel, Kernel::Machine);
    assert!(
        running.receipt.kernel.starts_with("Linux version"),
        "{}",
        running.receipt.kernel
    );
    assert!(!running.receipt.kernel.contains("gVisor"));
    world.stop().await;
}

type Alteration = Box<dyn Fn(&mut Value) + Send + Sync>;

/// What somebody could do to a request, and the contract that it breaks.
#[allow(clippy::too_many_lines, reason = "a table")]
fn alterations() -> Vec<(Contract, Alteration)> {
    let host = |key: &'static str, value: Value| {
        move |body: &mut Value| body["HostConfig"][key] = value.clone()
    };
    let extra_mount = json!({"Type": "bind", "Source": "/etc", "Target": "/state/etc"});
    vec![
        (Contract::Gvisor, Box::new(host("Runtime", json!("runc")))),
        (
            Contract::ReadOnlyRoot,
            Box::new(host("ReadonlyRootfs", json!(false))),
        ),
        (
            Contract::OneWritableVolume,
            Box::new(host("Binds", json!(["/etc:/hostetc"]))),
        ),
        (
            Contract::OneWritableVolume,
            Box::new(move |body| {
                let mounts = body["HostConfig"]["Mounts"].as_array_mut().unwrap();
                mounts.push(extra_mount.clone());
            }),
        ),
        (
            Contract::OneWritableVolume,
            Box::new(host("Tmpfs", json!({"/tmp": "size=1g"}))),
        ),
        (
            Contract::NoPublishedPort,
            Box::new(host(
                "PortBindings",
                json!({"80/tcp": [{"HostPort": "8099"}]}),
            )),
        ),
        (
            Contract::NoPublishedPort,
            Box::new(host("PublishAllPorts", json!(true))),
        ),
        (
            Contract::Network,
            Box::new(host("NetworkMode", json!("none"))),
        ),
        (
            Contract::Network,
            Box::new(|body| {
                body["HostConfig"]["NetworkMode"] = json!("host");
                body["Hostname"] = json!("");
            }),
        ),
        (Contract::Network, Box::new(host("Dns", json!(["8.8.8.8"])))),
        (
            Contract::Privileges,
            Box::new(host("Privileged", json!(true))),
        ),
        (
            Contract::Privileges,
            Box::new(host("CapAdd", json!(["SYS_ADMIN"]))),
        ),
        (Contract::Privileges, Box::new(host("CapDrop", json!([])))),
        (
            Contract::Privileges,
            Box::new(host("SecurityOpt", json!([]))),
        ),
        (
            Contract::Privileges,
            Box::new(host(
                "SecurityOpt",
                json!(["no-new-privileges", "seccomp=unconfined"]),
            )),
        ),
        (
            Contract::Privileges,
            Box::new(host("PidMode", json!("host"))),
        ),
        (
            Contract::Privileges,
            Box::new(host("IpcMode", json!("shareable"))),
        ),
        (
            Contract::Privileges,
            Box::new(host("GroupAdd", json!(["0"]))),
        ),
        (
            Contract::Privileges,
            Box::new(host("OomScoreAdj", json!(-500))),
        ),
        (
            Contract::Privileges,
            Box::new(|body| body["User"] = json!("0:0")),
        ),
        (
            Contract::Limits,
            Box::new(|body| {
                body["HostConfig"]["Memory"] = json!(0);
                body["HostConfig"]["MemorySwap"] = json!(0);
            }),
        ),
        (
            Contract::Limits,
            Box::new(host("NanoCpus", json!(2_000_000_000_i64))),
        ),
        (Contract::Limits, Box::new(host("PidsLimit", json!(0)))),
        (
            Contract::Limits,
            Box::new(host("LogConfig", json!({"Type": "json-file"}))),
        ),
    ]
}

fn assert_violates<T: std::fmt::Debug>(result: Result<T, StartError>, contract: Contract) {
    match result {
        Err(StartError::Violated(violation)) => assert_eq!(violation.contract, contract),
        other => panic!("{other:?}"),
    }
}
