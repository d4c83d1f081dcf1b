//! Builds: what they leave, and that an ended one leaves nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hersh_docker::dockerfile::Platform;
use hersh_program::Recipe;
use hersh_sandbox::{BuildError, BuildPermit, Builder, Retention, Runtime, UsedImages};

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
    // The host's own steps are neither told nor counted.
    assert!(log.contains("Step 3/4 : RUN"), "{log}");
    assert!(log.contains("Step 1/4 : FROM scratch\n"), "{log}");
    assert!(!log.contains("LABEL"), "{log}");

    // The second one asks the engine for one image and touches no log.
    std::fs::remove_file(&request.log_path).unwrap();
    let again = world.runtime.build(request.clone()).await.unwrap();
    assert_eq!(again, image);
    assert!(!request.log_path.exists());

    assert_eq!(
        world.runtime.find(&world.program, &build).await.unwrap(),
        Some(image)
    );
    world.runtime.forget(&world.program).await.unwrap();
    assert_eq!(
        world.runtime.find(&world.program, &build).await.unwrap(),
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
    assert!(message.starts_with("Dockerfile, line 4: "), "{message}");
    assert!(message.ends_with("non-zero code: 3"), "{message}");
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
async fn what_the_engine_can_not_read_names_the_files_line() {
    let world = World::new();
    let text =
        "FROM scratch\nCOPY bin /bin\n\n# the next one is wrong\nHEALTHCHECK --what=1 CMD x\n";
    let Err(BuildError::Failed { message, .. }) = world.try_build(text).await else {
        panic!("it was built");
    };
    assert!(message.starts_with("Dockerfile, line 5: "), "{message}");
}

#[tokio::test]
async fn a_step_that_needs_a_network_is_told_how_to_get_one() {
    let world = World::new();
    let fetch = "RUN wget -T 5 -O /x http://example.org/README";
    let text = format!("FROM scratch\nCOPY bin /bin\nENV PATH=/bin\n{fetch}\n");
    let Err(BuildError::Failed { message, .. }) = world.try_build(&text).await else {
        panic!("it was built");
    };
    assert!(message.starts_with("Dockerfile, line 4: "), "{message}");
    assert!(message.contains("[build] network = true"), "{message}");
}

#[tokio::test]
async fn a_step_that_runs_out_of_memory_is_told_how_much_it_had() {
    let world = World::with(|config| config.build_memory_bytes = 128 << 20);
    let text = "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\nRUN dd if=/dev/zero of=/dev/null bs=400M count=1\n";
    let Err(BuildError::Failed { message, .. }) = world.try_build(text).await else {
        panic!("it was built");
    };
    assert!(message.starts_with("Dockerfile, line 4: "), "{message}");
    assert!(message.contains("128MiB"), "{message}");
    assert!(message.contains("builds.memory"), "{message}");
}

/// A request for a build can name no more than 2 GiB.
#[tokio::test]
async fn a_step_may_have_more_memory_than_an_engine_is_asked_for() {
    let world = World::with(|config| config.build_memory_bytes = 3 << 30);
    let text = "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\n\
                RUN dd if=/dev/zero of=/dev/null bs=2600M count=1 && echo it fits\n";
    let build = world.store(text);
    let request = world.build_request(&build);
    let built = world.runtime.build(request.clone()).await;
    let log = std::fs::read_to_string(&request.log_path).unwrap();
    assert!(built.is_ok(), "{built:?}: {log}");
    assert!(log.contains("\nit fits\n"), "{log}");
    world.runtime.forget(&world.program).await.unwrap();
}

#[tokio::test]
async fn colours_and_progress_leave_plain_lines_in_the_log() {
    let world = World::new();
    let print = r"printf '\033[32mINFO\033[0m started\n10%%\r100%%\n'";
    let build = world.store(&format!(
        "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\nRUN {print}\n"
    ));
    let request = world.build_request(&build);
    world.runtime.build(request.clone()).await.unwrap();
    let log = std::fs::read_to_string(&request.log_path).unwrap();
    assert!(log.contains("\nINFO started\n100%\n"), "{log}");
    world.runtime.forget(&world.program).await.unwrap();
}

#[tokio::test]
async fn what_templates_write_is_built() {
    let world = World::new();
    let text = "# syntax=docker/dockerfile:1\n\
                ARG BASE=scratch\n\
                FROM --platform=$BUILDPLATFORM ${BASE} AS base\n\
                COPY --link bin /bin\n\
                ENV PATH=/bin\n\
                ARG TARGETOS TARGETARCH\n\
                RUN echo \"for ${TARGETOS}/${TARGETARCH} of $(( 1 << 20 ))\"\n\
                VOLUME [\"/state\"]\n\
                FROM base AS prod\n\
                ARG MODE=default\n\
                ENV MODE=$MODE\n\
                FROM prod AS dev\n\
                ENV MODE=dev\n";
    let build = world.store(text);
    let mut request = world.build_request(&build);
    request.rules.recipe = Recipe {
        target: Some("prod".to_owned()),
        args: [("MODE".to_owned(), "a $x \"b\"".to_owned())].into(),
        no_cache: true,
        ..Recipe::default()
    }
    .into();
    let image = world.runtime.build(request.clone()).await.unwrap();
    let log = std::fs::read_to_string(&request.log_path).unwrap();
    let platform = Platform::of_this_machine().name();
    assert!(
        log.contains(&format!("\nfor {platform} of 1048576\n")),
        "{log}"
    );
    assert!(log.contains("note: line 1: '# syntax='"), "{log}");
    assert!(!log.contains("Using cache"), "{log}");
    let config = world
        .engine
        .inspect_image(image.as_str())
        .await
        .unwrap()
        .config
        .unwrap();
    let env = config.env.unwrap();
    assert!(env.contains(&"MODE=a $x \"b\"".to_owned()), "{env:?}");
    assert_eq!(config.volumes.unwrap_or_default(), [""; 0]);
    world.runtime.forget(&world.program).await.unwrap();
}

#[tokio::test]
async fn another_dockerfile_of_the_tree_is_built() {
    let world = World::new();
    let build = world.store("FROM scratch\nCOOPY bin /bin\n");
    let mut request = world.build_request(&build);
    let with = |path: &str| {
        let dockerfile = Some(path.to_owned());
        Recipe {
            dockerfile,
            ..Recipe::default()
        }
        .into()
    };
    let folder = request.context_dir.join("docker");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(
        folder.join("own"),
        "FROM scratch\nCOPY Dockerfile /\nLABEL own=1\n",
    )
    .unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("out")).unwrap();
    for (path, expected) in [
        ("docker/none", "docker/none"),
        ("docker/out", "docker/out"),
        ("docker", "docker"),
    ] {
        request.rules.recipe = with(path);
        let refused = world
            .runtime
            .build(request.clone())
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains(expected), "{refused}");
        assert!(!refused.contains("root:"), "{refused}");
    }
    request.rules.recipe = with("docker/own");
    let image = world.runtime.build(request.clone()).await.unwrap();
    let labels = world
        .engine
        .inspect_image(image.as_str())
        .await
        .unwrap()
        .config
        .unwrap()
        .labels
        .unwrap();
    assert_eq!(labels["own"], "1");
    world.runtime.forget(&world.program).await.unwrap();
}

