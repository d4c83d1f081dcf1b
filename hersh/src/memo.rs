//! Values that are computed once and kept for the life of the watcher.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use crate::base::sync::{Mutex, locked};

/// The kept values, as far as the outside may know of them.
#[derive(Debug)]
pub(crate) struct Memos {
    kept: Mutex<BTreeMap<Arc<str>, MemoInfo>>,
}

/// A kept value as it is shown: values themselves need not be data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoInfo {
    /// The name of the value's type.
    pub(crate) type_name: &'static str,
    /// When the value was computed.
    pub(crate) at: SystemTime,
}

/// The kept values, as runs use them.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    values: HashMap<Arc<str>, Entry>,
}

#[derive(Debug)]
struct Entry {
    value: Arc<dyn Any + Send + Sync>,
    type_name: &'static str,
}

impl Memos {
    /// Returns an empty set of infos.
    pub(crate) fn new() -> Self {
        Self {
            kept: Mutex::new(BTreeMap::new()),
        }
    }

    /// Returns what is kept, by name.
    #[cfg_attr(
        not(feature = "api"),
        allow(dead_code, reason = "only the API shows them")
    )]
    pub(crate) fn infos(&self) -> BTreeMap<Arc<str>, MemoInfo> {
        locked(&self.kept).clone()
    }
}

impl Cache {
    /// Returns how many values are kept.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns the kept value, or the name of its type when that is another.
    pub(crate) fn get<T: Send + Sync + 'static>(
        &self,
        name: &str,
    ) -> Option<Result<Arc<T>, &'static str>> {
        let entry = self.values.get(name)?;
        Some(entry.value.clone().downcast().map_err(|_| entry.type_name))
    }

    /// Keeps a value.
    pub(crate) fn insert<T: Send + Sync + 'static>(
        &mut self,
        name: &str,
        value: Arc<T>,
        at: SystemTime,
        memos: &Memos,
    ) {
        let name: Arc<str> = name.into();
        let type_name = std::any::type_name::<T>();
        locked(&memos.kept).insert(name.clone(), MemoInfo { type_name, at });
        self.values.insert(name, Entry { value, type_name });
    }

    /// Forgets a value and returns whether there was one.
    pub(crate) fn remove(&mut self, name: &str, memos: &Memos) -> bool {
        locked(&memos.kept).remove(name);
        self.values.remove(name).is_some()
    }
}
