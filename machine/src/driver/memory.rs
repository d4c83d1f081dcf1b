//! A journal in memory, for tests and examples.

use alloc::sync::Arc;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    vec::Vec,
};

use super::{Journal, JournalError, SendMachine};
use crate::{Machine, RecordOf};

/// Keeps the records of one state machine in memory: they outlive the driver, but not the process. Clones share
/// their records.
pub struct MemoryJournal<M: Machine> {
    records: Arc<Mutex<Vec<RecordOf<M>>>>,
}

impl<M: Machine> MemoryJournal<M> {
    /// Returns the records so far, oldest first.
    #[must_use]
    pub fn records(&self) -> Vec<RecordOf<M>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<RecordOf<M>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Machine> Default for MemoryJournal<M> {
    fn default() -> Self {
        Self {
            records: Arc::default(),
        }
    }
}

impl<M: Machine> Clone for MemoryJournal<M> {
    fn clone(&self) -> Self {
        Self {
            records: Arc::clone(&self.records),
        }
    }
}

impl<M: SendMachine> Journal<M> for MemoryJournal<M> {
    async fn append(&mut self, record: &RecordOf<M>) -> Result<(), JournalError> {
        self.lock().push(record.clone());
        Ok(())
    }
}
