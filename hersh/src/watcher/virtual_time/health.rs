//! The health of whole watchers: idle, at work, between tries, with a disk that hangs.

use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::WatcherState;
use crate::shared::{Health, Stall};

const HOUR_MS: u64 = 60 * 60 * 1_000;
/// When tests begin.
const BEGINNING_MS: u64 = 1_767_225_600_000;

/// Returns how the watcher is this many milliseconds after the beginning.
fn health_at(watcher: &Watcher, ms: u64) -> Health {
    watcher.shared.health_at(BEGINNING_MS + ms)
}

/// Returns how the watcher is now.
async fn health(watcher: &Watcher) -> Health {
    watcher.shared.health().await
}

#[tokio::test(start_paused = true)]
async fn an_idle_watcher_is_healthy_after_hours() {
    let managed = async |cx: &mut Context| -> crate::Result {
        cx.watch_tick("hour", Duration::from_millis(HOUR_MS))?;
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        pass(10 * HOUR_MS + 5_000).await;
        let expected = Health {
            state: WatcherState::Ready,
            run_since_ms: None,
            last_run_ms: Some(BEGINNING_MS + 10 * HOUR_MS),
            next_due_ms: Some(BEGINNING_MS + 11 * HOUR_MS),
            saving_since_ms: None,
            stall: None,
        };
        assert_eq!(health(watcher).await, expected);
        watcher.stop("done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_source_nothing_is_due_and_all_is_well() {
    let managed = async |_: &mut Context| -> crate::Result { Ok(()) };
    play(plain(), managed, async |watcher| {
        pass(100 * HOUR_MS).await;
        let health = health(watcher).await;
        assert_eq!((health.stall, health.next_due_ms), (None, None));
        watcher.stop("done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_awaits_within_its_time_out_is_healthy() {
    let managed = async |cx: &mut Context| -> crate::Result {
        if cx.message().is_some() {
            pass(3 * HOUR_MS).await;
        }
        Ok(())
    };
    let builder = plain().run_timeout(Duration::from_millis(4 * HOUR_MS));
    play(builder, managed, async |watcher| {
        pass(1_000).await;
        watcher.send("work").unwrap();
        pass(HOUR_MS).await;
        // What comes in meanwhile is taken in, and waits for its run.
        watcher.send("more work").unwrap();
        pass(HOUR_MS).await;
        let health = health(watcher).await;
        assert_eq!(health.stall, None);
        assert_eq!(health.run_since_ms, Some(BEGINNING_MS + 1_000));
        assert_eq!(health.last_run_ms, Some(BEGINNING_MS));
        pass(2 * HOUR_MS).await;
        let health = watcher.shared.health().await;
        let next_run = BEGINNING_MS + 1_000 + 3 * HOUR_MS;
        assert_eq!(health.run_since_ms, Some(next_run));
        watcher.kill("done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_first_run_that_fails_is_healthy_and_its_retry_is_due() {
    let managed = async |_: &mut Context| Err(Error::msg("no"));
    play(plain(), managed, async |watcher| {
        // The second try fails as well.
        for due_ms in [15_000, 45_000] {
            pass(14_000).await;
            let health = health(watcher).await;
            assert_eq!((health.stall, health.run_since_ms), (None, None));
            assert_eq!(health.state, WatcherState::InitRun);
            assert_eq!(health.next_due_ms, Some(BEGINNING_MS + due_ms));
            pass(2_000).await;
        }
        watcher.stop("done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_due_and_while_it_lasts_nothing_is() {
    let managed = async |cx: &mut Context| -> crate::Result {
        cx.watch_call("slow", Duration::from_secs(60), 0, async || {
            pass(25_000).await;
            Ok::<_, Error>(1)
        })?;
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        pass(20_000).await;
        assert_eq!(health(watcher).await.next_due_ms, None);
        pass(20_000).await;
        let due_ms = Some(BEGINNING_MS + 60_000);
        assert_eq!(health(watcher).await.next_due_ms, due_ms);
        pass(40_000).await;
        let health = health(watcher).await;
        assert_eq!((health.next_due_ms, health.stall), (None, None));
        watcher.stop("done");
    })
    .await;
}

/// Plays a watcher whose disk hangs until the sender is dropped: the one thread that writes files
/// is taken.
fn with_a_disk_that_hangs(builder: Builder, script: impl AsyncFnOnce(&Watcher, mpsc::Sender<()>)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .start_paused(true)
        .build()
        .unwrap();
    let managed = async |cx: &mut Context| -> crate::Result {
        if let Some(message) = cx.message() {
            cx.set("last", message.as_ref())?;
        }
        Ok(())
    };
    let play = async {
        let (release, released) = mpsc::channel();
        tokio::task::spawn_blocking(move || released.recv());
        play_here(builder, managed, async |watcher| {
            script(watcher, release).await;
            watcher.stop("done");
        })
        .await
    };
    let ending = LocalSet::new().block_on(&runtime, play);
    assert_eq!(ending.to_string(), "Stopped: done");
}

#[test]
fn a_save_that_hangs_is_told_and_its_end_is_too() {
    let folder = tempfile::tempdir().unwrap();
    let builder = plain().state_dir(folder.path());
    with_a_disk_that_hangs(builder, async |watcher, release| {
        watcher.send("5").unwrap();
        while health_at(watcher, 0).saving_since_ms.is_none() {
            tokio::task::yield_now().await;
        }
        let health = health_at(watcher, 10_000);
        assert_eq!(health.saving_since_ms, Some(BEGINNING_MS));
        assert_eq!((health.stall, health.run_since_ms), (None, None));
        assert_eq!(health_at(watcher, 10_001).stall, Some(Stall::Save));
        drop(release);
        while watcher.value::<String>("last").unwrap().is_none()
            || health_at(watcher, 10_001).saving_since_ms.is_some()
        {
            tokio::task::yield_now().await;
        }
        let health = health_at(watcher, 10_001);
        assert_eq!((health.stall, health.saving_since_ms), (None, None));
    });
}

#[test]
fn a_journal_that_hangs_is_told_and_its_end_is_too() {
    let folder = tempfile::tempdir().unwrap();
    let builder = plain().journal_dir(folder.path());
    with_a_disk_that_hangs(builder, async |watcher, release| {
        // The sync of the part's beginning waits; runs go on.
        watcher.ready().await.unwrap();
        let health = health_at(watcher, 10_000);
        assert_eq!(health.saving_since_ms, Some(BEGINNING_MS));
        assert_eq!(health.stall, None);
        assert_eq!(health_at(watcher, 10_001).stall, Some(Stall::Save));
        drop(release);
        while health_at(watcher, 10_001).stall.is_some() {
            tokio::task::yield_now().await;
        }
    });
}
