//! Journals: they make records durable.

use alloc::sync::Arc;
use core::{any::Any, future::Future};
use std::string::String;

use crate::{Machine, step::RecordOf};

/// The reason why a record could not be stored. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// There is no room for the record.
    #[error(
        "the disk that holds the journal is full; nothing has changed, make room and try again"
    )]
    Full,
    /// The journal takes no more records: its host is ending.
    #[error("the journal is closed; nothing has changed, try again when the host is back")]
    Closed,
    /// The caller has lost the right to ask for the event.
    #[error("whoever asked for it may not any more; nothing has changed")]
    Revoked,
    /// Any other error, in the words of the storage.
    #[error("the journal did not take the record: {0}; nothing has changed, try again later")]
    Other(String),
}

/// The right of a caller: opaque to the driver, which hands it to the journal with the record.
pub type Right = Arc<dyn Any + Send + Sync>;

/// Makes the records of a state machine durable.
pub trait Journal<M: Machine>: Send + 'static {
    /// Stores `record` so that it survives a crash of the host. Ends within a bounded time.
    ///
    /// # Errors
    /// [`JournalError`] when the record is not stored. A later record may then carry the same number: it
    /// replaces any remains of the failed attempt.
    fn append(
        &mut self,
        record: &RecordOf<M>,
    ) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// Works like [`Journal::append`], for an event that a caller with `right` asked for. The record is
    /// stored only if the right holds at the moment of storing.
    ///
    /// # Errors
    /// The errors of [`Journal::append`], and [`JournalError::Revoked`].
    fn append_by(
        &mut self,
        record: &RecordOf<M>,
        right: Option<&Right>,
    ) -> impl Future<Output = Result<(), JournalError>> + Send {
        let _ = right;
        self.append(record)
    }

    /// Receives the state after a stored record, before that state is published. Must return at once: the
    /// state machine waits meanwhile.
    fn stored(&mut self, state: &M::State) {
        let _ = state;
    }
}
