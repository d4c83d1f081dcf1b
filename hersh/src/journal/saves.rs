//! The writes and syncs of the journal that are under way.

use std::sync::Arc;

use tokio::time::Instant;

use crate::base::sync::{Mutex, locked};

/// When each write or sync began that is under way. There is one write at most; syncs overlap on a
/// disk that takes longer than a second for one.
#[derive(Debug, Default)]
pub(crate) struct Saves(Mutex<Vec<Instant>>);

/// A write or sync that is under way, until it is dropped.
pub(super) struct Save {
    saves: Arc<Saves>,
    began: Instant,
}

impl Saves {
    /// Returns when the oldest one began.
    #[cfg(feature = "api")]
    pub(crate) fn oldest(&self) -> Option<Instant> {
        locked(&self.0).iter().min().copied()
    }
}

impl Save {
    /// Shows that a write or sync begins.
    pub(super) fn begin(saves: &Arc<Saves>) -> Self {
        let began = Instant::now();
        locked(&saves.0).push(began);
        Self {
            saves: saves.clone(),
            began,
        }
    }
}

impl Drop for Save {
    fn drop(&mut self) {
        let mut saves = locked(&self.saves.0);
        if let Some(index) = saves.iter().position(|began| *began == self.began) {
            saves.swap_remove(index);
        }
    }
}

#[cfg(feature = "api")]
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_of_saves_that_overlap_is_shown() {
        let saves = Arc::new(Saves::default());
        assert_eq!(saves.oldest(), None);
        let (began, first) = (Instant::now(), Save::begin(&saves));
        tokio::time::advance(Duration::from_secs(1)).await;
        let (next, second) = (Instant::now(), Save::begin(&saves));
        let third = Save::begin(&saves);
        assert_eq!(saves.oldest(), Some(began));
        drop(first);
        assert_eq!(saves.oldest(), Some(next));
        drop(second);
        assert_eq!(saves.oldest(), Some(next));
        drop(third);
        assert_eq!(saves.oldest(), None);
    }
}
