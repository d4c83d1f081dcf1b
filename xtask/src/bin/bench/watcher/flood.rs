//! A flood of messages, and the thread that it comes from.

use std::{sync::Arc, thread};

use anyhow::{Result, bail};

/// Sends `count` messages, each one a new string as a real sender makes it. `is_sent` says
/// whether there was room.
pub(crate) fn flood(count: u64, is_sent: impl Fn(Arc<str>) -> Result<bool>) -> Result<()> {
    for _ in 0..count {
        while !is_sent("message".into())? {
            thread::yield_now();
        }
    }
    Ok(())
}

/// What the thread returned.
pub(crate) fn join<T>(thread: thread::JoinHandle<Result<T>>) -> Result<T> {
    match thread.join() {
        Ok(result) => result,
        Err(_) => bail!("a thread of the measurement panicked"),
    }
}
