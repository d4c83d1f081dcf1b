//! The effects of one name that wait to be acted on.

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

/// An effect that may begin.
struct Waiting {
    number: u64,
    key: Option<Arc<str>>,
}

/// The effects of one name.
#[derive(Default)]
pub(super) struct Lane {
    function: Option<Function>,
    /// Those that may begin, in the order in which they may.
    waiting: VecDeque<Waiting>,
    running: usize,
    /// Those that may begin once the one before with the same key has ended. A key is here while one with it
    /// waits or runs.
    behind: HashMap<Arc<str>, VecDeque<u64>>,
}

impl Lane {
    /// Gives the name its function. The first one counts.
    pub(super) fn register(&mut self, function: Function) {
        self.function.get_or_insert(function);
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
        let key = key.cloned();
        self.waiting.push_back(Waiting { number, key });
    }

    /// Takes out those that may begin now and counts them as running. Those that are not wanted any more are
    /// left out.
    pub(super) fn choose(&mut self, is_wanted: &impl Fn(u64) -> bool) -> Vec<(u64, Function)> {
        let Some(function) = self.function.clone() else {
            return Vec::new();
        };
        let mut chosen = Vec::new();
        while self.running < function.policy.at_once {
            let Some(Waiting { number, key }) = self.waiting.pop_front() else {
                break;
            };
            if is_wanted(number) {
                self.running += 1;
                chosen.push((number, function.clone()));
            } else {
                self.release(key.as_ref());
            }
        }
        chosen
    }

    /// Counts one that ran as over.
    pub(super) fn ended(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Lets the next one with the key begin.
    pub(super) fn release(&mut self, key: Option<&Arc<str>>) {
        let Some(key) = key else {
            return;
        };
        match self.behind.get_mut(key).and_then(VecDeque::pop_front) {
            Some(number) => {
                let key = Some(key.clone());
                self.waiting.push_back(Waiting { number, key });
            }
            None => drop(self.behind.remove(key)),
        }
    }
}
