//! How a message reaches a watcher: checked, given room, kept if there is a folder, queued.

use std::any::TypeId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::Shared;
use crate::base::sync::{Mutex, locked};
use crate::store::{Acceptance, Admission, EndSender, KeptMessage, Recognition};
use crate::{KEY_LIMIT_BYTES, SendError};

/// Most types that one watcher reads messages as.
const READER_LIMIT: usize = 8;

/// What the watcher reads messages as; anything, until it says so.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    /// True once there is a reader: a sender of a watcher that has none takes no lock.
    reads: AtomicBool,
    readers: Mutex<Vec<Reader>>,
}

#[derive(Clone, Copy, Debug)]
struct Reader {
    of: TypeId,
    read: fn(&str) -> Result<(), String>,
}

/// A message on its way to a watcher: its content, and a key if it has one.
///
/// ```
/// use hersh::Message;
///
/// let plain: Message = "buy".into();
/// let once = Message::new("buy").key("order-17");
/// # assert_ne!(plain, once);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub(crate) content: Arc<str>,
    pub(crate) key: Option<Arc<str>>,
}

/// A message that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// Counts the messages of the watcher; with a state folder, over its lives as long as any of them is kept.
    pub number: u64,
    /// Whether the message is on disk: it has its run even if the machine loses its power now.
    pub durable: bool,
    /// Whether the message came before under its key: this time nothing new was queued.
    pub repeated: bool,
}

impl Message {
    /// Returns a message without a key.
    #[must_use]
    pub fn new(content: impl Into<Arc<str>>) -> Self {
        Self {
            content: content.into(),
            key: None,
        }
    }

    /// Gives the message an idempotency key, 1 to [`KEY_LIMIT_BYTES`] visible ASCII characters: a message that
    /// comes again under its key is the same one, and has one run. Keys are remembered for a day, the newest
    /// [`KEY_LIMIT`](crate::KEY_LIMIT) of them; with a state folder over restarts.
    #[must_use]
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl<T: Into<Arc<str>>> From<T> for Message {
    fn from(content: T) -> Self {
        Self::new(content)
    }
}

impl From<Admission> for Receipt {
    fn from(accepted: Admission) -> Self {
        Self {
            number: accepted.number,
            durable: accepted.durable,
            repeated: accepted.again,
        }
    }
}

impl Readers {
    /// Notes that messages are read as a `T`.
    pub(crate) fn register<T: DeserializeOwned + 'static>(&self) {
        let of = TypeId::of::<T>();
        let mut readers = locked(&self.readers);
        if readers.len() < READER_LIMIT && readers.iter().all(|reader| reader.of != of) {
            let read = read::<T>;
            readers.push(Reader { of, read });
            self.reads.store(true, Ordering::Relaxed);
        }
    }

    /// Refuses a message that can be read as none of the types. The first type says what is wrong.
    fn check(&self, content: &str) -> Result<(), SendError> {
        if !self.reads.load(Ordering::Relaxed) {
            return Ok(());
        }
        let readers = locked(&self.readers).clone();
        let mut refused = None;
        for reader in readers {
            match guarded(|| (reader.read)(content)) {
                Ok(()) => return Ok(()),
                Err(problem) => _ = refused.get_or_insert(problem),
            }
        }
        refused.map_or(Ok(()), |problem| Err(SendError::Unreadable { problem }))
    }
}

impl Shared {
    /// Queues a message, and waits for nothing: with a folder it is on disk soon.
    ///
    /// # Errors
    /// [`SendError`]; the message was not queued then.
    pub(crate) fn send(&self, content: Arc<str>) -> Result<(), SendError> {
        self.readers.check(&content)?;
        let at_ms = self.clock.now_ms();
        if !self.keeper.is_durable() {
            return self.inbox.push_message(content, at_ms).map(drop);
        }
        let key = None;
        self.accept(Message { content, key }, at_ms, None, None)
    }

    /// Queues a message, and waits until it is on disk, if there is a folder. `waiter` is told what came of it.
    ///
    /// # Errors
    /// [`SendError`]; the message was not queued then.
    pub(crate) async fn post(
        &self,
        message: Message,
        waiter: Option<EndSender>,
    ) -> Result<Receipt, SendError> {
        check_key(message.key.as_deref())?;
        let at_ms = self.clock.now_ms();
        if !self.keeper.is_durable() {
            return Ok(self.post_in_memory(message, at_ms, waiter)?.into());
        }
        let mut waiter = waiter;
        // Before there is a look at room and type: whoever sends again what was accepted is told so, whatever
        // else waits by now.
        let looked_up = kept(&message, at_ms);
        match self.post_office.recognise(&looked_up, &mut waiter) {
            Recognition::New => {}
            Recognition::Known(number) => return Ok(Admission::again(number, true).into()),
            Recognition::Reused => return Err(SendError::KeyReused),
        }
        self.readers.check(&message.content)?;
        let (answer, answered) = oneshot::channel();
        self.accept(message, at_ms, waiter, Some(answer))?;
        let accepted = answered.await.unwrap_or(Err(SendError::NotRunning))?;
        Ok(accepted.into())
    }

    fn accept(
        &self,
        message: Message,
        at_ms: u64,
        waiter: Option<EndSender>,
        answer: Option<oneshot::Sender<Result<Admission, SendError>>>,
    ) -> Result<(), SendError> {
        self.inbox.reserve(&message.content)?;
        let accepted = self.keeper.accept(Acceptance {
            message: kept(&message, at_ms),
            waiter,
            answer,
        });
        if accepted.is_err() {
            self.inbox.give_back(&message.content);
        }
        accepted
    }

    fn post_in_memory(
        &self,
        message: Message,
        at_ms: u64,
        waiter: Option<EndSender>,
    ) -> Result<Admission, SendError> {
        self.readers.check(&message.content)?;
        if message.key.is_some() || waiter.is_some() {
            return self
                .post_office
                .accept_in_memory(kept(&message, at_ms), waiter);
        }
        Ok(Admission {
            number: self.inbox.push_message(message.content, at_ms)?,
            again: false,
            durable: false,
        })
    }
}

/// Returns a message as it is kept.
fn kept(message: &Message, at_ms: u64) -> KeptMessage {
    KeptMessage {
        content: message.content.clone(),
        at_ms,
        key: message.key.clone(),
        fatal: 0,
    }
}

/// Refuses a key that is none.
fn check_key(key: Option<&str>) -> Result<(), SendError> {
    let is_usable = |key: &str| {
        (1..=KEY_LIMIT_BYTES).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match key {
        Some(key) if !is_usable(key) => Err(SendError::Key),
        Some(_) | None => Ok(()),
    }
}

fn read<T: DeserializeOwned>(content: &str) -> Result<(), String> {
    let read = serde_json::from_str::<T>(content);
    read.map(drop).map_err(|error| error.to_string())
}

/// Reads with a user's `Deserialize`. Its panic becomes an error.
fn guarded(read: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
    read.unwrap_or_else(|panic| Err(crate::base::panics::panic_text(&*panic)))
}
