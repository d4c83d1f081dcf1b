//! What waits for the engine: requests to end, messages, settled effects, changed variables.
//!
//! ```text
//! senders ──push──► arrivals ─┐ (bounded, FIFO, one lock)
//! sources ──mark──► changed  ─┼─bell─► take_event ──► queue ──► begin_run: one message,
//! desk ────count──► settled  ─┤        (announced)   (FIFO)     all changed variables
//! handles ──ask───► end      ─┘
//! ```
//! Of settled effects only their number is here: what came of them waits in the ledger.
//!
//! All senders share one lock, which the engine takes once for a whole burst. Messages that
//! the engine knows of are in `queue`, which has a lock of its own; only the API contends for that
//! one. Messages and variables stay in the inbox until the run that takes them in begins. So a
//! count of what waits is always right, and a look at the queue disturbs nobody.

mod limits;
mod message;
mod offer;
mod peek;
mod send_error;
mod var;

#[cfg(all(test, hersh_loom))]
mod schedules;

use std::collections::VecDeque;
use std::sync::Arc;

pub use limits::{MESSAGE_CAPACITY, MESSAGE_LIMIT_BYTES, MESSAGE_TOTAL_LIMIT_BYTES};
pub(crate) use message::{Intake, KeptNote, Message, NextMessage};
pub use send_error::SendError;
pub(crate) use var::{CurrentValue, Update, Value, Var};
pub use var::{Shown, Watchable};

use crate::base::sync::{AtomicBool, AtomicUsize, Bell, Mutex, Ordering, OwnLines, locked};
use crate::engine::Event;
use crate::{EndKind, Ending};

/// The queues in front of one engine.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// Written by senders.
    arrivals: OwnLines<Mutex<Arrivals>>,
    queue: Mutex<VecDeque<Message>>,
    /// The number of messages in `queue` (and of their bytes, below), for threads that lock only `arrivals`.
    queued: AtomicUsize,
    queued_bytes: AtomicUsize,
    /// The number of messages that were set aside, and of their bytes: they take the room of messages that wait.
    aside: AtomicUsize,
    aside_bytes: AtomicUsize,
    /// True while a request to end waits. The engine reads it before every run without taking the
    /// lock.
    end_requested: AtomicBool,
    /// True while a changed variable waits for a run. The engine reads it in the same way.
    has_changed: AtomicBool,
    /// Written by senders and by the engine.
    bell: OwnLines<Bell>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Arrivals {
    messages: VecDeque<Message>,
    bytes: usize,
    /// The number of the newest message.
    last: u64,
    /// Messages that have room and are on their way to the disk, and their bytes.
    underway: usize,
    underway_bytes: usize,
    /// Variables with a pending update, each once.
    changed: Vec<Arc<Var>>,
    /// Effects that were settled and are not told yet.
    settled: u64,
    stop: Option<Arc<str>>,
    kill: Option<Arc<str>>,
    closed: bool,
    /// True once the watcher is over.
    cleared: bool,
    /// When the end was asked for that waits, engine time.
    end_at_ms: u64,
}

