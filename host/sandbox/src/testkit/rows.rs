//! The rows of the suite. Each row checks one statement that holds for every runtime.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hersh_base::sandbox::StateUsage;
use hersh_program::{Cause, ExitReason, ImageId, InstanceNumber, Instances, Observed};
use tokio::io::AsyncReadExt;

use super::{ANSWER, Conduct, END_CODE, PATIENCE, PORT, World, instance, spec, start};
use crate::{
    BuildError, Builder, Contract, Evidence, InUse, ListedInstance, Proof, Retention, Runtime,
    StartError, property::PropertyName,
};

async fn stop(world: &impl World, instances: Instances) {
    let program = world.program();
    let stopped = world.runtime().stop(program, instances, Duration::ZERO);
    stopped.await.unwrap();
}

async fn observe(world: &impl World, number: u64) -> Observed {
    let instance = instance(world, number);
    world.runtime().observe(&instance).await.unwrap()
}

async fn list(world: &impl World) -> Vec<ListedInstance> {
    let mut listed = world.runtime().list().await.unwrap();
    listed.sort_by_key(|it| it.instance.number);
    listed
}

/// A check tells the name and the version of the engine, and the kernel that programs run on.
pub async fn a_check_names_what_runs_programs(world: &impl World) {
    let info = world.runtime().check().await.unwrap();
    assert!(
        !info.name.is_empty() && !info.version.is_empty(),
        "{info:?}"
    );
    assert_eq!(info.kernel, world.runtime().kernel());
}

/// An image is built once for a tree, is found again, and is gone once it was forgotten.
pub async fn a_build_stands_until_it_is_forgotten(world: &impl World) {
    let (runtime, program) = (world.runtime(), world.program());
    let request = world.tree(Conduct::Waits);
    let build = request.build.clone();
    assert_eq!(runtime.find(program, &build).await.unwrap(), None);
    let image = runtime.build(request).await.unwrap();
    let again = runtime.build(world.tree(Conduct::Waits)).await.unwrap();
    assert_eq!(again, image);
    let found = runtime.find(program, &build).await.unwrap();
    assert_eq!(found, Some(image));
    for _twice in 0..2 {
        runtime.forget(program).await.unwrap();
        assert_eq!(runtime.find(program, &build).await.unwrap(), None);
    }
}

/// A cancelled build leaves no image.
pub async fn a_cancelled_build_leaves_no_image(world: &impl World) {
    let request = world.tree(Conduct::Waits);
    let build = request.build.clone();
    request.cancel.cancel();
    let built = world.runtime().build(request).await;
    assert!(matches!(built, Err(BuildError::Cancelled)), "{built:?}");
    let found = world.runtime().find(world.program(), &build).await;
    assert_eq!(found.unwrap(), None);
}

/// Every method that tells of an instance tells the same.
pub async fn an_instance_is_known_from_its_start_to_its_stop(world: &impl World) {
    let (runtime, first) = (world.runtime(), instance(world, 1));
    assert_eq!(observe(world, 1).await, Observed::Absent);
    let running = start(world, Conduct::Waits, 1).await;
    let receipt = &running.receipt;
    assert_eq!(receipt.program, first.program);
    assert_eq!(receipt.instance, first.number);
    assert_eq!(receipt.container, running.container);
    assert_eq!(receipt.asked_kernel, runtime.kernel());
    let contracts: Vec<Contract> = receipt.contracts.iter().map(|it| it.contract).collect();
    assert_eq!(contracts, Contract::ALL);
    let proofs = receipt.contracts.iter().flat_map(|it| &it.properties);
    let proofs: Vec<&Proof> = proofs.collect();
    assert_eq!(proofs.len(), PropertyName::ALL.len());
    assert!(
        matches!(proofs[0].evidence, Evidence::Observed(_)),
        "{receipt:?}"
    );

    let container = running.container;
    assert_eq!(
        observe(world, 1).await,
        Observed::Running(container.clone())
    );
    let listed = ListedInstance {
        instance: first.clone(),
        container,
        running: true,
    };
    assert_eq!(list(world).await, [listed]);
    assert!(runtime.stats(&first).await.unwrap().is_some());
    assert!(runtime.endpoint(&first).await.unwrap().is_some());

    // A second stop is a success too.
    for _twice in 0..2 {
        stop(world, Instances::All).await;
        assert_eq!(observe(world, 1).await, Observed::Absent);
        assert_eq!(list(world).await, []);
        assert_eq!(runtime.stats(&first).await.unwrap(), None);
        assert!(runtime.endpoint(&first).await.unwrap().is_none());
    }
}

