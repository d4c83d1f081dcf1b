//! What a Dockerfile tries that nobody trusts.

use std::sync::Mutex;

use hersh_program::{ImageId, Recipe};
use hersh_sandbox::{BuildError, BuildRequest, Builder, Incarnation};

use crate::world::{World, until};

const HEAD: &str = "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\n";

fn refusal(result: Result<ImageId, BuildError>) -> String {
    match result {
        Err(BuildError::Failed { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

/// What plays the internet; the engine reaches it.
const INTERNET: &str = "198.51.100.1";

#[tokio::test]
async fn the_engine_fetches_nothing_for_a_dockerfile() {
    let world = World::new();
    for line in [
        "ADD http://{i}/x /x",
        "ADD h\"tt\"p://{i}/x /x",
        "ADD [\"\\u0068ttp://{i}/x\", \"/x\"]",
        "ARG U=http://{i}/x\nADD $U /x",
        "ONBUILD ADD http://{i}/x /x\nFROM scratch",
        "COPY --from={i}:80/x / /",
        "COPY --fr\"om\"={i}:80/x / /",
        "FROM {i}/x",
        "FROM localhost:2375/x",
    ] {
        let line = line.replace("{i}", INTERNET);
        let message = refusal(world.try_build(&format!("{HEAD}{line}\n")).await);
        assert!(
            message.starts_with("Dockerfile, line "),
            "{line}: {message}"
        );
        // What the internet or a connection to it says.
        for trace in ["malformed", "internet", "dial", "Get "] {
            assert!(!message.contains(trace), "{line}: {message}");
        }
    }
}

#[tokio::test]
async fn another_programs_image_is_no_base_under_any_name() {
    let world = World::new();
    let victim = World::new();
    let image = victim.script("sleep 1000").await;
    let named = victim.engine.inspect_image(image.as_str()).await.unwrap();
    let name = named.repo_tags.unwrap().remove(0);
    let alias = format!("alias-{}:1", victim.program);
    let (repository, tag) = alias.split_once(':').unwrap();
    let options = bollard::query_parameters::TagImageOptions {
        repo: Some(repository.to_owned()),
        tag: Some(tag.to_owned()),
    };
    victim
        .engine
        .tag_image(image.as_str(), Some(options))
        .await
        .unwrap();
    let id = image.as_str().trim_start_matches("sha256:");
    let names = [name.as_str(), &alias, image.as_str(), id, &id[..12]];
    for name in names {
        for line in [
            format!("FROM {name}"),
            format!("COPY --from={name} / /stolen"),
        ] {
            let message = refusal(world.try_build(&format!("{HEAD}{line}\n")).await);
            let is_told =
                message.contains("the image of a program") || message.contains("the id of");
            assert!(is_told, "{line}: {message}");
        }
    }
    victim
        .engine
        .remove_image(
            &alias,
            None::<bollard::query_parameters::RemoveImageOptions>,
            None,
        )
        .await
        .unwrap();
    victim.runtime.forget(&victim.program).await.unwrap();
}

#[tokio::test]
async fn a_base_from_the_engine_is_used_and_one_with_triggers_is_not() {
    let world = World::new();
    let (plain, trap) = (
        format!("{}-plain:1", world.program),
        format!("{}-trap:1", world.program),
    );
    world
        .foreign_image(&plain, "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\n")
        .await;
    let trigger = format!("FROM scratch\nONBUILD ADD http://{INTERNET}/x /x\nLABEL a=b\n");
    world.foreign_image(&trap, &trigger).await;

    let image = world
        .try_build(&format!("FROM {plain}\nRUN test -e /bin/busybox\n"))
        .await;
    assert!(image.is_ok(), "{image:?}");
    let message = refusal(
        world
            .try_build(&format!("FROM {trap}\nCOPY bin /bin\n"))
            .await,
    );
    assert!(message.contains("ONBUILD triggers"), "{message}");

    world.runtime.forget(&world.program).await.unwrap();
    for name in [plain, trap] {
        let gone = world
            .engine
            .remove_image(
                &name,
                None::<bollard::query_parameters::RemoveImageOptions>,
                None,
            )
            .await;
        assert!(gone.is_ok(), "{gone:?}");
    }
}

#[tokio::test]
async fn a_step_in_gvisor_sees_no_engine() {
    let world = World::new();
    let look = "dmesg | grep -i gvisor; ls /run/docker.sock /var/run/docker.sock /dev/mem; true";
    let build = world.store(&format!("{HEAD}RUN {look}\n"));
    let request = world.build_request(&build);
    world.runtime.build(request.clone()).await.unwrap();
    let log = std::fs::read_to_string(&request.log_path).unwrap();
    assert!(log.contains("Starting gVisor"), "{log}");
    assert_eq!(log.matches("No such file").count(), 3, "{log}");
}

/// A program removed and made again under its name may be somebody else's.
#[tokio::test]
async fn a_name_given_again_gets_no_cached_step_of_the_one_before() {
    let world = World::new();
    let build = world.store(&format!("{HEAD}RUN echo poisoned > /tool\nRUN exit 3\n"));
    let mut request = world.build_request(&build);
    let log = async |request: &BuildRequest| {
        refusal(world.runtime.build(request.clone()).await);
        std::fs::read_to_string(&request.log_path).unwrap()
    };
    log(&request).await;
    let again = log(&request).await;
    assert!(again.contains("Using cache"), "{again}");
    for next in [Incarnation::new(2, 7), Incarnation::new(1, 8)] {
        request.incarnation = next;
        let next = log(&request).await;
        assert!(!next.contains("Using cache"), "{next}");
    }
}

#[tokio::test]
async fn a_step_is_bounded() {
    let world = World::with(|config| {
        config.build_memory_bytes = 256 << 20;
        config.build_cpu_millis = 500;
    });
    let build = world.store(&format!("{HEAD}RUN sleep 60\n"));
    let request = world.build_request(&build);
    let cancel = request.cancel.clone();
    let looked = async {
        let bounds = Mutex::new(None);
        until("the step is bounded", || async {
            let found = step_bounds(&world).await;
            *bounds.lock().unwrap() = found;
            found.is_some_and(|(_, _, pids)| pids.is_some())
        })
        .await;
        cancel.cancel();
        bounds.into_inner().unwrap()
    };
    let (_cancelled, bounds) = tokio::join!(world.runtime.build(request), looked);
    assert_eq!(bounds, Some((Some(256 << 20), Some(50_000), Some(1_024))));
}

/// Memory, share of 100 ms of processor time, and processes of the step that runs.
async fn step_bounds(world: &World) -> Option<(Option<i64>, Option<i64>, Option<i64>)> {
    let label = format!("hersh.layer={}", world.program);
    let options = bollard::query_parameters::ListContainersOptions {
        filters: Some([("label".to_owned(), vec![label])].into()),
        ..Default::default()
    };
    let running = world.engine.list_containers(Some(options)).await.unwrap();
    let id = running.into_iter().next()?.id?;
    let inspected = world.engine.inspect_container(&id, None).await.ok()?;
    let config = inspected.host_config?;
    let pids = config.pids_limit.filter(|pids| *pids > 0);
    Some((config.memory, config.cpu_quota, pids))
}

#[tokio::test]
async fn the_engine_is_given_its_own_text_and_steps_see_the_trees() {
    let world = World::new();
    let text = "# a comment\nFROM scratch\nCOPY bin /bin\nENV PATH=/bin\n\
                COPY . /all\nRUN cat /all/Dockerfile; ls -a /all /all/.hersh.dockerfile; true\n";
    let build = world.store(text);
    let request = world.build_request(&build);
    // What would say something to the engine in the place of the host's own.
    let hostile = format!("FROM scratch\nADD http://{INTERNET}/x /x\n");
    std::fs::write(request.context_dir.join(".hersh.dockerfile"), hostile).unwrap();
    std::fs::write(request.context_dir.join(".dockerignore"), "bin\n").unwrap();
    world.runtime.build(request.clone()).await.unwrap();
    let log = std::fs::read_to_string(&request.log_path).unwrap();
    assert!(log.contains("\n# a comment\n"), "{log}");
    assert!(log.contains(".hersh.dockerfile: No such file"), "{log}");
    assert!(!log.contains("\n.dockerignore\n"), "{log}");
    world.runtime.forget(&world.program).await.unwrap();
}

/// Whoever builds may ask for newer base images, but not replace for everybody what a person put
/// there.
#[tokio::test]
async fn a_persons_image_is_not_fetched_anew() {
    let world = World::new();
    let name = format!("{}-own:1", world.program);
    world
        .foreign_image(&name, "FROM scratch\nCOPY bin /bin\n")
        .await;
    let build = world.store(&format!("FROM {name}\nLABEL a=b\n"));
    let mut request = world.build_request(&build);
    request.rules.recipe = Recipe {
        pull: true,
        ..Recipe::default()
    }
    .into();
    let built = world.runtime.build(request.clone()).await;
    let log = std::fs::read_to_string(&request.log_path).unwrap();
    assert!(built.is_ok(), "{built:?}: {log}");
    assert!(log.contains("was put on this machine by somebody"), "{log}");
    world.runtime.forget(&world.program).await.unwrap();
    world.remove_image(&name).await;
}

#[tokio::test]
async fn every_refusal_is_told_before_anything_is_built() {
    let world = World::new();
    let text = format!(
        "FROM hersh/h/p\nRUN --mount=type=secret,id=x ls\nVOLUME /data\nADD http://{INTERNET}/x /x\n"
    );
    let message = refusal(world.try_build(&text).await);
    for line in [
        "line 1: hersh/h/p is",
        "line 2: a step gets no secret",
        "line 3: VOLUME /data",
        "line 4: ADD",
    ] {
        assert!(message.contains(line), "{message}");
    }
    // What only the engine knows is told at once as well.
    let text = "FROM 198.51.100.1/x AS a\nFROM localhost:2375/y\n";
    let message = refusal(world.try_build(text).await);
    assert!(
        message.contains("line 1: 198.51.100.1/x is not"),
        "{message}"
    );
    assert!(
        message.contains("line 2: localhost:2375/y is not"),
        "{message}"
    );
}