impl Inbox {
    /// Returns an empty inbox for at most `capacity` messages. Takes no memory for them in advance.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            arrivals: OwnLines(Mutex::new(Arrivals::default())),
            queue: Mutex::new(VecDeque::new()),
            queued: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            aside: AtomicUsize::new(0),
            aside_bytes: AtomicUsize::new(0),
            end_requested: AtomicBool::new(false),
            has_changed: AtomicBool::new(false),
            bell: OwnLines(Bell::new()),
            capacity,
        }
    }

    /// Returns how many messages may wait.
    #[cfg(feature = "api")]
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Queues a message that came in at `at_ms`. Returns its number.
    pub(crate) fn push_message(&self, content: Arc<str>, at_ms: u64) -> Result<u64, SendError> {
        check(&content)?;
        let mut arrivals = locked(&self.arrivals);
        self.check_room(&arrivals, content.len())?;
        arrivals.bytes += content.len();
        arrivals.last += 1;
        let number = arrivals.last;
        arrivals.messages.push_back(Message {
            number,
            content,
            at_ms,
            kept: None,
        });
        drop(arrivals);
        self.bell.ring();
        Ok(number)
    }

    /// Takes room for a message that is kept on disk before it is queued.
    pub(crate) fn reserve(&self, content: &str) -> Result<(), SendError> {
        check(content)?;
        let mut arrivals = locked(&self.arrivals);
        self.check_room(&arrivals, content.len())?;
        arrivals.underway += 1;
        arrivals.underway_bytes += content.len();
        Ok(())
    }

    /// Gives back the room of a message, which is queued now, or could not be kept.
    pub(crate) fn give_back(&self, content: &str) {
        let mut arrivals = locked(&self.arrivals);
        arrivals.underway = arrivals.underway.saturating_sub(1);
        arrivals.underway_bytes = arrivals.underway_bytes.saturating_sub(content.len());
    }

    /// Queues a message that is on disk, whatever room there is.
    pub(crate) fn deliver(&self, message: Message) {
        let mut arrivals = locked(&self.arrivals);
        if arrivals.cleared {
            return;
        }
        arrivals.bytes += message.content.len();
        arrivals.messages.push_back(message);
        drop(arrivals);
        self.bell.ring();
    }

    /// Sets the number of the next message.
    pub(crate) fn number_from(&self, next: u64) {
        locked(&self.arrivals).last = next.saturating_sub(1);
    }

    /// Notes that a message of this length was set aside.
    pub(crate) fn set_aside(&self, bytes: usize) {
        self.aside.fetch_add(1, Ordering::Relaxed);
        self.aside_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes that a message of this length is set aside no more.
    pub(crate) fn take_back(&self, bytes: usize) {
        self.aside.fetch_sub(1, Ordering::Relaxed);
        self.aside_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Notes that a variable has an update. Called only for an update that found none pending, so
    /// that each variable is noted once.
    pub(crate) fn mark_changed(&self, var: Arc<Var>) {
        let mut arrivals = locked(&self.arrivals);
        arrivals.changed.push(var);
        self.has_changed.store(true, Ordering::Relaxed);
        drop(arrivals);
        self.bell.ring();
    }

    /// Notes that effects were settled; what came of them is committed.
    pub(crate) fn mark_settled(&self, count: u64) {
        if count == 0 {
            return;
        }
        locked(&self.arrivals).settled += count;
        self.bell.ring();
    }

    /// Asks the watcher to end, at `at_ms`. The first reason of each kind counts. Further messages
    /// are refused, because no run would follow.
    pub(crate) fn request_end(&self, ending: Ending, at_ms: u64) {
        let mut arrivals = locked(&self.arrivals);
        arrivals.closed = true;
        if arrivals.stop.is_none() && arrivals.kill.is_none() {
            arrivals.end_at_ms = at_ms;
        }
        let slot = match ending.kind {
            EndKind::Stopped => &mut arrivals.stop,
            EndKind::Killed | EndKind::Crashed => &mut arrivals.kill,
        };
        slot.get_or_insert(ending.reason);
        self.end_requested.store(true, Ordering::Release);
        drop(arrivals);
        self.bell.ring();
    }

    /// Takes the waiting requests to end as one event; a kill takes precedence over a stop.
    pub(crate) fn take_end(&self) -> Option<Event> {
        if !self.end_requested.load(Ordering::Acquire) {
            return None;
        }
        let mut arrivals = locked(&self.arrivals);
        self.end_requested.store(false, Ordering::Relaxed);
        let (kind, reason) = match (arrivals.kill.take(), arrivals.stop.take()) {
            (Some(reason), _) => (EndKind::Killed, reason),
            (None, Some(reason)) => (EndKind::Stopped, reason),
            (None, None) => return None,
        };
        Some(Event::EndAsked {
            ending: Ending::new(kind, reason),
        })
    }

    /// Takes what came in since the last call as one event: a request to end, else messages, else settled
    /// effects, else variables.
    pub(crate) fn take_event(&self) -> Option<Event> {
        if !self.bell.answer() {
            return None;
        }
        if let Some(event) = self.take_end() {
            // The bell rings again, so that the next call tells what else came in.
            self.bell.ring();
            return Some(event);
        }
        let mut arrivals = locked(&self.arrivals);
        let has_changed = !arrivals.changed.is_empty();
        let (event, more) = if !arrivals.messages.is_empty() {
            let count = self.enqueue(&mut arrivals);
            let more = has_changed || arrivals.settled > 0;
            (Event::MessagesArrived { count }, more)
        } else if arrivals.settled > 0 {
            let count = std::mem::take(&mut arrivals.settled);
            (Event::EffectsSettled { count }, has_changed)
        } else {
            return has_changed.then_some(Event::VariablesChanged);
        };
        drop(arrivals);
        if more {
            self.bell.ring();
        }
        Some(event)
    }

    /// Takes out what a run begins with: its message, and every variable
    /// with a pending update. `intake.changed` must be empty; its memory is reused.
    pub(crate) fn begin_run(&self, next: NextMessage, intake: &mut Intake) {
        if next != NextMessage::Same {
            intake.message = None;
        }
        if next == NextMessage::Oldest {
            let mut queue = locked(&self.queue);
            intake.message = queue.pop_front();
            if let Some(message) = &intake.message {
                // Only the engine changes these two counts, always under this lock, so nothing
                // comes between load and store.
                let queued = self.queued.load(Ordering::Relaxed) - 1;
                self.queued.store(queued, Ordering::Relaxed);
                let bytes = self.queued_bytes.load(Ordering::Relaxed) - message.content.len();
                self.queued_bytes.store(bytes, Ordering::Relaxed);
            }
        }
        if self.has_changed.load(Ordering::Relaxed) {
            let mut arrivals = locked(&self.arrivals);
            self.has_changed.store(false, Ordering::Relaxed);
            std::mem::swap(&mut arrivals.changed, &mut intake.changed);
        }
    }

    /// Waits until something has come in that no call of [`Inbox::take_event`] has told yet.
    pub(crate) async fn arrival(&self) {
        self.bell.rings().await;
    }

    /// Returns whether something has come in that no call of [`Inbox::take_event`] has told yet.
    pub(crate) fn has_news(&self) -> bool {
        self.bell.is_rung()
    }

    /// Returns whether further messages are refused: the end was asked for, or has begun.
    pub(crate) fn is_closed(&self) -> bool {
        locked(&self.arrivals).closed
    }

    /// Refuses further messages.
    pub(crate) fn close(&self) {
        locked(&self.arrivals).closed = true;
    }

    /// Forgets what waits, because the watcher is over.
    pub(crate) fn clear(&self) {
        let mut arrivals = locked(&self.arrivals);
        arrivals.closed = true;
        arrivals.cleared = true;
        arrivals.messages = VecDeque::new();
        arrivals.bytes = 0;
        arrivals.changed = Vec::new();
        arrivals.settled = 0;
        *locked(&self.queue) = VecDeque::new();
        self.queued.store(0, Ordering::Relaxed);
        self.queued_bytes.store(0, Ordering::Relaxed);
    }

    /// Returns how many messages wait.
    pub(crate) fn waiting(&self) -> usize {
        let arrivals = locked(&self.arrivals);
        arrivals.messages.len() + self.queued.load(Ordering::Relaxed)
    }

    /// Refuses a message that there is no room for.
    fn check_room(&self, arrivals: &Arrivals, bytes: usize) -> Result<(), SendError> {
        if arrivals.closed {
            return Err(SendError::NotRunning);
        }
        let waiting = arrivals.messages.len() + self.queued.load(Ordering::Relaxed);
        let all = waiting + arrivals.underway + self.aside.load(Ordering::Relaxed);
        let total_bytes = arrivals.bytes
            + arrivals.underway_bytes
            + self.queued_bytes.load(Ordering::Relaxed)
            + self.aside_bytes.load(Ordering::Relaxed)
            + bytes;
        if all >= self.capacity || total_bytes > MESSAGE_TOTAL_LIMIT_BYTES {
            let set_aside = self.aside.load(Ordering::Relaxed);
            return Err(SendError::QueueFull { waiting, set_aside });
        }
        Ok(())
    }

    /// Moves all arrived messages to the end of `queue` and returns how many they are.
    fn enqueue(&self, arrivals: &mut Arrivals) -> u64 {
        let mut queue = locked(&self.queue);
        let count = arrivals.messages.len();
        if queue.is_empty() {
            std::mem::swap(&mut *queue, &mut arrivals.messages);
        } else {
            queue.append(&mut arrivals.messages);
        }
        let bytes = self.queued_bytes.load(Ordering::Relaxed) + arrivals.bytes;
        arrivals.bytes = 0;
        self.queued.store(queue.len(), Ordering::Relaxed);
        self.queued_bytes.store(bytes, Ordering::Relaxed);
        count as u64
    }
}

fn check(content: &str) -> Result<(), SendError> {
    if content.is_empty() {
        return Err(SendError::Empty);
    }
    if content.len() > MESSAGE_LIMIT_BYTES {
        return Err(SendError::TooLong {
            bytes: content.len(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(inbox: &Inbox, content: &str) -> Result<u64, SendError> {
        inbox.push_message(content.into(), 0)
    }

    /// Announces what arrived and takes the oldest message out.
    fn pop(inbox: &Inbox) -> Option<Arc<str>> {
        inbox.take_event();
        let mut intake = Intake::default();
        inbox.begin_run(NextMessage::Oldest, &mut intake);
        intake.message.map(|message| message.content)
    }

    #[test]
    fn a_full_inbox_pushes_back_and_a_run_makes_room() {
        let inbox = Inbox::new(2);
        push(&inbox, "a").unwrap();
        push(&inbox, "b").unwrap();
        let full = Err(SendError::QueueFull {
            waiting: 2,
            set_aside: 0,
        });
        assert_eq!(push(&inbox, "c"), full);
        assert_eq!(pop(&inbox).as_deref(), Some("a"));
        push(&inbox, "c").unwrap();
        assert_eq!(inbox.waiting(), 2);
        assert_eq!(push(&inbox, "d"), full);
    }

    #[test]
    fn waiting_messages_are_bounded_in_bytes_too() {
        let inbox = Inbox::new(usize::MAX);
        let long = "x".repeat(MESSAGE_LIMIT_BYTES);
        let fitting = MESSAGE_TOTAL_LIMIT_BYTES / MESSAGE_LIMIT_BYTES;
        for _ in 0..fitting {
            push(&inbox, &long).unwrap();
        }
        let full = Err(SendError::QueueFull {
            waiting: fitting,
            set_aside: 0,
        });
        assert_eq!(push(&inbox, "x"), full);
        pop(&inbox).unwrap();
        push(&inbox, &long).unwrap();
        assert_eq!(push(&inbox, "x"), full);
    }

    #[test]
    fn each_bad_message_has_its_own_error() {
        let inbox = Inbox::new(2);
        assert_eq!(push(&inbox, ""), Err(SendError::Empty));
        let bytes = MESSAGE_LIMIT_BYTES + 1;
        assert_eq!(
            push(&inbox, &"x".repeat(bytes)),
            Err(SendError::TooLong { bytes })
        );
        inbox.close();
        assert_eq!(push(&inbox, "x"), Err(SendError::NotRunning));
    }

    #[test]
    fn lifecycle_comes_before_messages_and_kill_before_stop() {
        let inbox = Inbox::new(2);
        push(&inbox, "a").unwrap();
        inbox.request_end(Ending::new(EndKind::Stopped, "enough"), 0);
        inbox.request_end(Ending::new(EndKind::Killed, "now"), 0);
        let ending = Ending::new(EndKind::Killed, "now");
        assert_eq!(inbox.take_event(), Some(Event::EndAsked { ending }));
        let arrived = Event::MessagesArrived { count: 1 };
        assert_eq!(inbox.take_event(), Some(arrived));
        assert_eq!(inbox.take_event(), None);
    }

    #[test]
    fn a_look_at_what_waits_does_not_reorder_it() {
        let inbox = Inbox::new(10);
        for content in ["a", "b", "c"] {
            push(&inbox, content).unwrap();
        }
        inbox.take_event();
        push(&inbox, "d").unwrap();
        let peeked = inbox.peek(3);
        assert_eq!((peeked.messages, peeked.oldest.len()), (4, 3));
        let mut seen = Vec::new();
        while inbox.waiting() > 0 {
            inbox.peek(30);
            seen.extend(pop(&inbox));
        }
        assert_eq!(seen.join(" "), "a b c d");
    }
}
