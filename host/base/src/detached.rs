//! Changes that are made as a whole, whoever waits for them.

use std::panic::resume_unwind;

use crate::right::Right;

/// Runs `change` to its end on a task of its own: dropping the returned future, as the end of a
/// client's connection does, takes nothing back. It is made by the right of whoever asks. A panic goes on in whoever waits.
pub async fn run_detached<T: Send + 'static>(
    change: impl Future<Output = T> + Send + 'static,
) -> T {
    match tokio::spawn(Right::handed_on(change)).await {
        Ok(made) => made,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Only the end of the whole process cancels it.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}
