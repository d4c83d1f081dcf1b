//! A watcher inside another program: real threads, real time, real files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hersh::{Context, Control, EndKind, Error, Result, StartError, Watcher, WatcherState};

/// Longest that any wait of these tests may take.
const PATIENCE: Duration = Duration::from_secs(30);

async fn ended(watcher: &Watcher) -> hersh::Ending {
    tokio::time::timeout(PATIENCE, watcher.wait())
        .await
        .expect("the watcher ends")
}

#[tokio::test]
async fn messages_of_many_senders_run_once_in_each_senders_order() {
    const SENDERS: usize = 8;
    const EACH: usize = 125_000;
    let mut last = BTreeMap::<String, usize>::new();
    let mut served = 0;
    let watcher = Watcher::builder("order")
        .start(async move |cx: &mut Context| -> Result {
            let Some(message) = cx.message() else {
                return Ok(());
            };
            let (sender, number) = message.split_once(' ').unwrap();
            let expected = last.entry(sender.into()).or_default();
            let number: usize = number.parse()?;
            assert_eq!(number, *expected, "the order of {sender}");
            *expected += 1;
            served += 1;
            if served == SENDERS * EACH {
                return Err(Control::stop("all served").into());
            }
            Ok(())
        })
        .await
        .unwrap();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let watcher = watcher.clone();
            std::thread::spawn(move || {
                for number in 0..EACH {
                    while watcher.send(format!("{sender} {number}")).is_err() {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let ending = ended(&watcher).await;
    assert_eq!(ending.to_string(), "Stopped: all served");
    for sender in senders {
        sender.join().unwrap();
    }
    assert_eq!(watcher.status().runs, 1 + (SENDERS * EACH) as u64);
}

/// Says when it is dropped.
struct Held(mpsc::Sender<&'static str>, &'static str);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.send(self.1);
    }
}

#[tokio::test]
async fn the_end_frees_sources_memos_and_what_the_function_holds() {
    let (freed, frees) = mpsc::channel();
    let held = Held(freed.clone(), "function");
    let watcher = Watcher::builder("held")
        .start(async move |cx: &mut Context| -> Result {
            let _ = &held;
            let (poll, stream) = (Held(freed.clone(), "poll"), Held(freed.clone(), "stream"));
            let second = Duration::from_secs(1);
            cx.watch_call("call", second, 0, async move || {
                let _ = &poll;
                std::future::pending::<Result<u8>>().await
            })?;
            let open = move || {
                futures_util::stream::poll_fn(move |_| {
                    let _ = &stream;
                    std::task::Poll::<Option<Result<u8>>>::Pending
                })
            };
            cx.watch_flow("flow", 0, open)?;
            let kept = freed.clone();
            cx.memo("memo", || Held(kept, "memo"))?;
            Ok(())
        })
        .await
        .unwrap();
    watcher.ready().await.unwrap();
    watcher.stop("done");
    ended(&watcher).await;
    let mut all: Vec<&str> = (0..4)
        .map(|_| frees.recv_timeout(PATIENCE).unwrap())
        .collect();
    all.sort_unstable();
    assert_eq!(all, ["function", "memo", "poll", "stream"]);
}

#[tokio::test]
async fn a_flood_of_messages_starves_no_tick() {
    let watcher = Watcher::builder("flood")
        .start(async |cx: &mut Context| -> Result {
            let tick = cx.watch_tick("tick", Duration::from_millis(5))?;
            if tick.is_triggered(cx) && tick.count >= 20 {
                return Err(Control::stop("ticked").into());
            }
            Ok(())
        })
        .await
        .unwrap();
    let sender = watcher.clone();
    let flood = std::thread::spawn(move || {
        // A full queue is part of the flood; only the end ends it.
        while !matches!(sender.send("x"), Err(hersh::SendError::NotRunning)) {}
    });
    assert_eq!(ended(&watcher).await.to_string(), "Stopped: ticked");
    flood.join().unwrap();
}

#[tokio::test]
async fn ticks_that_pass_while_a_run_blocks_its_thread_are_counted() {
    let watcher = Watcher::builder("late")
        .start(async |cx: &mut Context| -> Result {
            let tick = cx.watch_tick("tick", Duration::from_millis(1))?;
            if cx.triggered().init {
                let began = Instant::now();
                while began.elapsed() < Duration::from_millis(50) {}
            }
            if tick.is_triggered(cx) {
                let reason = if tick.count >= 40 { "all" } else { "some" };
                return Err(Control::stop(reason).into());
            }
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(ended(&watcher).await.to_string(), "Stopped: all");
}

#[tokio::test]
async fn after_the_end_nothing_lives_on() {
    struct Live(mpsc::Sender<()>);
    let (live, gone) = mpsc::channel();
    let live = Live(live);
    let watcher = Watcher::builder("leak")
        .start(async move |cx: &mut Context| -> Result {
            cx.watch_tick("tick", Duration::from_millis(1))?;
            // The function holds one sender, a task that it left behind another.
            let live = live.0.clone();
            tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(live);
            });
            Ok(())
        })
        .await
        .unwrap();
    watcher.ready().await.unwrap();
    watcher.stop("done");
    watcher.stop("twice");
    assert_eq!(ended(&watcher).await.to_string(), "Stopped: done");
    assert_eq!(gone.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    assert_eq!(watcher.send("x"), Err(hersh::SendError::NotRunning));
    assert_eq!(watcher.status().state, WatcherState::Stopped);
}

#[tokio::test]
async fn a_watcher_without_handles_stops() {
    let (stopped, stops) = mpsc::channel();
    let watcher = Watcher::builder("dropped")
        .cleanup(async move |_: &mut Context| -> Result {
            let _ = stopped.send(());
            Ok(())
        })
        .start(async |_: &mut Context| -> Result { Ok(()) })
        .await
        .unwrap();
    watcher.ready().await.unwrap();
    drop(watcher);
    stops.recv_timeout(PATIENCE).unwrap();
}

#[tokio::test]
async fn a_blocking_function_holds_up_neither_status_nor_send() {
    let (entered, enters) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let watcher = Watcher::builder("blocking")
        .start(async move |cx: &mut Context| -> Result {
            if cx.message().is_some() {
                entered.send(())?;
                released.recv()?;
            }
            Ok(())
        })
        .await
        .unwrap();
    watcher.send("block").unwrap();
    enters.recv_timeout(PATIENCE).unwrap();
    assert_eq!(watcher.status().state, WatcherState::Running);
    watcher.send("waits").unwrap();
    assert_eq!(watcher.status().waiting_messages, 1);
    drop(release);
    watcher.kill("enough");
    assert_eq!(ended(&watcher).await.kind, EndKind::Killed);
}

#[tokio::test]
async fn a_restart_finds_the_context_and_a_folder_serves_one_watcher() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        Watcher::builder("durable").state_dir(folder.path()).start(
            async |cx: &mut Context| -> Result {
                cx.update("starts", |starts: u32| starts + 1)?;
                Ok(())
            },
        )
    };
    for starts in 1..=3 {
        let watcher = start().await.unwrap();
        watcher.ready().await.unwrap();
        assert_eq!(watcher.value("starts"), Ok(Some(starts)));
        let busy = start().await.unwrap_err();
        assert!(matches!(busy, StartError::StateDirBusy { .. }), "{busy}");
        watcher.stop("done");
        ended(&watcher).await;
    }
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused_by_name() {
    let managed = async |_: &mut Context| -> Result { Ok(()) };
    let no_failures = hersh::Recovery {
        max_consecutive_failures: 0,
        ..hersh::Recovery::default()
    };
    for (builder, setting) in [
        (Watcher::builder(""), "the watcher's name"),
        (
            Watcher::builder("x").run_timeout(Duration::ZERO),
            "run_timeout",
        ),
        (
            Watcher::builder("x").message_capacity(0),
            "message_capacity",
        ),
        (
            Watcher::builder("x").recovery(no_failures),
            "recovery.max_consecutive_failures",
        ),
    ] {
        let error = builder.start(managed).await.unwrap_err();
        assert!(error.to_string().starts_with(setting), "{error}");
    }
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_used_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Watcher::builder("x")
        .state_dir(file.join("below"))
        .start(async |_: &mut Context| -> Result { Ok(()) })
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::StateDir { .. }), "{error}");
}

#[tokio::test]
async fn own_error_types_and_plain_functions_will_do() {
    async fn managed(cx: &mut Context) -> std::result::Result<(), Control> {
        match cx.message() {
            Some(reason) => Err(Control::kill(reason)),
            None => Ok(()),
        }
    }
    let watcher = Watcher::builder("plain").start(managed).await.unwrap();
    watcher.send("because").unwrap();
    assert_eq!(ended(&watcher).await.to_string(), "Killed: because");
    let _: Error = Control::stop("it converts").into();
}
