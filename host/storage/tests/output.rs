//! The kept output: bounded, readable after a crash in the middle of a line, followed without a
//! gap.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{fs, path::PathBuf, time::Duration};

use hersh_program::ProgramId;
use hersh_storage::{
    Storage,
    output::{BUILD_LOG_BYTES, BuildLog, FOLLOW_LINES, LogLine, LogStore, Marks, Stream},
};

const PATIENCE: Duration = Duration::from_secs(20);
const MIB: u64 = 1024 * 1024;

struct World {
    logs: LogStore,
    program: ProgramId,
    folder: PathBuf,
    _data: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let storage = Storage::open(data.path()).unwrap();
        let program = ProgramId::parse("p").unwrap();
        let folder = storage.paths(&program).logs;
        fs::create_dir_all(&folder).unwrap();
        Self {
            logs: LogStore::new(storage),
            program,
            folder,
            _data: data,
        }
    }

    async fn append(&self, lines: Vec<LogLine>, limit_bytes: u64) {
        self.logs
            .append(&self.program, lines, limit_bytes)
            .await
            .unwrap();
    }

    async fn tail(&self, count: usize) -> Vec<String> {
        let lines = self.logs.tail(&self.program, count).await.unwrap();
        lines.into_iter().map(|line| line.text).collect()
    }
}

fn line(number: u64, text: &str) -> LogLine {
    LogLine {
        at: format!("2026-01-01T00:00:00.{number:09}Z"),
        stream: Stream::Stdout,
        text: text.to_owned(),
    }
}

#[tokio::test]
async fn lines_come_back_as_they_were() {
    let world = World::new();
    assert!(world.logs.tail(&world.program, 5).await.unwrap().is_empty());
    let mut lines: Vec<LogLine> = ["", " two  spaces ", "ümläut", "a\rb", "h x"]
        .into_iter()
        .zip(0..)
        .map(|(text, number)| line(number, text))
        .collect();
    lines[1].stream = Stream::Stderr;
    lines[2].stream = Stream::Host;
    world.append(lines.clone(), MIB).await;
    assert_eq!(world.logs.tail(&world.program, 10).await.unwrap(), lines);
    assert_eq!(
        world.logs.tail(&world.program, 2).await.unwrap(),
        lines[3..]
    );
}

#[tokio::test]
async fn files_stay_below_the_limit_and_keep_the_newest() {
    let world = World::new();
    for number in 0..200 {
        world
            .append(
                vec![line(number, &format!("{number} {}", "x".repeat(90)))],
                4_000,
            )
            .await;
    }
    let bytes: u64 = fs::read_dir(&world.folder)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes <= 4_000, "{bytes}");
    let kept = world.tail(1_000).await;
    let numbers: Vec<u32> = kept
        .iter()
        .map(|it| it.split(' ').next().unwrap().parse().unwrap())
        .collect();
    let first = *numbers.first().unwrap();
    assert_eq!(numbers, (first..200).collect::<Vec<_>>());
    assert!(numbers.len() >= 14, "{}", numbers.len());
}

#[tokio::test]
async fn a_short_tail_of_a_long_file_is_right_at_every_block_border() {
    let world = World::new();
    let lines =
        (0..3_000).map(|number| line(number, &"y".repeat(usize::try_from(number % 97).unwrap())));
    let lines: Vec<LogLine> = lines.collect();
    world.append(lines.clone(), 64 * MIB).await;
    for count in [0, 1, 2, 500, 1_500, 2_999, 3_000, 4_000] {
        let tail = world.logs.tail(&world.program, count).await.unwrap();
        assert_eq!(tail, lines[lines.len().saturating_sub(count)..], "{count}");
    }
}

