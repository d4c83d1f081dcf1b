//! The results of looks at one `/state`.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use hersh_base::sandbox::StateUsage;

/// How often every running program is looked at.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// The number of looks in a row without a figure that are too much: a program that evades them hides on
/// purpose.
const UNSETTLED_LOOKS_MAX: u32 = 3;
/// The value of [`StateReadings`] before the first look.
const UNKNOWN: u64 = u64::MAX;

/// The results of looks at one `/state`.
#[derive(Debug)]
pub(crate) struct StateReadings {
    bytes: AtomicU64,
    unsettled: AtomicU32,
}

impl Default for StateReadings {
    fn default() -> Self {
        Self {
            bytes: AtomicU64::new(UNKNOWN),
            unsettled: AtomicU32::new(0),
        }
    }
}

impl StateReadings {
    /// Returns what `/state` held when it was last measured, bytes.
    pub(crate) fn bytes(&self) -> Option<u64> {
        let bytes = self.bytes.load(Ordering::Relaxed);
        (bytes != UNKNOWN).then_some(bytes)
    }

    /// Takes in what the newest look saw. Returns true if that is too much for `limit`, bytes.
    pub(crate) fn take(&self, seen: StateUsage, limit: u64) -> bool {
        match seen {
            StateUsage::Bytes(bytes) => {
                self.bytes.store(bytes, Ordering::Relaxed);
                self.unsettled.store(0, Ordering::Relaxed);
                bytes > limit
            }
            StateUsage::Unsettled => {
                let before = self.unsettled.fetch_add(1, Ordering::Relaxed);
                before.saturating_add(1) >= UNSETTLED_LOOKS_MAX
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_evades_every_look_is_too_much() {
        let looks = StateReadings::default();
        assert_eq!(looks.bytes(), None);
        assert!(!looks.take(StateUsage::Unsettled, 10));
        assert!(!looks.take(StateUsage::Unsettled, 10));
        assert!(!looks.take(StateUsage::Bytes(10), 10));
        assert!(!looks.take(StateUsage::Unsettled, 10));
        assert!(!looks.take(StateUsage::Unsettled, 10));
        assert!(looks.take(StateUsage::Unsettled, 10));
        assert!(looks.take(StateUsage::Unsettled, 10));
        assert_eq!(looks.bytes(), Some(10));
        assert!(looks.take(StateUsage::Bytes(11), 10));
    }
}
