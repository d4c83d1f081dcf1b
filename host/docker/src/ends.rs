//! Tells how containers ended: by themselves, or because the engine stopped them.
//!
//! An engine that goes down stops the containers that run. An engine that comes up after a crash stops
//! those that still run. A program that shuts down well on such a stop ends with code 0, so the code alone
//! does not tell who ended the program. But the engine keeps its newest events in the memory of its
//! process, and it reports `kill` before it signals a container, under the same lock as the `die` that
//! follows. So the host asks the engine for these events:
//!
//! ```text
//! code 0, 137, 143 ─► "die" remembered, no "kill" ─► the program's own: Code
//!                ├─► "oom" besides ────────────────► OutOfMemory
//!                ├─► "kill" remembered ────────────► the engine's doing: StoppedFromOutside
//!                ├─► neither: nothing remembered ──► nobody knows: StoppedFromOutside
//!                └─► no answer: it goes down ──────► asked again when it is back
//! ```
//! The engine learns in two separate ways that a container ended and that its memory ran out. On a busy
//! machine it learns of the end first: it then never sets its mark `OOMKilled`, and reports `oom` after
//! `die`. So if the kernel killed a program (code 137), the host waits a moment longer for `oom`.
//!
//! The host asks over a new connection. dockerd closes its listening sockets before it stops containers. So
//! an engine that goes down can't be asked at all, and it does not matter how much such an engine has
//! forgotten.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::{
    models::{ContainerInspectResponse, ContainerStateStatusEnum, EventMessage},
    query_parameters::EventsOptions,
};
use futures_util::StreamExt;
use hersh_program::{Exit, ExitReason, ProgramId};

use super::{Inner, engine::Fault, files, first_process, inspect, kernel_log};
use hersh_sandbox::Unavailable;

/// How long the engine may take to list its remembered events. A socket that a service manager holds open
/// takes connections even while no engine answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after an end the engine may still report that memory ran out. At most 0.26 s were measured, on
/// two processors, with four busy processes and four programs that ran out of memory at once.
const OOM_EVENT_WAIT: Duration = Duration::from_secs(1);
/// The exit code of a process that SIGKILL ended.
const KILLED: i32 = 137;

/// The exit code of a sandbox that died by itself, for example because a thread was refused to it.
const SANDBOX_DIED: i32 = 2;

/// What the engine remembers of the end of a container.
enum EndRecord {
    /// The program ended by itself at this time since the epoch: nobody asked the engine to end it.
    ByItself(Duration),
    /// The kernel ended the program because memory ran out.
    OutOfMemory,
    /// The engine was asked to end the program, or remembers nothing of the end.
    Stopped,
}

impl Inner {
    /// Returns how a container ended; `None` while it runs or if there is no such container.
    pub(super) async fn exit(
        self: &Arc<Self>,
        program: &ProgramId,
        id: &str,
    ) -> Result<Option<Exit>, Unavailable> {
        let client = self.engine.client().await?;
        let inspected = match client.inspect_container(id, None).await {
            Ok(inspected) => inspected,
            Err(error) => {
                let absent = self.engine.fault(&error).unless_absent();
                return absent.map(|()| None).map_err(Fault::into_unavailable);
            }
        };
        let state = inspected.state.clone().unwrap_or_default();
        // A container that was made and not started yet does not run, but has no end either.
        let is_made_only = state.status == Some(ContainerStateStatusEnum::CREATED);
        if state.running.unwrap_or(false) || is_made_only {
            return Ok(None);
        }
        // The last lines of the container may still be on their way, and they can tell why it ended. If it
        // ended while no host ran, nothing of its output was taken over yet.
        let config = inspected.host_config.clone().unwrap_or_default();
        self.captures
            .ensure(self, program, id, inspect::log_bytes(&config));
        self.captures.finish(id).await;
        let code = i32::try_from(state.exit_code.unwrap_or(-1)).unwrap_or(-1);
        let logs = self.last_lines(program, inspected.created.as_deref()).await;
        let reason = if state.oom_killed.unwrap_or(false) {
            ExitReason::OutOfMemory
        } else {
            self.reason(id, code).await?
        };
        let reason = match reason {
            ExitReason::Code(code) => self.exact_reason(code, &inspected, &logs).await,
            ExitReason::StoppedFromOutside { .. }
            | ExitReason::OutOfMemory
            | ExitReason::OutOfProcesses { .. }
            | ExitReason::NotRunnable { .. }
            | ExitReason::StateQuota
            | ExitReason::DiskFull
            | ExitReason::Vanished => reason,
        };
        Ok(Some(Exit { reason, logs }))
    }

