//! Exits, as the engine tells them.
//!
//! ```text
//! connect ─► subscribe ─► list: the dead are told, the living are captured ─► read events
//!    ▲                                                                           │
//!    └──────────────── back off ◄──────────────── connection lost ◄──────────────┘
//! ```
//!
//! Subscribing before listing means that an exit at any moment is seen by one or by both. Whether an
//! end was the program's own is asked in [`ends`](super::ends); an engine that goes down does not
//! answer that, and the end is told once it is back.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bollard::{models::EventMessage, query_parameters::EventsOptions};
use futures_util::StreamExt;
use hersh_program::{ContainerId, Exit, ExitReason, ProgramId};
use tokio::sync::mpsc;

use super::{Inner, listed};
use crate::{
    compose::{HOST_LABEL, container_name},
    runtime::{Listed, RuntimeEvent, Unavailable},
};

const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
const BACK_OFF_LAST: Duration = Duration::from_secs(5);

/// The containers that were seen to run, so that one that vanished while nobody looked is told.
type Seen = HashMap<ContainerId, ProgramId>;

/// Why reading stopped.
enum Stop {
    /// Nobody listens any more.
    Closed,
    /// The engine does not answer.
    Lost(Unavailable),
}

impl From<Unavailable> for Stop {
    fn from(error: Unavailable) -> Self {
        Self::Lost(error)
    }
}

/// Tells exits until nobody listens.
pub(super) async fn run(inner: Arc<Inner>, sender: mpsc::Sender<RuntimeEvent>) {
    let mut seen = Seen::new();
    let mut back_off = BACK_OFF_FIRST;
    loop {
        let mut connected = false;
        let stopped = tokio::select! {
            stopped = read(&inner, &sender, &mut seen, &mut connected) => stopped,
            () = sender.closed() => Stop::Closed,
        };
        match stopped {
            Stop::Closed => return,
            Stop::Lost(error) => tracing::warn!(%error, "no events from the container engine"),
        }
        if connected {
            back_off = BACK_OFF_FIRST;
        }
        inner.engine.forget().await;
        tokio::select! {
            () = tokio::time::sleep(back_off) => {}
            () = sender.closed() => return,
        }
        back_off = (back_off * 2).min(BACK_OFF_LAST);
    }
}

async fn read(
    inner: &Arc<Inner>,
    sender: &mpsc::Sender<RuntimeEvent>,
    seen: &mut Seen,
    connected: &mut bool,
) -> Stop {
    let client = match inner.engine.client().await {
        Ok(client) => client,
        Err(error) => return Stop::Lost(error),
    };
    let filters = [
        ("type", vec!["container".to_owned()]),
        ("event", vec!["die".to_owned(), "start".to_owned()]),
        (
            "label",
            vec![format!("{HOST_LABEL}={}", inner.config.host_id)],
        ),
    ];
    let options = EventsOptions {
        filters: Some(filters.map(|(key, value)| (key.to_owned(), value)).into()),
        ..EventsOptions::default()
    };
    let mut events = std::pin::pin!(client.events(Some(options)));
    // At most as many as containers change while one list is made.
    let mut early = Vec::new();
    {
        // The subscription is sent by the first poll, so both are polled together.
        let mut listed = std::pin::pin!(list(inner, sender, seen));
        loop {
            tokio::select! {
                biased;
                event = events.next() => match event {
                    Some(Ok(event)) => early.push(event),
                    Some(Err(error)) => return lost(inner, &error),
                    None => return closed(),
                },
                result = &mut listed => match result {
                    Ok(()) => break,
                    Err(stop) => return stop,
                },
            }
        }
    }
    *connected = true;
    for event in early {
        if let Err(stop) = take(inner, sender, seen, event).await {
            return stop;
        }
    }
    while let Some(event) = events.next().await {
        let taken = match event {
            Ok(event) => take(inner, sender, seen, event).await,
            Err(error) => Err(lost(inner, &error)),
        };
        if let Err(stop) = taken {
            return stop;
        }
    }
    closed()
}

