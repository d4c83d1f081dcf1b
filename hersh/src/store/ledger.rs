//! The ledger: the effects that runs asked for and whose outcome no run has taken in yet.
//!
//! ```text
//! run commits ──Asked──► waiting ──Begun──► begun ──Settled──► settled ──Taken──► forgotten
//!                           │  (at most once only)  ▲          (waits for its run)
//!                           └───────────────────────┘
//! ```
//! It is data: nothing here acts, reads a clock or knows a policy. Every change of it is committed before
//! anybody relies on it, in the same file as the values of the context.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{EffectId, raw_json};
use crate::{EFFECT_LIMIT, EFFECT_TOTAL_LIMIT_BYTES};

/// The largest number of an effect: far from the end of what counts them.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// The open effects of one context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ledger {
    space: u64,
    next: u64,
    open: BTreeMap<u64, OpenEffect>,
    /// The settled ones, in the order of their settlement.
    settled: VecDeque<u64>,
    size: LedgerSize,
}

/// The sizes that the limits of a ledger bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LedgerSize {
    /// Open effects.
    pub(crate) effects: usize,
    /// Bytes of their inputs, names and keys.
    pub(crate) bytes: usize,
    /// Bytes of the results that wait for their runs.
    pub(crate) settled_bytes: usize,
}

/// An effect that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenEffect {
    /// What its id begins with: that of the life that asked for it.
    pub(crate) space: u64,
    /// The name that its function is registered under.
    pub(crate) effect: Arc<str>,
    /// Effects with one key are acted on one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Arc<str>>,
    /// The input as JSON.
    #[serde(with = "raw_json")]
    pub(crate) input: Arc<str>,
    pub(crate) asked_at_ms: u64,
    /// True when it was asked for to be acted on once at most.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) once: bool,
    /// True once a run wants it no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cancelled: bool,
    pub(crate) progress: Progress,
}

/// How far an effect is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Progress {
    /// It is to be acted on. Under at-least-once it may have been.
    Waiting,
    /// It is being acted on, once; noted before the act.
    Begun,
    /// What came of it waits for its run.
    Settled(Settlement),
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settlement {
    /// How many times it was tried in the last life of the watcher.
    pub(crate) attempts: u32,
    pub(crate) result: SettledResult,
}

/// The result of an effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SettledResult {
    /// Its function returned this, as JSON.
    Done(Arc<str>),
    /// Every attempt returned an error; the last one.
    Failed(Arc<str>),
    /// An attempt has no known end, and none succeeded.
    Unknown(Arc<str>),
    /// It was cancelled before it began.
    Cancelled,
}

/// A change of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LedgerChange {
    /// A run asks for an effect.
    Asked(u64, OpenEffect),
    /// A run wants an effect no more.
    Cancelled(EffectId),
    /// An effect that is acted on once is about to be.
    Begun(u64),
    /// It is known what came of an effect.
    Settled(u64, Settlement),
    /// A run took in what came of an effect.
    Taken(u64),
}

/// A ledger on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedLedger {
    next: u64,
    settled: VecDeque<u64>,
    open: BTreeMap<u64, OpenEffect>,
}

/// What a part of the journal says of the ledger it begins with: enough to give the same ids and the same
/// refusals again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LedgerOutline {
    space: u64,
    next: u64,
    size: LedgerSize,
}

impl Ledger {
    /// Returns a ledger without effects whose ids are told from others by `space`.
    pub(crate) fn new(space: u64) -> Self {
        Self {
            space,
            next: 1,
            open: BTreeMap::new(),
            settled: VecDeque::new(),
            size: LedgerSize::default(),
        }
    }

    /// Returns the ledger that was saved, for a life whose own ids begin with `space`. Each life has ids of its
    /// own: a folder that was copied, or restored from an older copy, must not give an id that was given before.
    ///
    /// # Errors
    /// Says what no ledger can hold.
    pub(crate) fn restore(saved: SavedLedger, space: u64) -> Result<Self, String> {
        let settled: BTreeSet<u64> = saved.settled.iter().copied().collect();
        let known = settled.iter().all(|number| saved.open.contains_key(number));
        if settled.len() != saved.settled.len() || !known {
            return Err("an outcome is of no effect, or there twice".into());
        }
        if !(1..=NUMBER_MAX).contains(&saved.next) {
            return Err(format!("{} is no number for the next effect", saved.next));
        }
        let mut size = LedgerSize::default();
        for (number, effect) in &saved.open {
            if *number >= saved.next {
                return Err(format!("effect {number} is not below {}", saved.next));
            }
            let is_settled = matches!(effect.progress, Progress::Settled(_));
            if is_settled != settled.contains(number) {
                return Err(format!("effect {number} is settled and not settled"));
            }
            size.effects += 1;
            size.bytes += effect.bytes();
            size.settled_bytes += effect.progress.result_bytes();
        }
        Ok(Self {
            space,
            next: saved.next,
            open: saved.open,
            settled: saved.settled,
            size,
        })
    }

    /// Returns an empty ledger that goes on as the outlined one did.
    pub(crate) fn outlined(outline: LedgerOutline) -> Self {
        Self {
            next: outline.next,
            size: outline.size,
            ..Self::new(outline.space)
        }
    }

    /// Returns what a file keeps; `None` while no effect was ever asked for.
    pub(crate) fn saved(&self) -> Option<SavedLedger> {
        (self.next > 1).then(|| SavedLedger {
            next: self.next,
            settled: self.settled.clone(),
            open: self.open.clone(),
        })
    }

