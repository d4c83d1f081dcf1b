//! What a run asks for, until it is committed or forgotten, and the outcome that it takes in.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustc_hash::FxHashMap;

use crate::base::sync::{Mutex, locked};
use crate::effects::Desk;
use crate::journal::{RecordedActs, RecordedAsk, RecordedSettlement};
use crate::store::{Ledger, LedgerChange, LedgerOutline, LedgerSize, OpenEffect};
use crate::{EFFECT_LIMIT, EffectId, Policy};

/// What is registered under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registration {
    /// The names of the types of input and result.
    pub(super) types: (&'static str, &'static str),
    pub(super) policy: Policy,
}

/// What a run asks for, and the outcome that it takes in.
#[derive(Default)]
pub(crate) struct Asks {
    /// The names that are registered.
    pub(super) names: FxHashMap<Arc<str>, Registration>,
    /// Who acts; nobody in a test and in a replay.
    pub(super) desk: Option<Rc<Desk>>,
    /// The ledger as it would be after this run; `None` until the run asks for something. So a run that asks
    /// for nothing looks at no ledger.
    ahead: Option<LedgerOutline>,
    staged: Vec<LedgerChange>,
    cancelled: BTreeSet<EffectId>,
    taken: Option<(EffectId, OpenEffect)>,
    /// True once the run looked at the outcome.
    looked_at: AtomicBool,
}

impl Asks {
    /// Returns the asks of a watcher for which `desk` acts.
    pub(super) fn new(desk: Option<Rc<Desk>>) -> Self {
        Self {
            desk,
            ..Self::default()
        }
    }

    /// Prepares for a run that takes in this outcome.
    pub(super) fn begin(&mut self, taken: Option<(EffectId, OpenEffect)>) {
        self.discard();
        if taken.is_none() && self.taken.is_none() {
            return;
        }
        self.looked_at.store(false, Ordering::Relaxed);
        let number = taken.as_ref().map(|(id, _)| id.number);
        self.staged.extend(number.map(LedgerChange::Taken));
        self.taken = taken;
    }

    /// Returns the outcome that the run takes in.
    pub(super) fn taken(&self) -> Option<&(EffectId, OpenEffect)> {
        self.taken.as_ref()
    }

    /// Returns the outcome that the run takes in, if it is of an effect of this name.
    pub(super) fn taken_as(&self, name: &str) -> Option<(EffectId, &OpenEffect)> {
        let (id, effect) = self.taken.as_ref()?;
        if &*effect.effect != name {
            return None;
        }
        self.looked_at.store(true, Ordering::Relaxed);
        Some((*id, effect))
    }

    /// Returns the outcome that the run took in and never looked at.
    pub(crate) fn ignored(&self) -> Option<&(EffectId, OpenEffect)> {
        let ignored = !self.looked_at.load(Ordering::Relaxed);
        self.taken.as_ref().filter(|_| ignored)
    }

    /// Stages an ask.
    ///
    /// # Errors
    /// The sizes that the ledger would have, if they are too large.
    pub(super) fn ask(
        &mut self,
        ledger: &Mutex<Ledger>,
        mut effect: OpenEffect,
    ) -> Result<EffectId, LedgerSize> {
        let ahead = self.ahead.get_or_insert_with(|| locked(ledger).outline());
        let id = ahead.ask(&effect)?;
        effect.space = id.space;
        self.staged.push(LedgerChange::Asked(id.number, effect));
        Ok(id)
    }

    /// Stages a cancellation, once for each id. Which ids are open is not looked at: a replay does not know it.
    pub(super) fn cancel(&mut self, id: EffectId) {
        if self.cancelled.len() < EFFECT_LIMIT && self.cancelled.insert(id) {
            self.staged.push(LedgerChange::Cancelled(id));
        }
    }

    /// Returns what a commit would change.
    pub(crate) fn staged(&self) -> &[LedgerChange] {
        &self.staged
    }

    /// Tells whoever acts what has been committed, and forgets it.
    pub(crate) fn committed(&mut self) {
        let staged = std::mem::take(&mut self.staged);
        self.cancelled.clear();
        if let Some(desk) = &self.desk
            && !staged.is_empty()
        {
            desk.committed(&staged);
        }
        self.ahead = None;
    }

    /// Forgets what the run asked for; its outcome stays for the run's record.
    pub(crate) fn discard(&mut self) {
        // Nothing is touched by a run that asks for nothing.
        if self.staged.is_empty() && self.ahead.is_none() {
            return;
        }
        self.staged.clear();
        self.cancelled.clear();
        self.ahead = None;
    }

    /// Returns what the journal says of the run.
    pub(super) fn record(&self) -> RecordedActs {
        let taken = self.taken.as_ref();
        let mut acts = RecordedActs {
            settled: taken.and_then(|(id, effect)| RecordedSettlement::of(*id, effect)),
            ..RecordedActs::default()
        };
        for change in &self.staged {
            match change {
                LedgerChange::Asked(number, effect) => {
                    acts.asked.push(RecordedAsk::of(*number, effect));
                }
                LedgerChange::Cancelled(id) => acts.cancelled.push(*id),
                LedgerChange::Begun(_) | LedgerChange::Settled(..) | LedgerChange::Taken(_) => {}
            }
        }
        acts
    }
}

impl std::fmt::Debug for Asks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asks")
            .field("staged", &self.staged)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_cancels_an_id_once_and_the_next_run_may_again() {
        let (space, number) = (7, 1);
        let id = EffectId { space, number };
        let mut asks = Asks::new(None);
        for commits in [true, false, true] {
            asks.begin(None);
            asks.cancel(id);
            asks.cancel(id);
            assert_eq!(asks.staged(), [LedgerChange::Cancelled(id)]);
            if commits {
                asks.committed();
            } else {
                asks.discard();
            }
        }
        asks.begin(None);
        assert_eq!(asks.staged(), []);
    }
}
