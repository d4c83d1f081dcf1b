//! What a program used when it was last looked at. Whoever may read may ask, as often as they like;
//! the engine is asked at most every so often.

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

/// What one instance uses, and when that was, milliseconds since the Unix epoch; `None` when it
/// does not run.
pub(crate) type Reading = Result<Option<(Stats, u64)>, Unavailable>;

/// The last reading of one program; clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastReading(Arc<Mutex<Option<KeptReading>>>);

#[derive(Debug)]
struct KeptReading {
    instance: InstanceId,
    read_at: Instant,
    reading: Reading,
}

impl LastReading {
    /// What the instance uses, as of at most a second ago. One question is under way at a time, and
    /// goes on when whoever asked goes away: those who come next wait for its answer.
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
