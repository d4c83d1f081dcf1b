//! What the outside may know of the values that are computed once and kept.

use std::collections::BTreeMap;
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

    /// Shows that a value is kept.
    pub(crate) fn show(&self, name: Arc<str>, info: MemoInfo) {
        locked(&self.kept).insert(name, info);
    }

    /// Shows that a value is kept no longer.
    pub(crate) fn hide(&self, name: &str) {
        locked(&self.kept).remove(name);
    }
}
