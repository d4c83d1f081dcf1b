//! The hooks of messages: what came in, what it is read as, what is replied.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use super::Context;
use crate::store::{Mail, MailChange, MessageRun};
use crate::{HookError, REPLY_LIMIT_BYTES};

impl Context {
    /// Returns the message that caused this run, if one did. Each message has exactly one run that counts: a
    /// failed run's message comes again in the retry. After [`Recovery::max_consecutive_failures`] failures it is
    /// set aside, and other messages go on.
    ///
    /// [`Recovery::max_consecutive_failures`]: crate::Recovery::max_consecutive_failures
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// if let Some(message) = cx.message() {
    ///     cx.log(format!("somebody said {message}"));
    /// }
    /// # Ok(())
    /// # });
    /// ```
    #[must_use]
    pub fn message(&self) -> Option<Arc<str>> {
        let message = self.intake.message.as_ref();
        message.map(|message| message.content.clone())
    }

    /// Returns the message that caused this run, read from JSON.
    ///
    /// From the first call on, the watcher takes only messages that can be read as a `T`, or as another type that
    /// this was called with: whoever sends something else is told what is wrong, and where (status 422 of the
    /// WatcherAPI). So call it in every run, before anything that may fail.
    ///
    /// ```
    /// #[derive(serde::Deserialize)]
    /// struct Order {
    ///     symbol: String,
    ///     amount: u64,
    /// }
    ///
    /// # let mut test = hersh::testing::Test::new(async |cx: &mut hersh::Context| -> hersh::Result {
    /// if let Some(order) = cx.message_as::<Order>()? {
    ///     cx.log(format!("{} of {}", order.amount, order.symbol));
    /// }
    /// # Ok(())
    /// # });
    /// # test.start().ok();
    /// # let message = r#"{"symbol": "BTC", "amount": 3}"#;
    /// # assert_eq!(test.message(message).ok().log(), "3 of BTC");
    /// ```
    ///
    /// # Errors
    /// [`HookError`] when a message came in before the first call and is no `T`. A run that fails with it is not
    /// tried again: its message is set aside.
    pub fn message_as<T: DeserializeOwned + 'static>(&self) -> Result<Option<T>, HookError> {
        self.shared.readers.register::<T>();
        let Some(message) = &self.intake.message else {
            return Ok(None);
        };
        let read = serde_json::from_str(&message.content);
        read.map(Some).map_err(|error| HookError::MessageType {
            asked: std::any::type_name::<T>(),
            message: error.to_string(),
        })
    }

    /// Replies to the message of this run: whoever waits for its run gets this value, as JSON. It counts once the
    /// run is committed; of several replies, the last. See [`Watcher::ask`](crate::Watcher::ask).
    ///
    /// ```
    /// # let mut test = hersh::testing::Test::new(async |cx: &mut hersh::Context| -> hersh::Result {
    /// if cx.message().is_some() {
    ///     let place = cx.update("orders", |n: u64| n + 1)?;
    ///     cx.reply(&place)?;
    /// }
    /// # Ok(())
    /// # });
    /// # test.start().ok();
    /// # assert_eq!(test.message("buy").ok().reply, Some(1.into()));
    /// ```
    ///
    /// # Errors
    /// [`HookError`] when this run has no message, or the value cannot be written as JSON or is longer than
    /// [`REPLY_LIMIT_BYTES`].
    pub fn reply<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), HookError> {
        if self.intake.message.is_none() {
            return Err(HookError::NoMessage);
        }
        let json = serde_json::to_string(value).map_err(|error| HookError::Reply {
            problem: error.to_string(),
        })?;
        if json.len() > REPLY_LIMIT_BYTES {
            let problem = format!("it has {} bytes", json.len());
            return Err(HookError::Reply { problem });
        }
        self.reply = Some(json.into());
        Ok(())
    }

    /// Returns what the commit of this run says of its message.
    pub(super) fn mail(&self) -> Option<MailChange> {
        let message = self.intake.message.as_ref().filter(|_| self.counts)?;
        // One without a number is not kept, so there is nothing to say of it.
        if message.number == 0 || !self.shared.keeps_mail() {
            return None;
        }
        let run = MessageRun {
            run: self.run,
            reply: self.reply.clone(),
        };
        Some(MailChange::Ran(message.number, run))
    }

    /// Returns what is to be noted before this run: its message may have ended an earlier life of the watcher.
    pub(crate) fn suspicion(&self) -> Option<MailChange> {
        let message = self.intake.message.as_ref()?;
        let is_suspect = message.kept.as_ref()?.is_suspect;
        is_suspect.then_some(MailChange::Suspected(message.number))
    }

    /// Returns what a crash of the watcher says of the message of its last run, if that has not counted.
    pub(crate) fn fatal_message(&self) -> Option<MailChange> {
        // That of a suspect was noted before its run.
        if self.counts || self.suspicion().is_some() || !self.shared.keeper.is_durable() {
            return None;
        }
        let message = self.intake.message.as_ref()?;
        Some(MailChange::Suspected(message.number))
    }

    /// Returns what a commit says of the message of the run that failed, which has no other run.
    pub(crate) fn set_aside(&mut self, reason: Arc<str>) -> Vec<MailChange> {
        let Some(message) = self.intake.message.take() else {
            return Vec::new();
        };
        let aside = MailChange::SetAside(message.number, reason);
        let is_noted = |mail: &Mail| mail.get_waiting(message.number).is_some();
        if self.shared.keeper.is_durable() || self.shared.post_office.look(is_noted) {
            return vec![aside];
        }
        // In memory, only those are noted that have a key or are waited for.
        let kept = crate::store::KeptMessage {
            content: message.content,
            at_ms: message.at_ms,
            key: None,
            fatal: 0,
        };
        vec![MailChange::Arrived(message.number, kept), aside]
    }
}
