//! What a runtime tells of itself and of what it starts.

use std::sync::atomic::Ordering;

use hersh_base::sandbox::StateUsage;
use hersh_program::{Cause, ImageId, InstanceNumber, InstanceStatus, Instances};

use super::{Given, list, observe, stop};
use crate::{
    Contract, Evidence, ListedInstance, Proof, Runtime, StartError,
    property::PropertyName,
    testkit::{Conduct, MEMORY_BYTES, World, instance, spec, start, until},
};

/// A check tells the name and the version of the engine, and the kernel that programs run on.
pub async fn a_check_names_what_runs_programs(world: &impl World) {
    let info = world.runtime().check().await.unwrap();
    assert!(
        !info.name.is_empty() && !info.version.is_empty(),
        "{info:?}"
    );
    assert_eq!(info.kernel, world.runtime().kernel());
}

/// Once a check has been made, each folder that fills up with images and instances is one.
pub async fn the_folders_that_fill_up_are_there(world: &impl World) {
    world.runtime().check().await.unwrap();
    for folder in world.runtime().folders() {
        assert!(folder.is_absolute() && folder.is_dir(), "{folder:?}");
    }
}

/// Every method that tells of an instance tells the same.
pub async fn an_instance_is_known_from_its_start_to_its_stop(world: &impl World) {
    let (runtime, first) = (world.runtime(), instance(world, 1));
    assert_eq!(observe(world, 1).await, InstanceStatus::Absent);
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
        InstanceStatus::Running(container.clone())
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
        assert_eq!(observe(world, 1).await, InstanceStatus::Absent);
        assert_eq!(list(world).await, []);
        assert_eq!(runtime.stats(&first).await.unwrap(), None);
        assert!(runtime.endpoint(&first).await.unwrap().is_none());
    }
}

/// Two instances of a program run beside each other: starting or stopping one leaves the other alone.
pub async fn a_start_and_a_stop_leave_the_other_instance_alone(world: &impl World) {
    let first = start(world, Conduct::Waits, 1).await.container;
    let second = start(world, Conduct::Waits, 2).await.container;
    assert_eq!(
        observe(world, 1).await,
        InstanceStatus::Running(first.clone())
    );
    assert_eq!(
        observe(world, 2).await,
        InstanceStatus::Running(second.clone())
    );
    // Starting the same instance again replaces what the earlier start made.
    let again = start(world, Conduct::Waits, 2).await.container;
    assert_ne!(again, second);
    assert_eq!(observe(world, 1).await, InstanceStatus::Running(first));

    stop(world, Instances::One(InstanceNumber(1))).await;
    assert_eq!(observe(world, 1).await, InstanceStatus::Absent);
    assert_eq!(observe(world, 2).await, InstanceStatus::Running(again));
    stop(world, Instances::All).await;
    assert_eq!(list(world).await, []);
}

/// A start drops its permit once it is through, whatever came of it.
pub async fn a_start_gives_its_permit_back(world: &impl World) {
    let sound = spec(world, Conduct::Waits, 1).await;
    let mut unsound = sound.clone();
    unsound.image = ImageId::parse(&format!("sha256:{}", "e".repeat(64))).unwrap();
    for (spec, is_sound) in [(unsound, false), (sound, true)] {
        let (permit, given_back) = Given::new();
        let started = world.runtime().start_with_permit(spec, Box::new(permit));
        assert_eq!(started.await.is_ok(), is_sound);
        assert!(given_back.load(Ordering::SeqCst));
    }
    stop(world, Instances::All).await;
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

/// What an instance uses is told with its bound, and grows while the instance is busy.
pub async fn use_is_told_of_what_runs(world: &impl World) {
    let (runtime, first) = (world.runtime(), instance(world, 1));
    start(world, Conduct::Counts, 1).await;
    let look = async || runtime.stats(&first).await.unwrap().expect("it runs");
    let before = look().await;
    assert_eq!(before.memory_limit_bytes, MEMORY_BYTES);
    assert!(before.memory_bytes <= MEMORY_BYTES, "{before:?}");
    until("it has used the processor", || async {
        look().await.cpu_us > before.cpu_us
    })
    .await;
    stop(world, Instances::All).await;
}

/// Measuring a state stops once there are more than enough bytes, and the permit is dropped at the end.
pub async fn state_is_measured_and_the_permit_given_back(world: &impl World) {
    world.write_state(100_000);
    for (enough, least) in [(u64::MAX, 100_000), (10_000, 10_001)] {
        let (permit, given_back) = Given::new();
        let permit = Box::new(permit);
        let measured = world.runtime().state_bytes(world.program(), enough, permit);
        let StateUsage::Bytes(bytes) = measured.await.unwrap() else {
            panic!("nobody writes there");
        };
        assert!(bytes >= least, "{bytes}");
        assert!(given_back.load(Ordering::SeqCst));
    }
}

/// An explanation names the variables of the manifest without their values, which may be secrets, and no
/// folder of the host.
pub async fn an_explanation_tells_no_value_and_no_folder(world: &impl World) {
    let spec = spec(world, Conduct::Waits, 1).await;
    let told = world.runtime().explain(&spec);
    assert!(told.contains("SECRET"), "{told}");
    assert!(!told.contains("canary-value"), "{told}");
    let tree = world.tree(Conduct::Waits).context_dir;
    let mut folders = tree.ancestors();
    let own = folders.find(|it| it.ends_with(world.program().as_str()));
    let own = own.expect("a tree lies in its program's folder");
    assert!(!told.contains(own.to_str().unwrap()), "{told}");
}
