//! What a host takes from outside: the time, randomness, and threads for work that blocks.
//!
//! A host that serves takes them from the system. A simulated one takes the time from tokio's
//! clock, randomness from a seed, and works where it stands: one seed gives one trace.

use hersh_machine::driver::{Clock, SystemClock};
use tokio::task::JoinError;

/// Where a host takes time, randomness and threads from. Clones share one source.
#[derive(Clone)]
pub(crate) enum Surroundings {
    /// The operating system.
    System,
    /// A seed and tokio's clock.
    #[cfg(any(test, feature = "testkit"))]
    Simulated(std::sync::Arc<simulated::Simulated>),
}

impl Surroundings {
    /// A random number.
    pub(crate) fn random(&self) -> Result<u64, getrandom::Error> {
        match self {
            Self::System => getrandom::u64(),
            #[cfg(any(test, feature = "testkit"))]
            Self::Simulated(simulated) => Ok(simulated.random()),
        }
    }

    /// Does blocking work on a thread made for it.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        match self {
            Self::System => tokio::task::spawn_blocking(work).await,
            #[cfg(any(test, feature = "testkit"))]
            Self::Simulated(_) => Ok(work()),
        }
    }
}

impl Clock for Surroundings {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64 {
        match self {
            Self::System => SystemClock.now_ms(),
            #[cfg(any(test, feature = "testkit"))]
            Self::Simulated(simulated) => simulated.now_ms(),
        }
    }
}

#[cfg(any(test, feature = "testkit"))]
mod simulated {
    use std::sync::{Arc, Mutex, PoisonError};

    use hersh_machine::{
        SplitMix64,
        driver::{Clock, TokioClock},
    };

    use super::Surroundings;

    /// Simulated time begins here: 2026-01-01, milliseconds since the Unix epoch.
    const BEGINS_MS: u64 = 1_767_225_600_000;

    pub(crate) struct Simulated {
        clock: TokioClock,
        random: Mutex<SplitMix64>,
    }

    impl Simulated {
        pub(super) fn random(&self) -> u64 {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            random.next_u64()
        }

        pub(super) fn now_ms(&self) -> u64 {
            self.clock.now_ms()
        }
    }

    impl Surroundings {
        /// Everything from `seed` and tokio's clock, which counts from now.
        pub(crate) fn simulated(seed: u64) -> Self {
            Self::Simulated(Arc::new(Simulated {
                clock: TokioClock::starting_at(BEGINS_MS),
                random: Mutex::new(SplitMix64::new(seed)),
            }))
        }
    }
}
