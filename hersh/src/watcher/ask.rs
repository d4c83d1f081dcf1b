//! Messages that their sender waits for: until they are on disk, or until their runs.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::Watcher;
use crate::store::MessageEnd;
use crate::{Message, Receipt, SendError};

/// The end of a message whose run is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// What was known when the message was taken.
    pub receipt: Receipt,
    /// The number of its run.
    pub run: u64,
    reply: Option<Arc<str>>,
}

/// Why a message has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The message was not taken.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The message was set aside: all its runs failed.
    #[error("the message was set aside: {reason}")]
    SetAside {
        /// What its last run failed with.
        reason: Arc<str>,
    },
    /// The watcher ended before the run of the message. If the message is durable, it has its run in the next
    /// life.
    #[error("the watcher ended before the run of the message")]
    Ended {
        /// What was known when the message was taken.
        receipt: Receipt,
    },
}

impl Answer {
    /// Returns what the run replied, if it did: see [`Context::reply`](crate::Context::reply). The reply to a
    /// message that came again under its key may have been forgotten.
    ///
    /// # Errors
    /// Why the reply is no `T`.
    pub fn reply<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        self.reply.as_deref().map(serde_json::from_str).transpose()
    }
}

impl Watcher {
    /// Sends a message and waits until it is on disk: it has its run whatever happens. Without a state folder it
    /// is queued in memory, and [`Receipt::durable`] says so.
    ///
    /// # Errors
    /// [`SendError`]
    pub async fn deliver(&self, message: impl Into<Message>) -> Result<Receipt, SendError> {
        self.shared.post(message.into(), None).await
    }

    /// Sends a message and waits until its run is committed.
    ///
    /// ```
    /// use hersh::{Context, Message, Watcher, testing};
    ///
    /// let doubles = async |cx: &mut Context| -> hersh::Result {
    ///     if let Some(n) = cx.message_as::<u64>()? {
    ///         cx.reply(&(2 * n))?;
    ///     }
    ///     Ok(())
    /// };
    /// testing::play(Watcher::builder("test"), doubles, async |watcher| {
    ///     let answer = watcher.ask(Message::new("21").key("first")).await.unwrap();
    ///     assert_eq!(answer.reply().unwrap(), Some(42));
    /// });
    /// ```
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn ask(&self, message: impl Into<Message>) -> Result<Answer, AskError> {
        let (told, end) = oneshot::channel();
        let receipt = self.shared.post(message.into(), Some(told)).await?;
        match end.await {
            Ok(MessageEnd::Ran(run)) => Ok(Answer {
                receipt,
                run: run.run,
                reply: run.reply,
            }),
            Ok(MessageEnd::SetAside(reason)) => Err(AskError::SetAside { reason }),
            Err(_) => Err(AskError::Ended { receipt }),
        }
    }
}
