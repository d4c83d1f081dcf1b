//! Stop, kill, crash; the cleanup; what is kept.

use std::time::Duration;

use super::*;
use crate::{Control, EndKind, WatcherState};

/// An error of a user's own that carries a control value inside.
#[derive(Debug, thiserror::Error)]
#[error("while trading")]
struct Wrapped(#[source] Control);

/// Returns the control value that a message asks for, wrapped in an error.
fn wish(message: &str) -> crate::Result {
    match message {
        "stop" => Err(Wrapped(Control::stop("said so")).into()),
        "kill" => Err(Wrapped(Control::kill("said so")).into()),
        "crash" => Err(Wrapped(Control::crash("said so")).into()),
        _ => Ok(()),
    }
}

#[tokio::test(start_paused = true)]
async fn control_is_seen_however_deep_and_cleans_up_once() {
    for (message, kind) in [
        ("stop", EndKind::Stopped),
        ("kill", EndKind::Killed),
        ("crash", EndKind::Crashed),
    ] {
        let notes = Notes::new();
        let seen = notes.clone();
        let builder = plain();
        let managed = async |cx: &mut Context| match cx.message() {
            None => Ok(()),
            Some(message) => {
                cx.set("last", message.as_ref())?;
                wish(&message)
            }
        };
        let count = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let cleanups = count.clone();
        let builder = builder.cleanup(async move |_: &mut Context| -> crate::Result {
            cleanups.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        });
        let ending = play(builder, managed, async |watcher| {
            watcher.send(message).unwrap();
            watcher.send("never served").unwrap();
            watcher.wait().await;
            // Stopping again, or by other means, neither hangs nor changes anything.
            watcher.stop("again");
            watcher.kill("again");
            assert_eq!(watcher.wait().await.kind, kind);
            let kept: Option<String> = watcher.value("last").unwrap();
            assert_eq!(kept.is_some(), kind != EndKind::Crashed);
            seen.add(watcher.logs().last().unwrap().message.as_ref());
        })
        .await;
        assert_eq!(ending.kind, kind);
        assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 1);
        let served = format!("{ending} (1 messages were not served)");
        assert_eq!(notes.texts(), [served]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_run_within_the_grace_then_drops_it() {
    for (run_ms, stopped_ms) in [(3_000, 3_000), (3_600_000, 6_000)] {
        let managed = async move |cx: &mut Context| -> crate::Result {
            if cx.message().is_some() {
                pass(run_ms).await;
            }
            Ok(())
        };
        let started = Instant::now();
        let ending = play(plain(), managed, async |watcher| {
            watcher.send("work").unwrap();
            pass(1_000).await;
            watcher.stop("enough");
            pass(10).await;
            watcher.stop("a second stop changes nothing");
        })
        .await;
        assert_eq!(ending.to_string(), "Stopped: enough");
        assert_eq!(started.elapsed(), Duration::from_millis(stopped_ms));
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_drops_the_run_at_once_and_cleans_up() {
    let managed = async |cx: &mut Context| -> crate::Result {
        if cx.message().is_some() {
            pass(3_600_000).await;
        }
        Ok(())
    };
    let builder = plain().cleanup(async |cx: &mut Context| -> crate::Result {
        cx.log("cleaned");
        Ok(())
    });
    let started = Instant::now();
    let ending = play(builder, managed, async |watcher| {
        watcher.send("work").unwrap();
        pass(1_000).await;
        watcher.kill("now");
        watcher.wait().await;
        let logs = watcher.logs();
        let texts: Vec<&str> = logs.iter().map(|line| line.message.as_ref()).collect();
        assert_eq!(texts, ["ready", "cleaned", "Killed: now"]);
    })
    .await;
    assert_eq!(ending.to_string(), "Killed: now");
    assert_eq!(started.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_cleanup_that_panics_or_hangs_ends_all_the_same() {
    let panics = async |_: &mut Context| -> crate::Result { panic!("in the cleanup") };
    let hangs = async |_: &mut Context| -> crate::Result {
        pass(3_600_000).await;
        Ok(())
    };
    let short = Duration::from_secs(2);
    for builder in [
        plain().cleanup(panics),
        plain().cleanup_timeout(short).cleanup(hangs),
    ] {
        let managed = async |_: &mut Context| -> crate::Result { Ok(()) };
        let ending = play(builder, managed, async |watcher| {
            assert_eq!(watcher.ready().await, Ok(()));
            watcher.stop("done");
            watcher.wait().await;
            let logs = watcher.logs();
            assert!(logs[1].message.starts_with("cleanup failed: "));
        })
        .await;
        assert_eq!(ending.kind, EndKind::Stopped);
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_during_a_hanging_cleanup_ends_at_once() {
    let builder = plain().cleanup(async |_: &mut Context| -> crate::Result {
        pass(3_600_000).await;
        Ok(())
    });
    let managed = async |_: &mut Context| -> crate::Result { Ok(()) };
    let started = Instant::now();
    let ending = play(builder, managed, async |watcher| {
        watcher.stop("done");
        pass(1_000).await;
        assert_eq!(watcher.status().state, WatcherState::Stopping);
        assert_eq!(watcher.send("x"), Err(crate::SendError::NotRunning));
        watcher.kill("now");
    })
    .await;
    assert_eq!(ending.kind, EndKind::Killed);
    assert_eq!(started.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_comes_before_messages_that_wait() {
    let notes = Notes::new();
    let seen = notes.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        if let Some(message) = cx.message() {
            seen.add(message.as_ref());
            pass(100).await;
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        for message in ["1", "2", "3"] {
            watcher.send(message).unwrap();
        }
        pass(50).await;
        watcher.stop("enough");
    })
    .await;
    assert_eq!(notes.texts(), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_cleanup_sets_is_kept_and_it_registers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let managed = async |_: &mut Context| -> crate::Result { Ok(()) };
    let builder =
        plain()
            .state_dir(folder.path())
            .cleanup(async |cx: &mut Context| -> crate::Result {
                let refused = cx.watch_tick("late", Duration::from_secs(1));
                assert!(matches!(refused, Err(crate::HookError::OutsideRun { .. })));
                cx.set("closed", &true)?;
                Ok(())
            });
    let stop = async |watcher: &Watcher| watcher.stop("done");
    play(builder, managed, stop).await;
    let text = std::fs::read_to_string(folder.path().join("context.json")).unwrap();
    assert_eq!(text, "{\"version\":1,\"values\":{\"closed\":true}}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_run_comes_before_the_next_message() {
    let handle = Rc::new(RefCell::new(None::<Watcher>));
    let held = handle.clone();
    let notes = Notes::new();
    let seen = notes.clone();
    let managed = async move |cx: &mut Context| -> crate::Result {
        if let Some(message) = cx.message() {
            seen.add(message.as_ref());
            held.borrow().as_ref().unwrap().stop("enough");
        }
        Ok(())
    };
    play(plain(), managed, async |watcher| {
        handle.replace(Some(watcher.clone()));
        for message in ["1", "2", "3"] {
            watcher.send(message).unwrap();
        }
    })
    .await;
    assert_eq!(notes.texts(), ["1"]);
}
