//! Two instances of one program at once: each is started, looked at and stopped by itself.

use std::time::Duration;

use hersh_program::{InstanceId, InstanceNumber, Instances, Manifest, Observed, Readiness};
use hersh_sandbox::{Runtime, Spec};

use crate::world::{World, address};

fn numbered(world: &World, number: u64) -> InstanceId {
    InstanceId {
        program: world.program.clone(),
        number: InstanceNumber(number),
    }
}

#[tokio::test]
async fn a_start_and_a_stop_leave_the_other_instance_alone() {
    let world = World::new();
    let image = world.script("sleep 1000").await;
    let start = async |number: u64| {
        let mut manifest = Manifest {
            readiness: Readiness::None { port: 8080 },
            ..Manifest::default()
        };
        manifest.limits.memory_bytes = 64 << 20;
        let kernel = world.runtime.kernel();
        let spec = Spec::new(&numbered(&world, number), &image, &manifest, kernel);
        world.runtime.start(spec).await.unwrap()
    };
    let see = async |number: u64| {
        let instance = numbered(&world, number);
        world.runtime.observe(&instance).await.unwrap()
    };
    let (first, second) = (start(1).await, start(2).await);
    assert_eq!(second.receipt.instance, InstanceNumber(2));
    assert_ne!(address(&first).await, address(&second).await);
    for (number, running) in [(1, &first), (2, &second)] {
        assert_eq!(
            see(number).await,
            Observed::Running(running.container.clone())
        );
        let endpoint = world.runtime.endpoint(&numbered(&world, number)).await;
        assert!(endpoint.unwrap().is_some());
    }
    // A further attempt at the same instance takes the place of the one before.
    let again = start(2).await;
    assert_ne!(again.container, second.container);
    assert_eq!(see(1).await, Observed::Running(first.container.clone()));

    let one = Instances::One(InstanceNumber(1));
    let stopped = world.runtime.stop(&world.program, one, Duration::ZERO);
    stopped.await.unwrap();
    assert_eq!(see(1).await, Observed::Absent);
    assert_eq!(see(2).await, Observed::Running(again.container.clone()));
    let listed = world.runtime.list().await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|it| it.instance).collect();
    assert_eq!(listed, [numbered(&world, 2)]);

    start(3).await;
    world.stop().await;
    assert!(world.containers().await.is_empty());
}
