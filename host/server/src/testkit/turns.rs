//! Changes to one program go one at a time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use hersh_base::locked::locked;
use hersh_program::ProgramId;
use tokio::sync::OwnedMutexGuard;

use super::Operation;

/// The turns of all programs.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<BTreeMap<ProgramId, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits until `operation` may begin, first come, first served; `None` if it changes nothing.
    /// The next one waits until what is returned is dropped.
    pub(super) async fn take(&self, operation: &Operation) -> Option<OwnedMutexGuard<()>> {
        let program = operation.changes()?.clone();
        let turn = {
            let mut turns = locked(&self.0);
            Arc::clone(turns.entry(program).or_default())
        };
        Some(turn.lock_owned().await)
    }
}
