//! The transition table: one file per state. Each file names every event.
//!
//! The reducer takes the state out of its program; the rest of the program is the `Facts`. Each state's
//! function returns the next state. Nothing here waits, reads a clock or does IO.
//!
//! Three rules hold in every file:
//! - An outcome counts only when it belongs to the operation that the state holds; any other is stale.
//! - A program leaves a state in which something may run only through `Stopping`. Its `StopInstances` removes
//!   everything that carries the program's label.
//! - A command is either accepted or answered with a [`Refusal`](crate::Refusal); it is never ignored.

mod at_rest;
mod beside;
mod building;
mod error;
mod facts;
mod leaving;
mod overlap;
mod ready;
mod retry;
mod rollout;
mod starting;
mod stopping;

use alloc::{boxed::Box, string::String};

use hersh_machine::{Lane, Machine, OpId, StepContext};

use crate::{Effect, Event, Program, Ready, Rest, State, recovery};
use facts::Facts;

pub use facts::{
    BUILD_QUEUE_MS, CHECK_TIMEOUT_MS, HANDLER_SLACK_MS, REMOVE_TIMEOUT_MS, START_QUEUE_MS,
    STOP_SLACK_MS,
};

/// The state machine of one program's life.
#[derive(Clone, Copy, Debug)]
pub enum Lifecycle {}

impl Machine for Lifecycle {
    // Boxed, because every step moves the state.
    type State = Box<Program>;
    type Event = Event;
    type Effect = Effect;

    fn lane(event: &Event) -> Lane {
        match event {
            Event::UserStartRequested
            | Event::UserStopRequested
            | Event::UserRestartRequested
            | Event::UserDeleteRequested
            | Event::UserRollBackRequested { .. }
            | Event::UserBuildRequested
            | Event::SourceReplaced { .. } => Lane::User,
            Event::HostStarted { .. }
            | Event::FoldersEnsured { .. }
            | Event::BuildFinished { .. }
            | Event::InstanceStarted { .. }
            | Event::StartFailed { .. }
            | Event::InstanceEnded { .. }
            | Event::InstanceNotAlive { .. }
            | Event::InstanceAlive { .. }
            | Event::InstanceSettled { .. }
            | Event::StopFinished { .. }
            | Event::InstanceObserved { .. }
            | Event::DeadlinePassed { .. }
            | Event::RetryDue { .. }
            | Event::Removed { .. }
            | Event::HandlerPanicked { .. } => Lane::Control,
        }
    }

    fn completes(event: &Event) -> Option<OpId> {
        match event {
            Event::FoldersEnsured { op, .. }
            | Event::BuildFinished { op, .. }
            | Event::InstanceStarted { op, .. }
            | Event::StartFailed { op, .. }
            | Event::StopFinished { op, .. }
            | Event::InstanceObserved { op, .. }
            | Event::RetryDue { op }
            | Event::Removed { op, .. }
            | Event::HandlerPanicked { op, .. } => Some(*op),
            Event::UserStartRequested
            | Event::UserStopRequested
            | Event::UserRestartRequested
            | Event::UserDeleteRequested
            | Event::UserRollBackRequested { .. }
            | Event::UserBuildRequested
            | Event::SourceReplaced { .. }
            | Event::HostStarted { .. }
            | Event::InstanceEnded { .. }
            | Event::InstanceNotAlive { .. }
            | Event::InstanceAlive { .. }
            | Event::InstanceSettled { .. }
            | Event::DeadlinePassed { .. } => None,
        }
    }

    fn cancels(effect: &Effect) -> Option<OpId> {
        match effect {
            Effect::Cancel { op } => Some(*op),
            Effect::EnsureProgramFolders { .. }
            | Effect::BuildImage { .. }
            | Effect::StartInstance { .. }
            | Effect::StopInstances { .. }
            | Effect::ObserveInstance { .. }
            | Effect::ScheduleRetry { .. }
            | Effect::RemoveProgram { .. }
            | Effect::Refuse { .. } => None,
        }
    }

    fn is_reply(effect: &Effect) -> bool {
        matches!(effect, Effect::Refuse { .. })
    }

    fn wake(program: &Box<Program>) -> Option<(u64, Event)> {
        let deadline = |at_ms, op| Some((at_ms, Event::DeadlinePassed { op }));
        match &program.state {
            State::Building(building) => deadline(building.deadline_ms, building.op),
            State::Starting(starting) => deadline(starting.deadline_ms, starting.op),
            State::Stopping(stopping) => deadline(stopping.deadline_ms, stopping.op),
            State::Ready(ready) => ready_wake(program, ready),
            State::Error(failed) => failed
                .retry
                .map(|retry| (retry.due_ms, Event::RetryDue { op: retry.op })),
            State::Created | State::Stopped(_) | State::Removed => None,
        }
    }

    fn is_terminal(program: &Box<Program>) -> bool {
        matches!(program.state, State::Removed)
    }

    fn reduce(
        mut program: Box<Program>,
        event: Event,
        cx: &mut StepContext<Effect>,
    ) -> Box<Program> {
        // Take the state out; the match below puts the next state in.
        let state = core::mem::replace(&mut program.state, State::Removed);
        let facts = &mut Facts(&mut program);
        if let Event::HostStarted {
            numbers_instances,
            rules,
            ..
        } = &event
        {
            facts.follow_rules(*rules, &state, cx.now_ms());
            if *numbers_instances {
                facts.number_instances();
            }
        }
        let next = match state {
            State::Created => at_rest::reduce(facts, Rest::Created, event, cx),
            State::Building(building) => building::reduce(facts, building, event, cx),
            State::Starting(starting) => starting::reduce(facts, starting, event, cx),
            State::Ready(ready) => ready::reduce(facts, ready, event, cx),
            State::Stopping(stopping) => stopping::reduce(facts, stopping, event, cx),
            State::Stopped(stopped) => at_rest::reduce(facts, Rest::Stopped(stopped), event, cx),
            State::Error(failed) => error::reduce(facts, failed, event, cx),
            State::Removed => at_rest::removed(event, cx),
        };
        program.state = next;
        program
    }

    fn invariants(program: &Box<Program>) -> Result<(), String> {
        crate::invariants::check(program)
    }
}

/// Returns the next event that time causes in Ready.
fn ready_wake(program: &Program, ready: &Ready) -> Option<(u64, Event)> {
    let deadline = |at_ms, op| (at_ms, Event::DeadlinePassed { op });
    let check = ready.check.map(|it| deadline(it.deadline_ms, it.op));
    let rollout = ready.rollout.as_ref().map(|rollout| &rollout.step);
    let rollout = rollout.map(|it| deadline(it.deadline_ms(), it.op()));
    let leaving = ready.leaving.as_ref();
    let leaving = leaving.map(|it| deadline(it.deadline_ms, it.op));
    // While it is not known whether the instance is up, it may have ended long ago.
    let settles = ready.check.is_none() && program.is_unsettled();
    let settled = settles.then(|| {
        let instance = ready.instance;
        let at_ms = ready.since_ms.saturating_add(recovery::SETTLED_RUN_MS);
        (at_ms, Event::InstanceSettled { instance })
    });
    let all = [check, rollout, leaving, settled].into_iter().flatten();
    all.min_by_key(|(at_ms, _)| *at_ms)
}
