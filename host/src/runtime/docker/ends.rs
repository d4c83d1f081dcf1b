//! How containers ended: by themselves, or because the engine stopped them.
//!
//! An engine that goes down stops what runs, one that comes up after a crash stops what still runs,
//! and programs that shut down well end with code 0. That end is told like any other. But the engine
//! keeps its newest events in the memory of its process, and says `kill` before it signals a
//! container, under the same lock as the `die` that follows. So:
//!
//! ```text
//! code 0, 137, 143 ─► "die" remembered, no "kill" ─► the program's own: Code
//!                ├─► "oom" besides ────────────────► OutOfMemory
//!                ├─► "kill" remembered ────────────► the engine's doing: EngineStopped
//!                ├─► neither: another process ─────► nobody knows: EngineStopped
//!                └─► no answer: it goes down ──────► asked again when it is back
//! ```
//! The engine hears of an end and of the memory that ran out in two ways, and on a busy machine of
//! the end first: it then never sets its mark `OOMKilled`, and says `oom` after `die`. So the end of
//! a program that the kernel killed, code 137, is waited for a moment longer.
//!
//! It is asked over a new connection: dockerd closes its listening sockets before it stops
//! containers, so that one that goes down is not even asked, however much it has forgotten.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::{
    models::{ContainerStateStatusEnum, EventMessage},
    query_parameters::EventsOptions,
};
use futures_util::StreamExt;
use hersh_program::{Exit, ExitReason, ProgramId};

use super::{Inner, engine::Fault};
use crate::runtime::Unavailable;

/// How long the engine may take to say what it remembers. A socket that a service manager
/// holds open takes connections while nobody answers.
const ANSWER: Duration = Duration::from_secs(10);
/// How long after an end the engine may say that memory ran out: up to 0.26 s were seen, on two
/// processors with four busy processes beside four programs that ran out of memory at once.
const OOM_LATE: Duration = Duration::from_secs(1);
/// The code of a process that was ended by SIGKILL.
const KILLED: i32 = 137;

/// What the engine remembers of an end.
enum Remembered {
    /// The program ended then, since the epoch, and nobody asked for it.
    ByItself(Duration),
    /// The kernel ended it for want of memory.
    OutOfMemory,
    /// The engine was asked to end it, or knows nothing.
    Stopped,
}

impl Inner {
    /// How a container ended; `None` when it runs or is not there.
    pub(super) async fn exit(
        &self,
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
        let state = inspected.state.unwrap_or_default();
        // One that is made and not started yet has no end either, though it does not run.
        let is_made_only = state.status == Some(ContainerStateStatusEnum::CREATED);
        if state.running.unwrap_or(false) || is_made_only {
            return Ok(None);
        }
        let code = i32::try_from(state.exit_code.unwrap_or(-1)).unwrap_or(-1);
        Ok(Some(Exit {
            reason: if state.oom_killed.unwrap_or(false) {
                ExitReason::OutOfMemory
            } else {
                self.reason(id, code).await?
            },
            logs: self.last_lines(program, inspected.created.as_deref()).await,
        }))
    }

    /// What an end with `code` is, after it has come.
    pub(super) async fn reason(&self, id: &str, code: i32) -> Result<ExitReason, Unavailable> {
        // How a process ends that is told to (SIGTERM), and one that did not listen (SIGKILL).
        let may_be_told = matches!(code, 0 | KILLED | 143);
        if !may_be_told {
            return Ok(ExitReason::Code(code));
        }
        let asked = tokio::time::timeout(ANSWER, async {
            let first = self.remembered(id, now()).await?;
            match first {
                Remembered::ByItself(ended) if code == KILLED && ended + OOM_LATE > now() => {
                    self.remembered(id, ended + OOM_LATE).await
                }
                Remembered::ByItself(_) | Remembered::OutOfMemory | Remembered::Stopped => {
                    Ok(first)
                }
            }
        })
        .await;
        let answer = asked.unwrap_or_else(|_| {
            Err(Unavailable {
                message: format!(
                    "the container engine did not say within {ANSWER:?} how a container ended"
                ),
            })
        });
        Ok(match answer? {
            Remembered::ByItself(_) => ExitReason::Code(code),
            Remembered::OutOfMemory => ExitReason::OutOfMemory,
            Remembered::Stopped => ExitReason::EngineStopped { code },
        })
    }

    /// What the engine says of a container's end until that time, since the epoch.
    async fn remembered(&self, id: &str, until: Duration) -> Result<Remembered, Unavailable> {
        // A connection from before the end may be one that a closing engine still serves.
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
                Some("oom") => return Ok(Remembered::OutOfMemory),
                _kill => killed = true,
            }
        }
        Ok(match ended {
            Some(at) if !killed => Remembered::ByItself(at),
            Some(_) | None => Remembered::Stopped,
        })
    }
}

fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// When it happened, since the epoch.
fn time_of(event: &EventMessage) -> Duration {
    Duration::from_nanos(event.time_nano.unwrap_or_default().unsigned_abs())
}
