//! Durable timers: at a time, after a while, by a rhythm.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::testing::{Setup, Test};
use crate::{Control, HookError, Timer, replay};

const HOUR: Duration = Duration::from_secs(3_600);

/// The beginning of virtual time, 2026-01-01T00:00:00Z, and some time more.
fn then(after: Duration) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_767_225_600) + after
}

fn seen(timer: &Timer) -> String {
    let since = |time: SystemTime| {
        time.duration_since(then(Duration::ZERO))
            .unwrap_or_default()
    };
    let due = timer.due.map(since);
    format!(
        "{due:?} missed {} next {:?}",
        timer.missed,
        timer.next.map(since)
    )
}

#[tokio::test(start_paused = true)]
async fn a_timer_wakes_the_watcher_at_its_time_once() {
    let folder = tempfile::tempdir().unwrap();
    let notes = Notes::new();
    let noted = notes.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        let at = cx.at("at", then(HOUR))?;
        let after = cx.after("after", HOUR * 2)?;
        let every = cx.every("every", "*/50 * * * *")?;
        for (name, timer) in [("at", at), ("after", after), ("every", every)] {
            assert_eq!(
                timer.is_due(),
                cx.triggered().timers.iter().any(|it| &**it == name)
            );
            if timer.is_due() {
                noted.add(format!("{name} {}", seen(&timer)));
            }
        }
        Ok(())
    };
    play(plain().state_dir(folder.path()), managed, async |watcher| {
        pass(130 * 60_000).await;
        assert_eq!(watcher.status().runs, 5);
        watcher.stop("done");
    })
    .await;
    let expected = [
        "every Some(3000s) missed 0 next Some(3600s)",
        "at Some(3600s) missed 0 next None",
        "every Some(3600s) missed 0 next Some(6600s)",
        "every Some(6600s) missed 0 next Some(7200s)",
        "after Some(7200s) missed 0 next None",
        "every Some(7200s) missed 0 next Some(10200s)",
    ];
    assert_eq!(notes.texts(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_timer_survives_restarts_and_one_that_is_over_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let notes = Notes::new();
    for life in 0..3 {
        let noted = notes.clone();
        let managed = async move |cx: &mut Context| -> crate::Result {
            // Set in the first life only; its time comes in the second.
            if life == 0 {
                cx.after("later", HOUR)?;
            }
            for name in &cx.triggered().timers {
                noted.add(format!("{name} in life {life}"));
            }
            Ok(())
        };
        play(plain().state_dir(folder.path()), managed, async |watcher| {
            pass(if life == 0 { 60_000 } else { 2 * 3_600_000 }).await;
            watcher.stop("done");
        })
        .await;
    }
    assert_eq!(notes.texts(), ["later in life 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_whose_run_fails_is_due_in_the_retry() {
    let folder = tempfile::tempdir().unwrap();
    let notes = Notes::new();
    let noted = notes.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        if !cx.after("due", HOUR)?.is_due() {
            return Ok(());
        }
        noted.add("due");
        if cx.triggered().recovery {
            return Ok(());
        }
        Err(Error::msg("not yet"))
    };
    play(plain().state_dir(folder.path()), managed, async |watcher| {
        pass(3_600_000 * 3).await;
        assert_eq!(watcher.status().runs, 3);
        watcher.stop("done");
    })
    .await;
    assert_eq!(notes.times_ms(), [3_600_000, 3_615_000]);
}

#[test]
fn due_times_that_passed_while_nothing_ran_are_told_once() {
    let entry = serde_json::json!({
        "rule": { "every": "0 * * * *" }, "due": "2025-12-31T20:00:00.000Z"
    });
    let setup = Setup::new().context("hersh:timer:hourly", &entry);
    let managed = async |cx: &mut Context| -> crate::Result {
        let hourly = cx.every("hourly", "0 * * * *")?;
        cx.log(seen(&hourly));
        Ok(())
    };
    let mut test = Test::with(setup, managed);
    let log = test.start().ok().log().to_owned();
    assert_eq!(log, "Some(0ns) missed 4 next Some(3600s)");
    let runs = test.advance(HOUR);
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].log(), "Some(3600s) missed 0 next Some(7200s)");
}

#[test]
fn a_timer_is_set_anew_by_another_time_and_gone_when_unwatched() {
    let managed = async |cx: &mut Context| -> crate::Result {
        match cx.message().as_deref() {
            Some("first") => {
                cx.at("at", then(HOUR))?;
            }
            Some("second") => {
                cx.at("at", then(HOUR * 2))?;
            }
            Some("forget") => assert!(cx.unwatch("at") && !cx.unwatch("at")),
            Some(_) | None => {}
        }
        for name in cx.triggered().timers.clone() {
            cx.log(format!("{name} is due"));
        }
        Ok(())
    };
    let mut test = Test::new(managed);
    test.start().ok();
    test.message("first").ok();
    test.message("second").ok();
    assert_eq!(test.advance(HOUR).len(), 0);
    assert_eq!(test.advance(HOUR)[0].log(), "at is due");
    test.message("second").ok();
    assert_eq!(test.advance(HOUR).len(), 0, "it is over");
    test.message("forget").ok();
    let run = test.message("second").ok();
    assert_eq!(run.logs.len(), 0);
    assert_eq!(
        test.advance(Duration::from_millis(1)).len(),
        1,
        "its time has passed"
    );
}

#[test]
fn what_is_no_timer_is_refused_with_what_to_write() {
    let managed = async |cx: &mut Context| -> crate::Result {
        let error = cx.every("e", "61 * * * *").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("such as \"30 9 * * MON-FRI America/New_York\""),
            "{error}"
        );
        cx.after("a", HOUR)?;
        assert!(matches!(cx.at("a", cx.now()), Err(HookError::Clash { .. })));
        assert!(matches!(
            cx.after("b", Duration::MAX),
            Err(HookError::Interval { .. })
        ));
        let own = cx.set("hersh:timer:a", &1).unwrap_err();
        assert!(matches!(own, HookError::OwnKey { .. }), "{own}");
        assert!(!cx.remove("hersh:timer:a") && cx.unwatch("a"));
        Err(Control::stop("seen").into())
    };
    let run = Test::new(managed).start();
    assert_eq!(run.ending().to_string(), "Stopped: seen");
}

#[tokio::test(start_paused = true)]
async fn a_life_with_timers_replays_from_each_of_its_parts() {
    let (state, journal) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    async fn managed(cx: &mut Context) -> crate::Result {
        let every = cx.every("every", "*/7 * * * *")?;
        let after = cx.after("after", HOUR)?;
        cx.log(format!("{} {}", seen(&every), seen(&after)));
        if every.is_due() {
            cx.update("count", |n: u64| n + 1)?;
        }
        if after.is_due() {
            cx.unwatch("after");
        }
        Ok(())
    }
    let limits = crate::JournalLimits {
        part_bytes: 900,
        ..crate::JournalLimits::default()
    };
    let builder = plain().state_dir(state.path()).journal_dir(journal.path());
    play(builder.journal_limits(limits), managed, async |watcher| {
        pass(5 * 3_600_000).await;
        watcher.stop("done");
    })
    .await;
    let mut parts = 0;
    for file in std::fs::read_dir(journal.path()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|it| it == "journal") {
            let replayed = replay(&path, managed);
            replayed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            parts += 1;
        }
    }
    assert!(parts > 3, "{parts}");
}
