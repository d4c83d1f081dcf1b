//! An instance that is up and does not answer is started again, or left alone and told of.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

mod common;

use std::sync::Arc;

use common::{Walk, container, source};
use hersh_program::{
    AfterStop, Cause, Event, InstanceNumber, Liveness, LivenessProbe, OnNotAlive, Program,
    Readiness, RestartPolicy, State,
};

fn ready_with(restart: RestartPolicy, on_failure: OnNotAlive) -> Walk {
    let mut source = source('a', restart);
    let manifest = Arc::make_mut(&mut source.manifest);
    manifest.liveness = Some(Liveness {
        on_failure,
        ..Liveness::with(LivenessProbe::Heartbeat)
    });
    Walk::new(Program::new(common::id(), source, 7)).ready()
}

fn not_alive(walk: Walk, instance: u64) -> Walk {
    walk.event(Event::InstanceNotAlive {
        instance: InstanceNumber(instance),
        container: container('c'),
        failures: 3,
        last_probe: String::from("no answer within 5 s"),
        logs: vec![String::from("waiting for a lock")],
    })
}

#[test]
fn an_instance_that_is_not_alive_is_started_again() {
    for restart in [RestartPolicy::OnFailure, RestartPolicy::Always] {
        let stopping = not_alive(ready_with(restart, OnNotAlive::Restart), 1);
        assert_eq!(stopping.asked(), ["stop"]);
        let failed = stopping.stop_finished();
        match &failed.program.state {
            State::Error(failed) => {
                assert!(matches!(&*failed.cause, Cause::NotAlive { logs, .. } if logs.len() == 1));
                assert!(failed.retry.is_some());
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(failed.program.attempts, 1, "it is a failure of its own");
        assert_eq!(failed.wake().asked(), ["start"]);
    }
}

#[test]
fn one_that_nothing_would_start_again_is_left_alone() {
    let left = [
        ready_with(RestartPolicy::Never, OnNotAlive::Restart),
        ready_with(RestartPolicy::OnFailure, OnNotAlive::Notify),
    ];
    for ready in left {
        let told = not_alive(ready, 1);
        assert_eq!(told.state(), "ready");
        assert!(told.effects.is_empty());
        let silent = told.program.state.ready().unwrap().not_alive.as_ref();
        assert!(silent.unwrap().last_probe.contains("no answer within 5 s"));
        let again = told.event(Event::InstanceAlive {
            instance: InstanceNumber(1),
            container: container('c'),
        });
        assert_eq!(again.program.state.ready().unwrap().not_alive, None);
    }
}

#[test]
fn a_report_of_another_instance_is_stale() {
    let ready = ready_with(RestartPolicy::OnFailure, OnNotAlive::Restart);
    assert_eq!(not_alive(ready.clone(), 2).program, ready.program);
    let stopping = ready.stop();
    assert_eq!(not_alive(stopping.clone(), 1).program, stopping.program);
}

#[test]
fn a_new_revision_that_is_not_alive_goes_back() {
    let settled = ready_with(RestartPolicy::OnFailure, OnNotAlive::Restart);
    let next = common::replaced(source('e', RestartPolicy::OnFailure));
    let settled = settled.wake().event(next).restart();
    let starting = settled.folders().built('e').stop_finished();
    let back = not_alive(starting.started('c'), 2);
    match &back.program.state {
        State::Stopping(stopping) => assert_eq!(stopping.then, AfterStop::Start),
        other => panic!("{other:?}"),
    }
    assert_eq!(back.program.current_revision().unwrap().0, 1);
}

#[test]
fn the_usual_test_follows_the_readiness_probe() {
    let of = |readiness| Liveness::of(&readiness).map(|liveness| liveness.probe);
    assert_eq!(of(Readiness::default()), Some(LivenessProbe::Heartbeat));
    let (port, path) = (80, String::from("/up"));
    let http = Readiness::Http {
        port,
        path: path.clone(),
    };
    assert_eq!(of(http), Some(LivenessProbe::Http { path }));
    assert_eq!(of(Readiness::Tcp { port }), Some(LivenessProbe::Tcp));
    assert_eq!(of(Readiness::None { port }), None);
}
