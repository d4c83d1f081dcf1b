//! What builds leave is collected by reference, and nothing else is.

use std::{sync::Mutex, time::Duration};

use hersh_sandbox::{BuildError, Builder, CollectionCounts, Retention, UsedImages};

use crate::world::{World, until};

async fn collect(world: &World, in_use: UsedImages) -> CollectionCounts {
    let asked = move || in_use.clone();
    let collected = world.runtime.collect(&asked, Retention::NOTHING).await;
    collected.unwrap()
}

#[tokio::test]
async fn the_image_of_another_host_stays() {
    let world = World::new();
    let stranger = World::new();
    let theirs = stranger.script("echo stranger").await;
    let own = world.script("echo own").await;
    let collected = collect(&world, UsedImages::default()).await;
    assert_eq!(collected.of("images"), 1);
    assert!(!world.has_image(own.as_str()).await);
    assert!(stranger.has_image(theirs.as_str()).await, "another host's");
    stranger.runtime.forget(&stranger.program).await.unwrap();
}

#[tokio::test]
async fn what_has_a_name_of_its_own_stays() {
    let world = World::new();
    let image = world.script("true").await;
    // Somebody gives the image a name, and builds on it.
    let mine = format!("mine-{}", world.program);
    let options = bollard::query_parameters::TagImageOptions {
        repo: Some(mine.clone()),
        tag: Some("1".to_owned()),
    };
    world
        .engine
        .tag_image(image.as_str(), Some(options))
        .await
        .unwrap();
    let name = format!("{mine}:1");
    let derived = format!("{mine}:2");
    world
        .foreign_image(&derived, &format!("FROM {name}\nENV MINE=1\n"))
        .await;
    collect(&world, UsedImages::default()).await;
    assert!(world.has_image(&name).await && world.has_image(&derived).await);
    for name in [derived, name] {
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
async fn layers_of_a_failed_build_go_when_no_build_runs() {
    let world = World::new();
    let failing = "FROM scratch\nLABEL hersh.layer=hidden\nCOPY bin /bin\nENV PATH=/bin\nRUN echo x > /x; exit 3\n";
    let result = world.try_build(failing).await;
    assert!(
        matches!(result, Err(BuildError::Failed { .. })),
        "{result:?}"
    );
    let before = layers(&world).await;
    assert!(before > 0, "{result:?}");
    let asked = UsedImages::default;
    let an_hour = Retention {
        failed_builds: Duration::from_secs(3600),
        ..Retention::NOTHING
    };
    let young = world.runtime.collect(&asked, an_hour).await.unwrap();
    assert_eq!(
        young,
        CollectionCounts::default(),
        "the next attempt may want them"
    );

    // A build may rely on them.
    let build =
        world.store("FROM scratch\nCOPY bin /bin\nENV PATH=/bin\nRUN echo begun; sleep 60\n");
    let request = world.build_request(&build);
    let (cancel, log) = (request.cancel.clone(), request.log_path.clone());
    let during = async {
        until("the step runs", || async {
            std::fs::read_to_string(&log).is_ok_and(|log| log.lines().any(|line| line == "begun"))
        })
        .await;
        let collected = collect(&world, UsedImages::default()).await;
        cancel.cancel();
        collected
    };
    let (_cancelled, during) = tokio::join!(world.runtime.build(request), during);
    assert_eq!(during, CollectionCounts::default());

    let collected = collect(&world, UsedImages::default()).await;
    assert!(collected.of("layers") > 0, "{collected:?}");
    assert_eq!(layers(&world).await, 0);
}

/// A program may come to need an image while the engine is asked for what it has.
#[tokio::test]
async fn what_is_needed_is_asked_after_what_there_is() {
    let world = World::new();
    let build = world.store("FROM scratch\nCOPY bin /bin\nCMD [\"/bin/true\"]\n");
    let image = world
        .runtime
        .build(world.build_request(&build))
        .await
        .unwrap();
    let asked = Mutex::new(0);
    let in_use = || {
        *asked.lock().unwrap() += 1;
        UsedImages {
            images: [image.clone()].into(),
            ..UsedImages::default()
        }
    };
    let collected = world
        .runtime
        .collect(&in_use, Retention::NOTHING)
        .await
        .unwrap();
    assert_eq!(
        (collected, *asked.lock().unwrap()),
        (CollectionCounts::default(), 1)
    );
    world.runtime.forget(&world.program).await.unwrap();
}

/// A host that dies in the middle of a build leaves its step, and the look for the user's entry.
#[tokio::test]
async fn containers_that_a_dead_host_left_of_a_build_go() {
    let world = World::new();
    let image = world.script("true").await;
    let (host, program) = (&world.program, &world.program);
    let create = async |marker: &str, label: &str| {
        let body = bollard::models::ContainerCreateBody {
            image: Some(image.to_string()),
            labels: Some([("hersh.layer".to_owned(), label.to_owned())].into()),
            host_config: Some(bollard::models::HostConfig {
                network_mode: Some("none".to_owned()),
                extra_hosts: Some(vec![format!("{marker}:127.0.0.1")]),
                ..Default::default()
            }),
            ..Default::default()
        };
        let options = None::<bollard::query_parameters::CreateContainerOptions>;
        world
            .engine
            .create_container(options, body)
            .await
            .unwrap()
            .id
    };
    let left = create(&format!("hersh-build-{program}.{host}"), host.as_str()).await;
    // What somebody else made of such an image, and another host's step.
    let theirs = create("their.name", host.as_str()).await;
    let other = create(&format!("hersh-build-{program}.x{host}"), "another-host").await;
    let there = async |id: &str| world.engine.inspect_container(id, None).await.is_ok();
    let in_use = UsedImages {
        images: [image.clone()].into(),
        ..UsedImages::default()
    };
    collect(&world, in_use).await;
    assert!(!there(&left).await, "nobody needs it");
    assert!(there(&theirs).await && there(&other).await);
    for id in [theirs, other] {
        let options = None::<bollard::query_parameters::RemoveContainerOptions>;
        world.engine.remove_container(&id, options).await.unwrap();
    }
    world.runtime.forget(&world.program).await.unwrap();
}

/// Images without a name that this host's builds left, those below others too.
async fn layers(world: &World) -> usize {
    let options = bollard::query_parameters::ListImagesOptions {
        all: true,
        filters: Some(
            [(
                "label".to_owned(),
                vec![format!("hersh.layer={}", world.program)],
            )]
            .into(),
        ),
        ..Default::default()
    };
    let images = world.engine.list_images(Some(options)).await.unwrap();
    images
        .iter()
        .filter(|image| image.repo_tags.iter().all(|tag| tag == "<none>:<none>"))
        .count()
}

#[tokio::test]
async fn a_fetched_base_image_goes_once_nobody_builds_from_it() {
    let world = World::new();
    let [fetched, a_persons] = ["fetched", "mine"].map(|kind| format!("{kind}-{}", world.program));
    for name in [&fetched, &a_persons] {
        world
            .foreign_image(name, "FROM scratch\nCOPY bin /bin\n")
            .await;
    }
    // As an earlier process of this host noted it.
    let record = serde_json::json!({ &fetched: 1_000 });
    let path = world.storage.data_dir().join("fetched-images.json");
    std::fs::write(path, record.to_string()).unwrap();
    let host = world.restarted();
    let build = world.store(&format!("FROM {fetched}\nCMD [\"/bin/true\"]\n"));
    let image = host.build(world.build_request(&build)).await.unwrap();

    let in_use = UsedImages::default;
    let an_hour = Retention {
        fetched_images: Duration::from_secs(3600),
        ..Retention::NOTHING
    };
    let collected = host.collect(&in_use, an_hour).await.unwrap();
    assert_eq!(
        (collected.of("images"), collected.of("fetched")),
        (1, 0),
        "built from just now"
    );
    assert!(!world.has_image(image.as_str()).await);
    let collected = host.collect(&in_use, Retention::NOTHING).await.unwrap();
    assert_eq!(collected.of("fetched"), 1);
    assert!(!world.has_image(&fetched).await);
    assert!(world.has_image(&a_persons).await, "nobody fetched it");
    let again = world.restarted().collect(&in_use, Retention::NOTHING).await;
    assert_eq!(again.unwrap(), CollectionCounts::default());
    let options = None::<bollard::query_parameters::RemoveImageOptions>;
    world
        .engine
        .remove_image(&a_persons, options, None)
        .await
        .unwrap();
}

/// What lost its name to a newer one is noted by its id, and may have got another name since.
#[tokio::test]
async fn a_replaced_base_image_goes_unless_somebody_named_it() {
    let world = World::new();
    let [named, replaced] = ["named", "replaced"].map(|kind| format!("{kind}-{}", world.program));
    let id = async |name: &str| world.engine.inspect_image(name).await.unwrap().id.unwrap();
    for name in [&named, &replaced] {
        let dockerfile = format!("FROM scratch\nENV OLDER={name}\n");
        world.foreign_image(name, &dockerfile).await;
    }
    let [named_id, replaced_id] = [id(&named).await, id(&replaced).await];
    let newer = format!("newer-{}", world.program);
    world
        .foreign_image(&newer, "FROM scratch\nENV NEWER=1\n")
        .await;
    let options = bollard::query_parameters::TagImageOptions {
        repo: Some(replaced.clone()),
        tag: Some("latest".to_owned()),
    };
    world.engine.tag_image(&newer, Some(options)).await.unwrap();
    assert_ne!(id(&replaced).await, replaced_id);

    let record = serde_json::json!({ &named_id: 1_000, &replaced_id: 1_000 });
    let path = world.storage.data_dir().join("fetched-images.json");
    std::fs::write(&path, record.to_string()).unwrap();
    let host = world.restarted();
    let collected = host
        .collect(&UsedImages::default, Retention::NOTHING)
        .await
        .unwrap();
    assert_eq!(id(&named).await, named_id, "{collected:?}");
    assert!(!world.has_image(&replaced_id).await, "{collected:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), "{}");
    let options = None::<bollard::query_parameters::RemoveImageOptions>;
    for name in [&named, &replaced, &newer] {
        let gone = world.engine.remove_image(name, options.clone(), None).await;
        assert!(gone.is_ok(), "{gone:?}");
    }
}
