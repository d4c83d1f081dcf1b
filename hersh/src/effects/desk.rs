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
use tokio::time::{Instant, sleep};

use super::act::Act;
use super::attempts::{self, Task};
use super::books::{Books, Hold, Stage, unknown};
use super::lane::Function;
use super::policy::Policy;
use crate::EFFECT_TOTAL_LIMIT_BYTES;
use crate::base::sync::locked;
use crate::shared::{Level, LogKind, Shared};
use crate::store::{Commit, LedgerChange, OpenEffect, SaveResult, Settlement};

/// The pause before what could not be committed is tried again.
const COMMIT_PAUSE: Duration = Duration::from_secs(1);

/// Acts on the open effects of one watcher, on the watcher's thread.
pub(crate) struct Desk {
    shared: Arc<Shared>,
    books: RefCell<Books>,
    /// Something came in for the task of the desk.
    news: Notify,
    /// Nothing is acted on or committed any more.
    idle: Notify,
}

impl Desk {
    /// Returns a desk that goes on with what the ledger holds. It acts on effects of a name, and tells of their
    /// outcomes, once that name has a function.
    pub(crate) fn new(shared: Arc<Shared>) -> Rc<Self> {
        let books = Books::of(&locked(&shared.ledger));
        Rc::new(Self {
            shared,
            books: RefCell::new(books),
            news: Notify::new(),
            idle: Notify::new(),
        })
    }

