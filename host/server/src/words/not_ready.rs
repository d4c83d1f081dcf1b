//! Why nothing answers for a program that is not Ready, in words.

use hersh_program::{AfterStop, Program, State};

use super::{folders::without_folders, line::one_line};

/// Returns why nothing answers for a program, and what to do about it.
pub(crate) fn not_ready(program: &Program) -> String {
    let id = &program.id;
    match &program.state {
        State::Created | State::Stopped(_) => {
            format!("{id} does not run; 'hersh start {id}' starts it")
        }
        State::Building(_) => format!("{id} is starting: its image is being built; try again soon"),
        State::Starting(_) => format!("{id} is starting; try again soon"),
        // The program became Ready a moment ago, or its end is still being told.
        State::Ready(_) => format!("{id} has just started or ended; try again"),
        State::Stopping(stopping) => match &stopping.then {
            AfterStop::Start => format!("{id} is restarting; try again soon"),
            AfterStop::Stop { .. } => {
                format!("{id} is stopping; 'hersh start {id}' starts it again")
            }
            AfterStop::Fail { cause } => {
                format!(
                    "{id} failed and is being stopped: {}",
                    one_line(&without_folders(&cause.to_string()))
                )
            }
            AfterStop::Remove => format!("{id} is being removed"),
        },
        State::Error(failed) if failed.retry.is_some() => format!(
            "{id} failed and will be started again by itself: {}",
            one_line(&without_folders(&failed.cause.to_string()))
        ),
        State::Error(failed) => format!(
            "{id} failed, and the host gave up: {}; mend that, then 'hersh start {id}'",
            one_line(&without_folders(&failed.cause.to_string()))
        ),
        State::Removed => format!("{id} is removed"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hersh_program::{
        BuildId, BuildStep, Building, Cause, Failed, Manifest, OpId, ProgramId, Retry, Source,
        Starting, StopStep, Stopped, Stopping,
    };

    use super::*;

    fn said(state: impl FnOnce(Source) -> State) -> String {
        let source = Source {
            build: BuildId::parse("build-0123456789ab").unwrap(),
            manifest: Arc::new(Manifest::default()),
        };
        let id = ProgramId::parse("counter").unwrap();
        let mut program = Program::new(id, source.clone(), 7);
        program.state = state(source);
        not_ready(&program)
    }

    fn stopping(then: AfterStop) -> State {
        State::Stopping(Stopping {
            op: OpId(1),
            deadline_ms: 1,
            step: StopStep::Instances,
            instance: None,
            beside: None,
            then,
        })
    }

    fn failed(retry: Option<Retry>) -> State {
        State::Error(Failed {
            cause: Arc::new(Cause::Vanished),
            retry,
            not_stopped: None,
        })
    }

    #[test]
    fn one_that_is_starting_is_not_told_to_be_started() {
        let building = said(|source| {
            State::Building(Building {
                op: OpId(1),
                deadline_ms: 1,
                step: BuildStep::Image,
                source,
                then: hersh_program::AfterBuild::Start,
            })
        });
        let starting = said(|_| {
            State::Starting(Starting {
                op: OpId(1),
                deadline_ms: 1,
                instance: hersh_program::InstanceNumber(1),
                image: hersh_program::ImageId::parse(&format!("sha256:{}", "a".repeat(64)))
                    .unwrap(),
                exits: Vec::new(),
            })
        });
        for text in [building, starting] {
            assert!(text.starts_with("counter is starting"), "{text}");
            assert!(!text.contains("hersh start"), "{text}");
        }
    }

    #[test]
    fn whoever_gets_no_answer_is_told_why_and_what_to_do() {
        let retry = Retry {
            op: OpId(1),
            due_ms: 9,
        };
        for (state, expected) in [
            (State::Created, "'hersh start counter'"),
            (State::Stopped(Stopped::default()), "'hersh start counter'"),
            (stopping(AfterStop::Start), "is restarting"),
            (stopping(AfterStop::Stop { last_exit: None }), "is stopping"),
            (stopping(AfterStop::Remove), "is being removed"),
            (failed(Some(retry)), "started again by itself"),
            (failed(None), "gave up"),
            (State::Removed, "is removed"),
        ] {
            let text = said(|_| state);
            assert!(text.contains(expected), "{text}");
        }
    }
}
