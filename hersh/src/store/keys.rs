//! The keys under which messages came: a message that comes again under its key is the same one.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{KeptMessage, MessageRun};
use crate::{KEY_LIMIT, KEY_REPLIES_LIMIT_BYTES};

/// How long a key is remembered at most once its message has its end, milliseconds.
const AGE_MAX_MS: u64 = 24 * 60 * 60 * 1_000;

/// The keys of messages that wait, and the newest of those that have their end, each with what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    known: FxHashMap<Arc<str>, KnownKey>,
    by_number: FxHashMap<u64, Arc<str>>,
    /// Those that have their end, in the order of their ends. A key is never forgotten while its message waits.
    ended: VecDeque<u64>,
    /// Those of them whose replies are kept.
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

    fn is_old(&self, now_ms: u64) -> bool {
        self.end != KeyEnd::Waiting && now_ms.saturating_sub(self.at_ms) > AGE_MAX_MS
    }
}

impl Keys {
    /// Returns the keys that were saved.
    pub(super) fn restore(saved: Vec<SavedKey>) -> Self {
        let mut keys = Self::default();
        for SavedKey { key, known } in saved {
            let (number, end) = (known.number, known.end.clone());
            keys.insert(key, known);
            keys.note_end(number, &end);
        }
        keys
    }

    /// Returns what a file keeps: those that have their end first, in their order.
    pub(super) fn saved(&self) -> Vec<SavedKey> {
        let waits = |(_, known): &(&Arc<str>, &KnownKey)| known.end == KeyEnd::Waiting;
        let mut waiting: Vec<u64> = self
            .known
            .iter()
            .filter(waits)
            .map(|(_, known)| known.number)
            .collect();
        waiting.sort_unstable();
        let saved = |number: &u64| {
            let key = self.by_number.get(number)?.clone();
            let known = self.known.get(&key)?.clone();
            Some(SavedKey { key, known })
        };
        self.ended
            .iter()
            .chain(&waiting)
            .filter_map(saved)
            .collect()
    }

    /// Returns whether no key is known.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Returns what is known of a key at this time.
    pub(crate) fn get(&self, key: &str, now_ms: u64) -> Option<&KnownKey> {
        self.known.get(key).filter(|known| !known.is_old(now_ms))
    }

    /// Notes that a message has come, and forgets the keys that are old by then.
    pub(super) fn arrived(&mut self, number: u64, message: &KeptMessage) {
        let Some(key) = &message.key else {
            return;
        };
        if let Some(known) = self.known.get(key) {
            self.forget(known.number);
        }
        while let Some(oldest) = self.ended.front().copied()
            && self.is_old(oldest, message.at_ms)
        {
            self.forget(oldest);
        }
        let known = KnownKey {
            number,
            at_ms: message.at_ms,
            content: fingerprint(&message.content),
            end: KeyEnd::Waiting,
        };
        self.insert(key.clone(), known);
    }

    /// Notes the run of a message.
    pub(super) fn ran(&mut self, number: u64, run: MessageRun) {
        self.end(number, KeyEnd::Ran(run));
    }

    /// Notes that a message was set aside.
    pub(super) fn set_aside(&mut self, number: u64, reason: Arc<str>) {
        self.end(number, KeyEnd::SetAside(reason));
    }

    /// Notes that a message waits again.
    pub(super) fn sent_again(&mut self, number: u64) {
        self.ended.retain(|ended| *ended != number);
        if let Some(known) = self.of_number(number) {
            known.end = KeyEnd::Waiting;
        }
    }

    /// Forgets the key of a message.
    pub(super) fn forget(&mut self, number: u64) {
        self.forget_reply(number);
        for list in [&mut self.replied, &mut self.ended] {
            if list.front() == Some(&number) {
                list.pop_front();
            } else {
                list.retain(|other| *other != number);
            }
        }
        if let Some(key) = self.by_number.remove(&number) {
            self.known.remove(&key);
        }
    }

