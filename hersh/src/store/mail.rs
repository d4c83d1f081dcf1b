//! The mail: messages that were accepted and whose runs are not committed, those that were set aside, and the
//! keys under which messages came.
//!
//! ```text
//! accepted ──Arrived──► waiting ──Ran──► forgotten, but for its key
//!                       (Suspected: its run may end the process)
//!                        ▲    └──SetAside──► set aside ──Dropped──► forgotten
//!                        └─────SentAgain────────┘
//! ```
//! It is data: nothing here reads a clock or a disk. With a state folder every change is on disk before anybody
//! relies on it, in the same commits as the values of the context.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::keys::{Keys, SavedKey};
use super::{KeptMessage, MessageRun};

/// The messages of one context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mail {
    next: u64,
    waiting: BTreeMap<u64, KeptMessage>,
    set_aside: BTreeMap<u64, SetAside>,
    keys: Keys,
}

/// A message that no run could take in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SetAside {
    pub(crate) message: KeptMessage,
    /// What its last run failed with.
    pub(crate) reason: Arc<str>,
}

/// A change of the mail. Each is about one message, by its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MailChange {
    /// A message was accepted.
    Arrived(u64, KeptMessage),
    /// The run of a message begins that may have ended an earlier life, or ended this one.
    Suspected(u64),
    /// The run of a message is committed.
    Ran(u64, MessageRun),
    /// Every run of a message failed; the reason of the last.
    SetAside(u64, Arc<str>),
    /// A message that was set aside waits again.
    SentAgain(u64),
    /// A message that was set aside is wanted no more.
    Dropped(u64),
}

/// Mail on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedMail {
    next: u64,
    waiting: BTreeMap<u64, KeptMessage>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    set_aside: BTreeMap<u64, SetAside>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<SavedKey>,
}

impl Mail {
    /// Returns mail without messages.
    pub(crate) fn new() -> Self {
        Self {
            next: 1,
            waiting: BTreeMap::new(),
            set_aside: BTreeMap::new(),
            keys: Keys::default(),
        }
    }

    /// Returns the mail that was saved.
    ///
    /// # Errors
    /// Says what no mail can hold.
    pub(crate) fn restore(saved: SavedMail) -> Result<Self, String> {
        let numbers = saved.waiting.keys().chain(saved.set_aside.keys());
        for number in numbers {
            if *number >= saved.next {
                return Err(format!("message {number} is not below {}", saved.next));
            }
        }
        if let Some(number) = saved
            .waiting
            .keys()
            .find(|it| saved.set_aside.contains_key(it))
        {
            return Err(format!("message {number} waits and is set aside"));
        }
        Ok(Self {
            next: saved.next,
            waiting: saved.waiting,
            set_aside: saved.set_aside,
            keys: Keys::restore(saved.keys),
        })
    }

    /// Returns what a file keeps; `None` if there is nothing that anybody could ask for again.
    pub(crate) fn saved(&self) -> Option<SavedMail> {
        let is_empty = self.waiting.is_empty() && self.set_aside.is_empty() && self.keys.is_empty();
        (!is_empty).then(|| SavedMail {
            next: self.next,
            waiting: self.waiting.clone(),
            set_aside: self.set_aside.clone(),
            keys: self.keys.saved(),
        })
    }

