//! Transitions of failures and ends, by name.

use hersh_machine::Machine;

use super::bench::Bench;
use super::state::AfterSave;
use super::*;
use crate::{EndKind, Ending, WatcherState};

#[test]
fn a_failing_program_crashes_after_the_configured_number() {
    let mut bench = Bench::ready();
    bench.step(Event::VariablesChanged);
    let mut delays = Vec::new();
    for _ in 1..=5 {
        bench.fail();
        let failed_at_ms = bench.now_ms;
        bench.wait();
        let (kind, carries) = (RunKind::Recover, CarriedSignal::Nothing);
        assert_eq!(bench.asks(), [Effect::Run { kind, carries }]);
        delays.push(bench.now_ms - failed_at_ms);
    }
    assert_eq!(delays, [15_000, 30_000, 5_000, 10_000, 20_000]);
    bench.fail();
    assert_eq!(bench.asks(), [Effect::Cleanup]);
    let (op, result) = (bench.op(), Ok(false));
    bench.step(Event::CleanupEnded { op, result });
    assert_eq!(bench.state.public(), WatcherState::Crashed);
}

#[test]
fn a_message_whose_runs_fail_is_set_aside_and_the_rest_go_on() {
    let mut bench = Bench::ready();
    bench.step(Event::MessagesArrived { count: 2 });
    let (kind, carries) = (RunKind::Recover, CarriedSignal::Message);
    for _ in 1..=5 {
        bench.fail().wait();
        assert_eq!(bench.asks(), [Effect::Run { kind, carries }]);
        assert_eq!(bench.state.waiting, 1);
    }
    bench.fail();
    let reason = "no".into();
    let kind = RunKind::Signal;
    let next = Effect::Run { kind, carries };
    assert_eq!(bench.asks(), [Effect::SetAside { reason }, next]);
    assert_eq!((bench.state.failures, bench.state.waiting), (0, 0));
}

#[test]
fn a_message_that_cannot_be_read_is_set_aside_at_once() {
    let mut bench = Bench::ready();
    bench.step(Event::MessagesArrived { count: 1 });
    let (reason, blame) = ("no number".into(), Blame::Message);
    bench.end_run(Outcome::Failed { reason, blame });
    let reason = "no number".into();
    assert_eq!(bench.asks(), [Effect::SetAside { reason }]);
    assert_eq!(bench.state.phase, Phase::Ready);
}

#[test]
fn a_disk_that_fails_is_not_blamed_on_the_message() {
    let mut bench = Bench::ready();
    bench.step(Event::MessagesArrived { count: 1 });
    for failures in 1..=6 {
        bench.succeed(true);
        let (op, result) = (bench.op(), Err("disk full".into()));
        bench.step(Event::Saved { op, result });
        if failures < 6 {
            bench.wait();
        }
    }
    assert_eq!(bench.asks(), [Effect::Cleanup]);
}

#[test]
fn success_resets_the_count_of_failures() {
    let mut bench = Bench::ready();
    bench.step(Event::VariablesChanged);
    for _ in 0..5 {
        bench.fail().wait();
    }
    bench.succeed(false);
    assert_eq!(bench.state.failures, 0);
    bench.step(Event::VariablesChanged).fail();
    assert_eq!(bench.state.failures, 1);
}

#[test]
fn a_function_that_times_out_recovers_and_crashes() {
    let mut bench = Bench::ready();
    bench.step(Event::VariablesChanged);
    for failures in 1..=5 {
        let op = bench.op();
        bench.wait();
        assert_eq!(bench.asks(), [Effect::Abort { op }]);
        assert_eq!(bench.state.failures, failures);
        bench.wait();
    }
    bench.wait();
    assert!(matches!(bench.state.phase, Phase::Cleaning { .. }));
}

#[test]
fn states_shown_during_recovery() {
    let mut bench = Bench::ready();
    bench.step(Event::VariablesChanged).fail();
    assert_eq!(bench.state.public(), WatcherState::Ready);
    bench.wait().fail().wait().fail();
    assert_eq!(bench.state.public(), WatcherState::WaitRecover);
    bench.wait();
    assert_eq!(bench.state.public(), WatcherState::Running);
    let mut first = Bench::new();
    first.step(Event::Started).fail();
    assert_eq!(first.state.public(), WatcherState::InitRun);
}

