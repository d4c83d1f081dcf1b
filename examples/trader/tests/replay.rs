//! A recorded day of 100,000 runs, replayed: as it was, with a function that breaks the rules,
//! with another strategy, and with the journal cut at every byte of its last run.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, SystemTime};

use hersh::{
    Builder, Context, Difference, Divergence, JournalLimits, ReplayError, Replayed, Result,
    Watcher, testing,
};
use trader::strategy::Strategy;
use trader::{trade, trader};

const MESSAGES: usize = 100_000;

/// A trader with a feed as fast as can be.
fn builder() -> Builder {
    let interval = ("FEED_INTERVAL_MS", "0");
    Watcher::builder("trader").env([interval])
}

/// Records a run for each message, with prices coming in between; gives back how many runs, and
/// how many of them until the last message saw a new price.
async fn record<F>(folder: &Path, mut managed: F, messages: usize) -> (u64, usize)
where
    F: AsyncFnMut(&mut Context) -> Result + Send + 'static,
{
    let limits = JournalLimits {
        part_bytes: 8 * 1024 * 1024,
        total_bytes: 512 * 1024 * 1024,
    };
    let recording = builder().journal_dir(folder).journal_limits(limits);
    let (served, last) = mpsc::channel();
    let (mut left, mut priced) = (messages, 0);
    let counted = async move |cx: &mut Context| -> Result {
        managed(cx).await?;
        priced += usize::from(!cx.triggered().variables.is_empty());
        left -= usize::from(cx.message().is_some());
        if left == 0 {
            served.send(priced)?;
        }
        Ok(())
    };
    let recording = recording.message_capacity(messages);
    let watcher = recording.start(counted).await.unwrap();
    for message in (0..messages).map(message) {
        watcher.send(message).unwrap();
    }
    let priced = last.recv().unwrap();
    watcher.stop("recorded");
    assert_eq!(watcher.wait().await.to_string(), "Stopped: recorded");
    (watcher.status().runs, priced)
}

/// What a busy customer asks.
fn message(number: usize) -> &'static str {
    const MESSAGES: [&str; 10] = [
        "buy btc 0.01",
        "buy eth 0.2",
        "report",
        "sell btc 0.005",
        "hodl",
        "sell eth 0.1",
        "target btc 30",
        "sell btc 0.005",
        "target btc 40",
        "sell eth 0.1",
    ];
    MESSAGES[number % MESSAGES.len()]
}

fn divergence(result: std::result::Result<Replayed, ReplayError>) -> Divergence {
    match result {
        Err(ReplayError::Diverged(divergence)) => *divergence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_hundred_thousand_runs_replay_twice_alike() {
    let folder = tempfile::tempdir().unwrap();
    let (runs, priced) = record(folder.path(), trader, MESSAGES).await;
    assert!(runs > MESSAGES as u64, "{runs}");
    assert!(priced > 100, "{priced}");

    let replayed = builder().replay(folder.path(), trader).unwrap();
    assert_eq!((replayed.first_run, replayed.runs), (1, runs));
    assert_eq!(replayed.ending.as_deref(), Some("Stopped: recorded"));
    assert_eq!(replayed.torn_bytes, 0);
    assert_eq!(builder().replay(folder.path(), trader).unwrap(), replayed);
}

#[tokio::test]
async fn a_counter_outside_the_context_is_caught_where_it_first_shows() {
    /// Breaks the rules: it counts its runs where no replay can set the count back.
    fn forgetful(began: u64) -> impl AsyncFnMut(&mut Context) -> Result + Send + 'static {
        let runs = AtomicU64::new(began);
        async move |cx: &mut Context| {
            trade(cx, &Strategy::default())?;
            if runs.fetch_add(1, Ordering::Relaxed) == 1_000 {
                cx.log("the thousand is full");
            }
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), forgetful(0), 2_000).await;
    assert!(builder().replay(folder.path(), forgetful(0)).is_ok());

    let found = divergence(builder().replay(folder.path(), forgetful(400)));
    assert_eq!(found.run, 601);
    let Difference::Log { expected, seen, .. } = found.difference else {
        panic!("{found}");
    };
    assert_eq!(expected, None);
    assert_eq!(seen.as_deref(), Some("the thousand is full"));
}

#[tokio::test]
async fn the_time_of_the_system_is_caught_in_the_first_run() {
    let hasty = async |cx: &mut Context| -> Result {
        trade(cx, &Strategy::default())?;
        cx.set("at", &SystemTime::now())?;
        Ok(())
    };
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), hasty, 10).await;
    let found = divergence(builder().replay(folder.path(), hasty));
    assert_eq!((found.run, found.signal.as_str()), (1, "start"));
    assert!(matches!(found.difference, Difference::Context { key, .. } if key.as_ref() == "at"));
}

