//! Takes over a container's output from the engine's files.

use std::{collections::HashSet, io, time::Duration};

use hersh_storage::output::{LogLine, Stream};
use tokio::{sync::watch, time::Instant};

use super::{
    Capture, Life, blocking,
    engine_log::{EngineLogRead, EngineLogReader, Piece},
    lines::{Lines, key},
    pace::Pace,
};

/// How long to wait for more output: first briefly, then longer and longer.
const WAIT_FIRST: Duration = Duration::from_millis(20);
const WAIT_LAST: Duration = Duration::from_millis(500);
/// How long a reader that has read everything lets more lines come together. A look after every line would
/// cost many times what the lines themselves cost.
const GATHER: Duration = Duration::from_millis(50);
/// How long the host waits for the end of a line. After that, the line is shown without its end.
const STALLED: Duration = Duration::from_secs(2);
/// How often the engine is asked whether a silent container still runs, if its end was not told.
const LOOK: Duration = Duration::from_secs(10);

/// Reads until the container has ended and nothing is left to read.
pub(super) async fn take_over(
    capture: &mut Capture,
    reader: EngineLogReader,
    is_cut: bool,
    mut ending: watch::Receiver<bool>,
) {
    let mut reader = match begin(capture, reader, is_cut).await {
        Ok(reader) => reader,
        Err(error) => return unreadable(capture, &error),
    };
    let mut pace = capture.pace().await;
    let (mut lines, mut wait) = (Lines::default(), WAIT_FIRST);
    let (mut printed, mut looked) = (Instant::now(), Instant::now());
    let mut has_ended = false;
    loop {
        // The end is taken note of before the read, so that what was printed before the end is still read.
        has_ended |= *ending.borrow_and_update();
        let next = match read_on(reader).await {
            Ok((back, next)) => {
                reader = back;
                next
            }
            Err(error) => return unreadable(capture, &error),
        };
        match next {
            EngineLogRead::Pieces(pieces) => {
                let least = reader.least_rest(GATHER);
                let rest = least.max(take(capture, &mut lines, pieces, &mut pace).await);
                (wait, printed) = (WAIT_FIRST, Instant::now());
                // After the end, the rest is no more than the engine keeps, so it is read without a pause.
                if !has_ended && !rest.is_zero() && !pause(rest, &mut ending).await {
                    break;
                }
                continue;
            }
            EngineLogRead::Gap => {
                capture.store(lines.finish()).await;
                capture.mark_gap().await;
                continue;
            }
            EngineLogRead::Nothing if has_ended => break,
            EngineLogRead::Nothing => {}
        }
        if printed.elapsed() >= STALLED {
            capture.store(lines.finish()).await;
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            match capture.life().await {
                Life::Open => {}
                Life::Ended => {
                    has_ended = true;
                    continue;
                }
                Life::Gone => break,
            }
        }
        if !pause(wait, &mut ending).await {
            break;
        }
        wait = (wait * 2).min(WAIT_LAST);
    }
    capture.store(lines.finish()).await;
}

/// Waits for `rest`, but no longer than until the container's end is told. Returns false when nobody is
/// left who could tell the end, because the host itself ends.
async fn pause(rest: Duration, ending: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = tokio::time::sleep(rest) => true,
        changed = ending.changed() => changed.is_ok(),
    }
}

/// Reads on, on a thread for blocking work.
async fn read_on(mut reader: EngineLogReader) -> io::Result<(EngineLogReader, EngineLogRead)> {
    blocking(move || {
        let next = reader.next()?;
        Ok((reader, next))
    })
    .await
}

/// Stores the lines that these pieces complete. Returns how long to wait before the next read.
async fn take(
    capture: &mut Capture,
    lines: &mut Lines,
    pieces: Vec<Piece>,
    pace: &mut Pace,
) -> Duration {
    let bytes = pieces.iter().map(|piece| piece.text.len()).sum();
    let count = pieces.len();
    let whole = pieces.into_iter().filter_map(|it| lines.take(it)).collect();
    capture.store(whole).await;
    pace.wait(count, bytes, Instant::now())
}

/// Moves the reading to where the stored output ends, and stores a mark or a gap if something else begins
/// there.
async fn begin(
    capture: &mut Capture,
    reader: EngineLogReader,
    is_cut: bool,
) -> io::Result<EngineLogReader> {
    let stored = capture.stored().await;
    let printed = stored.iter().filter(|it| is_printed(it)).map(of);
    let printed: HashSet<LineKey> = printed.collect();
    let (reader, goes_on) = blocking(move || go_on(reader, &printed)).await?;
    match (goes_on, is_cut) {
        (true, _) => {}
        (false, true) => capture.mark_gap().await,
        (false, false) => capture.mark_begin(&stored).await,
    }
    Ok(reader)
}