#[test]
fn signals_wait_out_a_delay_and_stop_does_not() {
    let mut bench = Bench::ready();
    bench.step(Event::VariablesChanged).fail();
    bench.step(Event::MessagesArrived { count: 1 });
    assert_eq!(bench.asks(), []);
    bench.ask(EndKind::Stopped);
    assert_eq!(bench.asks(), [Effect::Cleanup]);
}

#[test]
fn only_a_set_up_failure_in_the_first_run_crashes_at_once() {
    let set_up = || Outcome::Failed {
        reason: "no".into(),
        blame: Blame::SetUp,
    };
    let mut bench = Bench::new();
    bench.step(Event::Started).end_run(set_up());
    assert_eq!(bench.asks(), [Effect::Cleanup]);
    let mut bench = Bench::ready();
    bench.step(Event::VariablesChanged).end_run(set_up());
    assert!(matches!(bench.state.phase, Phase::Delay { .. }));
}

#[test]
fn a_stop_lets_the_run_finish_within_the_grace() {
    let mut bench = Bench::ready();
    bench.step(Event::MessagesArrived { count: 3 });
    bench.ask(EndKind::Stopped);
    assert_eq!(bench.asks(), []);
    let grace_ends_ms = bench.now_ms + 5_000;
    assert_eq!(Engine::wake(&bench.state).unwrap().0, grace_ends_ms);
    bench.succeed(false);
    assert_eq!(bench.asks(), [Effect::Cleanup]);
    assert_eq!(bench.state.waiting, 2);
}

#[test]
fn a_second_stop_and_a_kill_during_stop_hang_nothing() {
    let mut bench = Bench::ready();
    bench.ask(EndKind::Stopped);
    let op = bench.op();
    bench.ask(EndKind::Stopped);
    assert_eq!(bench.asks(), []);
    bench.ask(EndKind::Killed);
    assert_eq!(bench.asks(), [Effect::Abort { op }]);
    assert_eq!(bench.state.public(), WatcherState::Killed);
    bench.ask(EndKind::Killed).ask(EndKind::Stopped);
    assert_eq!(bench.effects, []);
}

#[test]
fn a_start_after_the_end_runs_nothing() {
    let mut bench = Bench::ready();
    bench.ask(EndKind::Stopped);
    let (op, result) = (bench.op(), Ok(false));
    bench.step(Event::CleanupEnded { op, result });
    bench.step(Event::Started);
    assert_eq!(bench.effects, []);
    assert_eq!(bench.state.public(), WatcherState::Stopped);
}

#[test]
fn a_cleanup_that_hangs_or_fails_ends_all_the_same() {
    let mut hangs = Bench::ready();
    hangs.ask(EndKind::Stopped).wait();
    assert_eq!(hangs.state.public(), WatcherState::Stopped);
    let mut fails = Bench::ready();
    fails.ask(EndKind::Stopped);
    let (op, result) = (fails.op(), Err("panicked".into()));
    fails.step(Event::CleanupEnded { op, result });
    assert_eq!(fails.state.public(), WatcherState::Stopped);
}

#[test]
fn an_end_that_loses_what_it_kept_is_a_crash() {
    let mut bench = Bench::ready();
    let ending = Ending::new(EndKind::Stopped, "done");
    let changed = true;
    bench.step(Event::VariablesChanged);
    bench.end_run(Outcome::Steered { ending, changed });
    assert!(matches!(
        &bench.state.phase,
        Phase::Saving { then: AfterSave::Clean(ending), .. } if ending.kind == EndKind::Stopped
    ));
    let (op, result) = (bench.op(), Err("disk full".into()));
    bench.step(Event::Saved { op, result });
    let (op, result) = (bench.op(), Ok(false));
    bench.step(Event::CleanupEnded { op, result });
    assert_eq!(bench.state.public(), WatcherState::Crashed);
}
