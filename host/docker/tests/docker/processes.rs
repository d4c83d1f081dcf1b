//! Processes: how many there may be, what happens to one too many, and who waits for orphans.

use hersh_program::{ExitReason, ImageId, Instances};
use hersh_sandbox::{MIN_PIDS, Runtime, Spec};

use crate::world::{World, until};

/// Starts as many as may be and says how it went; goes on, since a refusal is no end.
const AS_MANY_AS_MAY_BE: &str = "n=0; while [ $n -lt 400 ] && /bin/true; do sleep 1000 & n=$((n+1)); \
    echo started $n; done";

fn with_pids(world: &World, image: &ImageId, pids: u32) -> Spec {
    world.spec(image, |manifest| {
        manifest.limits.pids = pids;
        manifest.limits.memory_bytes = 256 * 1024 * 1024;
    })
}

async fn start_with(world: &World, image: &ImageId, pids: u32) -> String {
    let spec = with_pids(world, image, pids);
    let running = world.runtime.start(spec).await.unwrap();
    running.container.to_string()
}

#[tokio::test]
async fn the_fewest_processes_run_a_shell_that_starts_others() {
    let world = World::new();
    let script =
        "n=0; while [ $n -lt 200 ]; do /bin/true; n=$((n+1)); done; echo ran $n; sleep 1000";
    let image = world.script(script).await;
    start_with(&world, &image, MIN_PIDS).await;
    until("the loop is through", || async {
        world.last_lines(1).await == ["ran 200"]
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn the_number_asked_means_the_programs_own_processes() {
    let world = World::new();
    let image = world.script(AS_MANY_AS_MAY_BE).await;
    let exit = world.end(with_pids(&world, &image, 120)).await.unwrap();
    // A busybox shell ends when it can't fork.
    assert_eq!(
        exit.reason,
        ExitReason::OutOfProcesses { code: 2 },
        "{exit:?}"
    );
    let most = exit
        .logs
        .iter()
        .filter_map(|line| line.strip_prefix("started ")?.parse().ok())
        .max();
    // Itself, and a further one that the loop wants to look at its condition.
    assert!(
        (117..=119).contains(&most.unwrap_or(0_u32)),
        "{:?}",
        exit.logs
    );
    world.stop().await;
}

#[tokio::test]
async fn many_processes_at_once_don_t_end_the_sandbox() {
    let world = World::new();
    let script = "n=0; while [ $n -lt 150 ]; do sleep 1000 & n=$((n+1)); done; echo busy; wait";
    let image = world.script(script).await;
    let id = start_with(&world, &image, 256).await;
    until("all are started", || async {
        world.last_lines(1).await == ["busy"]
    })
    .await;
    let seen = world.inside(&id, "ls -d /proc/[0-9]* | wc -l").await;
    let seen: u32 = seen.trim().parse().unwrap();
    assert!(seen > 150, "{seen}");
    world.stop().await;
}

#[tokio::test]
async fn orphans_are_waited_for() {
    let world = World::new();
    let script =
        "n=0; while [ $n -lt 50 ]; do (sleep 0 &); n=$((n+1)); done; echo done; sleep 1000";
    let image = world.script(script).await;
    let id = start_with(&world, &image, 256).await;
    until("no orphan is left", || async {
        let zombies = world
            .inside(&id, "grep -l '^State:.Z' /proc/[0-9]*/status | wc -l")
            .await;
        let processes = world.inside(&id, "ls -d /proc/[0-9]* | wc -l").await;
        zombies.trim() == "0" && processes.trim().parse::<u32>().unwrap() < 10
    })
    .await;
    let first = world.inside(&id, "tr '\\0' ' ' < /proc/1/cmdline").await;
    assert!(first.contains("docker-init"), "{first}");
    world.stop().await;
}

#[tokio::test]
async fn signals_reach_the_program_and_its_code_comes_back() {
    let world = World::new();
    let script = "trap 'echo saving; sleep 1; echo saved; exit 7' TERM; echo up; while :; do sleep 0.1; done";
    let image = world.script(script).await;
    start_with(&world, &image, 64).await;
    until("it is up", || async { world.last_lines(1).await == ["up"] }).await;
    let grace = std::time::Duration::from_secs(10);
    world
        .runtime
        .stop(&world.program, Instances::All, grace)
        .await
        .unwrap();
    let said = world.last_lines(10).await;
    assert_eq!(said, ["up", "saving", "saved"]);
}
