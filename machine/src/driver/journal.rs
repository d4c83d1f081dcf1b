//! Where records become durable.

use core::future::Future;
use std::string::String;

use crate::{Machine, step::RecordOf};

/// Why a record could not be stored. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// There is no room for it.
    #[error(
        "the disk that holds the journal is full; nothing has changed, make room and try again"
    )]
    Full,
    /// The journal takes no more records: its host is ending.
    #[error("the journal is closed; nothing has changed, try again when the host is back")]
    Closed,
    /// Anything else, as the storage said it.
    #[error("the journal did not take the record: {0}; nothing has changed, try again later")]
    Other(String),
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

    /// Is told the state that a stored record led to, before it is published. Returns at once: the
    /// machine waits meanwhile.
    fn stored(&mut self, state: &M::State) {
        let _ = state;
    }
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
