//! What programs print is kept: whole, bounded, after their end, across restarts.

use hersh_sandbox::{Builder, Runtime};

use hersh_program::Instances;
use hersh_storage::output::{LINE_BYTES, LogLine, Stream};

use crate::world::{PATIENCE, UNTIL_GO, World, until};

#[tokio::test]
async fn both_streams_are_kept_without_frame_headers() {
    let world = World::new();
    let image = world
        .script("echo out; echo err >&2; printf 'no end'")
        .await;
    world.end(world.spec(&image, |_| {})).await.unwrap();
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
    assert_eq!(world.last_lines(50).await.len(), 3);
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
    let (kept, note) = lines[0].text.split_once(" [").unwrap();
    assert!(lines[0].text.len() <= LINE_BYTES);
    let missing = 100_000 - kept.len();
    assert_eq!(note, format!("{missing} bytes of this line left out]"));
    world.stop().await;
}

#[tokio::test]
async fn output_without_an_end_is_shown_while_it_runs() {
    let world = World::new();
    // The engine itself waits for an end of line, or for 16 KiB.
    world
        .start("head -c 20000 /dev/zero | tr '\\0' x; sleep 1000")
        .await;
    until("what has no end is stored", || async {
        lines(&world)
            .await
            .iter()
            .any(|it| it.text.len() >= LINE_BYTES)
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_burst_loses_nothing_without_a_mark_and_doubles_nothing() {
    for log_bytes in [1024 * 1024, 64 * 1024] {
        let world = World::new();
        let image = world.script("seq 1 600000; sleep 1000").await;
        let spec = world.spec(&image, |manifest| manifest.limits.log_bytes = log_bytes);
        let mut follower = world.output.follow(&world.program, 0);
        world.runtime.start(spec).await.unwrap();
        let (mut last, mut is_marked) = (0, false);
        while last < 600_000 {
            let line = tokio::time::timeout(4 * PATIENCE, follower.recv()).await;
            let line = line.unwrap().unwrap();
            if line.stream == Stream::Host {
                is_marked = true;
                continue;
            }
            let number: u32 = line.text.parse().unwrap();
            assert!(number > last, "{number} comes after {last}");
            // A gap can begin in the middle of a line that is told cut, never within one.
            assert!(
                number == last + 1 || is_marked,
                "{number} follows {last} unmarked"
            );
            (last, is_marked) = (number, false);
        }
        let kept = world.output.tail(&world.program, 1_000).await;
        let kept = kept.unwrap();
        assert_eq!(kept.last().unwrap().text, "600000");
        world.stop().await;
    }
}

#[tokio::test]
async fn lines_of_one_byte_cost_the_host_little() {
    /// How long it is looked at, and what the program has of the processor in that time.
    const SPAN: std::time::Duration = std::time::Duration::from_secs(12);
    let world = World::new();
    let image = world.script("yes ''").await;
    let spec = world.spec(&image, |manifest| manifest.limits.cpu_millis = 200);
    world.runtime.start(spec).await.unwrap();
    let used = async || {
        let program = world
            .runtime
            .stats(&world.instance())
            .await
            .unwrap()
            .unwrap();
        (own_cpu_us(), program.cpu_us)
    };
    let (own, program) = used().await;
    // tidy: allow(sleep) what is used in a span of time is what is measured
    tokio::time::sleep(SPAN).await;
    let (own_after, program_after) = used().await;
    let (own, program) = (own_after - own, program_after - program);
    println!("the host used {own} us, the program {program} us");
    let share = u64::try_from(SPAN.as_micros()).unwrap() / 5;
    assert!(own < share / 4, "{own} of {share}, the program {program}");
    world.stop().await;
}

/// Processor time of this process, microseconds.
fn own_cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2);
    // A tick is a hundredth of a second on every Linux.
    ticks.map(|it| it.parse::<u64>().unwrap() * 10_000).sum()
}

#[tokio::test]
async fn what_is_printed_while_no_host_is_there_is_kept() {
    let world = World::new();
    let script = format!("echo before; {UNTIL_GO}; echo after; exit 3");
    let id = world.start(&script).await;
    world.go();
    world.exit().await;
    // A host that was stopped after the first line, and comes back when all is over.
    let other = World::new();
    let folder = other.storage.paths(&world.program);
    std::fs::create_dir_all(&folder.logs).unwrap();
    let stored = world.storage.paths(&world.program).logs.join("program.log");
    let stored = std::fs::read_to_string(stored).unwrap();
    let first = stored.find("after").and_then(|at| stored[..at].rfind('\n'));
    std::fs::write(folder.logs.join("program.log"), &stored[..=first.unwrap()]).unwrap();
    let config = hersh_docker::DockerConfig {
        socket: crate::world::socket(),
        host_id: world.program.to_string(),
        ..Default::default()
    };
    let output = &other.output;
    let back =
        hersh_docker::DockerRuntime::new(config, other.storage.clone(), output.clone()).unwrap();
    let grace = std::time::Duration::ZERO;
    back.stop(&world.program, Instances::All, grace)
        .await
        .unwrap();
    let shown = output.tail_with_marks(&world.program, 10).await;
    let texts: Vec<String> = shown.unwrap().into_iter().map(|it| it.text).collect();
    let short = &id.container.as_str()[..12];
    assert_eq!(
        texts,
        [
            format!("instance 1 ({short}) began"),
            "before".to_owned(),
            "after".to_owned(),
            format!("instance 1 ({short}) ended with code 3"),
        ]
    );
}

#[tokio::test]
async fn kept_output_stays_below_its_limit() {
    const LIMIT: u64 = 200_000;
    let world = World::new();
    let image = world.script("seq 1 100000; echo end; sleep 100").await;
    let spec = world.spec(&image, |manifest| manifest.limits.log_bytes = LIMIT);
    world.runtime.start(spec).await.unwrap();
    until("the last line is stored", || async {
        world.last_lines(1).await == ["end"]
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
    let config = hersh_docker::DockerConfig {
        socket: crate::world::socket(),
        host_id: world.program.to_string(),
        ..Default::default()
    };
    let restarted =
        hersh_docker::DockerRuntime::new(config, other.storage.clone(), other.output.clone())
            .unwrap();
    let _events = restarted.events();
    until("all lines are stored", || async {
        {
            let last = other.output.tail(&world.program, 1).await.unwrap();
            last.iter().any(|line| line.text == "300")
        }
    })
    .await;
    let lines = other.output.tail(&world.program, 1000).await.unwrap();
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
    let mut follower = world.output.follow(&world.program, 10);
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
    world.output.tail(&world.program, 1000).await.unwrap()
}

/// Its output may be taken over still, slowly, when somebody else's program has its name already.
#[tokio::test]
async fn nothing_of_a_removed_program_is_in_the_next_ones_log() {
    let world = World::new();
    world
        .start("while :; do i=$((i+1)); echo tick; echo $i > /state/n; sleep 0.05; done")
        .await;
    until("it prints", || async { !lines(&world).await.is_empty() }).await;
    world.runtime.forget(&world.program).await.unwrap();
    let logs = world.storage.paths(&world.program).logs;
    std::fs::remove_dir_all(&logs).unwrap();
    std::fs::create_dir(&logs).unwrap();
    let count = || {
        let text = std::fs::read_to_string(world.storage.paths(&world.program).state.join("n"));
        text.ok().and_then(|text| text.trim().parse::<u32>().ok())
    };
    let before = count();
    until("it printed more", || async {
        count() > before.map(|it| it + 20)
    })
    .await;
    assert_eq!(lines(&world).await, []);
    world.stop().await;
}
