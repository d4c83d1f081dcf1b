//! A way to lock a mutex even after a thread that held it has panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, also after a thread that held it has panicked. Our mutexes guard data that is whole
/// between any two statements, so a panic in one thread is no reason for all others to fail.
pub fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
