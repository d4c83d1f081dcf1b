//! Values that are computed once and kept for the life of the watcher.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::shared::{MemoInfo, Memos};

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
        memos.show(name.clone(), MemoInfo { type_name, at });
        self.values.insert(name, Entry { value, type_name });
    }

    /// Forgets a value and returns whether there was one.
    pub(crate) fn remove(&mut self, name: &str, memos: &Memos) -> bool {
        memos.hide(name);
        self.values.remove(name).is_some()
    }
}
