//! The peer: a queue and a loop, by hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use hersh::MESSAGE_CAPACITY;
use tokio::sync::mpsc::{self, Sender, error::TrySendError};

use super::{
    flood::{self, join},
    runtime,
};

/// As long as a watcher's runs may take.
const RUN_TIMEOUT: Duration = Duration::from_secs(60);

/// How long `count` messages take.
pub(crate) fn flood(count: u64) -> Result<Duration> {
    let start = Instant::now();
    let (queue, receiver) = spawn(count, Arc::default());
    flood::flood(count, |message| send(&queue, message))?;
    join(receiver)?;
    Ok(start.elapsed())
}

/// Puts a message into the queue, if there is room.
pub(crate) fn send(queue: &Sender<Arc<str>>, message: Arc<str>) -> Result<bool> {
    match queue.try_send(message) {
        Ok(()) => Ok(true),
        Err(TrySendError::Full(_)) => Ok(false),
        Err(TrySendError::Closed(_)) => bail!("the bare loop has ended"),
    }
}

/// A loop on a thread of its own that ends after `count` messages and says how many it has seen.
pub(crate) fn spawn(
    count: u64,
    seen: Arc<AtomicU64>,
) -> (Sender<Arc<str>>, JoinHandle<Result<()>>) {
    let (queue, mut messages) = mpsc::channel::<Arc<str>>(MESSAGE_CAPACITY);
    let thread = thread::spawn(move || {
        runtime()?.block_on(async {
            for number in 1..=count {
                let Some(mut message) = messages.recv().await else {
                    bail!("the queue of the bare loop has closed");
                };
                tokio::time::timeout(RUN_TIMEOUT, nothing(&mut message)).await??;
                seen.store(number, Ordering::Release);
            }
            Ok(())
        })
    });
    (queue, thread)
}

async fn nothing(_: &mut Arc<str>) -> Result<()> {
    Ok(())
}
