//! What the desk has in hand: what waits, what is acted on, what is to be committed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::lane::{Function, Lane};
use super::policy::Promise;
use crate::store::{Ledger, OpenEffect, Progress, SettledResult, Settlement};

/// What the desk has in hand.
pub(super) struct Books {
    pub(super) lanes: BTreeMap<Arc<str>, Lane>,
    /// Those that were taken out of their lanes.
    pub(super) held: BTreeMap<u64, HeldEffect>,
    /// What is to be committed next.
    pub(super) results: Vec<(u64, Settlement)>,
    /// The effects that have a result which is not committed.
    pub(super) pending: BTreeSet<u64>,
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

/// An effect that was taken out of its lane.
pub(super) struct HeldEffect {
    pub(super) effect: Arc<str>,
    pub(super) key: Option<Arc<str>>,
    pub(super) hold: Hold,
}

/// How far such an effect is.
pub(super) enum Hold {
    /// It has a place, and what must be noted before it is acted on is being noted.
    Beginning,
    /// It has a place, and is acted on.
    Acting(AbortHandle),
    /// It has no place while it waits for its next attempt, and is told when it has one again.
    Resting(AbortHandle, Rc<Notify>),
    /// It has no place: its function cannot read its input. It keeps its key, because what comes after it must
    /// not overtake it.
    Unreadable,
}

impl Books {
    /// Returns the books of a desk that goes on with what the ledger holds.
    pub(super) fn of(ledger: &Ledger) -> Self {
        let mut books = Self {
            lanes: BTreeMap::new(),
            held: BTreeMap::new(),
            results: Vec::new(),
            pending: BTreeSet::new(),
            first_own: ledger.next(),
            stage: Stage::Open,
            is_at_work: false,
        };
        for (number, effect) in ledger.open() {
            match &effect.progress {
                Progress::Settled(_) => {}
                Progress::Begun => books.settle(number, unknown("the watcher ended in the middle")),
                Progress::Waiting if effect.cancelled => books.settle_cancelled(number, effect),
                Progress::Waiting => books.queue(number, effect),
            }
        }
        books
    }

    /// Returns whether nothing is acted on and every result is committed.
    pub(super) fn is_idle(&self) -> bool {
        let is_acting = |held: &HeldEffect| match held.hold {
            Hold::Beginning | Hold::Acting(_) => true,
            Hold::Resting(..) | Hold::Unreadable => false,
        };
        self.pending.is_empty() && !self.held.values().any(is_acting)
    }

    /// Puts an effect into the lane of its name.
    pub(super) fn queue(&mut self, number: u64, effect: &OpenEffect) {
        let lane = self.lanes.entry(effect.effect.clone()).or_default();
        lane.queue(number, effect.key.as_ref());
    }

    /// Takes out what may begin now, with its function. Those that rest and have a place again are told so.
    pub(super) fn choose(&mut self, ledger: &Ledger) -> Vec<(u64, OpenEffect, Function)> {
        let mut chosen = Vec::new();
        for (name, lane) in &mut self.lanes {
            while let Some(next) = lane.next() {
                let number = next.number;
                if next.again {
                    match self.held.get_mut(&number) {
                        Some(held) => held.wake(),
                        // It was cancelled while it rested.
                        None => lane.give_back(),
                    }
                    continue;
                }
                let effect = ledger.get(number);
                let wanted = effect.filter(|it| it.progress == Progress::Waiting && !it.cancelled);
                let (Some(effect), Some(function)) = (wanted, lane.function().cloned()) else {
                    lane.give_back();
                    lane.release(next.key.as_ref());
                    continue;
                };
                let held = HeldEffect {
                    effect: name.clone(),
                    key: next.key,
                    hold: Hold::Beginning,
                };
                self.held.insert(number, held);
                chosen.push((number, effect.clone(), function));
            }
        }
        chosen
    }

    /// Returns whether an earlier life of the watcher may have acted on an effect that waits. One that was asked
    /// for to be acted on once at most was not: that would have been noted.
    pub(super) fn may_have_acted(&self, number: u64, effect: &OpenEffect) -> bool {
        number < self.first_own && !effect.once
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
        match self.held.get(&number).map(|held| &held.hold) {
            Some(Hold::Acting(task) | Hold::Resting(task, _)) => {
                task.abort();
                self.settle(number, unknown("it was cancelled while it was acted on"));
            }
            Some(Hold::Beginning | Hold::Unreadable) => self.settle_cancelled(number, effect),
            None => {
                if let Some(lane) = self.lanes.get_mut(&effect.effect) {
                    lane.remove(number, effect.key.as_ref());
                }
                self.settle_cancelled(number, effect);
            }
        }
    }

    /// Gives back the places and keys of effects whose results are committed now.
    pub(super) fn told(&mut self, results: &[(u64, Settlement)]) {
        for (number, _) in results {
            self.pending.remove(number);
            let Some(held) = self.held.remove(number) else {
                continue;
            };
            if let Some(lane) = self.lanes.get_mut(&held.effect) {
                match held.hold {
                    Hold::Beginning | Hold::Acting(_) => lane.give_back(),
                    Hold::Resting(..) | Hold::Unreadable => {}
                }
                lane.release(held.key.as_ref());
            }
        }
    }

    /// Returns whether the name has a function.
    pub(super) fn knows(&self, name: &str) -> bool {
        let lane = self.lanes.get(name);
        lane.is_some_and(|lane| lane.function().is_some())
    }

    fn settle_cancelled(&mut self, number: u64, effect: &OpenEffect) {
        if self.may_have_acted(number, effect) {
            let reason = "it was cancelled, and may have been acted on before the watcher ended";
            return self.settle(number, unknown(reason));
        }
        let settlement = Settlement {
            attempts: 0,
            result: SettledResult::Cancelled,
        };
        self.settle(number, settlement);
    }
}

impl HeldEffect {
    /// Goes on with an effect that rested: it has a place again.
    fn wake(&mut self) {
        if let Hold::Resting(task, place) = &self.hold {
            place.notify_one();
            self.hold = Hold::Acting(task.clone());
        }
    }
}

impl Function {
    /// Returns whether an effect is acted on once at most: it was asked for so, or this release says so.
    pub(super) fn acts_once(&self, effect: &OpenEffect) -> bool {
        effect.once || self.policy.promise == Promise::AtMostOnce
    }
}

/// Returns the settlement of an effect of which nobody knows what came.
pub(super) fn unknown(reason: &str) -> Settlement {
    Settlement {
        attempts: 0,
        result: SettledResult::Unknown(reason.into()),
    }
}
