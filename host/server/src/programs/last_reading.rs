//! The usage of a program when it was last looked at. Every caller who may read may ask for it as often as
//! they like, so the engine is asked at most once a second for each program.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hersh_base::{detached::run_detached, surroundings::Surroundings};
use hersh_machine::driver::Clock as _;
use hersh_program::InstanceId;
use tokio::sync::Mutex;

use hersh_sandbox::{Runtime, Stats, Unavailable};

/// How long a reading is good for.
const FRESH: Duration = Duration::from_secs(1);

/// The usage of one instance, and its time, milliseconds since the Unix epoch; `None` when the instance does
/// not run.
pub(crate) type Reading = Result<Option<(Stats, u64)>, Unavailable>;

/// The last reading of one program. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastReading(Arc<Mutex<Option<KeptReading>>>);

#[derive(Debug)]
struct KeptReading {
    instance: InstanceId,
    read_at: Instant,
    reading: Reading,
}

impl LastReading {
    /// Returns what the instance uses, as of at most a second ago. One question to the engine is under way at
    /// a time. It goes on when the caller goes away: later callers wait for its answer.
    ///
    /// # Errors
    /// [`Unavailable`] as the engine says.
    pub(crate) async fn get(
        &self,
        runtime: Arc<dyn Runtime>,
        clock: Surroundings,
        instance: &InstanceId,
    ) -> Reading {
        let mut last = Arc::clone(&self.0).lock_owned().await;
        if let Some(known) = &*last
            && known.instance == *instance
            && known.read_at.elapsed() < FRESH
        {
            return known.reading.clone();
        }
        let instance = instance.clone();
        run_detached(async move {
            let stats = runtime.stats(&instance).await;
            let reading = stats.map(|stats| Some((stats?, clock.now_ms())));
            *last = Some(KeptReading {
                instance,
                read_at: Instant::now(),
                reading: reading.clone(),
            });
            reading
        })
        .await
    }
}
