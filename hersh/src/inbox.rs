//! What waits for the engine: wishes to end, messages, changed variables.
//!
//! ```text
//! senders ──push──► messages (bounded, FIFO) ──┐
//! sources ──mark──► changed variables (a set) ─┼─ announced as events, taken in by a run
//! handles ──ask───► stop, kill ────────────────┘
//! ```
//!
//! Contents stay here until the run that takes them in begins, so a count of what waits is always
//! the truth and a look at the queue disturbs nobody.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::engine::Event;
use crate::sync::locked;
use crate::var::Var;
use crate::{EndKind, Ending, SendError};

/// Messages that may wait, unless configured otherwise.
pub const MESSAGE_CAPACITY: usize = 50_000;
/// Longest message, bytes.
pub const MESSAGE_LIMIT_BYTES: usize = 64 * 1024;
/// Most bytes of all waiting messages together.
pub const MESSAGE_TOTAL_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// The queues in front of one engine.
#[derive(Debug)]
pub(crate) struct Inbox {
    inner: Mutex<Inner>,
    /// True while a wish to end waits: looked at before every run without taking the lock.
    end_asked: AtomicBool,
    wake: Notify,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Inner {
    messages: VecDeque<Arc<str>>,
    bytes: usize,
    /// How many of the messages the engine knows of.
    announced: usize,
    /// Variables with a pending update, each once.
    changed: Vec<Arc<Var>>,
    change_announced: bool,
    stop: Option<Arc<str>>,
    kill: Option<Arc<str>>,
    closed: bool,
}

/// What a run takes in.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    /// The message it is for.
    pub(crate) message: Option<Arc<str>>,
    /// Variables whose updates it takes in.
    pub(crate) changed: Vec<Arc<Var>>,
}