/// Two instances of a program run beside each other: starting or stopping one leaves the other alone.
pub async fn a_start_and_a_stop_leave_the_other_instance_alone(world: &impl World) {
    let first = start(world, Conduct::Waits, 1).await.container;
    let second = start(world, Conduct::Waits, 2).await.container;
    assert_eq!(observe(world, 1).await, Observed::Running(first.clone()));
    assert_eq!(observe(world, 2).await, Observed::Running(second.clone()));
    // Starting the same instance again replaces what the earlier start made.
    let again = start(world, Conduct::Waits, 2).await.container;
    assert_ne!(again, second);
    assert_eq!(observe(world, 1).await, Observed::Running(first));

    stop(world, Instances::One(InstanceNumber(1))).await;
    assert_eq!(observe(world, 1).await, Observed::Absent);
    assert_eq!(observe(world, 2).await, Observed::Running(again));
    stop(world, Instances::All).await;
    assert_eq!(list(world).await, []);
}

/// The end of an instance is told to each listener until the instance is removed.
pub async fn an_end_is_told_to_each_who_listens_and_stays(world: &impl World) {
    let runtime = world.runtime();
    let mut events = runtime.events();
    let container = start(world, Conduct::Waits, 1).await.container;
    world.tell_to_end().await;
    let told = tokio::time::timeout(PATIENCE, events.recv()).await;
    let told = told.unwrap().unwrap();
    assert_eq!(told.instance, instance(world, 1));
    assert_eq!(told.container, container);
    assert_eq!(told.exit.reason, ExitReason::Code(END_CODE));

    // A listener who comes later is told too: an end is never lost.
    drop(events);
    let mut later = runtime.events();
    let again = tokio::time::timeout(PATIENCE, later.recv()).await;
    assert_eq!(again.unwrap().unwrap(), told);
    let exited = Observed::Exited(container, told.exit);
    assert_eq!(observe(world, 1).await, exited);
    let listed = list(world).await;
    assert!(
        matches!(listed.as_slice(), [one] if !one.running),
        "{listed:?}"
    );
    stop(world, Instances::All).await;
    assert_eq!(observe(world, 1).await, Observed::Absent);
}

/// A kill leaves the dead instances, which only a stop removes.
pub async fn a_kill_ends_every_instance_and_removes_none(world: &impl World) {
    for number in [1, 2] {
        start(world, Conduct::Waits, number).await;
    }
    world.runtime().kill(world.program()).await.unwrap();
    // Whoever listens from here on is told of each that is dead, whether it died before or after.
    let mut events = world.runtime().events();
    let mut ended = BTreeSet::new();
    while ended.len() < 2 {
        let told = tokio::time::timeout(PATIENCE, events.recv()).await;
        ended.insert(told.unwrap().unwrap().instance);
    }
    assert!(list(world).await.iter().all(|it| !it.running));
    assert_eq!(list(world).await.len(), 2);
    stop(world, Instances::All).await;
    world.runtime().kill(world.program()).await.unwrap();
}

