//! When an instance of a program was held still by the host, so that it is not taken for dead.

use std::sync::{Arc, Mutex};

use hersh_base::locked::locked;

/// The pauses of one program. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pauses(Arc<Mutex<PauseCounts>>);

#[derive(Debug, Default)]
struct PauseCounts {
    begun: u64,
    under_way: u64,
}

/// A pause that goes on until this is dropped.
#[derive(Debug)]
pub(crate) struct OngoingPause(Pauses);

impl Pauses {
    /// Counts a pause as going on, which an instance may be in from now on.
    pub(crate) fn begin(&self) -> OngoingPause {
        let mut counts = locked(&self.0);
        counts.begun += 1;
        counts.under_way += 1;
        OngoingPause(self.clone())
    }

    /// Returns the number of pauses so far; `None` while one goes on. If it is the same before and after
    /// something, no instance was held still meanwhile.
    pub(crate) fn count(&self) -> Option<u64> {
        let counts = locked(&self.0);
        (counts.under_way == 0).then_some(counts.begun)
    }
}

impl Drop for OngoingPause {
    fn drop(&mut self) {
        locked(&self.0.0).under_way -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_shows_while_it_lasts_and_afterwards() {
        let pauses = Pauses::default();
        let before = pauses.count();
        let pause = pauses.clone().begin();
        assert_eq!(pauses.count(), None);
        drop(pause);
        assert!(pauses.count().is_some());
        assert_ne!(pauses.count(), before);
    }
}