/// Tells all that are dead, captures all that live.
async fn list(
    inner: &Arc<Inner>,
    sender: &mpsc::Sender<RuntimeEvent>,
    seen: &mut Seen,
) -> Result<(), Stop> {
    let mut vanished = seen.clone();
    vanished.extend(inner.started().clone());
    for container in inner.containers(None).await? {
        let Some(Listed {
            program,
            container: parsed,
            running,
        }) = listed(&container)
        else {
            continue;
        };
        let id = parsed.as_str();
        vanished.remove(&parsed);
        if running {
            follow(inner, &program, id).await?;
            seen.insert(parsed, program);
        } else if let Some(exit) = inner.exit(&program, id).await? {
            seen.remove(&parsed);
            inner.started().remove(&parsed);
            tell(sender, program, parsed, exit).await?;
        }
    }
    for (container, program) in vanished {
        seen.remove(&container);
        inner.started().remove(&container);
        let exit = Exit {
            reason: ExitReason::Vanished,
            logs: inner.last_lines(&program, None).await,
        };
        tell(sender, program, container, exit).await?;
    }
    Ok(())
}

async fn take(
    inner: &Arc<Inner>,
    sender: &mpsc::Sender<RuntimeEvent>,
    seen: &mut Seen,
    event: EventMessage,
) -> Result<(), Stop> {
    let actor = event.actor.unwrap_or_default();
    let attributes = actor.attributes.unwrap_or_default();
    let program = attributes.get(crate::compose::PROGRAM_LABEL);
    let program = program.and_then(|text| ProgramId::parse(text).ok());
    let container = actor.id.and_then(|id| ContainerId::parse(&id).ok());
    let (Some(program), Some(container)) = (program, container) else {
        return Ok(());
    };
    // A step of a build may carry the labels, never the name.
    if attributes.get("name") != Some(&container_name(&program)) {
        return Ok(());
    }
    if event.action.as_deref() == Some("start") {
        follow(inner, &program, container.as_str()).await?;
        seen.insert(container, program);
        return Ok(());
    }
    inner.captures.finish(container.as_str()).await;
    let exit = match inner.exit(&program, container.as_str()).await? {
        Some(exit) => exit,
        // Removed already, or started again by hand.
        None => {
            let code = attributes.get("exitCode");
            Exit {
                reason: match code.and_then(|code| code.parse().ok()) {
                    Some(code) => inner.reason(container.as_str(), code).await?,
                    None => ExitReason::Vanished,
                },
                logs: inner.last_lines(&program, None).await,
            }
        }
    };
    // Only now: an end that the engine said nothing about is found by the next list.
    seen.remove(&container);
    inner.started().remove(&container);
    tell(sender, program, container, exit).await
}

/// Captures a running container with the log limit that it was made with.
async fn follow(inner: &Arc<Inner>, program: &ProgramId, id: &str) -> Result<(), Stop> {
    let client = inner.engine.client().await?;
    match client.inspect_container(id, None).await {
        Ok(inspected) => {
            let config = inspected.host_config.unwrap_or_default();
            let limit_bytes = super::inspect::log_bytes(&config);
            inner.captures.ensure(inner, program, id, limit_bytes);
            Ok(())
        }
        Err(error) => inner
            .engine
            .fault(&error)
            .unless_absent()
            .map_err(|fault| fault.into_unavailable().into()),
    }
}

async fn tell(
    sender: &mpsc::Sender<RuntimeEvent>,
    program: ProgramId,
    container: ContainerId,
    exit: Exit,
) -> Result<(), Stop> {
    let event = RuntimeEvent {
        program,
        container,
        exit,
    };
    sender.send(event).await.map_err(|_closed| Stop::Closed)
}

fn lost(inner: &Inner, error: &bollard::errors::Error) -> Stop {
    Stop::Lost(inner.engine.fault(error).into_unavailable())
}

fn closed() -> Stop {
    Stop::Lost(Unavailable {
        message: "the container engine closed its event stream".to_owned(),
    })
}
