//! The keys under which messages came: a message that comes again under its key is the same one.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{KeptMessage, MessageRun};
use crate::{KEY_LIMIT, KEY_REPLIES_LIMIT_BYTES};

/// How long a key is remembered at most, milliseconds.
const AGE_MAX_MS: u64 = 24 * 60 * 60 * 1_000;

/// The newest keys, each with what came of its message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    /// In the order in which they came.
    order: VecDeque<Arc<str>>,
    known: FxHashMap<Arc<str>, KnownKey>,
    by_number: FxHashMap<u64, Arc<str>>,
    /// Numbers whose replies are kept, in the order of their runs.
    replied: VecDeque<u64>,
    reply_bytes: usize,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownKey {
    /// The number of its message.
    pub(crate) number: u64,
    at_ms: u64,
    /// Length and checksum of the message, to tell another one under the same key.
    content: (usize, u32),
    pub(crate) end: KeyEnd,
}

/// What came of a message that came under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyEnd {
    /// Its run is not committed.
    Waiting,
    /// Its run is committed. The reply is the first thing to be forgotten.
    Ran(MessageRun),
    /// It was set aside.
    SetAside(Arc<str>),
}

/// A key on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedKey {
    key: Arc<str>,
    #[serde(flatten)]
    known: KnownKey,
}

impl KnownKey {
    /// Returns whether a message under this key is the one that came first.
    pub(crate) fn is_of(&self, content: &str) -> bool {
        self.content == fingerprint(content)
    }
}

impl Keys {
    /// Returns the keys that were saved.
    pub(super) fn restore(saved: Vec<SavedKey>) -> Self {
        let mut keys = Self::default();
        for SavedKey { key, known } in saved {
            if let KeyEnd::Ran(run) = &known.end
                && let Some(reply) = &run.reply
            {
                keys.reply_bytes += reply.len();
                keys.replied.push_back(known.number);
            }
            keys.insert(key, known);
        }
        keys
    }

    /// Returns what a file keeps.
    pub(super) fn saved(&self) -> Vec<SavedKey> {
        let known = |key: &Arc<str>| {
            let (key, known) = (key.clone(), self.known.get(key)?.clone());
            Some(SavedKey { key, known })
        };
        self.order.iter().filter_map(known).collect()
    }

    /// Returns whether no key is known.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Returns what is known of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&KnownKey> {
        self.known.get(key)
    }

    /// Notes that a message has come, and forgets the oldest keys beyond the bounds.
    pub(super) fn arrived(&mut self, number: u64, message: &KeptMessage) {
        let Some(key) = &message.key else {
            return;
        };
        let known = KnownKey {
            number,
            at_ms: message.at_ms,
            content: fingerprint(&message.content),
            end: KeyEnd::Waiting,
        };
        self.insert(key.clone(), known);
        while let Some(oldest) = self.order.front() {
            let at_ms = self.known.get(oldest).map_or(0, |known| known.at_ms);
            let is_old = message.at_ms.saturating_sub(at_ms) > AGE_MAX_MS;
            if self.order.len() <= KEY_LIMIT && !is_old {
                break;
            }
            self.forget_oldest();
        }
    }

    /// Notes the run of a message, and forgets the oldest replies beyond the bound.
    pub(super) fn ran(&mut self, number: u64, run: MessageRun) {
        let bytes = run.reply.as_ref().map_or(0, |reply| reply.len());
        if !self.end(number, KeyEnd::Ran(run)) || bytes == 0 {
            return;
        }
        self.replied.push_back(number);
        self.reply_bytes += bytes;
        while self.reply_bytes > KEY_REPLIES_LIMIT_BYTES
            && let Some(oldest) = self.replied.pop_front()
        {
            self.forget_reply(oldest);
        }
    }

    /// Notes that a message was set aside.
    pub(super) fn set_aside(&mut self, number: u64, reason: Arc<str>) {
        self.end(number, KeyEnd::SetAside(reason));
    }

    /// Notes that a message waits again.
    pub(super) fn sent_again(&mut self, number: u64) {
        self.end(number, KeyEnd::Waiting);
    }

    fn insert(&mut self, key: Arc<str>, known: KnownKey) {
        self.by_number.insert(known.number, key.clone());
        if self.known.insert(key.clone(), known).is_none() {
            self.order.push_back(key);
        }
    }

    /// Returns whether the message came under a key that is known.
    fn end(&mut self, number: u64, end: KeyEnd) -> bool {
        let key = self.by_number.get(&number);
        let known = key.and_then(|key| self.known.get_mut(key));
        let is_known = known.is_some();
        if let Some(known) = known {
            known.end = end;
        }
        is_known
    }

    fn forget_oldest(&mut self) {
        let Some(key) = self.order.pop_front() else {
            return;
        };
        let Some(known) = self.known.get(&key) else {
            return;
        };
        let number = known.number;
        self.forget_reply(number);
        if self.replied.front() == Some(&number) {
            self.replied.pop_front();
        } else {
            self.replied.retain(|replied| *replied != number);
        }
        self.by_number.remove(&number);
        self.known.remove(&key);
    }

    fn forget_reply(&mut self, number: u64) {
        let key = self.by_number.get(&number);
        if let Some(known) = key.and_then(|key| self.known.get_mut(key))
            && let KeyEnd::Ran(run) = &mut known.end
            && let Some(reply) = run.reply.take()
        {
            self.reply_bytes -= reply.len();
        }
    }
}

fn fingerprint(content: &str) -> (usize, u32) {
    (content.len(), crc32fast::hash(content.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrive(keys: &mut Keys, number: u64, key: &str, at_ms: u64) {
        let message = KeptMessage {
            content: "m".into(),
            at_ms,
            key: Some(key.into()),
            fatal: 0,
        };
        keys.arrived(number, &message);
    }

    #[test]
    fn keys_are_bounded_in_number_and_age() {
        let mut keys = Keys::default();
        for number in 1..=KEY_LIMIT as u64 + 1 {
            arrive(&mut keys, number, &number.to_string(), 0);
        }
        assert_eq!(keys.saved().len(), KEY_LIMIT);
        assert!(keys.get("1").is_none() && keys.get("2").is_some());
        arrive(&mut keys, 20_000, "new", AGE_MAX_MS + 1);
        assert_eq!(keys.saved().len(), 1);
        assert_eq!((keys.by_number.len(), keys.known.len()), (1, 1));
    }

    #[test]
    fn replies_are_bounded_in_bytes_and_the_oldest_go_first() {
        let mut keys = Keys::default();
        let reply: Arc<str> = "x".repeat(64 * 1024).into();
        let fitting = (KEY_REPLIES_LIMIT_BYTES / reply.len()) as u64;
        for number in 1..=fitting + 2 {
            arrive(&mut keys, number, &number.to_string(), 0);
            let reply = Some(reply.clone());
            keys.ran(number, MessageRun { run: number, reply });
        }
        let has_reply = |key: &str| match &keys.get(key).unwrap().end {
            KeyEnd::Ran(run) => run.reply.is_some(),
            KeyEnd::Waiting | KeyEnd::SetAside(_) => false,
        };
        assert_eq!(["1", "2", "3"].map(has_reply), [false, false, true]);
        assert_eq!(keys.reply_bytes, KEY_REPLIES_LIMIT_BYTES);
        assert_eq!(Keys::restore(keys.saved()), keys);
    }

    #[test]
    fn another_message_under_a_key_is_told() {
        let mut keys = Keys::default();
        arrive(&mut keys, 1, "k", 0);
        let known = keys.get("k").unwrap();
        assert!(known.is_of("m") && !known.is_of("n"));
    }
}
