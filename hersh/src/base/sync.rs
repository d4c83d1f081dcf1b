//! Locks and atomics, and the bell that wakes the engine. Built with `--cfg hersh_loom`, they are
//! loom's, which runs every schedule of the tests in `inbox/schedules.rs`.

#[cfg(not(hersh_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

#[cfg(not(hersh_loom))]
use futures_util::task::AtomicWaker;

#[cfg(hersh_loom)]
use loom::future::AtomicWaker;
#[cfg(hersh_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use std::future::poll_fn;
use std::sync::PoisonError;
use std::task::{Poll, Waker};

/// Locks a mutex, even after a panic of another holder: every critical section of this crate leaves
/// its data whole at each step.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value on cache lines of its own. What one thread writes all the time must not share a line with what
/// another reads all the time, or each write stops the reader: two neighbours in one struct cost a message a third
/// of its time. 128 bytes, because processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct OwnLines<T>(pub(crate) T);

impl<T> std::ops::Deref for OwnLines<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A bell that tells one waiter that something came in. Many may ring it; a ring that nobody waits
/// for is kept.
pub(crate) struct Bell {
    rung: AtomicBool,
    waiter: AtomicWaker,
}

impl Bell {
    /// Returns a silent bell.
    pub(crate) fn new() -> Self {
        Self {
            rung: AtomicBool::new(false),
            waiter: AtomicWaker::new(),
        }
    }

    /// Rings the bell. The thread that answers sees what was written before the ring.
    pub(crate) fn ring(&self) {
        // A ring that was not answered has woken the waiter already.
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.waiter.wake();
        }
    }

    /// Answers the bell: returns true once after one ring or several.
    pub(crate) fn answer(&self) -> bool {
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::AcqRel)
    }

    /// Returns whether the bell rang, without answering.
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Waits until the bell rings, without answering. One waiter at a time.
    pub(crate) async fn rings(&self) {
        poll_fn(|cx| {
            if self.is_rung() {
                return Poll::Ready(());
            }
            self.register(cx.waker());
            // The bell may have rung between the look and the registration.
            if self.is_rung() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    #[cfg(not(hersh_loom))]
    fn register(&self, waker: &Waker) {
        self.waiter.register(waker);
    }

    #[cfg(hersh_loom)]
    fn register(&self, waker: &Waker) {
        self.waiter.register_by_ref(waker);
    }
}

impl std::fmt::Debug for Bell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bell")
    }
}
