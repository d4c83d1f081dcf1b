//! One line in the host's log for each change of a program's state.
//!
//! ```text
//! INFO changed state program=counter from="Starting" to="Ready"
//! WARN changed state program=counter from="Stopping" to="Error" cause="exited with code 3" next="tried again in 2 s"
//! ```

use hersh_program::{Program, ProgramId, RoundedSpan, State};

use crate::words::{one_line, state_name};

/// Writes the changes of one program's state to the log. Remembers the state that was written last.
#[derive(Debug)]
pub(crate) struct StateLog {
    program: ProgramId,
    last: &'static str,
}

impl StateLog {
    /// Returns the log of a program that has the state of `program`, which is not written.
    pub(crate) fn new(program: &Program) -> Self {
        Self {
            program: program.id.clone(),
            last: state_name(&program.state),
        }
    }

    /// Writes a line to the log if the program's state at `now_ms` is not the one that was written last.
    pub(crate) fn note(&mut self, program: &Program, now_ms: u64) {
        let to = state_name(&program.state);
        let from = std::mem::replace(&mut self.last, to);
        if from == to {
            return;
        }
        let (id, removed) = (&self.program, matches!(program.state, State::Removed));
        let State::Error(failed) = &program.state else {
            let to = if removed { "Removed" } else { to };
            tracing::info!(program = %id, from, to, "changed state");
            return;
        };
        let cause = one_line(&failed.cause.to_string());
        let next = match &failed.retry {
            Some(retry) => {
                let wait = RoundedSpan(retry.due_ms.saturating_sub(now_ms));
                format!("tried again in {wait}")
            }
            None => "gave up; it waits for a person".to_owned(),
        };
        tracing::warn!(program = %id, from, to, cause, next, "changed state");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hersh_program::{BuildId, Cause, Failed, Manifest, OpId, Retry, Source};

    use super::*;
    use crate::{config::LogFormat, telemetry::capture::Capture};

    fn program(state: State) -> Program {
        let source = Source {
            build: BuildId::parse("build-0123456789ab").unwrap(),
            manifest: Arc::new(Manifest::default()),
        };
        let mut program = Program::new(ProgramId::parse("counter").unwrap(), source, 7);
        program.state = state;
        program
    }

    fn failed(message: &str, retry: Option<Retry>) -> Program {
        let message = message.to_owned();
        program(State::Error(Failed {
            cause: Arc::new(Cause::RuntimeUnavailable { message }),
            retry,
            not_stopped: None,
        }))
    }

    #[test]
    fn the_signal_that_ended_a_program_is_named() {
        let (log, _guard) = Capture::start("info", LogFormat::Text);
        let mut state_log = StateLog::new(&program(State::Created));
        let cause = Cause::Exited {
            code: 139,
            signal: Some(11),
            logs: Vec::new(),
        };
        let failed = State::Error(Failed {
            cause: Arc::new(cause),
            retry: None,
            not_stopped: None,
        });
        state_log.note(&program(failed), 1);
        assert!(log.text().contains("139 (SIGSEGV)"), "{}", log.text());
    }

    #[test]
    fn each_change_of_state_is_one_line() {
        let (log, _guard) = Capture::start("info", LogFormat::Text);
        let mut state_log = StateLog::new(&program(State::Created));
        state_log.note(&program(State::Created), 1);
        state_log.note(
            &program(State::Stopped(hersh_program::Stopped::default())),
            2,
        );
        state_log.note(
            &program(State::Stopped(hersh_program::Stopped::default())),
            3,
        );
        let retry = Retry {
            op: OpId(1),
            due_ms: 2_004,
        };
        state_log.note(&failed("\n gone\r\nforged line\n", Some(retry)), 4);
        state_log.note(&program(State::Created), 5);
        state_log.note(&failed("gone", None), 6);
        let text = log.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(
            lines[0].contains("from=\"Created\" to=\"Stopped\""),
            "{text}"
        );
        assert!(lines[1].contains("WARN"), "{text}");
        assert!(lines[1].contains("next=\"tried again in 2 s\""), "{text}");
        assert!(lines[1].contains("gone forged line"), "{text}");
        assert!(lines[3].contains("gave up"), "{text}");
    }
}
