//! Locks whose holder panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, also after a holder panicked. What our mutexes guard is whole between any two
/// statements, so a panic elsewhere is no reason for everybody else to end.
pub fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
