//! The containers in which a build's steps run: found, bounded, removed.

use std::{collections::HashMap, time::Duration};

use bollard::{
    models::ContainerUpdateBody,
    query_parameters::{EventsOptions, ListContainersOptions},
};
use futures_util::StreamExt;
use hersh_program::ProgramId;

use super::{Inner, listed, remove};
use crate::{
    compose::LAYER_LABEL,
    runtime::{StopError, Unavailable},
};

/// Processes and threads of one step.
pub(super) const STEP_PIDS: i64 = 1_024;
/// A cancelled build is over when this many looks, a round apart, found none of its containers.
const QUIET_ROUNDS: u32 = 3;
const ROUND: Duration = Duration::from_millis(200);
/// From then on something is wrong: about half a minute.
const MAX_ROUNDS: u32 = 150;

/// The engine gives the containers of a build no label that a client could choose, but it does
/// give them this entry of the hosts file: it tells whose a container is.
pub(super) fn marker(inner: &Inner, program: &ProgramId) -> String {
    let host = &inner.config.host_id;
    format!("hersh-build-{program}.{host}:127.0.0.1")
}

/// Bounds the processes of each step as soon as the engine tells of it; engines take no such bound
/// for a build. Ends only when the engine does not answer, and the build ends then as well.
pub(super) async fn bound(inner: &Inner, program: &ProgramId) -> Unavailable {
    let client = match inner.engine.client().await {
        Ok(client) => client,
        Err(error) => return error,
    };
    let filters = [
        ("type", vec!["container".to_owned()]),
        ("event", vec!["create".to_owned(), "start".to_owned()]),
        ("label", vec![layer_label(inner)]),
    ];
    let options = EventsOptions {
        filters: Some(filters.map(|(key, value)| (key.to_owned(), value)).into()),
        ..EventsOptions::default()
    };
    let marker = marker(inner, program);
    let mut events = std::pin::pin!(client.events(Some(options)));
    while let Some(event) = events.next().await {
        let id = match event {
            Ok(event) => event.actor.and_then(|actor| actor.id),
            Err(error) => return inner.engine.fault(&error).into_unavailable(),
        };
        let Some(id) = id else { continue };
        if is_step(inner, &id, &marker).await {
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

/// Removes the containers of an ended build of the program until none appears any more: the engine
/// may be about to create one when the connection closes.
pub(super) async fn remove_all(inner: &Inner, program: &ProgramId) -> Result<(), StopError> {
    let marker = marker(inner, program);
    let mut quiet = 0;
    for _round in 0..MAX_ROUNDS {
        let found = find(inner, &marker).await?;
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

async fn find(inner: &Inner, marker: &str) -> Result<Vec<String>, Unavailable> {
    let client = inner.engine.client().await?;
    // Every layer of a build carries the label, and a container those of its image.
    let label = ("label".to_owned(), vec![layer_label(inner)]);
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([label])),
        ..ListContainersOptions::default()
    };
    let containers = client
        .list_containers(Some(options))
        .await
        .map_err(|error| inner.engine.fault(&error).into_unavailable())?;
    let mut found = Vec::new();
    let steps = containers.into_iter().filter(|it| listed(it).is_none());
    for id in steps.filter_map(|container| container.id) {
        if is_step(inner, &id, marker).await {
            found.push(id);
        }
    }
    Ok(found)
}

async fn is_step(inner: &Inner, id: &str, marker: &str) -> bool {
    let Ok(client) = inner.engine.client().await else {
        return false;
    };
    // One that is gone meanwhile needs nothing.
    let Ok(inspected) = client.inspect_container(id, None).await else {
        return false;
    };
    let hosts = inspected.host_config.and_then(|config| config.extra_hosts);
    hosts.is_some_and(|hosts| hosts.iter().any(|host| host == marker))
}

fn layer_label(inner: &Inner) -> String {
    format!("{LAYER_LABEL}={}", inner.config.host_id)
}
