//! What one commit changes, and its form in a log.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{LedgerChange, MailChange, ValueChange};
use crate::base::frame::{self, Frame};

/// What one commit changes, all of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Keys of the context and their JSON; no JSON removes a key.
    pub(crate) values: Vec<ValueChange>,
    /// Changes of the ledger, in their order.
    pub(crate) effects: Vec<LedgerChange>,
    /// Changes of the mail, in their order.
    pub(crate) mail: Vec<MailChange>,
}

/// A commit in a log.
#[derive(Serialize, Deserialize)]
struct CommitRecord {
    /// How many bytes of the commits were synced when this one was written.
    synced: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    set: BTreeMap<String, Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    removed: Vec<Arc<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    effects: Vec<LedgerChange>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mail: Vec<MailChange>,
}

impl Commit {
    /// Returns a commit of mail alone.
    pub(crate) fn of_mail(change: MailChange) -> Self {
        Self {
            mail: vec![change],
            ..Self::default()
        }
    }

    /// Returns whether the commit changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.effects.is_empty() && self.mail.is_empty()
    }

    /// Returns whether the commit says only that the run of a message changed and replied nothing.
    pub(crate) fn is_repeatable(&self) -> bool {
        let replies = |change: &MailChange| match change {
            MailChange::Ran(_, run) => run.reply.is_some(),
            MailChange::Arrived(..)
            | MailChange::Suspected(_)
            | MailChange::SetAside(..)
            | MailChange::SentAgain(_)
            | MailChange::Dropped(_) => true,
        };
        self.values.is_empty() && self.effects.is_empty() && !self.mail.iter().any(replies)
    }

    /// Adds the commit to the bytes of a log, of whose commits this many bytes are synced.
    ///
    /// # Errors
    /// When it cannot be written as JSON, or is too long for a frame.
    pub(super) fn append_to(&self, frames: &mut Vec<u8>, synced: u64) -> Result<(), String> {
        let mut record = CommitRecord {
            synced,
            set: BTreeMap::new(),
            removed: Vec::new(),
            effects: self.effects.clone(),
            mail: self.mail.clone(),
        };
        for (key, json) in &self.values {
            match json {
                None => record.removed.push(key.clone()),
                Some(json) => {
                    let json = RawValue::from_string(json.to_string());
                    let json = json.map_err(|error| error.to_string())?;
                    record.set.insert(key.to_string(), json);
                }
            }
        }
        frame::append(frames, |buffer| {
            serde_json::to_writer(buffer, &record).map_err(|error| error.to_string())
        })
    }
}

impl From<CommitRecord> for Commit {
    fn from(record: CommitRecord) -> Self {
        let set = record.set.into_iter();
        let set = set.map(|(key, json)| (key.into(), Some(json.get().into())));
        let removed = record.removed.into_iter().map(|key| (key, None));
        Self {
            values: set.chain(removed).collect(),
            effects: record.effects,
            mail: record.mail,
        }
    }
}

/// Reads the commits of a log. An end that was never wholly written was never committed, and is left out: after a power
/// cut any part of it may be missing, also from its middle. Only what a later commit found synced must be whole.
///
/// # Errors
/// Says what was never written like this.
pub(super) fn read_commits(bytes: &[u8]) -> Result<Vec<Commit>, String> {
    let (mut commits, mut at) = (Vec::new(), 0);
    loop {
        match frame::read(bytes, at) {
            Frame::End | Frame::Torn => return Ok(commits),
            Frame::Damaged { what } if was_synced(bytes, at) => {
                return Err(format!("{what}, at byte {at} of its commits"));
            }
            Frame::Damaged { .. } => return Ok(commits),
            Frame::Whole { payload, next } => {
                let record: CommitRecord = serde_json::from_slice(payload)
                    .map_err(|error| format!("the commit at byte {at} is none: {error}"))?;
                commits.push(record.into());
                at = next;
            }
        }
    }
}

/// Returns whether a commit that follows found position `at` synced.
fn was_synced(bytes: &[u8], at: usize) -> bool {
    let records = frame::whole_after(bytes, at).map(serde_json::from_slice::<CommitRecord>);
    records.flatten().any(|record| record.synced > at as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{KeptMessage, OpenEffect, Progress};

    fn commit() -> Commit {
        let effect = OpenEffect {
            space: 7,
            effect: "orders".into(),
            key: None,
            input: r#"{"price":0.1}"#.into(),
            asked_at_ms: 1,
            once: true,
            cancelled: false,
            progress: Progress::Waiting,
        };
        let message = KeptMessage {
            content: "a \"quoted\"\n".into(),
            at_ms: 7,
            key: None,
            fatal: 0,
        };
        Commit {
            values: vec![
                (
                    "big".into(),
                    Some("340282366920938463463374607431768211455".into()),
                ),
                ("none".into(), Some("null".into())),
                ("gone".into(), None),
            ],
            effects: vec![LedgerChange::Asked(1, effect), LedgerChange::Begun(1)],
            mail: vec![MailChange::Arrived(1, message)],
        }
    }

    #[test]
    fn commits_are_read_back_and_a_torn_end_is_left_out() {
        let mut bytes = Vec::new();
        commit().append_to(&mut bytes, 0).unwrap();
        let first = bytes.len();
        commit().append_to(&mut bytes, first as u64).unwrap();
        assert_eq!(read_commits(&bytes), Ok(vec![commit(), commit()]));
        for end in 0..bytes.len() {
            let whole = usize::from(end >= first);
            assert_eq!(read_commits(&bytes[..end]).unwrap().len(), whole, "{end}");
        }
    }

    #[test]
    fn damage_of_what_was_synced_is_told_with_its_place() {
        let mut bytes = Vec::new();
        commit().append_to(&mut bytes, 0).unwrap();
        let second = bytes.len();
        commit().append_to(&mut bytes, second as u64).unwrap();
        let third = bytes.len();
        commit().append_to(&mut bytes, third as u64).unwrap();
        for bit in second * 8..third * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let told = read_commits(&damaged).unwrap_err();
            assert!(told.contains(&format!("at byte {second}")), "{told}");
        }
    }

    #[test]
    fn a_hole_in_what_was_never_synced_is_a_torn_end() {
        let mut bytes = Vec::new();
        commit().append_to(&mut bytes, 0).unwrap();
        let synced = bytes.len();
        for _ in 0..30 {
            commit().append_to(&mut bytes, synced as u64).unwrap();
        }
        for hole in (synced..bytes.len() - 64).step_by(61) {
            let mut torn = bytes.clone();
            torn[hole..hole + 64].fill(0);
            let whole = read_commits(&torn).unwrap().len();
            assert!((1..31).contains(&whole), "{hole}");
        }
    }
}
