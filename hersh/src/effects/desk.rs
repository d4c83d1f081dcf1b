//! The desk: decides what is acted on when, and commits what comes of it.
//!
//! ```text
//! committed asks ──► lane of their name ──► running, each in a task of its own
//!                      (bounded, one at a time for a key)     │
//! ledger ◄── commit: everything that came in meanwhile ◄──────┘
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::act::Act;
use super::attempts::{self, Task};
use super::books::{Books, Running, Stage};
use super::lane::Function;
use super::policy::{Policy, Promise};
use crate::EFFECT_TOTAL_LIMIT_BYTES;
use crate::base::sync::locked;
use crate::shared::{Level, LogKind, Shared};
use crate::store::{Commit, Keeper, LedgerChange, Progress, SaveResult, Settlement};

/// The pause before what could not be committed is tried again.
const COMMIT_PAUSE: Duration = Duration::from_secs(1);

/// Acts on the open effects of one watcher, on the watcher's thread.
pub(crate) struct Desk {
    shared: Arc<Shared>,
    keeper: Rc<Keeper>,
    books: RefCell<Books>,
    /// Something came in for the task of the desk.
    news: Notify,
    /// Nothing is acted on or committed any more.
    idle: Notify,
}

impl Desk {
    /// Returns a desk that goes on with what the ledger holds. It acts on effects of a name once that name has
    /// a function.
    pub(crate) fn new(shared: Arc<Shared>, keeper: Rc<Keeper>) -> Rc<Self> {
        let ledger = locked(&shared.ledger).clone();
        let books = Books::of(&ledger);
        shared.inbox.mark_settled(ledger.settled() as u64);
        Rc::new(Self {
            shared,
            keeper,
            books: RefCell::new(books),
            news: Notify::new(),
            idle: Notify::new(),
        })
    }

    /// Gives the effects of a name their function.
    pub(crate) fn register(self: &Rc<Self>, name: Arc<str>, policy: Policy, act: Act) {
        let mut books = self.books.borrow_mut();
        let lane = books.lanes.entry(name).or_default();
        lane.register(Function { policy, act });
        let begins = !std::mem::replace(&mut books.is_at_work, true);
        drop(books);
        if begins {
            let desk = self.clone();
            spawn_local(async move { desk.work().await });
        }
        self.news.notify_one();
    }

    /// Takes in what a run has committed.
    pub(crate) fn committed(&self, changes: &[LedgerChange]) {
        let mut books = self.books.borrow_mut();
        for change in changes {
            match change {
                LedgerChange::Asked(number, effect) => books.queue(*number, effect),
                LedgerChange::Cancelled(id) => {
                    let ledger = locked(&self.shared.ledger);
                    if let Some(number) = ledger.number(*id)
                        && let Some(effect) = ledger.get(number)
                    {
                        books.cancel(number, effect);
                    }
                }
                LedgerChange::Begun(_) | LedgerChange::Settled(..) | LedgerChange::Taken(_) => {}
            }
        }
        drop(books);
        self.news.notify_one();
    }

    /// Begins nothing more, and waits until what is acted on has come to its end and is committed, for `grace`
    /// at most.
    pub(crate) async fn close(&self, grace: Duration) {
        if !self.stop_beginning() {
            return;
        }
        let ended = async {
            while !self.books.borrow().is_idle() {
                self.idle.notified().await;
            }
        };
        // What has not ended in time is acted on again, or is unknown, in the next life.
        let _ = timeout(grace, ended).await;
    }

    /// Drops all that is acted on. A commit that is under way comes to its end: dropped, it would go on behind
    /// the back of whoever opens the folder next.
    pub(crate) fn end(&self) {
        let mut books = self.books.borrow_mut();
        books.stage = Stage::Ended;
        for running in std::mem::take(&mut books.running).into_values() {
            running.task.abort();
        }
        drop(books);
        self.news.notify_one();
    }

    fn has_ended(&self) -> bool {
        self.books.borrow().stage == Stage::Ended
    }

    /// Begins nothing more. Returns whether the desk is at work at all.
    fn stop_beginning(&self) -> bool {
        let mut books = self.books.borrow_mut();
        books.stage = Stage::Closing;
        books.is_at_work
    }

