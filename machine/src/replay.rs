//! Replay: folds a journal back into a state machine, and finds the first record that the state machine does
//! not make again.
//!
//! ```text
//! records ──► fold ──► Stepper (state, open operations)
//!               └────► Divergence { seq, expected, seen } at the first that does not fit
//! ```

use alloc::boxed::Box;

use crate::{Machine, Stepper, step::RecordOf};

/// The first record that a state machine does not reproduce.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal and the machine differ at record {seq}")]
pub struct Divergence<R> {
    /// The record number that the state machine was at.
    pub seq: u64,
    /// The record as stored.
    pub expected: Box<R>,
    /// The record that the state machine makes of the same event at the same time.
    pub seen: Box<R>,
}

impl<M: Machine> Stepper<M>
where
    M::Event: PartialEq,
    M::Effect: PartialEq,
{
    /// Applies a stored record to the state machine.
    ///
    /// # Errors
    /// [`Divergence`] when the state machine makes other effects for the event, or when the record's number or
    /// time does not follow the last record. The state machine stays as it was before.
    pub fn apply(&mut self, record: RecordOf<M>) -> Result<(), Divergence<RecordOf<M>>> {
        let step = self.prepare(record.event.clone(), record.now_ms);
        if step.record == record {
            self.commit(step);
            Ok(())
        } else {
            Err(Divergence {
                seq: step.record.seq,
                expected: Box::new(record),
                seen: Box::new(step.record),
            })
        }
    }

    /// Applies stored records to the state machine, oldest first.
    ///
    /// # Errors
    /// The first [`Divergence`]; the records before it are applied.
    pub fn fold(
        &mut self,
        records: impl IntoIterator<Item = RecordOf<M>>,
    ) -> Result<(), Divergence<RecordOf<M>>> {
        records
            .into_iter()
            .try_for_each(|record| self.apply(record))
    }
}
