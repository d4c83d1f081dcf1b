//! Invariants: conditions that every program meets at every moment.

use alloc::{format, string::String};

use crate::{
    AfterStop, InstanceNumber, Program, Ready, Revisions, Rules, StartKind, Starting, State,
    StopStep, recovery::FIRST_RULES_ATTEMPTS,
};

/// Checks a state that the reducer made. The types already ensure the rest: a container id exists only in
/// Ready, and every transient state has an operation and a deadline.
///
/// # Errors
/// A sentence that names the broken invariant.
pub(crate) fn check(program: &Program) -> Result<(), String> {
    check_attempts(program)?;
    check_instance(program)?;
    check_revisions(program)?;
    let rests = match &program.state {
        State::Created | State::Building(_) | State::Stopped(_) | State::Removed => true,
        State::Stopping(stopping) => stopping.step == StopStep::Files,
        State::Starting(_) | State::Ready(_) | State::Error(_) => false,
    };
    if rests && program.instance_manifest.is_some() {
        return Err(format!("{} and something may run", program.state.name()));
    }
    match &program.state {
        State::Building(building) => operation(building.op.0, building.deadline_ms),
        State::Starting(starting) if starting.exits.len() > Starting::MAX_EXITS => Err(format!(
            "{} exits are remembered, more than {}",
            starting.exits.len(),
            Starting::MAX_EXITS
        )),
        State::Starting(starting) => operation(starting.op.0, starting.deadline_ms),
        State::Stopping(stopping) => {
            if stopping.step == StopStep::Files && stopping.then != AfterStop::Remove {
                return Err(String::from("files are removed of a program that stays"));
            }
            operation(stopping.op.0, stopping.deadline_ms)
        }
        State::Ready(ready) => {
            check_beside(ready)?;
            ready
                .check
                .map_or(Ok(()), |check| operation(check.op.0, check.deadline_ms))
        }
        State::Error(failed) => {
            if failed.retry.is_some() && program.attempts == 0 && program.waits == 0 {
                return Err(String::from("a retry is due that nothing counts"));
            }
            failed
                .retry
                .map_or(Ok(()), |retry| operation(retry.op.0, retry.due_ms))
        }
        State::Created | State::Stopped(_) | State::Removed => Ok(()),
    }
}

/// Checks what goes on beside an instance that is up: at most one more instance, and each wait has its end.
fn check_beside(ready: &Ready) -> Result<(), String> {
    if ready.instances().count() > 2 {
        return Err(String::from("three instances may run"));
    }
    if let Some(rollout) = &ready.rollout {
        operation(rollout.step.op().0, rollout.step.deadline_ms())?;
    }
    ready.leaving.as_ref().map_or(Ok(()), |leaving| {
        operation(leaving.op.0, leaving.deadline_ms)
    })
}

/// Checks that a program of the first rules has given up in time. Under the second rules, only its manifest
/// bounds the attempts.
fn check_attempts(program: &Program) -> Result<(), String> {
    match program.rules {
        Rules::First if program.attempts > FIRST_RULES_ATTEMPTS => Err(format!(
            "{} attempts are more than {FIRST_RULES_ATTEMPTS}",
            program.attempts
        )),
        Rules::First | Rules::Second => Ok(()),
    }
}

/// Checks that the revisions that a start may need are kept, and that their number is bounded.
fn check_revisions(program: &Program) -> Result<(), String> {
    let Some(revisions) = &program.revisions else {
        return match program.rules {
            Rules::First => Ok(()),
            Rules::Second => Err(String::from(
                "a program of the second rules has no revisions",
            )),
        };
    };
    let plan = revisions.plan();
    let fallback = match &plan.kind {
        StartKind::Rollout { fallback } => Some(*fallback),
        StartKind::Plain | StartKind::RollBack { .. } => None,
    };
    let needed = [Some(revisions.wanted()), Some(plan.revision), fallback];
    if let Some(lost) = needed
        .into_iter()
        .flatten()
        .find(|it| revisions.get(*it).is_none())
    {
        return Err(format!("revision {lost} is needed and was forgotten"));
    }
    let most = Revisions::KEPT + needed.len() + 1;
    let kept = revisions.iter().count();
    if kept > most {
        return Err(format!("{kept} revisions are kept, more than {most}"));
    }
    let wanted = revisions.get(revisions.wanted());
    match wanted.is_some_and(|it| it.source == program.source && it.image == program.image) {
        true => Ok(()),
        false => Err(String::from(
            "the source is not that of the wanted revision",
        )),
    }
}

