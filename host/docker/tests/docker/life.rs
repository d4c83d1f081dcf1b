//! How programs end, and how that is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hersh_program::{ExitReason, InstanceStatus, Instances};
use hersh_sandbox::{InstanceEnd, Runtime};
use tokio::sync::mpsc;

use crate::world::{PATIENCE, UNTIL_GO, World, until};

#[tokio::test]
async fn an_exit_is_told_with_its_code_and_last_lines() {
    let world = World::new();
    let mut events = world.runtime.events();
    let script = format!("echo up; {UNTIL_GO}; echo 'no more'; exit 5");
    let id = world.start(&script).await.container;
    until_says(&world, "up").await;
    world.go();
    let event = exit_of(&mut events).await;
    assert_eq!(
        (event.instance.program.clone(), event.container),
        (world.program.clone(), id.clone())
    );
    assert_eq!(event.exit.reason, ExitReason::Code(5));
    assert_eq!(event.exit.logs.first().map(String::as_str), Some("up"));
    let observed = world.runtime.observe(&world.instance()).await.unwrap();
    assert_eq!(observed, InstanceStatus::Exited(id, event.exit));
    world.stop().await;
}

/// What the one printed is still being taken over when the other ends.
#[tokio::test]
async fn a_flood_of_lines_holds_up_no_other_end() {
    let world = World::new();
    let mut events = world.runtime.events();
    let image = world
        .script("[ -e /state/flood ] && yes | head -c 8000000; [ -e /state/flood ] || sleep 1000")
        .await;
    let flood = world.neighbour();
    std::fs::write(world.storage.paths(&flood).state.join("flood"), "").unwrap();
    let printing = world.spec_of(&flood, &image, |manifest| {
        manifest.limits.log_bytes = 256 * 1024 * 1024;
        manifest.limits.cpu_millis = 1_000;
    });
    let printing = world.runtime.start(printing).await.unwrap().container;
    let quiet = world.spec(&image, |_| {});
    let quiet = world.runtime.start(quiet).await.unwrap().container;
    let engine = &world.engine;
    until("all is printed", || async {
        let inspected = engine.inspect_container(printing.as_str(), None).await;
        let state = inspected.unwrap().state.unwrap();
        state.running == Some(false)
    })
    .await;
    let kill = None::<bollard::query_parameters::KillContainerOptions>;
    engine.kill_container(quiet.as_str(), kill).await.unwrap();
    let since = Instant::now();
    let (mut told, mut order) = (None, Vec::new());
    while told.is_none() {
        let event = exit_of(&mut events).await;
        told = (event.container == quiet).then(|| since.elapsed());
        order.push(event.instance.program);
    }
    assert!(told < Some(Duration::from_secs(5)), "{told:?}: {order:?}");
    world
        .runtime
        .stop(&flood, Instances::All, Duration::ZERO)
        .await
        .unwrap();
    world.stop().await;
}

/// On a busy machine the engine hears of the end before it hears why.
#[tokio::test]
async fn running_out_of_memory_is_told_by_name() {
    let _busy = Busy::start();
    let ends = (0..4).map(|_| async {
        let world = World::new();
        let mut events = world.runtime.events();
        let script = format!("{UNTIL_GO}; x=0123456789abcdef; while :; do x=$x$x; done");
        world.start(&script).await;
        world.go();
        let event = exit_of(&mut events).await;
        world.stop().await;
        event.exit.reason
    });
    let reasons = futures_util::future::join_all(ends).await;
    assert_eq!(reasons, [const { ExitReason::OutOfMemory }; 4]);
}

#[tokio::test]
async fn a_clean_end_without_a_kill_is_the_programs_own() {
    let world = World::new();
    let mut events = world.runtime.events();
    let script = format!("echo up; {UNTIL_GO}; exit 0");
    let id = world.start(&script).await.container;
    until_says(&world, "up").await;
    world.go();
    // Told live, found by looking, and told to a host that comes later.
    let told = exit_of(&mut events).await;
    assert_eq!(told.exit.reason, ExitReason::Code(0));
    let observed = world.runtime.observe(&world.instance()).await.unwrap();
    assert_eq!(observed, InstanceStatus::Exited(id, told.exit));
    let later = exit_of(&mut world.restarted().events()).await;
    assert_eq!(later.exit.reason, ExitReason::Code(0));
    world.stop().await;
}

#[tokio::test]
async fn a_clean_end_that_the_engine_asked_for_is_told_as_such() {
    let world = World::new();
    let mut events = world.runtime.events();
    let script = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done";
    let id = world.start(script).await.container;
    until_says(&world, "up").await;
    // As an engine that goes down does.
    let stopped = world.engine.stop_container(id.as_str(), None).await;
    stopped.unwrap();
    let reason = ExitReason::StoppedFromOutside { code: 0 };
    assert_eq!(exit_of(&mut events).await.exit.reason, reason);
    let later = exit_of(&mut world.restarted().events()).await;
    assert_eq!(later.exit.reason, reason);
    world.stop().await;
}

#[tokio::test]
async fn a_container_that_somebody_removes_is_told() {
    let world = World::new();
    let mut events = world.runtime.events();
    let id = world.start("sleep 1000").await.container;
    let options = bollard::query_parameters::RemoveContainerOptions {
        force: true,
        ..Default::default()
    };
    world
        .engine
        .remove_container(id.as_str(), Some(options))
        .await
        .unwrap();
    assert_eq!(exit_of(&mut events).await.container, id);
    assert_eq!(
        world.runtime.observe(&world.instance()).await.unwrap(),
        InstanceStatus::Absent
    );
}

pub async fn exit_of(events: &mut mpsc::Receiver<InstanceEnd>) -> InstanceEnd {
    tokio::time::timeout(PATIENCE, events.recv())
        .await
        .expect("an exit is told in time")
        .expect("the stream of exits goes on")
}

async fn until_says(world: &World, line: &str) {
    until("the program speaks", || async {
        world.last_lines(50).await.iter().any(|said| said == line)
    })
    .await;
}

/// Two processors' worth of work that nobody needs, until it is dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn start() -> Self {
        let done = Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let done = Arc::clone(&done);
            std::thread::spawn(move || while !done.load(Ordering::Relaxed) {});
        }
        Self(done)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
