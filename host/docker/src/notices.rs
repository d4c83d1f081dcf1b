//! Handles the news that a container runs or ended.

use std::sync::Arc;

use hersh_program::{ContainerId, Exit, ExitReason, ProgramId};

use super::{Inner, engine::Fault};
use hersh_sandbox::Unavailable;

/// How the end of a container was noticed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice {
    /// The engine reported the end, in most cases with a code.
    Event(Option<i32>),
    /// The container was found in a list, and did not run.
    List,
    /// The container was not found any more.
    Absence,
}

/// Returns how a container ended; `None` when it had not ended and was only not running yet.
pub(super) async fn exit(
    inner: &Arc<Inner>,
    program: &ProgramId,
    container: &ContainerId,
    notice: Notice,
) -> Result<Option<Exit>, Unavailable> {
    let id = container.as_str();
    inner.flows.end(id).await;
    let reason = match notice {
        Notice::List => return inner.exit(program, id).await,
        Notice::Absence => ExitReason::Vanished,
        Notice::Event(code) => {
            if let Some(exit) = inner.exit(program, id).await? {
                return Ok(Some(exit));
            }
            // The container was removed already, or somebody started it again by hand.
            match code {
                Some(code) => inner.reason(id, code).await?,
                None => ExitReason::Vanished,
            }
        }
    };
    let logs = inner.last_lines(program, None).await;
    Ok(Some(Exit { reason, logs }))
}

/// Captures a running container with the log limit that it was made with.
pub(super) async fn capture(
    inner: &Arc<Inner>,
    program: &ProgramId,
    container: &ContainerId,
) -> Result<(), Unavailable> {
    let id = container.as_str();
    let client = inner.engine.client().await?;
    match client.inspect_container(id, None).await {
        Ok(inspected) => {
            inner
                .flows
                .note(container, inspected.network_settings.as_ref());
            let config = inspected.host_config.unwrap_or_default();
            let limit_bytes = super::inspect::log_bytes(&config);
            inner.captures.ensure(inner, program, id, limit_bytes);
            Ok(())
        }
        Err(error) => inner
            .engine
            .fault(&error)
            .unless_absent()
            .map_err(Fault::into_unavailable),
    }
}
