//! Where records become durable.

use alloc::sync::Arc;
use core::{any::Any, future::Future};
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
    /// Whoever asked for it has lost the right to.
    #[error("whoever asked for it may not any more; nothing has changed")]
    Revoked,
    /// Anything else, as the storage said it.
    #[error("the journal did not take the record: {0}; nothing has changed, try again later")]
    Other(String),
}

/// By what right a caller asks: opaque to the driver, handed to the journal with the record.
pub type Right = Arc<dyn Any + Send + Sync>;

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

    /// Like [`Journal::append`], for an event that somebody asked for by `right`: stored only if
    /// that holds in the moment of storing.
    ///
    /// # Errors
    /// As [`Journal::append`], and [`JournalError::Revoked`].
    fn append_by(
        &mut self,
        record: &RecordOf<M>,
        right: Option<&Right>,
    ) -> impl Future<Output = Result<(), JournalError>> + Send {
        let _ = right;
        self.append(record)
    }

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
