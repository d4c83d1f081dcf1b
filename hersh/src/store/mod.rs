//! What a watcher keeps: the values of its context, its open effects and its mail. A run stages changes; they are
//! committed together when the run is acknowledged.
//!
//! ```text
//! set, update ──► staged ──run succeeded──► keeper ──► writer ──► log ──► committed (what the API shows)
//!  start, ...       └──────run failed────► forgotten     ▲ (many commits, one sync)
//! messages ──────────────────────────────────────────────┴──────────► post office ──► inbox
//! ```
//!
//! Values are kept as JSON text: their size is known, numbers stay exact, a snapshot is a join.

mod commit;
mod commit_log;
mod effect_id;
mod files;
mod keeper;
mod keys;
mod ledger;
mod mail;
mod message;
mod offline;
mod post_office;
mod raw_json;
mod snapshot;
mod state_dir;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use crate::base::sync::{Mutex, locked};
use crate::error::check_name;
use crate::{CONTEXT_KEY_LIMIT, CONTEXT_LIMIT_BYTES, HookError};

pub(crate) use commit::Commit;
pub use effect_id::{EffectId, EffectIdError};
pub(crate) use keeper::Keeper;
pub(crate) use keys::KeyEnd;
pub use offline::{CONTEXT_FILES, ContextChange, ContextChangeError, change_context};

pub(crate) use ledger::{
    Ledger, LedgerChange, LedgerOutline, LedgerSize, OpenEffect, Progress, SavedLedger,
    SettledResult, Settlement,
};
#[cfg(feature = "api")]
pub(crate) use mail::SetAside;
pub(crate) use mail::{Mail, MailChange};
pub(crate) use message::{KeptMessage, MessageRun};
pub(crate) use post_office::{Admission, EndSender, LastEnd, MessageEnd, PostOffice, Recognition};
#[cfg(test)]
pub(crate) use state_dir::FAILS;
pub(crate) use state_dir::{SaveResult, StateDir};
pub(crate) use writer::{Acceptance, Memory};

/// Keys and their values as JSON text.
pub(crate) type Values = BTreeMap<Arc<str>, Arc<str>>;

/// A key and its new JSON; no JSON removes the key.
pub(crate) type ValueChange = (Arc<str>, Option<Arc<str>>);

/// All that is committed, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FolderContents {
    pub(crate) values: Values,
    /// The open effects; empty if none was ever asked for.
    pub(crate) ledger: Ledger,
    pub(crate) mail: Mail,
}

/// The committed values, shared with the API: a reader takes the map at one moment, and later
/// commits do not change what it took.
#[derive(Debug)]
pub(crate) struct CommittedValues {
    values: Mutex<Arc<Values>>,
}

/// The context of one watcher as its runs use it.
#[derive(Debug)]
pub(crate) struct Store {
    committed: Arc<CommittedValues>,
    /// The values that the run has set; `None` for a key that it has removed.
    staged: BTreeMap<Arc<str>, Option<Arc<str>>>,
    size: ContextSize,
    committed_size: ContextSize,
}

/// The sizes that the limits of a context bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ContextSize {
    keys: usize,
    bytes: usize,
}

impl CommittedValues {
    /// Returns values that are committed already.
    pub(crate) fn new(values: Values) -> Self {
        Self {
            values: Mutex::new(Arc::new(values)),
        }
    }

    /// Returns the committed values.
    pub(crate) fn values(&self) -> Arc<Values> {
        locked(&self.values).clone()
    }

    fn apply(&self, changes: impl IntoIterator<Item = ValueChange>) {
        let mut values = locked(&self.values);
        let values = Arc::make_mut(&mut values);
        for (key, json) in changes {
            put(values, key, json);
        }
    }
}

impl FolderContents {
    /// Returns what a new folder holds, for a life whose ids of effects begin with `space`.
    pub(crate) fn nothing(space: u64) -> Self {
        Self {
            values: Values::new(),
            ledger: Ledger::new(space),
            mail: Mail::new(),
        }
    }
}

impl Store {
    /// Returns a context that starts with the values that are committed.
    pub(crate) fn new(committed: Arc<CommittedValues>) -> Self {
        let values = committed.values();
        let size = ContextSize {
            keys: values.len(),
            bytes: values
                .iter()
                .map(|(key, json)| key.len() + json.len())
                .sum(),
        };
        Self {
            committed,
            staged: BTreeMap::new(),
            size,
            committed_size: size,
        }
    }

