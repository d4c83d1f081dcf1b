//! The post office: applies changes of the mail, hands messages to the inbox, and tells those who wait for the end of
//! one.
//!
//! ```text
//! committed ──Arrived, SentAgain──► inbox ──► run
//!           ──Ran, SetAside───────► whoever waits for the message
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use super::{KeptMessage, KeyEnd, Mail, MailChange, MessageRun};
use crate::SendError;
use crate::base::clock::Clock;
use crate::base::sync::{Mutex, locked};
use crate::inbox::{Inbox, KeptNote, Message};

/// What came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MessageEnd {
    /// Its run is committed.
    Ran(MessageRun),
    /// It was set aside; what its last run failed with.
    SetAside(Arc<str>),
}

/// Tells what came of a message, once it is known. It is dropped untold when the watcher ends before.
pub(crate) type EndSender = oneshot::Sender<MessageEnd>;

/// A message that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    pub(crate) number: u64,
    /// True when it came before under its key.
    pub(crate) again: bool,
    /// True when it is on disk.
    pub(crate) durable: bool,
}

/// The mail of one watcher, with those who wait for it.
#[derive(Debug)]
pub(crate) struct PostOffice {
    inbox: Arc<Inbox>,
    clock: Clock,
    /// Locked before what the inbox locks, never after.
    counter: Mutex<Counter>,
    /// True once a message has a key or somebody who waits for it. A run of a watcher that keeps nothing on disk
    /// looks at nothing else here.
    is_watched: AtomicBool,
}

#[derive(Debug)]
struct Counter {
    /// True once the watcher is over: nobody will be told anything.
    is_closed: bool,
    mail: Mail,
    waiters: BTreeMap<u64, Vec<EndSender>>,
}

/// How many times the run of a message may be noted and end the watcher; beside the first time, which nobody noted.
const FATAL_LIMIT: u32 = 3;

/// How the last life of a watcher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastEnd {
    /// It left one file, or there was none.
    Well,
    /// In the middle: its process was killed, or the machine lost its power.
    Cut,
}

/// A message that its sender may have sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recognition {
    /// It is new.
    New,
    /// It came before, under this number.
    Known(u64),
    /// Another message came before under its key.
    Reused,
}

impl Admission {
    /// Returns what is said of a message that came before.
    pub(crate) fn again(number: u64, durable: bool) -> Self {
        Self {
            number,
            again: true,
            durable,
        }
    }
}

impl PostOffice {
    /// Returns a post office that goes on with this mail. What waits is in the inbox from now on. If the last life
    /// did not end well, the run of the oldest message may have ended it.
    pub(crate) fn new(inbox: Arc<Inbox>, clock: Clock, mail: Mail, last_end: LastEnd) -> Self {
        for (place, (number, message)) in mail.waiting().enumerate() {
            if message.fatal < FATAL_LIMIT {
                let is_suspect = place == 0 && (last_end == LastEnd::Cut || message.fatal > 0);
                let queued_at_ms = clock.now_ms();
                inbox.deliver(Message {
                    kept: Some(Box::new(KeptNote {
                        is_suspect,
                        queued_at_ms,
                    })),
                    ..queued(number, message, clock)
                });
            }
        }
        for (_, aside) in mail.set_aside() {
            inbox.set_aside(aside.message.content.len());
        }
        inbox.number_from(mail.next());
        Self {
            inbox,
            clock,
            is_watched: AtomicBool::new(mail.saved().is_some()),
            counter: Mutex::new(Counter {
                is_closed: false,
                mail,
                waiters: BTreeMap::new(),
            }),
        }
    }

    /// Returns the messages that have no other run because theirs ended too many lives of the watcher, each as the
    /// change that sets it aside.
    pub(crate) fn fatal(&self) -> Vec<MailChange> {
        self.look(|mail| {
            let fatal = mail.waiting().filter(|(_, it)| it.fatal >= FATAL_LIMIT);
            let aside = fatal.map(|(number, message)| {
                let times = message.fatal;
                let reason = format!("the watcher ended {times} times in the middle of its run");
                MailChange::SetAside(number, reason.into())
            });
            aside.collect()
        })
    }