    /// Returns what a part of the journal keeps.
    pub(crate) fn outline(&self) -> LedgerOutline {
        LedgerOutline {
            space: self.space,
            next: self.next,
            size: self.size,
        }
    }

    /// Returns the number of an open effect, if the id is that of one.
    pub(crate) fn number(&self, id: EffectId) -> Option<u64> {
        let effect = self.open.get(&id.number)?;
        (effect.space == id.space).then_some(id.number)
    }

    /// Returns the number of the next effect.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Returns its sizes.
    pub(crate) fn size(&self) -> LedgerSize {
        self.size
    }

    /// Returns the effect with this number, if it is open.
    pub(crate) fn get(&self, number: u64) -> Option<&OpenEffect> {
        self.open.get(&number)
    }

    /// Returns the open effects in the order in which they were asked for.
    pub(crate) fn open(&self) -> impl Iterator<Item = (u64, &OpenEffect)> {
        self.open.iter().map(|(number, effect)| (*number, effect))
    }

    /// Returns the first settled effect whose name `is_known`: the next to have its run. An outcome whose name
    /// nobody registers waits for a release that does.
    pub(crate) fn next_settled(
        &self,
        is_known: impl Fn(&str) -> bool,
    ) -> Option<(u64, &OpenEffect)> {
        let settled = self.settled.iter();
        let mut effects = settled.filter_map(|number| Some((*number, self.open.get(number)?)));
        effects.find(|(_, effect)| is_known(&effect.effect))
    }

    /// Returns how many outcomes wait for their runs.
    #[cfg(feature = "api")]
    pub(crate) fn settled(&self) -> usize {
        self.settled.len()
    }

    /// Returns how many outcomes of a name wait for their runs.
    pub(crate) fn settled_of(&self, name: &str) -> usize {
        let settled = self.settled.iter();
        let effects = settled.filter_map(|number| self.open.get(number));
        effects.filter(|effect| &*effect.effect == name).count()
    }

    /// Applies a change. A change of an effect that is not open (any more) changes nothing.
    pub(crate) fn apply(&mut self, change: LedgerChange) {
        match change {
            LedgerChange::Asked(number, effect) => {
                self.next = self.next.max(number + 1);
                self.size.effects += 1;
                self.size.bytes += effect.bytes();
                self.open.insert(number, effect);
            }
            LedgerChange::Cancelled(id) => {
                let number = self.number(id);
                if let Some(effect) = number.and_then(|number| self.open.get_mut(&number)) {
                    effect.cancelled = true;
                }
            }
            LedgerChange::Begun(number) => {
                if let Some(effect) = self.open.get_mut(&number) {
                    effect.progress = Progress::Begun;
                }
            }
            LedgerChange::Settled(number, settlement) => self.settle(number, settlement),
            LedgerChange::Taken(number) => {
                if self.settled.front() == Some(&number) {
                    self.settled.pop_front();
                } else {
                    self.settled.retain(|settled| *settled != number);
                }
                if let Some(effect) = self.open.remove(&number) {
                    self.forget(&effect);
                }
            }
        }
    }

    /// Takes an effect that this ledger does not hold off its sizes: it was asked for before the outline that
    /// this ledger began with.
    pub(crate) fn forget(&mut self, effect: &OpenEffect) {
        let size = &mut self.size;
        size.effects = size.effects.saturating_sub(1);
        size.bytes = size.bytes.saturating_sub(effect.bytes());
        let result_bytes = effect.progress.result_bytes();
        size.settled_bytes = size.settled_bytes.saturating_sub(result_bytes);
    }

    fn settle(&mut self, number: u64, settlement: Settlement) {
        let Some(effect) = self.open.get_mut(&number) else {
            return;
        };
        if matches!(effect.progress, Progress::Settled(_)) {
            return;
        }
        effect.progress = Progress::Settled(settlement);
        self.size.settled_bytes += effect.progress.result_bytes();
        self.settled.push_back(number);
    }
}

impl LedgerOutline {
    /// Takes in one more effect, and returns its id.
    ///
    /// # Errors
    /// The sizes that the ledger would have, if they are too large.
    pub(crate) fn ask(&mut self, effect: &OpenEffect) -> Result<EffectId, LedgerSize> {
        let size = LedgerSize {
            effects: self.size.effects + 1,
            bytes: self.size.bytes + effect.bytes(),
            ..self.size
        };
        if size.effects > EFFECT_LIMIT || size.bytes > EFFECT_TOTAL_LIMIT_BYTES {
            return Err(size);
        }
        let number = self.next;
        self.size = size;
        self.next += 1;
        let space = self.space;
        Ok(EffectId { space, number })
    }
}

impl OpenEffect {
    /// Returns the id of the effect with this number.
    pub(crate) fn id(&self, number: u64) -> EffectId {
        let space = self.space;
        EffectId { space, number }
    }

    fn bytes(&self) -> usize {
        let key = self.key.as_ref().map_or(0, |key| key.len());
        self.input.len() + self.effect.len() + key
    }
}

impl Progress {
    fn result_bytes(&self) -> usize {
        match self {
            Self::Waiting | Self::Begun => 0,
            Self::Settled(settlement) => match &settlement.result {
                SettledResult::Done(text)
                | SettledResult::Failed(text)
                | SettledResult::Unknown(text) => text.len(),
                SettledResult::Cancelled => 0,
            },
        }
    }
}
