//! What the journal says of a run beside its inputs and changes: what it asked for, the outcome that it took in,
//! which timers were due.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::EffectId;
use crate::store::{OpenEffect, Progress, Settlement};

/// What a run asked for, the outcome that it took in, and the timers that were due.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedActs {
    /// The outcome that the run took in.
    pub(crate) settled: Option<RecordedSettlement>,
    /// The effects that the run asked for, in their order.
    pub(crate) asked: Vec<RecordedAsk>,
    /// The effects that the run cancelled, in their order.
    pub(crate) cancelled: Vec<EffectId>,
    /// The timers that were due. A replay finds them by itself: they are here for people.
    pub(crate) timers: Vec<Arc<str>>,
    /// Whether the run asked for another run.
    pub(crate) again: bool,
    /// What the run replied to its message, as JSON.
    pub(crate) reply: Option<Arc<str>>,
}

/// An effect that a run asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedAsk {
    /// The id of the effect.
    pub(crate) id: EffectId,
    /// The name of the effect.
    pub(crate) effect: Arc<str>,
    /// The key of the effect, if it has one.
    pub(crate) key: Option<Arc<str>>,
    /// The input as JSON.
    pub(crate) input: Arc<str>,
}

/// An outcome that a run took in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedSettlement {
    /// The id of the effect.
    pub(crate) id: EffectId,
    /// The name of the effect.
    pub(crate) effect: Arc<str>,
    /// The key of the effect, if it has one.
    pub(crate) key: Option<Arc<str>>,
    /// The input as JSON.
    pub(crate) input: Arc<str>,
    /// What came of it.
    pub(crate) settlement: Settlement,
}

impl RecordedActs {
    /// Returns whether the run has nothing of this.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl RecordedAsk {
    /// Returns what the journal says of an effect that was asked for.
    pub(crate) fn of(number: u64, effect: &OpenEffect) -> Self {
        Self {
            id: effect.id(number),
            effect: effect.effect.clone(),
            key: effect.key.clone(),
            input: effect.input.clone(),
        }
    }
}

impl RecordedSettlement {
    /// Returns what the journal says of an effect that is settled; `None` for one that is not.
    pub(crate) fn of(id: EffectId, effect: &OpenEffect) -> Option<Self> {
        let Progress::Settled(settlement) = &effect.progress else {
            return None;
        };
        Some(Self {
            id,
            effect: effect.effect.clone(),
            key: effect.key.clone(),
            input: effect.input.clone(),
            settlement: settlement.clone(),
        })
    }

    /// Returns the effect as a run takes it in.
    pub(crate) fn effect(&self) -> OpenEffect {
        OpenEffect {
            space: self.id.space,
            effect: self.effect.clone(),
            key: self.key.clone(),
            input: self.input.clone(),
            asked_at_ms: 0,
            once: false,
            cancelled: false,
            progress: Progress::Settled(self.settlement.clone()),
        }
    }
}
