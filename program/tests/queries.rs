//! What is asked of a program has one answer in every state.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod common;

use common::{Walk, host_started_with_orphan, program, stop_failed};
use hersh_program::{Event, InstanceNumber, Program, State};

/// A program in each state, by the state's name.
fn all() -> Vec<Walk> {
    let new = || Walk::new(program());
    let stopping = new().ready().stop();
    let op = stopping.op();
    let result = Err(stop_failed());
    vec![
        new(),
        new().building(),
        new().starting(),
        new().ready(),
        stopping.clone(),
        stopping.clone().stop_finished(),
        stopping.event(Event::StopFinished { op, result }),
        new().delete().removed(),
    ]
}

/// The names of the states of which something holds.
fn holds(asked: impl Fn(&Program) -> bool) -> Vec<&'static str> {
    let all = all().into_iter();
    let held = all.filter(|walk| asked(&walk.program));
    held.map(|walk| walk.program.state.name()).collect()
}

#[test]
fn each_state_has_what_it_holds_and_no_other() {
    assert_eq!(holds(|it| it.state.building().is_some()), ["building"]);
    assert_eq!(holds(|it| it.state.ready().is_some()), ["ready"]);
    assert_eq!(holds(|it| it.state.failed().is_some()), ["error"]);
    assert_eq!(
        holds(|it| it.state.image().is_some()),
        ["starting", "ready"]
    );
    assert_eq!(holds(|it| it.state.container().is_some()), ["ready"]);
    assert_eq!(holds(|it| it.ready_instance().is_some()), ["ready"]);
}

#[test]
fn what_is_started_counts_until_it_is_stopped() {
    let started = ["building", "starting", "ready", "stopping", "error"];
    assert_eq!(holds(Program::is_started), started);
    assert_eq!(holds(Program::is_building), ["building"]);
    // A restart builds after it has stopped, if no image stands.
    let mut restarting = Walk::new(program()).ready().restart();
    assert!(!restarting.program.is_building());
    restarting.program.image = None;
    assert!(restarting.program.is_building());
}

#[test]
fn a_program_is_leaving_from_the_wish_on() {
    assert_eq!(holds(Program::is_being_removed), ["removed"]);
    assert!(
        Walk::new(program())
            .ready()
            .delete()
            .program
            .is_being_removed()
    );
    assert!(
        !Walk::new(program())
            .ready()
            .stop()
            .program
            .is_being_removed()
    );
}

#[test]
fn a_run_is_told_by_what_it_was_begun_with() {
    let built = holds(|it| it.current_build().is_some());
    assert_eq!(
        built,
        ["building", "starting", "ready", "stopping", "error"]
    );
    for walk in all() {
        let program = &walk.program;
        assert_eq!(program.current_manifest(), &program.source.manifest);
        assert_eq!(
            program.current_image(),
            program.state.image().or(program.image.as_ref())
        );
    }
}

#[test]
fn an_instance_is_accounted_for_until_it_is_stopped() {
    for walk in all() {
        let newest = InstanceNumber(walk.program.instances.unwrap());
        let accounts = walk.program.accounts_for(newest);
        let may_run = matches!(
            walk.program.state,
            State::Starting(_) | State::Ready(_) | State::Stopping(_) | State::Error(_)
        );
        assert_eq!(accounts, may_run, "{}", walk.program.state.name());
    }
    let left = Walk::new(program()).event(host_started_with_orphan());
    assert!(left.program.accounts_for(InstanceNumber(9)));
}
