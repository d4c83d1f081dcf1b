//! What programs print is kept: whole, bounded, after their end, across restarts.

use hersh_host::runtime::{LogLine, Runtime, Stream, logs::LINE_BYTES};

use crate::world::{PATIENCE, World, until};

#[tokio::test]
async fn both_streams_are_kept_without_frame_headers() {
    let world = World::new();
    world
        .start("echo out; echo err >&2; printf 'no end'; sleep 1")
        .await;
    until("all is stored", || async { lines(&world).await.len() == 3 }).await;
    let lines = lines(&world).await;
    let mut found: Vec<(Stream, &str)> = lines
        .iter()
        .map(|it| (it.stream, it.text.as_str()))
        .collect();
    found.sort_by_key(|(_, text)| *text);
    assert_eq!(
        found,
        [
            (Stream::Stderr, "err"),
            (Stream::Stdout, "no end"),
            (Stream::Stdout, "out")
        ]
    );
    world.stop().await;
    assert_eq!(world.runtime.logs(&world.program, 50).await.len(), 3);
}

#[tokio::test]
async fn a_long_line_is_cut_and_the_next_one_is_whole() {
    let world = World::new();
    world
        .start("head -c 100000 /dev/zero | tr '\\0' x; echo; echo after; sleep 100")
        .await;
    until("the line after is stored", || async {
        lines(&world).await.iter().any(|line| line.text == "after")
    })
    .await;
    let lines = lines(&world).await;
    assert_eq!(
        lines.len(),
        2,
        "{:?}",
        lines.iter().map(|it| it.text.len()).collect::<Vec<_>>()
    );
    assert_eq!(lines[0].text.len(), LINE_BYTES);
    world.stop().await;
}

#[tokio::test]
async fn kept_output_stays_below_its_limit() {
    const LIMIT: u64 = 200_000;
    let world = World::new();
    let image = world.script("seq 1 100000; echo end; sleep 100").await;
    let spec = world.spec(&image, |manifest| manifest.limits.log_bytes = LIMIT);
    world.runtime.start(spec).await.unwrap();
    until("the last line is stored", || async {
        world.runtime.logs(&world.program, 1).await == ["end"]
    })
    .await;
    let folder = std::fs::read_dir(world.storage.paths(&world.program).logs).unwrap();
    let program = folder.map(|entry| entry.unwrap());
    let kept = program.filter(|it| it.file_name().to_str().unwrap().starts_with("program."));
    let bytes: u64 = kept.map(|it| it.metadata().unwrap().len()).sum();
    assert!(bytes <= LIMIT && bytes > LIMIT / 4, "{bytes}");
    world.stop().await;
}

#[tokio::test]
async fn a_restarted_host_goes_on_without_a_gap_or_a_double() {
    let world = World::new();
    world
        .start("i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo $i; sleep 0.01; done; sleep 100")
        .await;
    until("some lines are stored", || async {
        lines(&world).await.len() > 20
    })
    .await;

    // A second host on the same files stands for the restarted one: it takes over from what is
    // stored when it begins, and the first one writes no further.
    let before = world.storage.paths(&world.program).logs.join("program.log");
    let stored = std::fs::read(&before).unwrap();
    let other = World::new();
    let folder = other.storage.paths(&world.program);
    std::fs::create_dir_all(&folder.logs).unwrap();
    let cut = stored.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    std::fs::write(folder.logs.join("program.log"), &stored[..cut]).unwrap();
    let config = hersh_host::runtime::docker::DockerConfig {
        socket: crate::world::socket(),
        host_id: world.program.to_string(),
        ..Default::default()
    };
    let restarted =
        hersh_host::runtime::docker::DockerRuntime::new(config, other.storage.clone()).unwrap();
    let _events = restarted.events();
    until("all lines are stored", || async {
        restarted.logs(&world.program, 1).await == ["300"]
    })
    .await;
    let lines = restarted
        .log_store()
        .tail(&world.program, 1000)
        .await
        .unwrap();
    let numbers: Vec<u32> = lines
        .iter()
        .map(|line| line.text.parse().unwrap())
        .collect();
    assert_eq!(numbers, (1..=300).collect::<Vec<_>>());
    world.stop().await;
}

#[tokio::test]
async fn followers_see_what_was_and_what_comes_also_of_the_next_run() {
    let world = World::new();
    world.start("echo one; sleep 100").await;
    until("a line is stored", || async {
        !lines(&world).await.is_empty()
    })
    .await;
    let mut follower = world.runtime.log_store().follow(&world.program, 10);
    world.start("echo two; sleep 100").await;
    for expected in ["one", "two"] {
        let line = tokio::time::timeout(PATIENCE, follower.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(line.text, expected);
    }
    world.stop().await;
    world.runtime.forget(&world.program).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, follower.recv())
        .await
        .unwrap();
    assert_eq!(end, None);
}

async fn lines(world: &World) -> Vec<LogLine> {
    world
        .runtime
        .log_store()
        .tail(&world.program, 1000)
        .await
        .unwrap()
}