#[tokio::test]
async fn a_copy_sets_the_mode_that_it_is_asked_for() {
    let world = World::new();
    let text = "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\n\
                COPY --chmod=0640 --chown=7:8 Dockerfile /a\n\
                COPY --chmod=755 . /all/\n\
                RUN ls -ln /a /all/Dockerfile; ls -lnd /all/bin; ls -a / /all\n";
    let build = world.store(text);
    let request = world.build_request(&build);
    world.runtime.build(request.clone()).await.unwrap();
    let log = std::fs::read_to_string(&request.log_path).unwrap();
    for expected in [
        "-rw-r-----    1 7        8 ",
        "-rwxr-xr-x    1 0        0 ",
        "drwxr-xr-x ",
    ] {
        assert!(log.contains(expected), "{expected:?} in {log}");
    }
    assert!(
        !log.contains("\n.hersh") && !log.contains("\n.dockerignore"),
        "{log}"
    );
    assert!(
        log.contains("COPY --chmod=0640 --chown=7:8 Dockerfile /a"),
        "{log}"
    );
    // What was made for it is gone, also from a build that failed.
    let failing = format!("{text}RUN false\n");
    assert!(world.try_build(&failing).await.is_err());
    world.runtime.forget(&world.program).await.unwrap();
    world
        .runtime
        .collect(&UsedImages::default, Retention::NOTHING)
        .await
        .unwrap();
    let label = format!("hersh.layer={}", world.program);
    let options = bollard::query_parameters::ListImagesOptions {
        all: true,
        filters: Some([("label".to_owned(), vec![label])].into()),
        ..Default::default()
    };
    assert_eq!(world.engine.list_images(Some(options)).await.unwrap(), []);

    for (line, expected) in [
        ("COPY --chmod=0640 bin /x", "\"bin\" is none"),
        ("COPY --chmod=0640 bin/ls /x", "\"bin/ls\" is none"),
        ("COPY --chmod=0640 none /x", "\"none\" is none"),
        (
            "COPY --chmod=0640 ../Dockerfile /x",
            "\"../Dockerfile\" is none",
        ),
    ] {
        let result = world
            .try_build(&format!("FROM scratch\nCOPY bin /bin\n{line}\n"))
            .await;
        let message = result.unwrap_err().to_string();
        assert!(
            message.starts_with("Dockerfile, line 3: COPY --chmod=0640"),
            "{message}"
        );
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn volumes_of_a_base_are_mounted_over_or_refused() {
    let world = World::new();
    let (plain, deep) = (
        format!("{}-tmp:1", world.program),
        format!("{}-deep:1", world.program),
    );
    let before = volumes(&world).await;
    let shell = "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\n";
    world
        .foreign_image(&plain, &format!("{shell}VOLUME /tmp /state\n"))
        .await;
    world
        .foreign_image(&deep, &format!("{shell}VOLUME /data\n"))
        .await;
    let refused = world
        .try_build(&format!("# comment\nFROM {deep}\n"))
        .await
        .unwrap_err();
    let expected = format!("Dockerfile, line 2: {deep} has a VOLUME /data");
    assert!(refused.to_string().starts_with(&expected), "{refused}");

    let command =
        "CMD [\"/bin/sh\", \"-c\", \"echo x > /tmp/x && echo x > /state/x && sleep 1000\"]";
    let image = world
        .try_build(&format!(
            "FROM {plain}\nRUN echo in a step > /tmp/x\n{command}\n"
        ))
        .await
        .unwrap();
    let running = world
        .runtime
        .start(world.spec(&image, |_| {}))
        .await
        .unwrap();
    let look = world
        .inside(running.container.as_str(), "cat /tmp/x /state/x")
        .await;
    assert_eq!(look, "x\nx\n");
    world.stop().await;
    assert_eq!(volumes(&world).await, before);
    world.runtime.forget(&world.program).await.unwrap();
    for name in [plain, deep] {
        world.remove_image(&name).await;
    }
}

/// The names of the engine's volumes.
async fn volumes(world: &World) -> Vec<String> {
    let options = None::<bollard::query_parameters::ListVolumesOptions>;
    let listed = world.engine.list_volumes(options).await.unwrap();
    let mut names: Vec<String> = listed
        .volumes
        .unwrap_or_default()
        .into_iter()
        .map(|it| it.name)
        .collect();
    names.sort();
    names
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

/// What the engine computes by itself goes on for a while, and counts for who asked for it.
#[tokio::test]
async fn a_cancelled_build_holds_its_place_until_the_engine_is_done() {
    let world = World::new();
    let lines = (0..5).map(|at| format!("ENV a{at}={}\n", "x".repeat(35_000)));
    let build = world.store(&format!("FROM scratch\n{}", lines.collect::<String>()));
    let mut request = world.build_request(&build);
    let place = Arc::new(());
    request.permit = BuildPermit::new(Arc::clone(&place));
    let (cancel, log) = (request.cancel.clone(), request.log_path.clone());
    let begun = async {
        until("the engine is at it", || async {
            std::fs::read_to_string(&log).is_ok_and(|log| log.contains("Step 3/"))
        })
        .await;
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(world.runtime.build(request), begun);
    assert_eq!(result, Err(BuildError::Cancelled));
    until("the engine is done", || async {
        Arc::strong_count(&place) == 1
    })
    .await;
}

#[tokio::test]
async fn what_mounts_bring_is_there_for_the_step() {
    let world = World::new();
    let text = "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\n\
                RUN --mount=target=/src --mount=type=cache,target=/c grep -c mount /src/Dockerfile\n\
                RUN --mount=type=bind,source=Dockerfile,target=/one test -f /one && echo all there\n";
    let build = world.store(text);
    let request = world.build_request(&build);
    let built = world.runtime.build(request.clone()).await;
    let log = std::fs::read_to_string(&request.log_path).unwrap();
    assert!(built.is_ok(), "{built:?}: {log}");
    assert!(log.contains("\nall there\n"), "{log}");
    assert!(
        log.contains("note: line 4: --mount=type=cache is passed over"),
        "{log}"
    );
    world.runtime.forget(&world.program).await.unwrap();
}

/// The engine reads all images that are made from nothing when it looks for a step that it knows.
#[tokio::test]
async fn a_build_survives_the_removal_of_foreign_images() {
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