impl Inbox {
    /// An empty inbox for at most `capacity` messages. Takes no memory for them in advance.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            inner: Mutex::default(),
            end_asked: AtomicBool::new(false),
            wake: Notify::new(),
            capacity,
        }
    }

    /// Queues a message.
    pub(crate) fn push_message(&self, content: Arc<str>) -> Result<(), SendError> {
        if content.is_empty() {
            return Err(SendError::Empty);
        }
        if content.len() > MESSAGE_LIMIT_BYTES {
            return Err(SendError::TooLong {
                bytes: content.len(),
            });
        }
        let mut inner = locked(&self.inner);
        if inner.closed {
            return Err(SendError::NotRunning);
        }
        let bytes = inner.bytes + content.len();
        if inner.messages.len() >= self.capacity || bytes > MESSAGE_TOTAL_LIMIT_BYTES {
            return Err(SendError::QueueFull {
                waiting: inner.messages.len(),
            });
        }
        inner.bytes = bytes;
        inner.messages.push_back(content);
        drop(inner);
        self.wake.notify_one();
        Ok(())
    }

    /// Notes that a variable has an update. Called once per update that found none pending.
    pub(crate) fn mark_changed(&self, var: Arc<Var>) {
        locked(&self.inner).changed.push(var);
        self.wake.notify_one();
    }

    /// Asks the watcher to end. The first reason of each kind counts.
    pub(crate) fn ask_end(&self, ending: Ending) {
        let mut inner = locked(&self.inner);
        let slot = match ending.kind {
            EndKind::Stopped => &mut inner.stop,
            EndKind::Killed | EndKind::Crashed => &mut inner.kill,
        };
        slot.get_or_insert(ending.reason);
        self.end_asked.store(true, Ordering::Release);
        drop(inner);
        self.wake.notify_one();
    }

    /// The wish to end that waits, strongest first.
    pub(crate) fn take_end(&self) -> Option<Event> {
        if !self.end_asked.load(Ordering::Acquire) {
            return None;
        }
        let mut inner = locked(&self.inner);
        let (kind, reason) = match (inner.kill.take(), inner.stop.take()) {
            (Some(reason), _) => (EndKind::Killed, reason),
            (None, Some(reason)) => (EndKind::Stopped, reason),
            (None, None) => return None,
        };
        self.end_asked.store(false, Ordering::Release);
        Some(Event::EndAsked {
            ending: Ending::new(kind, reason),
        })
    }

    /// What came in since the last call, as one event of the highest lane that has any.
    pub(crate) fn take_event(&self) -> Option<Event> {
        if let Some(event) = self.take_end() {
            return Some(event);
        }
        let mut inner = locked(&self.inner);
        if inner.messages.len() > inner.announced {
            let count = inner.messages.len() - inner.announced;
            inner.announced = inner.messages.len();
            return Some(Event::MessagesArrived {
                count: count as u64,
            });
        }
        if !inner.changed.is_empty() && !inner.change_announced {
            inner.change_announced = true;
            return Some(Event::VariablesChanged);
        }
        None
    }

    /// Takes out what a run begins with: the oldest message if it carries one, and every variable
    /// with a pending update. `intake.changed` must be empty; its memory is reused.
    pub(crate) fn begin_run(&self, with_message: bool, intake: &mut Intake) {
        let mut inner = locked(&self.inner);
        intake.message = if with_message {
            inner.messages.pop_front()
        } else {
            None
        };
        if let Some(message) = &intake.message {
            inner.bytes -= message.len();
            inner.announced = inner.announced.saturating_sub(1);
        }
        std::mem::swap(&mut inner.changed, &mut intake.changed);
        inner.change_announced = false;
    }

    /// Resolves once something came in after the last look.
    pub(crate) async fn arrival(&self) {
        self.wake.notified().await;
    }

    /// Refuses further messages.
    pub(crate) fn close(&self) {
        locked(&self.inner).closed = true;
    }

    /// Forgets what waits: the watcher is over.
    pub(crate) fn clear(&self) {
        let mut inner = locked(&self.inner);
        inner.closed = true;
        inner.messages = VecDeque::new();
        inner.bytes = 0;
        inner.changed = Vec::new();
    }

    /// Messages that wait.
    pub(crate) fn waiting(&self) -> usize {
        locked(&self.inner).messages.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_pushes_back_and_a_run_makes_room() {
        let inbox = Inbox::new(2);
        inbox.push_message("a".into()).unwrap();
        inbox.push_message("b".into()).unwrap();
        assert_eq!(
            inbox.push_message("c".into()),
            Err(SendError::QueueFull { waiting: 2 })
        );
        let mut intake = Intake::default();
        inbox.begin_run(true, &mut intake);
        assert_eq!(intake.message.as_deref(), Some("a"));
        inbox.push_message("c".into()).unwrap();
        assert_eq!(inbox.waiting(), 2);
    }

    #[test]
    fn waiting_messages_are_bounded_in_bytes_too() {
        let inbox = Inbox::new(usize::MAX);
        let long: Arc<str> = "x".repeat(MESSAGE_LIMIT_BYTES).into();
        let fitting = MESSAGE_TOTAL_LIMIT_BYTES / MESSAGE_LIMIT_BYTES;
        for _ in 0..fitting {
            inbox.push_message(long.clone()).unwrap();
        }
        assert_eq!(
            inbox.push_message("x".into()),
            Err(SendError::QueueFull { waiting: fitting })
        );
        inbox.begin_run(true, &mut Intake::default());
        inbox.push_message(long).unwrap();
    }

    #[test]
    fn bad_messages_are_refused_by_name() {
        let inbox = Inbox::new(2);
        assert_eq!(inbox.push_message("".into()), Err(SendError::Empty));
        let bytes = MESSAGE_LIMIT_BYTES + 1;
        assert_eq!(
            inbox.push_message("x".repeat(bytes).into()),
            Err(SendError::TooLong { bytes })
        );
        inbox.close();
        assert_eq!(inbox.push_message("x".into()), Err(SendError::NotRunning));
    }

    #[test]
    fn lifecycle_comes_before_messages_and_kill_before_stop() {
        let inbox = Inbox::new(2);
        inbox.push_message("a".into()).unwrap();
        inbox.ask_end(Ending::new(EndKind::Stopped, "enough"));
        inbox.ask_end(Ending::new(EndKind::Killed, "now"));
        let ending = Ending::new(EndKind::Killed, "now");
        assert_eq!(inbox.take_event(), Some(Event::EndAsked { ending }));
        assert_eq!(
            inbox.take_event(),
            Some(Event::MessagesArrived { count: 1 })
        );
        assert_eq!(inbox.take_event(), None);
    }

    #[test]
    fn counting_what_waits_does_not_reorder_it() {
        let inbox = Inbox::new(10);
        for content in ["a", "b", "c"] {
            inbox.push_message(content.into()).unwrap();
            assert!(inbox.waiting() > 0);
        }
        let mut seen = Vec::new();
        while inbox.waiting() > 0 {
            let mut intake = Intake::default();
            inbox.begin_run(true, &mut intake);
            seen.extend(intake.message);
        }
        assert_eq!(seen, ["a".into(), "b".into(), Arc::<str>::from("c")]);
    }
}