/// The endpoint that a start returns and the one that is asked for later both lead to the program.
pub async fn an_endpoint_leads_to_what_listens(world: &impl World) {
    let running = start(world, Conduct::Listens, 1).await;
    world.listen();
    let found = world.runtime().endpoint(&instance(world, 1)).await;
    for endpoint in [running.endpoint, found.unwrap().unwrap()] {
        let mut tries = tokio::time::interval(Duration::from_millis(10));
        let answer = async {
            loop {
                tries.tick().await;
                // The program may not listen yet.
                if let Ok(mut stream) = endpoint.dial(PORT).await {
                    let mut answer = String::new();
                    let _ = stream.read_to_string(&mut answer).await;
                    if answer.trim_end() == ANSWER {
                        return;
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.unwrap();
    }
    stop(world, Instances::All).await;
}

/// Unpausing an instance that is not paused, or is gone, is a success.
pub async fn a_paused_instance_goes_on_however_often_it_is_told(world: &impl World) {
    let (runtime, first) = (world.runtime(), instance(world, 1));
    let container = start(world, Conduct::Waits, 1).await.container;
    runtime.pause(&first).await.unwrap();
    assert_eq!(observe(world, 1).await, Observed::Running(container));
    runtime.unpause(&first).await.unwrap();
    runtime.unpause(&first).await.unwrap();
    runtime.pause(&first).await.unwrap();
    stop(world, Instances::All).await;
    runtime.unpause(&first).await.unwrap();
}

/// An image stays while [`InUse`] names the image or its build.
pub async fn an_image_that_is_needed_is_not_collected(world: &impl World) {
    let (runtime, program) = (world.runtime(), world.program());
    let request = world.tree(Conduct::Waits);
    let build = request.build.clone();
    let image = runtime.build(request).await.unwrap();
    let by_build = InUse {
        builds: [(program.clone(), build.clone())].into(),
        ..InUse::default()
    };
    let by_image = InUse {
        images: [image.clone()].into(),
        ..InUse::default()
    };
    for in_use in [by_build, by_image] {
        let in_use = || in_use.clone();
        let collected = runtime.collect(&in_use, Retention::NOTHING).await.unwrap();
        assert!(collected.is_empty(), "{collected:?}");
    }
    let nothing = InUse::default;
    let collected = runtime.collect(&nothing, Retention::NOTHING).await.unwrap();
    assert_eq!(collected.of("images"), 1);
    assert_eq!(runtime.find(program, &build).await.unwrap(), None);
}

/// A start with an image that does not exist fails, and the error names the image.
pub async fn an_image_that_is_gone_is_named(world: &impl World) {
    let mut spec = spec(world, Conduct::Waits, 1).await;
    spec.image = ImageId::parse(&format!("sha256:{}", "e".repeat(64))).unwrap();
    let gone = spec.image.clone();
    let error = world.runtime().start(spec).await.unwrap_err();
    assert_eq!(Cause::from(error), Cause::ImageGone { image: gone });
    assert_eq!(list(world).await, []);
}

/// No instance is made of a spec that breaks a contract.
pub async fn bounds_below_the_least_make_nothing(world: &impl World) {
    let mut spec = spec(world, Conduct::Waits, 1).await;
    spec.bounds.memory_bytes = 1;
    let started = world.runtime().start(spec).await;
    match started {
        Err(StartError::Violated(violation)) => assert_eq!(violation.contract, Contract::Limits),
        other => panic!("{other:?}"),
    }
    assert_eq!(list(world).await, []);
}

/// Measuring a state stops once there are more than enough bytes, and the permit is dropped at the end.
pub async fn state_is_measured_and_the_permit_given_back(world: &impl World) {
    struct Permit(Arc<AtomicBool>);
    impl Drop for Permit {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    world.write_state(100_000);
    for (enough, least) in [(u64::MAX, 100_000), (10_000, 10_001)] {
        let given_back = Arc::default();
        let permit = Box::new(Permit(Arc::clone(&given_back)));
        let measured = world.runtime().state_bytes(world.program(), enough, permit);
        let StateUsage::Bytes(bytes) = measured.await.unwrap() else {
            panic!("nobody writes there");
        };
        assert!(bytes >= least, "{bytes}");
        assert!(given_back.load(Ordering::SeqCst));
    }
}

/// An explanation names the variables of the manifest without their values, which may be secrets.
pub async fn an_explanation_tells_no_value_of_the_manifest(world: &impl World) {
    let spec = spec(world, Conduct::Waits, 1).await;
    let told = world.runtime().explain(&spec);
    assert!(told.contains("SECRET"), "{told}");
    assert!(!told.contains("canary-value"), "{told}");
}
