//! Finds, bounds and removes the containers in which a build's steps run.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bollard::{
    Docker,
    models::{ContainerInspectResponse, ContainerUpdateBody},
    query_parameters::{EventsOptions, ListContainersOptions},
};
use futures_util::StreamExt;
use hersh_program::ProgramId;

use crate::names::LAYER_LABEL;
use crate::{Inner, counters, listed, remove};
use hersh_sandbox::{StopError, Unavailable};

/// The most processes and threads of one step.
pub(super) const STEP_PIDS: i64 = 1_024;
/// How many looks in a row, one a round, have to find no container of a cancelled build before the build
/// counts as over.
const QUIET_ROUNDS: u32 = 3;
const ROUND: Duration = Duration::from_millis(200);
/// The most rounds, about half a minute: after that, something is wrong.
const MAX_ROUNDS: u32 = 150;

/// Returns the hosts-file entry that marks the containers of a build. The engine gives these containers no
/// label that a client could choose, but it gives them this entry, which tells to whom a container belongs.
pub(super) fn marker(inner: &Inner, program: &ProgramId) -> String {
    let host = &inner.config.host_id;
    format!("hersh-build-{program}.{host}:127.0.0.1")
}

/// Threads on the machine's kernel that a sandbox may need for each process in it.
const SANDBOX_THREADS: i64 = 16;

/// The record of what happened in a build's steps.
#[derive(Debug, Default)]
pub(super) struct StepWatch {
    ran_out_of_memory: AtomicBool,
}

impl StepWatch {
    /// Returns whether the kernel ended a process of a step because memory ran out.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        self.ran_out_of_memory.load(Ordering::Relaxed)
    }
}

/// Bounds the processes of each step as soon as the engine reports the step, and gives the step the rest of
/// its memory. Engines take no such bounds for a build. Returns only when the engine does not answer, and
/// the build ends then as well.
pub(super) async fn bound(inner: &Inner, program: &ProgramId, watched: &StepWatch) -> Unavailable {
    let client = match inner.engine.client().await {
        Ok(client) => client,
        Err(error) => return error,
    };
    let filters = [
        ("type", vec!["container".to_owned()]),
        (
            "event",
            ["create", "start", "oom"].map(str::to_owned).to_vec(),
        ),
        ("label", vec![layer_label(inner)]),
    ];
    let options = EventsOptions {
        filters: Some(filters.map(|(key, value)| (key.to_owned(), value)).into()),
        ..EventsOptions::default()
    };
    let marker = marker(inner, program);
    let mut events = std::pin::pin!(client.events(Some(options)));
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => return inner.engine.fault(&error).into_unavailable(),
        };
        let is_oom = event.action.as_deref() == Some("oom");
        let Some(id) = event.actor.and_then(|actor| actor.id) else {
            continue;
        };
        let Some(step) = step(inner, &id, |host| host == marker).await else {
            continue;
        };
        if is_oom {
            watched.ran_out_of_memory.store(true, Ordering::Relaxed);
        } else {
            bound_group(inner, &id, &step);
            let limits = ContainerUpdateBody {
                pids_limit: Some(STEP_PIDS),
                ..ContainerUpdateBody::default()
            };
            // A step that is over already needs no bound.
            let _ = client.update_container(&id, limits).await;
        }
    }
    Unavailable {
        message: "the container engine closed its event stream".to_owned(),
    }
}

/// Removes the containers of a program's ended build, until none appears any more. The engine may still be
/// about to create one when the connection closes.
pub(super) async fn remove_all(inner: &Inner, program: &ProgramId) -> Result<(), StopError> {
    let marker = marker(inner, program);
    let mut quiet = 0;
    for _round in 0..MAX_ROUNDS {
        let found = find(inner, |host| host == marker).await?;
        for container in &found {
            remove::force(inner, container).await?;
        }
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        if quiet == QUIET_ROUNDS {
            return Ok(());
        }
        tokio::time::sleep(ROUND).await;
    }
    Err(StopError::Failed {
        message: format!("a cancelled build of {program} goes on in the engine"),
    })
}

/// Removes the containers that a crash left of this host's builds. None of these builds runs now.
pub(super) async fn remove_left(inner: &Inner) -> Result<(), Unavailable> {
    let end = format!(".{}:127.0.0.1", inner.config.host_id);
    let is_ours = |host: &str| host.starts_with("hersh-build-") && host.ends_with(&end);
    for container in find(inner, is_ours).await? {
        if let Err(error) = remove::force(inner, &container).await {
            tracing::warn!(%error, container, "a container of a build stays until the next collection");
        }
    }
    Ok(())
}

async fn find(inner: &Inner, is_marker: impl Fn(&str) -> bool) -> Result<Vec<String>, Unavailable> {
    // Every layer of a build carries the label, and a container has the labels of its image.
    let label = ("label".to_owned(), vec![layer_label(inner)]);
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([label])),
        ..ListContainersOptions::default()
    };
    let ask = |client: Docker| {
        let options = options.clone();
        async move { client.list_containers(Some(options)).await }
    };
    let containers = inner.engine.list(ask).await?;
    let mut found = Vec::new();
    let steps = containers.into_iter().filter(|it| listed(it).is_none());
    for id in steps.filter_map(|container| container.id) {
        if step(inner, &id, &is_marker).await.is_some() {
            found.push(id);
        }
    }
    Ok(found)
}

/// Returns the container if it is a step of the build. A container that is gone meanwhile counts as none.
async fn step(
    inner: &Inner,
    id: &str,
    is_marker: impl Fn(&str) -> bool,
) -> Option<ContainerInspectResponse> {
    let client = inner.engine.client().await.ok()?;
    let inspected = client.inspect_container(id, None).await.ok()?;
    let config = inspected.host_config.as_ref();
    let hosts = config.and_then(|config| config.extra_hosts.as_ref())?;
    let is_step = hosts.iter().any(|host| is_marker(host));
    is_step.then_some(inspected)
}

/// Gives a running step the rest of its memory, and bounds the step's sandbox on the machine. If the
/// control group can't be reached, the step goes on with the memory that the engine gave it, which is less.
fn bound_group(inner: &Inner, id: &str, step: &ContainerInspectResponse) {
    let pid = step.state.as_ref().and_then(|state| state.pid);
    let Some(pid) = pid.filter(|pid| *pid > 0) else {
        return;
    };
    let runtime = step.host_config.as_ref();
    let runtime = runtime.and_then(|config| config.runtime.as_deref());
    let pids = match runtime {
        Some("runc") => STEP_PIDS,
        Some(_) | None => STEP_PIDS * SANDBOX_THREADS,
    };
    let memory_bytes = inner.config.build_memory_bytes;
    if !counters::bound(id, pid, memory_bytes, pids.unsigned_abs()) {
        tracing::debug!(
            id,
            "a step's control group can't be reached from here or is gone"
        );
    }
}

fn layer_label(inner: &Inner) -> String {
    format!("{LAYER_LABEL}={}", inner.config.host_id)
}