    /// Returns the reason for an end with the program's own `code`. Looks for a more exact reason than the code
    /// in the last lines, in the files of the container, and in the kernel's log.
    async fn exact_reason(
        &self,
        code: i32,
        inspected: &ContainerInspectResponse,
        logs: &[String],
    ) -> ExitReason {
        let Ok(client) = self.engine.client().await else {
            return ExitReason::Code(code);
        };
        let refusal = logs
            .last()
            .and_then(|line| first_process::said_by_init(line));
        if let Some(refusal) = refusal.filter(|_| code != 0) {
            let message = files::explain(&client, inspected, &refusal).await;
            return ExitReason::NotRunnable { message };
        }
        // A shell ends with one of these codes if it reads a program file as a script; an init process does
        // if it finds no shell.
        if let 2 | 126 | 127 = code
            && let Some(message) = files::foreign_program(&client, inspected).await
        {
            return ExitReason::NotRunnable { message };
        }
        let id = inspected.id.as_deref().unwrap_or_default();
        let was_refused = code != 0 && says_no_process(logs)
            || code == SANDBOX_DIED && kernel_log::refused_threads(id).await;
        if was_refused {
            ExitReason::OutOfProcesses { code }
        } else {
            ExitReason::Code(code)
        }
    }

    /// Returns the reason for an end with `code`. Called after the container ended.
    pub(super) async fn reason(&self, id: &str, code: i32) -> Result<ExitReason, Unavailable> {
        // A process that obeys SIGTERM ends with 0 or 143, a process that SIGKILL ended with 137.
        let is_ambiguous = matches!(code, 0 | KILLED | 143);
        if !is_ambiguous {
            return Ok(ExitReason::Code(code));
        }
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, async {
            let first = self.remembered(id, now()).await?;
            match first {
                EndRecord::ByItself(ended) if code == KILLED && ended + OOM_EVENT_WAIT > now() => {
                    self.remembered(id, ended + OOM_EVENT_WAIT).await
                }
                EndRecord::ByItself(_) | EndRecord::OutOfMemory | EndRecord::Stopped => Ok(first),
            }
        })
        .await;
        let answer = asked.unwrap_or_else(|_| {
            Err(Unavailable {
                message: format!(
                    "the container engine did not say within {ANSWER_TIMEOUT:?} how container {id} ended"
                ),
            })
        });
        Ok(match answer? {
            EndRecord::ByItself(_) => ExitReason::Code(code),
            EndRecord::OutOfMemory => ExitReason::OutOfMemory,
            EndRecord::Stopped => ExitReason::StoppedFromOutside { code },
        })
    }

    /// Asks the engine what it remembers of a container's end, up to the time `until` since the epoch.
    async fn remembered(&self, id: &str, until: Duration) -> Result<EndRecord, Unavailable> {
        // Connects anew: a connection from before the end may be one that an engine still serves while it
        // goes down.
        let client = self.engine.connect().await?;
        let filters = [
            ("type", vec!["container"]),
            ("event", vec!["die", "kill", "oom"]),
            ("container", vec![id]),
        ];
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        let options = EventsOptions {
            since: Some("0".to_owned()),
            until: Some(format!("{}.{:09}", until.as_secs(), until.subsec_nanos())),
            filters: Some(
                filters
                    .map(|(key, texts)| (key.to_owned(), owned(texts)))
                    .into(),
            ),
        };
        let mut events = client.events(Some(options));
        let (mut ended, mut killed) = (None, false);
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| self.engine.fault(&error).into_unavailable())?;
            match event.action.as_deref() {
                Some("die") => ended = Some(time_of(&event)),
                Some("oom") => return Ok(EndRecord::OutOfMemory),
                _kill => killed = true,
            }
        }
        Ok(match ended {
            Some(at) if !killed => EndRecord::ByItself(at),
            Some(_) | None => EndRecord::Stopped,
        })
    }
}

/// Returns whether one of the last lines says, in a well-known wording, that a process or thread could not
/// be made.
fn says_no_process(logs: &[String]) -> bool {
    const LINES: usize = 20;
    logs.iter().rev().take(LINES).any(|line| {
        let line = line.to_ascii_lowercase();
        let is_refusal = ["resource temporarily unavailable", "eagain", "code: 11,"]
            .iter()
            .any(|words| line.contains(words));
        let is_about_one = ["fork", "thread", "spawn", "blockingioerror", "clone"]
            .iter()
            .any(|words| line.contains(words));
        let is_plain = [
            "can't start new thread",
            "failed to create new os thread",
            "unable to create native thread",
            "unable to create new native thread",
        ]
        .iter()
        .any(|words| line.contains(words));
        is_plain || is_refusal && is_about_one
    })
}

fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// Returns the time of an event, since the epoch.
fn time_of(event: &EventMessage) -> Duration {
    Duration::from_nanos(event.time_nano.unwrap_or_default().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::says_no_process;

    #[test]
    fn the_ways_to_say_that_no_process_was_made_are_known() {
        for line in [
            "sh: can't fork: Resource temporarily unavailable",
            "bash: fork: retry: Resource temporarily unavailable",
            "BlockingIOError: [Errno 11] Resource temporarily unavailable",
            "RuntimeError: can't start new thread",
            "runtime: failed to create new OS thread (have 5 already; errno=11)",
            "java.lang.OutOfMemoryError: unable to create native thread: possibly",
            "Error: spawn /bin/ls EAGAIN",
            "failed to spawn thread: Os { code: 11, kind: WouldBlock, message: \"Resource\" }",
        ] {
            assert!(says_no_process(&[line.to_owned(), "end".into()]), "{line}");
        }
        for line in ["read: Resource temporarily unavailable", "threads: 4", ""] {
            assert!(!says_no_process(&[line.to_owned()]), "{line}");
        }
    }
}