    /// Calls `look` with the mail.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Mail) -> T) -> T {
        look(&locked(&self.counter).mail)
    }

    /// Returns whether changes of messages concern anybody, of a watcher that keeps nothing on disk.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Relaxed)
    }

    /// Returns whether a message came before under the key of this one.
    pub(crate) fn knows(&self, message: &KeptMessage) -> bool {
        let Some(key) = &message.key else {
            return false;
        };
        let counter = locked(&self.counter);
        counter.mail.keys().get(key, message.at_ms).is_some()
    }

    /// Gives back the room of a message that is queued now, or is not to be.
    pub(crate) fn give_back(&self, content: &str) {
        self.inbox.give_back(content);
    }

    /// Returns whether a message came before. Whoever sent it waits for that one then.
    pub(crate) fn recognise(
        &self,
        message: &KeptMessage,
        waiter: &mut Option<EndSender>,
    ) -> Recognition {
        locked(&self.counter).recognise(message, waiter)
    }

    /// Notes who waits for a message that is about to arrive.
    pub(crate) fn wait(&self, number: u64, waiter: EndSender) {
        locked(&self.counter).wait(number, waiter);
    }

    /// Accepts a message in memory, with its key and whoever waits for it, unless it came before.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(crate) fn accept_in_memory(
        &self,
        message: KeptMessage,
        mut waiter: Option<EndSender>,
    ) -> Result<Admission, SendError> {
        // Held to the end: somebody may send the same message at the same time, and its run, which may end before this
        // function does, waits for the lock then.
        let mut counter = locked(&self.counter);
        if counter.is_closed {
            return Err(SendError::NotRunning);
        }
        match counter.recognise(&message, &mut waiter) {
            Recognition::New => {}
            Recognition::Known(number) => return Ok(Admission::again(number, false)),
            Recognition::Reused => return Err(SendError::KeyReused),
        }
        self.is_watched.store(true, Ordering::Relaxed);
        let content = message.content.clone();
        let number = self.inbox.push_message(content, message.at_ms)?;
        counter.mail.apply(MailChange::Arrived(number, message));
        if let Some(waiter) = waiter {
            counter.wait(number, waiter);
        }
        Ok(Admission {
            number,
            again: false,
            durable: false,
        })
    }

    /// Applies changes that are committed. What arrived is handed to the inbox.
    pub(crate) fn apply(&self, changes: Vec<MailChange>) {
        if changes.is_empty() {
            return;
        }
        let mut counter = locked(&self.counter);
        for change in changes {
            counter.apply(change, &self.inbox, self.clock);
        }
    }

    /// Applies changes of messages that the inbox has already.
    pub(crate) fn apply_in_memory(&self, changes: Vec<MailChange>) {
        if changes.is_empty() {
            return;
        }
        self.is_watched.store(true, Ordering::Relaxed);
        let mut counter = locked(&self.counter);
        for change in changes {
            match change {
                MailChange::Arrived(..) => counter.mail.apply(change),
                MailChange::Suspected(_)
                | MailChange::Ran(..)
                | MailChange::SetAside(..)
                | MailChange::SentAgain(_)
                | MailChange::Dropped(_) => counter.apply(change, &self.inbox, self.clock),
            }
        }
    }

    /// Hands a message to the inbox that could not be kept. It has no number, so that its run ends no other one.
    pub(crate) fn deliver_unkept(&self, message: &KeptMessage) {
        self.inbox.deliver(queued(0, message, self.clock));
    }

    /// Forgets those who wait, because the watcher is over: they learn that they wait in vain.
    pub(crate) fn close(&self) {
        let mut counter = locked(&self.counter);
        counter.is_closed = true;
        counter.waiters.clear();
    }
}

impl Counter {
    fn recognise(&mut self, message: &KeptMessage, waiter: &mut Option<EndSender>) -> Recognition {
        let Some(key) = &message.key else {
            return Recognition::New;
        };
        let Some(known) = self.mail.keys().get(key, message.at_ms) else {
            return Recognition::New;
        };
        if !known.is_of(&message.content) {
            return Recognition::Reused;
        }
        let (number, end) = (known.number, known.end.clone());
        if let Some(waiter) = waiter.take() {
            match end {
                KeyEnd::Waiting => self.wait(number, waiter),
                KeyEnd::Ran(run) => drop(waiter.send(MessageEnd::Ran(run))),
                KeyEnd::SetAside(reason) => drop(waiter.send(MessageEnd::SetAside(reason))),
            }
        }
        Recognition::Known(number)
    }

    fn apply(&mut self, change: MailChange, inbox: &Inbox, clock: Clock) {
        match &change {
            MailChange::Arrived(number, message) => inbox.deliver(queued(*number, message, clock)),
            MailChange::Suspected(_) => {}
            MailChange::Ran(number, run) => self.tell(*number, &MessageEnd::Ran(run.clone())),
            MailChange::SetAside(number, reason) => {
                if let Some(message) = self.mail.get_waiting(*number) {
                    inbox.set_aside(message.content.len());
                }
                self.tell(*number, &MessageEnd::SetAside(reason.clone()));
            }
            MailChange::SentAgain(number) => {
                if let Some(aside) = self.mail.get_set_aside(*number) {
                    inbox.take_back(aside.message.content.len());
                    inbox.deliver(queued(*number, &aside.message, clock));
                }
            }
            MailChange::Dropped(number) => {
                if let Some(aside) = self.mail.get_set_aside(*number) {
                    inbox.take_back(aside.message.content.len());
                }
            }
        }
        self.mail.apply(change);
    }

    /// Adds one who waits, in the place of those who have gone: a client may ask again and again under a key.
    fn wait(&mut self, number: u64, waiter: EndSender) {
        if self.is_closed {
            return;
        }
        let waiters = self.waiters.entry(number).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(waiter);
    }

    fn tell(&mut self, number: u64, end: &MessageEnd) {
        for waiter in self.waiters.remove(&number).into_iter().flatten() {
            // Whoever waited may have gone.
            let _ = waiter.send(end.clone());
        }
    }
}

fn queued(number: u64, message: &KeptMessage, clock: Clock) -> Message {
    Message {
        number,
        content: message.content.clone(),
        at_ms: message.at_ms,
        kept: Some(Box::new(KeptNote {
            is_suspect: false,
            queued_at_ms: clock.now_ms(),
        })),
    }
}
