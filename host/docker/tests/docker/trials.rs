//! What an engine does is seen before it is relied on.

use hersh_sandbox::{BuildError, Builder, Finding, Runtime, Severity};

use crate::{
    own_engine::OwnEngine,
    world::{World, socket},
};

const WRITES: &str = "FROM scratch AS made\nCOPY bin /bin\nENV PATH=/bin\nRUN echo hello > /hello\n\
                      FROM scratch\nCOPY bin /bin\nENV PATH=/bin\nCOPY --from=made /hello /hello\n\
                      RUN cat /hello && echo again >> /hello && mkdir /made\n\
                      CMD [\"/bin/sh\", \"-c\", \"cat /hello; ls -d /made; sleep 1000\"]\n";

async fn examine(socket: &std::path::Path) -> Vec<Finding> {
    hersh_docker::diagnose(socket).await
}

fn about<'a>(findings: &'a [Finding], what: &str) -> &'a Finding {
    findings
        .iter()
        .find(|finding| finding.what == what)
        .unwrap_or_else(|| panic!("nothing about {what}: {findings:?}"))
}

#[tokio::test]
async fn files_of_a_step_are_in_the_next_stage_and_the_image() {
    let world = World::new();
    let image = world.try_build(WRITES).await.unwrap();
    let running = world
        .runtime
        .start(world.spec(&image, |_| {}))
        .await
        .unwrap();
    let seen = world
        .inside(running.container.as_str(), "cat /hello; ls -d /made")
        .await;
    assert_eq!(
        seen.split_whitespace().collect::<Vec<_>>(),
        ["hello", "again", "/made"]
    );
    world.stop().await;
}

#[tokio::test]
async fn an_engine_that_loses_writes_builds_nothing() {
    let engine = OwnEngine::with_runsc_arguments(&["--overlay2=root:memory"]).await;
    let world = World::with(|config| config.socket = engine.socket());
    let build = world.store(WRITES);
    let built = world.runtime.build(world.build_request(&build)).await;
    let Err(BuildError::Failed { message, .. }) = built else {
        panic!("{built:?}");
    };
    for part in [
        "what a step of a build writes is not in the image",
        "--overlay2=none",
        "default-runtime",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!world.build_request(&build).log_path.exists());

    let findings = examine(&engine.socket()).await;
    let builds = about(&findings, "builds");
    assert!(
        matches!(&builds.severity, Severity::Broken { mend } if mend.contains("--overlay2=none")),
        "{builds:?}"
    );
    // Programs run there all the same, and that was seen too.
    let gvisor = about(&findings, "gVisor runtime");
    assert_eq!(gvisor.severity, Severity::Fine, "{gvisor:?}");
}

#[tokio::test]
async fn doctor_sees_builds_and_runs_and_leaves_nothing() {
    let world = World::new();
    let before = everything(&world).await;
    let findings = examine(&socket()).await;
    for what in ["builds", "gVisor runtime", "firewall", "limits"] {
        let finding = about(&findings, what);
        assert_eq!(finding.severity, Severity::Fine, "{finding:?}");
    }
    assert!(about(&findings, "builds").found.contains("in gVisor"));
    let after = everything(&world).await;
    let left: Vec<_> = after.iter().filter(|one| !before.contains(one)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What trials make in the engine: images and containers that carry the doctor's label, networks
/// that carry its name.
async fn everything(world: &World) -> Vec<String> {
    let labelled = || Some([("label".to_owned(), vec!["hersh.layer=doctor".to_owned()])].into());
    let images = bollard::query_parameters::ListImagesOptions {
        all: true,
        filters: labelled(),
        ..Default::default()
    };
    let containers = bollard::query_parameters::ListContainersOptions {
        all: true,
        filters: labelled(),
        ..Default::default()
    };
    let networks = world.engine.list_networks(None).await.unwrap();
    let images = world.engine.list_images(Some(images)).await.unwrap();
    let containers = world
        .engine
        .list_containers(Some(containers))
        .await
        .unwrap();
    let networks = networks.into_iter().filter_map(|network| network.name);
    networks
        .filter(|name| name.starts_with("hersh-doctor"))
        .chain(images.into_iter().map(|image| image.id))
        .chain(containers.into_iter().filter_map(|container| container.id))
        .collect()
}