/// Checks that the number of the current instance is one that was given out.
fn check_instance(program: &Program) -> Result<(), String> {
    let number = match &program.state {
        State::Starting(starting) => Some(starting.instance),
        State::Ready(ready) => Some(ready.instance),
        State::Stopping(stopping) => stopping.instance,
        State::Created
        | State::Building(_)
        | State::Stopped(_)
        | State::Error(_)
        | State::Removed => None,
    };
    let newest = program.instances.unwrap_or(InstanceNumber::UNNUMBERED.0);
    match number {
        Some(number) if number.0 > newest => Err(format!(
            "instance {number} is {} and only {newest} were started",
            program.state.name()
        )),
        Some(_) | None => Ok(()),
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

#[cfg(test)]
mod tests {
    use alloc::{sync::Arc, vec};

    use hersh_machine::OpId;

    use super::check;
    use crate::{
        AfterBuild, AfterStop, BuildId, BuildStep, Building, Cause, Check, ContainerId, Exit,
        ExitReason, Failed, ImageId, InstanceNumber, Manifest, Program, ProgramId, Ready, Retry,
        Rules, Source, Starting, State, StopStep, Stopped, Stopping,
        recovery::FIRST_RULES_ATTEMPTS,
    };

    fn program(state: State) -> Program {
        let source = Source {
            build: BuildId::parse("build-000000000000").unwrap(),
            manifest: Arc::new(Manifest::default()),
        };
        let mut program = Program::new(ProgramId::parse("a").unwrap(), source, 1);
        program.state = state;
        program
    }

    fn image() -> ImageId {
        ImageId(Arc::from("sha256:0"))
    }

    #[track_caller]
    fn breaks(program: &Program, words: &str) {
        let law = check(program).unwrap_err();
        assert!(law.contains(words), "{law}");
    }

    #[test]
    fn attempts_are_bounded() {
        let mut many = program(State::Created);
        many.rules = Rules::First;
        many.revisions = None;
        many.attempts = FIRST_RULES_ATTEMPTS + 1;
        breaks(&many, "attempts");
        let retry = Some(Retry {
            op: OpId(1),
            due_ms: 1,
        });
        let cause = Arc::new(Cause::HostRestarted);
        let uncounted = program(State::Error(Failed {
            cause,
            retry,
            not_stopped: None,
        }));
        breaks(&uncounted, "nothing counts");
    }

    #[test]
    fn every_wait_has_an_operation_and_a_deadline() {
        let stopping = |op, deadline_ms| {
            program(State::Stopping(Stopping {
                op: OpId(op),
                deadline_ms,
                step: StopStep::Instances,
                instance: None,
                beside: None,
                then: AfterStop::Start,
            }))
        };
        assert_eq!(check(&stopping(1, 1)), Ok(()));
        breaks(&stopping(0, 1), "never issued");
        breaks(&stopping(1, 0), "no deadline");
        let source = program(State::Created).source;
        breaks(
            &program(State::Building(Building {
                op: OpId(0),
                deadline_ms: 1,
                step: BuildStep::Folders,
                source,
                then: AfterBuild::Start,
            })),
            "never issued",
        );
        breaks(
            &program(State::Ready(Ready {
                instance: InstanceNumber::UNNUMBERED,
                image: image(),
                container: ContainerId(Arc::from("0")),
                since_ms: 1,
                check: Some(Check {
                    op: OpId(1),
                    deadline_ms: 0,
                }),
                not_alive: None,
                rollout: None,
                leaving: None,
            })),
            "no deadline",
        );
    }

    #[test]
    fn an_instance_has_a_number_that_was_given() {
        let mut ready = program(State::Ready(Ready {
            instance: InstanceNumber(3),
            image: image(),
            container: ContainerId(Arc::from("0")),
            since_ms: 1,
            check: None,
            not_alive: None,
            rollout: None,
            leaving: None,
        }));
        breaks(&ready, "only 0 were started");
        ready.instances = Some(3);
        assert_eq!(check(&ready), Ok(()));
    }

    #[test]
    fn remembered_exits_are_bounded() {
        let exit = Arc::new(Exit {
            reason: ExitReason::Vanished,
            logs: vec![],
        });
        let seen = (ContainerId(Arc::from("0")), exit);
        let starting = State::Starting(Starting {
            op: OpId(1),
            deadline_ms: 1,
            instance: InstanceNumber::UNNUMBERED,
            image: image(),
            exits: vec![seen; Starting::MAX_EXITS + 1],
        });
        breaks(&program(starting), "exits are remembered");
    }

    #[test]
    fn at_rest_and_before_a_start_nothing_runs() {
        let mut stopped = program(State::Stopped(Stopped::default()));
        assert_eq!(check(&stopped), Ok(()));
        stopped.instance_manifest = Some(Arc::new(Manifest::default()));
        breaks(&stopped, "something may run");
    }

    #[test]
    fn files_go_only_with_the_program() {
        let stopping = State::Stopping(Stopping {
            op: OpId(1),
            deadline_ms: 1,
            step: StopStep::Files,
            instance: None,
            beside: None,
            then: AfterStop::Start,
        });
        breaks(&program(stopping), "a program that stays");
    }
}
