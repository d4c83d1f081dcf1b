//! Changes that run to their end even when nobody waits for them any more.

use std::panic::resume_unwind;

use crate::right::Right;

/// Runs `change` to its end on a task of its own. Dropping the returned future, as happens when a client's
/// connection ends, does not cancel the change. The change carries the [`Right`] of the task that calls
/// this. If the change panics, whoever waits for it panics, too.
pub async fn run_detached<T: Send + 'static>(
    change: impl Future<Output = T> + Send + 'static,
) -> T {
    match tokio::spawn(Right::handed_on(change)).await {
        Ok(made) => made,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Only the end of the whole process cancels the task.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}
