//! The effects of one name that wait for a place.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::act::Act;
use super::policy::Policy;

/// The function of a name.
#[derive(Clone)]
pub(super) struct Function {
    pub(super) policy: Policy,
    pub(super) act: Act,
}

/// An effect that waits for a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WaitingEffect {
    pub(super) number: u64,
    pub(super) key: Option<Arc<str>>,
    /// True for one that waits for its next attempt.
    pub(super) again: bool,
}

/// The effects of one name.
#[derive(Default)]
pub(super) struct Lane {
    function: Option<Function>,
    /// Those that may begin, in the order in which they may.
    waiting: VecDeque<WaitingEffect>,
    /// Those that hold a place.
    places: usize,
    /// Those that may begin once the one before with the same key has ended. A key is here while one with it
    /// waits or is acted on.
    behind: HashMap<Arc<str>, VecDeque<u64>>,
}

impl Lane {
    /// Gives the name its function. The first one counts.
    pub(super) fn register(&mut self, function: Function) {
        self.function.get_or_insert(function);
    }

    /// Returns the function of the name, if it has one.
    pub(super) fn function(&self) -> Option<&Function> {
        self.function.as_ref()
    }

    /// Adds an effect.
    pub(super) fn queue(&mut self, number: u64, key: Option<&Arc<str>>) {
        if let Some(key) = key {
            if let Some(behind) = self.behind.get_mut(key) {
                behind.push_back(number);
                return;
            }
            self.behind.insert(key.clone(), VecDeque::new());
        }
        self.waiting.push_back(WaitingEffect {
            number,
            key: key.cloned(),
            again: false,
        });
    }

    /// Adds an effect that waits for its next attempt: it has its key already, and comes before new ones.
    pub(super) fn queue_again(&mut self, number: u64) {
        self.waiting.push_front(WaitingEffect {
            number,
            key: None,
            again: true,
        });
    }

    /// Takes out the next one that may begin, and gives it a place, if there is one.
    pub(super) fn next(&mut self) -> Option<WaitingEffect> {
        let function = self.function.as_ref()?;
        if self.places >= function.policy.at_once {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.places += 1;
        Some(next)
    }

    /// Takes an effect off that has no place. It gives its key back, if it has one.
    pub(super) fn remove(&mut self, number: u64, key: Option<&Arc<str>>) {
        let waits = |it: &WaitingEffect| it.number == number && !it.again;
        if let Some(index) = self.waiting.iter().position(waits) {
            self.waiting.remove(index);
            self.release(key);
        } else if let Some(behind) = key.and_then(|key| self.behind.get_mut(key)) {
            behind.retain(|waits| *waits != number);
        }
    }

    /// Takes a place back.
    pub(super) fn give_back(&mut self) {
        self.places = self.places.saturating_sub(1);
    }

    /// Lets the next one with the key begin.
    pub(super) fn release(&mut self, key: Option<&Arc<str>>) {
        let Some(key) = key else {
            return;
        };
        match self.behind.get_mut(key).and_then(VecDeque::pop_front) {
            Some(number) => self.waiting.push_back(WaitingEffect {
                number,
                key: Some(key.clone()),
                again: false,
            }),
            None => drop(self.behind.remove(key)),
        }
    }
}
