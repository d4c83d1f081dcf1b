//! The simulator: faults happen, laws are kept, and a broken one is found.
#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail"
)]

mod common;

use common::{Desk, Effect, Event, JOB_MS, Office, ask};
use hersh_machine::{
    Machine, OpId, SplitMix64, Stepper,
    sim::{self, Faults, Simulation, World},
};

/// Counts what begins, ends and is abandoned.
#[derive(Default)]
struct Counts {
    begun: Vec<OpId>,
    ended: Vec<(OpId, bool)>,
    abandoned: Vec<OpId>,
}

impl World<Office> for Counts {
    fn begin(&mut self, op: OpId, _: &Effect, _: &mut SplitMix64) {
        self.begun.push(op);
    }

    fn end(&mut self, op: OpId, effect: &Effect, well: bool, _: &mut SplitMix64) -> Option<Event> {
        self.ended.push((op, well));
        match effect {
            Effect::Job(job) if job == "silent" => None,
            _ if well => Some(Event::Done(op, String::from("well"))),
            _ => Some(Event::Panicked(op, String::from("badly"))),
        }
    }

    fn abandon(&mut self, op: OpId, _: &Effect) {
        self.abandoned.push(op);
    }
}

type Sim = Simulation<Office, Counts>;

fn sim(faults: Faults) -> Sim {
    let mut sim = Sim::new(Desk::default(), Counts::default(), 1, 1_000);
    sim.faults = faults;
    sim
}

#[test]
fn jobs_run_one_at_a_time_and_time_passes() {
    let mut sim = sim(Faults {
        max_delay_ms: 100,
        ..Faults::default()
    });
    sim.offer(ask("a")).unwrap();
    sim.offer(ask("b")).unwrap();
    assert!(sim.run(10).unwrap());
    assert_eq!(
        sim.state().log,
        ["ask a", "ask b", "done well", "done well"]
    );
    assert!(sim.now_ms > 1_000);
    assert_eq!(sim.trace().len(), 4);
    sim.refold().unwrap();
}

#[test]
fn what_hangs_is_late_and_abandoned() {
    let mut sim = sim(Faults {
        hang: 100,
        ..Faults::default()
    });
    sim.offer(ask("a")).unwrap();
    assert!(sim.run(10).unwrap());
    assert_eq!(sim.state().log, ["ask a", "late op-1"]);
    assert_eq!(sim.world.abandoned, [OpId(1)]);
    assert_eq!(sim.now_ms, 1_000 + JOB_MS);
}

#[test]
fn an_effect_without_an_outcome_waits_for_its_deadline() {
    let mut sim = sim(Faults::default());
    sim.offer(ask("silent")).unwrap();
    assert!(sim.run(10).unwrap());
    assert_eq!(sim.state().log, ["ask silent", "late op-1"]);
}

#[test]
fn failures_duplicates_and_late_outcomes_come() {
    let mut failing = sim(Faults {
        fail: 100,
        duplicate: 100,
        ..Faults::default()
    });
    failing.offer(ask("a")).unwrap();
    assert!(failing.run(10).unwrap());
    assert_eq!(failing.state().log, ["ask a", "panic badly"]);

    let mut late = sim(Faults {
        hang: 100,
        late: 100,
        ..Faults::default()
    });
    late.offer(ask("a")).unwrap();
    late.step().unwrap();
    late.offer(Event::Drop(OpId(1))).unwrap();
    assert!(late.run(10).unwrap());
    assert_eq!(late.world.ended, [(OpId(1), true)]);
    assert_eq!(late.state().log, ["ask a"]);
}

#[test]
fn a_cancelled_job_that_waits_never_begins() {
    let mut sim = sim(Faults {
        hang: 100,
        ..Faults::default()
    });
    sim.offer(ask("a")).unwrap();
    sim.offer(ask("b")).unwrap();
    sim.offer(Event::Drop(OpId(2))).unwrap();
    assert!(sim.run(10).unwrap());
    assert_eq!(sim.world.begun, [OpId(1)]);
}

#[test]
fn a_crash_runs_open_operations_again() {
    let mut sim = sim(Faults {
        hang: 100,
        ..Faults::default()
    });
    sim.offer(ask("a")).unwrap();
    sim.offer(ask("b")).unwrap();
    assert!(!sim.run(2).unwrap());
    sim.faults = Faults::default();
    sim.crash().unwrap();
    assert!(sim.run(10).unwrap());
    assert_eq!(
        sim.state().log,
        ["ask a", "ask b", "done well", "done well"]
    );
    assert_eq!(
        sim.world.abandoned.len(),
        usize::from(sim.world.begun.len() == 3)
    );
}

#[test]
fn nothing_happens_after_the_end() {
    let mut sim = sim(Faults::default());
    sim.offer(Event::Close).unwrap();
    sim.offer(ask("a")).unwrap();
    assert!(sim.run(10).unwrap());
    assert!(Office::is_terminal(sim.state()));
    assert_eq!(sim.trace().len(), 1);
}

#[test]
fn a_full_lane_hands_the_event_back() {
    let mut sim = sim(Faults::default());
    let full = (0..10_000).find_map(|_| sim.offer(Event::Refuse).err());
    assert_eq!(full, Some(Event::Refuse));
}

#[test]
fn broken_laws_are_found() {
    let mut breaks = sim(Faults::default());
    breaks.offer(ask("a")).unwrap();
    breaks.offer(Event::Break).unwrap();
    let broken = breaks.run(10).unwrap_err();
    assert_eq!(broken.to_string(), "after record 3: the desk must be whole");

    // An operation is open, and the state does not know of it.
    let mut stepper = Stepper::<Office>::new(Desk::default());
    stepper.step(ask("a"), 1).unwrap();
    let mut snapshot = stepper.snapshot();
    snapshot.state.jobs.clear();
    let orphaned = Stepper::<Office>::from_snapshot(snapshot.clone());
    assert!(sim::check(&orphaned).unwrap_err().contains("op-1 is open"));
    snapshot.state.jobs.push((OpId(1), 1));
    snapshot.state.closed = true;
    let ended = Stepper::<Office>::from_snapshot(snapshot);
    assert!(
        sim::check(&ended)
            .unwrap_err()
            .contains("end of the machine's life")
    );
}
