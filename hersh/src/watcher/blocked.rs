//! The health of watchers whose thread is really blocked, looked at from another one.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::shared::{Health, Holder, Stall};
use crate::{Builder, Context, Result, Watcher};

const PATIENCE: Duration = Duration::from_secs(30);
const TURN_LIMIT_MS: u64 = 10_000;

/// Blocks its thread until the test lets it go.
struct Block {
    entered: Sender<()>,
    released: Receiver<()>,
}

impl Block {
    fn block(&self) {
        let _ = self.entered.send(());
        let _ = self.released.recv();
    }
}

/// The test's side of a [`Block`]. Dropping it lets the thread go.
struct Blocked {
    entered: Receiver<()>,
    _release: Sender<()>,
}

impl Blocked {
    fn wait(&self) {
        self.entered.recv_timeout(PATIENCE).unwrap();
    }
}

fn block() -> (Block, Blocked) {
    let (enters, entered) = mpsc::channel();
    let (_release, released) = mpsc::channel();
    let block = Block {
        entered: enters,
        released,
    };
    (block, Blocked { entered, _release })
}

fn plain() -> Builder {
    Watcher::builder("blocked")
}

/// Returns how the watcher is, and how it would be if that lasted `ms` longer.
fn now_and_after(watcher: &Watcher, ms: u64) -> (Health, Health) {
    let now_ms = watcher.shared.clock.now_ms();
    let at = |ms| watcher.shared.health_at(ms);
    (at(now_ms), at(now_ms + ms))
}

/// Waits until the watcher is over, once nothing blocks it.
async fn end(watcher: Watcher, blocked: Blocked) {
    drop(blocked);
    watcher.kill("done");
    tokio::time::timeout(PATIENCE, watcher.wait())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_run_that_blocks_its_thread_is_stalled_after_10_s() {
    let (block, blocked) = block();
    let managed = async move |cx: &mut Context| -> Result {
        if cx.message().is_some() {
            block.block();
        }
        Ok(())
    };
    let watcher = plain().start(managed).await.unwrap();
    watcher.ready().await.unwrap();
    watcher.send("block").unwrap();
    blocked.wait();
    let (now, later) = now_and_after(&watcher, TURN_LIMIT_MS + 1);
    assert_eq!(now.stall, None);
    assert_eq!(later.stall, Some(Stall::Held(Holder::Loop)));
    let since_ms = now.run_since_ms.unwrap();
    let at = |ms| watcher.shared.health_at(since_ms + ms).stall;
    assert_eq!(at(TURN_LIMIT_MS), None);
    assert_eq!(at(TURN_LIMIT_MS + 1), later.stall);
    end(watcher, blocked).await;
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_blocks_for_an_hour_is_looked_at_twice() {
    let (block, blocked) = block();
    let managed = async move |_: &mut Context| -> Result {
        block.block();
        Ok(())
    };
    let watcher = plain().start(managed).await.unwrap();
    blocked.wait();
    assert_eq!(watcher.shared.health().await.stall, None);
    // Only this side's time passes: the engine's thread has a runtime of its own.
    tokio::time::advance(Duration::from_secs(3_600)).await;
    let before = tokio::time::Instant::now();
    let stall = watcher.shared.health().await.stall;
    assert_eq!(stall, Some(Stall::LateRun));
    assert!(before.elapsed() >= Duration::from_millis(100));
    drop(blocked);
    watcher.ready().await.unwrap();
    idle(&watcher).await;
    assert_eq!(watcher.shared.health().await.stall, None);
}

/// Waits until the engine's thread does nothing.
async fn idle(watcher: &Watcher) {
    while watcher.shared.heartbeat.read().busy.is_some() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_run_that_blocks_after_an_await_is_stalled_too() {
    let (block, blocked) = block();
    let (open, gate) = oneshot::channel();
    let mut gate = Some(gate);
    let managed = async move |cx: &mut Context| -> Result {
        if cx.message().is_some()
            && let Some(gate) = gate.take()
        {
            let _ = block.entered.send(());
            gate.await?;
            block.block();
        }
        Ok(())
    };
    let builder = plain().run_timeout(Duration::from_secs(1_000));
    let watcher = builder.start(managed).await.unwrap();
    watcher.send("block").unwrap();
    blocked.wait();
    idle(&watcher).await;
    let (awaits, later) = now_and_after(&watcher, 900_000);
    assert_eq!((awaits.stall, later.stall), (None, None));
    open.send(()).unwrap();
    blocked.wait();
    let (now, later) = now_and_after(&watcher, TURN_LIMIT_MS + 1);
    assert_eq!(now.stall, None);
    assert_eq!(now.run_since_ms, awaits.run_since_ms);
    assert_eq!(later.stall, Some(Stall::Held(Holder::Loop)));
    end(watcher, blocked).await;
}

#[tokio::test]
async fn a_source_that_blocks_the_thread_is_told_as_such() {
    let (block, blocked) = block();
    let block = Arc::new(Mutex::new(block));
    let managed = async move |cx: &mut Context| -> Result {
        let block = block.clone();
        let poll = async move || {
            block.lock().unwrap().block();
            Ok::<_, crate::Error>(1)
        };
        cx.watch_call("call", Duration::from_secs(1), 0, poll)?;
        Ok(())
    };
    let watcher = plain().start(managed).await.unwrap();
    blocked.wait();
    let (now, later) = now_and_after(&watcher, TURN_LIMIT_MS + 1);
    assert_eq!((now.stall, now.run_since_ms), (None, None));
    assert_eq!(later.stall, Some(Stall::Held(Holder::Source)));
    end(watcher, blocked).await;
}

#[tokio::test]
async fn a_task_that_blocks_the_thread_is_told_once_something_waits() {
    let (block, blocked) = block();
    let (open, gate) = oneshot::channel();
    let mut parts = Some((block, gate));
    let managed = async move |_: &mut Context| -> Result {
        if let Some((block, gate)) = parts.take() {
            tokio::spawn(async move {
                let _ = gate.await;
                block.block();
            });
        }
        Ok(())
    };
    let watcher = plain().start(managed).await.unwrap();
    watcher.ready().await.unwrap();
    idle(&watcher).await;
    open.send(()).unwrap();
    blocked.wait();
    let (_, later) = now_and_after(&watcher, TURN_LIMIT_MS + 1);
    assert_eq!(later.stall, None, "nothing waits");
    watcher.send("waits").unwrap();
    let (now, later) = now_and_after(&watcher, TURN_LIMIT_MS + 1);
    assert_eq!((now.stall, later.stall), (None, Some(Stall::NotTakenIn)));
    end(watcher, blocked).await;
}

#[tokio::test]
async fn a_cleanup_that_blocks_its_thread_is_stalled() {
    let (block, blocked) = block();
    let cleanup = async move |_: &mut Context| -> Result {
        block.block();
        Ok(())
    };
    let managed = async |_: &mut Context| -> Result { Ok(()) };
    let watcher = plain().cleanup(cleanup).start(managed).await.unwrap();
    watcher.stop("done");
    blocked.wait();
    let (now, later) = now_and_after(&watcher, TURN_LIMIT_MS + 1);
    assert_eq!((now.stall, now.run_since_ms), (None, None));
    assert_eq!(later.stall, Some(Stall::Held(Holder::Loop)));
    end(watcher, blocked).await;
}
