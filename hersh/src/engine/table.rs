//! Transitions of signals, runs and saves, by name.

use hersh_machine::{Lane, Machine};

use super::bench::Bench;
use super::*;
use crate::{EndKind, Ending, WatcherState};

const SIGNAL_RUN: Effect = Effect::Run {
    kind: RunKind::Signal,
    carries: CarriedSignal::Message,
};
const SETTLEMENT_RUN: Effect = Effect::Run {
    kind: RunKind::Signal,
    carries: CarriedSignal::Settlement,
};

#[test]
fn the_first_run_is_init_and_leads_to_ready() {
    let mut bench = Bench::new();
    assert_eq!(bench.state.public(), WatcherState::NotRun);
    bench.step(Event::Started);
    let (kind, carries) = (RunKind::Init, CarriedSignal::Nothing);
    assert_eq!(bench.asks(), [Effect::Run { kind, carries }]);
    assert_eq!(bench.state.public(), WatcherState::InitRun);
    bench.succeed(false);
    assert_eq!(bench.state.public(), WatcherState::Ready);
}

#[test]
fn each_message_has_one_run_and_the_next_begins_by_itself() {
    let mut bench = Bench::ready();
    bench.step(Event::MessagesArrived { count: 2 });
    assert_eq!(bench.asks(), [SIGNAL_RUN]);
    bench.step(Event::MessagesArrived { count: 1 });
    assert_eq!(bench.asks(), []);
    bench.succeed(false);
    assert_eq!(bench.asks(), [SIGNAL_RUN]);
    bench.succeed(false);
    assert_eq!(bench.asks(), [SIGNAL_RUN]);
    bench.succeed(false);
    assert_eq!(bench.asks(), []);
    assert_eq!(bench.state.phase, Phase::Ready);
}

#[test]
fn a_change_during_a_run_has_a_run_of_its_own_after_it() {
    let mut bench = Bench::ready();
    bench.step(Event::VariablesChanged);
    bench.step(Event::VariablesChanged);
    bench.step(Event::VariablesChanged);
    bench.succeed(false);
    let (kind, carries) = (RunKind::Signal, CarriedSignal::Nothing);
    assert_eq!(bench.asks(), [Effect::Run { kind, carries }]);
    bench.succeed(false);
    assert_eq!(bench.state.phase, Phase::Ready);
}

#[test]
fn a_message_run_takes_in_changes_of_variables() {
    let mut bench = Bench::ready();
    bench.step(Event::VariablesChanged);
    bench.step(Event::MessagesArrived { count: 1 });
    bench.step(Event::VariablesChanged);
    bench.succeed(false);
    assert_eq!(bench.asks(), [SIGNAL_RUN]);
    assert!(!bench.state.changed);
    bench.succeed(false);
    assert_eq!(bench.state.phase, Phase::Ready);
}

#[test]
fn a_changed_context_is_saved_before_its_run_succeeds() {
    let mut bench = Bench::ready();
    bench.step(Event::MessagesArrived { count: 2 });
    bench.succeed(true);
    assert_eq!(bench.asks(), [Effect::Save]);
    assert_eq!(bench.state.public(), WatcherState::Running);
    let op = bench.op();
    bench.step(Event::Saved { op, result: Ok(()) });
    assert_eq!(bench.asks(), [SIGNAL_RUN]);
}

#[test]
fn a_failed_save_is_a_failed_run() {
    let mut bench = Bench::ready();
    bench.step(Event::VariablesChanged).succeed(true);
    let (op, result) = (bench.op(), Err("disk full".into()));
    bench.step(Event::Saved { op, result });
    assert_eq!(bench.state.failures, 1);
    assert!(matches!(bench.state.phase, Phase::Delay { .. }));
}

#[test]
fn lifecycle_is_above_messages_and_messages_above_variables() {
    let ending = Ending::new(EndKind::Stopped, "asked");
    let lanes = [
        Event::EndAsked { ending },
        Event::MessagesArrived { count: 1 },
        Event::EffectsSettled { count: 1 },
        Event::VariablesChanged,
    ]
    .map(|event| Engine::lane(&event));
    let user = Lane::User;
    assert_eq!(lanes, [Lane::Control, user, user, Lane::Data]);
}

#[test]
fn messages_and_settlements_take_turns() {
    let mut bench = Bench::ready();
    bench.step(Event::MessagesArrived { count: 2 });
    bench.step(Event::EffectsSettled { count: 2 });
    for run in [SETTLEMENT_RUN, SIGNAL_RUN, SETTLEMENT_RUN] {
        bench.succeed(true);
        let (op, result) = (bench.op(), Ok(()));
        bench.step(Event::Saved { op, result });
        assert_eq!(bench.asks(), [run]);
    }
    bench.succeed(false);
    assert_eq!(bench.state.phase, Phase::Ready);
    assert_eq!((bench.state.waiting, bench.state.settled), (0, 0));
}

#[test]
fn a_failed_runs_settlement_comes_again_in_the_retry() {
    let mut bench = Bench::ready();
    bench.step(Event::EffectsSettled { count: 1 }).fail();
    bench.step(Event::MessagesArrived { count: 1 });
    for failures in 1..=2 {
        assert_eq!((bench.state.failures, bench.state.settled), (failures, 1));
        bench.wait();
        let (kind, carries) = (RunKind::Recover, CarriedSignal::Settlement);
        assert_eq!(bench.asks(), [Effect::Run { kind, carries }]);
        bench.fail();
    }
    bench.wait().succeed(false);
    assert_eq!(bench.state.settled, 0);
    assert_eq!(bench.asks(), [SIGNAL_RUN]);
}

#[test]
fn a_run_that_asks_for_another_has_it_once_it_is_saved() {
    let mut bench = Bench::ready();
    bench.step(Event::VariablesChanged);
    let (changed, again) = (true, true);
    bench.end_run(Outcome::Succeeded { changed, again });
    assert_eq!(bench.asks(), [Effect::Save]);
    let (op, result) = (bench.op(), Ok(()));
    bench.step(Event::Saved { op, result });
    let (kind, carries) = (RunKind::Signal, CarriedSignal::Nothing);
    assert_eq!(bench.asks(), [Effect::Run { kind, carries }]);
    bench.succeed(false);
    assert_eq!(bench.state.phase, Phase::Ready);
}
