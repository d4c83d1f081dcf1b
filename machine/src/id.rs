//! Operation ids.

use serde::{Deserialize, Serialize};

/// Names one issued effect of one state machine.
///
/// Ids are minted in order from 1, so a replay of the same events mints the same ids. They are
/// never reused within a state machine's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpId(pub u64);

impl core::fmt::Display for OpId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "op-{}", self.0)
    }
}
