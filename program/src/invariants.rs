//! What holds of every program at every moment.

use alloc::{format, string::String};

use crate::{Program, Starting, State, StopStep, Then, recovery::MAX_ATTEMPTS};

/// Checks a state that the reducer made. The types hold the rest: a container id exists only in
/// Ready, operation and deadline exist in every transient state.
///
/// # Errors
/// A sentence that names the broken invariant.
pub(crate) fn check(program: &Program) -> Result<(), String> {
    if program.attempts > MAX_ATTEMPTS {
        return Err(format!(
            "{} attempts are more than {MAX_ATTEMPTS}",
            program.attempts
        ));
    }
    match &program.state {
        State::Building(held) => operation(held.op.0, held.deadline_ms),
        State::Starting(held) if held.exits.len() > Starting::MAX_EXITS => Err(format!(
            "{} exits are remembered, more than {}",
            held.exits.len(),
            Starting::MAX_EXITS
        )),
        State::Starting(held) => operation(held.op.0, held.deadline_ms),
        State::Stopping(held) => {
            if held.step == StopStep::Files && held.then != Then::Remove {
                return Err(String::from("files are removed of a program that stays"));
            }
            operation(held.op.0, held.deadline_ms)
        }
        State::Ready(held) => held
            .check
            .map_or(Ok(()), |check| operation(check.op.0, check.deadline_ms)),
        State::Error(held) => {
            if held.retry.is_some() && program.attempts == 0 {
                return Err(String::from("a retry is due that no attempt counts"));
            }
            held.retry
                .map_or(Ok(()), |retry| operation(retry.op.0, retry.due_ms))
        }
        State::Created | State::Stopped(_) | State::Removed => Ok(()),
    }
}

fn operation(op: u64, deadline_ms: u64) -> Result<(), String> {
    if op == 0 {
        return Err(String::from("an operation was never issued"));
    }
    if deadline_ms == 0 {
        return Err(String::from("an operation has no deadline"));
    }
    Ok(())
}
