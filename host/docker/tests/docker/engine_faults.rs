//! An engine that is not there, or lacks something.

use std::{path::PathBuf, time::Duration};

use bollard::{
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptions, RemoveContainerOptions},
};
use hersh_program::{ImageId, InstanceStatus, Instances};
use hersh_sandbox::{BuildError, Builder, Runtime, StartError, StopError};

use crate::world::World;

#[tokio::test]
async fn an_engine_that_is_down_is_named_in_every_answer() {
    let world = World::with(|config| config.socket = PathBuf::from("/nowhere/docker.sock"));
    let image = ImageId::parse(&format!("sha256:{}", "0".repeat(64))).unwrap();
    let build = world.store("FROM scratch\n");
    let messages = [
        world.runtime.check().await.unwrap_err().message,
        world.runtime.list().await.unwrap_err().message,
        world
            .runtime
            .observe(&world.instance())
            .await
            .unwrap_err()
            .message,
        match world.runtime.build(world.build_request(&build)).await {
            Err(BuildError::Unavailable(error)) => error.message,
            other => panic!("{other:?}"),
        },
        match world.runtime.start(world.spec(&image, |_| {})).await {
            Err(StartError::Unavailable(error)) => error.message,
            other => panic!("{other:?}"),
        },
        match world
            .runtime
            .stop(&world.program, Instances::All, Duration::ZERO)
            .await
        {
            Err(StopError::Unavailable(error)) => error.message,
            other => panic!("{other:?}"),
        },
    ];
    for message in messages {
        assert!(
            message.contains("/nowhere/docker.sock does not answer"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_runtime_that_the_engine_does_not_know_is_named() {
    let world = World::with(|config| config.gvisor = "runsc-absent".to_owned());
    let image = world.script("sleep 1000").await;
    let spec = world.spec(&image, |_| {});
    let result = world.runtime.start(spec).await;
    let Err(StartError::Failed { message, .. }) = result else {
        panic!("{result:?}");
    };
    assert!(
        message.contains("knows no runtime \"runsc-absent\""),
        "{message}"
    );
    assert!(message.contains("runsc install"), "{message}");
    assert!(world.containers().await.is_empty());
}

#[tokio::test]
async fn two_hosts_on_one_engine_run_programs_of_one_name() {
    let world = World::new();
    let stranger = World::with(|config| config.host_id = format!("{}s", config.host_id));
    let image = world.script("sleep 1000").await;
    let spec = stranger.spec_of(&world.program, &image, |_| {});
    stranger.storage.ensure_folders(&world.program).unwrap();
    let theirs = stranger.runtime.start(spec).await.unwrap().container;
    let ours = world.runtime.start(world.spec(&image, |_| {})).await;
    let ours = ours.unwrap().container;
    world.stop().await;
    assert_ne!(ours, theirs);
    assert_eq!(stranger.containers().await, [theirs.to_string()]);
    let seen = stranger.runtime.observe(&world.instance()).await.unwrap();
    assert_eq!(seen, InstanceStatus::Running(theirs));
    stranger
        .runtime
        .stop(&world.program, Instances::All, Duration::ZERO)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_name_that_is_taken_by_a_stranger_is_told_and_left_alone() {
    let world = World::new();
    let image = world.script("sleep 1000").await;
    let spec = world.spec(&image, |_| {});
    let options = CreateContainerOptions {
        name: Some(format!("hersh-{}-{}", world.program, world.instance())),
        ..CreateContainerOptions::default()
    };
    let body = ContainerCreateBody {
        image: Some(image.to_string()),
        ..ContainerCreateBody::default()
    };
    let theirs = world.engine.create_container(Some(options), body).await;
    let theirs = theirs.unwrap().id;
    let result = world.runtime.start(spec).await;
    let Err(StartError::Failed { message, .. }) = result else {
        panic!("{result:?}");
    };
    assert!(message.contains("did not make"), "{message}");
    let seen = world.runtime.observe(&world.instance()).await.unwrap();
    assert_eq!(seen, InstanceStatus::Absent, "it is none of ours");
    world.stop().await;
    world.inspect(&theirs).await;
    let options = None::<RemoveContainerOptions>;
    world
        .engine
        .remove_container(&theirs, options)
        .await
        .unwrap();
}
