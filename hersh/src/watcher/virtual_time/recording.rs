//! Replays of recorded runs: the same program agrees, another program is found out.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::{Control, Difference, JournalLimits, ReplayError, Replayed, replay};

/// A program that uses every input there is.
async fn everything(cx: &mut Context) -> crate::Result {
    run_with(cx, 1).await
}

/// The same program with one line changed.
async fn changed(cx: &mut Context) -> crate::Result {
    run_with(cx, 2).await
}

async fn run_with(cx: &mut Context, factor: u64) -> crate::Result {
    let tick = cx.watch_tick("tick", Duration::from_secs(1))?;
    if cx.triggered().recovery {
        cx.log("back again");
    }
    if let Some(message) = cx.message() {
        let drawn = cx.random_below(1_000);
        cx.log(format!("{message} at {:?} drew {drawn}", cx.now()));
        let again = cx.triggered().recovery;
        match message.as_ref() {
            _ if again => {}
            "fail" => return Err(Error::msg("as told")),
            "panic" => panic!("as told"),
            "hang" => std::future::pending().await,
            "wait" => pass(5_000).await,
            "stop" => return Err(Control::stop("as told").into()),
            _ => {}
        }
        cx.update("messages", |n: u64| n + factor)?;
    }
    if tick.is_triggered(cx) {
        cx.set("ticks", &(tick.count, tick.at))?;
        cx.set("weekday", &(tick.count % 7))?;
    }
    Ok(())
}

const MESSAGES: [&str; 8] = ["a", "fail", "b", "wait", "panic", "hang", "c", "stop"];

async fn record(folder: &Path, messages: &'static [&str]) {
    let limits = JournalLimits {
        part_bytes: 2_000,
        ..JournalLimits::default()
    };
    let builder = plain().journal_dir(folder).journal_limits(limits);
    play(builder, everything, async |watcher| {
        for message in messages {
            watcher.send(*message).unwrap();
            pass(20_500).await;
        }
    })
    .await;
}

async fn recorded() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &MESSAGES).await;
    folder
}

fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let mut parts: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|it| it == "journal"))
        .collect();
    parts.sort();
    parts
}

fn good(result: Result<Replayed, ReplayError>) -> Replayed {
    result.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(start_paused = true)]
async fn a_replay_agrees_and_is_the_same_twice() {
    let folder = recorded().await;
    let first = good(replay(folder.path(), everything));
    assert_eq!(first, good(replay(folder.path(), everything)));
    assert_eq!(first.first_run, 1);
    assert!(first.runs > 50, "{} runs", first.runs);
    assert_eq!(first.context["messages"], 7);
    assert_eq!(first.ending.as_deref(), Some("Stopped: as told"));
    assert!(parts(folder.path()).len() > 3, "it rotates");
}

#[tokio::test(start_paused = true)]
async fn each_part_replays_alone_and_with_those_that_follow() {
    let folder = recorded().await;
    let whole = good(replay(folder.path(), everything));
    let alone = tempfile::tempdir().unwrap();
    let mut next = 1;
    for part in parts(folder.path()) {
        let tail = good(replay(&part, everything));
        assert_eq!((tail.first_run, next + tail.runs), (next, whole.runs + 1));
        assert_eq!(tail.context, whole.context);
        let copy = alone.path().join("copy");
        fs::copy(&part, &copy).unwrap();
        next += good(replay(&copy, everything)).runs;
    }
    assert_eq!(next, whole.runs + 1);
}