/// The time and the stream of a line.
type LineKey = (String, char);

fn of(line: &LogLine) -> LineKey {
    (line.at.clone(), key(line.stream))
}

/// Moves the reading behind the last entry in the files that is stored. The last line of all that are stored may be
/// another instance's: two of one program may have run at once.
fn go_on(
    mut reader: EngineLogReader,
    stored: &HashSet<LineKey>,
) -> io::Result<(EngineLogReader, bool)> {
    if stored.is_empty() {
        return Ok((reader, false));
    }
    let begin = reader.position()?;
    let (mut lines, mut seen, mut found) = (Lines::default(), 0, None);
    while let EngineLogRead::Pieces(pieces) = reader.next()? {
        for piece in pieces {
            seen += 1;
            let line = lines.take(piece);
            if line.is_some_and(|line| stored.contains(&of(&line))) {
                found = Some(seen);
            }
        }
    }
    if lines.finish().iter().any(|line| stored.contains(&of(line))) {
        found = Some(seen);
    }
    reader.seek_to(begin)?;
    reader.skip(found.unwrap_or(0))?;
    Ok((reader, found.is_some()))
}

fn is_printed(line: &LogLine) -> bool {
    match line.stream {
        Stream::Stdout | Stream::Stderr => true,
        Stream::Host | Stream::Mark => false,
    }
}

fn unreadable(capture: &Capture, error: &io::Error) {
    let program = &capture.program;
    tracing::warn!(%error, %program, "the engine's copy of a program's output can't be read");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: &str, text: &str) -> LogLine {
        LogLine {
            at: format!("2026-01-01T00:00:{at}.000000000Z"),
            stream: Stream::Stdout,
            text: text.to_owned(),
        }
    }

    /// Returns the texts that come after what is stored, and whether any of it was found.
    fn after(entries: &[(&str, &str)], stored: &[LogLine]) -> (Vec<String>, bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c-json.log");
        let entries = entries.iter().map(|(at, text)| {
            let time = format!("2026-01-01T00:00:{at}Z");
            let entry = serde_json::json!({"log": text, "stream": "stdout", "time": time});
            format!("{entry}\n")
        });
        std::fs::write(&path, entries.collect::<String>()).unwrap();
        let (reader, _) = EngineLogReader::open(path, u64::MAX).unwrap();
        let stored = stored.iter().map(of).collect();
        let (mut reader, found) = go_on(reader, &stored).unwrap();
        let mut texts = Vec::new();
        while let EngineLogRead::Pieces(pieces) = reader.next().unwrap() {
            texts.extend(pieces.into_iter().map(|it| it.text));
        }
        (texts, found)
    }

    #[test]
    fn a_clock_that_steps_back_loses_nothing() {
        let entries = [("50", "a\n"), ("51", "b\n"), ("10", "c\n"), ("11", "d\n")];
        let (rest, found) = after(&entries, &[line("51", "b")]);
        assert!(found);
        assert_eq!(rest, ["c\n", "d\n"]);
        let (rest, _) = after(&entries, &[line("10", "c")]);
        assert_eq!(rest, ["d\n"]);
    }

    #[test]
    fn a_line_of_many_pieces_is_passed_over_whole() {
        let entries = [
            ("01", "a"),
            ("02", "b"),
            ("03", "c\n"),
            ("04", "d"),
            ("05", "e"),
        ];
        let (rest, found) = after(&entries, &[line("01", "abc")]);
        assert!(found);
        assert_eq!(rest, ["d", "e"]);
        let (rest, found) = after(&entries, &[line("04", "de")]);
        assert!(found && rest.is_empty());
    }

    #[test]
    fn what_another_instance_printed_since_doubles_nothing() {
        let entries = [("01", "a\n"), ("02", "b\n"), ("05", "c\n")];
        let stored = [line("01", "a"), line("02", "b"), line("03", "bye")];
        let (rest, found) = after(&entries, &stored);
        assert!(found);
        assert_eq!(rest, ["c\n"]);
    }

    #[test]
    fn what_was_never_seen_is_read_from_its_beginning() {
        let entries = [("01", "a\n"), ("02", "b\n")];
        for stored in [vec![], vec![line("09", "of another instance")]] {
            let (rest, found) = after(&entries, &stored);
            assert!(!found);
            assert_eq!(rest, ["a\n", "b\n"]);
        }
    }
}
