//! Who follows a log and stops reading for a minute goes on where it stopped, and is told of whatever
//! could not wait for it.

use std::ops::Range;

use hersh_program::ProgramId;
use hersh_storage::output::{FOLLOW_LINES, LogLine, Stream};

use super::{
    clock::StoppedClock,
    speech::Client,
    world::{World, decent},
};

/// Lines that a program prints at once.
const BURST: usize = 500;

async fn print(world: &World, numbers: Range<usize>, padding: &str) {
    let lines = numbers.map(|number| LogLine {
        at: "2026-01-01T00:00:00.000000000Z".into(),
        stream: Stream::Stdout,
        text: format!("{number} {padding}"),
    });
    let program = ProgramId::parse("p").unwrap();
    let store = world.host.output();
    let printed = store.append(&program, lines.collect(), 1 << 20);
    printed.await.unwrap();
}

/// Reads lines up to number `last`. Each one that is missing has to be among those that a mark
/// counts; how many those are.
async fn read(reader: &mut Client, last: usize) -> usize {
    let (mut text, mut next, mut missing) = (String::new(), 0, 0);
    while next <= last {
        let bytes = reader.bytes().await;
        assert!(!bytes.is_empty(), "cut off at line {next}");
        text.push_str(&String::from_utf8(bytes).unwrap());
        while let Some((line, rest)) = text.split_once('\n') {
            if let Some(data) = line.strip_prefix("data: ") {
                let said: serde_json::Value = serde_json::from_str(data).unwrap();
                let number = said["line"].as_str().unwrap().split(' ').next().unwrap();
                let number: usize = number.parse().unwrap();
                if said["stream"] == "host" {
                    missing += number;
                    next += number;
                } else {
                    assert_eq!(number, next, "lines are missing without a mark");
                    next += 1;
                }
            }
            text = rest.to_owned();
        }
    }
    missing
}

#[tokio::test]
async fn a_log_reader_that_pauses_misses_nothing_unmarked() {
    // As many as wait for a reader; and far more than any buffer on the way takes.
    for (lines, padding, loses) in [(FOLLOW_LINES - BURST, 10, false), (40 * BURST, 2_000, true)] {
        let world = World::in_one_runtime(decent).await;
        let mut reader = world.connect().await;
        let request = "GET /programs/p/logs?follow=true&tail=0 HTTP/1.1\r\nHost: h\r\nAUTH\r\n\r\n";
        reader.send(request).await;
        let head = String::from_utf8(reader.bytes().await).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let clock = StoppedClock::new(&world);
        let padding = "x".repeat(padding);
        for first in (0..lines).step_by(BURST) {
            print(&world, first..(first + BURST).min(lines), &padding).await;
        }
        while clock.seconds() < 60 {
            clock.move_on().await;
        }
        print(&world, lines..lines + 1, "").await;
        let missing = read(&mut reader, lines).await;
        assert_eq!(missing > 0, loses, "{missing} of {lines}");
    }
}