#[tokio::test(start_paused = true)]
async fn a_changed_line_is_located() {
    let folder = recorded().await;
    let error = replay(folder.path(), changed).unwrap_err();
    let ReplayError::Diverged(found) = &error else {
        panic!("{error}")
    };
    assert_eq!((found.run, found.signal.as_str()), (2, "message \"a\""));
    let difference = Difference::Context {
        key: "messages".into(),
        expected: Some("1".into()),
        seen: Some("2".into()),
    };
    assert_eq!(found.difference, difference);
    let text = error.to_string();
    assert!(
        text.starts_with("run 2 (message \"a\") differs from the journal ("),
        "{text}"
    );
    assert!(
        text.contains("context key \"messages\": expected 1, seen 2 ("),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_difference_is_named() {
    let folder = recorded().await;
    let diverged = |result: Result<Replayed, ReplayError>| match result {
        Err(ReplayError::Diverged(found)) => found,
        other => panic!("{other:?}"),
    };
    let draws = diverged(replay(folder.path(), async |cx: &mut Context| {
        if cx.triggered().init {
            cx.random();
        }
        everything(cx).await
    }));
    assert_eq!(
        draws.difference.to_string(),
        "random numbers drawn: expected 0, seen 1"
    );
    let logs = diverged(replay(folder.path(), async |cx: &mut Context| {
        cx.log("hello");
        everything(cx).await
    }));
    assert_eq!(
        logs.difference.to_string(),
        "log line 1: expected nothing, seen \"hello\""
    );
    let outcome = diverged(replay(folder.path(), async |cx: &mut Context| {
        everything(cx).await?;
        match cx.message().as_deref() {
            Some("b") => Err(Error::msg("worse")),
            Some(_) | None => Ok(()),
        }
    }));
    assert_eq!(outcome.signal, "message \"b\", changed tick");
    // The failed run changed nothing, which is what differs first.
    assert!(matches!(outcome.difference, Difference::Context { .. }));
    let ended = diverged(replay(
        folder.path(),
        async |_: &mut Context| -> crate::Result { Err(Error::msg("no")) },
    ));
    assert_eq!((ended.run, ended.signal.as_str()), (1, "start"));
    assert_eq!(
        ended.difference.to_string(),
        "outcome: expected it succeeded, seen that it failed: no"
    );
}

#[tokio::test(start_paused = true)]
async fn cut_at_any_byte_of_its_last_record_its_prefix_replays() {
    let folder = recorded().await;
    let runs = good(replay(folder.path(), everything)).runs;
    let last = parts(folder.path()).pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for end in (0..bytes.len()).rev().take(400) {
        fs::write(&last, &bytes[..end]).unwrap();
        let replayed = good(replay(folder.path(), everything));
        assert!(replayed.runs <= runs);
        seen.insert(runs - replayed.runs);
    }
    assert!(seen.contains(&0) && seen.contains(&1), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn damage_is_named_and_what_stands_before_replays() {
    let folder = recorded().await;
    let first = parts(folder.path()).remove(0);
    let mut bytes = fs::read(&first).unwrap();
    let place = bytes.len() * 3 / 4;
    bytes[place] ^= 0x10;
    fs::write(&first, &bytes).unwrap();
    let error = replay(folder.path(), everything).unwrap_err();
    let ReplayError::Unreadable { message, runs } = &error else {
        panic!("{error}")
    };
    assert!(
        message.contains("000000000001.journal is damaged at byte "),
        "{message}"
    );
    assert!(*runs > 3, "{runs}");
}

#[tokio::test(start_paused = true)]
async fn the_newest_session_is_replayed_and_old_parts_go() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &["a", "b", "stop"]).await;
    record(folder.path(), &["a", "stop"]).await;
    let replayed = good(replay(folder.path(), everything));
    assert_eq!(replayed.context["messages"], 1);
    let limits = JournalLimits {
        part_bytes: 1,
        total_bytes: 600,
    };
    let builder = plain().journal_dir(folder.path()).journal_limits(limits);
    play(builder, everything, async |watcher| {
        for message in ["a", "b", "c", "d", "stop"] {
            watcher.send(message).unwrap();
        }
    })
    .await;
    let bytes = |part: &PathBuf| fs::metadata(part).unwrap().len();
    let mut kept = parts(folder.path());
    let newest = kept.pop().unwrap();
    assert!(kept.iter().map(bytes).sum::<u64>() <= 600 && newest.exists());
    let replayed = good(replay(folder.path(), everything));
    assert!(replayed.first_run > 1 && replayed.runs >= 2, "{replayed:?}");
    assert_eq!(replayed.first_run + replayed.runs, 7);
    assert_eq!(replayed.context["messages"], 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_journal_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = replay(folder.path(), everything).unwrap_err().to_string();
    assert!(error.contains("holds no journal"), "{error}");
    let file = folder.path().join("000000000001.journal");
    fs::write(&file, "something else\n").unwrap();
    let error = replay(&file, everything).unwrap_err().to_string();
    assert!(error.contains("it does not begin like one"), "{error}");
    let missing = replay(folder.path().join("x"), everything).unwrap_err();
    assert!(
        missing.to_string().contains("holds no journal"),
        "{missing}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_journal_folder_serves_one_watcher_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || plain().journal_dir(folder.path());
    play(builder(), everything, async |watcher| {
        let second = builder().start(everything).await.unwrap_err();
        let text = second.to_string();
        assert!(text.contains("another watcher writes to it"), "{text}");
        watcher.stop("done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_unsaved_run_leaves_no_trace_in_the_replay() {
    let (state, journal) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let builder = plain().state_dir(state.path()).journal_dir(journal.path());
    play(builder, everything, async |watcher| {
        watcher.send("a").unwrap();
        pass(10).await;
        break_disk(&state);
        watcher.send("b").unwrap();
        pass(10).await;
        mend_disk(&state);
        pass(15_500).await;
        watcher.send("c").unwrap();
        pass(10).await;
        watcher.stop("done");
    })
    .await;
    let replayed = good(replay(journal.path(), everything));
    assert_eq!(replayed.context["messages"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_large_context_makes_no_part_of_every_run() {
    let folder = tempfile::tempdir().unwrap();
    let limits = JournalLimits {
        part_bytes: 4_000,
        ..JournalLimits::default()
    };
    let managed = async |cx: &mut Context| -> crate::Result {
        if cx.triggered().init {
            cx.set("large", &"x".repeat(100_000))?;
        }
        cx.set("run", &cx.run_number())?;
        Ok(())
    };
    let builder = plain().journal_dir(folder.path()).journal_limits(limits);
    play(builder, managed, async |watcher| {
        for _ in 0..100 {
            watcher.send("x").unwrap();
        }
        pass(1).await;
        watcher.stop("done");
    })
    .await;
    let parts = parts(folder.path()).len();
    assert!((2..=5).contains(&parts), "{parts} parts for 101 runs");
    assert_eq!(good(replay(folder.path(), managed)).runs, 101);
}

#[tokio::test(start_paused = true)]
async fn older_sessions_and_an_unwritten_beginning_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), &["a", "stop"]).await;
    let older = parts(folder.path());
    record(folder.path(), &["a", "b", "stop"]).await;
    for part in &older {
        fs::write(part, b"hersh journal 1\n and then something else").unwrap();
    }
    let replayed = good(replay(folder.path(), everything));
    assert_eq!(replayed.context["messages"], 2);
    let number = parts(folder.path()).len() + 1;
    for (beginning, more) in [(&[0; 600][..], 0), (b"hersh jour", 1), (b"", 2)] {
        let part = folder.path().join(format!("{:012}.journal", number + more));
        fs::write(part, beginning).unwrap();
        assert_eq!(good(replay(folder.path(), everything)), replayed);
    }
    let strange = folder.path().join("18446744073709551615.journal");
    fs::write(strange, "").unwrap();
    record(folder.path(), &["stop"]).await;
    assert!(
        !good(replay(folder.path(), everything))
            .context
            .contains_key("messages")
    );
}

#[tokio::test(start_paused = true)]
async fn an_idle_watcher_syncs_and_survives_a_missing_part() {
    let folder = tempfile::tempdir().unwrap();
    let limits = JournalLimits {
        part_bytes: 1,
        total_bytes: 2_000,
    };
    let builder = plain().journal_dir(folder.path()).journal_limits(limits);
    play(builder, everything, async |watcher| {
        watcher.send("a").unwrap();
        pass(10).await;
        for part in parts(folder.path()) {
            fs::remove_file(part).unwrap();
        }
        watcher.send("b").unwrap();
        pass(5_000).await;
        let logs = watcher.logs();
        let ends = |line: &crate::LogLine| line.message.contains("the journal ends here");
        assert!(!logs.iter().any(ends), "{logs:?}");
        watcher.stop("done");
    })
    .await;
    assert!(good(replay(folder.path(), everything)).runs > 1);
}

#[test]
fn a_journal_of_the_form_before_effects_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let old = include_bytes!("../../../tests/fixtures/form-1.journal");
    fs::write(folder.path().join("000000000001.journal"), old).unwrap();
    let replayed = good(replay(folder.path(), everything));
    assert_eq!((replayed.first_run, replayed.ending.is_some()), (1, true));
    assert_eq!(replayed.runs, 79);
}