    async fn work(self: Rc<Self>) {
        while !self.has_ended() {
            let chosen = self.choose();
            let results = std::mem::take(&mut self.books.borrow_mut().results);
            let (once, again): (Vec<_>, Vec<_>) = chosen
                .into_iter()
                .partition(|(_, function)| function.policy.promise == Promise::AtMostOnce);
            for (number, function) in again {
                self.begin(number, function);
            }
            self.books.borrow_mut().beginning = once.len();
            let begun = once.iter().map(|(number, _)| LedgerChange::Begun(*number));
            let settled = results.iter().cloned();
            let settled = settled.map(|(number, it)| LedgerChange::Settled(number, it));
            let commit = Commit {
                effects: settled.chain(begun).collect(),
                ..Commit::default()
            };
            if !commit.is_empty() && !self.commit(&commit).await {
                return;
            }
            if self.has_ended() {
                return;
            }
            self.books.borrow_mut().beginning = 0;
            for (number, function) in once {
                self.begin(number, function);
            }
            self.books.borrow_mut().told(&results);
            self.shared.inbox.mark_settled(results.len() as u64);
            if self.books.borrow().is_idle() {
                self.idle.notify_one();
            }
            self.news.notified().await;
        }
    }

    /// Takes out what may begin now.
    fn choose(&self) -> Vec<(u64, Function)> {
        let mut books = self.books.borrow_mut();
        let ledger = locked(&self.shared.ledger);
        // Results that no run takes in must not pile up without a bound.
        if books.stage != Stage::Open || ledger.size().settled_bytes > EFFECT_TOTAL_LIMIT_BYTES {
            return Vec::new();
        }
        let is_wanted = |number| {
            let effect = ledger.get(number);
            effect.is_some_and(|it| it.progress == Progress::Waiting && !it.cancelled)
        };
        let lanes = books.lanes.values_mut();
        lanes.flat_map(|lane| lane.choose(&is_wanted)).collect()
    }

    /// Acts on an effect, in a task of its own.
    fn begin(self: &Rc<Self>, number: u64, function: Function) {
        let ledger = locked(&self.shared.ledger);
        let Some(effect) = ledger.get(number).cloned() else {
            return;
        };
        let id = ledger.id(number);
        drop(ledger);
        let mut books = self.books.borrow_mut();
        let task = Task {
            id,
            input: effect.input.clone(),
            until: function
                .policy
                .within
                .and_then(|time| self.end_of(effect.asked_at_ms, time)),
            inherited: number < books.first_own && function.policy.promise == Promise::AtLeastOnce,
        };
        let desk = self.clone();
        let handle = self.shared.spawn_shown(async move {
            match attempts::settle(&function.act, &task, &function.policy).await {
                Ok(settlement) => desk.settled(number, settlement),
                Err(error) => desk.unreadable(number, id, &error),
            }
        });
        let running = Running {
            task: handle,
            effect: effect.effect,
            key: effect.key,
        };
        books.running.insert(number, running);
    }

    /// Returns when a time is over that began at `asked_at_ms`, maybe in an earlier life; `None` if it is later
    /// than any instant.
    fn end_of(&self, asked_at_ms: u64, time: Duration) -> Option<Instant> {
        let passed_ms = self.shared.clock.now_ms().saturating_sub(asked_at_ms);
        let left = time.saturating_sub(Duration::from_millis(passed_ms));
        Instant::now().checked_add(left)
    }

    /// Takes in what came of an effect.
    fn settled(&self, number: u64, settlement: Settlement) {
        self.books.borrow_mut().settle(number, settlement);
        self.news.notify_one();
    }

    /// Leaves an effect open whose input the function of this release cannot read: another release may.
    fn unreadable(&self, number: u64, id: crate::EffectId, error: &str) {
        let mut books = self.books.borrow_mut();
        let Some(running) = books.running.remove(&number) else {
            return;
        };
        // Its key stays taken: what comes after it must not overtake it.
        if let Some(lane) = books.lanes.get_mut(&running.effect) {
            lane.ended();
        }
        let name = running.effect;
        let text = format!("{name} {id} stays open: its input cannot be read any more: {error}");
        self.note(Level::Error, &text);
        drop(books);
        self.news.notify_one();
    }

    /// Commits, again and again until it succeeds. Returns false when nothing can be committed any more.
    async fn commit(&self, commit: &Commit) -> bool {
        let mut last = None;
        loop {
            match self.keeper.commit(commit).await {
                Ok(SaveResult::Synced) => return true,
                Ok(SaveResult::Unsynced(error)) => {
                    let text = format!("effects are noted, but a power cut may undo it: {error}");
                    self.note(Level::Error, &text);
                    return true;
                }
                Err(_) if self.has_ended() || self.keeper.has_given_up() => return false,
                Err(error) => {
                    if last.as_ref() != Some(&error) {
                        let text = format!("what came of effects cannot be noted: {error}");
                        self.note(Level::Error, &text);
                    }
                    last = Some(error);
                }
            }
            sleep(COMMIT_PAUSE).await;
        }
    }

    fn note(&self, level: Level, text: &str) {
        self.shared.note(level, LogKind::StateFault, 0, text);
    }
}
