//! A sandbox that is paused writes nothing, and goes on after that.

use hersh_sandbox::Runtime;

use crate::world::{World, until};

/// Counts in two files, one after the other.
const COUNTS: &str = "n=0; while :; do n=$((n+1)); echo $n > /state/a; echo $n > /state/b; done";

#[tokio::test]
async fn a_paused_program_writes_nothing_until_it_is_woken() {
    let world = World::new();
    world.start(COUNTS).await;
    let state = world.storage.paths(&world.program).state;
    let read = || std::fs::read_to_string(state.join("a")).unwrap_or_default();
    until("it counts", || async { !read().is_empty() }).await;

    world.runtime.pause(&world.instance()).await.unwrap();
    let seen = read();
    // Many steps of its loop would fit in here.
    for _ in 0..20_000 {
        assert_eq!(read(), seen);
    }
    world.runtime.unpause(&world.instance()).await.unwrap();
    until("it counts on", || async { read() != seen }).await;
    // Awake already: that is a success too.
    world.runtime.unpause(&world.instance()).await.unwrap();
    world.stop().await;
    world.runtime.unpause(&world.instance()).await.unwrap();
}

#[tokio::test]
async fn a_paused_program_can_be_stopped() {
    let world = World::new();
    world.start(COUNTS).await;
    world.runtime.pause(&world.instance()).await.unwrap();
    world.stop().await;
    assert!(world.runtime.list().await.unwrap().is_empty());
}