    fn insert(&mut self, key: Arc<str>, known: KnownKey) {
        self.by_number.insert(known.number, key.clone());
        self.known.insert(key, known);
    }

    fn of_number(&mut self, number: u64) -> Option<&mut KnownKey> {
        let key = self.by_number.get(&number)?;
        self.known.get_mut(key)
    }

    fn is_old(&self, number: u64, now_ms: u64) -> bool {
        let key = self.by_number.get(&number);
        let known = key.and_then(|key| self.known.get(key));
        known.is_none_or(|known| known.is_old(now_ms))
    }

    fn end(&mut self, number: u64, end: KeyEnd) {
        let Some(known) = self.of_number(number) else {
            return;
        };
        known.end = end.clone();
        self.note_end(number, &end);
    }

    /// Takes the end of a message in, and forgets the oldest keys and replies beyond the bounds.
    fn note_end(&mut self, number: u64, end: &KeyEnd) {
        let reply = match end {
            KeyEnd::Waiting => return,
            KeyEnd::Ran(run) => run.reply.as_ref(),
            KeyEnd::SetAside(_) => None,
        };
        self.ended.push_back(number);
        if let Some(reply) = reply {
            self.replied.push_back(number);
            self.reply_bytes += reply.len();
        }
        while self.reply_bytes > KEY_REPLIES_LIMIT_BYTES
            && let Some(oldest) = self.replied.pop_front()
        {
            self.forget_reply(oldest);
        }
        while self.ended.len() > KEY_LIMIT
            && let Some(oldest) = self.ended.front().copied()
        {
            self.forget(oldest);
        }
    }

    fn forget_reply(&mut self, number: u64) {
        if let Some(known) = self.of_number(number)
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

    fn run(keys: &mut Keys, number: u64, reply: Option<Arc<str>>) {
        keys.ran(number, MessageRun { run: number, reply });
    }

    #[test]
    fn keys_are_bounded_but_none_is_forgotten_while_it_waits() {
        let mut keys = Keys::default();
        let last = KEY_LIMIT as u64 + 10;
        for number in 1..=last {
            arrive(&mut keys, number, &number.to_string(), 0);
        }
        assert!(keys.get("1", 0).is_some());
        for number in 2..=last {
            run(&mut keys, number, None);
        }
        let known = ["1", "2", "10", "11"].map(|key| keys.get(key, 0).is_some());
        assert_eq!(known, [true, false, false, true]);
        assert_eq!(keys.saved().len(), KEY_LIMIT + 1);
        assert_eq!(Keys::restore(keys.saved()), keys);
    }

    #[test]
    fn a_key_is_old_after_a_day_and_names_another_message_then() {
        let mut keys = Keys::default();
        arrive(&mut keys, 1, "k", 0);
        run(&mut keys, 1, Some("7".into()));
        arrive(&mut keys, 2, "waits", 0);
        assert!(keys.get("k", AGE_MAX_MS).is_some());
        assert!(keys.get("k", AGE_MAX_MS + 1).is_none());
        assert!(keys.get("waits", AGE_MAX_MS + 1).is_some());
        arrive(&mut keys, 3, "k", AGE_MAX_MS + 1);
        assert_eq!(keys.get("k", AGE_MAX_MS + 1).unwrap().number, 3);
        assert_eq!((keys.saved().len(), keys.reply_bytes), (2, 0));
    }

    #[test]
    fn replies_are_bounded_in_bytes_and_the_oldest_go_first() {
        let mut keys = Keys::default();
        let reply: Arc<str> = "x".repeat(64 * 1024).into();
        let fitting = (KEY_REPLIES_LIMIT_BYTES / reply.len()) as u64;
        for number in 1..=fitting + 2 {
            arrive(&mut keys, number, &number.to_string(), 0);
            run(&mut keys, number, Some(reply.clone()));
        }
        let has_reply = |key: &str| match &keys.get(key, 0).unwrap().end {
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
        let known = keys.get("k", 0).unwrap();
        assert!(known.is_of("m") && !known.is_of("n"));
    }
}
