//! Whether the engine can work, asked at most every so often: anybody may ask.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::runtime::{Runtime, Unavailable};

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(2);

type Answer = Result<(), Unavailable>;

/// The engine's last answer.
#[derive(Debug, Default)]
pub(crate) struct EngineCheck(Mutex<Option<(Instant, Answer)>>);

impl EngineCheck {
    /// The engine's answer, at most two seconds old. One question is under way at a time.
    ///
    /// # Errors
    /// [`Unavailable`] as the engine says.
    pub(crate) async fn get(&self, runtime: &dyn Runtime) -> Answer {
        let mut last = self.0.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = runtime.check().await.map(|_info| ());
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}
