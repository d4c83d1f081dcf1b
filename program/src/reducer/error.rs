//! Error: it failed, and waits for its retry or for a person. There is always a way out.

use alloc::sync::Arc;

use hersh_machine::{Cx, OpId};

use super::facts::Facts;
use crate::{Effect, Event, Failed, State, Then};

pub(super) fn reduce(
    facts: &mut Facts<'_>,
    held: Failed,
    event: Event,
    cx: &mut Cx<Effect>,
) -> State {
    match event {
        Event::UserStartRequested | Event::UserRestartRequested => {
            forget_retry(&held, cx);
            facts.forget_attempts();
            begin(facts, cx)
        }
        Event::UserStopRequested => {
            forget_retry(&held, cx);
            facts.forget_attempts();
            facts.stop(None, Then::Stop { last_exit: None }, cx)
        }
        Event::UserDeleteRequested => {
            forget_retry(&held, cx);
            facts.stop(None, Then::Remove, cx)
        }
        Event::SourceReplaced { source } => {
            facts.replace(source);
            State::Error(held)
        }
        Event::RetryDue { op } if is(&held, op) => try_again(facts, cx),
        // The handler of a wait that panics: the wait is over.
        Event::HandlerPanicked { op, .. } if is(&held, op) => try_again(facts, cx),
        Event::HostStarted {
            left_behind: Some(cause),
            ..
        } => {
            facts.something_runs();
            State::Error(Failed {
                not_stopped: Some(Arc::new(cause)),
                ..held
            })
        }
        // Nothing but a retry is under way: whatever else is reported is of an earlier life. A
        // retry keeps its due time over a restart of the host.
        Event::HostStarted { .. }
        | Event::FoldersEnsured { .. }
        | Event::BuildFinished { .. }
        | Event::RuntimeStarted { .. }
        | Event::StartFailed { .. }
        | Event::RuntimeExited { .. }
        | Event::StopFinished { .. }
        | Event::StatusFetched { .. }
        | Event::DeadlinePassed { .. }
        | Event::RetryDue { .. }
        | Event::Removed { .. }
        | Event::HandlerPanicked { .. } => State::Error(held),
    }
}

/// A start that a person asks for; what an earlier one may have left goes first.
fn begin(facts: &mut Facts<'_>, cx: &mut Cx<Effect>) -> State {
    if !facts.may_run() {
        return facts.build(cx);
    }
    // So that it goes on with a build, which finds the image if that stands.
    facts.forget_image();
    facts.stop(None, Then::Start, cx)
}

/// A retry; what an earlier start may have left goes first.
fn try_again(facts: &mut Facts<'_>, cx: &mut Cx<Effect>) -> State {
    match facts.may_run() {
        true => facts.stop(None, Then::Start, cx),
        false => facts.start_or_build(cx),
    }
}

fn is(held: &Failed, op: OpId) -> bool {
    held.retry.is_some_and(|retry| retry.op == op)
}

fn forget_retry(held: &Failed, cx: &mut Cx<Effect>) {
    if let Some(retry) = held.retry {
        cx.emit(Effect::Cancel { op: retry.op });
    }
}
