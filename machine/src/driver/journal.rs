//! Where records become durable.

use core::future::Future;
use std::string::String;

use crate::{Machine, step::RecordOf};

/// A record that could not be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal did not take the record: {message}; nothing has changed, try again later")]
pub struct JournalError {
    /// What the storage said.
    pub message: String,
}

/// Where records become durable.
pub trait Journal<M: Machine>: Send + 'static {
    /// False only for a journal whose `append` does nothing and never fails: the driver then
    /// skips what durability costs.
    const DURABLE: bool = true;

    /// Stores `record` so that it survives a crash of the host. Ends within bounded time.
    ///
    /// # Errors
    /// [`JournalError`] when it is not stored. A later record may then carry the same number:
    /// it replaces whatever the failed attempt left behind.
    fn append(
        &mut self,
        record: &RecordOf<M>,
    ) -> impl Future<Output = Result<(), JournalError>> + Send;
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

impl<M> Journal<M> for NoJournal
where
    M: Machine,
    M::Event: Sync,
    M::Effect: Sync,
{
    const DURABLE: bool = false;

    async fn append(&mut self, _record: &RecordOf<M>) -> Result<(), JournalError> {
        Ok(())
    }
}
