//! Images and engines that would have a sandbox seen where there is none, or move what is mounted.

use hersh_program::{ImageId, NetworkMode};
use hersh_sandbox::{BuildError, Contract, Runtime, StartError};

use crate::{own_engine::OwnEngine, world::World};

/// A program that puts its own file where the probe is looked for, through a link of its image.
const FORGER: &str = r#"FROM scratch
COPY bin /bin
RUN ["/bin/ln", "-s", "/state", "/.hersh"]
CMD ["/bin/sh", "-c", "printf '#!/bin/sh\\necho Starting gVisor...\\necho Linux version 4.4.0\\n' > /state/probe; chmod +x /state/probe; sleep 1000"]
"#;

/// A host whose engine has a `runsc` that is not gVisor's.
async fn deceived() -> (World, OwnEngine) {
    let engine = OwnEngine::with_false_runsc().await;
    let mut world = World::with(|config| config.socket = engine.socket());
    world.engine = engine.client();
    (world, engine)
}

async fn foreign(world: &World, dockerfile: &str) -> ImageId {
    let name = format!("foreign-{}", world.program);
    world.foreign_image(&name, dockerfile).await;
    let image = world.engine.inspect_image(&name).await.unwrap().id.unwrap();
    ImageId::parse(&image).unwrap()
}

fn violation<T: std::fmt::Debug>(result: Result<T, StartError>) -> (Contract, String) {
    match result {
        Err(StartError::Violated(violation)) => (violation.contract, violation.found),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_probe_answered_by_the_program_proves_nothing() {
    let (world, _engine) = deceived().await;
    let image = foreign(&world, FORGER).await;
    let spec = world.spec(&image, |manifest| manifest.network = NetworkMode::None);
    let (contract, found) = violation(world.runtime.start(spec).await);
    assert_eq!(contract, Contract::OneWritableVolume);
    assert_eq!(found, "a link to \"/state\" at /.hersh in the image");
    assert!(world.containers().await.is_empty());
}

#[tokio::test]
async fn a_runsc_that_is_not_gvisors_is_seen_from_outside() {
    let (world, _engine) = deceived().await;
    let image = world.script("sleep 1000").await;
    let spec = world.spec(&image, |manifest| manifest.network = NetworkMode::None);
    let (contract, found) = violation(world.runtime.start(spec).await);
    assert_eq!(contract, Contract::Gvisor);
    assert_eq!(
        found,
        "a process on the machine that does not run gVisor's runsc"
    );
    assert!(world.containers().await.is_empty());
}

#[tokio::test]
async fn a_link_where_something_is_mounted_is_refused_by_line() {
    let world = World::new();
    for (place, target) in [("/run", "/state"), ("/.hersh", "/state"), ("/var", "/bin")] {
        let dockerfile = format!(
            "FROM scratch\nCOPY bin /bin\nRUN [\"/bin/ln\", \"-s\", \"{target}\", \"{place}\"]\nENV a=b\nCMD [\"/bin/sleep\", \"9\"]\n"
        );
        let message = match world.try_build(&dockerfile).await {
            Err(BuildError::Failed { message, .. }) => message,
            other => panic!("{other:?}"),
        };
        let expected = format!(
            "Dockerfile, line 3: after 'RUN [\"/bin/ln\", \"-s\", \"{target}\", \"{place}\"]' the image has a link to \"{target}\" at {place}"
        );
        assert!(message.starts_with(&expected), "{message}");
    }
}

#[tokio::test]
async fn a_link_of_a_base_image_is_refused_by_its_line() {
    let world = World::new();
    let made = "FROM scratch\nCOPY bin /bin\nRUN [\"/bin/ln\", \"-s\", \"/state\", \"/run\"]\n";
    let name = format!("foreign-{}", world.program);
    world.foreign_image(&name, made).await;
    let dockerfile = format!("FROM {name}\nENV a=b\nCMD [\"/bin/sleep\", \"9\"]\n");
    let message = match world.try_build(&dockerfile).await {
        Err(BuildError::Failed { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    let expected = format!("Dockerfile, line 1: after 'FROM {name}' the image has a link");
    assert!(message.starts_with(&expected), "{message}");
    world.remove_image(&name).await;
}