    /// Returns the value of `key` as this run sees it.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        hook: &'static str,
        key: &str,
    ) -> Result<Option<T>, HookError> {
        check_name(hook, key)?;
        decode(hook, key, self.json(key).as_deref())
    }

    /// Stages a value.
    pub(crate) fn set<T: Serialize + ?Sized>(
        &mut self,
        hook: &'static str,
        key: &str,
        value: &T,
    ) -> Result<(), HookError> {
        check_name(hook, key)?;
        let json = serde_json::to_string(value).map_err(|error| HookError::ContextEncode {
            hook,
            key: key.into(),
            message: error.to_string(),
        })?;
        let size = match self.json(key) {
            Some(old) => ContextSize {
                keys: self.size.keys,
                bytes: self.size.bytes - old.len() + json.len(),
            },
            None => ContextSize {
                keys: self.size.keys + 1,
                bytes: self.size.bytes + key.len() + json.len(),
            },
        };
        // A change that makes the context smaller is welcome even past the limits.
        let too_many = size.keys > CONTEXT_KEY_LIMIT.max(self.size.keys);
        if too_many || size.bytes > CONTEXT_LIMIT_BYTES.max(self.size.bytes) {
            return Err(HookError::ContextFull {
                hook,
                key: key.into(),
                keys: size.keys,
                bytes: size.bytes,
            });
        }
        self.size = size;
        self.staged.insert(key.into(), Some(json.into()));
        Ok(())
    }

    /// Stages a value of the library's own, whatever the limits say: it is small, and takes the place of another.
    pub(crate) fn put<T: Serialize>(&mut self, key: &str, value: &T) {
        let Ok(json) = serde_json::to_string(value) else {
            return;
        };
        let old_bytes = self.json(key).map_or(0, |old| old.len());
        self.size.bytes = self.size.bytes - old_bytes + json.len();
        self.staged.insert(key.into(), Some(json.into()));
    }

    /// Returns the committed values.
    pub(crate) fn committed_values(&self) -> Arc<Values> {
        self.committed.values()
    }

    /// Stages a removal and returns whether there was a value.
    pub(crate) fn remove(&mut self, key: &str) -> bool {
        let Some(old) = self.json(key) else {
            return false;
        };
        self.size = ContextSize {
            keys: self.size.keys - 1,
            bytes: self.size.bytes - key.len() - old.len(),
        };
        self.staged.insert(key.into(), None);
        true
    }

    /// Returns what a commit would change: keys and JSON, no JSON for a removed key. The list is
    /// empty when a commit would change nothing.
    pub(crate) fn changes(&self) -> Vec<ValueChange> {
        if self.staged.is_empty() {
            return Vec::new();
        }
        let committed = locked(&self.committed.values);
        self.staged
            .iter()
            .filter(|(key, json)| committed.get(*key) != json.as_ref())
            .map(|(key, json)| (key.clone(), json.clone()))
            .collect()
    }

    /// Commits the staged values. Values that a [`Keeper`] has committed already stay as they are.
    pub(crate) fn commit(&mut self) {
        let staged = std::mem::take(&mut self.staged);
        self.committed.apply(staged);
        self.committed_size = self.size;
    }

    /// Forgets the staged values.
    pub(crate) fn discard(&mut self) {
        self.staged.clear();
        self.size = self.committed_size;
    }

    fn json(&self, key: &str) -> Option<Arc<str>> {
        match self.staged.get(key) {
            Some(json) => json.clone(),
            None => locked(&self.committed.values).get(key).cloned(),
        }
    }
}

fn put(values: &mut Values, key: Arc<str>, json: Option<Arc<str>>) {
    match json {
        Some(json) => values.insert(key, json),
        None => values.remove(&key),
    };
}

