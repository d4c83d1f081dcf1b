//! Builds: what they leave, and that an ended one leaves nothing.

use std::time::{Duration, Instant};

use hersh_host::runtime::{BuildError, Runtime};

use crate::world::{World, until};

const SLEEPER: &str = "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\nRUN echo begun; sleep 60\n";

#[tokio::test]
async fn a_build_gives_an_image_and_a_log_and_is_not_repeated() {
    let world = World::new();
    let build = world.store("FROM scratch\nCOPY bin /bin\nRUN [\"/bin/echo\", \"hello from the build\"]\nCMD [\"/bin/true\"]\n");
    let request = world.build_request(&build);
    let image = world.runtime.build(request.clone()).await.unwrap();
    let log = std::fs::read_to_string(&request.log_path).unwrap();
    assert!(log.contains("hello from the build"), "{log}");
    assert!(log.contains("Step 3/"), "{log}");

    // The second one asks the engine for one image and touches no log.
    std::fs::remove_file(&request.log_path).unwrap();
    let again = world.runtime.build(request.clone()).await.unwrap();
    assert_eq!(again, image);
    assert!(!request.log_path.exists());

    assert_eq!(
        world.runtime.image(&world.program, &build).await.unwrap(),
        Some(image)
    );
    world.runtime.forget(&world.program).await.unwrap();
    assert_eq!(
        world.runtime.image(&world.program, &build).await.unwrap(),
        None
    );
    world.runtime.forget(&world.program).await.unwrap();
}

#[tokio::test]
async fn a_failing_step_is_told_with_the_end_of_the_log() {
    let world = World::new();
    let result = world
        .try_build("FROM scratch\nCOPY bin /bin\nENV PATH=/bin\nRUN echo last words; exit 3\n")
        .await;
    let Err(BuildError::Failed { message, logs }) = result else {
        panic!("{result:?}");
    };
    assert!(message.contains("non-zero code: 3"), "{message}");
    assert!(logs.iter().any(|line| line == "last words"), "{logs:?}");
}

#[tokio::test]
async fn a_broken_dockerfile_is_told() {
    let world = World::new();
    let result = world.try_build("FROM scratch\nCOOPY bin /bin\n").await;
    let Err(BuildError::Failed { message, .. }) = result else {
        panic!("{result:?}");
    };
    assert!(
        message
            .to_lowercase()
            .contains("unknown instruction: coopy"),
        "{message}"
    );
}

#[tokio::test]
async fn steps_reach_no_network() {
    let world = World::new();
    let image = world
        .try_build(
            "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\nRUN test \"$(ip -o link | cut -d: -f2 | tr -d '[:space:]')\" = lo\n",
        )
        .await;
    assert!(image.is_ok(), "{image:?}");
}

#[tokio::test]
async fn a_cancelled_build_is_gone_from_the_engine() {
    let world = World::new();
    let build = world.store(SLEEPER);
    let request = world.build_request(&build);
    let (cancel, log) = (request.cancel.clone(), request.log_path.clone());
    let cancelled = async {
        until("the step runs", || async {
            std::fs::read_to_string(&log).is_ok_and(|log| log.lines().any(|line| line == "begun"))
        })
        .await;
        cancel.cancel();
        Instant::now()
    };
    let (result, since) = tokio::join!(world.runtime.build(request), cancelled);
    assert_eq!(result, Err(BuildError::Cancelled));
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(steps(&world).await, 0);
}

#[tokio::test]
async fn stop_ends_a_build_whose_future_was_dropped() {
    let world = World::new();
    let build = world.store(SLEEPER);
    let request = world.build_request(&build);
    let log = request.log_path.clone();
    {
        let mut building = world.runtime.build(request);
        let begun = until("the step runs", || async {
            std::fs::read_to_string(&log).is_ok_and(|log| log.lines().any(|line| line == "begun"))
        });
        tokio::select! {
            result = &mut building => panic!("{result:?}"),
            () = begun => {}
        }
    }
    let since = Instant::now();
    world.stop().await;
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(steps(&world).await, 0);
}

#[tokio::test]
async fn a_build_can_be_cancelled_at_any_moment() {
    let world = World::new();
    let build = world.store(SLEEPER);
    for delay_ms in [0, 10, 50, 100, 200, 400] {
        let request = world.build_request(&build);
        let cancel = request.cancel.clone();
        let mut building = world.runtime.build(request);
        let early = tokio::time::timeout(Duration::from_millis(delay_ms), &mut building).await;
        assert!(early.is_err(), "{early:?}");
        cancel.cancel();
        let result = building.await;
        assert_eq!(result, Err(BuildError::Cancelled), "{delay_ms} ms");
        assert_eq!(steps(&world).await, 0, "{delay_ms} ms");
    }
}

/// The engine reads all images that are made from nothing when it looks for a step that it knows.
#[tokio::test]
async fn a_build_survives_the_removal_of_images_that_it_has_nothing_to_do_with() {
    let world = World::new();
    let others = ["a", "b", "c"].map(|letter| format!("{}-{letter}", world.program));
    let removals = futures_util::future::join_all(others.iter().map(|name| async {
        loop {
            world.import(name).await;
            world.remove_image(name).await;
        }
    }));
    let builds = async {
        for number in 0..15 {
            let dockerfile = format!("FROM scratch\nCOPY bin /bin\nENV NUMBER={number}\n");
            let built = world.try_build(&dockerfile).await;
            assert!(built.is_ok(), "build {number}: {built:?}");
        }
    };
    tokio::select! {
        () = builds => {}
        _never = removals => {}
    }
    for name in &others {
        world.remove_image(name).await;
    }
    world.runtime.forget(&world.program).await.unwrap();
}

/// How many containers of this world's builds the engine has.
async fn steps(world: &World) -> usize {
    let options = bollard::query_parameters::ListContainersOptions {
        all: true,
        ..Default::default()
    };
    let mut count = 0;
    for container in world.engine.list_containers(Some(options)).await.unwrap() {
        let id = container.id.unwrap();
        let Ok(inspected) = world.engine.inspect_container(&id, None).await else {
            continue;
        };
        let hosts = inspected
            .host_config
            .unwrap()
            .extra_hosts
            .unwrap_or_default();
        let name = format!("hersh-build-{}.", world.program);
        count += usize::from(hosts.iter().any(|host| host.starts_with(&name)));
    }
    count
}
