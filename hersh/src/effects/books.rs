//! What the desk has in hand: what waits, what is acted on, what is to be committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::lane::Lane;
use crate::store::{Ledger, OpenEffect, Progress, SettledResult, Settlement};

/// What the desk has in hand.
pub(super) struct Books {
    pub(super) lanes: BTreeMap<Arc<str>, Lane>,
    pub(super) running: BTreeMap<u64, Running>,
    /// What is to be committed next.
    pub(super) results: Vec<(u64, Settlement)>,
    /// The effects that have a result which is not committed.
    pub(super) pending: BTreeSet<u64>,
    /// How many effects are noted as begun at this moment, before they are acted on.
    pub(super) beginning: usize,
    /// Effects below were asked for in an earlier life of the watcher.
    pub(super) first_own: u64,
    pub(super) stage: Stage,
    /// True once the task of the desk runs.
    pub(super) is_at_work: bool,
}

/// How far the desk is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Effects begin.
    Open,
    /// Nothing begins any more; what is acted on goes on.
    Closing,
    /// Nothing is acted on.
    Ended,
}

/// An effect that is acted on.
pub(super) struct Running {
    pub(super) task: AbortHandle,
    pub(super) effect: Arc<str>,
    pub(super) key: Option<Arc<str>>,
}

impl Books {
    /// Returns the books of a desk that goes on with what the ledger holds.
    pub(super) fn of(ledger: &Ledger) -> Self {
        let mut books = Self {
            lanes: BTreeMap::new(),
            running: BTreeMap::new(),
            results: Vec::new(),
            pending: BTreeSet::new(),
            beginning: 0,
            first_own: ledger.next(),
            stage: Stage::Open,
            is_at_work: false,
        };
        for (number, effect) in ledger.open() {
            match &effect.progress {
                Progress::Settled(_) => {}
                Progress::Begun => books.settle(number, unknown("the watcher ended in the middle")),
                Progress::Waiting if effect.cancelled => {
                    books.settle(number, unknown("it was cancelled, and the watcher ended"));
                }
                Progress::Waiting => books.queue(number, effect),
            }
        }
        books
    }

    /// Returns whether nothing is acted on and every result is committed.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.pending.is_empty() && self.beginning == 0
    }

    /// Puts an effect into the lane of its name.
    pub(super) fn queue(&mut self, number: u64, effect: &OpenEffect) {
        let lane = self.lanes.entry(effect.effect.clone()).or_default();
        lane.queue(number, effect.key.as_ref());
    }

    /// Notes a result to be committed.
    pub(super) fn settle(&mut self, number: u64, settlement: Settlement) {
        if self.pending.insert(number) {
            self.results.push((number, settlement));
        }
    }

    /// Ends an effect that nobody wants any more.
    pub(super) fn cancel(&mut self, number: u64, effect: &OpenEffect) {
        let is_settled = matches!(effect.progress, Progress::Settled(_));
        if is_settled || self.pending.contains(&number) {
            return;
        }
        match self.running.get(&number) {
            Some(running) => {
                running.task.abort();
                self.settle(number, unknown("it was cancelled while it was acted on"));
            }
            None => self.settle(
                number,
                Settlement {
                    attempts: 0,
                    result: SettledResult::Cancelled,
                },
            ),
        }
    }

    /// Gives back the places of effects whose results are committed now.
    pub(super) fn told(&mut self, results: &[(u64, Settlement)]) {
        for (number, _) in results {
            self.pending.remove(number);
            // One that never ran holds no place. Its key, if it has one, is given back by its lane.
            if let Some(running) = self.running.remove(number)
                && let Some(lane) = self.lanes.get_mut(&running.effect)
            {
                lane.ended();
                lane.release(running.key.as_ref());
            }
        }
    }
}

fn unknown(reason: &str) -> Settlement {
    Settlement {
        attempts: 0,
        result: SettledResult::Unknown(reason.into()),
    }
}
