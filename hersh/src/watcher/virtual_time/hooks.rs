//! Durable context, environment, time, registration.

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::{EndKind, HookError, WATCH_LIMIT};

async fn adder(cx: &mut Context) -> crate::Result {
    if let Some(message) = cx.message() {
        let number: i64 = message.parse()?;
        cx.update("total", |total: i64| total + number)?;
        cx.set("last", &number)?;
        if number < 0 {
            return Err(Error::msg("negative"));
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_context_survives_a_restart_but_no_failed_run() {
    let folder = tempfile::tempdir().unwrap();
    let builder = || plain().state_dir(folder.path());
    play(builder(), adder, async |watcher| {
        watcher.send("5").unwrap();
        watcher.send("7").unwrap();
        watcher.send("-100").unwrap();
        pass(60_000).await;
        watcher.stop("done");
    })
    .await;
    let check = async |cx: &mut Context| -> crate::Result {
        assert_eq!(cx.value("total"), Ok(Some(12)));
        assert_eq!(cx.value("last"), Ok(Some(7)));
        assert_eq!(cx.value::<i64>("other"), Ok(None));
        Err(crate::Control::stop("checked").into())
    };
    let ending = play(builder(), check, async |_| {}).await;
    assert_eq!(ending.kind, EndKind::Stopped, "{ending}");
}

#[tokio::test(start_paused = true)]
async fn the_context_is_on_disk_before_it_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    play(plain().state_dir(folder.path()), adder, async |watcher| {
        for number in 1..=20 {
            watcher.send(number.to_string()).unwrap();
            while watcher.status().waiting_messages > 0 {
                tokio::task::yield_now().await;
            }
            if let Some(shown) = watcher.value::<i64>("total").unwrap() {
                let saved = crate::store::StateDir::look(folder.path());
                assert!(saved.values["total"].parse::<i64>().unwrap() >= shown);
            }
        }
        watcher.stop("done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_context_that_cannot_be_saved_fails_the_run() {
    let folder = tempfile::tempdir().unwrap();
    play(plain().state_dir(folder.path()), adder, async |watcher| {
        watcher.send("5").unwrap();
        pass(10).await;
        break_disk(&folder);
        watcher.send("7").unwrap();
        pass(10).await;
        assert_eq!(watcher.status().consecutive_failures, 1);
        assert_eq!(watcher.value("total"), Ok(Some(5)));
        mend_disk(&folder);
        pass(15_000).await;
        watcher.send("1").unwrap();
        pass(10).await;
        assert_eq!(watcher.value("total"), Ok(Some(13)));
        watcher.stop("done");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn reading_the_context_around_an_update_never_deadlocks() {
    let managed = async |cx: &mut Context| -> crate::Result {
        let before: u32 = cx.value("n")?.unwrap_or(1);
        let after = cx.update("n", |n: u32| n + before)?;
        assert_eq!(cx.value("n")?, Some(after));
        Err(crate::Control::stop("read").into())
    };
    let ending = play(plain(), managed, async |_| {}).await;
    assert_eq!(ending.to_string(), "Stopped: read");
}

#[tokio::test(start_paused = true)]
async fn environment_and_time_come_through_the_context() {
    let builder = plain().env([("COLOUR", "blue")]);
    let managed = async |cx: &mut Context| -> crate::Result {
        assert_eq!(cx.env("COLOUR").as_deref(), Some("blue"));
        assert_eq!(cx.env("SIZE"), None);
        if cx.message().is_some() {
            let now = cx.now();
            assert_eq!(now, UNIX_EPOCH + Duration::from_millis(1_767_225_602_500));
            pass(500).await;
            assert_eq!(cx.now(), now, "time stands still within a run");
            return Err(crate::Control::stop("seen").into());
        }
        Ok(())
    };
    let ending = play(builder, managed, async |watcher| {
        pass(2_500).await;
        watcher.send("x").unwrap();
    })
    .await;
    assert_eq!(ending.to_string(), "Stopped: seen");
}

#[tokio::test(start_paused = true)]
async fn registration_is_checked_by_name_interval_and_limit() {
    let managed = async |cx: &mut Context| -> crate::Result {
        let second = Duration::from_secs(1);
        cx.watch_tick("a", second)?;
        let clash = cx.watch_tick("a", second * 2).unwrap_err();
        assert_eq!(
            clash.to_string(),
            "watch_tick(\"a\"): registered as a tick every 1s, asked for as a tick every 2s: \
             use another name"
        );
        let name = cx.watch_tick("", second).unwrap_err();
        assert!(matches!(name, HookError::Name { .. }));
        let long = cx.watch_tick("b", Duration::MAX).unwrap_err();
        assert!(matches!(long, HookError::Interval { .. }));
        for n in 1..WATCH_LIMIT {
            cx.watch_tick(&format!("tick {n}"), second)?;
        }
        let limit = cx.watch_tick("one more", second).unwrap_err();
        assert!(matches!(limit, HookError::Limit { limit: 1_000, .. }));
        cx.watch_tick("a", second)?;
        Err(crate::Control::stop("checked").into())
    };
    let ending = play(plain(), managed, async |_| {}).await;
    assert_eq!(ending.to_string(), "Stopped: checked");
}