#[tokio::test]
async fn marks_are_for_those_who_ask_and_count_for_nobody_else() {
    let world = World::new();
    let mark = |number| LogLine {
        stream: Stream::Mark,
        ..line(number, "instance x began")
    };
    // More than a block of them between two lines.
    let marks: Vec<LogLine> = (1..2_000).map(mark).collect();
    let lines = [vec![line(0, "0")], marks, vec![line(2_000, "1")]].concat();
    world.append(lines.clone(), MIB).await;
    assert_eq!(world.tail(2).await, ["0", "1"]);
    let shown = world.logs.tail_with_marks(&world.program, 3_000).await;
    assert_eq!(shown.unwrap(), lines);
    let mut follower = world.logs.follow(&world.program, 1);
    let asking = world.logs.follow_of(&world.program, 1, Marks::Shown, ());
    let mut asking = asking.await.unwrap();
    assert_eq!(follower.recv().await.unwrap().text, "1");
    assert_eq!(asking.kept[0].text, "1");
    world.append(vec![mark(2_001), line(2_002, "2")], MIB).await;
    assert_eq!(follower.recv().await.unwrap().text, "2");
    assert_eq!(asking.live.recv().await.unwrap(), mark(2_001));
}

#[tokio::test]
async fn a_line_that_a_crash_cut_is_passed_over() {
    let world = World::new();
    let path = world.folder.join("program.log");
    fs::write(
        &path,
        "2026-01-01T00:00:00.000000001Z o whole\n2026-01-01T00:0",
    )
    .unwrap();
    world.append(vec![line(2, "after")], MIB).await;
    assert_eq!(world.tail(10).await, ["whole", "after"]);
}

#[tokio::test]
async fn followers_see_what_was_and_what_comes() {
    let world = World::new();
    world.append(vec![line(0, "0"), line(1, "1")], MIB).await;
    let mut follower = world.logs.follow(&world.program, 1);
    let first = tokio::time::timeout(PATIENCE, follower.recv())
        .await
        .unwrap();
    assert_eq!(first.unwrap().text, "1");
    world.append(vec![line(2, "2")], MIB).await;
    let second = tokio::time::timeout(PATIENCE, follower.recv())
        .await
        .unwrap();
    assert_eq!(second.unwrap().text, "2");
    world.logs.forget(&world.program);
    assert_eq!(
        tokio::time::timeout(PATIENCE, follower.recv())
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn a_slow_follower_is_told_how_much_it_missed() {
    let world = World::new();
    world.append(vec![line(0, "first")], MIB).await;
    let mut follower = world.logs.follow(&world.program, 1);
    assert_eq!(follower.recv().await.unwrap().text, "first");
    let total = u64::try_from(FOLLOW_LINES).unwrap() * 2;
    world
        .append((1..=total).map(|number| line(number, "x")).collect(), MIB)
        .await;
    let mut seen = 0;
    let mut missed = 0;
    while seen + missed < total {
        let line = tokio::time::timeout(PATIENCE, follower.recv())
            .await
            .unwrap()
            .unwrap();
        match line.stream {
            Stream::Stdout | Stream::Stderr => seen += 1,
            Stream::Host | Stream::Mark => {
                let count = line.text.split(' ').next().unwrap();
                missed += count.parse::<u64>().unwrap();
            }
        }
    }
    assert!(missed > 0);
    assert_eq!(seen + missed, total);
}

#[test]
fn a_build_log_is_bounded_and_keeps_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("build.log");
    let mut log = BuildLog::create(&path).unwrap();
    log.write("Step 1\nhal").unwrap();
    log.write("f\rover\n\n").unwrap();
    for number in 0..100_000 {
        log.write(&format!("line {number} {}\n", "z".repeat(100)))
            .unwrap();
    }
    log.write("the end").unwrap();
    assert_eq!(log.tail().len(), 50);
    assert_eq!(log.tail().last().unwrap(), "the end");
    log.finish().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.len() < BUILD_LOG_BYTES, "{}", text.len());
    assert!(text.starts_with("Step 1\nover\nline 0 "), "{}", &text[..40]);
    assert!(text.ends_with("\nthe end\n"));
    assert!(text.contains(" lines left out: the log is too long]\n"));
}

#[test]
fn a_build_log_cuts_long_lines_and_splits_no_character() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("build.log");
    let mut log = BuildLog::create(&path).unwrap();
    log.write(&"€".repeat(10_000)).unwrap();
    log.write("€€\nnext\n").unwrap();
    log.finish().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let mut lines = text.lines();
    let long = lines.next().unwrap();
    assert!(
        long.len() <= 16 * 1024 && long.len() > 16 * 1024 - 3 && long.chars().all(|it| it == '€')
    );
    assert_eq!(lines.next(), Some("next"));
}
