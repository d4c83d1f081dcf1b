//! What a program uses is told.

use hersh_sandbox::{Runtime, Stats};

use crate::world::{World, until};

#[tokio::test]
async fn use_is_told_while_a_program_runs_and_not_after() {
    let world = World::new();
    let running = world.start("while :; do :; done").await;
    let read = async || -> Stats {
        let stats = world.runtime.stats(&world.instance()).await.unwrap();
        stats.expect("it runs")
    };
    let first = read().await;
    assert_eq!(first.memory_limit_bytes, 64 << 20);
    assert!(first.memory_bytes > 1 << 20, "{first:?}");
    assert!(first.memory_bytes < first.memory_limit_bytes, "{first:?}");
    assert!(first.pids > 1, "{first:?}");
    until("it used half a second", || async {
        read().await.cpu_us > first.cpu_us + 500_000
    })
    .await;
    world
        .inside(
            running.container.as_str(),
            "ping -c 1 -W 1 10.214.0.1 || nc -w 1 10.214.0.1 9 </dev/null",
        )
        .await;
    let last = read().await;
    assert!(last.sent_bytes > 0, "{last:?}");
    world.stop().await;
    assert_eq!(world.runtime.stats(&world.instance()).await.unwrap(), None);
}
