//! An engine whose connections break: exits and output that came meanwhile are not lost.

use bollard::query_parameters::RemoveContainerOptions;
use hersh_program::ExitReason;
use hersh_sandbox::Runtime;

use crate::{
    life::exit_of,
    meddler::Meddler,
    world::{World, until},
};

/// Prints when it is told to go on, then ends when it is told to.
const SCRIPT: &str = "echo one; until [ -e /state/on ]; do sleep 0.05; done; echo two; \
                      until [ -e /state/end ]; do sleep 0.05; done; echo three; exit 6";

#[tokio::test]
async fn an_exit_and_the_last_lines_come_through_a_broken_connection() {
    let world = World::new();
    let meddler = Meddler::spawn(|_| {});
    let runtime = meddler.runtime(&world);
    let mut events = runtime.events();
    let image = world.script(SCRIPT).await;
    let id = runtime
        .start(world.spec(&image, |_| {}))
        .await
        .unwrap()
        .container;
    let says = async |line: &str| {
        until(line, || async { world.last_lines(1).await == [line] }).await;
    };
    says("one").await;

    // It goes on to run: the capture picks up where it was cut off.
    meddler.set_open(false);
    assert!(runtime.observe(&world.instance()).await.is_err());
    touch(&world, "on");
    meddler.set_open(true);
    says("two").await;

    // It ends while nobody can look.
    meddler.set_open(false);
    touch(&world, "end");
    world.exit().await;
    meddler.set_open(true);
    let event = exit_of(&mut events).await;
    assert_eq!(
        (event.container, event.exit.reason),
        (id, ExitReason::Code(6))
    );
    says("three").await;
    let lines = world.last_lines(50).await;
    assert_eq!(lines, ["one", "two", "three"]);
    world.stop().await;
}

#[tokio::test]
async fn a_container_that_went_while_nobody_could_look_has_vanished() {
    let world = World::new();
    let meddler = Meddler::spawn(|_| {});
    let runtime = meddler.runtime(&world);
    let mut events = runtime.events();
    let image = world.script("sleep 1000").await;
    let id = runtime
        .start(world.spec(&image, |_| {}))
        .await
        .unwrap()
        .container;

    meddler.set_open(false);
    let options = RemoveContainerOptions {
        force: true,
        ..RemoveContainerOptions::default()
    };
    world
        .engine
        .remove_container(id.as_str(), Some(options))
        .await
        .unwrap();
    meddler.set_open(true);
    let event = exit_of(&mut events).await;
    assert_eq!(
        (event.container, event.exit.reason),
        (id, ExitReason::Vanished)
    );
}

fn touch(world: &World, name: &str) {
    std::fs::write(world.storage.paths(&world.program).state.join(name), "").unwrap();
}
