//! Failures, time-outs, panics and the way back.

use std::time::Duration;

use super::*;
use crate::{EndKind, HookError, Recovery, WatcherState};

#[tokio::test(start_paused = true)]
async fn a_failing_program_crashes_on_time_to_the_millisecond() {
    let notes = Notes::new();
    let seen = notes.clone();
    let managed = async move |_: &mut Context| {
        seen.add("run");
        Err(Error::msg("never"))
    };
    let ending = play(plain(), managed, async |watcher| {
        assert_eq!(watcher.ready().await, Err(watcher.wait().await));
    })
    .await;
    assert_eq!(
        notes.times_ms(),
        [0, 15_000, 45_000, 50_000, 60_000, 80_000]
    );
    assert_eq!(ending.kind, EndKind::Crashed);
    assert_eq!(
        ending.reason.as_ref(),
        "6 failed runs in a row; the last: never"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_retry_delay_is_served_at_once() {
    let managed = async |_: &mut Context| Err(Error::msg("never"));
    let started = Instant::now();
    let ending = play(plain(), managed, async |watcher| {
        pass(46_000).await;
        assert_eq!(watcher.status().state, WatcherState::WaitRecover);
        watcher.stop("enough");
    })
    .await;
    assert_eq!(ending.kind, EndKind::Stopped);
    assert_eq!(started.elapsed(), Duration::from_secs(46));
}

#[tokio::test(start_paused = true)]
async fn a_timed_out_run_is_gone_before_the_next_begins() {
    let notes = Notes::new();
    let seen = notes.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        seen.add(format!("begin {:?}", cx.value::<u32>("half")?));
        let _guard = Guard(seen.clone(), "end");
        if cx.message().is_some() && !cx.triggered().recovery {
            cx.set("half", &1)?;
            pass(3_600_000).await;
        }
        Ok(())
    };
    let builder = plain().run_timeout(Duration::from_secs(2));
    play(builder, managed, async |watcher| {
        watcher.send("hang").unwrap();
        pass(20_000).await;
        watcher.stop("done");
    })
    .await;
    assert_eq!(
        notes.texts(),
        [
            "begin None",
            "end",
            "begin None",
            "end",
            "begin None",
            "end"
        ]
    );
    assert_eq!(notes.times_ms(), [0, 0, 0, 2_000, 17_000, 17_000]);
}

#[tokio::test(start_paused = true)]
async fn an_always_timing_out_function_crashes_too() {
    let managed = async |_: &mut Context| -> crate::Result {
        std::future::pending::<()>().await;
        Ok(())
    };
    let builder = plain().run_timeout(Duration::from_secs(1));
    let ending = play(builder, managed, async |_| {}).await;
    let reason = "6 failed runs in a row; the last: the run did not end within 1000 ms";
    assert_eq!(ending.reason.as_ref(), reason);
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_the_run_and_captured_state_lives_on() {
    let mut runs = 0;
    let managed = async move |cx: &mut Context| -> crate::Result {
        runs += 1;
        cx.set("runs", &runs)?;
        assert!(runs != 2, "the second run breaks");
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        watcher.send("x").unwrap();
        pass(1).await;
        assert_eq!(watcher.status().consecutive_failures, 1);
        assert_eq!(watcher.value("runs"), Ok(Some(1)));
        pass(15_000).await;
        assert_eq!(watcher.status().consecutive_failures, 0);
        assert_eq!(watcher.value("runs"), Ok(Some(3)));
        let logs = watcher.logs();
        assert!(logs[1].message.contains("panicked: the second run breaks"));
        watcher.stop("done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_run_is_dropped_ends_nothing_but_the_run() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped badly");
        }
    }
    let managed = async |cx: &mut Context| -> crate::Result {
        if cx.message().is_some() && !cx.triggered().recovery {
            let _bomb = Bomb;
            pass(3_600_000).await;
        }
        Ok(())
    };
    let builder = plain().run_timeout(Duration::from_secs(1));
    let ending = play(builder, managed, async |watcher| {
        watcher.send("x").unwrap();
        pass(16_500).await;
        assert_eq!(watcher.status().state, WatcherState::Ready);
        assert_eq!(watcher.status().consecutive_failures, 0);
        watcher.stop("done");
    })
    .await;
    assert_eq!(ending.kind, EndKind::Stopped);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_failures_before_the_crash_is_configured() {
    let notes = Notes::new();
    let seen = notes.clone();
    let managed = async move |_: &mut Context| {
        seen.add("run");
        Err(Error::msg("never"))
    };
    let builder = plain().recovery(Recovery {
        min_consecutive_failures: 1,
        max_consecutive_failures: 3,
        base_delay_ms: 7,
        ..Recovery::default()
    });
    play(builder, managed, async |_| {}).await;
    assert_eq!(notes.times_ms(), [0, 7, 21]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_cannot_be_set_up_crashes_the_first_run_at_once() {
    let managed = async |cx: &mut Context| -> crate::Result {
        cx.watch_tick("tick", Duration::ZERO)?;
        Ok(())
    };
    let ending = play(plain(), managed, async |_| {}).await;
    assert_eq!(ending.kind, EndKind::Crashed);
    assert_eq!(
        ending.reason.as_ref(),
        "watch_tick(\"tick\"): an interval of 0ns is not usable: give 1ms to 31622400s"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hook_error_that_is_handled_fails_nothing() {
    let managed = async |cx: &mut Context| -> crate::Result {
        let error = cx.watch_tick("tick", Duration::ZERO).unwrap_err();
        assert!(matches!(error, HookError::Interval { .. }));
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        assert_eq!(watcher.ready().await, Ok(()));
        watcher.stop("done");
    })
    .await;
}

/// An error that panics when its text is asked for.
#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("no words")
    }
}

impl std::error::Error for Unspeakable {}

#[tokio::test(start_paused = true)]
async fn an_error_whose_text_panics_fails_the_run() {
    let managed = async |cx: &mut Context| -> crate::Result {
        let poll = async || Err::<u8, _>(Unspeakable);
        cx.watch_call("call", Duration::from_secs(1), 0, poll)?;
        match cx.message() {
            Some(_) => Err(Unspeakable.into()),
            None => Ok(()),
        }
    };
    let builder = plain().cleanup(async |cx: &mut Context| -> crate::Result {
        cx.log("cleaned");
        Err(Unspeakable.into())
    });
    let ending = play(builder, managed, async |watcher| {
        pass(3_500).await;
        let runs = watcher.status().runs;
        assert_eq!(runs, 5, "a run for each poll, the first one at once");
        watcher.send("x").unwrap();
        pass(1).await;
        assert_eq!(watcher.status().consecutive_failures, 1);
        watcher.stop("done");
        watcher.wait().await;
        let logs = watcher.logs();
        let texts: Vec<&str> = logs.iter().map(|line| line.message.as_ref()).collect();
        assert!(texts.contains(&"call: panicked: no words"), "{texts:?}");
        assert!(texts.contains(&"cleaned"), "{texts:?}");
        assert!(
            texts.contains(&"cleanup failed: panicked: no words"),
            "{texts:?}"
        );
    })
    .await;
    assert_eq!(ending.to_string(), "Stopped: done");
}
