//! The transition function of a watcher. It is total: it takes every event in every phase.

use hersh_machine::{Lane, Machine, OpId, StepContext};

use super::effect::Effect;
use super::event::Event;
use super::state::{Phase, State};

/// The watcher's machine.
#[derive(Debug)]
pub(crate) struct Engine;

impl Machine for Engine {
    type State = State;
    type Event = Event;
    type Effect = Effect;

    fn lane(event: &Event) -> Lane {
        match event {
            Event::Started
            | Event::EndAsked { .. }
            | Event::RunEnded { .. }
            | Event::Saved { .. }
            | Event::CleanupEnded { .. }
            | Event::DeadlinePassed { .. }
            | Event::RetryDue => Lane::Control,
            Event::MessagesArrived { .. } | Event::EffectsSettled { .. } => Lane::User,
            Event::VariablesChanged => Lane::Data,
        }
    }

    fn completes(event: &Event) -> Option<OpId> {
        match event {
            Event::RunEnded { op, .. }
            | Event::Saved { op, .. }
            | Event::CleanupEnded { op, .. } => Some(*op),
            Event::Started
            | Event::EndAsked { .. }
            | Event::DeadlinePassed { .. }
            | Event::RetryDue
            | Event::MessagesArrived { .. }
            | Event::EffectsSettled { .. }
            | Event::VariablesChanged => None,
        }
    }

    fn cancels(effect: &Effect) -> Option<OpId> {
        match effect {
            Effect::Abort { op } => Some(*op),
            Effect::Run { .. }
            | Effect::Save
            | Effect::SetAside { .. }
            | Effect::Cleanup
            | Effect::Note(_) => None,
        }
    }

    fn wake(state: &State) -> Option<(u64, Event)> {
        match &state.phase {
            Phase::Running {
                op, deadline_ms, ..
            }
            | Phase::Saving {
                op, deadline_ms, ..
            }
            | Phase::Cleaning {
                op, deadline_ms, ..
            } => Some((*deadline_ms, Event::DeadlinePassed { op: *op })),
            Phase::Delay { due_ms, .. } => Some((*due_ms, Event::RetryDue)),
            Phase::NotRun | Phase::Ready | Phase::Ended { .. } => None,
        }
    }

    fn is_terminal(state: &State) -> bool {
        matches!(state.phase, Phase::Ended { .. })
    }

    fn reduce(mut state: State, event: Event, cx: &mut StepContext<Effect>) -> State {
        match event {
            Event::Started => state.started(cx),
            Event::EndAsked { ending } => state.end_asked(ending, cx),
            Event::RunEnded { op, outcome } => state.run_ended(op, outcome, cx),
            Event::Saved { op, result } => state.saved(op, result, cx),
            Event::CleanupEnded { op, result } => state.cleanup_ended(op, result, cx),
            Event::DeadlinePassed { op } => state.deadline_passed(op, cx),
            Event::RetryDue => state.retry_due(cx),
            Event::MessagesArrived { count } => {
                state.waiting = state.waiting.saturating_add(count);
                state.wake_if_ready(cx);
            }
            Event::EffectsSettled { count } => {
                state.settled = state.settled.saturating_add(count);
                state.wake_if_ready(cx);
            }
            Event::VariablesChanged => {
                state.changed = true;
                state.wake_if_ready(cx);
            }
        }
        state
    }

    fn invariants(state: &State) -> Result<(), String> {
        let idle_with_work = matches!(state.phase, Phase::Ready) && state.has_signal();
        let given_up = state.failures >= state.policy.recovery.max_consecutive_failures;
        let ended_or_ending = matches!(
            state.phase,
            Phase::Cleaning { .. } | Phase::Ended { .. } | Phase::Saving { .. }
        );
        if idle_with_work {
            Err("the watcher is idle while a signal waits".into())
        } else if given_up && !ended_or_ending {
            Err("the watcher goes on after the last failure".into())
        } else if matches!(state.phase, Phase::Ready) && state.failures > 0 {
            Err("the watcher is idle with a failure that nothing retries".into())
        } else if matches!(state.phase, Phase::Ready) && !state.initialised {
            Err("the watcher is idle and has never run well".into())
        } else {
            Ok(())
        }
    }
}
