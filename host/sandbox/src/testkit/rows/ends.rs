//! How instances end, and how that is told.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hersh_program::{ExitReason, InstanceNumber, InstanceStatus, Instances};

use super::{list, next_end, observe, stop, stop_obedient, written};
use crate::{
    Runtime,
    testkit::{ASKED, Conduct, END_CODE, PATIENCE, READY, World, instance, spec, start},
};

/// A stop removes what a start made whose caller is gone, however far the start had come.
pub async fn a_stop_ends_a_start_that_nobody_waits_for(world: &impl World) {
    let spec = spec(world, Conduct::Waits, 1).await;
    for given_up_ms in [0, 5, 20, 60, 120, 240] {
        let started = world.runtime().start(spec.clone());
        let _ = tokio::time::timeout(Duration::from_millis(given_up_ms), started).await;
        stop(world, Instances::All).await;
        assert_eq!(list(world).await, [], "given up after {given_up_ms} ms");
    }
}

/// The end of an instance is told to each listener until the instance is removed.
pub async fn an_end_is_told_to_each_who_listens_and_stays(world: &impl World) {
    let (runtime, first) = (world.runtime(), instance(world, 1));
    let mut events = runtime.events();
    let container = start(world, Conduct::Waits, 1).await.container;
    world.tell_to_end().await;
    let told = next_end(&mut events).await;
    assert_eq!(told.instance, first);
    assert_eq!(told.container, container);
    assert_eq!(told.exit.reason, ExitReason::Code(END_CODE));

    // A listener who comes later is told too: an end is never lost.
    drop(events);
    let mut later = runtime.events();
    assert_eq!(next_end(&mut later).await, told);
    let exited = InstanceStatus::Exited(container, told.exit);
    assert_eq!(observe(world, 1).await, exited);
    let listed = list(world).await;
    assert!(
        matches!(listed.as_slice(), [one] if !one.running),
        "{listed:?}"
    );
    // What does not run any more is neither reached nor measured.
    assert!(runtime.endpoint(&first).await.unwrap().is_none());
    assert_eq!(runtime.stats(&first).await.unwrap(), None);
    assert_eq!(runtime.listeners(&first).await, []);
    stop(world, Instances::All).await;
    assert_eq!(observe(world, 1).await, InstanceStatus::Absent);
}

/// Whoever asked is told of each death, by a stop and by itself, before the end is told. A stream of ends
/// that is read without a break tells a death once.
pub async fn a_death_is_told_once_and_before_the_end(world: &impl World) {
    let deaths = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&deaths);
    world
        .runtime()
        .on_death(Box::new(move |instance, container| {
            let death = (instance.clone(), container.clone());
            told.lock().unwrap().push(death);
        }));
    let mut events = world.runtime().events();
    for number in [1, 2, 3] {
        deaths.lock().unwrap().clear();
        let container = start(world, Conduct::Waits, number).await.container;
        match number {
            3 => world.tell_to_end().await,
            _earlier => stop(world, Instances::All).await,
        }
        let death = (instance(world, number), container);
        loop {
            let end = next_end(&mut events).await;
            if end.instance == death.0 {
                assert_eq!(end.container, death.1);
                break;
            }
        }
        let told = deaths.lock().unwrap().clone();
        // The first may also be found dead, by the look with which the stream begins.
        match number {
            1 => assert!(told.contains(&death), "{told:?}"),
            _later => {
                // The first death may be told twice, the second time as late as this.
                let of_this = told.iter().filter(|it| **it == death).count();
                assert_eq!(of_this, 1, "{told:?}");
            }
        }
    }
    stop(world, Instances::All).await;
}

/// A stop sends the stop signal and waits for the end that follows, which is the program's own.
pub async fn a_stop_waits_for_a_program_that_ends_by_itself(world: &impl World) {
    let mut events = world.runtime().events();
    start(world, Conduct::Obeys, 1).await;
    written(world, READY).await;
    stop_obedient(world).await;
    let told = next_end(&mut events).await;
    assert_eq!(told.exit.reason, ExitReason::Code(END_CODE));
}

/// A program that goes on after the stop signal is killed once the grace period is over, not before.
pub async fn a_stop_kills_what_outlives_its_grace(world: &impl World) {
    const GRACE: Duration = Duration::from_secs(1);
    let mut events = world.runtime().events();
    start(world, Conduct::Refuses, 1).await;
    written(world, READY).await;
    let since = Instant::now();
    let stopped = world.runtime().stop(world.program(), Instances::All, GRACE);
    tokio::time::timeout(PATIENCE, stopped)
        .await
        .expect("the stop waits no longer than its grace period")
        .unwrap();
    let took = since.elapsed();
    // An engine that passes over the grace period takes its own, ten seconds.
    assert!((GRACE..GRACE * 10).contains(&took), "{took:?}");
    assert_eq!(list(world).await, []);
    let told = next_end(&mut events).await.exit.reason;
    assert!(
        matches!(told, ExitReason::StoppedFromOutside { .. }),
        "{told:?}"
    );
}

/// A kill does not wait for the grace period of a stop: the stop ends early.
pub async fn a_kill_ends_the_wait_of_a_stop(world: &impl World) {
    start(world, Conduct::Refuses, 1).await;
    written(world, READY).await;
    let (runtime, program) = (world.runtime(), world.program());
    let stopped = runtime.stop(program, Instances::All, PATIENCE * 10);
    let killed = async {
        written(world, ASKED).await;
        runtime.kill(program, Instances::All).await.unwrap();
    };
    let both = async { tokio::join!(stopped, killed).0 };
    tokio::time::timeout(PATIENCE * 2, both)
        .await
        .expect("the stop waits no longer than the program lives")
        .unwrap();
    assert_eq!(list(world).await, []);
}

/// A kill of one instance ends that one alone.
pub async fn a_kill_of_one_instance_spares_the_other(world: &impl World) {
    for number in [1, 2] {
        start(world, Conduct::Waits, number).await;
    }
    let mut events = world.runtime().events();
    kill(world, Instances::One(InstanceNumber(1))).await;
    let told = next_end(&mut events).await;
    assert_eq!(told.instance.number, InstanceNumber(1));
    let all = list(world).await.into_iter();
    let running: Vec<_> = all.filter(|it| it.running).collect();
    assert_eq!(running.len(), 1, "{running:?}");
    assert_eq!(running[0].instance.number, InstanceNumber(2));
    stop(world, Instances::All).await;
}

/// A kill leaves the dead instances, which only a stop removes.
pub async fn a_kill_ends_every_instance_and_removes_none(world: &impl World) {
    for number in [1, 2] {
        start(world, Conduct::Waits, number).await;
    }
    kill(world, Instances::All).await;
    // Whoever listens from here on is told of each that is dead, whether it died before or after.
    let mut events = world.runtime().events();
    let mut ended = BTreeSet::new();
    while ended.len() < 2 {
        let told = tokio::time::timeout(PATIENCE, events.recv()).await;
        let told = told.unwrap().unwrap();
        let reason = told.exit.reason;
        assert!(
            matches!(reason, ExitReason::StoppedFromOutside { .. }),
            "{reason:?}"
        );
        ended.insert(told.instance);
    }
    assert!(list(world).await.iter().all(|it| !it.running));
    assert_eq!(list(world).await.len(), 2);
    stop(world, Instances::All).await;
    kill(world, Instances::All).await;
}

async fn kill(world: &impl World, instances: Instances) {
    let killed = world.runtime().kill(world.program(), instances);
    killed.await.unwrap();
}
