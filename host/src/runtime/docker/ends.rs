//! How containers ended: by themselves, or because the engine stopped them.
//!
//! An engine that goes down stops what runs, one that comes up after a crash stops what still runs,
//! and programs that shut down well end with code 0. That end is told like any other. But the engine
//! keeps its newest events in the memory of its process, and says `kill` before it signals a
//! container, under the same lock as the `die` that follows. So:
//!
//! ```text
//! code 0, 137, 143 ─► "die" remembered, no "kill" ─► the program's own: Code
//!                ├─► "kill" remembered ────────────► the engine's doing: EngineStopped
//!                ├─► neither: another process ─────► nobody knows: EngineStopped
//!                └─► no answer: it goes down ──────► asked again when it is back
//! ```
//! It is asked over a new connection: dockerd closes its listening sockets before it stops
//! containers, so that one that goes down is not even asked, however much it has forgotten.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::{models::ContainerStateStatusEnum, query_parameters::EventsOptions};
use futures_util::StreamExt;
use hersh_program::{Exit, ExitReason, ProgramId};

use super::{Inner, engine::Fault};
use crate::runtime::Unavailable;

/// How long the engine may take to say what it remembers. A socket that a service manager
/// holds open takes connections while nobody answers.
const ANSWER: Duration = Duration::from_secs(10);

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
        let may_be_told = matches!(code, 0 | 137 | 143);
        if !may_be_told || self.ended_by_itself(id).await? {
            return Ok(ExitReason::Code(code));
        }
        Ok(ExitReason::EngineStopped { code })
    }

    /// Whether the engine saw this container end and did not end it.
    async fn ended_by_itself(&self, id: &str) -> Result<bool, Unavailable> {
        let asked = async {
            // A connection from before the end may be one that a closing engine still serves.
            let client = self.engine.connect().await?;
            let filters = [
                ("type", vec!["container"]),
                ("event", vec!["die", "kill"]),
                ("container", vec![id]),
            ];
            let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.unwrap_or_default();
            let options = EventsOptions {
                since: Some("0".to_owned()),
                until: Some(format!("{}.{:09}", now.as_secs(), now.subsec_nanos())),
                filters: Some(
                    filters
                        .map(|(key, texts)| (key.to_owned(), owned(texts)))
                        .into(),
                ),
            };
            let mut events = client.events(Some(options));
            let (mut died, mut killed) = (false, false);
            while let Some(event) = events.next().await {
                let event = event.map_err(|error| self.engine.fault(&error).into_unavailable())?;
                match event.action.as_deref() {
                    Some("die") => died = true,
                    _kill => killed = true,
                }
            }
            Ok(died && !killed)
        };
        let answered = tokio::time::timeout(ANSWER, asked).await;
        answered.unwrap_or_else(|_| {
            Err(Unavailable {
                message: format!(
                    "the container engine did not say within {ANSWER:?} how a container ended"
                ),
            })
        })
    }
}