    /// Returns the number of the next message.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Returns the messages that wait, in the order in which they came, with their numbers.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (u64, &KeptMessage)> {
        self.waiting
            .iter()
            .map(|(number, message)| (*number, message))
    }

    /// Returns the message with this number, if it waits.
    pub(crate) fn get_waiting(&self, number: u64) -> Option<&KeptMessage> {
        self.waiting.get(&number)
    }

    /// Returns the messages that were set aside, with their numbers.
    pub(crate) fn set_aside(&self) -> impl Iterator<Item = (u64, &SetAside)> {
        self.set_aside
            .iter()
            .map(|(number, aside)| (*number, aside))
    }

    /// Returns the message with this number, if it was set aside.
    pub(crate) fn get_set_aside(&self, number: u64) -> Option<&SetAside> {
        self.set_aside.get(&number)
    }

    /// Returns the keys under which messages came.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Applies a change. A change of a message that is not there (any more) changes nothing.
    pub(crate) fn apply(&mut self, change: MailChange) {
        match change {
            MailChange::Arrived(number, message) => {
                self.next = self.next.max(number + 1);
                self.keys.arrived(number, &message);
                self.waiting.insert(number, message);
            }
            MailChange::Suspected(number) => {
                if let Some(message) = self.waiting.get_mut(&number) {
                    message.fatal = message.fatal.saturating_add(1);
                }
            }
            MailChange::Ran(number, run) => {
                self.waiting.remove(&number);
                self.keys.ran(number, run);
            }
            MailChange::SetAside(number, reason) => {
                if let Some(message) = self.waiting.remove(&number) {
                    self.keys.set_aside(number, reason.clone());
                    self.set_aside.insert(number, SetAside { message, reason });
                }
            }
            MailChange::SentAgain(number) => {
                if let Some(mut aside) = self.set_aside.remove(&number) {
                    self.keys.sent_again(number);
                    aside.message.fatal = 0;
                    self.waiting.insert(number, aside.message);
                }
            }
            MailChange::Dropped(number) => {
                if self.set_aside.remove(&number).is_some() {
                    self.keys.forget(number);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str, key: Option<&str>) -> KeptMessage {
        KeptMessage {
            content: text.into(),
            at_ms: 7,
            key: key.map(Into::into),
            fatal: 0,
        }
    }

    fn contents(mail: &Mail) -> Vec<String> {
        mail.waiting()
            .map(|(number, message)| format!("{number} {}", message.content))
            .collect()
    }

    fn run() -> MessageRun {
        let reply = Some("\"done\"".into());
        MessageRun { run: 3, reply }
    }

    #[test]
    fn a_message_waits_until_its_run_is_committed() {
        let mut mail = Mail::new();
        mail.apply(MailChange::Arrived(1, message("a", None)));
        mail.apply(MailChange::Arrived(2, message("b", None)));
        mail.apply(MailChange::Ran(1, run()));
        assert_eq!(contents(&mail), ["2 b"]);
        mail.apply(MailChange::Ran(2, run()));
        assert_eq!((mail.next(), mail.saved()), (3, None));
    }

    #[test]
    fn what_was_set_aside_can_be_sent_again_or_dropped() {
        let mut mail = Mail::new();
        for number in 1..=3 {
            mail.apply(MailChange::Arrived(number, message("m", None)));
            mail.apply(MailChange::SetAside(number, "no".into()));
        }
        mail.apply(MailChange::SentAgain(2));
        mail.apply(MailChange::Dropped(1));
        mail.apply(MailChange::SentAgain(1));
        assert_eq!(contents(&mail), ["2 m"]);
        assert_eq!(
            mail.set_aside()
                .map(|(number, _)| number)
                .collect::<Vec<_>>(),
            [3]
        );
        assert_eq!(&*mail.get_set_aside(3).unwrap().reason, "no");
    }

    #[test]
    fn mail_is_read_back_as_it_was_saved() {
        let mut mail = Mail::new();
        mail.apply(MailChange::Arrived(1, message("a \"quoted\"", Some("k"))));
        mail.apply(MailChange::Arrived(2, message("b", None)));
        mail.apply(MailChange::SetAside(2, "no".into()));
        mail.apply(MailChange::Arrived(3, message("c", Some("l"))));
        mail.apply(MailChange::Ran(3, run()));
        let text = serde_json::to_string(&mail.saved().unwrap()).unwrap();
        assert_eq!(
            Mail::restore(serde_json::from_str(&text).unwrap()),
            Ok(mail)
        );
    }

    #[test]
    fn mail_that_cannot_be_is_refused() {
        let a = r#"{"content":"a","at_ms":1}"#;
        for text in [
            format!(r#"{{"next":1,"waiting":{{"1":{a}}}}}"#),
            format!(
                r#"{{"next":2,"waiting":{{"1":{a}}},"set_aside":{{"1":{{"message":{a},"reason":"no"}}}}}}"#
            ),
        ] {
            let saved = serde_json::from_str(&text).unwrap();
            assert!(Mail::restore(saved).is_err(), "{text}");
        }
    }
}