/// Decodes a stored value as a `T`.
pub(crate) fn decode<T: DeserializeOwned>(
    hook: &'static str,
    key: &str,
    json: Option<&str>,
) -> Result<Option<T>, HookError> {
    let value = json.map(serde_json::from_str).transpose();
    value.map_err(|error| HookError::ContextType {
        hook,
        key: key.into(),
        asked: std::any::type_name::<T>(),
        message: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        Store::new(Arc::new(CommittedValues::new(Values::new())))
    }

    #[test]
    fn staged_values_are_forgotten_when_the_run_fails() {
        let mut store = store();
        store.set("set", "a", &1).unwrap();
        store.commit();
        store.set("set", "a", &2).unwrap();
        store.set("set", "b", &3).unwrap();
        assert_eq!(store.get("value", "a"), Ok(Some(2)));
        store.discard();
        assert_eq!(store.get("value", "a"), Ok(Some(1)));
        assert_eq!(store.get::<i32>("value", "b"), Ok(None));
        assert_eq!(store.size, store.committed_size);
    }

    #[test]
    fn a_reader_keeps_what_it_took_while_a_commit_goes_on() {
        let committed = Arc::new(CommittedValues::new(Values::new()));
        let mut store = Store::new(committed.clone());
        store.set("set", "a", &1).unwrap();
        store.commit();
        let before = committed.values();
        store.set("set", "a", &2).unwrap();
        store.commit();
        assert_eq!(before["a"].as_ref(), "1");
        assert_eq!(committed.values()["a"].as_ref(), "2");
    }

    #[test]
    fn setting_the_same_value_changes_nothing() {
        let mut store = store();
        store.set("set", "a", "x").unwrap();
        assert_eq!(store.changes().len(), 1);
        store.commit();
        store.set("set", "a", "x").unwrap();
        assert_eq!(store.changes(), []);
    }

    #[test]
    fn limits_name_the_key_and_leave_the_context_as_it_was() {
        let mut store = store();
        for n in 0..CONTEXT_KEY_LIMIT {
            store.set("set", &format!("{n}"), &n).unwrap();
        }
        let error = store.set("set", "one more", &0).unwrap_err();
        assert!(matches!(&error, HookError::ContextFull { key, .. } if key == "one more"));
        let long = "x".repeat(CONTEXT_LIMIT_BYTES);
        assert!(store.set("set", "1", &long).is_err());
        assert_eq!(store.get("value", "1"), Ok(Some(1)));
    }

    #[test]
    fn a_removed_key_makes_room_and_comes_back_when_the_run_fails() {
        let mut store = store();
        store.set("set", "a", &1).unwrap();
        assert!(store.remove("a") && !store.remove("a"));
        assert_eq!(store.changes(), [], "it was never there");
        store.set("set", "a", &2).unwrap();
        store.commit();
        assert!(store.remove("a"));
        assert_eq!(store.get::<u8>("value", "a"), Ok(None));
        assert_eq!(store.changes(), [("a".into(), None)]);
        store.discard();
        assert_eq!(store.get("value", "a"), Ok(Some(2)));
        store.remove("a");
        store.commit();
        assert_eq!(store.size, ContextSize::default());
    }

    #[test]
    fn a_context_past_its_limits_may_shrink() {
        let long: Arc<str> = "x".repeat(CONTEXT_LIMIT_BYTES).into();
        let values = Values::from([("a".into(), long.clone()), ("b".into(), long)]);
        let mut store = Store::new(Arc::new(CommittedValues::new(values)));
        store.set("set", "a", "shorter").unwrap();
        assert!(
            store
                .set("set", "c", &"y".repeat(CONTEXT_LIMIT_BYTES))
                .is_err()
        );
        assert!(store.remove("b"));
        store.set("set", "c", "fits").unwrap();
    }

    #[test]
    fn a_wrong_type_names_key_and_type() {
        let mut store = store();
        store.set("set", "name", "x").unwrap();
        let error = store.get::<u64>("value", "name").unwrap_err().to_string();
        assert!(
            error.starts_with("value(\"name\"): the stored value is no u64"),
            "{error}"
        );
    }

    #[test]
    fn numbers_stay_exact() {
        let mut store = store();
        for number in [0.1 + 0.2, f64::MIN_POSITIVE, 1.7976931348623157e308] {
            store.set("set", "f", &number).unwrap();
            assert_eq!(store.get("value", "f"), Ok(Some(number)));
        }
        store.set("set", "i", &u64::MAX).unwrap();
        assert_eq!(store.get("value", "i"), Ok(Some(u64::MAX)));
    }
}