#[test]
fn a_changed_strategy_is_located() {
    // With orders the first line that differs is one of the log, without them a key.
    for (message, difference) in [
        ("resume", "log line 1: expected \"order "),
        ("pause", "context key \"averages\": expected {\"btc\":60"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let looks = record_minutes(folder.path(), message);
        assert!(builder().replay(folder.path(), trader).is_ok());
        let changed = async |cx: &mut Context| {
            let default = Strategy::default();
            trade(
                cx,
                &Strategy {
                    memory: 9,
                    ..default
                },
            )
        };
        let found = divergence(builder().replay(folder.path(), changed));
        // The first look only begins the averages.
        assert_eq!(found.run, looks[1]);
        assert_eq!(found.signal, "changed minute, btc, eth");
        assert!(
            found.difference.to_string().starts_with(difference),
            "{found}"
        );
    }
}

/// Records ten minutes in virtual time; gives back which runs looked at the portfolio.
fn record_minutes(folder: &Path, message: &str) -> Vec<u64> {
    let looks = Arc::new(Mutex::new(Vec::new()));
    let looked = looks.clone();
    let managed = async move |cx: &mut Context| -> Result {
        trade(cx, &Strategy::default())?;
        let changed = &cx.triggered().variables;
        if changed.iter().any(|name| name.as_ref() == "minute") {
            looked.lock().unwrap().push(cx.run_number());
        }
        Ok(())
    };
    let interval = ("FEED_INTERVAL_MS", "1000");
    let recording = Watcher::builder("trader").env([interval]);
    testing::play(recording.journal_dir(folder), managed, async |watcher| {
        watcher.send(message).unwrap();
        testing::pass(Duration::from_secs(600)).await;
        watcher.stop("recorded");
    });
    looks.lock().unwrap().clone()
}

#[tokio::test]
async fn a_journal_cut_anywhere_replays_what_is_before() {
    let folder = tempfile::tempdir().unwrap();
    let (runs, _) = record(folder.path(), trader, 20).await;
    let part = folder.path().join("000000000001.journal");
    let bytes = fs::read(&part).unwrap();
    let entries = entries(&bytes);
    let [.., last_run, ended] = *entries else {
        panic!("{entries:?}");
    };
    let cut = folder.path().join("cut");
    let replay = |length: usize| {
        fs::write(&cut, &bytes[..length]).unwrap();
        builder().replay(&cut, trader).unwrap()
    };
    assert_eq!(
        (replay(last_run).runs, replay(last_run).torn_bytes),
        (runs - 1, 0)
    );
    for length in last_run + 1..ended {
        let replayed = replay(length);
        assert_eq!(
            (replayed.runs, replayed.torn_bytes),
            (runs - 1, length - last_run)
        );
    }
    assert_eq!((replay(ended).runs, replay(ended).torn_bytes), (runs, 0));
    assert_eq!(replay(ended).ending, None);
}

/// Where the entries of a part begin: each has a head of twelve bytes, the first four its length.
fn entries(bytes: &[u8]) -> Vec<usize> {
    let mut at = b"hersh journal 1\n".len();
    let mut entries = Vec::new();
    while let Some(length) = bytes.get(at..at + 4) {
        entries.push(at);
        at += 12 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
    }
    entries
}