    /// Gives the effects of a name their function. Called once for each name.
    pub(crate) fn register(self: &Rc<Self>, name: Arc<str>, policy: Policy, act: Act) {
        let waiting = locked(&self.shared.ledger).settled_of(&name);
        let mut books = self.books.borrow_mut();
        let lane = books.lanes.entry(name).or_default();
        lane.register(Function { policy, act });
        let begins = !std::mem::replace(&mut books.is_at_work, true);
        drop(books);
        self.shared.inbox.mark_settled(waiting as u64);
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

    /// Begins nothing more, and waits until what is acted on has come to its end and is committed. What waits for
    /// its next attempt is not waited for.
    pub(crate) async fn close(&self) {
        if !self.stop_beginning() {
            return;
        }
        while !self.books.borrow().is_idle() && !self.shared.keeper.has_given_up() {
            self.idle.notified().await;
        }
    }

    /// Drops all that is acted on. A commit that is under way comes to its end: dropped, it would go on behind
    /// the back of whoever opens the folder next.
    pub(crate) fn end(&self) {
        let mut books = self.books.borrow_mut();
        books.stage = Stage::Ended;
        for held in std::mem::take(&mut books.held).into_values() {
            match held.hold {
                Hold::Acting(task) | Hold::Resting(task, _) => task.abort(),
                Hold::Beginning | Hold::Unreadable => {}
            }
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
        if books.stage == Stage::Open {
            books.stage = Stage::Closing;
        }
        books.is_at_work && books.stage == Stage::Closing
    }

    async fn work(self: Rc<Self>) {
        while !self.has_ended() {
            let once = self.begin_what_may();
            let results = std::mem::take(&mut self.books.borrow_mut().results);
            let begun = once.iter().map(|(number, ..)| LedgerChange::Begun(*number));
            let settled = results.iter().cloned();
            let settled = settled.map(|(number, it)| LedgerChange::Settled(number, it));
            let commit = Commit {
                effects: settled.chain(begun).collect(),
                ..Commit::default()
            };
            if !commit.is_empty() && !self.commit(Arc::new(commit)).await {
                break;
            }
            if self.has_ended() {
                break;
            }
            for (number, effect, function) in once {
                self.begin(number, &effect, function);
            }
            self.tell(&results);
            // What is committed now has given places and keys back.
            if results.is_empty() {
                self.news.notified().await;
            }
        }
        self.idle.notify_one();
    }

    /// Takes out what may begin now, and begins it, but for what has to be noted first: that is returned.
    fn begin_what_may(self: &Rc<Self>) -> Vec<(u64, OpenEffect, Function)> {
        let mut once = Vec::new();
        for (number, effect, function) in self.choose() {
            if let Err(error) = function.act.reads(&effect.input) {
                self.leave_unreadable(number, &effect, &error);
            } else if !function.acts_once(&effect) {
                self.begin(number, &effect, function);
            } else if self.books.borrow().may_have_acted(number, &effect) {
                let reason =
                    "an earlier release may have acted on it, and this one acts once at most";
                self.books.borrow_mut().settle(number, unknown(reason));
            } else {
                once.push((number, effect, function));
            }
        }
        once
    }

    fn choose(&self) -> Vec<(u64, OpenEffect, Function)> {
        let mut books = self.books.borrow_mut();
        // Nothing begins from the moment on that the end was asked for, though a run may go on.
        if books.stage != Stage::Open || self.shared.inbox.is_closed() {
            return Vec::new();
        }
        let ledger = locked(&self.shared.ledger);
        // Results that no run takes in must not pile up without a bound.
        if ledger.size().settled_bytes > EFFECT_TOTAL_LIMIT_BYTES {
            return Vec::new();
        }
        books.choose(&ledger)
    }

    /// Acts on an effect, in a task of its own.
    fn begin(self: &Rc<Self>, number: u64, effect: &OpenEffect, function: Function) {
        let mut books = self.books.borrow_mut();
        if books.pending.contains(&number) {
            // It was cancelled while it was noted that it begins.
            return;
        }
        let once = function.acts_once(effect);
        let task = Task {
            id: effect.id(number),
            input: effect.input.clone(),
            timeout: function.policy.timeout,
            again: !once,
            until: function
                .policy
                .within
                .and_then(|time| self.end_of(effect.asked_at_ms, time)),
            may_have_acted: books.may_have_acted(number, effect),
        };
        let desk = self.clone();
        let handle = self.shared.spawn_shown(async move {
            let rest = async |pause| desk.rest(number, pause).await;
            let settlement = attempts::settle(&function.act, &task, rest).await;
            desk.settled(number, settlement);
        });
        if let Some(held) = books.held.get_mut(&number) {
            held.hold = Hold::Acting(handle);
        }
    }

    /// Gives an effect's place back for a while, and waits until it has one again.
    async fn rest(&self, number: u64, pause: Duration) {
        let place = Rc::new(Notify::new());
        {
            let mut books = self.books.borrow_mut();
            let books = &mut *books;
            let Some(held) = books.held.get_mut(&number) else {
                return;
            };
            let Hold::Acting(task) = &held.hold else {
                return;
            };
            held.hold = Hold::Resting(task.clone(), place.clone());
            if let Some(lane) = books.lanes.get_mut(&held.effect) {
                lane.give_back();
            }
        }
        self.tell(&[]);
        self.news.notify_one();
        sleep(pause).await;
        {
            let mut books = self.books.borrow_mut();
            let books = &mut *books;
            if let Some(held) = books.held.get(&number)
                && let Some(lane) = books.lanes.get_mut(&held.effect)
            {
                lane.queue_again(number);
            }
        }
        self.news.notify_one();
        place.notified().await;
    }

    /// Tells of results that are committed.
    fn tell(&self, results: &[(u64, Settlement)]) {
        let mut books = self.books.borrow_mut();
        books.told(results);
        let ledger = locked(&self.shared.ledger);
        let of = |number: &u64| ledger.get(*number).map(|effect| effect.effect.clone());
        let names = results.iter().filter_map(|(number, _)| of(number));
        let count = names.filter(|name| books.knows(name)).count();
        drop(ledger);
        let is_idle = books.is_idle();
        drop(books);
        self.shared.inbox.mark_settled(count as u64);
        if is_idle {
            self.idle.notify_one();
        }
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
        let mut books = self.books.borrow_mut();
        if books.held.contains_key(&number) {
            books.settle(number, settlement);
        }
        drop(books);
        self.news.notify_one();
    }

    /// Leaves an effect open whose input the function of this release cannot read: another release may.
    fn leave_unreadable(&self, number: u64, effect: &OpenEffect, error: &str) {
        let mut books = self.books.borrow_mut();
        let books = &mut *books;
        if let Some(held) = books.held.get_mut(&number) {
            held.hold = Hold::Unreadable;
        }
        if let Some(lane) = books.lanes.get_mut(&effect.effect) {
            lane.give_back();
        }
        let (name, id) = (&effect.effect, effect.id(number));
        let text = format!("{name} {id} stays open: its input cannot be read any more: {error}");
        self.note(Level::Error, &text);
        // There may be a place for another one.
        self.news.notify_one();
    }

    /// Commits, again and again until it succeeds. Returns false when nothing can be committed any more.
    async fn commit(&self, commit: Arc<Commit>) -> bool {
        let mut last = None;
        loop {
            match self.shared.keeper.commit(commit.clone()).await {
                Ok(SaveResult::Synced) => return true,
                Ok(SaveResult::Unsynced(error)) => {
                    let text = format!("effects are noted, but a power cut may undo it: {error}");
                    self.note(Level::Error, &text);
                    return true;
                }
                Err(_) if self.has_ended() || self.shared.keeper.has_given_up() => return false,
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
