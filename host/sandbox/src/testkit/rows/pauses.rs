//! What pausing does.

use hersh_program::{InstanceStatus, Instances};

use super::{observe, stop, stop_obedient, written};
use crate::{
    Runtime,
    testkit::{COUNT, Conduct, READY, World, instance, start, until},
};

/// Nothing runs in a paused instance, and unpausing lets it go on. Unpausing what is not paused, or gone, is
/// a success.
pub async fn a_paused_instance_does_nothing_until_it_is_woken(world: &impl World) {
    /// Many steps of the program would fit into so many looks.
    const LOOKS: u32 = 20_000;

    let (runtime, first) = (world.runtime(), instance(world, 1));
    let container = start(world, Conduct::Counts, 1).await.container;
    for _twice in 0..2 {
        let before = written(world, COUNT).await;
        let counts_on =
            || async { ![before.as_str(), ""].contains(&world.read_state(COUNT).trim_end()) };
        until("it counts", counts_on).await;

        runtime.pause(&first).await.unwrap();
        let paused_at = world.read_state(COUNT);
        for _look in 0..LOOKS {
            assert_eq!(world.read_state(COUNT), paused_at);
            // Lets a program run that is a task of this test.
            tokio::task::yield_now().await;
        }
        let observed = observe(world, 1).await;
        assert_eq!(observed, InstanceStatus::Running(container.clone()));

        runtime.unpause(&first).await.unwrap();
        let counts_on = || async { world.read_state(COUNT) != paused_at };
        until("it counts on", counts_on).await;
        runtime.unpause(&first).await.unwrap();
    }
    stop(world, Instances::All).await;
    runtime.unpause(&first).await.unwrap();
}

/// A stop lets a paused instance go on, which then ends by itself. What is gone can't be paused.
pub async fn a_paused_instance_can_be_stopped(world: &impl World) {
    let (runtime, first) = (world.runtime(), instance(world, 1));
    start(world, Conduct::Obeys, 1).await;
    written(world, READY).await;
    runtime.pause(&first).await.unwrap();
    stop_obedient(world).await;
    runtime.pause(&first).await.unwrap_err();
}
